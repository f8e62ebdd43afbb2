/**
 * Whatever clients, workers, the network, the disk and the coordinator itself may do to a shard, as plain data that shrinks; `perform` gives it its
 * meaning in the world it meets.
 */
import type { Graph, GraphJob } from '@workflow-orchestrator/engine/definition';
import fc from 'fast-check';
import { OutcomeUnknown, ShardStopped } from '../../coordinator/shard/requests.ts';
import { StoreUnavailable } from '../../coordinator/store/store.ts';
import { anyGraph, anyOptions } from '../engine-support/arbitraries.ts';
import { buildGraph } from '../engine-support/graphs.ts';
import type { WorkerDouble } from './worker-double.ts';
import type { ShardWorld } from './world.ts';

/** What may happen, and how often. */
const deedWeights = {
  submit: 10,
  submitLater: 1,
  start: 2,
  pause: 2,
  resume: 3,
  cancel: 2,
  force: 1,
  accept: 30,
  reject: 6,
  noAnswer: 3,
  succeed: 25,
  fail: 10,
  failForGood: 4,
  stopped: 4,
  release: 3,
  forget: 2,
  again: 4,
  beat: 10,
  partBeat: 3,
  close: 2,
  open: 3,
  detach: 4,
  attach: 12,
  lost: 3,
  restart: 2,
  wait: 12,
  alarm: 8,
  hold: 3,
  commit: 12,
  letGo: 3,
  loseReply: 3,
  loseCommit: 3,
  abort: 3,
  archiveAway: 1,
  archiveBack: 2,
  read: 3,
  recover: 1,
} as const;

/** Something that happens. `pick` chooses whom it happens to, among those it can happen to. */
export interface Deed {
  readonly kind: keyof typeof deedWeights;
  readonly pick: number;
  readonly ms: number;
}

const kinds = Object.entries(deedWeights) as [Deed['kind'], number][];

export const anyDeed: fc.Arbitrary<Deed> = fc.record({
  kind: fc.oneof(...kinds.map(([kind, weight]) => ({ weight, arbitrary: fc.constant(kind) }))),
  pick: fc.nat(1_000),
  ms: fc.oneof({ weight: 10, arbitrary: fc.nat(3_000) }, { weight: 1, arbitrary: fc.nat(60_000) }),
});

/** Any graph whose jobs ask for different workers, with any timeouts and retries. */
export const anyWork: fc.Arbitrary<Graph> = fc
  .tuple(
    anyGraph,
    anyOptions,
    fc.array(fc.constantFrom('plain', 'plain', 'other', 'eu', 'urgent' as const), { minLength: 6, maxLength: 6 }),
  )
  .map(([abstract, options, kindsOfJobs]) => {
    const jobs = Object.fromEntries(
      Object.entries(options.jobs ?? {}).map(([id, job], index) => [id, { ...job, ...needs[kindsOfJobs[index]] }]),
    );
    return buildGraph(abstract, { ...options, jobs });
  });

const needs: Readonly<Record<'plain' | 'other' | 'eu' | 'urgent', Partial<GraphJob>>> = {
  plain: {},
  other: { type: 'other' },
  eu: { requiredLabels: new Map([['region', 'eu']]) },
  urgent: { priority: 9 },
};

/** The workers of such a world: together they can do everything. */
export function hire(world: ShardWorld): void {
  world.worker('w1', { slots: 2 });
  world.worker('w2', { slots: 4, capabilities: { work: 1, other: 0 }, labels: { region: 'eu' } });
  world.worker('w3', { slots: 3, capabilities: { work: 0, other: 2 }, labels: { region: 'us' } });
}

/** A key that memory does not know cannot be looked up while the archive is away: such a submit is refused. Whoever waits when the coordinator dies is not answered. */
function refusedIfAway(call: Promise<unknown>): void {
  call.catch((error: unknown) => {
    if (!(error instanceof StoreUnavailable || error instanceof ShardStopped || error instanceof OutcomeUnknown)) throw error;
  });
}

function choose<T>(items: readonly T[], pick: number): T | undefined {
  return items[pick % Math.max(1, items.length)];
}

