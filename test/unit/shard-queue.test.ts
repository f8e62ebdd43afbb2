/**
 * Who is next, and who gets it: the ready queue, the matcher, the agenda, the ring behind them.
 */
import type { GraphJob } from '@workflow-orchestrator/engine/definition';
import fc from 'fast-check';
import t from 'tap';
import type { WorkerOutbox } from '../../coordinator/gateway/port.ts';
import { Agenda, type Moment } from '../../coordinator/shard/agenda.ts';
import { Deque } from '../../coordinator/shard/deque.ts';
import { match } from '../../coordinator/shard/matcher.ts';
import { AGING_MS, type ReadyJob, ReadyQueue } from '../../coordinator/shard/ready-queue.ts';
import { REFUSAL_PAUSE_MS, WorkerEntry, WorkerTable } from '../../coordinator/shard/workers.ts';
import { graphOf } from '../engine-support/graphs.ts';

const [plain] = graphOf('a').jobs;
const nobody: WorkerOutbox = { welcome: () => {}, assign: () => {}, ack: () => {}, cancel: () => {}, revoke: () => {} };

function jobOf(priority = 5, type = 'work', labels: Readonly<Record<string, string>> = {}): GraphJob {
  return { ...plain, priority, type, requiredLabels: new Map(Object.entries(labels)) };
}

function entryOf(workflowId: string, job = 0, since = 0): ReadyJob {
  return { workflowId, job, since };
}

function queueOf(): ReadyQueue {
  return new ReadyQueue(() => true);
}

/** Everything that waits in the lanes, in the order in which it is handed out. */
function drain(queue: ReadyQueue, now = 0): string[] {
  const names: string[] = [];
  for (const lane of queue.lanes()) {
    for (let entry = lane.take(now); entry !== undefined; entry = lane.take(now)) names.push(`${entry.workflowId}/${entry.job}`);
  }
  return names;
}

interface Skills {
  readonly slots?: number;
  readonly types?: Readonly<Record<string, number>>;
  readonly labels?: Readonly<Record<string, string>>;
  readonly available?: number;
  readonly open?: boolean;
}

function workerOf(id: string, { slots = 10, types = { work: 0 }, labels = {}, available = slots, open = true }: Skills = {}): WorkerEntry {
  const worker = new WorkerEntry(
    {
      workerId: id,
      instanceId: id,
      sessionId: id,
      labels: new Map(Object.entries(labels)),
      capabilities: new Map(Object.entries(types)),
      slots,
      inFlight: [],
    },
    nobody,
  );
  worker.room = { available, unsent: 0, open };
  return worker;
}

function tableOf(...workers: readonly WorkerEntry[]): WorkerTable {
  const table = new WorkerTable();
  for (const worker of workers) table.put(worker);
  return table;
}

/** Matches as the shard does. Who got what: `wf -> worker`. */
function matchAll(queue: ReadyQueue, workers: WorkerTable, now = 0, type = 'work'): string[] {
  const given: string[] = [];
  match(queue, workers, now, (entry, worker) => {
    worker.room.unsent += 1;
    worker.addLease(`${entry.workflowId}/${entry.job}`, {
      workflowId: entry.workflowId,
      job: entry.job,
      type,
      isSent: true,
      missedBeats: 0,
    });
    given.push(`${entry.workflowId} -> ${worker.id}`);
    return true;
  });
  return given;
}

t.test('the higher priority goes first, and who came first on one level', async (t) => {
  const queue = queueOf();
  queue.add(jobOf(1), entryOf('low'));
  queue.add(jobOf(5), entryOf('first'));
  queue.add(jobOf(5), entryOf('second'));
  queue.add(jobOf(9), entryOf('high'));
  t.same(drain(queue), ['high/0', 'first/0', 'second/0', 'low/0']);
});

