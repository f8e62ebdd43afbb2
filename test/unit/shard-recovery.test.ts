/**
 * Another coordinator reads the journal of one that died: the same states, the timers armed, and time for workers to come back with what they run.
 */

import { create } from '@bufbuild/protobuf';
import { stripLeases } from '@workflow-orchestrator/engine/machine';
import { InFlightSchema } from '@workflow-orchestrator/proto';
import { limits } from '@workflow-orchestrator/proto/limits';
import t from 'tap';
import { MemoryJournal } from '../../coordinator/store/memory/memory.ts';
import { graphOf, json } from '../engine-support/graphs.ts';
import { differences } from '../engine-support/snapshots.ts';
import { HeldStore } from '../shard-support/held-store.ts';
import { epochMs } from '../shard-support/ports.ts';
import type { WorkerDouble } from '../shard-support/worker-double.ts';
import { ShardWorld } from '../shard-support/world.ts';

const one = graphOf('a');
const { retry, timeouts } = one.jobs[0];

async function take(world: ShardWorld, worker: WorkerDouble): Promise<string> {
  const [token] = worker.unanswered.keys();
  if (token === undefined) throw new Error(`${worker.id} was offered nothing`);
  worker.accept(token);
  await world.settle();
  return token;
}

/** A world where w1 runs job a of a workflow. */
async function running(graph = one): Promise<{ world: ShardWorld; worker: WorkerDouble; id: string; token: string }> {
  const world = await ShardWorld.open();
  const worker = world.worker('w1', { slots: 2 });
  const id = await world.start(graph);
  const token = await take(world, worker);
  return { world, worker, id, token };
}

t.test('every workflow is what it was, but for its leases', async (t) => {
  const world = await ShardWorld.open();
  const worker = world.worker('w1', { slots: 8 });
  const retried = { a: { retry: { ...retry, maxAttempts: 3, initialDelayMs: 60_000 } } };
  const ids = [
    await world.start(graphOf('a.ok->b, a.fail->c')),
    await world.start(graphOf('a.ok->b, z(always_run)')),
    await world.start(graphOf('a', { jobs: retried })),
    await world.start(one, { start: false }),
    await world.start(graphOf('a, b')),
    await world.start(one, { labels: { team: 'blue' }, inputs: json({ n: 1 }) }),
  ];
  const byId = new Map([...worker.unanswered].map(([token, { workflowId, jobId }]) => [`${workflowId}/${jobId}`, token]));
  for (const token of byId.values()) worker.accept(token);
  worker.fail(byId.get(`${ids[0]}/a`) ?? '');
  worker.fail(byId.get(`${ids[2]}/a`) ?? '', 'BUSY', true);
  worker.beat({ checkpoint: '{"row":1}' });
  worker.succeed(byId.get(`${ids[5]}/a`) ?? '', '{"ok":true}');
  await world.settle();
  await world.steer(ids[1], { kind: 'cancel', reason: 'enough', force: false });
  await world.steer(ids[4], { kind: 'pause' });
  await world.advance(1_000);

  const before = ids.map((id) => stripLeases(world.state(id)));
  const list = async (): Promise<readonly string[]> => {
    const reply = world.shard.query((table) => [...table.values()].map(({ state }) => state.id));
    await world.settle();
    return await reply;
  };
  t.same(await list(), ids);
  await world.recover(5_000);
  for (const [place, id] of ids.entries()) {
    t.same(differences(stripLeases(world.state(id)), before[place]), [], id);
    const seen: number[] = [];
    world.watch(id, 0, { event: (seq) => seen.push(seq) });
    t.equal(seen.length, world.state(id).seq, 'with its whole history');
  }
  t.same(await list(), ids, 'in the order of submission');
  t.match(world.shard.stats(), { openWorkflows: 5, runningJobs: 0 });
  t.same(world.violations, []);
});

