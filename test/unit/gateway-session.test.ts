/**
 * The coordinator's end of the worker stream, rule by rule (proto/PROTOCOL.md): a step, and all that it led to.
 */
import { create } from '@bufbuild/protobuf';
import {
  InFlightVerdict_Verdict,
  InFlightVerdictSchema,
  PayloadSchema,
  ResultAck_Verdict,
  ResultAckSchema,
} from '@workflow-orchestrator/proto';
import t from 'tap';
import { assignment, hello, json, result } from '../stream-support/frames.ts';
import { HubStory } from '../stream-support/hub-story.ts';

const beatOf = (...tokens: string[]) => ({ case: 'heartbeat' as const, value: { leases: tokens.map((leaseToken) => ({ leaseToken })) } });
const yes = (...tokens: string[]) => ({
  case: 'assignReplies' as const,
  value: { replies: tokens.map((leaseToken) => ({ leaseToken, accepted: true })) },
});

t.test('greeting: Hello, attach, Welcome with verdicts (R10, R15)', async (t) => {
  const story = new HubStory();
  const peer = story.connect();
  const held = [
    { leaseToken: 'a', workflowId: 'wf', jobId: 'j', attempt: 1 },
    { leaseToken: 'b', workflowId: 'wf', jobId: 'k', attempt: 1, resultWaiting: true },
  ];
  t.same(peer.send(hello({ inFlight: held })), ['shard attach w1 s1 a b']);
  const verdicts = [
    create(InFlightVerdictSchema, { leaseToken: 'a', verdict: InFlightVerdict_Verdict.KEEP }),
    create(InFlightVerdictSchema, { leaseToken: 'b', verdict: InFlightVerdict_Verdict.SEND_RESULT }),
  ];
  t.same(
    story.shard('w1', (outbox) => outbox.welcome(verdicts)),
    ['p1 < welcome a:KEEP b:SEND_RESULT'],
  );
  t.match(story.hub.workers(), [{ id: 'w1', status: 'ACTIVE', types: ['noop'], slots: 4, running: 1 }]);
});

t.test('greeting: a Hello in parts is one Hello (R10)', async (t) => {
  const peer = new HubStory().connect();
  const part = (leaseToken: string) => [{ leaseToken, workflowId: 'wf', jobId: 'j', attempt: 1 }];
  t.same(peer.send(hello({ inFlight: part('a'), partial: true })), []);
  t.same(peer.send({ case: 'hello', value: { inFlight: part('b'), partial: true } }), []);
  t.same(peer.send({ case: 'hello', value: { inFlight: part('c') } }), ['shard attach w1 s1 a b c']);
});

t.test('greeting: what is refused, and how it is said (R8, R10, R12)', async (t) => {
  const refusals: [string, Parameters<typeof hello>[0], RegExp][] = [
    [
      'protocol too new',
      { minProtocol: 2, maxProtocol: 3 },
      /fatal UNSUPPORTED_PROTOCOL: the worker speaks protocol 2 to 3, this coordinator 1 to 1/,
    ],
    ['no worker id', { workerId: '' }, /fatal BAD_FRAME: hello\.worker_id/],
    ['a worker id that is no name', { workerId: 'a b/ü\n' }, /fatal BAD_FRAME: hello\.worker_id must be 1 to 128 of A-Z/],
    ['a worker id with a line end', { workerId: 'w1\n' }, /fatal BAD_FRAME: hello\.worker_id must/],
    ['a long worker id', { workerId: 'w'.repeat(129) }, /fatal BAD_FRAME: hello\.worker_id must/],
    ['no slots', { slots: 0 }, /hello\.slots must be 1 to 10000, not 0/],
    ['too many slots', { slots: 10_001 }, /hello\.slots must be 1 to 10000, not 10001/],
    ['a type twice', { capabilities: [{ type: 'a' }, { type: 'a' }] }, /hello\.capabilities names 'a' twice/],
    ['33 labels', { labels: Object.fromEntries(Array.from({ length: 33 }, (_, i) => [`k${i}`, 'v'])) }, /hello\.labels/],
    ['a long label', { labels: { ['k'.repeat(64)]: 'v' } }, /must have 1 to 63 characters/],
    ['a long value', { labels: { k: 'v'.repeat(256) } }, /must have at most 255 characters/],
    ['an attempt without a token', { inFlight: [{ workflowId: 'wf' }] }, /hello\.in_flight/],
  ];
  for (const [name, overrides, expected] of refusals) {
    const written = new HubStory().connect().send(hello(overrides));
    t.match(written[0], expected, name);
    t.same(written.slice(1), ['p1 closed 1008'], name);
  }
});

