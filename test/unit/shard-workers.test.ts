/**
 * The life of attempts as workers and the gateway tell it: taken, refused, lost, found again, told to stop. Each through `WorkerInbox`, with a worker
 * that keeps the other side of the port.
 */
import { create } from '@bufbuild/protobuf';
import { PayloadSchema, ResultSchema } from '@workflow-orchestrator/proto';
import { limits } from '@workflow-orchestrator/proto/limits';
import t from 'tap';
import { assignmentBytes } from '../../coordinator/gateway/session/outgoing.ts';
import { REFUSAL_PAUSE_MS } from '../../coordinator/shard/workers.ts';
import { graphOf } from '../engine-support/graphs.ts';
import { offered, take, worldWith } from '../shard-support/attempts.ts';
import { ShardWorld } from '../shard-support/world.ts';

const one = graphOf('a');
/** Lost with its worker it fails at once. */
const fragile = graphOf('a', { jobs: { a: { retry: { ...one.jobs[0].retry, maxAttemptsWhenLost: 1 } } } });

t.test('an attempt: assigned, accepted, ended, acknowledged', async (t) => {
  const { world, worker } = await worldWith();
  const id = await world.start(graphOf('a.ok->b'));
  const [assignment] = worker.assigned;
  t.match(assignment, { workflowId: id, workflowName: 'test', jobId: 'a', attempt: 1, type: 'work', maxAttempts: 1 });
  t.equal(assignment.idempotencyKey, `${id}/a/0`);
  t.equal(world.state(id).jobs[0].lease?.acceptedAt, null);
  const token = await take(world, worker);
  t.equal(world.shard.stats().runningJobs, 1);
  await world.advance(500);
  worker.succeed(token, '{"n":1}');
  await world.settle();
  t.same(worker.acks, ['ACCEPTED']);
  const [ended] = world.state(id).jobs[0].attempts;
  t.match(ended, { number: 1, workerId: 'w1', outcome: 'SUCCEEDED', token });
  t.equal(ended.endMs - ended.startMs, 500);

  const next = worker.assigned[1];
  t.equal(next.jobId, 'b');
  t.same(
    next.inputs.map(({ jobId, payload }) => [jobId, new TextDecoder().decode(payload?.data)]),
    [['a', '{"n":1}']],
  );
  t.ok(next.fencingToken > assignment.fencingToken, 'fencing tokens grow');
  worker.succeed(await take(world, worker));
  await world.settle();
  t.equal(world.state(id).status, 'SUCCEEDED');
  t.match(world.shard.stats(), { openWorkflows: 0, readyJobs: 0, runningJobs: 0, uncommittedEvents: 0, inbox: 0 });
  t.same(world.violations, []);
});

t.test('a result whose accept was lost counts, with the start that the worker names', async (t) => {
  const { world, worker } = await worldWith();
  const id = await world.start(one);
  const { leaseToken, jobId, attempt } = worker.assigned[0];
  await world.advance(3_000);
  const value = create(PayloadSchema, {});
  worker.say(create(ResultSchema, { leaseToken, workflowId: id, jobId, attempt, runningMs: 2_000n, outcome: { case: 'output', value } }));
  await world.settle();
  t.match(world.state(id), { status: 'SUCCEEDED', jobs: [{ attempts: [{ startMs: world.now - 2_000 }] }] });
  t.equal(world.shard.stats().runningJobs, 0);
});

t.test('a rejected job goes to another worker and burns no attempt', async (t) => {
  const { world, worker } = await worldWith();
  const id = await world.start(one);
  const other = world.worker('w2');
  await world.settle();
  worker.reject(offered(worker));
  await world.settle();
  t.equal(other.assigned[0]?.attempt, 1, 'the first attempt, on the other worker');
  t.not(other.assigned[0]?.leaseToken, worker.assigned[0].leaseToken);
  other.succeed(await take(world, other));
  await world.settle();
  t.match(world.state(id), { status: 'SUCCEEDED', jobs: [{ attempts: { length: 1 } }] });
  t.same(world.violations, []);
});