t.test('on one level the workflows take turns: a wide one does not hold up the rest', async (t) => {
  const queue = queueOf();
  for (let job = 0; job < 4; job++) queue.add(jobOf(), entryOf('wide', job));
  queue.add(jobOf(), entryOf('small'));
  for (let job = 0; job < 2; job++) queue.add(jobOf(), entryOf('other', job));
  t.same(drain(queue), ['wide/0', 'small/0', 'other/0', 'wide/1', 'other/1', 'wide/2', 'wide/3']);
});

t.test('waiting raises the rank by one level per AGING_MS', async (t) => {
  const takeFirst = (now: number): string | undefined => {
    const queue = queueOf();
    queue.add(jobOf(3), entryOf('patient', 0, 0));
    queue.add(jobOf(5), entryOf('urgent', 0, now));
    return drain(queue, now)[0];
  };
  t.equal(takeFirst(2 * AGING_MS), 'urgent/0', 'as high: the higher priority wins');
  t.equal(takeFirst(2 * AGING_MS + 1), 'patient/0');
});

t.test('nothing starves below a stream of work that is always more urgent', async (t) => {
  const queue = queueOf();
  queue.add(jobOf(0), entryOf('patient', 0, 0));
  let now = 0;
  for (let turn = 0; ; turn++, now += 1_000) {
    queue.add(jobOf(9), entryOf(`urgent${turn}`, 0, now));
    const [lane] = queue.lanes();
    if (lane.take(now)?.workflowId === 'patient') break;
    if (now > 10 * AGING_MS) throw new Error('it starves');
  }
  t.ok(now <= 10 * AGING_MS, `served after ${now} ms`);
});

t.test('jobs that the same workers can take share a lane, whoever wrote them', async (t) => {
  const queue = queueOf();
  queue.add(jobOf(5, 'work', { region: 'eu', gpu: 'true' }), entryOf('a'));
  queue.add(jobOf(5, 'work', { gpu: 'true', region: 'eu' }), entryOf('b'));
  queue.add(jobOf(5, 'work', { region: 'eu' }), entryOf('c'));
  queue.add(jobOf(5, 'other'), entryOf('d'));
  t.same(
    [...queue.lanes()].map((lane) => [lane.type, lane.size]),
    [
      ['work', 2],
      ['work', 1],
      ['other', 1],
    ],
  );
});

t.test('whatever is added comes out exactly once, whatever the order, also when dead entries were swept out', async (t) => {
  const add = fc.record({ kind: fc.constant('add' as const), workflow: fc.nat(5), priority: fc.nat(9), type: fc.nat(2) });
  const take = fc.record({ kind: fc.constant('take' as const), lane: fc.nat(2), ms: fc.nat(30_000) });
  const kill = fc.record({ kind: fc.constant('kill' as const), nth: fc.nat(40) });
  const property = fc.property(fc.array(fc.oneof({ weight: 3, arbitrary: add }, take, kill), { maxLength: 200, size: 'max' }), (steps) => {
    const living = new Set<ReadyJob>();
    const taken = new Set<ReadyJob>();
    const queue = new ReadyQueue((entry) => living.has(entry));
    let now = 0;
    const receive = (entry: ReadyJob | undefined): void => {
      if (entry === undefined) return;
      if (taken.has(entry)) throw new Error('taken twice');
      taken.add(entry);
      living.delete(entry);
    };
    // Enough to be swept while the steps run.
    for (let job = 0; job < 1_020; job++) queue.add(jobOf(job % 10, 't0'), entryOf(`dead${job % 7}`, job));
    for (const [index, step] of steps.entries()) {
      if (step.kind === 'add') {
        const entry = entryOf(`wf${step.workflow}`, index, now);
        living.add(entry);
        queue.add(jobOf(step.priority, `t${step.type}`), entry);
      } else if (step.kind === 'take') {
        now += step.ms;
        receive([...queue.lanes()].at(step.lane)?.take(now));
      } else living.delete([...living][step.nth] ?? entryOf(''));
    }
    for (const lane of queue.lanes()) for (let entry = lane.take(now); entry !== undefined; entry = lane.take(now)) receive(entry);
    if (living.size > 0) throw new Error(`${living.size} never came out`);
    for (const lane of queue.lanes()) if (lane.size !== 0) throw new Error(`an empty lane says ${lane.size}`);
  });
  t.doesNotThrow(() => fc.assert(property, { numRuns: 60 }));
});