t.test('greeting: another frame first, no frame at all, unreadable bytes (R8, R10)', async (t) => {
  t.same(new HubStory().connect().send(beatOf()), ['p1 < error fatal UNEXPECTED_FRAME: the first frame must be hello', 'p1 closed 1008']);
  t.same(new HubStory().connect().sendUnreadable(), ['p1 < error fatal BAD_FRAME: the bytes are no WorkerFrame', 'p1 closed 1008']);
  const story = new HubStory();
  story.connect();
  t.same(story.advance(4_999), []);
  t.same(story.advance(1), ['p1 < error fatal UNEXPECTED_FRAME: no hello within 5000 ms', 'p1 closed 4004']);
});

t.test('greeting: Heartbeats keep a worker alive until Welcome, anything else is out of place (R14)', async (t) => {
  const story = new HubStory();
  const peer = story.connect();
  peer.send(hello());
  for (let i = 0; i < 10; i += 1) {
    t.same(story.advance(2_000), []);
    t.same(peer.send(beatOf()), []);
  }
  t.same(peer.send({ case: 'credit', value: { granted: 1n } }), ['p1 < error UNEXPECTED_FRAME: only heartbeat comes before welcome']);
});

t.test('numbers: doubles are ignored, gaps and impossible acks end the connection (R5, R6)', async (t) => {
  const story = new HubStory();
  const peer = story.ready(hello());
  const credit = { case: 'credit' as const, value: { granted: 9n } };
  t.same(peer.sendNumbered(2, 1, credit), [], 'a double');
  t.same(peer.sendNumbered(4, 1, credit), [
    'p1 < error fatal BAD_FRAME: frame 4 came where 3 was expected: frames were lost',
    'p1 closed 1002',
    'shard detach w1 s1',
  ]);
  const other = new HubStory().ready(hello());
  t.match(other.sendNumbered(3, 7, credit)[0], /acknowledges 7, but only 1 were sent/);
});

t.test('numbers: an unreadable frame counts as one, whether its sender counted it or not (R5, R8)', async (t) => {
  for (const seq of [3, 4]) {
    const peer = new HubStory().ready(hello());
    t.same(peer.sendUnreadable(), ['p1 < error BAD_FRAME: the bytes are no WorkerFrame']);
    t.same(peer.sendNumbered(seq, 1, beatOf()), ['shard beats w1', 'p1 < reply'], `goes on with ${seq}`);
  }
});

t.test('a frame without a known body is answered, the session goes on; the 100th bad frame is fatal (R7, R8)', async (t) => {
  const story = new HubStory();
  const peer = story.ready(hello());
  t.same(peer.send({ case: undefined }), ['p1 < error UNEXPECTED_FRAME: frame 3 has no body that protocol 1 knows']);
  t.same(peer.send(hello()), ['p1 < error UNEXPECTED_FRAME: hello comes once']);
  for (let i = 3; i < 100; i += 1) peer.sendUnreadable();
  t.same(peer.sendUnreadable(), [
    'p1 < error fatal LIMIT_EXCEEDED: 100 bad frames; the last: the bytes are no WorkerFrame',
    'p1 closed 1008',
    'shard detach w1 s1',
  ]);
});

t.test('credit is cumulative, never falls, and open credit never exceeds the slots (R20)', async (t) => {
  const story = new HubStory();
  const peer = story.ready(hello(), 2);
  const credit = (granted: bigint) => peer.send({ case: 'credit', value: { granted } });
  t.same(credit(2n), [], 'a resend');
  t.same(credit(1n), [], 'a lower one');
  t.same(credit(3n), ['shard capacity w1 3 open']);
  t.same(credit(1_000n), ['shard capacity w1 4 open']);
});