t.test('the only worker is asked again after its pause, and not before', async (t) => {
  const { world, worker } = await worldWith();
  await world.start(one);
  worker.reject(offered(worker), 'no answer');
  await world.settle();
  t.equal(worker.assigned.length, 1);
  t.equal(world.ports.alarmAt, world.now + REFUSAL_PAUSE_MS, 'the end of the pause wakes the shard');
  await world.advance(REFUSAL_PAUSE_MS - 1);
  t.equal(worker.assigned.length, 1);
  await world.advance(1);
  t.same(
    worker.assigned.map(({ attempt }) => attempt),
    [1, 1],
  );
});

t.test('an answer after it was taken back changes nothing; the worker is told to forget', async (t) => {
  const { world, worker } = await worldWith({ slots: 2 });
  const id = await world.start(one);
  const token = offered(worker);
  const late = worker.unanswered.get(token);
  worker.reject(token, 'no answer');
  await world.settle();
  if (late !== undefined) worker.unanswered.set(token, late);
  worker.heard.length = 0;
  worker.accept(token);
  await world.settle();
  t.same(worker.heard, [`revoke ${token}`]);
  t.equal(world.state(id).jobs[0].lease, null);
});

t.test('a result that comes twice is a duplicate, one of another attempt is stale, one of a strange workflow too', async (t) => {
  const { world, worker } = await worldWith();
  const id = await world.start(graphOf('a.ok->b'));
  const token = await take(world, worker);
  worker.succeed(token);
  const result = worker.results.get(token) ?? create(ResultSchema);
  await world.settle();
  const verdictOf = async (change: Partial<typeof result>): Promise<string> => {
    worker.say({ ...result, ...change });
    await world.settle();
    return worker.acks.at(-1) ?? 'none';
  };
  t.equal(await verdictOf({}), 'DUPLICATE');
  t.equal(await verdictOf({ leaseToken: 'other' }), 'STALE');
  t.equal(await verdictOf({ workflowId: 'nobody' }), 'STALE');
  t.equal(await verdictOf({ jobId: 'nobody' }), 'STALE');
  worker.succeed(await take(world, worker));
  await world.settle();
  t.equal(world.state(id).status, 'SUCCEEDED');
  t.equal(await verdictOf({}), 'DUPLICATE', 'also after the end');
  t.equal(await verdictOf({ leaseToken: 'other' }), 'WORKFLOW_ENDED');
  t.same(world.counts.refused, ['duplicate', 'stale', 'stale', 'stale', 'duplicate', 'ended']);
  t.same(world.violations, []);
});

t.test('what is no proper result is an error of the attempt, and answered', async (t) => {
  const resultOf = (output: Uint8Array) => ({ case: 'output' as const, value: create(PayloadSchema, { data: output }) });
  const cases = [
    { code: 'BAD_RESULT', outcome: { case: undefined } },
    { code: 'OUTPUT_TOO_LARGE', outcome: resultOf(new Uint8Array(limits.outputBytes + 1)) },
  ] as const;
  for (const { code, outcome } of cases) {
    const { world, worker } = await worldWith();
    const id = await world.start(one);
    const leaseToken = await take(world, worker);
    worker.say(create(ResultSchema, { leaseToken, workflowId: id, jobId: 'a', attempt: 1, outcome }));
    await world.settle();
    t.equal(worker.acks.at(-1), 'ACCEPTED');
    t.match(world.state(id), { status: 'FAILED', error: { code } });
  }
  const { world, worker } = await worldWith();
  const id = await world.start(one);
  const leaseToken = await take(world, worker);
  const outcome = resultOf(new Uint8Array(limits.outputBytes));
  worker.say(create(ResultSchema, { leaseToken, workflowId: id, jobId: 'a', attempt: 1, outcome }));
  await world.settle();
  t.equal(world.state(id).status, 'SUCCEEDED', 'as large as may be');
});

