/**
 * What clients ask of a shard, and what time does to it: submissions, steering, timers, overload, lists, what is kept of the past.
 */
import fc from 'fast-check';
import t from 'tap';
import { History } from '../../coordinator/shard/history.ts';
import { LIST_SCAN, WorkflowTable } from '../../coordinator/shard/workflow-table.ts';
import type { ListFilter } from '../../coordinator/store/store.ts';
import { graphOf, json } from '../engine-support/graphs.ts';
import { epochMs } from '../shard-support/ports.ts';
import type { WorkerDouble } from '../shard-support/worker-double.ts';
import { ShardWorld } from '../shard-support/world.ts';

const one = graphOf('a');
const { retry, timeouts } = one.jobs[0];
const pause = { kind: 'pause' } as const;
const resume = { kind: 'resume' } as const;
const cancel = { kind: 'cancel', reason: 'enough', force: false } as const;

/** Accepts and ends whatever a worker is offered, until nothing follows. */
async function serve(world: ShardWorld, worker: WorkerDouble): Promise<void> {
  for (let [token] = worker.unanswered.keys(); token !== undefined; [token] = worker.unanswered.keys()) {
    worker.accept(token);
    worker.succeed(token);
    await world.settle();
  }
}

async function accepted(world: ShardWorld, over: Parameters<ShardWorld['submit']>[1] = {}): Promise<string> {
  const reply = world.submit(one, over);
  await world.settle();
  const settled = await reply;
  return settled.kind === 'accepted' ? `${settled.state.id}${settled.existed ? ' existed' : ''}` : settled.kind;
}

t.test('one idempotency key, one workflow; another body under it is refused', async (t) => {
  const world = await ShardWorld.open();
  const key = { idempotencyKey: 'order-1', requestHash: 'h1' };
  t.equal(await accepted(world, key), 'wf-000001');
  t.equal(await accepted(world, key), 'wf-000001 existed');
  t.equal(await accepted(world, { ...key, requestHash: 'h2' }), 'key-reused');
  t.equal(await accepted(world, { ...key, idempotencyKey: 'order-2' }), 'wf-000004');
  t.equal(await accepted(world), 'wf-000005', 'no key is no key');
  t.equal(world.counts.submitted, 3);
  t.same(world.violations, []);
});

t.test('the second of two submissions under one key waits for the commit of the first', async (t) => {
  const world = await ShardWorld.open();
  world.store.closed = true;
  const key = { idempotencyKey: 'order-1', requestHash: 'h1' };
  const told: string[] = [];
  const first = world.submit(one, key).then(() => told.push('first'));
  await world.settle();
  const second = world.submit(one, key).then(() => told.push('second'));
  await world.settle();
  t.same(told, []);
  await world.store.open();
  await world.settle();
  await Promise.all([first, second]);
  t.same(told, ['first', 'second']);
  t.same(world.violations, []);
});

t.test('a workflow that was not started waits for it; steering says what it found', async (t) => {
  const world = await ShardWorld.open();
  const worker = world.worker('w1');
  const id = await world.start(one, { start: false });
  t.equal(worker.assigned.length, 0);
  t.match(await world.steer(id, pause), { kind: 'ignored', reason: 'invalid' });
  t.match(await world.steer(id, { kind: 'start' }), { kind: 'done', state: { status: 'RUNNING' } });
  t.match(await world.steer(id, { kind: 'start' }), { kind: 'ignored', reason: 'duplicate' });
  await serve(world, worker);
  t.match(await world.steer(id, cancel), { kind: 'ignored', reason: 'ended', state: { status: 'SUCCEEDED' } });
  t.match(await world.steer('nobody', cancel), { kind: 'not-found' });
  t.same(world.violations, []);
});

t.test('a paused workflow gets no worker; what runs goes on; it goes on where it was', async (t) => {
  const world = await ShardWorld.open();
  const worker = world.worker('w1', { slots: 5 });
  const id = await world.start(graphOf('a.ok->b, c, d'), {});
  const [a, c, d] = [...worker.unanswered.keys()];
  worker.accept(a);
  worker.accept(c);
  worker.reject(d);
  await world.settle();
  await world.steer(id, pause);
  worker.succeed(a);
  worker.succeed(c);
  await world.advance(5_000);
  t.equal(worker.assigned.length, 3, 'neither what followed nor what was refused');
  t.equal(world.shard.stats().readyJobs, 0, 'nothing that a worker could be given now');
  await world.steer(id, resume);
  t.same(
    worker.assigned
      .slice(3)
      .map(({ jobId }) => jobId)
      .sort(),
    ['b', 'd'],
  );
  await serve(world, worker);
  t.equal(world.state(id).status, 'SUCCEEDED');
});