t.test('never an assignment without credit; what is too much goes back (R21)', async (t) => {
  const story = new HubStory();
  story.ready(hello(), 2);
  t.same(
    story.shard('w1', (outbox) => outbox.assign(['a', 'b', 'c'].map((token) => assignment(token)))),
    ['shard replies w1 c:no (no credit)', 'shard capacity w1 0 open', 'p1 < assign a b'],
  );
});

t.test('an assignment that no frame can hold goes back', async (t) => {
  const story = new HubStory();
  story.ready(hello());
  const parameters = create(PayloadSchema, { data: new Uint8Array(1024 * 1024) });
  t.match(
    story.shard('w1', (outbox) => outbox.assign([assignment('a', { parameters })])),
    ['shard replies w1 a:no (larger than a frame)'],
  );
});

t.test('all of one turn leaves in one frame per kind, split where it does not fit (R4)', async (t) => {
  const story = new HubStory({ frameBytes: 4096 });
  story.ready(hello({ slots: 100 }), 100);
  const written = story.shard('w1', (outbox) => {
    outbox.assign([assignment('a')]);
    outbox.ack([create(ResultAckSchema, { leaseToken: 'x', verdict: ResultAck_Verdict.ACCEPTED })]);
    outbox.assign([assignment('b')]);
    outbox.cancel(['a'], 'enough');
  });
  t.same(written, ['p1 < assign a b', 'p1 < ack x:ACCEPTED', 'p1 < cancel a (enough)']);
  const data = json('x'.repeat(1_000));
  const many = Array.from({ length: 6 }, (_, i) => assignment(`n${i}`, { parameters: { data } }));
  t.same(
    story.shard('w1', (outbox) => outbox.assign(many)),
    ['p1 < assign n0 n1 n2', 'p1 < assign n3 n4 n5'],
  );
});

t.test('answers: accepted, rejected, none at all, too late (R22)', async (t) => {
  const story = new HubStory();
  const peer = story.ready(hello());
  story.shard('w1', (outbox) => outbox.assign(['a', 'b', 'c'].map((token) => assignment(token))));
  const replies = [
    { leaseToken: 'a', accepted: true },
    { leaseToken: 'b', accepted: false, reason: 'no slot' },
  ];
  t.same(peer.send({ case: 'assignReplies', value: { replies } }), ['shard replies w1 a:yes b:no (no slot)']);
  t.same(story.advance(1_999), []);
  t.same(story.advance(1), ['shard replies w1 c:no (no answer)', 'p1 < reply lost:c']);
  t.same(peer.send(yes('c')), ['p1 < reply lost:c'], 'the shard has given it away');
  t.same(peer.send(yes('a')), ['p1 < reply lost:a'], 'answered before');
});

t.test('a result stands for the acceptance that got lost', async (t) => {
  const story = new HubStory();
  const peer = story.ready(hello());
  story.shard('w1', (outbox) => outbox.assign([assignment('a')]));
  t.same(peer.send({ case: 'results', value: { results: [result('a')] } }), ['shard results w1 a:output']);
  t.same(story.advance(2_500), []);
});

t.test('heartbeats: always answered, whole lists passed on, parts put together (R30, R31)', async (t) => {
  const peer = new HubStory().ready(hello());
  t.same(peer.send(beatOf()), ['shard beats w1', 'p1 < reply'], 'an empty one says that nothing runs');
  const part = (token: string, data?: Uint8Array) => ({
    case: 'heartbeat' as const,
    value: { leases: [{ leaseToken: token, ...(data && { checkpoint: { data } }) }], partial: true },
  });
  t.same(peer.send(part('a')), []);
  t.same(peer.send(part('b', json(1))), ['shard some beats w1 b*'], 'a checkpoint is passed on at once');
  t.same(peer.send(beatOf('c')), ['shard beats w1 a b c', 'p1 < reply']);
});

