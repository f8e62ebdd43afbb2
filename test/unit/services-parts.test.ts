/**
 * The parts behind the services that hold something for somebody: feeds, lines of logs, tokens of pages, counts of streams.
 */
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { LogLineSchema } from '@workflow-orchestrator/proto';
import { limits } from '@workflow-orchestrator/proto/limits';
import fc from 'fast-check';
import t from 'tap';
import { Feed } from '../../coordinator/api/services/feed.ts';
import { Logs, lineBytes } from '../../coordinator/api/services/logs.ts';
import { OpenStreams } from '../../coordinator/api/services/open-streams.ts';
import { pageSize, pageTokenOf, readPagePlace, readPageToken } from '../../coordinator/api/services/pages.ts';
import { failureOf } from '../shard-support/failure.ts';

const forEver = new AbortController().signal;

// --- feed ----------------------------------------------------------------------------------------------------------------

async function readAll<T>(feed: Feed<T>, signal = forEver): Promise<T[]> {
  const items: T[] = [];
  for await (const batch of feed.batches(signal)) items.push(...batch);
  return items;
}

t.test('a feed gives everything in order, also what came before the reader, and ends when it is closed', async (t) => {
  const feed = new Feed<number>(10, () => new Error('slow'));
  feed.push(1);
  feed.push(2);
  const reading = readAll(feed);
  await null;
  feed.push(3);
  await null;
  feed.push(4);
  feed.close();
  feed.push(5);
  t.same(await reading, [1, 2, 3, 4]);
});

t.test('a reader that falls behind by more than the bound gets the error, and no gap', async (t) => {
  const feed = new Feed<number>(2, () => new Error('slow'));
  for (const item of [1, 2]) feed.push(item);
  t.same(await readAll(feed, AbortSignal.abort()), [], 'who is gone reads nothing');
  feed.push(3);
  const seen: number[] = [];
  await t.rejects(
    (async () => {
      for await (const items of feed.batches(forEver)) seen.push(...items);
    })(),
    { message: 'slow' },
  );
  t.same(seen, []);
});

t.test('a reader that goes away ends its feed, wherever it waits', async (t) => {
  const controller = new AbortController();
  const feed = new Feed<number>(2, () => new Error('slow'));
  feed.push(1);
  const reading = readAll(feed, controller.signal);
  await null;
  controller.abort();
  t.same(await reading, [1]);
});

// --- logs ----------------------------------------------------------------------------------------------------------------

function lineOf(message: string, number: number, over: MessageInitShape<typeof LogLineSchema> = {}) {
  return create(LogLineSchema, { leaseToken: 't1', workflowId: 'wf', jobId: 'a', attempt: 1, message, number, ...over });
}

function textOf(logs: Logs, workflowId = 'wf', jobId = '', from = 0): string[] {
  return logs.read(workflowId, jobId, from).lines.map(({ message, dropped }) => (dropped > 0 ? `(${dropped}) ${message}` : message));
}

t.test('lines are read in the order of their arrival, of all jobs or of one, from any place', async (t) => {
  const logs = new Logs();
  logs.append([lineOf('one', 1), lineOf('two', 1, { jobId: 'b', leaseToken: 't2' }), lineOf('three', 2)]);
  t.same(textOf(logs), ['one', 'two', 'three']);
  t.same(textOf(logs, 'wf', 'a'), ['one', 'three']);
  t.same(textOf(logs, 'wf', 'a', 1), ['three']);
  t.equal(logs.read('wf', 'b', 0).next, 3, 'the place to go on from counts all lines');
  t.same(logs.read('nobody', '', 5), { lines: [], next: 5 });
});

t.test('a line that was sent again is kept once; one without a number is always new', async (t) => {
  const logs = new Logs();
  logs.append([lineOf('one', 1), lineOf('two', 2)]);
  logs.append([lineOf('one', 1), lineOf('two', 2), lineOf('three', 3)]);
  logs.append([lineOf('bare', 0), lineOf('bare', 0)]);
  t.same(textOf(logs), ['one', 'two', 'three', 'bare', 'bare']);
});

t.test('what does not fit into the log of an attempt is dropped and counted', async (t) => {
  const bytes = lineBytes(lineOf('xxxxx', 1));
  const logs = new Logs({ logBytesPerAttempt: 2 * bytes, logBytesTotal: 1_000_000 });
  logs.append([lineOf('xxxx1', 1), lineOf('xxxx2', 2), lineOf('', 3), lineOf('y', 1, { leaseToken: 't2' })]);
  t.same(textOf(logs), ['xxxx1', 'xxxx2', 'y'], 'another attempt has room of its own');
  const wide = new Logs({ logBytesPerAttempt: 3 * bytes - 5, logBytesTotal: 1_000_000 });
  wide.append([lineOf('xxxx1', 1), lineOf('xxxx2', 2), lineOf('xxxx3', 3), lineOf('', 4)]);
  t.same(textOf(wide), ['xxxx1', 'xxxx2', '(1) ']);
});

