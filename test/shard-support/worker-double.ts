/**
 * A worker and its sessions as the gateway shows them to the shard: the other side of `port.ts`. It keeps what that file promises of the gateway,
 * and reports what the shard promises and does not keep.
 *
 * Invariants
 * 1. Words come from the session that is attached, in the order in which they are said.
 * 2. Room is reported as the gateway does: what was granted on this connection less what was sent on it.
 */
import { create } from '@bufbuild/protobuf';
import {
  type Assignment,
  AssignReplySchema,
  InFlightSchema,
  type InFlightVerdict,
  InFlightVerdict_Verdict,
  JobErrorSchema,
  LeaseBeatSchema,
  PayloadSchema,
  type Result,
  type ResultAck,
  ResultAck_Verdict,
  ResultSchema,
} from '@workflow-orchestrator/proto';
import type { WorkerInbox, WorkerOutbox } from '../../coordinator/gateway/port.ts';

/** What a worker can do. */
export interface WorkerSkills {
  readonly slots?: number;
  /** Job type to the number at once; 0: as many as there are slots. */
  readonly capabilities?: Readonly<Record<string, number>>;
  readonly labels?: Readonly<Record<string, string>>;
}

/** An attempt that the worker accepted. */
export interface Running {
  readonly assignment: Assignment;
  readonly acceptedAt: number;
  /** It was told to stop. */
  cancelled: boolean;
}

/** Who listens to a worker. */
export interface WorkerWorld {
  readonly inbox: () => WorkerInbox;
  readonly now: () => number;
  /** Something reached the worker; checked against what is committed. */
  onAssigned(worker: WorkerDouble, assignment: Assignment): void;
  onAcked(worker: WorkerDouble, ack: ResultAck, result: Result | undefined): void;
  /** A promise of the port was broken. */
  violation(message: string): void;
}

type Outcome = Result['outcome'];

export class WorkerDouble {
  readonly id: string;
  readonly slots: number;
  readonly capabilities: ReadonlyMap<string, number>;
  readonly labels: ReadonlyMap<string, string>;
  /** `absent`: the shard does not know it. `detached`: its socket is gone and its leases hold. */
  phase: 'absent' | 'attaching' | 'ready' | 'detached' = 'absent';
  /** Assignments that wait for an answer. */
  readonly unanswered = new Map<string, Assignment>();
  readonly running = new Map<string, Running>();
  /** Results without an ack. */
  readonly results = new Map<string, Result>();
  /** Everything that reached it, in a few words each. */
  readonly heard: string[] = [];
  readonly assigned: Assignment[] = [];
  /** Tokens of the attempts that it ended well. */
  readonly succeeded = new Set<string>();
  /** Verdicts of the acks that came, by name. */
  readonly acks: string[] = [];
  /** Whether it takes work at all: not draining, not congested. */
  isOpen = true;
  /** Since when it is not offered a type that it refused. */
  readonly refusedAt = new Map<string, number>();
  readonly #world: WorkerWorld;
  #instance = 1;
  #session = 0;
  #granted = 0;
  #sent = 0;

  constructor(id: string, world: WorkerWorld, skills: WorkerSkills = {}) {
    this.id = id;
    this.#world = world;
    this.slots = skills.slots ?? 1;
    this.capabilities = new Map(Object.entries(skills.capabilities ?? { work: 0 }));
    this.labels = new Map(Object.entries(skills.labels ?? {}));
  }

  get sessionId(): string {
    return `${this.id}/${this.#session}`;
  }

  /** Room on the connection. */
  get available(): number {
    return this.phase === 'ready' ? this.#granted - this.#sent : 0;
  }