t.test('a checkpoint that is too large is not kept', async (t) => {
  const { world, worker } = await worldWith();
  const id = await world.start(one);
  await take(world, worker);
  worker.beat({ checkpoint: 'x'.repeat(limits.checkpointBytes + 1) });
  await world.settle();
  t.equal(world.state(id).jobs[0].checkpoint, null);
  worker.beat({ checkpoint: 'x'.repeat(limits.checkpointBytes) });
  await world.settle();
  t.equal(world.state(id).jobs[0].checkpoint?.data.length, limits.checkpointBytes);
});

t.test('numbers that a worker makes up are bounded', async (t) => {
  const { world, worker } = await worldWith();
  const id = await world.start(graphOf('a', { jobs: { a: { retry: { ...one.jobs[0].retry, maxAttempts: 2 } } } }));
  const { leaseToken } = worker.assigned[0];
  const huge = 2n ** 63n - 1n;
  worker.say(
    create(ResultSchema, {
      leaseToken,
      workflowId: id,
      jobId: 'a',
      attempt: 1,
      runningMs: huge,
      outcome: { case: 'error', value: { code: 'X', message: 'x', retryable: true, retryAfterMs: huge } },
    }),
  );
  await world.settle();
  const [attempt] = world.state(id).jobs[0].attempts;
  t.ok(attempt.startMs >= world.now - limits.durationMs, `started ${world.now - attempt.startMs} ms ago`);
  t.ok((attempt.error?.retryAfterMs ?? 0) <= limits.durationMs);
});

t.test('a lost worker: what it had not accepted burns no attempt, what it had does', async (t) => {
  const { world, worker } = await worldWith({ slots: 2 });
  const taken = await world.start(one);
  const token = await take(world, worker);
  const open = await world.start(one);
  t.equal(worker.unanswered.size, 1);
  worker.lost();
  await world.settle();
  t.match(world.state(taken).jobs[0], { lease: null, attempts: [{ token, outcome: 'FAILED', error: { code: 'WORKER_LOST' } }] });
  t.match(world.state(open).jobs[0], { lease: null, attempts: { length: 0 } });
  t.match(world.shard.stats(), { readyJobs: 2, runningJobs: 0 });
  const other = world.worker('w2', { slots: 2 });
  await world.settle();
  t.same(other.assigned.map(({ attempt }) => attempt).sort(), [1, 2], 'both at once: a loss is nothing to back off from');
  t.equal(world.violations.length, 0);
});

t.test('a worker that was never offered the job is not lost with it', async (t) => {
  const { world, worker } = await worldWith();
  const others = ['w2', 'w3'].map((id) => world.worker(id));
  await world.settle();
  world.store.closed = true;
  const id = await world.start(one);
  // Each is decided on, one after the other, and gone before the commit that the offer waits for.
  for (const gone of [worker, ...others]) {
    gone.lost();
    await world.settle();
  }
  await world.store.open();
  await world.settle();
  t.same(
    [worker, ...others].map(({ assigned }) => assigned.length),
    [0, 0, 0],
  );
  t.match(world.state(id), { status: 'RUNNING', jobs: [{ phase: 'READY', attempts: { length: 0 } }] });
  const heir = world.worker('w4');
  await world.settle();
  t.equal(heir.assigned[0]?.attempt, 1);
  t.same(world.violations, []);
});

t.test('a lost worker ends a job that may not be tried again', async (t) => {
  const { world, worker } = await worldWith();
  const id = await world.start(fragile);
  await take(world, worker);
  worker.lost('silent for 8000 ms');
  await world.settle();
  t.match(world.state(id), { status: 'FAILED', error: { code: 'WORKER_LOST', message: 'silent for 8000 ms' } });
});

