/**
 * Drives the engine for one workflow: holds the live state, sends commands, keeps every event. The clock is a number that the test moves.
 *
 * Invariant: `state` is only ever changed by `evolve`, with exactly the events of `events`, in that order.
 */
import type { Graph, Payload } from '@workflow-orchestrator/engine/definition';
import type {
  AttemptOutcome,
  Command,
  Decision,
  JobError,
  Lease,
  WorkflowEvent,
  WorkflowState,
} from '@workflow-orchestrator/engine/machine';
import { decide, evolve, isDurable, readyJobs, recovered } from '@workflow-orchestrator/engine/machine';
import type { Outcome } from '../reference/evaluator.ts';
import { json } from './graphs.ts';
import { fold } from './snapshots.ts';

/** A command whose `at` the clock of the run fills in. */
export type TimelessCommand = Command extends infer C ? (C extends Command ? Omit<C, 'at'> : never) : never;

/** Where the clock of every run begins: any moment that is not 0 will do. */
export const epochMs = 1_800_000_000_000;
export const workerId = 'w1';

/** An error as a handler reports it. */
export function jobError(code = 'HANDLER_ERROR', over: Partial<JobError> = {}): JobError {
  return { code, message: `${code} happened`, retryable: true, details: null, retryAfterMs: 0, stack: '', ...over };
}

/** One workflow under test. */
export class Run {
  readonly graph: Graph;
  readonly workflowId: string;
  /** Null before `submit`. */
  current: WorkflowState | null = null;
  /** Every event since the submit; after a recovery only the durable ones of before. */
  events: WorkflowEvent[] = [];
  now = epochMs;
  /** The last result that was sent, to send it again. */
  lastResult: TimelessCommand | null = null;
  #tokens = 0;
  /** By job: the tokens that were ever given for it, oldest first. */
  readonly #issued = new Map<number, string[]>();

  constructor(graph: Graph, workflowId = 'wf-1') {
    this.graph = graph;
    this.workflowId = workflowId;
  }

  /** The live state; throws before `submit`. */
  get state(): WorkflowState {
    if (this.current === null) throw new Error('not submitted yet');
    return this.current;
  }

  /** Decides at the clock's time and applies the events. */
  send(command: TimelessCommand): Decision {
    const decision = this.decideOnly(command);
    this.apply(decision);
    return decision;
  }

  /** What the engine says to a command now. */
  decideOnly(command: TimelessCommand): Decision {
    if (command.kind === 'result') this.lastResult = command;
    return decide(this.current, { ...command, at: this.now } as Command);
  }

  /** Folds the events of a decision into the live state. */
  apply(decision: Decision): void {
    if (decision.kind === 'ignored') return;
    for (const event of decision.events) {
      this.current = evolve(this.current, event);
      this.events.push(event);
    }
  }

  /** The coordinator is gone and another has read the journal: what was volatile is lost. */
  recover(): void {
    this.events = this.events.filter(isDurable);
    this.current = recovered(fold(this.events), this.now);
  }

  submit(start = false, inputs: Payload = json({})): Decision {
    const { workflowId, graph } = this;
    return this.send({ kind: 'submit', workflowId, graph, inputs, labels: {}, idempotencyKey: '', requestHash: '', start });
  }

  /** Gives the job to a worker under a fresh token: `t1`, `t2` and so on. */
  assign(job: number, worker = workerId): Decision {
    this.#tokens++;
    const token = `t${this.#tokens}`;
    this.#issued.set(job, [...(this.#issued.get(job) ?? []), token]);
    return this.send({ kind: 'assign', job, token, workerId: worker, fencingToken: this.#tokens });
  }

  /** The first token that was given for a job; undefined when none was. */
  oldToken(job: number): string | undefined {
    return this.#issued.get(job)?.[0];
  }

  accept(job: number): Decision {
    return this.send({ kind: 'accept', job, token: this.lease(job).token });
  }

  /** The result of the attempt that holds the lease. */
  result(job: number, outcome: AttemptOutcome): Decision {
    const { token, attempt, workerId: worker, acceptedAt } = this.lease(job);
    const runningMs = acceptedAt === null ? 0 : this.now - acceptedAt;
    return this.send({ kind: 'result', job, token, attempt, workerId: worker, runningMs, outcome });
  }

  succeed(job: number, output: Payload = json({ by: this.graph.jobs[job].id })): Decision {
    return this.result(job, { kind: 'succeeded', output });
  }

  fail(job: number, error = jobError()): Decision {
    return this.result(job, { kind: 'failed', error });
  }

  /** The lease of a job that has one. */
  lease(job: number): Lease {
    const { lease } = this.state.jobs[job];
    if (lease === null) throw new Error(`job ${this.graph.jobs[job].id} has no lease`);
    return lease;
  }

  ready(): number[] {
    return [...readyJobs(this.state)];
  }

  /** A whole attempt: assigned, accepted, ended. */
  attempt(job: number, outcome: Outcome): void {
    this.assign(job);
    this.accept(job);
    if (outcome === 'SUCCEEDED') this.succeed(job);
    else this.fail(job, jobError('BROKEN', { retryable: false }));
  }
}

/** Runs a graph to its end: `pick` chooses which of the ready jobs is run next. Throws when nothing is ready before the end. */
export function runToEnd(run: Run, outcomes: readonly Outcome[], pick: (ready: readonly number[]) => number): void {
  run.submit(true);
  while (run.state.endedAt === 0) {
    const ready = run.ready();
    if (ready.length === 0)
      throw new Error(`stuck: ${run.state.jobs.map((job, index) => `${run.graph.jobs[index].id} ${job.phase}`).join(', ')}`);
    const job = pick(ready);
    run.now += 10;
    run.attempt(job, outcomes[job]);
  }
}