t.test('what was READY is offered to nobody for one lease; what becomes READY after is', async (t) => {
  const { world, worker, id } = await running(graphOf('a.ok->b'));
  const waiting = await world.start(one);
  worker.running.clear();
  await world.recover();
  const other = world.worker('w2', { slots: 3 });
  await world.settle();
  t.equal(other.assigned.length, 0, 'both may be running somewhere');
  t.equal(world.shard.stats().readyJobs, 0);
  await world.start(one);
  t.equal(other.assigned.length, 1, 'a new one cannot');
  await world.advance(limits.leaseMs - 1);
  t.equal(other.assigned.length, 1);
  await world.advance(1);
  t.same(
    other.assigned
      .slice(1)
      .map(({ workflowId, attempt }) => [workflowId, attempt])
      .sort(),
    [
      [id, 1],
      [waiting, 1],
    ],
  );
});

t.test('a worker that comes back in time keeps its attempt, and it ends as if nothing had been', async (t) => {
  const { world, worker, id, token } = await running(graphOf('a.ok->b'));
  await world.advance(3_000);
  await world.recover(2_000);
  await world.advance(1_000);
  worker.attach();
  await world.settle();
  t.ok(worker.heard.includes(`verdict ${token} KEEP`));
  t.match(world.state(id).jobs[0].lease, { token, attempt: 1, acceptedAt: epochMs });
  t.equal(world.shard.stats().runningJobs, 1);
  worker.beat();
  await world.advance(60_000);
  t.equal(worker.assigned.length, 1, 'nobody else was given it');
  worker.succeed(token);
  await world.settle();
  t.match(world.state(id).jobs[0], { phase: 'SUCCEEDED', attempts: [{ token, startMs: epochMs }] });
  t.equal(worker.assigned[1].jobId, 'b', 'what follows goes on at once');
  t.same(world.violations, []);
});

t.test('a result that waited over the recovery counts', async (t) => {
  const { world, worker, id, token } = await running();
  await world.recover();
  worker.succeed(token);
  worker.attach();
  await world.settle();
  t.ok(worker.heard.includes(`verdict ${token} SEND_RESULT`));
  t.same(worker.acks, ['ACCEPTED']);
  t.equal(world.state(id).status, 'SUCCEEDED');
});

t.test('a result whose ack was lost with the coordinator is a duplicate', async (t) => {
  const { world, worker, id, token } = await running();
  world.store.closed = true;
  worker.succeed(token);
  await world.settle();
  world.shard.stop();
  await world.store.letThrough();
  await world.recover();
  t.same(worker.acks, []);
  world.store.closed = false;
  worker.attach();
  await world.settle();
  t.same(worker.acks, ['DUPLICATE']);
  t.equal(world.state(id).status, 'SUCCEEDED');
  t.same(world.violations, []);
});

t.test('what was decided and not committed never happened: the result is taken again', async (t) => {
  const { world, worker, id, token } = await running();
  world.store.closed = true;
  worker.succeed(token);
  await world.settle();
  await world.recover();
  await world.store.open();
  await world.settle();
  t.equal(world.state(id).status, 'RUNNING', 'the late commit of the old owner is fenced');
  worker.attach();
  await world.settle();
  t.same(worker.acks, ['ACCEPTED']);
  t.equal(world.state(id).jobs[0].attempts.length, 1);
  t.same(world.violations, []);
});

t.test('a worker that gives its attempt back within the grace sets the job free at once', async (t) => {
  const { world, worker, token } = await running();
  await world.recover();
  worker.attach();
  await world.settle();
  const other = world.worker('w2');
  worker.isOpen = false;
  worker.release(token);
  await world.settle();
  t.match(other.assigned, [{ attempt: 1 }]);
});

t.test('of two workers with the same attempt the first has it', async (t) => {
  const { world, worker, id, token } = await running();
  await world.recover();
  const twin = world.worker('w2');
  await world.settle();
  twin.detach();
  twin.lost();
  for (const [held, attempt] of worker.running) twin.running.set(held, attempt);
  twin.attach();
  await world.settle();
  t.ok(twin.heard.includes(`verdict ${token} KEEP`));
  worker.attach();
  await world.settle();
  t.ok(worker.heard.includes(`verdict ${token} ABANDON`));
  t.equal(world.state(id).jobs[0].lease?.workerId, 'w2');
});