t.test('a workflow paused in the queue is offered once it goes on, and only once', async (t) => {
  const world = await ShardWorld.open();
  const id = await world.start(one);
  t.equal(world.shard.stats().readyJobs, 1);
  for (let i = 0; i < 3; i++) {
    await world.steer(id, pause);
    t.equal(world.shard.stats().readyJobs, 0);
    await world.steer(id, resume);
    t.equal(world.shard.stats().readyJobs, 1);
  }
  const worker = world.worker('w1', { slots: 5 });
  await world.settle();
  t.equal(worker.assigned.length, 1);
});

t.test('time in the queue stands still while paused, and counts again after: QUEUE_TIMEOUT', async (t) => {
  const graph = graphOf('a', { jobs: { a: { timeouts: { ...timeouts, queueMs: 10_000 } } } });
  const world = await ShardWorld.open();
  const id = await world.start(graph);
  await world.advance(6_000);
  await world.steer(id, pause);
  await world.advance(60_000);
  t.equal(world.state(id).status, 'PAUSED');
  await world.steer(id, resume);
  t.equal(world.ports.alarmAt, world.now + 10_000);
  await world.advance(9_999);
  t.equal(world.state(id).status, 'RUNNING');
  await world.advance(1);
  t.match(world.state(id), { status: 'FAILED', error: { code: 'QUEUE_TIMEOUT' } });
  t.equal(world.shard.stats().readyJobs, 0, 'and it is in no queue any more');
});

t.test('a cancel lifts a pause, so that clean-up runs, with its time in the queue', async (t) => {
  const jobs = { z: { timeouts: { ...timeouts, queueMs: 4_000 } } };
  const world = await ShardWorld.open();
  const id = await world.start(graphOf('a.ok->b, a.ok->z(always_run)', { jobs }));
  const worker = world.worker('w1');
  await world.settle();
  const [token] = worker.unanswered.keys();
  worker.accept(token);
  await world.steer(id, pause);
  worker.succeed(token);
  worker.isOpen = false;
  worker.tell();
  await world.advance(20_000);
  t.same(
    world.state(id).jobs.map(({ phase }) => phase),
    ['SUCCEEDED', 'READY', 'READY'],
  );
  await world.steer(id, cancel);
  t.same(
    world.state(id).jobs.map(({ phase }) => phase),
    ['SUCCEEDED', 'CANCELLED', 'READY'],
  );
  t.equal(world.ports.alarmAt, world.now + 4_000);
  worker.isOpen = true;
  worker.tell();
  await world.settle();
  t.equal(worker.assigned.at(-1)?.jobId, 'z');
  await serve(world, worker);
  t.equal(world.state(id).status, 'CANCELLED');
});

t.test('a retry waits for its time, also over a pause, and is then offered', async (t) => {
  const graph = graphOf('a', { jobs: { a: { retry: { ...retry, maxAttempts: 3, initialDelayMs: 5_000, factor: 3 } } } });
  const world = await ShardWorld.open();
  const worker = world.worker('w1');
  const id = await world.start(graph);
  const fail = async (): Promise<void> => {
    const [token] = worker.unanswered.keys();
    worker.accept(token);
    worker.fail(token, 'BUSY', true);
    await world.settle();
  };
  await fail();
  t.equal(world.ports.alarmAt, world.now + 5_000);
  await world.advance(4_999);
  t.equal(worker.assigned.length, 1);
  await world.advance(1);
  t.equal(worker.assigned.length, 2);
  await fail();
  await world.steer(id, pause);
  await world.advance(10_000);
  await world.steer(id, resume);
  t.equal(worker.assigned.length, 2);
  await world.advance(5_000);
  t.equal(worker.assigned.at(-1)?.attempt, 3);
  await fail();
  t.match(world.state(id), { status: 'FAILED', jobs: [{ attempts: { length: 3 } }] });
});

