/**
 * One session: a worker under test and a played coordinator, with the words that scripts are written in. The coordinator does by itself what a right one
 * does (greet, reply, ack); a script switches parts of that off to see what the worker makes of it. Nothing is judged here.
 *
 * Invariants
 * 1. Never more assignments are sent than were granted on the connection (C6), unless a script says `beyondCredit`.
 * 2. A wait of a script ends: what does not come is written down as `stuck`, and the session is over.
 */
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  type Assignment,
  AssignmentSchema,
  type Hello,
  type InFlight,
  InFlightVerdict_Verdict,
  ResultAck_Verdict,
  type WorkerFrame,
} from '@workflow-orchestrator/proto';
import { json } from '../stream-support/frames.ts';
import type { Entry, EntryOf, Happening, History } from './history.ts';
import { type Body, type Link, StreamServer } from './server.ts';
import { type Exit, WorkerProcess } from './worker-process.ts';

/** Timers and limits that the worker is told in Welcome. */
export interface Timers {
  readonly heartbeatIntervalMs: number;
  readonly leaseMs: number;
  readonly assignReplyMs: number;
  readonly cancelGraceMs: number;
  readonly maxFrameBytes: number;
}

/** Short, so that a session is; a worker that keeps them because it was told keeps longer ones too. */
export const quickTimers: Timers = {
  heartbeatIntervalMs: 200,
  leaseMs: 1_500,
  assignReplyMs: 1_000,
  cancelGraceMs: 2_000,
  maxFrameBytes: 64 * 1024,
};

/** What is known of an attempt. */
export interface Attempt {
  readonly assignment: Assignment;
  /** `given`: no answer yet. `over`: acked, rejected, lost or abandoned. */
  state: 'given' | 'running' | 'ended' | 'over';
  /** Its lease is gone: whatever comes of it is stale. */
  revoked: boolean;
  /** It is to stop. */
  cancelled: boolean;
  output: unknown;
}

/** How long a script waits for what should come within a moment, in milliseconds, unless it is told otherwise. */
const defaultPatienceMs = 8_000;

/** How long a program may take until it connects for the first time, on a busy machine. */
const startMs = 30_000;

/** A wait in vain; the session ends. */
export class Stuck extends Error {}

/** Slots that workers are told to offer. */
export const slots = 4;

const pollMs = 5;

/** The session. */
export class Stage {
  readonly entries: Entry[] = [];
  readonly attempts = new Map<string, Attempt>();
  readonly timers: Timers;
  readonly patienceMs: number;
  readonly server: StreamServer;
  /** What a right coordinator does by itself. */
  readonly habits = { greet: true, reply: true, ack: true, verdicts: true };
  /** The welcomed connection that is used. */
  link: Link | null = null;
  granted = 0;
  /** Assignments on the connection that is used. */
  assigned = 0;
  process: WorkerProcess | null = null;
  readonly #name: string;
  readonly #greeting = new Map<number, InFlight[]>();
  /** Links whose Hello is whole and whose Welcome is held back. */
  readonly #introduced: Link[] = [];
  readonly #startedAt = performance.now();
  #tokens = 0;
  #watch: NodeJS.Timeout | null = null;

  constructor(name: string, timers: Timers, patienceMs = defaultPatienceMs) {
    this.#name = name;
    this.patienceMs = patienceMs;
    this.timers = timers;
    this.server = new StreamServer({
      record: (link, happening) => this.record(link, happening),
      frame: (link, frame) => this.#receive(link, frame),
    });
  }