t.test('heartbeats: an attempt that failed is not named by the parts before its result (R26)', async (t) => {
  const peer = new HubStory().ready(hello());
  const leases = [{ leaseToken: 'a', checkpoint: { data: json(1) } }];
  t.same(peer.send({ case: 'heartbeat', value: { leases, partial: true } }), ['shard some beats w1 a*']);
  peer.send({ case: 'results', value: { results: [result('a')] } });
  t.same(peer.send(beatOf('b')), ['shard beats w1 b', 'p1 < reply']);
});

t.test('lost attempts are told at once, and again while they are named (R31)', async (t) => {
  const story = new HubStory();
  const peer = story.ready(hello());
  t.same(
    story.shard('w1', (outbox) => outbox.revoke(['a'])),
    ['p1 < reply lost:a'],
  );
  t.same(peer.sendNumbered(3, 1, beatOf('b')), ['shard beats w1 b', 'p1 < reply'], 'it may not have read that yet');
  t.same(peer.sendNumbered(4, 2, beatOf('a', 'b')), ['shard beats w1 b', 'p1 < reply lost:a']);
  t.same(peer.sendNumbered(5, 2, beatOf('b')), ['shard beats w1 b', 'p1 < reply'], 'now it knows');
  t.same(peer.sendNumbered(6, 2, beatOf('a')), ['shard beats w1 a', 'p1 < reply'], 'forgotten: the shard judges');
});

t.test('cancels are told once, again while the attempt is named, and end with its result (R50)', async (t) => {
  const story = new HubStory();
  const peer = story.ready(hello());
  const cancel = () => story.shard('w1', (outbox) => outbox.cancel(['a'], 'not needed'));
  t.same(cancel(), ['p1 < cancel a (not needed)']);
  t.same(cancel(), []);
  t.same(peer.send(beatOf('a')), ['shard beats w1 a', 'p1 < reply cancel:a']);
  peer.send({ case: 'results', value: { results: [result('a', { outcome: { case: 'cancelled', value: {} } })] } });
  t.same(peer.send(beatOf('a')), ['shard beats w1 a', 'p1 < reply']);
});

t.test('silence: suspect, heard again, lost (R32)', async (t) => {
  const story = new HubStory();
  const peer = story.ready(hello());
  t.same(story.advance(5_000), ['shard capacity w1 4 shut']);
  t.match(story.hub.workers(), [{ status: 'SUSPECT' }]);
  t.same(
    story.shard('w1', (outbox) => outbox.assign([assignment('a')])),
    ['shard replies w1 a:no (the worker is silent)', 'shard capacity w1 4 shut'],
  );
  t.same(peer.send(beatOf()), ['shard capacity w1 4 open', 'shard beats w1', 'p1 < reply']);
  t.same(story.advance(7_999), ['shard capacity w1 4 shut']);
  t.same(story.advance(1), ['p1 closed 4002 abruptly', 'shard lost w1 s1: silent for 8000 ms']);
  t.same(story.hub.workers(), []);
  t.same(peer.send(beatOf()), []);
});

t.test('time in which this process stood still is nobody’s silence (R32)', async (t) => {
  const story = new HubStory();
  const peer = story.ready(hello());
  story.advance(4_000);
  t.same(story.standStill(60_000), [], 'what came meanwhile may wait to be read');
  t.same(peer.send(beatOf()), ['shard beats w1', 'p1 < reply']);
  t.same(story.advance(4_999), []);
});

t.test('nobody is judged by a process that has just stood still, and later all the same (R32, R33)', async (t) => {
  const silent = new HubStory();
  silent.ready(hello());
  t.same(silent.advance(7_900), ['shard capacity w1 4 shut']);
  t.same(silent.standStill(60_000), []);
  t.same(silent.advance(499), []);
  t.same(silent.advance(1), ['p1 closed 4002 abruptly', 'shard lost w1 s1: silent for 8000 ms']);

  const away = new HubStory();
  away.ready(hello()).close();
  t.same(away.standStill(60_000), [], 'its new connection may wait to be taken');
  t.same(away.standStill(60_000), ['shard lost w1 s1: did not come back within 2000 ms'], 'a loop that is always late judges too');
});