t.test('a connection that comes back keeps its attempts, and its results are taken', async (t) => {
  const { world, worker } = await worldWith({ slots: 2 });
  const running = await world.start(one);
  const kept = await take(world, worker);
  const done = await world.start(one);
  const waiting = await take(world, worker);
  worker.detach();
  await world.settle();
  worker.succeed(waiting);
  await world.start(one);
  t.equal(worker.assigned.length, 2, 'nothing is sent while the socket is gone');
  worker.attach();
  await world.settle();
  t.ok(worker.heard.includes(`verdict ${kept} KEEP`));
  t.ok(worker.heard.includes(`verdict ${waiting} SEND_RESULT`));
  t.equal(world.state(done).status, 'SUCCEEDED');
  t.equal(world.state(running).jobs[0].lease?.token, kept);
  t.equal(worker.assigned.length, 3, 'and there is work again');
  t.equal(world.state(running).jobs[0].attempts.length, 0);
  t.same(world.violations, []);
});

t.test('an accept that was lost with the connection is made up for by Hello', async (t) => {
  const { world, worker } = await worldWith();
  const id = await world.start(one);
  const token = offered(worker);
  const assignment = worker.unanswered.get(token);
  worker.detach();
  worker.attach();
  if (assignment !== undefined) worker.running.set(token, { assignment, acceptedAt: world.now, cancelled: false });
  worker.attach();
  await world.settle();
  t.ok(worker.heard.includes(`verdict ${token} ABANDON`), 'the first Hello did not name it, so it was given up');
  t.equal(world.state(id).jobs[0].attempts.length, 0);

  const again = offered(worker);
  const second = worker.unanswered.get(again);
  worker.detach();
  if (second !== undefined) worker.running.set(again, { assignment: second, acceptedAt: world.now, cancelled: false });
  worker.attach();
  await world.settle();
  t.ok(worker.heard.includes(`verdict ${again} KEEP`));
  t.not(world.state(id).jobs[0].lease?.acceptedAt ?? null, null);
  t.equal(world.shard.stats().runningJobs, 1);
});

t.test('what a new process does not name is given up', async (t) => {
  const { world, worker } = await worldWith();
  const id = await world.start(one);
  const token = await take(world, worker);
  worker.running.delete(token);
  worker.detach();
  worker.attach();
  await world.settle();
  t.match(world.state(id).jobs[0], { attempts: [{ token, error: { code: 'WORKER_LOST' } }] });
  t.equal(worker.assigned.at(-1)?.attempt, 2);
  t.equal(world.shard.stats().runningJobs, 0);
});

t.test('after the grace a connection is judged anew: attempts are abandoned, waiting results are stale', async (t) => {
  const { world, worker } = await worldWith({ slots: 2 });
  await world.start(one);
  const running = await take(world, worker);
  await world.start(one);
  const waiting = await take(world, worker);
  worker.detach();
  worker.succeed(waiting);
  worker.lost('did not come back');
  await world.settle();
  worker.attach();
  await world.settle();
  t.ok(worker.heard.includes(`verdict ${running} ABANDON`));
  t.ok(worker.heard.includes(`verdict ${waiting} SEND_RESULT`));
  t.ok(worker.heard.includes(`ack ${waiting} STALE`));
});

t.test('words of an older session change nothing', async (t) => {
  const { world, worker } = await worldWith();
  const id = await world.start(one);
  const token = await take(world, worker);
  const old = worker.sessionId;
  worker.attach();
  await world.settle();
  world.shard.detach('w1', old);
  world.shard.lost('w1', old, 'late');
  world.shard.capacity('w1', old, 5, true);
  world.shard.beats('w1', old, [], true);
  await world.settle();
  t.equal(world.state(id).jobs[0].lease?.token, token);
  await world.start(one);
  t.equal(worker.assigned.length, 1, 'room of an older connection is none');
});

t.test('an attempt that three whole heartbeats do not name is given up, whether they name others or nothing', async (t) => {
  for (const others of [0, 1]) {
    const { world, worker } = await worldWith({ slots: 2 });
    const id = await world.start(one);
    const forgotten = await take(world, worker);
    if (others > 0) {
      await world.start(one);
      await take(world, worker);
    }
    worker.forget(forgotten);
    for (let i = 0; i < 2; i++) worker.beat();
    await world.settle();
    t.equal(world.state(id).jobs[0].lease?.token, forgotten, `two are not enough, ${others} others`);
    worker.beat();
    await world.settle();
    t.match(world.state(id).jobs[0].attempts, [{ token: forgotten, error: { code: 'WORKER_LOST' } }], `${others} others`);
  }
});