  get history(): History {
    return { name: this.#name, entries: this.entries };
  }

  record(link: number, happening: Happening): void {
    const at = performance.now() - this.#startedAt;
    this.entries.push({ ...happening, index: this.entries.length, at, link } as Entry);
  }

  /** Starts the worker; `environment` is added to what the contract of the kit says. */
  async start(command: readonly string[], environment: Readonly<Record<string, string>> = {}): Promise<void> {
    const url = await this.server.listen();
    this.#watchStalls();
    this.record(0, { kind: 'started', workerId: 'conformance-1', slots });
    this.process = new WorkerProcess(command, {
      COORDINATOR_URL: url,
      WORKER_ID: 'conformance-1',
      WORKER_SLOTS: String(slots),
      ...environment,
    });
    void this.process.exited.then((exit: Exit) => this.record(0, { kind: 'exited', ...exit }));
  }

  /** The session is over. */
  async end(): Promise<void> {
    if (this.#watch !== null) clearInterval(this.#watch);
    this.server.close();
    await this.process?.end();
  }

  /** Waits until `holds`. */
  async until(what: string, holds: () => boolean, withinMs = this.patienceMs): Promise<void> {
    const deadline = performance.now() + withinMs;
    const mustLive = this.process !== null && this.process.exit === null;
    while (!holds()) {
      if (mustLive && this.process?.exit !== null && !this.entries.some(({ kind }) => kind === 'signal')) {
        await this.#giveUp(`the program ended while the script waited for ${what}`);
      }
      if (performance.now() > deadline) await this.#giveUp(`waited ${withinMs} ms in vain for ${what}`);
      await this.pause(pollMs);
    }
  }

  /** Lets time pass: for things that must not happen. */
  pause(ms: number): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, ms));
  }

  /** The welcomed connection. */
  async ready(): Promise<Link> {
    const withinMs = this.server.links.length === 0 ? startMs : this.patienceMs;
    await this.until('a welcomed connection', () => this.link?.isOpen === true, withinMs);
    return this.link!;
  }

  /** A welcomed connection that is newer than `link`. */
  async readyAfter(link: Link, withinMs = this.patienceMs): Promise<Link> {
    await this.until('a new welcomed connection', () => this.link !== null && this.link.number > link.number && this.link.isOpen, withinMs);
    return this.link!;
  }

  /** A job, with a token of its own. */
  job(type: string, parameters: object, overrides: MessageInitShape<typeof AssignmentSchema> = {}): Assignment {
    this.#tokens += 1;
    const leaseToken = `t${this.#tokens}`;
    return create(AssignmentSchema, {
      leaseToken,
      workflowId: 'wf-1',
      workflowName: 'conformance',
      jobId: `job-${leaseToken}`,
      attempt: 1,
      maxAttempts: 3,
      type: `conformance.${type}`,
      parameters: { data: json(parameters) },
      inputs: [{ jobId: '', payload: { data: json({}) } }],
      idempotencyKey: `wf-1/job-${leaseToken}/0`,
      fencingToken: BigInt(this.#tokens),
      ...overrides,
    } as MessageInitShape<typeof AssignmentSchema>);
  }

  /** Waits for the credit and sends them in one frame. Returns their tokens. */
  async assign(...assignments: Assignment[]): Promise<string[]> {
    await this.ready();
    await this.until('credit', () => this.link?.isOpen === true && this.granted - this.assigned >= assignments.length);
    return this.assignNow(...assignments);
  }

  /** Sends them without waiting for credit; the script knows that there is some. */
  assignNow(...assignments: Assignment[]): string[] {
    for (const assignment of assignments) {
      if (this.attempts.has(assignment.leaseToken)) continue;
      this.attempts.set(assignment.leaseToken, { assignment, state: 'given', revoked: false, cancelled: false, output: undefined });
    }
    this.assigned += assignments.length;
    this.link!.send({ case: 'assignments', value: { assignments } });
    return assignments.map(({ leaseToken }) => leaseToken);
  }

  /** Waits until the attempts were accepted or rejected. */
  async answered(tokens: readonly string[]): Promise<void> {
    await this.until(`an answer to ${tokens.join(' ')}`, () => tokens.every((token) => this.attempts.get(token)!.state !== 'given'));
  }

  /** Waits until a result of each has come. */
  async ended(tokens: readonly string[], withinMs = this.patienceMs): Promise<void> {
    const isThere = (token: string) => ['ended', 'over'].includes(this.attempts.get(token)!.state);
    await this.until(`the results of ${tokens.join(' ')}`, () => tokens.every(isThere), withinMs);
  }

  /** Waits until each is over: its result was acked, or it was rejected. */
  async over(tokens: readonly string[], withinMs = this.patienceMs): Promise<void> {
    await this.until(`the end of ${tokens.join(' ')}`, () => tokens.every((token) => this.attempts.get(token)!.state === 'over'), withinMs);
  }

  /** The leases are gone. */
  lose(tokens: readonly string[]): void {
    for (const token of tokens) this.#revoke(token);
    this.link?.send({ case: 'heartbeatReply', value: { lost: [...tokens] } });
  }

  /** The leases are gone, which the worker is told when it connects again. */
  loseQuietly(tokens: readonly string[]): void {
    for (const token of tokens) this.#revoke(token);
  }

  cancel(tokens: readonly string[], reason = 'the script asked for it'): void {
    for (const token of tokens) {
      const attempt = this.attempts.get(token);
      if (attempt !== undefined) attempt.cancelled = true;
    }
    this.link?.send({ case: 'cancel', value: { leaseTokens: [...tokens], reason } });
  }

  /** Acks every result that waits for it. */
  ackAll(): void {
    const acks = [...this.attempts].flatMap(([leaseToken, attempt]) => {
      if (attempt.state !== 'ended') return [];
      attempt.state = 'over';
      return [{ leaseToken, verdict: ResultAck_Verdict.ACCEPTED }];
    });
    if (acks.length > 0) this.link?.send({ case: 'resultAcks', value: { acks } });
  }

  /** Welcomes the connections whose Welcome was held back, and those to come. */
  greet(): void {
    this.habits.greet = true;
    for (const link of this.#introduced.splice(0)) if (link.isOpen) this.#welcome(link);
  }

  /** Number of connections whose Hello is whole and that have no Welcome. */
  get waitingForWelcome(): number {
    return this.#introduced.filter((link) => link.isOpen).length;
  }

  /** Waits until nothing is under way, and writes that down. */
  async settle(): Promise<void> {
    this.habits.ack = true;
    this.habits.reply = true;
    this.ackAll();
    await this.ready();
    await this.over([...this.attempts.keys()], 3 * this.patienceMs);
    const link = await this.ready();
    const told = link.sent;
    const heard = () =>
      this.entries.some(
        (entry) => entry.kind === 'in' && entry.link === link.number && entry.frame !== null && entry.frame.ack >= BigInt(told),
      );
    await this.until('a frame that acks the last one', heard);
    const from = performance.now();
    // A worker whose slots linger gives them back when its handlers are done.
    while (this.granted < this.assigned + slots && performance.now() - from < 3_000) await this.pause(pollMs);
    this.record(link.number, { kind: 'quiet' });
  }

  /** Runs one more job, and sees the worker off: SIGTERM, and the end of the program. */
  async farewell(): Promise<void> {
    await this.settle();
    await this.over(await this.assign(this.job('echo', { value: 'last' })));
    await this.settle();
    this.terminate();
    await this.exit();
  }

  terminate(): void {
    this.record(0, { kind: 'signal', signal: 'SIGTERM' });
    this.process?.signal('SIGTERM');
  }

  /** Waits for the end of the program. */
  async exit(withinMs = this.patienceMs): Promise<void> {
    await this.until('the end of the program', () => this.process?.exit !== null, withinMs);
    // The last words of the connection may still be in the socket.
    const isOpen = () => this.server.links.some((link) => link.isOpen);
    for (let i = 0; i < 100 && isOpen(); i += 1) await this.pause(pollMs);
  }

  /** Frames of the worker of one kind. */
  said<K extends NonNullable<WorkerFrame['body']['case']>>(kind: K): (EntryOf<'in'> & { readonly frame: WorkerFrame })[] {
    return this.entries.filter((entry): entry is EntryOf<'in'> & { readonly frame: WorkerFrame } => {
      return entry.kind === 'in' && entry.frame !== null && entry.frame.body.case === kind;
    });
  }

  #receive(link: Link, { body }: WorkerFrame): void {
    switch (body.case) {
      case 'hello':
        this.#hello(link, body.value);
        break;
      case 'credit':
        if (link === this.link) this.granted = Math.max(this.granted, Number(body.value.granted));
        break;
      case 'assignReplies':
        for (const { leaseToken, accepted } of body.value.replies) {
          const attempt = this.attempts.get(leaseToken);
          if (attempt?.state === 'given') attempt.state = accepted ? 'running' : 'over';
        }
        break;
      case 'heartbeat':
        if (!body.value.partial && this.habits.reply && link === this.link) {
          const named = body.value.leases.map(({ leaseToken }) => leaseToken);
          const lost = named.filter((token) => this.attempts.get(token)?.revoked);
          const cancel = named.filter((token) => this.attempts.get(token)?.cancelled && !lost.includes(token));
          link.send({ case: 'heartbeatReply', value: { lost, cancel } });
        }
        break;
      case 'results':
        this.#results(link, body.value.results);
        break;
      case 'logLines':
      case 'drain':
      case 'error':
      case undefined:
        break;
      default:
        body satisfies never;
    }
  }

  #results(link: Link, results: readonly { leaseToken: string; outcome: { case?: string | undefined; value?: unknown } }[]): void {
    const acks = results.map(({ leaseToken, outcome }) => {
      const attempt = this.attempts.get(leaseToken);
      if (attempt === undefined || attempt.revoked) return { leaseToken, verdict: ResultAck_Verdict.STALE };
      if (attempt.state === 'over') return { leaseToken, verdict: ResultAck_Verdict.DUPLICATE };
      if (outcome.case === 'output') attempt.output = readJson((outcome.value as { data: Uint8Array }).data);
      attempt.state = this.habits.ack ? 'over' : 'ended';
      return { leaseToken, verdict: ResultAck_Verdict.ACCEPTED };
    });
    if (this.habits.ack) link.send({ case: 'resultAcks', value: { acks } });
  }

  #hello(link: Link, hello: Hello): void {
    const held = [...(this.#greeting.get(link.number) ?? []), ...hello.inFlight];
    this.#greeting.set(link.number, held);
    if (hello.partial) return;
    this.#introduced.push(link);
    if (this.habits.greet) this.greet();
  }

  #welcome(link: Link): void {
    const held = this.#greeting.get(link.number) ?? [];
    const named = new Set(held.map(({ leaseToken }) => leaseToken));
    // R10: what is not named is not held. An assignment that never arrived is given back.
    for (const [token, attempt] of this.attempts) if (!named.has(token) && attempt.state === 'given') attempt.state = 'over';
    const verdicts = held.map(({ leaseToken, resultWaiting }) => {
      const attempt = this.attempts.get(leaseToken);
      if (attempt?.state === 'given') attempt.state = 'running';
      const gone = attempt === undefined || attempt.revoked;
      const { ABANDON, SEND_RESULT, KEEP } = InFlightVerdict_Verdict;
      return { leaseToken, verdict: gone ? ABANDON : resultWaiting ? SEND_RESULT : KEEP };
    });
    const abandoned = verdicts.filter(({ verdict }) => verdict === InFlightVerdict_Verdict.ABANDON);
    this.link = link;
    this.granted = 0;
    this.assigned = 0;
    link.send({
      case: 'welcome',
      value: {
        sessionId: `session-${link.number}`,
        coordinatorId: 'conformance',
        protocol: 1,
        ...this.timers,
        maxLogBytes: 64 * 1024,
        verdicts: this.habits.verdicts ? verdicts : abandoned,
      },
    } satisfies Body);
  }

  #revoke(token: string): void {
    const attempt = this.attempts.get(token);
    if (attempt === undefined) return;
    attempt.revoked = true;
    attempt.state = 'over';
  }

  async #giveUp(what: string): Promise<never> {
    this.record(0, { kind: 'stuck', what });
    throw new Stuck(what);
  }

  /** Writes down when this process stood still: the worker is not to blame for that time. */
  #watchStalls(): void {
    let last = performance.now();
    this.#watch = setInterval(() => {
      const now = performance.now();
      if (now - last > 150) this.record(0, { kind: 'stalled', ms: now - last - 50 });
      last = now;
    }, 50);
  }
}

function readJson(data: Uint8Array): unknown {
  try {
    return data.length === 0 ? null : JSON.parse(new TextDecoder().decode(data));
  } catch {
    return undefined;
  }
}
