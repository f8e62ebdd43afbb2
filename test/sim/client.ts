/**
 * A client: submits with and without a key and tries again, steers, reads, lists, watches and resumes. It writes down what it was told, and knows nothing else.
 */
import type { Graph } from '@workflow-orchestrator/engine/definition';
import type { Found } from '../../coordinator/api/services/reader.ts';
import type { ClientCommand, Submission, SubmitReply } from '../../coordinator/shard/requests.ts';
import type { ListFilter } from '../../coordinator/store/store.ts';
import { cancelReasonOf, type HistoryEvent, type HistoryType, type HistoryValue } from '../checkers/history.ts';
import { json } from '../engine-support/graphs.ts';
import { type CallEnd, call } from './call.ts';
import type { SimCoordinator } from './coordinator.ts';
import { SimNode } from './node.ts';
import type { Action } from './plan.ts';
import { EPOCH_MS, type Surroundings } from './surroundings.ts';
import { follow } from './watch.ts';

/** Tries of one submit. */
const TRIES = 12;

/** Every workflow, newest first. */
export const everything: ListFilter = {
  statuses: new Set(),
  name: '',
  submittedAfter: 0,
  submittedBefore: Number.POSITIVE_INFINITY,
  labels: new Map(),
  beforeId: '',
  limit: 1_000,
};

/** A workflow that a client wants. */
interface Wanted {
  /** Which graph. */
  readonly place: number;
  readonly start: boolean;
  readonly value: { readonly key: string; readonly hash: string };
}

/** One that is asked for in a call. */
interface Offered extends Wanted {
  readonly op: number;
}

/** What a client asks for: its reason is each try's own. */
type Wish = { readonly kind: 'start' | 'pause' | 'resume' } | { readonly kind: 'cancel'; readonly force: boolean };

/** Workflows that clients know of, over all of them. */
export interface Known {
  readonly ids: string[];
}

export class SimClient {
  readonly node: SimNode;
  /** What it does at the moment. */
  busy = 0;
  readonly #world: Surroundings;
  readonly #coordinators: readonly SimCoordinator[];
  readonly #graphs: readonly Graph[];
  readonly #known: Known;
  readonly #watched = new Set<string>();
  /** Where it calls: the one that answered last. */
  #at = 0;

  constructor(name: string, world: Surroundings, coordinators: readonly SimCoordinator[], graphs: readonly Graph[], known: Known) {
    this.node = new SimNode(name, world.clock);
    this.#world = world;
    this.#coordinators = coordinators;
    this.#graphs = graphs;
    this.#known = known;
    this.node.start();
  }

  /** Does an action of the plan. */
  act(action: Action): void {
    const { kind, pick } = action;
    const { ids } = this.#known;
    const id = ids[pick % Math.max(1, ids.length)];
    if (kind === 'submit' || kind === 'submit later') this.#run(this.#submit(action));
    else if (kind === 'list') this.#run(this.#list(pick));
    else if (id === undefined) return;
    else if (kind === 'read') this.#run(this.read(id));
    else if (kind === 'watch') this.watch(id);
    else if (kind === 'cancel' || kind === 'force') this.#run(this.#steer(id, { kind: 'cancel', force: kind === 'force' }));
    else this.#run(this.#steer(id, { kind }));
  }

