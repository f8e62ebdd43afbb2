/**
 * What a handler is given besides its job. Made for every attempt, so it makes things when they are asked for.
 */
import type { Assignment } from '@workflow-orchestrator/proto';
import { limits } from '@workflow-orchestrator/proto/limits';
import { CancelledError, PermanentError, RetryableError } from '../errors.ts';
import type { JobContext, Json } from '../handler.ts';
import type { Logger } from '../logger.ts';
import type { AbortReason } from '../session/state.ts';
import { readPayload, writeValue } from './value.ts';

/** Where the words of a handler go. */
export interface HandlerWords {
  beat(): void;
  progress(fraction: number, message: string): void;
  checkpoint(json: Uint8Array): void;
  line(level: keyof Logger, message: string): void;
}

/** The context of one attempt. */
export class AttemptContext implements JobContext {
  readonly idempotencyKey: string;
  readonly fencingToken: bigint;
  readonly #assignment: Assignment;
  readonly #words: HandlerWords;
  #controller: AbortController | null = null;
  #abortError: Error | null = null;
  #log: Logger | null = null;
  #checkpoint: { readonly value: Json | undefined } | null = null;

  constructor(assignment: Assignment, words: HandlerWords) {
    this.idempotencyKey = assignment.idempotencyKey;
    this.fencingToken = assignment.fencingToken;
    this.#assignment = assignment;
    this.#words = words;
  }

  get signal(): AbortSignal {
    if (this.#controller === null) {
      this.#controller = new AbortController();
      if (this.#abortError !== null) this.#controller.abort(this.#abortError);
    }
    return this.#controller.signal;
  }

  get checkpoint(): Json | undefined {
    if (this.#checkpoint === null) {
      const { checkpoint } = this.#assignment;
      const read = checkpoint === undefined ? null : readPayload(checkpoint, 'the checkpoint');
      if (read?.kind === 'problem') throw new PermanentError(read.message, { code: 'BAD_CHECKPOINT' });
      this.#checkpoint = { value: read?.value };
    }
    return this.#checkpoint.value;
  }

  get log(): Logger {
    this.#log ??= attemptLogger(this.#words);
    return this.#log;
  }

  progress(fraction: number, message = ''): void {
    this.#words.progress(fraction, message);
  }

  heartbeat(): void {
    this.#words.beat();
  }

  setCheckpoint(value: Json): void {
    const written = writeValue(value, 'the checkpoint');
    if (written.kind === 'problem') throw new PermanentError(written.message, { code: 'BAD_CHECKPOINT' });
    const { length } = written.bytes;
    if (length > limits.checkpointBytes) {
      throw new PermanentError(`the checkpoint has ${length} bytes, more than ${limits.checkpointBytes}`, { code: 'BAD_CHECKPOINT' });
    }
    this.#words.checkpoint(written.bytes);
  }

  /** Tells the handler to stop, once. */
  abort(reason: AbortReason): void {
    if (this.#abortError !== null) return;
    this.#abortError = abortError(reason);
    this.#controller?.abort(this.#abortError);
  }

  /** Whether it was told to stop. */
  get isAborted(): boolean {
    return this.#abortError !== null;
  }
}

function abortError(reason: AbortReason): Error {
  switch (reason.kind) {
    case 'cancelled':
      return new CancelledError(reason.reason === '' ? 'the job was cancelled' : `the job was cancelled: ${reason.reason}`);
    case 'timeout':
      return new RetryableError(`ran longer than ${reason.runTimeoutMs} ms`, { code: 'TIMEOUT' });
    case 'lost':
      return new CancelledError('the attempt is no longer this worker’s: its lease is gone');
    case 'stopping':
      return new CancelledError('the worker ends');
    default:
      return reason satisfies never;
  }
}

function attemptLogger(words: HandlerWords): Logger {
  const write = (level: keyof Logger) => (message: string, fields?: Record<string, unknown>) => {
    words.line(level, fields === undefined ? message : `${message} ${fieldsText(fields)}`);
  };
  return { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') };
}

/** Fields as JSON; a log line must never fail its handler. */
export function fieldsText(fields: Record<string, unknown>): string {
  try {
    return JSON.stringify(fields, (_key, value: unknown) => {
      if (typeof value === 'bigint') return value.toString();
      return value instanceof Error ? value.message : value;
    });
  } catch {
    return '{"fields":"cannot be written as JSON"}';
  }
}
