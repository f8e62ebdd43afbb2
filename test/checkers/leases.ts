/**
 * The leases of a run, as the seam between sessions and shard shows them: when each was given, and what ended it.
 *
 * A lease is volatile, and no line says that one ended: it is what was told and heard together. It ends with the record of its attempt in the journal; with a
 * result that gives it back, or an offer that was refused; with its worker, which is given up or comes back without it (where the worker had accepted it, that
 * too leaves a record, and only the record counts); or with its job.
 *
 * What is heard is decided in the next turn, and an effect that leaves between the two is older than what was heard: so a loss in the same moment counts.
 */
import { type Case, JOB_ENDS, jobKey, push, tokenOf } from './evidence.ts';
import type { HistoryEvent } from './history.ts';

/** A lease in one tenure: an attempt that is taken up again after a takeover has another one. */
export interface Lease {
  readonly tenure: string;
  readonly token: string;
  readonly workflow: string;
  readonly job: string;
  readonly attempt: number;
  readonly worker: string;
  /** Where in the history it was given; of one that was kept, where its worker came back with it. */
  readonly from: number;
  readonly isKept: boolean;
  /** Its worker said that it has begun. */
  isAccepted: boolean;
  /** Where it ended without a record; infinite when it did not. */
  givenBack: number;
}

/** What a lease was given for. */
type Assigned = Pick<Lease, 'workflow' | 'job' | 'attempt'>;

const read = new WeakMap<Case, Leases>();

/** The leases of a run, read once. */
export function leasesOf(run: Case): Leases {
  const leases = read.get(run) ?? new Leases(run);
  read.set(run, leases);
  return leases;
}

/** All leases of a run, in the order in which they were given. */
class Leases {
  readonly all: Lease[] = [];
  readonly #byJob = new Map<string, Lease[]>();
  readonly #byWorker = new Map<string, Lease[]>();
  readonly #byToken = new Map<string, Lease>();
  readonly #assigned = new Map<string, Assigned>();
  /** By session, the tokens that it was told to keep. */
  readonly #kept: ReadonlyMap<string, readonly string[]>;
  /** By worker of a tenure, when it was last lost. */
  readonly #lostAt = new Map<string, number>();
  /** By token, where its record became durable; by job, where its end did. */
  readonly #recorded = new Map<string, number>();
  readonly #ended = new Map<string, number>();
  /** By token, where the end of its job that it brought became durable. */
  readonly #endedUnder = new Map<string, number>();

  constructor(run: Case) {
    this.#kept = new Map(run.of('welcome').map(({ event: { value } }) => [value?.session ?? '', value?.tokens ?? []]));
    for (const { workflow, seq, event } of run.facts) {
      if (!('job' in event)) continue;
      if (tokenOf(event) !== '') this.#recorded.set(tokenOf(event), run.durableAt(workflow, seq));
      if (!JOB_ENDS.has(event.kind)) continue;
      this.#ended.set(jobKey(workflow, run.graphOf(workflow)?.jobs[event.job]?.id), run.durableAt(workflow, seq));
      this.#endedUnder.set(tokenOf(event), run.durableAt(workflow, seq));
    }
    for (const [place, event] of run.history.entries()) this.#take(place, event);
  }

  /** What was assigned under a token, whenever. */
  assignedUnder(token: string): Assigned | undefined {
    return this.#assigned.get(token);
  }

  /** Leases of one job, over all tenures. */
  of(workflow: string, job: string): readonly Lease[] {
    return this.#byJob.get(jobKey(workflow, job)) ?? [];
  }

  /** Leases of one worker in one tenure. */
  ofWorker(tenure: string, worker: string): readonly Lease[] {
    return this.#byWorker.get(`${tenure} ${worker}`) ?? [];
  }

  /** Whether the journal has what became of a token, and had it there. */
  isRecorded(token: string, place = Number.POSITIVE_INFINITY): boolean {
    return (this.#recorded.get(token) ?? Number.POSITIVE_INFINITY) < place;
  }

  /** Whether the end of a job was durable there. */
  hasEnded(workflow: string, job: string, place: number): boolean {
    return (this.#ended.get(jobKey(workflow, job)) ?? Number.POSITIVE_INFINITY) < place;
  }

  /** Whether the end of a job that a token brought was durable there. */
  hasEndedUnder(token: string, place: number): boolean {
    return token !== '' && (this.#endedUnder.get(token) ?? Number.POSITIVE_INFINITY) < place;
  }

  /** Whether a lease was still held there. */
  isHeld({ token, workflow, job, from, givenBack }: Lease, place: number): boolean {
    return from < place && place <= givenBack && !this.isRecorded(token, place) && !this.hasEnded(workflow, job, place);
  }

  #take(place: number, { f, type, workflow = '', job = '', attempt = 0, t_mono, value = {} }: HistoryEvent): void {
    const { tenure, worker = '', token = '', tokens = [], session = '' } = value;
    if (tenure === undefined || type !== 'ok') return;
    const who = `${tenure} ${worker}`;
    if (f === 'assign') {
      this.#assigned.set(token, { workflow, job, attempt });
      const lease = this.#give({ tenure, token, worker, workflow, job, attempt, from: place, isKept: false });
      if (this.#lostAt.get(who) === t_mono) lease.givenBack = place;
    } else if (f === 'answer') {
      const lease = this.#byToken.get(`${tenure} ${token}`);
      if (lease === undefined) return;
      if (value.answer === 'accepted') lease.isAccepted = true;
      else if (!lease.isAccepted) lease.givenBack = Math.min(lease.givenBack, place);
    } else if (f === 'result' && value.outcome === 'released') {
      const lease = this.#byToken.get(`${tenure} ${token}`);
      if (lease !== undefined) lease.givenBack = Math.min(lease.givenBack, place);
    } else if (f === 'lost' || f === 'attach') {
      this.#lostAt.set(who, t_mono);
      const kept = new Set(f === 'attach' ? tokens : []);
      for (const lease of this.ofWorker(tenure, worker))
        if (!kept.has(lease.token) && !lease.isAccepted) lease.givenBack = Math.min(lease.givenBack, place);
      if (f === 'attach') for (const each of this.#kept.get(session) ?? []) this.#keep(place, tenure, worker, each);
    }
  }

  /** A worker came back with an attempt, and keeps it. */
  #keep(place: number, tenure: string, worker: string, token: string): void {
    const held = this.#byToken.get(`${tenure} ${token}`);
    const assigned = this.#assigned.get(token);
    if (held !== undefined) held.isAccepted = true;
    else if (assigned !== undefined) this.#give({ tenure, token, worker, ...assigned, from: place, isKept: true }).isAccepted = true;
  }

  #give(given: Omit<Lease, 'isAccepted' | 'givenBack'>): Lease {
    const lease: Lease = { ...given, isAccepted: false, givenBack: Number.POSITIVE_INFINITY };
    this.all.push(lease);
    this.#byToken.set(`${lease.tenure} ${lease.token}`, lease);
    push(this.#byJob, jobKey(lease.workflow, lease.job), lease);
    push(this.#byWorker, `${lease.tenure} ${lease.worker}`, lease);
    return lease;
  }
}
