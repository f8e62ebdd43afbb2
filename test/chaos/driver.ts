/**
 * The load: submissions at a rate, one by one and in batches, some with an idempotency key, and around them starts, cancels, reads and watches; everything that is asked and
 * answered goes into the history.
 *
 * Invariants
 * 1. A call has one `invoke` and one end: `ok` it was answered, `fail` it certainly had no effect, `info` nobody knows.
 * 2. What is sent again after an unknown outcome, or as a double, is the same request to the letter, and has a key.
 * 3. A label of each workflow names the submission that it came from, so that one that nobody was told of can be found.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { WorkflowClient, WorkflowError } from '@workflow-orchestrator/sdk';
import type { HistoryType, HistoryValue, HistoryWriter } from '../checkers/history.ts';
import { type Random, seeded } from '../engine-support/random.ts';
import type { Plan } from './plan.ts';
import { stampOf } from './sink.ts';
import { type Watching, watchToItsEnd } from './watching.ts';

/** Name of the label of invariant 3. */
export const OP_LABEL = 'chaos-op';

/** A submission as it is sent. */
export interface Request {
  readonly graph: number;
  readonly n: number;
  readonly key: string;
  readonly start: boolean;
  /** Value of the label: the number of the first submission with this request. */
  readonly label: string;
}

const CLIENTS = 4;
const TICK_MS = 50;
/** Calls under way, from which on the load waits. */
const MOST_CALLS = 48;
const MOST_WATCHES = 30;
/** Times that a submission with a key is sent again after an unknown outcome. */
const RESENDS = 12;
/** Codes that no fault explains. */
const NEVER = new Set(['internal', 'unknown', 'data_loss', 'unimplemented', 'unauthenticated', 'permission_denied', 'out_of_range']);

/** Drives the load. */
export class Driver {
  readonly history: HistoryWriter;
  /** By the label, what was sent. */
  readonly requests = new Map<string, Request>();
  /** By code, errors of calls; with what the first said where no fault explains it. */
  readonly errors = new Map<string, number>();
  readonly strange: string[] = [];
  submissions = 0;
  /** Milliseconds in which the load waited for calls. */
  heldMs = 0;
  readonly #plan: Plan;
  readonly #clients: readonly WorkflowClient[];
  readonly #random: Random;
  readonly #accepted: string[] = [];
  readonly #watches = new Set<Promise<void>>();
  readonly #under = new Set<Promise<void>>();
  readonly #watchSignal = new AbortController();
  /** Calls of the ordinary load. */
  #calls = 0;

  constructor(plan: Plan, urls: readonly string[], history: HistoryWriter) {
    this.#plan = plan;
    this.history = history;
    this.#random = seeded(plan.seed + 2);
    // Half of the clients know the coordinators in the other order.
    this.#clients = Array.from({ length: CLIENTS }, (_, at) => new WorkflowClient(at % 2 === 0 ? urls : [...urls].reverse()));
  }