t.test('who comes back after the grace finds the job given to another', async (t) => {
  const { world, worker, id, token } = await running();
  await world.recover();
  const other = world.worker('w2');
  await world.advance(limits.leaseMs);
  t.match(other.assigned, [{ attempt: 1 }]);
  t.not(other.assigned[0].leaseToken, token);
  worker.attach();
  await world.settle();
  t.ok(worker.heard.includes(`verdict ${token} ABANDON`));
  t.equal(world.state(id).jobs[0].lease?.workerId, 'w2');
});

t.test('who comes back after the grace while nobody else was there goes on', async (t) => {
  const { world, worker, id, token } = await running();
  await world.recover();
  await world.advance(10 * limits.leaseMs);
  t.equal(world.shard.stats().readyJobs, 1);
  worker.attach();
  await world.settle();
  t.equal(world.state(id).jobs[0].lease?.token, token);
  t.equal(world.shard.stats().readyJobs, 0);
  t.equal(worker.assigned.length, 1, 'the entry in the queue means nothing any more');
});

t.test('only an attempt that an earlier owner gave, and that counts next, is taken up', async (t) => {
  const { world, token } = await running();
  await world.recover();
  const claim = async (leaseToken: string, attempt = 1, jobId = 'a'): Promise<string> => {
    const worker = world.worker(`w${leaseToken}${attempt}${jobId}`);
    await world.settle();
    worker.detach();
    world.shard.attach(
      {
        workerId: worker.id,
        instanceId: 'i',
        sessionId: 's',
        labels: new Map(),
        capabilities: new Map(),
        slots: 1,
        inFlight: [create(InFlightSchema, { leaseToken, workflowId: world.ids[0], jobId, attempt })],
      },
      {
        welcome: (verdicts) => worker.heard.push(verdicts.map(({ verdict }) => verdict).join()),
        assign: () => {},
        ack: () => {},
        cancel: () => {},
        revoke: () => {},
      },
    );
    await world.settle();
    return worker.heard.at(-1) ?? 'nothing';
  };
  const [keep, abandon] = ['1', '2'];
  t.equal(await claim('made up'), abandon, 'no token of ours');
  t.equal(await claim('2.1.x'), abandon, 'one of this owner, who gave none');
  t.equal(await claim('3.1.x'), abandon, 'one of an owner that is to come');
  t.equal(await claim(token, 2), abandon, 'another attempt');
  t.equal(await claim(token, 1, 'nobody'), abandon, 'no such job');
  t.equal(await claim(token), keep);
});

t.test('time in the queue counts from the end of the grace', async (t) => {
  const graph = graphOf('a', { jobs: { a: { timeouts: { ...timeouts, queueMs: 5_000 } } } });
  const { world, worker, id, token } = await running(graph);
  await world.advance(60_000);
  await world.recover(60_000);
  await world.advance(limits.leaseMs - 1);
  t.equal(world.state(id).status, 'RUNNING', 'it may be running all the while');
  worker.attach();
  await world.settle();
  t.equal(world.state(id).jobs[0].lease?.token, token);

  const lonely = await running(graph);
  await lonely.world.recover(60_000);
  await lonely.world.advance(limits.leaseMs + 4_999);
  t.equal(lonely.world.state(lonely.id).status, 'RUNNING');
  await lonely.world.advance(1);
  t.match(lonely.world.state(lonely.id), { status: 'FAILED', error: { code: 'QUEUE_TIMEOUT' } });
});

t.test('a run timeout counts from when the attempt began', async (t) => {
  const { world, worker, id } = await running(graphOf('a', { jobs: { a: { timeouts: { ...timeouts, runMs: 20_000 } } } }));
  await world.advance(10_000);
  await world.recover(4_000);
  worker.attach();
  await world.settle();
  t.equal(world.ports.alarmAt, epochMs + 20_000);
  await world.advance(6_000);
  t.match(world.state(id), { status: 'FAILED', error: { code: 'TIMEOUT' } });
});