t.test('drops that no line follows are told when the log is read, or by the last line of the worker', async (t) => {
  const bytes = lineBytes(lineOf('xxxxx', 1));
  const logs = new Logs({ logBytesPerAttempt: bytes, logBytesTotal: 1_000_000 });
  logs.append([
    lineOf('xxxx1', 1, { leaseToken: 'u', jobId: 'b' }),
    lineOf('xxxx1', 1),
    lineOf('xxxx2', 2),
    lineOf('xxxx3', 3, { timeMs: 7n }),
  ]);
  const told = { jobId: 'a', attempt: 1, dropped: 2, number: 3, timeMs: 7n, message: 'lines were dropped: too much log', leaseToken: '' };
  t.match(logs.untold('wf', ''), [told]);
  t.match(logs.untold('wf', 'a'), [told], 'reading it does not use it up');
  t.same(logs.untold('wf', 'b'), []);
  t.same(logs.untold('nobody', ''), []);
  logs.append([lineOf('closing', 14, { dropped: 10 })]);
  t.same(textOf(logs), ['xxxx1', 'xxxx1', '(12) closing'], 'with the drops of both');
  t.same(logs.untold('wf', ''), []);
  const full = new Logs({ logBytesPerAttempt: 1_000, logBytesTotal: 10 });
  const stop = full.follow('wf', () => {});
  full.append([lineOf('first', 1), lineOf('closing', 9, { dropped: 7 })]);
  t.match(full.untold('wf', ''), [{ dropped: 9 }], 'of what found no room at all, too');
  stop();
  t.equal(full.workflows, 0);
});

t.test('lease tokens are not shown', async (t) => {
  const logs = new Logs();
  logs.append([lineOf('one', 1)]);
  t.equal(logs.read('wf', '', 0).lines[0].leaseToken, '');
});

t.test(
  'all logs together stay within their bound: the oldest workflow goes, who is followed stays, what finds no room is dropped',
  async (t) => {
    const property = fc.property(
      fc.array(fc.record({ workflow: fc.nat(4), attempt: fc.nat(2), length: fc.nat(300), follow: fc.nat(9) }), {
        maxLength: 120,
        size: 'max',
      }),
      (steps) => {
        const logBytesTotal = 3_000;
        const logs = new Logs({ logBytesPerAttempt: 1_500, logBytesTotal });
        const followed = new Map<string, () => void>();
        for (const [index, { workflow, attempt, length, follow }] of steps.entries()) {
          const workflowId = `wf${workflow}`;
          if (follow === 0 && !followed.has(workflowId))
            followed.set(
              workflowId,
              logs.follow(workflowId, () => {}),
            );
          if (follow === 1) {
            followed.get(workflowId)?.();
            followed.delete(workflowId);
          }
          const before = new Map([...followed.keys()].map((id) => [id, logs.read(id, '', 0).next]));
          logs.append([lineOf('x'.repeat(length), index + 1, { workflowId, leaseToken: `${workflowId}/${attempt}` })]);
          for (const [id, count] of before) if (logs.read(id, '', 0).next < count) throw new Error(`${id} was followed and forgotten`);
          if (logs.bytes > logBytesTotal) throw new Error(`${logs.bytes} bytes are kept`);
          let kept = 0;
          for (let id = 0; id < 5; id++) for (const line of logs.read(`wf${id}`, '', 0).lines) kept += lineBytes(line);
          if (kept !== logs.bytes) throw new Error(`${kept} bytes are kept, ${logs.bytes} are counted`);
        }
        for (const stop of followed.values()) stop();
        for (let id = 0; id < 5; id++) if (logs.read(`wf${id}`, '', 0).lines.length > 0) return;
        if (logs.workflows > 0) throw new Error('something is kept of workflows without lines');
      },
    );
    t.doesNotThrow(() => fc.assert(property));
  },
);

t.test('followers are told once per delivery, and nothing is left of them', async (t) => {
  const logs = new Logs();
  let told = 0;
  const stop = logs.follow('wf', () => told++);
  logs.append([lineOf('one', 1), lineOf('two', 2), lineOf('else', 1, { workflowId: 'other' })]);
  logs.append([lineOf('one', 1)]);
  t.equal(told, 1, 'a line that was known is no news');
  stop();
  logs.append([lineOf('three', 3)]);
  t.equal(told, 1);
  logs.follow('nobody', () => {})();
  t.equal(logs.workflows, 2);
});

// --- pages ---------------------------------------------------------------------------------------------------------------

t.test('page tokens come back, and those of another list or of nobody are refused by name', async (t) => {
  t.equal(readPageToken('workflows', pageTokenOf('workflows', 'id:with:colons')), 'id:with:colons');
  t.equal(readPageToken('workflows', ''), '');
  for (const token of [pageTokenOf('jobs', '3'), 'garbage', '!!', pageTokenOf('workflow', 's:x')])
    t.match(await failureOf(() => readPageToken('workflows', token)), { code: 'InvalidArgument', field: 'page_token' }, token);
  t.equal(readPagePlace('jobs', ''), 0);
  t.equal(readPagePlace('jobs', pageTokenOf('jobs', '300')), 300);
  for (const place of ['-1', '1.5', 'x', 'NaN', '1e9', '9'.repeat(10)])
    t.match(await failureOf(() => readPagePlace('jobs', pageTokenOf('jobs', place))), { code: 'InvalidArgument' }, place);
  t.same([pageSize(0, 50), pageSize(7, 50), pageSize(5_000, 50)], [50, 7, limits.pageSize]);
});

// --- streams -------------------------------------------------------------------------------------------------------------

t.test('one stream more than there may be is refused; one that ended makes room', async (t) => {
  const streams = new OpenStreams(1);
  const leave = streams.enter();
  t.match(await failureOf(() => streams.enter()), { code: 'ResourceExhausted', reason: 'LIMIT_EXCEEDED' });
  leave();
  streams.enter()();
});