t.test('dead entries are swept out, and those that live keep their order', async (t) => {
  const living = new Set<ReadyJob>();
  const queue = new ReadyQueue((entry) => living.has(entry));
  const job = jobOf();
  const kept: string[] = [];
  for (let index = 0; index < 20_000; index++) {
    const entry = entryOf(`wf${index}`);
    if (index % 1_000 === 0) {
      living.add(entry);
      kept.push(`wf${index}/0`);
    }
    queue.add(job, entry);
  }
  const [lane] = queue.lanes();
  t.ok(lane.size < 3_000, `${lane.size} entries are held for 20 that live`);
  t.same(
    drain(queue).filter((name) => kept.includes(name)),
    kept,
  );
});

t.test('labels that are used once leave no lanes behind, and a job whose lane went gets another', async (t) => {
  const living = new Set<ReadyJob>();
  const queue = new ReadyQueue((entry) => living.has(entry));
  const kept = jobOf(5, 'work', { host: 'kept' });
  const first = entryOf('kept', 0);
  living.add(first);
  queue.add(kept, first);
  let most = 0;
  for (let host = 0; host < 1_000; host++) {
    queue.add(jobOf(5, 'work', { host: String(host) }), entryOf('gone', host));
    most = Math.max(most, [...queue.lanes()].length);
  }
  t.ok(most <= 64, `${most} lanes for one job that waits`);
  t.equal(queue.laneOf(kept).take(0), first);
  for (let host = 0; host < 1_000; host++) queue.add(jobOf(5, 'work', { host: String(host) }), entryOf('gone', host));
  const second = entryOf('kept', 1);
  living.add(second);
  queue.add(kept, second);
  t.ok([...queue.lanes()].includes(queue.laneOf(kept)));
  t.equal(queue.laneOf(kept).take(0), second);
});

t.test('the least loaded worker gets the job, measured by its slots', async (t) => {
  const queue = queueOf();
  for (const id of ['a', 'b', 'c']) queue.add(jobOf(), entryOf(id));
  const large = workerOf('large', { slots: 20 });
  for (const token of ['x', 'y']) large.addLease(token, { workflowId: 'z', job: 0, type: 'work', isSent: true, missedBeats: 0 });
  const small = workerOf('small', { slots: 2 });
  t.same(matchAll(queue, tableOf(large, small)), ['a -> small', 'b -> large', 'c -> large']);
});

t.test('a worker is given what it can do, where its labels say what the job asks for', async (t) => {
  const queue = queueOf();
  queue.add(jobOf(5, 'work', { region: 'eu' }), entryOf('eu'));
  queue.add(jobOf(5, 'work', { region: 'us' }), entryOf('us'));
  queue.add(jobOf(5, 'other'), entryOf('other'));
  const workers = tableOf(workerOf('w', { labels: { region: 'eu', zone: 'a' } }));
  t.same(matchAll(queue, workers), ['eu -> w']);
  t.same(drain(queue).sort(), ['other/0', 'us/0'], 'the others wait on');
});

t.test('never more than the room, nor than a type may have at once', async (t) => {
  const queue = queueOf();
  for (let index = 0; index < 9; index++) queue.add(jobOf(), entryOf(`wf${index}`));
  t.equal(matchAll(queue, tableOf(workerOf('w', { slots: 5, available: 3 }))).length, 3);
  t.equal(matchAll(queue, tableOf(workerOf('w', { slots: 5, types: { work: 2 } }))).length, 2);
});

