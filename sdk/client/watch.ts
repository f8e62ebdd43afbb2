/**
 * Following a workflow, whatever happens to the connection.
 *
 * Invariants
 * 1. Events come in order, each once, without a gap: a repeated one is dropped, a gap is never passed on but read again.
 * 2. While it follows, it ends after the event that ends the workflow, and only then; or it throws.
 * 3. A broken connection is opened again after the last event that was seen, with back-off, for as long as `giveUpAfterMs` allows.
 */
import type { Job, WatchWorkflowResponse, Workflow, WorkflowEvent } from '@workflow-orchestrator/proto';
import { type Caller, throwIfAborted } from './call.ts';
import { isTransient, toWorkflowError, WorkflowError } from './error.ts';
import { backoff } from './retry.ts';
import { isEnded } from './status.ts';

/** One step of a watch: an event of the workflow, or a job whose live state changed (not kept, latest wins). */
export type WatchStep = { readonly kind: 'event'; readonly event: WorkflowEvent } | { readonly kind: 'job'; readonly job: Job };

/** How to follow. */
export interface StreamOptions {
  readonly signal?: AbortSignal | undefined;
  /** Throws the last failure when nothing was heard for this long, in milliseconds; 2 minutes when absent. */
  readonly giveUpAfterMs?: number | undefined;
  /** Told of each broken connection, and when it is tried again. */
  readonly onReconnect?: ((failure: WorkflowError, delayMs: number) => void) | undefined;
}

/** How to watch. */
export interface WatchOptions extends StreamOptions {
  /** Events after this number only; 0 (all) when absent. */
  readonly afterSeq?: bigint | undefined;
  /** False: end after the events that there are now. */
  readonly follow?: boolean | undefined;
}

/** The calls that a watch rests on. */
export interface WatchSource {
  open(request: { workflowId: string; afterSeq: bigint; follow: boolean }, signal: AbortSignal): AsyncIterable<WatchWorkflowResponse>;
  /** The workflow without its jobs. */
  get(workflowId: string, signal: AbortSignal): Promise<Workflow>;
}

/** Follows one workflow. Throws `WorkflowError`. */
export async function* watchWorkflow(
  source: WatchSource,
  caller: Pick<Caller, 'clock'>,
  workflowId: string,
  options: WatchOptions = {},
): AsyncGenerator<WatchStep, void, undefined> {
  const follow = options.follow ?? true;
  const patience = new Patience(caller, options);
  let seen = options.afterSeq ?? 0n;
  for (;;) {
    throwIfAborted(options.signal);
    const connection = new AbortController();
    const abort = () => connection.abort(options.signal?.reason);
    options.signal?.addEventListener('abort', abort);
    let failure: WorkflowError;
    try {
      failure = new WorkflowError('unavailable', 'the stream ended before the workflow did');
      for await (const { item } of source.open({ workflowId, afterSeq: seen, follow }, connection.signal)) {
        if (item.case === 'jobUpdate') {
          patience.restore();
          yield { kind: 'job', job: item.value };
          continue;
        }
        if (item.case !== 'event' || item.value.seq <= seen) continue;
        if (item.value.seq !== seen + 1n) {
          failure = new WorkflowError('data_loss', `event ${item.value.seq} came where ${seen + 1n} was due`);
          break;
        }
        seen = item.value.seq;
        patience.restore();
        yield { kind: 'event', event: item.value };
        if (item.value.kind.case === 'ended') return;
      }
      if (failure.code === 'unavailable') {
        if (!follow) return;
        // Asked for what comes after the end, the server has nothing to send: the workflow itself tells.
        const workflow = await source.get(workflowId, connection.signal);
        if (isEnded(workflow) && workflow.lastEventSeq <= seen) return;
      }
    } catch (thrown) {
      throwIfAborted(options.signal);
      failure = toWorkflowError(thrown);
      if (!isTransient(failure) && failure.code !== 'canceled') throw failure;
    } finally {
      options.signal?.removeEventListener('abort', abort);
      connection.abort();
    }
    await patience.pause(failure);
  }
}

/** Counts failures in a row and waits between them. */
export class Patience {
  readonly #clock: Caller['clock'];
  readonly #options: StreamOptions;
  #failures = 0;
  #sinceMs = 0;

  constructor(caller: Pick<Caller, 'clock'>, options: StreamOptions) {
    this.#clock = caller.clock;
    this.#options = options;
  }

  /** Something was heard: the next failure is a first one. */
  restore(): void {
    this.#failures = 0;
  }

  /** Waits before the next try, or throws `failure` when there is none. */
  async pause(failure: WorkflowError): Promise<void> {
    const now = this.#clock.now();
    if (this.#failures === 0) this.#sinceMs = now;
    this.#failures += 1;
    if (now - this.#sinceMs >= (this.#options.giveUpAfterMs ?? 120_000)) throw failure;
    const policy = { maxAttempts: Number.POSITIVE_INFINITY, initialDelayMs: 100, maxDelayMs: 5_000 };
    const delayMs = Math.max(failure.retryDelayMs ?? 0, backoff(policy, Math.min(this.#failures, 16), this.#clock.chance()));
    this.#options.onReconnect?.(failure, delayMs);
    await this.#clock.sleep(delayMs, this.#options.signal);
  }
}