t.test('a heartbeat in parts says nothing of what a part leaves out', async (t) => {
  const { world, worker } = await worldWith({ slots: 3 });
  const ids = [await world.start(one), await world.start(one)];
  const [first, second] = [...worker.unanswered.keys()];
  worker.accept(first);
  worker.accept(second);
  for (let i = 0; i < 5; i++) worker.beat({ tokens: [first], whole: false });
  for (let i = 0; i < 2; i++) worker.beat({ tokens: [first] });
  worker.beat({ tokens: [second], whole: false });
  for (let i = 0; i < 2; i++) worker.beat({ tokens: [first] });
  await world.settle();
  t.same(
    ids.map((id) => world.state(id).jobs[0].lease?.token),
    [first, second],
    'a part that names it is a sign of life',
  );
  worker.beat({ tokens: [first] });
  await world.settle();
  t.equal(world.state(ids[1]).jobs[0].attempts.length, 1, 'three whole ones in a row that leave it out are not');
});

t.test('an assignment without an answer is no attempt that a worker forgot', async (t) => {
  const { world, worker } = await worldWith({ slots: 2 });
  const id = await world.start(one);
  const token = offered(worker);
  for (let i = 0; i < 5; i++) worker.beat();
  await world.settle();
  t.equal(world.state(id).jobs[0].lease?.token, token);
});

t.test('a heartbeat that names what is gone is told so', async (t) => {
  const { world, worker } = await worldWith();
  worker.beat({ tokens: ['gone'] });
  await world.settle();
  t.same(worker.heard, ['revoke gone']);
});

t.test('a run timeout takes the attempt from the worker, and the next one follows', async (t) => {
  const { world, worker } = await worldWith();
  const retry = { ...one.jobs[0].retry, maxAttempts: 2, initialDelayMs: 700 };
  const id = await world.start(graphOf('a', { jobs: { a: { retry, timeouts: { ...one.jobs[0].timeouts, runMs: 5_000 } } } }));
  const token = await take(world, worker);
  await world.advance(4_999);
  t.not(world.state(id).jobs[0].lease, null);
  await world.advance(1);
  t.equal(worker.heard.at(-1), `revoke ${token}`);
  t.match(world.state(id).jobs[0], { lease: null, attempts: [{ error: { code: 'TIMEOUT' } }] });
  t.equal(world.ports.alarmAt, world.now + 700);
  await world.advance(700);
  t.equal(worker.assigned.at(-1)?.attempt, 2);
});

t.test('heartbeats keep a job alive where its silence is limited, silence ends it', async (t) => {
  const { world, worker } = await worldWith();
  const id = await world.start(graphOf('a', { jobs: { a: { timeouts: { ...one.jobs[0].timeouts, heartbeatMs: 3_000 } } } }));
  await take(world, worker);
  for (let i = 0; i < 5; i++) {
    await world.advance(2_000);
    worker.beat({ idleMs: 500 });
    await world.settle();
  }
  t.equal(world.state(id).status, 'RUNNING');
  await world.advance(2_499);
  t.equal(world.state(id).status, 'RUNNING');
  await world.advance(1);
  t.match(world.state(id), { status: 'FAILED', error: { code: 'HEARTBEAT_TIMEOUT' } });
});

t.test('a checkpoint is kept, shown to the next attempt, and only then', async (t) => {
  const { world, worker } = await worldWith();
  const id = await world.start(one);
  await take(world, worker);
  t.equal(worker.assigned[0].checkpoint, undefined);
  worker.beat({ checkpoint: '{"row":7}' });
  await world.settle();
  t.equal(world.store.eventsOf(id).at(-1)?.kind, 'jobCheckpointed');
  worker.lost();
  worker.attach();
  await world.settle();
  t.equal(new TextDecoder().decode(worker.assigned[1].checkpoint?.data), '{"row":7}');
});