t.test('who is closed, gone, or has just refused is given nothing; a refusal counts for its type and for a moment', async (t) => {
  const queue = queueOf();
  queue.add(jobOf(), entryOf('wf'));
  const gone = workerOf('gone');
  gone.outbox = null;
  const refused = workerOf('refused', { types: { work: 0, other: 0 } });
  t.equal(refused.refuse('work', 1_000), 1_000 + REFUSAL_PAUSE_MS);
  t.same(matchAll(queue, tableOf(gone, workerOf('closed', { open: false }), refused), 1_999), []);
  const others = queueOf();
  others.add(jobOf(5, 'other'), entryOf('wf'));
  t.same(matchAll(others, tableOf(refused), 1_999, 'other'), ['wf -> refused']);
  t.same(matchAll(queue, tableOf(refused), 1_000 + REFUSAL_PAUSE_MS), ['wf -> refused']);
});

t.test('the job that ranks highest over all lanes goes first, and a lane without a worker holds up none', async (t) => {
  const queue = queueOf();
  queue.add(jobOf(9, 'nobody'), entryOf('stuck'));
  queue.add(jobOf(2, 'b'), entryOf('b'));
  queue.add(jobOf(7, 'a'), entryOf('a'));
  queue.add(jobOf(4, 'b'), entryOf('b first'));
  t.same(matchAll(queue, tableOf(workerOf('w', { slots: 2, types: { a: 0, b: 0 } }))), ['a -> w', 'b first -> w']);
});

t.test('an entry that means nothing is passed over in the same round', async (t) => {
  const queue = queueOf();
  for (const id of ['dead1', 'dead2', 'living']) queue.add(jobOf(), entryOf(id));
  const tried: string[] = [];
  match(queue, tableOf(workerOf('w')), 0, ({ workflowId }, worker) => {
    tried.push(workflowId);
    if (workflowId === 'living') worker.room.unsent += 1;
    return workflowId === 'living';
  });
  t.same(tried, ['dead1', 'dead2', 'living']);
});

t.test('the agenda gives moments back in order, none before its time', async (t) => {
  const property = fc.property(fc.array(fc.record({ at: fc.nat(50), take: fc.option(fc.nat(60)) }), { maxLength: 80 }), (steps) => {
    const agenda = new Agenda(() => true);
    const waiting: number[] = [];
    for (const { at, take } of steps) {
      agenda.add({ at, workflowId: 'wf', job: null });
      waiting.push(at);
      waiting.sort((a, b) => a - b);
      if (agenda.next() !== waiting[0]) throw new Error(`next is ${agenda.next()}, not ${waiting[0]}`);
      if (take === null) continue;
      const moment = agenda.take(take);
      const expected = waiting[0] <= take ? waiting.shift() : undefined;
      if (moment?.at !== expected) throw new Error(`took ${moment?.at}, not ${expected}`);
    }
    if (agenda.size !== waiting.length) throw new Error(`${agenda.size} are left of ${waiting.length}`);
  });
  t.doesNotThrow(() => fc.assert(property));
});

t.test('moments far ahead that mean nothing any more are dropped', async (t) => {
  const living = new Set<string>(['wf0', 'wf777', 'wf49999']);
  const agenda = new Agenda(({ workflowId }: Moment) => living.has(workflowId));
  for (let index = 0; index < 50_000; index++) agenda.add({ at: 50_000 - index, workflowId: `wf${index}`, job: null });
  t.ok(agenda.size < 3_000, `${agenda.size} moments are held for 3 that mean something`);
  const taken: string[] = [];
  for (let moment = agenda.take(60_000); moment !== null; moment = agenda.take(60_000)) taken.push(moment.workflowId);
  t.same(
    taken.filter((id) => living.has(id)),
    ['wf49999', 'wf777', 'wf0'],
  );
});

t.test('the ring keeps its order while it grows', async (t) => {
  const property = fc.property(fc.array(fc.boolean(), { maxLength: 300, size: 'max' }), (steps) => {
    const deque = new Deque<number>();
    const expected: number[] = [];
    for (const [index, isPush] of steps.entries()) {
      if (isPush) {
        deque.push(index);
        expected.push(index);
      } else if (deque.shift() !== expected.shift()) throw new Error('another came out');
      if (deque.peek() !== expected[0] || deque.size !== expected.length) throw new Error('another is first');
    }
  });
  t.doesNotThrow(() => fc.assert(property));
});