t.test('the timeout of a workflow ends what waits, tells what runs, and leaves clean-up its own time', async (t) => {
  const graph = graphOf('a, b, z(always_run)', { timeoutMs: 30_000, cleanupTimeoutMs: 20_000 });
  const world = await ShardWorld.open();
  const worker = world.worker('w1');
  const id = await world.start(graph);
  const [token] = worker.unanswered.keys();
  worker.accept(token);
  await world.settle();
  t.equal(world.ports.alarmAt, epochMs + 30_000);
  await world.advance(30_000);
  t.same(worker.heard.at(-1), `cancel ${token} the workflow's timeout has passed`);
  worker.stopped(token);
  await world.settle();
  t.equal(worker.assigned.at(-1)?.jobId, 'z');
  await world.advance(20_000);
  t.match(world.state(id).jobs[2], { phase: 'READY' }, 'told to stop');
  await world.advance(10_000);
  t.match(world.state(id), { status: 'FAILED', error: { code: 'TIMEOUT' } });
});

t.test('after a cancel that was acknowledged no new attempt is dispatched', async (t) => {
  const world = await ShardWorld.open();
  const id = await world.start(graphOf('a, b, c'));
  await world.steer(id, cancel);
  const worker = world.worker('w1', { slots: 5 });
  await world.settle();
  t.same([worker.assigned.length, world.state(id).status], [0, 'CANCELLED']);
});

t.test('one more than the limit of open workflows is refused, without effect and with a time to come again', async (t) => {
  const world = await ShardWorld.open({ bounds: { openWorkflows: 2 } });
  const worker = world.worker('w1');
  t.equal(await accepted(world, { idempotencyKey: 'k', requestHash: 'h' }), 'wf-000001');
  t.equal(await accepted(world), 'wf-000002');
  const before = world.store.journal.lastSeq;
  const reply = world.submit(one);
  await world.settle();
  t.match(await reply, { kind: 'overloaded', message: /2 workflows are open \(limit openWorkflows\)/, retryAfterMs: 1_000 });
  t.equal(world.store.journal.lastSeq, before);
  t.equal(world.has('wf-000003'), false);
  t.equal(await accepted(world, { idempotencyKey: 'k', requestHash: 'h' }), 'wf-000001 existed', 'an answer costs no room');
  await serve(world, worker);
  t.equal(await accepted(world), 'wf-000005', 'and there is room again');
});

t.test('submissions beyond what may wait for a commit are refused, by events and by bytes; all else goes on', async (t) => {
  // Each submission is three events (submitted, started, ready) and forty thousand bytes.
  const cases = [
    { bounds: { inboxCommands: 6 }, room: 2 },
    { bounds: { inboxBytes: 100_000 }, room: 3 },
  ];
  for (const { bounds, room } of cases) {
    const world = await ShardWorld.open({ bounds });
    const replies: string[] = [];
    const submit = async (): Promise<void> => {
      void world.submit(one, { input: { input: 'x'.repeat(40_000) } }).then(({ kind }) => replies.push(kind));
      await world.settle();
    };
    world.store.closed = true;
    for (let taken = 0; taken < room; taken++) await submit();
    t.same(replies, [], 'all of them wait');
    await submit();
    t.same(replies, ['overloaded'], JSON.stringify(bounds));
    await world.store.open();
    await world.settle();
    await submit();
    t.same(replies, ['overloaded', ...Array.from({ length: room + 1 }, () => 'accepted')], 'the store is back');
  }
});

t.test('a batch beyond what may wait for the shard is refused as a whole', async (t) => {
  const world = await ShardWorld.open({ bounds: { inboxCommands: 2 } });
  const batch = [1, 2, 3].map((number) => {
    return { workflowId: `b${number}`, graph: one, inputs: json({}), labels: {}, idempotencyKey: '', requestHash: '', start: true };
  });
  const refused = world.shard.submit(batch);
  const taken = world.shard.submit(batch.slice(1));
  await world.settle();
  t.same(
    (await refused).map(({ kind }) => kind),
    ['overloaded', 'overloaded', 'overloaded'],
  );
  t.same(
    (await taken).map(({ kind }) => kind),
    ['accepted', 'accepted'],
  );
  const none = world.shard.submit([]);
  await world.settle();
  t.same(await none, []);
});

