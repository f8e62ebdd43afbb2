/**
 * The shell of the session machine: sockets, one timer, handlers. It decides nothing.
 *
 * Invariants
 * 1. Outputs are done in the order in which the machine gave them.
 * 2. There is one timer and one flush per turn.
 */
import { type Assignment, type CoordinatorFrame, ResultAck_Verdict } from '@workflow-orchestrator/proto';
import { AttemptContext, type HandlerWords } from './attempt/context.ts';
import { failureOf } from './attempt/run.ts';
import { deferred } from './deferred.ts';
import type { Logger } from './logger.ts';
import { createRunQueue } from './run-queue.ts';
import { beat, checkpoint, progress, writeLine } from './session/from-handler.ts';
import type { Outcome } from './session/outcome.ts';
import { closed, drain, finish, flush, opened, receive, receiveUnreadable, start, stop, tick } from './session/session.ts';
import { live, newWorkerSession, type Profile, type WorkerOutput, type WorkerSession } from './session/state.ts';
import { type WorkerLimits, workerLimits } from './session/worker-limits.ts';
import { Socket } from './socket.ts';
import type { WorkerState } from './worker.ts';

/** What happens to the connection. */
export type StreamEvent =
  | { readonly kind: 'connected'; readonly url: string; readonly sessionId: string; readonly coordinatorId: string }
  | { readonly kind: 'disconnected'; readonly url: string; readonly reason: string }
  /** What became of a result. `ACCEPTED`: it is on record; `DUPLICATE`: it was before; `STALE`, `WORKFLOW_ENDED`: it counts for nothing. */
  | {
      readonly kind: 'resultAcknowledged';
      readonly workflowId: string;
      readonly jobId: string;
      readonly attempt: number;
      readonly leaseToken: string;
      readonly verdict: string;
    }
  | { readonly kind: 'ended'; readonly reason: string };

/** What a stream is made of. */
export interface StreamOptions {
  readonly profile: Profile;
  readonly urls: readonly string[];
  readonly token: string | null;
  readonly limits: Partial<WorkerLimits>;
  readonly log: Logger;
  /** Runs an attempt to its end. Its promise should not reject. */
  readonly run: (assignment: Assignment, context: AttemptContext) => Promise<Outcome>;
  readonly onEvent: (event: StreamEvent) => void;
}

interface Attempt {
  readonly assignment: Assignment;
  readonly context: AttemptContext;
}