  /** Reads one workflow until it is answered; null when nobody answers. */
  async read(id: string): Promise<Found | 'not found' | null> {
    for (let tries = 0; tries < TRIES; tries++) {
      const op = this.#begin('read', id);
      const coordinator = this.#coordinators[this.#at];
      const end = await this.#call(async (faces) => {
        const found = await faces.reader.find(id);
        this.#shown(coordinator, op, { workflow: id, seq: found.state.seq });
        return found;
      });
      if (end.kind === 'answered') {
        const { status, seq } = end.value.state;
        this.#note(op, 'read', 'ok', id, { answer: status }, seq);
        return end.value;
      }
      const isMissing = end.kind === 'failed' && end.reason === 'NotFound';
      this.#note(op, 'read', end.kind === 'failed' ? 'fail' : 'info', id, { answer: isMissing ? 'not found' : 'none' });
      if (isMissing) return 'not found';
      await this.#elsewhere();
    }
    return null;
  }

  /** Follows one workflow to its end, over whatever breaks. */
  watch(id: string): void {
    if (this.#watched.has(id)) return;
    this.#watched.add(id);
    this.#run(this.#follow(id));
  }

  /** Whatever waits for a person goes on: workflows are started and resumed. */
  async nudge(): Promise<void> {
    const end = await this.#call((faces) =>
      faces.reader.list({ ...everything, statuses: new Set(['PENDING', 'PAUSED']) }, new AbortController().signal),
    );
    if (end.kind !== 'answered') {
      this.#turn();
      return;
    }
    for (const { id, status } of end.value.states) await this.#steer(id, { kind: status === 'PENDING' ? 'start' : 'resume' });
  }

  #run(work: Promise<unknown>): void {
    this.busy += 1;
    work.then(
      () => {
        this.busy -= 1;
      },
      (error: unknown) =>
        this.#world.violations.push({
          invariant: 'client',
          message: error instanceof Error ? (error.stack ?? error.message) : String(error),
        }),
    );
  }

  /** Submits until each is answered: one workflow, or a few in one call. */
  async #submit({ pick, key, kind, count }: Action): Promise<void> {
    let left = this.#wanted(pick, key, kind === 'submit', count);
    for (let tries = 0; tries < TRIES && left.length > 0; tries++) {
      const offered = left.map((wanted): Offered => ({ ...wanted, op: this.#world.history.newOp() }));
      for (const { op, value } of offered) this.#note(op, 'submit', 'invoke', undefined, value);
      const end = await this.#offer(offered);
      let retryAfterMs = 0;
      left = offered.filter((one, index) => {
        if (end.kind !== 'answered') return this.#unanswered(one, end);
        const againAfterMs = this.#answered(one, end.value[index]);
        retryAfterMs = Math.max(retryAfterMs, againAfterMs ?? 0);
        return againAfterMs !== null;
      });
      if (left.length === 0) return;
      if (end.kind === 'answered') await this.#pause(retryAfterMs);
      else await this.#elsewhere();
    }
  }

  /** What is to be submitted. In some calls the keys are equal, with the same body or another. */
  #wanted(pick: number, key: string, start: boolean, count: number): Wanted[] {
    const isOneKey = Math.floor(pick / this.#graphs.length) % 2 === 0;
    return Array.from({ length: count }, (_, index) => {
      const place = (pick + (pick % 3 === 0 ? 0 : index)) % this.#graphs.length;
      const own = key === '' || isOneKey || index === 0 ? key : `${key} ${index}`;
      return { place, start, value: { key: own, hash: `h${place}${start ? '' : ' later'}` } };
    });
  }

  /** What became of one of the answered; after how long it is tried again, null when it is not. */
  #answered({ op, value }: Offered, reply: SubmitReply): number | null {
    if (reply.kind === 'accepted') {
      const { id, seq } = reply.state;
      if (reply.existed) this.#world.reached('a submit found its workflow under its key');
      if (!this.#known.ids.includes(id)) this.#known.ids.push(id);
      this.#note(op, 'submit', 'ok', id, value, seq);
      return null;
    }
    if (reply.kind === 'key-reused') {
      this.#world.reached('another body under a key was refused');
      this.#note(op, 'submit', 'fail', undefined, { ...value, answer: 'key-reused' });
      return null;
    }
    const { kind, message, retryAfterMs } = reply;
    this.#world.reached('a submit was refused for overload');
    this.#note(op, 'submit', 'fail', undefined, { ...value, answer: kind, message, retryAfterMs });
    return retryAfterMs;
  }

  /** Whether one that was not answered is tried again. */
  #unanswered({ op, value }: Offered, end: Exclude<CallEnd<unknown>, { kind: 'answered' }>): boolean {
    const answer = end.kind === 'failed' ? end.reason : 'none';
    this.#note(op, 'submit', end.kind === 'failed' ? 'fail' : 'info', undefined, { ...value, answer });
    // Without a key nobody can tell whether a second one would be the same.
    return end.kind === 'failed' || value.key !== '';
  }

  #offer(offered: readonly Offered[]): Promise<CallEnd<SubmitReply[]>> {
    const world = this.#world;
    const coordinator = this.#coordinators[this.#at];
    const labels = { client: this.node.name };
    if (offered.length > 1) world.reached('workflows were submitted in one call');
    return this.#call(async ({ seat, newId }) => {
      const submissions = offered.map(({ op, place, start, value }): Submission => {
        const workflowId = newId();
        world.record(coordinator.node, { op, f: 'offer', type: 'invoke', workflow: workflowId });
        const { key: idempotencyKey, hash: requestHash } = value;
        return {
          workflowId,
          graph: this.#graphs[place],
          inputs: json({ key: idempotencyKey, of: requestHash }),
          labels,
          idempotencyKey,
          requestHash,
          start,
        };
      });
      const replies = await seat.submit(submissions);
      for (const [index, reply] of replies.entries())
        if (reply.kind === 'accepted') this.#told(coordinator, offered[index].op, reply.state.id, reply.state.seq);
      return replies;
    });
  }

  async #steer(id: string, wish: Wish): Promise<void> {
    const value: HistoryValue = wish.kind === 'cancel' ? { force: wish.force } : {};
    for (let tries = 0; tries < TRIES; tries++) {
      const op = this.#begin(wish.kind, id, value);
      // The journal tells by it which try it was that took effect.
      const command: ClientCommand = wish.kind === 'cancel' ? { ...wish, reason: cancelReasonOf(op) } : wish;
      const coordinator = this.#coordinators[this.#at];
      const end = await this.#call(async ({ seat }) => {
        const reply = await seat.command(id, command);
        if (reply.kind !== 'not-found') this.#told(coordinator, op, id, reply.state.seq);
        return reply;
      });
      if (end.kind === 'answered') {
        const reply = end.value;
        const answer = reply.kind === 'ignored' ? reply.reason : reply.kind;
        if (command.kind === 'cancel' && answer === 'ended') this.#world.reached('a cancel that raced an end');
        const seq = reply.kind === 'not-found' ? undefined : reply.state.seq;
        return this.#note(op, command.kind, reply.kind === 'done' ? 'ok' : 'fail', id, { ...value, answer }, seq);
      }
      this.#note(op, command.kind, end.kind === 'failed' ? 'fail' : 'info', id, { ...value, answer: 'none' });
      await this.#elsewhere();
    }
  }

  /** Lists every workflow, at once or in parts. */
  async #list(pick: number): Promise<void> {
    const op = this.#begin('list', undefined);
    const ids: string[] = [];
    const parts = this.#partsOf(pick);
    for (let filter = parts.shift(); filter !== undefined; filter = parts.shift()) {
      const asked = filter;
      const coordinator = this.#coordinators[this.#at];
      const end = await this.#call(async (faces) => {
        const found = await faces.reader.list(asked, new AbortController().signal);
        this.#shown(coordinator, op, {});
        return found;
      });
      if (end.kind !== 'answered') return this.#note(op, 'list', end.kind === 'failed' ? 'fail' : 'info', undefined, {});
      const { states } = end.value;
      ids.push(...states.map(({ id }) => id));
      if (states.length === asked.limit) parts.unshift({ ...asked, beforeId: states.at(-1)!.id });
    }
    this.#note(op, 'list', 'ok', undefined, { ids });
  }

  /** Filters that find every workflow together: what they look at never changes, so that one which moved from part to part cannot be missed. */
  #partsOf(pick: number): ListFilter[] {
    const { clock, plan } = this.#world;
    const moment = EPOCH_MS + Math.floor(clock.now / 2);
    switch (pick % 4) {
      case 0:
        return [everything];
      case 1:
        return [{ ...everything, limit: 1 + (Math.floor(pick / 4) % 5) }];
      case 2:
        return Array.from({ length: plan.clients }, (_, index) => ({ ...everything, labels: new Map([['client', `client${index + 1}`]]) }));
      default:
        return [
          { ...everything, submittedBefore: moment },
          { ...everything, submittedAfter: moment },
        ];
    }
  }

  async #follow(id: string): Promise<void> {
    let last = 0;
    for (;;) {
      if (last > 0) this.#world.reached('a watch was resumed');
      const op = this.#begin('watch', id, { after: last });
      const end = await follow(this.#world, this.node, this.#coordinators[this.#at], id, last, (seq, kind) => {
        last = seq;
        this.#note(op, 'watched', 'ok', id, { kind }, seq);
      });
      if (end.kind === 'ended') return this.#note(op, 'watch', 'ok', id, { kind: end.lastKind });
      const isMissing = end.kind === 'not found';
      this.#note(op, 'watch', isMissing ? 'fail' : 'info', id, { answer: isMissing ? 'not found' : 'broken' });
      if (isMissing) return;
      await this.#elsewhere();
    }
  }

  /** The answer to a read or a list leaves a coordinator. */
  #shown(coordinator: SimCoordinator, op: number, about: Partial<HistoryEvent>): void {
    const { epoch, termId } = coordinator.shard?.ownership ?? { epoch: 0, termId: '' };
    this.#world.record(coordinator.node, { op, f: 'shown', type: 'ok', ...about, epoch, term: termId });
  }

  /** A reply leaves a coordinator. */
  #told(coordinator: SimCoordinator, op: number, workflow: string, seq: number): void {
    coordinator.effects += 1;
    const { epoch, termId } = coordinator.shard?.ownership ?? { epoch: 0, termId: '' };
    this.#world.record(coordinator.node, { op, f: 'reply', type: 'ok', workflow, seq, epoch, term: termId });
  }

  #call<T>(serve: Parameters<typeof call<T>>[3]): Promise<CallEnd<T>> {
    return call(this.#world, this.node, this.#coordinators[this.#at], serve);
  }

  #begin(f: string, workflow: string | undefined, value: HistoryValue = {}): number {
    const op = this.#world.history.newOp();
    this.#note(op, f, 'invoke', workflow, value);
    return op;
  }

  #note(op: number, f: string, type: HistoryType, workflow: string | undefined, value: HistoryValue, seq?: number): void {
    const about = workflow === undefined ? {} : { workflow };
    this.#world.record(this.node, { op, f, type, ...about, ...(seq === undefined ? {} : { seq }), value });
  }

  #turn(): void {
    this.#at = (this.#at + 1) % this.#coordinators.length;
  }

  #elsewhere(): Promise<void> {
    this.#turn();
    return this.#pause(100 + this.#world.chance.of('clients').below(600));
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => this.node.after(ms, resolve));
  }
}