t.test('timers of workflows and of retries are armed again; what came due while nobody was there fires', async (t) => {
  const world = await ShardWorld.open();
  const worker = world.worker('w1', { slots: 3 });
  const late = await world.start(graphOf('a', { timeoutMs: 50_000 }));
  const soon = await world.start(graphOf('a', { timeoutMs: 10_000 }));
  const again = await world.start(graphOf('a', { jobs: { a: { retry: { ...retry, maxAttempts: 2, initialDelayMs: 30_000 } } } }));
  const tokens = [...worker.unanswered].map(([token, { workflowId }]) => ({ token, workflowId }));
  const { token } = tokens.find(({ workflowId }) => workflowId === again) ?? { token: '' };
  worker.accept(token);
  worker.fail(token, 'BUSY', true);
  await world.settle();
  await world.recover(15_000);
  t.equal(world.state(soon).timedOutAt, world.now, 'at the first turn');
  t.equal(world.state(late).timedOutAt, 0);
  worker.attach();
  await world.advance(14_999);
  t.notOk(worker.assigned.some(({ attempt }) => attempt === 2));
  await world.advance(1);
  t.ok(
    worker.assigned.some(({ workflowId, attempt }) => workflowId === again && attempt === 2),
    'a retry waits for its own time and no grace',
  );
  await world.advance(20_000);
  t.equal(world.state(late).timedOutAt, epochMs + 50_000);
});

t.test('a pause holds over a recovery, and a resume within the grace gives nothing away', async (t) => {
  const { world, worker, id, token } = await running();
  await world.steer(id, { kind: 'pause' });
  await world.recover();
  const other = world.worker('w2');
  await world.settle();
  t.equal(world.state(id).status, 'PAUSED');
  await world.steer(id, { kind: 'resume' });
  t.equal(other.assigned.length, 0);
  worker.attach();
  await world.settle();
  t.equal(world.state(id).jobs[0].lease?.token, token);
  worker.lost();
  await world.settle();
  t.match(other.assigned, [{ attempt: 2 }], 'its worker was back, so nothing is waited for');
});

t.test('a pause that outlasts the grace: the resume offers at once', async (t) => {
  const { world, id } = await running();
  await world.steer(id, { kind: 'pause' });
  await world.recover();
  const other = world.worker('w2');
  await world.advance(limits.leaseMs);
  t.equal(other.assigned.length, 0);
  await world.steer(id, { kind: 'resume' });
  t.equal(other.assigned.length, 1);
});

t.test('what was told to stop is told again when its worker comes back, and ends without it if it does not', async (t) => {
  const { world, worker, id, token } = await running();
  await world.steer(id, { kind: 'cancel', reason: 'enough', force: false });
  await world.recover();
  worker.attach();
  await world.settle();
  worker.beat();
  await world.settle();
  t.ok(worker.heard.includes(`cancel ${token} enough`));
  worker.stopped(token);
  await world.settle();
  t.equal(world.state(id).status, 'CANCELLED');

  const lonely = await running();
  await lonely.world.steer(lonely.id, { kind: 'cancel', reason: '', force: false });
  await lonely.world.recover();
  const other = lonely.world.worker('w2');
  await lonely.world.advance(limits.leaseMs + limits.cancelGraceMs - 1);
  t.equal(lonely.world.state(lonely.id).status, 'RUNNING');
  t.equal(lonely.world.shard.stats().readyJobs, 0, 'it is in no queue');
  await lonely.world.advance(1);
  t.equal(lonely.world.state(lonely.id).status, 'CANCELLED');
  t.equal(other.assigned.length, 0, 'and nobody else was given it');
});