t.test('a closed socket: detach, grace, lost; a farewell: lost at once (R33, R34)', async (t) => {
  const story = new HubStory();
  const peer = story.ready(hello());
  t.same(peer.close(), ['shard detach w1 s1']);
  t.match(story.hub.workers(), [{ id: 'w1', status: 'DISCONNECTED' }]);
  t.same(
    story.shard('w1', (outbox) => outbox.assign([assignment('a')])),
    ['shard replies w1 a:no (the worker is not connected)'],
  );
  t.same(story.advance(1_999), []);
  t.same(story.advance(1), ['shard lost w1 s1: did not come back within 2000 ms']);
  const other = new HubStory().ready(hello());
  t.same(other.close(1000), ['shard lost w1 s1: the worker ended']);
});

t.test('results are made to fit and passed on; what cannot be a result is named (R43)', async (t) => {
  const peer = new HubStory().ready(hello());
  const results = [
    result('a', { outcome: { case: 'output', value: { data: new Uint8Array(256 * 1024 + 1) } } }),
    result('b', { outcome: { case: undefined } }),
    result('c', {
      outcome: {
        case: 'error',
        value: { code: '', message: 'é'.repeat(4096), stack: 's'.repeat(20_000), details: { data: new Uint8Array(65_537) } },
      },
    }),
    result('d', { workflowId: '' }),
    result('', {}),
  ];
  t.same(peer.send({ case: 'results', value: { results } }), [
    'shard results w1 a:OUTPUT_TOO_LARGE b:BAD_RESULT c:HANDLER_ERROR',
    'p1 < error BAD_FRAME: results: workflow_id must have 1 to 128 characters (and 1 more)',
  ]);
  const cut = results[2]!.outcome;
  t.equal(cut.case, 'error');
  if (cut.case === 'error') {
    t.equal(Buffer.byteLength(cut.value.message), 4096);
    t.equal(cut.value.stack.length, 16 * 1024);
    t.equal(cut.value.details, undefined);
  }
});

t.test('one worker id, one session (R13)', async (t) => {
  t.test('the same process connects anew: takes over, whatever became of the old socket', async (t) => {
    for (const how of ['alive', 'closed'] as const) {
      const story = new HubStory();
      const old = story.ready(hello());
      story.shard('w1', (outbox) => outbox.cancel(['a', 'b'], 'stop'));
      const stale = story.outboxes.get('w1')!;
      if (how === 'closed') old.close();
      const fresh = story.connect();
      const held = [{ leaseToken: 'a', workflowId: 'wf', jobId: 'j', attempt: 1 }];
      const expected = how === 'alive' ? ['p1 closed 4001', 'shard attach w1 s2 a'] : ['shard attach w1 s2 a'];
      t.same(fresh.send(hello({ connection: 2n, inFlight: held })), expected, how);
      t.same(
        story.shard('w1', (outbox) => outbox.welcome([])),
        ['p2 < welcome', 'p2 < cancel a (stop)'],
        'the cancel that was under way goes on',
      );
      t.same(
        story.do(() => stale.assign([assignment('x')])),
        ['shard replies w1 x:no (the worker is not connected)'],
      );
      t.same(old.close(), []);
      t.same(story.advance(4_000), [], 'the grace of the old one is over, and nothing comes of it');
      t.equal(story.hub.workers().length, 1);
    }
  });

  t.test('a Hello of the same process that arrives late is refused', async (t) => {
    const story = new HubStory();
    story.ready(hello({ connection: 5n }));
    t.same(story.connect().send(hello({ connection: 4n })), [
      "p2 < error fatal WORKER_ID_TAKEN: a newer connection of this process has the worker id 'w1'",
      'p2 closed 1008',
    ]);
  });

  t.test('another process is refused while the first is alive', async (t) => {
    const story = new HubStory();
    story.ready(hello());
    const written = story.connect().send(hello({ instanceId: 'i2' }));
    t.match(
      written[0],
      /fatal WORKER_ID_TAKEN: another process \(instance i1\) is connected with the worker id 'w1'; every worker needs an id/,
    );
    t.same(written.slice(1), ['p2 closed 1008']);
    t.equal(story.hub.workers().length, 1);
  });

  t.test('another process is taken when the first is gone or silent, and its leases end first', async (t) => {
    const gone = new HubStory();
    gone.ready(hello()).close();
    t.same(gone.connect().send(hello({ instanceId: 'i2' })), [
      'shard lost w1 s1: another process started with its id',
      'shard attach w1 s2',
    ]);
    const silent = new HubStory();
    silent.ready(hello());
    silent.advance(5_000);
    t.same(silent.connect().send(hello({ instanceId: 'i2' })), [
      'p1 closed 4001 abruptly',
      'shard lost w1 s1: another process started with its id',
      'shard attach w1 s2',
    ]);
  });
});

