/**
 * One run of a workflow in virtual time, by the very engine that runs it in a coordinator: what ends how, when these jobs end like this.
 */
import type { Graph } from '@workflow-orchestrator/engine/definition';
import {
  type Command,
  decide,
  evolve,
  hasEnded,
  nextWake,
  readyJobs,
  type SkipReason,
  type WorkflowState,
} from '@workflow-orchestrator/engine/machine';
import { forPlanning, nothing, type PlannedOutcome } from './derive.ts';

/** How a job ended in a plan. */
export interface PlannedJob {
  readonly status: 'SUCCEEDED' | 'FAILED' | 'CANCELLED' | 'SKIPPED';
  readonly skipReason: SkipReason | null;
  /** Indexes of the failed jobs that caused a skip. */
  readonly causes: readonly number[];
}

/** How everything ended. */
export interface PlannedEnd {
  readonly status: 'SUCCEEDED' | 'FAILED' | 'CANCELLED';
  readonly jobs: readonly PlannedJob[];
}

const failure = { code: 'PLANNED', message: 'the plan says so', retryable: false, details: null, retryAfterMs: 0, stack: '' };

/** Plans one graph: derived once, run for as many scenarios as wanted. */
export class Planner {
  readonly graph: Graph;
  readonly #derived: Graph;
  #outcomeOf: (index: number) => PlannedOutcome = () => 'SUCCEEDED';

  constructor(graph: Graph) {
    this.graph = graph;
    this.#derived = forPlanning(graph, (index) => this.#outcomeOf(index));
  }

  /** Runs to the end. Jobs of which `outcomeOf` says nothing else SUCCEED. */
  run(outcomeOf: (index: number) => PlannedOutcome): PlannedEnd {
    this.#outcomeOf = outcomeOf;
    const run = new VirtualRun(this.#derived);
    for (;;) {
      const ready = readyJobs(run.state);
      for (const job of ready) {
        // An attempt that was made in the same round may have ended the wait of this one.
        if (run.state.jobs[job].phase === 'READY' && run.state.jobs[job].lease === null) run.attempt(job, outcomeOf(job));
      }
      if (hasEnded(run.state.status)) return endOf(run.state);
      if (ready.length === 0) run.advance();
    }
  }
}

/** A workflow, a worker that is always there, and a clock that moves when there is nothing to do. */
class VirtualRun {
  state: WorkflowState;
  #at = 0;
  #tokens = 0;

  constructor(graph: Graph) {
    const submit: Command = {
      kind: 'submit',
      at: 0,
      workflowId: 'plan',
      graph,
      inputs: nothing,
      labels: {},
      idempotencyKey: '',
      requestHash: '',
      start: true,
    };
    const decision = decide(null, submit);
    if (decision.kind !== 'events') throw new Error(`the engine does not take a submit: ${decision.message}`);
    let state: WorkflowState | null = null;
    for (const event of decision.events) state = evolve(state, event);
    if (state === null) throw new Error('a submit makes no workflow');
    this.state = state;
  }

  /** One attempt, from its assignment to its result. */
  attempt(job: number, outcome: PlannedOutcome): void {
    this.#tokens += 1;
    const token = String(this.#tokens);
    this.#apply({ kind: 'assign', at: this.#at, job, token, workerId: 'plan', fencingToken: this.#tokens });
    this.#apply({ kind: 'accept', at: this.#at, job, token });
    this.#apply({
      kind: 'result',
      at: this.#at,
      job,
      token,
      attempt: this.state.jobs[job].attempts.length + 1,
      workerId: 'plan',
      runningMs: 0,
      outcome: outcome === 'FAILED' ? { kind: 'failed', error: failure } : { kind: 'succeeded', output: nothing },
    });
  }

  /** Moves the clock to the next timer. */
  advance(): void {
    const next = nextWake(this.state);
    if (next === null) throw new Error('the plan is stuck: nothing to do and nothing to wait for');
    this.#at = Math.max(this.#at, next);
    this.#apply({ kind: 'tick', at: this.#at });
  }

  #apply(command: Command): void {
    const decision = decide(this.state, command);
    if (decision.kind !== 'events') throw new Error(`the engine ignores ${command.kind}: ${decision.message}`);
    for (const event of decision.events) this.state = evolve(this.state, event);
  }
}

function endOf(state: WorkflowState): PlannedEnd {
  return {
    status: state.status as PlannedEnd['status'],
    jobs: state.jobs.map((job) => ({ status: job.phase as PlannedJob['status'], skipReason: job.skipReason, causes: job.causes })),
  };
}