/** Does a deed, and lets happen what follows at once. */
export async function perform(world: ShardWorld, graphs: readonly Graph[], { kind, pick, ms }: Deed): Promise<void> {
  const steer = (command: Parameters<ShardWorld['command']>[1]): void => {
    const id = choose(world.ids, pick);
    if (id !== undefined) refusedIfAway(world.command(id, command));
  };
  const withWorker = (can: (worker: WorkerDouble) => boolean, act: (worker: WorkerDouble) => void): void => {
    const worker = choose(world.workers.filter(can), pick);
    if (worker !== undefined) act(worker);
  };
  const withOffer = (act: (worker: WorkerDouble, token: string) => void): void => {
    withWorker(
      (worker) => worker.phase === 'ready' && worker.unanswered.size > 0,
      (worker) => act(worker, choose([...worker.unanswered.keys()], pick) ?? ''),
    );
  };
  const withRun = (act: (worker: WorkerDouble, token: string) => void): void => {
    withWorker(
      (worker) => worker.running.size > 0,
      (worker) => act(worker, choose([...worker.running.keys()], pick) ?? ''),
    );
  };
  const withReady = (act: (worker: WorkerDouble) => void): void => withWorker((worker) => worker.phase === 'ready', act);
  switch (kind) {
    case 'submit':
    case 'submitLater': {
      const graph = choose(graphs, pick);
      // A key now and then: some of these are the same again.
      const key = pick % 5 === 0 ? { idempotencyKey: `k${pick % 3}`, requestHash: `h${pick % 2}` } : {};
      if (graph !== undefined && world.openStates().length < 6) refusedIfAway(world.submit(graph, { start: kind === 'submit', ...key }));
      break;
    }
    case 'start':
    case 'pause':
    case 'resume':
      steer({ kind });
      break;
    case 'cancel':
    case 'force':
      steer({ kind: 'cancel', reason: 'enough', force: kind === 'force' });
      break;
    case 'accept':
      withOffer((worker, token) => worker.accept(token));
      break;
    case 'reject':
      withOffer((worker, token) => worker.reject(token));
      break;
    case 'noAnswer':
      withOffer((worker, token) => worker.reject(token, 'no answer'));
      break;
    case 'succeed':
      withRun((worker, token) => worker.succeed(token, String(ms)));
      break;
    case 'fail':
    case 'failForGood':
      withRun((worker, token) => worker.fail(token, ms % 2 === 0 ? 'BUSY' : 'BROKEN', kind === 'fail'));
      break;
    case 'stopped':
      withRun((worker, token) => worker.stopped(token));
      break;
    case 'release':
      withRun((worker, token) => worker.release(token));
      break;
    case 'forget':
      withRun((worker, token) => worker.forget(token));
      break;
    case 'again':
      withReady((worker) => worker.resend());
      break;
    case 'beat':
      withReady((worker) =>
        worker.beat({ idleMs: ms, progress: (pick % 100) / 100, ...(pick % 4 === 0 ? { checkpoint: String(ms) } : {}) }),
      );
      break;
    case 'partBeat':
      withReady((worker) => worker.beat({ tokens: ['gone'], whole: false }));
      break;
    case 'close':
    case 'open':
      withReady((worker) => {
        worker.isOpen = kind === 'open';
        worker.tell();
      });
      break;
    case 'detach':
      withReady((worker) => worker.detach());
      break;
    case 'attach':
      withWorker(
        (worker) => worker.phase !== 'attaching',
        (worker) => worker.attach(),
      );
      break;
    case 'lost':
      withWorker(
        (worker) => worker.phase !== 'absent',
        (worker) => worker.lost(),
      );
      break;
    case 'restart':
      withWorker(
        () => true,
        (worker) => worker.restart(),
      );
      break;
    case 'wait':
      world.ports.advance(ms);
      break;
    case 'alarm':
      if (world.ports.alarmAt !== null) world.ports.advance(Math.max(0, world.ports.alarmAt - world.now));
      break;
    case 'hold':
      world.store.closed = true;
      break;
    case 'commit':
      await world.store.letThrough();
      break;
    case 'letGo':
      await world.store.open();
      break;
    case 'loseReply':
      await world.store.loseReply();
      break;
    case 'loseCommit':
      world.store.refuse({ kind: 'unknown', message: 'the connection is gone' });
      break;
    case 'abort':
      world.store.refuse({ kind: 'aborted', isTransient: true, message: 'the disk is full' });
      break;
    case 'archiveAway':
    case 'archiveBack':
      world.archive.isAway = kind === 'archiveAway';
      break;
    case 'read': {
      const id = choose(world.ids, pick);
      if (id === undefined) break;
      refusedIfAway(world.read(id));
      if (world.has(id)) world.watch(id, ms % (world.store.eventsOf(id).length + 1));
      break;
    }
    case 'recover':
      world.archive.isAway = false;
      await world.recover(ms);
      // So that what was READY at the recovery can be told from what is after it.
      world.ports.advance(1);
      break;
    default:
      kind satisfies never;
  }
  await world.settle();
}

/** The faults stop and everybody does their part: everything must end. Throws when it does not. */
export async function heal(world: ShardWorld, after: () => void): Promise<void> {
  world.archive.isAway = false;
  await world.advance(1_000);
  await world.store.open();
  await world.settle();
  for (const id of world.ids) {
    if (!world.has(id)) continue;
    await world.steer(id, { kind: 'start' });
    await world.steer(id, { kind: 'resume' });
  }
  for (let round = 0; ; round++) {
    const open = world.openStates();
    if (open.length === 0) return;
    if (round > 500) throw new Error(`not at an end: ${open.map(({ id, status }) => `${id} ${status}`).join(', ')}`);
    const before = world.store.journal.lastSeq;
    for (const worker of world.workers) await doItsPart(world, worker);
    after();
    if (world.store.journal.lastSeq !== before) continue;
    const { alarmAt } = world.ports;
    await world.advance(alarmAt === null || alarmAt <= world.now ? 1_000 : Math.min(alarmAt - world.now, 60_000));
  }
}

async function doItsPart(world: ShardWorld, worker: WorkerDouble): Promise<void> {
  if (worker.phase !== 'ready') worker.attach();
  worker.isOpen = true;
  await world.settle();
  worker.tell();
  await world.settle();
  for (const token of worker.unanswered.keys()) worker.accept(token);
  await world.settle();
  for (const [token, { cancelled }] of worker.running) cancelled ? worker.stopped(token) : worker.succeed(token);
  worker.beat();
  worker.grant();
  await world.settle();
}
