/**
 * Walks every order of events of one small graph: from each state every move that the world could make, until nothing new is found.
 *
 * Two states are the same when they can do the same from now on: tokens, and times that no timer reads, do not count; times that one reads
 * count by their distance from now.
 */
import type { Graph } from '@workflow-orchestrator/engine/definition';
import {
  type Command,
  decide,
  hasEnded,
  type JobState,
  nextWake,
  readyJobs,
  recovered,
  type WorkflowState,
} from '@workflow-orchestrator/engine/machine';
import { json } from './graphs.ts';
import { nextEvent } from './next-event.ts';
import { epochMs, jobError, type TimelessCommand, workerId } from './run.ts';

/** What the world may do beside running jobs. */
export interface World {
  readonly cancel: boolean;
  readonly pause: boolean;
  readonly lost: boolean;
  /** The coordinator dies; workers come back with what they hold, or do not. */
  readonly recover: boolean;
}

/** A state that was found, and the shortest way to it. */
interface Node {
  readonly state: WorkflowState;
  readonly now: number;
  readonly way: readonly string[];
  readonly from: Set<Node>;
}

interface Move {
  readonly name: string;
  readonly command: TimelessCommand | 'recover';
  readonly at: number;
}

/** What a walk found. */
export interface Walked {
  readonly states: number;
  readonly moves: number;
  readonly ends: readonly { readonly state: WorkflowState; readonly way: readonly string[] }[];
}

/**
 * Walks from the submit. `check` sees each step (before, after, the move) and throws what is wrong.
 * Throws when a state is stuck, when an end cannot be reached from it, or when more than `maxStates` are found.
 */
export function walk(
  graph: Graph,
  world: World,
  check: (before: WorkflowState, after: WorkflowState, command: TimelessCommand | 'recover') => void,
  maxStates = 100_000,
): Walked {
  const submitted = decide(null, { ...submission(graph), at: epochMs });
  if (submitted.kind === 'ignored') throw new Error(submitted.message);
  const first: Node = { state: submitted.state, now: epochMs, way: [], from: new Set() };
  const found = new Map([[keyOf(first.state, first.now), first]]);
  const queue = [first];
  let moves = 0;
  for (const node of queue) {
    for (const [index] of node.state.jobs.entries()) explain(node.way, () => nextEvent(node.state, index));
    for (const { name, command, at } of movesOf(node, world)) {
      const next = command === 'recover' ? recovered(node.state, at) : outcome(node.state, { ...command, at } as Command);
      if (next === null) continue;
      moves++;
      const way = [...node.way, name];
      explain(way, () => check(node.state, next, command));
      const due = name.endsWith('tick') ? nextWake(next) : null;
      if (due !== null && due <= at) throw new Error(`a timer is due ${at - due} ms before the tick\n  after: ${way.join(', ')}`);
      const key = keyOf(next, at);
      const known = found.get(key);
      const target: Node = known ?? { state: next, now: at, way, from: new Set() };
      target.from.add(node);
      if (known !== undefined) continue;
      found.set(key, target);
      queue.push(target);
      if (found.size > maxStates) throw new Error(`more than ${maxStates} states`);
    }
  }
  const ends = queue.filter((node) => node.state.endedAt !== 0);
  const reaching = new Set(ends);
  for (const node of reaching) for (const before of node.from) reaching.add(before);
  const lost = queue.find((node) => !reaching.has(node));
  if (lost !== undefined) throw new Error(`no end can be reached after: ${lost.way.join(', ')}`);
  return { states: queue.length, moves, ends };
}

function submission(graph: Graph): TimelessCommand & { readonly kind: 'submit' } {
  return { kind: 'submit', workflowId: 'wf', graph, inputs: json({}), labels: {}, idempotencyKey: '', requestHash: '', start: false };
}

function outcome(state: WorkflowState, command: Command): WorkflowState | null {
  const decision = decide(state, command);
  return decision.kind === 'events' ? decision.state : null;
}

function explain<T>(way: readonly string[], run: () => T): T {
  try {
    return run();
  } catch (error) {
    throw new Error(`${error instanceof Error ? error.message : String(error)}\n  after: ${way.join(', ')}`);
  }
}