/** One worker's stream. */
export class WorkerStream {
  readonly #options: StreamOptions;
  readonly #session: WorkerSession;
  readonly #sockets = new Map<number, Socket>();
  readonly #attempts = new Map<string, Attempt>();
  readonly #queue = createRunQueue<Attempt>(
    (attempt) => void this.#run(attempt),
    // The acceptance is on its way before the handler begins: one that ends or blocks this process has had its attempt.
    () => this.#flush(),
    now,
  );
  readonly #started = deferred();
  #alarm: NodeJS.Timeout | null = null;
  #isAwake = false;

  constructor(options: StreamOptions) {
    this.#options = options;
    this.#session = newWorkerSession(options.profile, options.urls, workerLimits(options.limits), Math.random);
  }

  /** Connects. Resolves at the first Welcome. */
  start(): Promise<void> {
    this.#perform(start(this.#session, now()));
    return this.#started.promise;
  }

  drain(reason: string): void {
    this.#perform(drain(this.#session, reason, now()));
  }

  stop(reason: string, graceMs: number): void {
    this.#perform(stop(this.#session, reason, graceMs, now()));
  }

  state(): WorkerState {
    const { phase, draining, profile, running, ended } = this.#session;
    return {
      phase: draining !== null && phase.kind !== 'closed' ? 'draining' : phase.kind,
      id: profile.workerId,
      url: live(this.#session)?.wire.url ?? null,
      slots: profile.slots,
      running: running.size,
      resultsWaiting: ended.size,
    };
  }

  #perform(outputs: readonly WorkerOutput[]): void {
    const { log, onEvent } = this.#options;
    for (const output of outputs) {
      switch (output.kind) {
        case 'connect':
          this.#connect(output.link, output.url);
          break;
        case 'send':
          this.#sockets.get(output.link)?.send(output.frame);
          break;
        case 'close':
          this.#sockets.get(output.link)?.close(output.code, output.reason);
          this.#sockets.delete(output.link);
          break;
        case 'run':
          this.#accept(output.assignment);
          break;
        case 'abort':
          this.#attempts.get(output.leaseToken)?.context.abort(output.reason);
          break;
        case 'wake':
          this.#wake();
          break;
        case 'alarm':
          this.#setAlarm(output.at);
          break;
        case 'welcomed':
          log.info(`connected to ${output.url}`, { session: output.sessionId, coordinator: output.coordinatorId });
          this.#started.resolve();
          onEvent({ kind: 'connected', url: output.url, sessionId: output.sessionId, coordinatorId: output.coordinatorId });
          break;
        case 'disconnected':
          onEvent({ kind: 'disconnected', url: output.url, reason: output.reason });
          break;
        case 'acknowledged': {
          const { workflowId, jobId, attempt, leaseToken } = output.result;
          onEvent({
            kind: 'resultAcknowledged',
            workflowId,
            jobId,
            attempt,
            leaseToken,
            verdict: verdicts.get(output.verdict) ?? 'UNKNOWN',
          });
          break;
        }
        case 'ended':
          this.#end(output.reason);
          break;
        case 'note':
          log[output.level](output.message);
          break;
        default:
          output satisfies never;
      }
    }
  }

  #connect(link: number, url: string): void {
    const { token } = this.#options;
    const session = this.#session;
    const socket = new Socket(url, token, session.limits, {
      opened: () => this.#perform(opened(session, link, now())),
      frame: (frame: CoordinatorFrame) => this.#perform(receive(session, link, frame, now())),
      unreadable: (problem) => this.#perform(receiveUnreadable(session, link, problem, now())),
      drained: () => this.#wake(),
      closed: (reason, retryAfterMs) => {
        this.#sockets.delete(link);
        this.#perform(closed(session, link, reason, retryAfterMs, now()));
      },
    });
    this.#sockets.set(link, socket);
  }

  #accept(assignment: Assignment): void {
    const attempt = { assignment, context: new AttemptContext(assignment, this.#wordsOf(assignment.leaseToken)) };
    this.#attempts.set(assignment.leaseToken, attempt);
    this.#queue.add(attempt);
  }

  async #run({ assignment, context }: Attempt): Promise<void> {
    let outcome: Outcome = { kind: 'cancelled' };
    // One that was told to stop before it began is cancelled.
    if (!context.isAborted) {
      try {
        outcome = await this.#options.run(assignment, context);
      } catch (error) {
        outcome = { kind: 'failed', error: failureOf(error) };
      }
    }
    this.#attempts.delete(assignment.leaseToken);
    this.#perform(finish(this.#session, assignment.leaseToken, outcome, now()));
  }

  #wordsOf(leaseToken: string): HandlerWords {
    const session = this.#session;
    return {
      beat: () => void beat(session, leaseToken, now()),
      progress: (fraction, message) => void progress(session, leaseToken, fraction, message, now()),
      checkpoint: (json) => void checkpoint(session, leaseToken, json, now()),
      line: (level, message) => {
        if (writeLine(session, leaseToken, level, message, Date.now())) this.#wake();
      },
    };
  }

  #wake(): void {
    if (this.#isAwake) return;
    this.#isAwake = true;
    setImmediate(() => this.#flush());
  }

  #flush(): void {
    if (!this.#isAwake) return;
    this.#isAwake = false;
    const link = live(this.#session)?.wire.link;
    const socket = link === undefined ? undefined : this.#sockets.get(link);
    const isCongested = socket !== undefined && socket.bufferedBytes >= this.#session.limits.outboundPauseBytes;
    const outputs = flush(this.#session, now(), isCongested);
    if (socket === undefined) this.#perform(outputs);
    else socket.batch(() => this.#perform(outputs));
  }

  #setAlarm(at: number): void {
    if (this.#alarm !== null) clearTimeout(this.#alarm);
    this.#alarm = setTimeout(() => this.#perform(tick(this.#session, now())), Math.max(0, Math.ceil(at - now())));
  }

  #end(reason: string): void {
    if (this.#alarm !== null) clearTimeout(this.#alarm);
    this.#alarm = null;
    this.#started.promise.catch(() => {});
    this.#started.reject(new Error(`the worker ended before a coordinator took it: ${reason}`));
    this.#options.log.info(`worker ended: ${reason}`);
    this.#options.onEvent({ kind: 'ended', reason });
  }
}

const verdicts = new Map<ResultAck_Verdict, string>(Object.entries(ResultAck_Verdict).map(([name, verdict]) => [verdict, name]));

/** Milliseconds of a clock that never goes back. */
function now(): number {
  return performance.now();
}
