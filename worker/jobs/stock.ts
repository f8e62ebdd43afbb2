/**
 * The stock job types, ready to be registered with a worker.
 *
 * Invariants
 * 1. Secrets of the connections file are in no error and no log line of a job: the one place where they are taken out is here.
 * 2. An error without a code that comes out of a handler is a bug of ours; it is retryable and says so, without its stack.
 */
import type { Connections } from '../connections/connections.ts';
import type { Redactor } from '../connections/redactor.ts';
import { CancelledError, JobError, PermanentError, RetryableError } from '../errors.ts';
import type { Handler, JobContext, Json } from '../handler.ts';
import { openHttpClient } from '../http/client.ts';
import type { Resolve } from '../http/connector.ts';
import type { Logger } from '../logger.ts';
import type { ComputePool } from '../pool/pool.ts';
import { openStores } from '../stores/open.ts';
import { cleanupHandler } from './cleanup.ts';
import { type IntegrationTools, integrationHandler } from './integration.ts';
import { processingHandler } from './processing.ts';
import { validationHandler } from './validation.ts';

/** The job types that the stock worker knows. */
export const stockTypes = ['validation', 'processing', 'integration', 'cleanup'] as const;

/** A stock job type. */
export type StockType = (typeof stockTypes)[number];

/** The handlers and what they keep open. */
export interface StockHandlers {
  readonly handlers: Readonly<Record<StockType, Handler>>;
  /** Closes stores and connections. The pool stays open: it came from outside. */
  close(): Promise<void>;
}

/** What the handlers get from outside besides connections and pool. */
export interface StockOptions {
  /** The worker's own log: jobs that failed, connection problems of stores. */
  readonly log?: Logger;
  /** How host names are resolved; by the system when absent. */
  readonly resolve?: Resolve;
  /** The wall clock, milliseconds since 1970. */
  readonly nowMs?: () => number;
}

const silent: Logger = { debug() {}, info() {}, warn() {}, error() {} };

/** The handlers of the stock job types over these connections. Nothing is connected before a job asks for it. */
export function stockHandlers(connections: Connections, pool: ComputePool, options: StockOptions = {}): StockHandlers {
  const http = openHttpClient(connections.network, options.resolve);
  const log = options.log ?? silent;
  const stores = openStores(connections, log);
  const tools: IntegrationTools = { connections, http, stores, nowMs: options.nowMs ?? Date.now };
  const guard = (handler: Handler) => withoutSecrets(handler, connections.redactor, log);
  return {
    handlers: {
      validation: guard(validationHandler(connections, pool)),
      processing: guard(processingHandler(pool)),
      integration: guard(integrationHandler(tools)),
      cleanup: guard(cleanupHandler(tools)),
    },
    async close() {
      await Promise.all([http.close(), stores.close()]);
    },
  };
}

/** The handler, with secrets taken out of what it logs and throws. */
function withoutSecrets(handler: Handler, redactor: Redactor, log: Logger): Handler {
  return async (job, context) => {
    try {
      return await handler(job, redactedContext(context, redactor));
    } catch (error) {
      context.signal.throwIfAborted();
      const shown = redactedError(error, redactor);
      const { workflowId, id: jobId, type, attempt } = job;
      if (shown instanceof JobError) log.info('job failed', { workflowId, jobId, type, attempt, code: shown.code, message: shown.message });
      throw shown;
    }
  };
}

function redactedContext(context: JobContext, redactor: Redactor): JobContext {
  return {
    signal: context.signal,
    progress: (fraction, message) => context.progress(fraction, message),
    heartbeat: () => context.heartbeat(),
    setCheckpoint: (value) => context.setCheckpoint(value),
    checkpoint: context.checkpoint,
    log: redactedLogger(context.log, redactor),
    idempotencyKey: context.idempotencyKey,
    fencingToken: context.fencingToken,
  };
}

function redactedLogger(log: Logger, redactor: Redactor): Logger {
  const line = (level: keyof Logger) => (message: string, fields?: Record<string, unknown>) =>
    log[level](redactor.text(message), fields === undefined ? undefined : (redactor.json(fields as Json) as Record<string, unknown>));
  return { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error') };
}

/** The error as a new one: neither cause nor stack of the old one can carry a secret along. */
function redactedError(error: unknown, redactor: Redactor): Error {
  if (error instanceof CancelledError) return error;
  if (!(error instanceof JobError))
    return new RetryableError(redactor.text(`unexpected: ${error instanceof Error ? error.message : String(error)}`), {
      code: 'HANDLER_ERROR',
    });
  const options = { code: error.code, ...(error.details === undefined ? {} : { details: redactor.json(error.details) }) };
  const message = redactor.text(error.message);
  return error.retryable
    ? new RetryableError(message, { ...options, retryAfterMs: error.retryAfterMs })
    : new PermanentError(message, options);
}