/** Every move that is possible in a state. */
function movesOf({ state, now }: Node, world: World): Move[] {
  if (state.endedAt !== 0) return [];
  const moves: Move[] = [];
  const add = (name: string, command: TimelessCommand | 'recover', at = now): void => {
    moves.push({ name, command, at });
  };
  add('start', { kind: 'start' });
  if (world.cancel) {
    add('cancel', { kind: 'cancel', reason: '', force: false });
    add('force', { kind: 'cancel', reason: '', force: true });
  }
  if (world.pause) {
    add('pause', { kind: 'pause' });
    add('resume', { kind: 'resume' });
  }
  if (world.recover && state.jobs.some((job) => job.lease !== null)) add('recover', 'recover');
  const wake = nextWake(state);
  if (wake !== null) {
    add('tick', { kind: 'tick' }, Math.max(wake, now));
    add('late tick', { kind: 'tick' }, Math.max(wake, now) + 60_000);
  }
  const dispatched = new Set(readyJobs(state));
  for (const [job, { id }] of state.graph.jobs.entries()) {
    const { phase, lease, attempts, notBefore } = state.jobs[job];
    if (phase !== 'READY') continue;
    const attempt = attempts.length + 1;
    const token = lease?.token ?? `${id}/${attempt}`;
    const fencingToken = attempt;
    if (lease === null) {
      if (dispatched.has(job)) add(`assign ${id}`, { kind: 'assign', job, token, workerId, fencingToken }, Math.max(now, notBefore));
      if (world.recover) add(`reattach ${id}`, { kind: 'reattach', job, token, attempt, workerId, runningMs: 0, fencingToken });
      continue;
    }
    if (lease.acceptedAt === null) {
      add(`accept ${id}`, { kind: 'accept', job, token });
      add(`reject ${id}`, { kind: 'release', job, token, reason: '' });
    }
    const result = { kind: 'result', job, token, attempt, workerId, runningMs: 0 } as const;
    // Without an accept too: it may be lost on its way, the result not.
    add(`${id} succeeds`, { ...result, outcome: { kind: 'succeeded', output: json(null) } });
    add(`${id} fails`, { ...result, outcome: { kind: 'failed', error: jobError('BROKEN', { retryable: false }) } });
    if (world.lost) {
      add(`${id} fails for now`, { ...result, outcome: { kind: 'failed', error: jobError('BUSY') } });
      add(`${id} is lost`, { kind: 'workerLost', job, token, message: '' });
    }
    if (world.cancel) add(`${id} stops`, { ...result, outcome: { kind: 'cancelled' } });
  }
  return moves;
}

function keyOf(state: WorkflowState, now: number): string {
  const since = (at: number | null): number | null => (at === null || at === 0 ? at : at - now);
  const jobKey = (job: JobState, index: number): unknown => {
    if (hasEnded(job.phase)) return [job.phase, job.skipReason, job.causes];
    if (job.phase === 'PENDING') return job.phase;
    const { queueMs, runMs, heartbeatMs, totalMs } = state.graph.jobs[index].timeouts;
    const { lease } = job;
    return [
      job.attempts.length,
      totalMs === null ? null : since(job.readyAt),
      queueMs === null ? Math.max(0, job.notBefore - now) : since(Math.max(job.notBefore, state.resumedAt, state.recoveredAt)),
      lease !== null && [
        lease.acceptedAt !== null,
        runMs === null ? null : since(lease.acceptedAt),
        heartbeatMs === null ? null : since(lease.beatAt),
        since(lease.cancelAt),
      ],
    ];
  };
  const open = state.endedAt === 0;
  return JSON.stringify([
    state.status,
    open && state.graph.timeoutMs !== null ? since(state.startedAt) : null,
    open ? [since(state.cancelRequestedAt), since(state.timedOutAt), state.forced] : null,
    open && state.failuresBeforeStop !== null ? since(state.recoveredAt) : null,
    [...state.failures].sort(),
    state.failuresBeforeStop === null ? null : state.failures.slice(0, state.failuresBeforeStop).sort(),
    state.jobs.map(jobKey),
  ]);
}
