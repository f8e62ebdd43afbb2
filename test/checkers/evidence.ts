/**
 * What a run leaves behind, in the order in which checkers want it: the history, the final journal, and what was measured at the end.
 */
import type { Graph, GraphJob } from '@workflow-orchestrator/engine/definition';
import type { DurableEvent } from '@workflow-orchestrator/engine/machine';
import type { JournalBatch } from '../../coordinator/store/store.ts';
import type { HistoryEvent } from './history.ts';

/** A batch with the ownership that wrote it. */
export interface CommittedBatch extends JournalBatch {
  readonly epoch: number;
  readonly term: string;
}

/** What a run leaves behind. */
export interface Evidence {
  /** In the order of things. */
  readonly history: readonly HistoryEvent[];
  /** Everything that was ever committed, whatever checkpoints made of it. */
  readonly journal: readonly CommittedBatch[];
  /** Nothing went wrong: no fault was drawn. */
  readonly isFaultless: boolean;
  /** The faults have stopped, everybody did their part, and the time for it has passed: everything must have ended. */
  readonly isHealed: boolean;
  /**
   * By the way in which it was read, a digest of the state of each workflow that was found. `checkpoint and tail` and `archive` (where there is one) are
   * the stores; whatever else there is (`codec`, `a reader`) is made from one of them, or from the journal.
   */
  readonly digests: ReadonlyMap<string, ReadonlyMap<string, string>>;
  /** The digest of a state, as `digests` has it. */
  readonly digestOf: (events: readonly DurableEvent[]) => string;
  /** By the way in which the live view behaved, what the same seed ended in. */
  readonly endings: ReadonlyMap<string, string>;
  /** What is still held when everything has ended, by name; 0 where it went back to its baseline. */
  readonly leftovers: Readonly<Record<string, number>>;
}

/** An event of the journal with its place. */
export interface Fact {
  readonly workflow: string;
  /** Number in the workflow. */
  readonly seq: number;
  /** Number in the shard. */
  readonly shardSeq: number;
  readonly epoch: number;
  readonly event: DurableEvent;
}

/** An event of a history with its place. */
export interface Placed {
  readonly place: number;
  readonly event: HistoryEvent;
}

/** Evidence with what every checker looks for. */
export class Case {
  readonly evidence: Evidence;
  readonly history: readonly HistoryEvent[];
  readonly journal: readonly CommittedBatch[];
  /** In the order of the journal. */
  readonly facts: readonly Fact[];
  readonly #byWorkflow = new Map<string, Fact[]>();
  readonly #byFunction = new Map<string, Placed[]>();
  readonly #graphs = new Map<string, Graph>();
  /** By workflow, where in the history how many of its events were durable. */
  readonly #durable = new Map<string, { readonly place: number; readonly last: number }[]>();

  constructor(evidence: Evidence) {
    this.evidence = evidence;
    this.history = evidence.history;
    this.journal = evidence.journal;
    const facts: Fact[] = [];
    for (const { firstSeq, epoch, entries } of evidence.journal) {
      let shardSeq = firstSeq;
      for (const { workflowId, firstEventSeq, events } of entries) {
        for (const [index, event] of events.entries()) {
          const fact = { workflow: workflowId, seq: firstEventSeq + index, shardSeq, epoch, event };
          shardSeq += 1;
          facts.push(fact);
          push(this.#byWorkflow, workflowId, fact);
          if (event.kind === 'submitted') this.#graphs.set(workflowId, event.graph);
        }
      }
    }
    this.facts = facts;
    for (const [place, event] of evidence.history.entries()) {
      push(this.#byFunction, event.f, { place, event });
      if (event.f !== 'commit') continue;
      for (const [workflow, last] of Object.entries(event.value?.last ?? {})) push(this.#durable, workflow, { place, last });
    }
  }

  /** Workflows of the journal. */
  workflows(): Iterable<string> {
    return this.#byWorkflow.keys();
  }

  factsOf(workflow: string): readonly Fact[] {
    return this.#byWorkflow.get(workflow) ?? [];
  }

  graphOf(workflow: string): Graph | undefined {
    return this.#graphs.get(workflow);
  }

  /** Events of the history of one kind, in order. */
  of(f: string): readonly Placed[] {
    return this.#byFunction.get(f) ?? [];
  }

  /** Where in the history an event of a workflow became durable; -1 where the store did not tell, infinite when it never did. */
  durableAt(workflow: string, seq: number): number {
    if (this.of('commit').length === 0) return -1;
    for (const { place, last } of this.#durable.get(workflow) ?? []) if (last >= seq) return place;
    return Number.POSITIVE_INFINITY;
  }

  /** Whether coordinators said what they assigned. Real processes do not: executions stand for it, and what was never executed was perhaps assigned. */
  get tellsAssignments(): boolean {
    return this.of('assign').length > 0;
  }

  /** Attempts that went out, in order: as coordinators said, else as they were begun. */
  get starts(): readonly Placed[] {
    return this.tellsAssignments ? this.of('assign') : this.of('execute').filter(({ event }) => event.type === 'invoke');
  }

  /** The node of a graph that a job id names. */
  jobOf(workflow: string, job: string): GraphJob | undefined {
    const graph = this.#graphs.get(workflow);
    return graph?.jobs[graph.indexOf.get(job) ?? -1];
  }

  /** What became of each operation of a kind: the last event with its `op`. */
  outcomes(f: string): ReadonlyMap<number, Placed> {
    return new Map(this.of(f).map((placed) => [placed.event.op, placed]));
  }
}

/** Names a job of a workflow. */
export function jobKey(workflow: string | undefined, job: string | number | undefined): string {
  return `${workflow} ${job}`;
}

/** Kinds of events that end a job. */
export const JOB_ENDS: ReadonlySet<string> = new Set(['jobSkipped', 'jobSucceeded', 'jobFailed', 'jobCancelled']);

/** The lease token of the attempt that an event records; empty when it records none. */
export function tokenOf(event: DurableEvent): string {
  return 'attempt' in event && event.attempt !== null ? event.attempt.token : '';
}

/** The epoch under which a lease token was given; 0 when it does not say. */
export function epochOf(token: string): number {
  return Number(/^(\d{1,15})\./.exec(token)?.[1] ?? 0);
}

/** Adds to the list under a key. */
export function push<V>(map: Map<string, V[]>, key: string, value: V): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}
