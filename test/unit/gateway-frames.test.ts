/**
 * The edges of the worker stream: bytes to frames, requests to handshakes.
 */
import { toBinary } from '@bufbuild/protobuf';
import { cutText, splitEntries, WorkerFrameSchema } from '@workflow-orchestrator/proto';
import fc from 'fast-check';
import t from 'tap';
import { decodeFrame } from '../../coordinator/gateway/frame-codec.ts';
import { createRate, type HandshakeSituation, judgeHandshake } from '../../coordinator/gateway/handshake.ts';
import { streamLimits } from '../../coordinator/gateway/session/limits.ts';
import { hello, json, result, workerFrame } from '../stream-support/frames.ts';

const limits = streamLimits();
const resultsOf = (count: number) =>
  toBinary(WorkerFrameSchema, workerFrame(1, 0, { case: 'results', value: { results: Array(count).fill({}) } }));

t.test('frames: what was written is read', async (t) => {
  const bodies = [
    hello({ labels: { a: 'b' } }),
    { case: 'results' as const, value: { results: [result('a', { outcome: { case: 'output', value: { data: json({ n: 1 }) } } })] } },
  ];
  for (const body of bodies) {
    const frame = workerFrame(7, 3, body);
    t.same(decodeFrame(toBinary(WorkerFrameSchema, frame), limits), { kind: 'frame', frame });
  }
});

t.test('frames: no payload keeps the memory of the socket', async (t) => {
  const data = json('x'.repeat(100));
  const results = [
    result('a', { outcome: { case: 'output', value: { data } } }),
    result('b', { outcome: { case: 'error', value: { details: { data } } } }),
  ];
  const socketMemory = Buffer.alloc(65_536);
  const bytes = toBinary(WorkerFrameSchema, workerFrame(1, 0, { case: 'results', value: { results } }));
  socketMemory.set(bytes, 1_000);
  const decoded = decodeFrame(socketMemory.subarray(1_000, 1_000 + bytes.length), limits);
  t.equal(decoded.kind, 'frame');
  if (decoded.kind !== 'frame' || decoded.frame.body.case !== 'results') return;
  const [one, two] = decoded.frame.body.value.results.map(({ outcome }) =>
    outcome.case === 'output' ? outcome.value.data : outcome.case === 'error' ? outcome.value.details!.data : new Uint8Array(),
  );
  t.same(Buffer.from(one!), Buffer.from(data));
  t.same(Buffer.from(two!), Buffer.from(data));
  t.equal(one!.buffer.byteLength, 2 * data.length);
  t.equal(two!.buffer, one!.buffer);
});

t.test('frames: entries are counted before anything is made of them (R4)', async (t) => {
  t.equal(decodeFrame(resultsOf(10_000), limits).kind, 'frame');
  t.match(decodeFrame(resultsOf(10_600), limits), { kind: 'bad', message: 'a frame holds at most 10000 entries' });
  t.match(decodeFrame(Buffer.from([0x3a, 0x7f]), limits), { kind: 'bad' }, 'cut off');
  t.match(decodeFrame(Buffer.from([0x3b]), limits), { kind: 'bad' }, 'a group');
  t.match(decodeFrame(Buffer.alloc(12, 0xff), limits), { kind: 'bad' }, 'a varint without an end');
});

t.test('frames: no bytes make the decoder throw', async (t) => {
  const valid = Buffer.from(toBinary(WorkerFrameSchema, workerFrame(1, 0, hello({ labels: { a: 'b' } }))));
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(valid.length - 1), fc.integer({ min: 0, max: 255 }), (noise, place, byte) => {
      decodeFrame(noise, limits);
      const broken = Buffer.from(valid);
      broken[place] = byte;
      decodeFrame(broken, limits);
    }),
    { numRuns: 2_000 },
  );
  t.pass('none did');
});

t.test('entries are split by bytes and by number; texts are cut within characters', async (t) => {
  const bytesOf = (entry: number) => entry;
  t.same(splitEntries([10, 10, 10], bytesOf, 84, 100), [[10, 10], [10]]);
  t.same(splitEntries([10, 200, 10], bytesOf, 100, 100), [[10], [200], [10]]);
  t.same(splitEntries([1, 1, 1], bytesOf, 1_000, 2), [[1, 1], [1]]);
  t.same(splitEntries([], bytesOf, 1_000, 2), []);
  t.equal(cutText('äöü', 6), 'äöü');
  t.equal(cutText('äöü', 5), 'äö');
  t.equal(cutText('😀😀', 7), '😀');
  t.equal(cutText('abc', 0), '');
});

t.test('handshakes: the token first, then the rest (R1, R2)', async (t) => {
  const headers = { authorization: 'Bearer secret', 'sec-websocket-protocol': 'chat, workflow.worker.v1' };
  let rate = true;
  const situation: HandshakeSituation = {
    closing: false,
    connections: 1,
    mostConnections: 2,
    authenticate: (token) => token === 'secret',
    takeHandshake: () => rate,
  };
  t.same(judgeHandshake(headers, situation), { kind: 'accept' });
  t.match(judgeHandshake({ ...headers, authorization: 'Basic secret' }, situation), { status: 401 });
  t.match(judgeHandshake({}, { ...situation, closing: true }), { status: 401 }, 'who has no token learns nothing else');
  t.match(judgeHandshake({ ...headers, 'sec-websocket-protocol': 'chat' }, situation), { status: 400 });
  t.match(judgeHandshake(headers, { ...situation, closing: true }), { status: 503, message: 'the coordinator is about to end' });
  t.match(judgeHandshake(headers, { ...situation, connections: 2 }), { status: 503, message: '2 connections are open' });
  rate = false;
  t.match(judgeHandshake(headers, situation), { status: 503, message: 'too many new connections in this second' });
});

t.test('a rate lets a second’s worth through at once, and then as many as time gives', async (t) => {
  let now = 0;
  const take = createRate(10, () => now);
  const takeAll = () => {
    let count = 0;
    while (take()) count += 1;
    return count;
  };
  t.equal(takeAll(), 10);
  now = 100;
  t.equal(takeAll(), 1);
  now = 60_000;
  t.equal(takeAll(), 10);
});