t.test('no more workers than the limit', async (t) => {
  const story = new HubStory({ workers: 1 });
  story.ready(hello());
  t.same(story.connect().send(hello({ workerId: 'w2' })), [
    'p2 < error fatal LIMIT_EXCEEDED: 1 workers are connected, more than that are not taken',
    'p2 closed 1013',
  ]);
});

t.test('a slow reader: paused, opened again, dropped by size and by time', async (t) => {
  const story = new HubStory();
  const peer = story.ready(hello());
  t.same(peer.flow(256 * 1024, 0), ['shard capacity w1 4 shut']);
  t.same(peer.flow(129 * 1024, 127 * 1024), []);
  t.same(peer.flow(128 * 1024, 128 * 1024), ['shard capacity w1 4 open']);
  t.same(peer.flow(4 * 1024 * 1024, 128 * 1024), ['p1 closed 4003 abruptly', 'shard detach w1 s1']);
  const stalling = new HubStory({ leaseMs: 60_000, suspectMs: 50_000 });
  const stalled = stalling.ready(hello());
  stalled.flow(1_000, 0);
  t.same(stalling.advance(9_000), []);
  stalled.flow(900, 100);
  t.same(stalling.advance(9_999), []);
  t.same(stalling.advance(1), ['p1 closed 4003 abruptly', 'shard detach w1 s1']);
});

t.test('Drain from the worker, Drain to the worker, GoAway (R51 to R53)', async (t) => {
  const asked = new HubStory();
  const asking = asked.ready(hello());
  t.same(asking.send({ case: 'drain', value: { reason: 'SIGTERM' } }), ['shard capacity w1 4 shut']);
  t.same(
    asked.shard('w1', (outbox) => outbox.assign([assignment('a')])),
    ['shard replies w1 a:no (draining)', 'shard capacity w1 4 shut'],
  );

  const story = new HubStory();
  const told = story.ready(hello());
  t.equal(story.hub.drain('nobody', ''), false);
  t.same(
    story.do(() => t.equal(story.hub.drain('w1', 'upgrade'), true)),
    ['shard capacity w1 4 shut', 'p1 < drain (upgrade)'],
  );
  t.match(story.hub.workers(), [{ status: 'DRAINING' }]);
  told.close();
  const again = story.connect();
  again.send(hello({ connection: 2n }));
  t.same(
    story.shard('w1', (outbox) => outbox.welcome([])),
    ['p2 < welcome', 'p2 < drain (upgrade)'],
    'said again to the next connection',
  );

  const leaving = new HubStory();
  leaving.ready(hello());
  t.same(
    leaving.do(() => leaving.hub.goAway('restart', 0)),
    ['shard capacity w1 4 shut', 'p1 < goAway (restart)'],
  );
});

t.test('log lines are cut and passed on (R60)', async (t) => {
  const story = new HubStory();
  const peer = story.ready(hello());
  const line = { leaseToken: 'a', workflowId: 'wf', jobId: 'j', attempt: 1 };
  t.same(
    peer.send({
      case: 'logLines',
      value: {
        lines: [
          { ...line, message: 'x'.repeat(9_000) },
          { ...line, leaseToken: '' },
        ],
      },
    }),
    ['p1 < error BAD_FRAME: log_lines: lease_token must have 1 to 256 characters'],
  );
  t.equal(story.lines.length, 1);
  t.equal(story.lines[0]!.message.length, 8 * 1024);
});