  /** Connects, or connects again as the same process. */
  attach(): void {
    this.#session++;
    this.#granted = 0;
    this.#sent = 0;
    // What was under way to the worker on the connection before did not arrive.
    this.unanswered.clear();
    this.phase = 'attaching';
    const running = [...this.running.values()].map(({ assignment, acceptedAt }) => {
      return create(InFlightSchema, { ...attemptOf(assignment), runningMs: BigInt(this.#world.now() - acceptedAt) });
    });
    const waiting = [...this.results.values()].map((result) => create(InFlightSchema, { ...attemptOf(result), resultWaiting: true }));
    this.#world.inbox().attach(
      {
        workerId: this.id,
        instanceId: `${this.id}#${this.#instance}`,
        sessionId: this.sessionId,
        labels: this.labels,
        capabilities: this.capabilities,
        slots: this.slots,
        inFlight: [...running, ...waiting],
      },
      this.#outbox(this.#session),
    );
  }

  /** The socket is gone. */
  detach(): void {
    if (this.phase !== 'attaching' && this.phase !== 'ready') return;
    this.phase = 'detached';
    this.#world.inbox().detach(this.id, this.sessionId);
  }

  /** The gateway gives it up. */
  lost(reason = 'silent'): void {
    if (this.phase === 'absent') return;
    this.phase = 'absent';
    this.#world.inbox().lost(this.id, this.sessionId, reason);
  }

  /** The coordinator died: nobody is told, and nobody remembers it. */
  abandon(): void {
    this.phase = 'absent';
    this.unanswered.clear();
  }

  /** The process ends and starts anew: it holds nothing. The gateway gives the old one up first. */
  restart(): void {
    this.lost('another process started with its id');
    this.#instance++;
    this.running.clear();
    this.results.clear();
    this.attach();
  }

  /** Grants all free slots, and says whether work may be sent. */
  grant(): void {
    if (this.phase !== 'ready') return;
    const free = this.slots - this.running.size - this.unanswered.size;
    this.#granted = Math.max(this.#granted, this.#sent + Math.max(0, free));
    this.tell();
  }

  /** Says how much room there is. */
  tell(): void {
    if (this.phase === 'ready') this.#world.inbox().capacity(this.id, this.sessionId, this.#granted - this.#sent, this.isOpen);
  }

  accept(token: string): void {
    const assignment = this.unanswered.get(token);
    if (assignment === undefined || this.phase !== 'ready') return;
    this.unanswered.delete(token);
    this.running.set(token, { assignment, acceptedAt: this.#world.now(), cancelled: false });
    this.#reply(token, true, '');
  }

  /** Does not take it, or (`no answer`) did not say so in time. */
  reject(token: string, reason = 'no slot'): void {
    const assignment = this.unanswered.get(token);
    if (assignment === undefined || this.phase !== 'ready') return;
    this.unanswered.delete(token);
    this.refusedAt.set(assignment.type, this.#world.now());
    this.#reply(token, false, reason);
    this.grant();
  }

  succeed(token: string, output = 'null'): void {
    if (this.running.has(token)) this.succeeded.add(token);
    this.#end(token, { case: 'output', value: create(PayloadSchema, { data: new TextEncoder().encode(output) }) });
  }

  fail(token: string, code = 'BROKEN', retryable = false): void {
    this.#end(token, { case: 'error', value: create(JobErrorSchema, { code, message: code, retryable }) });
  }

  /** Stopped, because it was told to. */
  stopped(token: string): void {
    this.#end(token, { case: 'cancelled', value: {} as never });
  }

  /** Gives it back before the handler did anything. */
  release(token: string): void {
    this.#end(token, { case: 'released', value: {} as never });
  }

  /** Forgets an attempt without a word. */
  forget(token: string): void {
    this.running.delete(token);
  }

  /** Sends every result that waits, once more. */
  resend(): void {
    if (this.phase === 'ready' && this.results.size > 0) this.#world.inbox().results(this.id, this.sessionId, [...this.results.values()]);
  }

  /** Sends any result. */
  say(result: Result): void {
    this.#world.inbox().results(this.id, this.sessionId, [result]);
  }

  /** A heartbeat, or a part of one. Names all running attempts unless told which. */
  beat({ tokens = [...this.running.keys()], whole = true, idleMs = 0, progress, checkpoint }: Beat = {}): void {
    if (this.phase !== 'ready') return;
    const beats = tokens.map((leaseToken) =>
      create(LeaseBeatSchema, {
        leaseToken,
        idleMs: BigInt(idleMs),
        ...(progress === undefined ? {} : { progress, progressMessage: `${progress * 100} %` }),
        ...(checkpoint === undefined ? {} : { checkpoint: { data: new TextEncoder().encode(checkpoint) } }),
      }),
    );
    this.#world.inbox().beats(this.id, this.sessionId, beats, whole);
  }

  #reply(leaseToken: string, accepted: boolean, reason: string): void {
    this.#world.inbox().replies(this.id, this.sessionId, [create(AssignReplySchema, { leaseToken, accepted, reason })]);
  }

  #end(token: string, outcome: Outcome): void {
    const run = this.running.get(token);
    if (run === undefined) return;
    this.running.delete(token);
    const runningMs = BigInt(this.#world.now() - run.acceptedAt);
    const result = create(ResultSchema, { ...attemptOf(run.assignment), runningMs, outcome });
    this.results.set(token, result);
    if (this.phase === 'ready') this.#world.inbox().results(this.id, this.sessionId, [result]);
    this.grant();
  }

  #outbox(session: number): WorkerOutbox {
    const isCurrent = (): boolean => session === this.#session && this.phase !== 'detached' && this.phase !== 'absent';
    return {
      welcome: (verdicts) => {
        if (!isCurrent()) return;
        if (this.phase !== 'attaching') this.#world.violation(`${this.id} was welcomed twice`);
        this.phase = 'ready';
        for (const verdict of verdicts) this.#judged(verdict);
        this.resend();
        this.grant();
      },
      assign: (assignments) => {
        for (const assignment of assignments) this.#take(assignment, isCurrent());
      },
      ack: (acks) => {
        if (!isCurrent() || this.phase !== 'ready') return;
        for (const ack of acks) {
          this.acks.push(nameOf(ResultAck_Verdict, ack.verdict));
          this.heard.push(`ack ${ack.leaseToken} ${nameOf(ResultAck_Verdict, ack.verdict)}`);
          this.#world.onAcked(this, ack, this.results.get(ack.leaseToken));
          this.results.delete(ack.leaseToken);
        }
      },
      cancel: (tokens, reason) => {
        if (!isCurrent()) return;
        for (const token of tokens) {
          this.heard.push(`cancel ${token} ${reason}`);
          const run = this.running.get(token);
          if (run !== undefined) run.cancelled = true;
        }
      },
      revoke: (tokens) => {
        // As the gateway: what comes before Welcome is dropped, for Welcome says the same.
        if (!isCurrent() || this.phase !== 'ready') return;
        for (const token of tokens) {
          this.heard.push(`revoke ${token}`);
          this.unanswered.delete(token);
          this.running.delete(token);
          this.results.delete(token);
        }
        this.grant();
      },
    };
  }

  #judged(verdict: InFlightVerdict): void {
    this.heard.push(`verdict ${verdict.leaseToken} ${nameOf(InFlightVerdict_Verdict, verdict.verdict)}`);
    if (verdict.verdict !== InFlightVerdict_Verdict.ABANDON) return;
    this.running.delete(verdict.leaseToken);
    this.results.delete(verdict.leaseToken);
  }

  #take(assignment: Assignment, isCurrent: boolean): void {
    const { leaseToken, type } = assignment;
    if (!isCurrent || this.phase !== 'ready') {
      this.#world.violation(`${this.id} was assigned ${leaseToken} on a connection that is gone or not welcomed`);
      return;
    }
    this.assigned.push(assignment);
    this.heard.push(`assign ${leaseToken}`);
    if (this.#sent >= this.#granted) this.#world.violation(`${this.id} was assigned more than it granted`);
    this.#sent++;
    const cap = this.capabilities.get(type);
    const held = [...this.running.values()].map((run) => run.assignment).concat([...this.unanswered.values()]);
    if (cap === undefined) this.#world.violation(`${this.id} was assigned a job of type ${type}`);
    else if (cap > 0 && held.filter((other) => other.type === type).length >= cap)
      this.#world.violation(`${this.id} was assigned more than ${cap} jobs of type ${type}`);
    this.unanswered.set(leaseToken, assignment);
    this.#world.onAssigned(this, assignment);
    if (!this.isOpen) this.reject(leaseToken, 'draining');
  }
}

/** What a heartbeat says. */
export interface Beat {
  readonly tokens?: readonly string[];
  /** Whether all attempts that it does not name (in this part and those before) are not held. */
  readonly whole?: boolean;
  readonly idleMs?: number;
  readonly progress?: number;
  readonly checkpoint?: string;
}

/** The name of an enum's value. */
export function nameOf(values: Readonly<Record<string, number>>, value: number): string {
  return Object.keys(values).find((name) => values[name] === value) ?? String(value);
}

function attemptOf({ leaseToken, workflowId, jobId, attempt }: Pick<Assignment, 'leaseToken' | 'workflowId' | 'jobId' | 'attempt'>) {
  return { leaseToken, workflowId, jobId, attempt };
}
