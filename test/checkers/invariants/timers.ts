/**
 * When timers fire: a part of I12. Times of events are those of the shard, milliseconds since 1970, which never go back; only where all nodes read one clock
 * can they be compared with the history.
 */
import type { Graph } from '@workflow-orchestrator/engine/definition';
import type { DurableEvent } from '@workflow-orchestrator/engine/machine';
import { type Case, type Fact, JOB_ENDS, type Placed } from '../evidence.ts';

/** How long what a recovery found has to come back: time in the queue counts from its end. */
const GRACE_MS = 8_000;
/** Most that a timer may be late where nothing goes wrong. */
const LATE_MS = 100;

/** Nothing fires early, and without a fault nothing is late. */
export function timersFireInTime(run: Case): string[] {
  const found: string[] = [];
  const takeovers = takeoversOf(run);
  for (const workflow of run.workflows()) {
    const graph = run.graphOf(workflow);
    const facts = run.factsOf(workflow);
    if (graph === undefined) continue;
    const clocks = new Clocks(graph, takeovers);
    for (const fact of facts) {
      found.push(...clocks.early(fact).map((what) => `${workflow}: ${what}`));
      if (run.evidence.isFaultless && takeovers.length <= 1) found.push(...clocks.late(fact).map((what) => `${workflow}: ${what}`));
      clocks.take(fact.event);
    }
  }
  // What was told of events that the database lost cannot be held against those that are there.
  if (run.tellsAssignments && run.of('went back').length === 0 && readOneClock(run))
    found.push(...assignedEarly(run), ...beatsThatDoNotCount(run));
  return found;
}

/** Acquisitions that certainly were not reclaims: by another process than the one before. */
function takeoversOf(run: Case): readonly Placed[] {
  if (run.of('went back').length > 0) return [];
  const who = ({ event }: Placed): string => `${event.node}/${event.incarnation}`;
  const owns = run.of('own');
  return owns.filter((own, index) => index === 0 || who(own) !== who(owns[index - 1]!));
}

/** What is known of one workflow before its next event. */
class Clocks {
  readonly #graph: Graph;
  readonly #takeovers: readonly Placed[];
  #startedAt = Number.POSITIVE_INFINITY;
  #resumedAt = 0;
  #stoppedAt = Number.POSITIVE_INFINITY;
  readonly #readyAt = new Map<number, number>();
  readonly #notBefore = new Map<number, number>();

  constructor(graph: Graph, takeovers: readonly Placed[]) {
    this.#graph = graph;
    this.#takeovers = takeovers;
  }

  take(event: DurableEvent): void {
    const { at } = event;
    if (event.kind === 'started') this.#startedAt = at;
    else if (event.kind === 'resumed') this.#resumedAt = at;
    else if (event.kind === 'cancelRequested' || event.kind === 'timedOut') this.#stoppedAt = Math.min(this.#stoppedAt, at);
    else if (event.kind === 'jobReady') {
      this.#readyAt.set(event.job, at);
      this.#notBefore.set(event.job, at);
    } else if (event.kind === 'jobRetryScheduled') this.#notBefore.set(event.job, event.nextAttemptAt);
  }

