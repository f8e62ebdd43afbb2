/**
 * The errors by which a handler says what happens next. Any other thrown error is retryable with the code `HANDLER_ERROR`.
 */
import type { Json } from './handler.ts';

/** What the next attempt may know of this one. */
export interface JobErrorOptions {
  /** Stable upper-case word; definitions name it in `retry.on` and `retry.not_on`. */
  readonly code?: string;
  /** Anything JSON that helps: all violations, the response. */
  readonly details?: Json;
  readonly cause?: unknown;
}

/** A failure with a code. Use one of the two below. */
export abstract class JobError extends Error {
  abstract readonly retryable: boolean;
  readonly code: string;
  readonly details: Json | undefined;
  /** The next attempt waits at least this long; 0: as the definition's retry says. */
  readonly retryAfterMs: number = 0;
  constructor(message: string, defaultCode: string, options: JobErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.code = options.code ?? defaultCode;
    this.details = options.details;
  }
}

/** Another attempt may end otherwise. `retryAfterMs` asks for a longer pause than the definition's. */
export class RetryableError extends JobError {
  override readonly retryable = true;
  override readonly retryAfterMs: number;
  constructor(message: string, options: JobErrorOptions & { readonly retryAfterMs?: number } = {}) {
    super(message, 'HANDLER_ERROR', options);
    this.retryAfterMs = options.retryAfterMs ?? 0;
  }
}

/** No attempt will end otherwise: bad input, a thing that is not there. */
export class PermanentError extends JobError {
  override readonly retryable = false;
  constructor(message: string, options: JobErrorOptions = {}) {
    super(message, 'INVALID_INPUT', options);
  }
}

/** The handler stopped because `signal` told it to. Thrown by `signal.throwIfAborted()` too. */
export class CancelledError extends Error {
  override readonly name = 'CancelledError';
}