t.test('a key is known after a recovery, and tokens are never used again', async (t) => {
  const { world, worker } = await running();
  const first = world.submit(one, { idempotencyKey: 'k', requestHash: 'h' });
  await world.settle();
  await first;
  await world.recover();
  const again = world.submit(one, { idempotencyKey: 'k', requestHash: 'h' });
  const other = world.submit(one, { idempotencyKey: 'k', requestHash: 'x' });
  await world.settle();
  t.match(await again, { kind: 'accepted', existed: true, state: { id: 'wf-000002' } });
  t.match(await other, { kind: 'key-reused', workflowId: 'wf-000002' });
  worker.attach();
  await world.advance(limits.leaseMs);
  const tokens = worker.assigned.map(({ leaseToken }) => leaseToken);
  t.equal(new Set(tokens).size, tokens.length);
  const fences = worker.assigned.map(({ fencingToken }) => fencingToken);
  t.same(
    fences,
    [...fences].sort((a, b) => (a < b ? -1 : 1)),
    'fencing tokens grow over recoveries',
  );
});

t.test('a clock that went back stops nothing: time goes on from where the journal ends', async (t) => {
  const { world, worker, id } = await running(graphOf('a.ok->b', { timeoutMs: 3_600_000 }));
  await world.recover(-1_800_000);
  t.equal(world.state(id).startedAt, epochMs);
  worker.running.clear();
  worker.attach();
  await world.advance(limits.leaseMs);
  const token = await take(world, worker);
  worker.succeed(token);
  await world.settle();
  const [attempt] = world.state(id).jobs[0].attempts;
  t.ok(attempt.startMs >= epochMs, 'nothing happens before what happened');
  t.equal(world.state(id).jobs[1].readyAt, epochMs + limits.leaseMs);
  t.equal(world.ports.alarmAt, world.now + 3_600_000 - limits.leaseMs, 'in the time of the clock');
  await world.advance(3_600_000);
  t.not(world.state(id).timedOutAt, 0);
});

t.test('what ended first is forgotten first, also after a recovery', async (t) => {
  const journal = new MemoryJournal();
  const world = await ShardWorld.open({ store: new HeldStore(journal) });
  const worker = world.worker('w1', { slots: 3 });
  const ids = [await world.start(one), await world.start(one), await world.start(one)];
  const tokens = new Map([...worker.unanswered].map(([token, { workflowId }]) => [workflowId, token]));
  for (const place of [2, 0, 1]) {
    const token = tokens.get(ids[place]) ?? '';
    worker.accept(token);
    worker.succeed(token);
    await world.advance(1_000);
  }
  const next = await ShardWorld.open({ store: new HeldStore(journal), bounds: { endedWorkflowsKept: 1 }, time: world.now });
  t.same(
    ids.map((id) => next.has(id)),
    [false, true, false],
  );
  t.equal(next.shard.stats().openWorkflows, 0);
});

t.test('a workflow with very many events is read back', async (t) => {
  const journal = new MemoryJournal();
  const world = await ShardWorld.open({ store: new HeldStore(journal) });
  const id = await world.start(one);
  const checkpoint = json({ row: 1 });
  const events = Array.from({ length: 300_000 }, () => ({ kind: 'jobCheckpointed', at: epochMs, job: 0, checkpoint }) as const);
  journal.batches.push({ firstSeq: 4, lastSeq: 300_003, entries: [{ workflowId: id, firstEventSeq: 4, events }] });
  journal.lastSeq = 300_003;
  const next = await ShardWorld.open({ store: new HeldStore(journal) });
  next.ids.push(id);
  t.equal(next.state(id).seq, 300_003);
  t.equal(next.shard.stats().committedSeq, 300_003);
});

t.test('a journal that does not begin with a submission is refused, not guessed at', async (t) => {
  const journal = new MemoryJournal();
  journal.batches.push({
    firstSeq: 1,
    lastSeq: 1,
    entries: [{ workflowId: 'wf', firstEventSeq: 1, events: [{ kind: 'started', at: 1 }] }],
  });
  await t.rejects(ShardWorld.open({ store: new HeldStore(journal) }), {
    message: /damaged: event 1 .* came before the workflow was submitted/,
  });
});

t.test('an empty journal asks for nothing', async (t) => {
  const world = await ShardWorld.open();
  await world.settle();
  t.equal(world.ports.alarmAt, null);
  t.equal(world.store.journal.epoch, 1);
});