t.test('those who follow a workflow see every event once, in order, from where they say, to the end', async (t) => {
  const world = await ShardWorld.open();
  const worker = world.worker('w1');
  t.equal(world.watch('nobody', 0), null);
  const id = await world.start(graphOf('a.ok->b'));
  const early: string[] = [];
  const stop = world.watch(id, 0, { event: (seq, event) => early.push(`${seq} ${event.kind}`) });
  await serve(world, worker);
  const late: string[] = [];
  world.watch(id, 3, { event: (seq, event) => late.push(`${seq} ${event.kind}`) });
  t.same(late, ['4 jobSucceeded', '5 jobReady', '6 jobSucceeded', '7 ended']);
  t.same(early, ['1 submitted', '2 started', '3 jobReady', ...late]);
  t.equal(world.watch(id, 7, { event: () => t.fail('there is nothing after the end') }) === null, false);
  stop?.();
  t.same(world.violations, []);
});

t.test('of the checkpoints of a job the last one is shown, of the others that they were', async (t) => {
  const history = new History();
  const checkpoint = (job: number, text: string) => ({ kind: 'jobCheckpointed', at: 1, job, checkpoint: json(text) }) as const;
  history.push({ kind: 'started', at: 1 });
  for (const [job, text] of [
    [0, 'a'],
    [1, 'x'],
    [0, 'b'],
    [0, 'c'],
  ] as const)
    history.push(checkpoint(job, text));
  const shown = Array.from({ length: history.length }, (_, place) => history.at(place)).map((event) =>
    event?.kind === 'jobCheckpointed' ? `${event.job} ${new TextDecoder().decode(event.checkpoint.data)}` : event?.kind,
  );
  t.same(shown, ['started', '0 ', '1 "x"', '0 ', '0 "c"']);
  t.same(history.at(-1), checkpoint(0, 'c'));
});

const everything: ListFilter = {
  statuses: new Set(),
  name: '',
  submittedAfter: 0,
  submittedBefore: Number.POSITIVE_INFINITY,
  labels: new Map(),
  beforeId: '',
  limit: 100,
};

t.test('lists are newest first, filtered by what was asked', async (t) => {
  const world = await ShardWorld.open();
  const worker = world.worker('w1', { slots: 5 });
  await world.start(one, { labels: { team: 'blue', env: 'prod' } });
  await world.advance(1_000);
  await world.start(one, { labels: { team: 'red' }, start: false });
  await world.advance(1_000);
  await world.start({ ...one, name: 'other' }, { labels: { team: 'blue' }, start: false });
  await serve(world, worker);
  const list = async (filter: Partial<ListFilter>): Promise<string[]> => {
    const reply = world.shard.query((table) => table.list({ ...everything, ...filter }).states.map(({ id }) => id.slice(-1)));
    await world.settle();
    return await reply;
  };
  t.same(await list({}), ['3', '2', '1']);
  t.same(await list({ limit: 2 }), ['3', '2']);
  t.same(await list({ statuses: new Set(['SUCCEEDED']) }), ['1']);
  t.same(await list({ statuses: new Set(['PENDING', 'SUCCEEDED']) }), ['3', '2', '1']);
  t.same(await list({ name: 'other' }), ['3']);
  t.same(await list({ labels: new Map([['team', 'blue']]) }), ['3', '1']);
  t.same(
    await list({
      labels: new Map([
        ['team', 'blue'],
        ['env', 'prod'],
      ]),
    }),
    ['1'],
  );
  t.same(await list({ submittedAfter: epochMs + 1_000 }), ['3', '2'], 'at that very moment too');
  t.same(await list({ submittedBefore: epochMs + 2_000 }), ['2', '1'], 'at that very moment not');
  t.same(await list({ beforeId: 'wf-000003' }), ['2', '1']);
  t.same(await list({ beforeId: 'wf-000001' }), []);
  t.same(await list({ beforeId: 'zzz' }), ['3', '2', '1']);
});

