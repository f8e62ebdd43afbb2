/**
 * Job type `cleanup`: removes what earlier jobs left: files, keys or rows of a store, something behind an HTTP DELETE.
 *
 * Invariants
 * 1. Idempotent: what is gone already is no error, and the output says which was which.
 * 2. Files are removed in folders below the worker's data folder only; a folder that is not empty is removed with `recursive: true` only; links are removed, never followed.
 * 3. One thing that cannot be removed does not keep the others: all are tried, and the error names those that are left.
 */
import { lstat, mkdir, realpath, rm, rmdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { limits } from '@workflow-orchestrator/proto/limits';
import { type Connections, findConnection } from '../connections/connections.ts';
import { JobError, PermanentError, RetryableError } from '../errors.ts';
import { type Fields, textElement } from '../fields/fields.ts';
import type { Handler, Job, JobContext, Json } from '../handler.ts';
import type { HttpRequest } from '../http/client.ts';
import { confine } from '../stores/confined.ts';
import { type RequestOptions, readUrl, requestToEndpoint, requestToUrl, unexpectedStatus } from './http-request.ts';
import type { IntegrationTools } from './integration.ts';
import { readParameters } from './parameters.ts';
import { whileAlive } from './sign-of-life.ts';
import { operate } from './store-operation.ts';

/** One thing to remove. */
interface Removal {
  /** As people are told of it: `file run-1/rows.csv`. */
  readonly what: string;
  /** False when it was gone already. */
  readonly remove: (context: JobContext) => Promise<boolean>;
}

/** The handler. */
export function cleanupHandler(tools: IntegrationTools): Handler {
  return async (job, context) => {
    const removals = readParameters(job, (fields) => readCleanup(fields, job, tools));
    return whileAlive(context, () => removeAll(removals, context));
  };
}

function readCleanup(fields: Fields, job: Job, tools: IntegrationTools): Removal[] {
  const bounds = { min: 1, max: limits.cleanupItems };
  const files = fields.list('files', textElement, bounds);
  const recursive = fields.flag('recursive') ?? false;
  const removals: Removal[] = (files ?? []).map((path) => ({
    what: `file ${path}`,
    remove: () => removeFile(tools.connections, path, recursive),
  }));
  removals.push(...readKeys(fields, tools));
  const http = fields.exclusive(['url', 'endpoint']);
  if (http !== null) removals.push(readDelete(fields, http, job, tools));
  if (files === undefined && http === null && !fields.has('store'))
    fields.problem(null, 'needs at least one of files, store with keys, url, endpoint');
  fields.close('a cleanup');
  return removals;
}

/** `store` and `keys`; of a table `table` too, and the keys are those of rows. */
function readKeys(fields: Fields, tools: IntegrationTools): Removal[] {
  if (!fields.has('store')) return [];
  const name = fields.requiredText('store');
  const store = tools.stores.get(name);
  const keys = fields.list('keys', (value) => value as Json, { min: 1, max: limits.cleanupItems });
  if (keys === undefined) fields.problem('keys', 'is required: what to remove from the store');
  const table = store.kind === 'postgres' ? fields.requiredText('table') : null;
  return (keys ?? []).map((key, index) => {
    if (table === null && typeof key !== 'string') fields.problem('keys', `key ${index} must be a text`);
    const shown = typeof key === 'string' ? key : JSON.stringify(key);
    const request = {
      operation: 'delete',
      target: table ?? String(key),
      data: key,
      ttlMs: null,
      timeoutMs: limits.storeTimeoutMs,
    } as const;
    return {
      what: `key ${shown} in store ${name}`,
      remove: async (context) => ((await operate(store, name, request, context)) as { deleted: boolean }).deleted,
    };
  });
}

function readDelete(fields: Fields, http: 'url' | 'endpoint', job: Job, tools: IntegrationTools): Removal {
  const options: RequestOptions = {
    method: 'DELETE',
    headers: new Map(),
    query: new Map(),
    body: undefined,
    expected: [],
    timeoutMs: fields.durationMs('timeout', { min: 1, max: limits.httpTimeoutMaxMs }) ?? null,
    maxRedirects: limits.httpRedirects,
    response: 'none',
  };
  let toRequest: (context: JobContext) => HttpRequest;
  if (http === 'url') {
    const url = readUrl(fields);
    toRequest = (context) => requestToUrl(url, options, job.input, context.idempotencyKey);
  } else {
    const endpoint = findConnection(tools.connections, 'endpoint', fields.requiredText('endpoint'));
    const path = fields.text('path', { max: 4_096 }) ?? '';
    if (endpoint.kind !== 'http') {
      fields.problem('endpoint', `'${endpoint.name}' keeps data in store '${endpoint.store}'; use store and keys`);
      return { what: `endpoint ${endpoint.name}`, remove: async () => false };
    }
    toRequest = (context) => requestToEndpoint(endpoint, path, options, job.input, context.idempotencyKey);
  }
  const what = http === 'url' ? `url ${fields.text('url')}` : `endpoint ${fields.text('endpoint')} ${fields.text('path') ?? ''}`.trim();
  return {
    what,
    remove: async (context) => {
      const request = toRequest(context);
      const reply = await tools.http.send(request, context.signal);
      if (reply.status === 404 || reply.status === 410) return false;
      if (reply.status >= 200 && reply.status <= 299) return true;
      throw unexpectedStatus(reply, request.target, tools.nowMs());
    },
  };
}

/** Removes a file, a link, or with `recursive` a folder. */
async function removeFile(connections: Connections, path: string, recursive: boolean): Promise<boolean> {
  const { dataFolder } = connections;
  if (dataFolder === null)
    throw new PermanentError('this worker has no data folder (DATA_DIR), so there are no files that jobs may remove', {
      code: 'PATH_REFUSED',
    });
  try {
    await mkdir(dataFolder, { recursive: true, mode: 0o700 });
    const place = await confine(dataFolder, path);
    const found = await lstat(place);
    // What stands directly in the data folder is not the jobs': a coordinator on the same machine may keep its journal there.
    if (!found.isDirectory() && dirname(place) === (await realpath(dataFolder)))
      throw new PermanentError(`${path} stands directly in the data folder; jobs may remove folders there, and files below them`, {
        code: 'PATH_REFUSED',
      });
    if (!found.isDirectory()) await rm(place);
    else if (recursive) await rm(place, { recursive: true });
    else await rmdir(place);
    return true;
  } catch (error) {
    if (error instanceof JobError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return false;
    if (code === 'ENOTEMPTY' || code === 'EEXIST')
      throw new PermanentError(`${path} is a folder that is not empty; say recursive: true to remove it with all that is in it`, {
        code: 'NOT_EMPTY',
      });
    if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS')
      throw new PermanentError(`${path} must not be removed (${code})`, { code: 'PATH_REFUSED', cause: error });
    throw new RetryableError(`${path} could not be removed (${code})`, { code: 'CLEANUP_FAILED', cause: error });
  }
}

/** Tries all, one after the other; the error of the first that failed is the job's. */
async function removeAll(removals: readonly Removal[], context: JobContext): Promise<Json> {
  const removed: string[] = [];
  const alreadyGone: string[] = [];
  const left: { readonly what: string; readonly error: JobError }[] = [];
  for (const [index, { what, remove }] of removals.entries()) {
    context.signal.throwIfAborted();
    try {
      const wasThere = await remove(context);
      (wasThere ? removed : alreadyGone).push(what);
      context.log.info(wasThere ? `removed ${what}` : `${what} was gone already`);
    } catch (error) {
      if (!(error instanceof JobError)) throw error;
      left.push({ what, error });
      context.log.warn(`could not remove ${what}: ${error.message}`);
    }
    context.progress((index + 1) / removals.length);
  }
  if (left.length === 0) return { removed, already_gone: alreadyGone };
  throw leftBehind(left, removed, alreadyGone);
}

/** Worth another attempt if any of what is left may go then. */
function leftBehind(
  left: readonly { readonly what: string; readonly error: JobError }[],
  removed: string[],
  alreadyGone: string[],
): JobError {
  const retryable = left.find(({ error }) => error.retryable);
  const { error: first } = retryable ?? left[0];
  const message =
    left.length === 1 ? first.message : `${left.length} things are left: ${left.map(({ error }) => error.message).join('; ')}`;
  const options = {
    code: first.code,
    cause: first,
    details: {
      left: left.map(({ what, error }) => ({ what, code: error.code, message: error.message })),
      removed,
      already_gone: alreadyGone,
    },
  };
  return retryable === undefined
    ? new PermanentError(message, options)
    : new RetryableError(message, { ...options, retryAfterMs: first.retryAfterMs });
}