t.test('progress reaches those who watch, is no fact, and is not told twice', async (t) => {
  const { world, worker } = await worldWith();
  const id = await world.start(one);
  await take(world, worker);
  const seen: (number | null | undefined)[] = [];
  const stop = world.watch(id, 0, { live: (_, job) => seen.push(job.lease?.progress) });
  const before = world.store.eventsOf(id).length;
  for (const progress of [0.25, 0.25, 0.5]) worker.beat({ progress });
  await world.settle();
  t.same(seen, [0.25, 0.5]);
  t.equal(world.store.eventsOf(id).length, before);
  stop?.();
  worker.beat({ progress: 0.75 });
  await world.settle();
  t.equal(seen.length, 2, 'who stopped watching is told nothing');
});

t.test('an attempt that a worker gives back goes elsewhere and burns nothing', async (t) => {
  const { world, worker } = await worldWith();
  const other = world.worker('w2');
  const id = await world.start(one);
  const [holder, heir] = worker.assigned.length > 0 ? [worker, other] : [other, worker];
  const token = await take(world, holder);
  holder.isOpen = false;
  holder.release(token);
  await world.settle();
  t.equal(holder.acks.at(-1), 'ACCEPTED');
  t.equal(heir.assigned.at(-1)?.attempt, 1);
  t.equal(world.state(id).jobs[0].attempts.length, 0);
});

t.test('a worker that drains, is suspect or congested is given nothing', async (t) => {
  const { world, worker } = await worldWith({ slots: 3 });
  worker.isOpen = false;
  worker.tell();
  await world.start(one);
  t.equal(worker.assigned.length, 0);
  worker.isOpen = true;
  worker.tell();
  await world.settle();
  t.equal(worker.assigned.length, 1, 'room alone is worth a turn');
});

t.test('the result of another worker id under the right token counts, and the holder learns of it', async (t) => {
  const { world, worker } = await worldWith();
  const id = await world.start(one);
  const leaseToken = await take(world, worker);
  const other = world.worker('w2');
  await world.settle();
  const value = create(PayloadSchema, {});
  other.say(create(ResultSchema, { leaseToken, workflowId: id, jobId: 'a', attempt: 1, outcome: { case: 'output', value } }));
  await world.settle();
  t.equal(other.acks.at(-1), 'ACCEPTED');
  t.equal(world.state(id).status, 'SUCCEEDED');
  worker.beat();
  await world.settle();
  t.equal(worker.heard.at(-1), `revoke ${leaseToken}`);
});

t.test('whatever the engine lets run fits into a frame: many sources with long names, parameters, a checkpoint', async (t) => {
  const sources = 2_000;
  const name = (index: number): string => `${index}-${'n'.repeat(100)}`;
  const edges = Array.from({ length: sources }, (_, index) => `${name(index)}.ok->z`).join(', ');
  const graph = graphOf(edges);
  const world = await ShardWorld.open();
  const worker = world.worker('w1', { slots: sources });
  const id = await world.start(graph);
  // As much output as still leaves the job READY.
  const named =
    sources * 44 + 3 * Array.from({ length: sources }, (_, index) => name(index).length).reduce((sum, length) => sum + length, 0);
  const each = Math.floor((limits.assignmentBytes - named - 2) / sources);
  for (const token of [...worker.unanswered.keys()]) worker.accept(token);
  for (const token of [...worker.running.keys()]) worker.succeed(token, 'x'.repeat(each));
  await world.settle();
  t.equal(world.state(id).jobs[graph.indexOf.get('z') ?? 0].phase, 'READY');
  const token = await take(world, worker);
  worker.beat({ checkpoint: 'x'.repeat(limits.checkpointBytes) });
  worker.lost();
  worker.attach();
  await world.settle();
  const assignment = worker.assigned.at(-1);
  t.not(assignment?.leaseToken, token);
  t.equal(assignment?.checkpoint?.data.length, limits.checkpointBytes);
  t.equal(assignment?.inputs.length, sources);
  t.ok(assignment !== undefined && assignmentBytes(assignment) < limits.frameBytes);
});