t.test('pages of a list meet each workflow once, whatever ends and is forgotten between them', async (t) => {
  const property = fc.property(
    fc.array(fc.oneof(fc.constant('add'), fc.constant('end')), { maxLength: 60, size: 'max' }),
    fc.integer({ min: 1, max: 7 }),
    fc.array(fc.boolean()),
    (steps, limit, disturbances) => {
      const table = new WorkflowTable({ workflows: 5, bytes: 1_000_000_000 }, false);
      const open: ReturnType<WorkflowTable['add']>[] = [];
      let ids = 0;
      const add = (): void => void open.push(table.add({ ...stateOf(`wf-${String(++ids).padStart(4, '0')}`), submittedAt: ids }));
      const end = (): void => {
        const record = open.shift();
        if (record !== undefined) table.ended(record);
      };
      for (const step of steps) step === 'add' ? add() : end();
      const before = new Set(table.list({ ...everything, limit: 1_000 }).states.map(({ id }) => id));
      const seen: string[] = [];
      let beforeId: string | null = '';
      for (let page = 0; beforeId !== null; page++) {
        const { states, next } = table.list({ ...everything, limit, beforeId });
        seen.push(...states.map(({ id }) => id));
        beforeId = next;
        if (disturbances[page] === true) add();
        else if (disturbances[page] === false) end();
      }
      if (new Set(seen).size !== seen.length) throw new Error(`twice: ${seen}`);
      if (seen.some((id, index) => index > 0 && id >= seen[index - 1])) throw new Error(`out of order: ${seen}`);
      for (const id of before) if (table.get(id) !== undefined && !seen.includes(id)) throw new Error(`${id} was never shown`);
    },
  );
  t.doesNotThrow(() => fc.assert(property));
});

t.test('a list that matches little is told in parts, each of which looks at a bounded number of workflows', async (t) => {
  const table = new WorkflowTable({ workflows: 1_000_000, bytes: 1_000_000_000 }, false);
  const count = 2 * LIST_SCAN + 5;
  for (let number = 0; number < count; number++) {
    table.add({ ...stateOf(`wf-${String(number).padStart(6, '0')}`), labels: { rare: String(number % LIST_SCAN === 3) } });
  }
  const filter = { ...everything, labels: new Map([['rare', 'true']]) };
  const parts: string[][] = [];
  for (let beforeId: string | null = ''; beforeId !== null; ) {
    const { states, next } = table.list({ ...filter, beforeId });
    parts.push(states.map(({ id }) => id));
    beforeId = next;
  }
  t.same(parts, [['wf-020003'], ['wf-010003'], ['wf-000003']], 'in three parts');
});

function stateOf(id: string, inputs = json({})) {
  return {
    id,
    graph: one,
    inputs,
    labels: {},
    idempotencyKey: `key of ${id}`,
    requestHash: '',
    submittedAt: 1,
    status: 'SUCCEEDED' as const,
    startedAt: 1,
    resumedAt: 0,
    recoveredAt: 0,
    endedAt: 1,
    cancelRequestedAt: 0,
    cancelReason: '',
    forced: false,
    timedOutAt: 0,
    failures: [],
    failuresBeforeStop: null,
    outputs: null,
    error: null,
    errorJob: null,
    seq: 1,
    jobs: [],
    openJobs: 0,
    openRegularJobs: 0,
  };
}

t.test('ended workflows are kept up to a number and up to their bytes, oldest end first, and their keys with them', async (t) => {
  const table = new WorkflowTable({ workflows: 2, bytes: 1_000_000_000 }, false);
  const records = ['a', 'b', 'c', 'd'].map((id) => table.add(stateOf(id)));
  t.equal(table.open, 4);
  for (const place of [2, 0]) table.ended(records[place]);
  t.same(
    [...table.values()].map(({ state }) => state.id),
    ['a', 'b', 'c', 'd'],
    'as many as are kept',
  );
  table.ended(records[1]);
  t.same(
    [...table.values()].map(({ state }) => state.id),
    ['a', 'b', 'd'],
    'c ended first',
  );
  t.equal(table.open, 1);
  t.equal(table.byKey('key of c'), undefined);
  t.equal(table.byKey('key of a')?.state.id, 'a');

  const small = new WorkflowTable({ workflows: 100, bytes: 50_000 }, false);
  for (let number = 0; number < 30; number++) small.ended(small.add(stateOf(`wf${number}`, json('x'.repeat(9_000)))));
  const kept = [...small.values()].map(({ state }) => state.id);
  t.same(kept, ['wf26', 'wf27', 'wf28', 'wf29']);
});

t.test('a key that was forgotten with its workflow may be used again, and is not lost with an older one', async (t) => {
  const world = await ShardWorld.open({ bounds: { endedWorkflowsKept: 1 } });
  const worker = world.worker('w1');
  const key = { idempotencyKey: 'k', requestHash: 'h' };
  t.equal(await accepted(world, key), 'wf-000001');
  await serve(world, worker);
  t.equal(await accepted(world, key), 'wf-000001 existed', 'ended, and remembered');
  await world.start(one);
  await serve(world, worker);
  t.equal(world.has('wf-000001'), false);
  t.equal(await accepted(world, key), 'wf-000004');
});