  /** Submits until `ms` have passed, or the signal says so; resolves when every call is answered. */
  async run(ms: number, signal: AbortSignal): Promise<void> {
    const start = performance.now();
    let due = 0;
    let last = start;
    while (performance.now() - start < ms && !signal.aborted) {
      const now = performance.now();
      if (this.#calls >= MOST_CALLS) this.heldMs += now - last;
      else due += ((now - last) * this.#plan.rate) / 1000;
      last = now;
      while (due >= 1 && this.#calls < MOST_CALLS) due -= this.#some(Math.floor(due));
      await sleep(TICK_MS, undefined, { signal }).catch(() => {});
    }
    await this.settled();
  }

  /** Resolves when no call is under way; watches go on. */
  async settled(): Promise<void> {
    while (this.#under.size > 0) await Promise.all(this.#under);
  }

  /** Resolves when all watches have ended, or after `ms`: then those that have not are left. */
  async watched(ms: number): Promise<void> {
    await Promise.race([Promise.all(this.#watches), sleep(ms, undefined, { ref: false })]);
    this.#watchSignal.abort();
    await Promise.all(this.#watches);
  }

  /** A client, and its name in the history. */
  client(at = this.#random.below(CLIENTS)): { readonly node: string; readonly client: WorkflowClient } {
    return { node: `client${at}`, client: this.#clients[at]! };
  }

  /** Writes a line of the history. */
  write(
    node: string,
    op: number,
    f: string,
    type: HistoryType,
    rest: { workflow?: string; seq?: number; value?: HistoryValue } = {},
  ): void {
    this.history.write(stampOf({ node, incarnation: 1 }), { op, f, type, ...rest });
  }

  /** Submits one or many; how many. */
  #some(most: number): number {
    const random = this.#random;
    const count = random.chance(0.3) ? 1 : Math.min(most, 5 + random.below(40));
    const requests = Array.from({ length: count }, () => this.#draw());
    this.#do(() => (count === 1 ? this.#submitOne(requests[0]!, RESENDS) : this.#submitBatch(requests, RESENDS)), true);
    return count;
  }

  #draw(): Request {
    const random = this.#random;
    this.submissions += 1;
    const label = String(this.submissions);
    const request = {
      graph: random.below(this.#plan.graphs.length),
      n: random.below(1_000),
      key: random.chance(0.4) ? `k-${label}` : '',
      start: random.chance(0.97),
      label,
    };
    this.requests.set(label, request);
    return request;
  }

  #itemOf({ graph, n, key, start, label }: Request) {
    const { yaml } = this.#plan.graphs[graph]!;
    // A definition with an expression has no key of the client's making: what has none here has none.
    return {
      source: { yaml: `${yaml}# idempotency_key: none` },
      inputs: { n },
      labels: { [OP_LABEL]: label },
      idempotencyKey: key || undefined,
      start,
    };
  }

  async #submitOne(request: Request, resends: number): Promise<void> {
    const { node, client } = this.client();
    const op = this.#invoke(node, request);
    try {
      const { source, ...options } = this.#itemOf(request);
      const workflow = await client.submitWorkflow(source, options);
      this.#accept(node, op, request, workflow.id, Number(workflow.lastEventSeq));
    } catch (error) {
      if (this.#failed(node, op, 'submit', error, request) === 'info' && request.key !== '' && resends > 0)
        this.#later(100 + this.#random.below(900), () => this.#submitOne(request, resends - 1));
    }
  }

  async #submitBatch(requests: readonly Request[], resends: number): Promise<void> {
    const { node, client } = this.client();
    const ops = requests.map((request) => this.#invoke(node, request));
    try {
      const results = await client.submitBatch(requests.map((request) => this.#itemOf(request)));
      for (const [at, result] of results.entries()) {
        const request = requests[at]!;
        if (result.kind === 'accepted') this.#accept(node, ops[at]!, request, result.workflowId, 0);
        else this.#refused(node, ops[at]!, request, result.code, result.message);
      }
    } catch (error) {
      let type: HistoryType = 'info';
      for (const [at, request] of requests.entries()) type = this.#failed(node, ops[at]!, 'submit', error, request);
      const again = requests.filter(({ key }) => key !== '');
      if (type === 'info' && again.length > 0 && resends > 0)
        this.#later(100 + this.#random.below(900), () => this.#submitBatch(again, resends - 1));
    }
  }

  #invoke(node: string, { key, label }: Request): number {
    const op = this.history.newOp();
    this.write(node, op, 'submit', 'invoke', { value: { key, hash: label } });
    return op;
  }

  /** A submission was answered: now and then something follows. */
  #accept(node: string, op: number, request: Request, workflow: string, seq: number): void {
    const { key, label, start } = request;
    this.write(node, op, 'submit', 'ok', { workflow, ...(seq > 0 ? { seq } : {}), value: { key, hash: label } });
    const random = this.#random;
    this.#accepted.push(workflow);
    if (!start) this.#later(random.below(1_000), () => this.steer('start', workflow));
    if (random.chance(0.03)) this.#later(random.below(400), () => this.steer('cancel', workflow, random.chance(0.3)));
    if (random.chance(0.03)) this.#do(() => this.#read(workflow));
    if (random.chance(0.02)) this.#later(random.below(3_000), () => this.#read(random.pick(this.#accepted)));
    if (this.#watches.size < MOST_WATCHES && random.chance(0.02)) this.#watch(workflow);
    // Deliberate doubles: the same request, and another one under the same key.
    if (key !== '' && random.chance(0.05)) this.#later(random.below(4_000), () => this.#submitOne(request, 2));
    if (key !== '' && random.chance(0.02)) {
      this.submissions += 1;
      const other = { ...request, n: request.n + 1_000, label: String(this.submissions) };
      this.requests.set(other.label, other);
      this.#later(random.below(4_000), () => this.#submitOne(other, 2));
    }
  }

  #refused(node: string, op: number, { key, label }: Request, code: string, message: string): void {
    this.#count(code, message);
    this.write(node, op, 'submit', 'fail', { value: { key, hash: label, answer: code, message } });
  }

  /** Starts, cancels one. */
  async steer(f: 'start' | 'cancel', workflow: string, force = false): Promise<void> {
    const { node, client } = this.client();
    const op = this.history.newOp();
    this.write(node, op, f, 'invoke', { workflow, value: { force } });
    try {
      await (f === 'start' ? client.start(workflow) : client.cancel(workflow, { force }));
      this.write(node, op, f, 'ok', { workflow, value: { answer: 'done', force } });
    } catch (error) {
      if (this.#failed(node, op, f, error, null, workflow) === 'info' && f === 'start') this.#later(1_000, () => this.steer(f, workflow));
    }
  }

  async #read(workflow: string): Promise<void> {
    const { node, client } = this.client();
    const op = this.history.newOp();
    this.write(node, op, 'read', 'invoke', { workflow });
    try {
      const { lastEventSeq } = await client.get(workflow, { view: 'summary' });
      this.write(node, op, 'read', 'ok', { workflow, seq: Number(lastEventSeq), value: { answer: 'found' } });
    } catch (error) {
      this.#failed(node, op, 'read', error, null, workflow);
    }
  }

  #watch(workflow: string): void {
    const { node, client } = this.client();
    const watching: Watching = {
      client,
      workflow,
      signal: this.#watchSignal.signal,
      // Some go away in the middle and come back.
      leavesAfter: this.#random.chance(0.3) ? 1 + this.#random.below(5) : null,
      newOp: () => this.history.newOp(),
      write: (op, f, type, rest) => this.write(node, op, f, type, { workflow, ...rest }),
      failed: (op, error) => void this.#failed(node, op, 'watch', error, null, workflow),
    };
    const watch = watchToItsEnd(watching).finally(() => this.#watches.delete(watch));
    this.#watches.add(watch);
  }

  /** Writes how a call failed; whether it certainly had no effect. */
  #failed(node: string, op: number, f: string, thrown: unknown, request: Request | null, workflow?: string): HistoryType {
    if (!(thrown instanceof WorkflowError)) throw thrown;
    const { code, retryDelayMs, message } = thrown;
    this.#count(code, `${f}: ${message}`);
    const isCertain = retryDelayMs !== null || ['not_found', 'already_exists', 'failed_precondition', 'invalid_argument'].includes(code);
    const type = isCertain ? 'fail' : 'info';
    const answer = code === 'not_found' ? 'not found' : thrown.reason === 'OVERLOADED' ? 'overloaded' : code;
    const value = {
      answer,
      message,
      ...(retryDelayMs === null ? {} : { retryAfterMs: retryDelayMs }),
      ...(request === null ? {} : { key: request.key, hash: request.label }),
    };
    this.write(node, op, f, type, { ...(workflow === undefined ? {} : { workflow }), value });
    return type;
  }

  #count(code: string, message: string): void {
    this.errors.set(code, (this.errors.get(code) ?? 0) + 1);
    if (NEVER.has(code) && this.strange.length < 20) this.strange.push(`a client was told ${code}: ${message}`);
  }

  #later(ms: number, what: () => Promise<void>): void {
    this.#do(() => sleep(ms).then(what));
  }

  #do(what: () => Promise<void>, isLoad = false): void {
    if (isLoad) this.#calls += 1;
    const under = what().finally(() => {
      if (isLoad) this.#calls -= 1;
      this.#under.delete(under);
    });
    this.#under.add(under);
  }
}