  /** What fires before its time. */
  early(fact: Fact): string[] {
    const { event } = fact;
    const say = (what: string, due: number): string[] => (event.at < due ? [`the ${what} fired ${due - event.at} ms early`] : []);
    if (event.kind === 'timedOut') {
      if (event.limit === 'timeout') return say('timeout', this.#startedAt + (this.#graph.timeoutMs ?? Number.POSITIVE_INFINITY));
      return say('cleanup timeout', this.#stoppedAt + this.#graph.cleanupTimeoutMs);
    }
    if (event.kind !== 'jobFailed' && event.kind !== 'jobRetryScheduled') return [];
    const { id, timeouts } = this.#graph.jobs[event.job]!;
    const { code, message } = event.error;
    const startMs = event.attempt?.startMs ?? 0;
    if (code === 'TOTAL_TIMEOUT') return say(`total timeout of ${id}`, (this.#readyAt.get(event.job) ?? 0) + (timeouts.totalMs ?? 0));
    if (code === 'QUEUE_TIMEOUT') return say(`queue timeout of ${id}`, this.#queuedSince(fact, event.job) + (timeouts.queueMs ?? 0));
    if (code === 'HEARTBEAT_TIMEOUT') return say(`heartbeat timeout of ${id}`, startMs + (timeouts.heartbeatMs ?? 0));
    // One that the worker ended by itself counts by the clock of the worker.
    const isOwn = code === 'TIMEOUT' && /^the attempt was not done within/.test(message);
    return isOwn ? say(`timeout of ${id}`, startMs + (timeouts.runMs ?? 0)) : [];
  }

  /** What should have fired before. After a cancel or a timeout of the workflow other clocks count for jobs. */
  late({ event }: Fact): string[] {
    const say = (what: string, due: number): string[] => {
      return event.at > due + LATE_MS ? [`the ${what} was due ${event.at - due} ms before ${event.kind}`] : [];
    };
    if (this.#stoppedAt !== Number.POSITIVE_INFINITY) {
      const { cleanupTimeoutMs, cancelGraceMs } = this.#graph;
      return event.kind === 'ended' ? say('cleanup timeout', this.#stoppedAt + cleanupTimeoutMs + cancelGraceMs) : [];
    }
    const found = say('timeout', this.#startedAt + (this.#graph.timeoutMs ?? Number.POSITIVE_INFINITY));
    if (!('job' in event)) return found;
    const { id, timeouts } = this.#graph.jobs[event.job]!;
    if (JOB_ENDS.has(event.kind) || event.kind === 'jobRetryScheduled') {
      const readyAt = this.#readyAt.get(event.job) ?? Number.POSITIVE_INFINITY;
      found.push(...say(`total timeout of ${id}`, readyAt + (timeouts.totalMs ?? Number.POSITIVE_INFINITY)));
      const startMs = ('attempt' in event && event.attempt?.startMs) || Number.POSITIVE_INFINITY;
      found.push(...say(`timeout of ${id}`, startMs + (timeouts.runMs ?? Number.POSITIVE_INFINITY)));
    }
    return found;
  }

  /** Since when a job has waited for a worker, at the latest. */
  #queuedSince({ epoch, shardSeq }: Fact, job: number): number {
    const takeover = this.#takeovers.findLast(({ event }) => (event.epoch ?? 0) <= epoch && (event.seq ?? 0) < shardSeq)?.event;
    // Whether the workflow was there at the takeover: its start tells, for nothing waits before it.
    const wasThere = takeover !== undefined && this.#startedAt < takeover.t_wall;
    return Math.max(this.#notBefore.get(job) ?? 0, this.#resumedAt, wasThere ? Math.floor(takeover.t_wall) + GRACE_MS : 0);
  }
}

/** Whether the clocks of all nodes show the same. */
function readOneClock(run: Case): boolean {
  const [first] = run.history;
  return run.history.every(({ t_wall, t_mono }) => Math.abs(t_wall - t_mono - (first!.t_wall - first!.t_mono)) < 1);
}

/** No attempt is assigned before its time. */
function assignedEarly(run: Case): string[] {
  return run.of('assign').flatMap(({ place, event }) => {
    const { workflow = '', job = '', t_wall } = event;
    const index = run.jobOf(workflow, job)?.index;
    const last = run.factsOf(workflow).findLast(({ seq, event: fact }) => {
      return (fact.kind === 'jobReady' || fact.kind === 'jobRetryScheduled') && fact.job === index && run.durableAt(workflow, seq) < place;
    })?.event;
    const due = last === undefined ? 0 : last.kind === 'jobRetryScheduled' ? last.nextAttemptAt : last.at;
    return Math.ceil(t_wall) < due ? [`${job} of ${workflow} was assigned ${due - t_wall} ms before its time`] : [];
  });
}

/** A heartbeat that was heard puts the end of an attempt off. */
function beatsThatDoNotCount(run: Case): string[] {
  const beats = new Map<string, { readonly heardAt: number; readonly aliveAt: number }[]>();
  for (const { event } of run.of('beat')) {
    const { token = '', idleMs = 0 } = event.value ?? {};
    const beat = { heardAt: event.t_wall, aliveAt: Math.floor(event.t_wall) - idleMs };
    beats.set(token, [...(beats.get(token) ?? []), beat]);
  }
  return run.facts.flatMap(({ workflow, event }) => {
    if ((event.kind !== 'jobFailed' && event.kind !== 'jobRetryScheduled') || event.error.code !== 'HEARTBEAT_TIMEOUT') return [];
    const { id, timeouts } = run.graphOf(workflow)!.jobs[event.job]!;
    const { token } = event.attempt!;
    const alive = (beats.get(token) ?? []).filter(({ heardAt }) => heardAt < event.at - 1).map(({ aliveAt }) => aliveAt);
    const due = Math.max(0, ...alive) + (timeouts.heartbeatMs ?? 0);
    return event.at < due ? [`${id} of ${workflow} under ${token} was given up ${due - event.at} ms early, for a heartbeat was heard`] : [];
  });
}
