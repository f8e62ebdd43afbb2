/**
 * A store of files below one folder: `<key>.json` for a value that was put, `<key>.jsonl` for values that were appended.
 *
 * Invariants
 * 1. Whatever a key is, its file is below the folder (`confined.ts`); different keys have different files.
 * 2. A value that was put is there as a whole or not at all: written aside, synced, renamed.
 */
import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { limits } from '@workflow-orchestrator/proto/limits';
import type { FileStoreConnection } from '../connections/connections.ts';
import { PermanentError, RetryableError } from '../errors.ts';
import type { Json } from '../handler.ts';
import { confine } from './confined.ts';
import { JsonLines, parseLine } from './json-lines.ts';
import type { Found, KeyStore, StoreCall } from './store.ts';

/** Files that are being appended to, at most; the state of others is read again when it is needed. */
const openFiles = 256;

/** The appended files of all file stores of a worker: two stores over one folder must not write past each other. */
export class AppendedFiles {
  readonly #files = new Map<string, JsonLines>();

  /** The appender of a file. */
  at(file: string): JsonLines {
    const lines = this.#files.get(file) ?? new JsonLines(file);
    this.#files.delete(file);
    this.#files.set(file, lines);
    for (const [oldest, candidate] of this.#files) {
      if (this.#files.size <= openFiles) break;
      if (candidate.idle) this.#files.delete(oldest);
    }
    return lines;
  }
}

/** Opens a file store. The folder is made when the first value comes. */
export function openFileStore({ folder }: FileStoreConnection, appended: AppendedFiles): KeyStore {
  const locate = async (key: string): Promise<string> => {
    const path = pathOf(key);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    return confine(folder, path);
  };
  return {
    kind: 'file',
    get: (key, call) =>
      guarded(call, async () => {
        const path = await locate(key);
        return (await readValue(`${path}.json`)) ?? (await readLines(`${path}.jsonl`)) ?? { found: false, value: null };
      }),
    put: (key, value, _ttlMs, call) =>
      guarded(call, async () => {
        const path = `${await locate(key)}.json`;
        await mkdir(dirname(path), { recursive: true, mode: 0o700 });
        await replaceFile(path, `${JSON.stringify(value)}\n`);
      }),
    append: (key, value, _ttlMs, call) =>
      guarded(call, async () => {
        const path = `${await locate(key)}.jsonl`;
        await mkdir(dirname(path), { recursive: true, mode: 0o700 });
        return appended.at(path).append(call.idempotencyKey, value);
      }),
    delete: (key, call) =>
      guarded(call, async () => {
        const path = await locate(key);
        const removed = await Promise.all([removeFile(`${path}.json`), removeFile(`${path}.jsonl`)]);
        return removed.includes(true);
      }),
    close: async () => {},
  };
}

/**
 * The path of a key: `/` separates folders, every other character that a file name may not have on some system is percent-encoded,
 * so that different keys are different files and none begins with a dot.
 */
function pathOf(key: string): string {
  const parts = key
    .split('/')
    .map((part) =>
      [...part]
        .map((character, index) => (/[\w\-@+=,[\] ]/.test(character) || (character === '.' && index > 0) ? character : encode(character)))
        .join(''),
    );
  if (key.length <= limits.storeKeyLength && parts.every((part) => part !== '' && part.length <= 200)) return parts.join('/');
  throw new PermanentError(
    `key ${JSON.stringify(key.slice(0, 100))} must be names with / between them, none empty or longer than 200 characters`,
    {
      code: 'INVALID_KEY',
    },
  );
}

function encode(character: string): string {
  return [...Buffer.from(character)].map((byte) => `%${byte.toString(16).padStart(2, '0').toUpperCase()}`).join('');
}

async function readValue(file: string): Promise<Found | null> {
  const text = await readText(file);
  return text === null ? null : { found: true, value: JSON.parse(text) as Json };
}

/** Every appended value once, in order. */
async function readLines(file: string): Promise<Found | null> {
  const text = await readText(file);
  if (text === null) return null;
  const values = new Map<string, Json>();
  for (const line of text.split('\n')) {
    const parsed = parseLine(line);
    if (parsed !== null && !values.has(parsed.key)) values.set(parsed.key, parsed.data);
  }
  return { found: true, value: [...values.values()] };
}

/** A file's text, null when there is none. More than a job may put out is not read, and a symbolic link is not followed. */
async function readText(file: string): Promise<string | null> {
  const handle = await open(file, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0)).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw error;
  });
  if (handle === null) return null;
  try {
    const { size } = await handle.stat();
    // Keys and times of appended lines do not count towards the output; twice its size is room for them.
    if (size > 2 * limits.outputBytes)
      throw new PermanentError(`the value has ${size} bytes, more than a job's output may have (${limits.outputBytes})`, {
        code: 'OUTPUT_TOO_LARGE',
      });
    return await handle.readFile('utf8');
  } finally {
    await handle.close();
  }
}

async function replaceFile(path: string, text: string): Promise<void> {
  const aside = `${path}.${randomUUID()}.tmp`;
  try {
    const handle = await open(aside, 'wx', 0o600);
    try {
      await handle.writeFile(text);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(aside, path);
  } catch (error) {
    await rm(aside, { force: true });
    throw error;
  }
  await syncFolder(dirname(path));
}

/** Makes a rename durable. Some systems cannot open a folder; there the rename is all that can be had. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r').catch(() => null);
  if (handle === null) return;
  await handle.sync().catch(() => {});
  await handle.close();
}

async function removeFile(file: string): Promise<boolean> {
  try {
    await rm(file);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

/** Runs an operation; what the file system says becomes a job error. */
async function guarded<T>(call: StoreCall, operation: () => Promise<T>): Promise<T> {
  call.signal.throwIfAborted();
  try {
    return await operation();
  } catch (error) {
    if (error instanceof PermanentError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    if (error instanceof SyntaxError)
      throw new PermanentError(`${call.target}: the value that is kept there is no JSON`, { code: 'STORE_REJECTED' });
    if (code === 'ELOOP')
      throw new PermanentError(`${call.target}: a symbolic link stands in the place of the file`, { code: 'PATH_REFUSED' });
    // A full disk, too many open files: another attempt may find it otherwise.
    throw new RetryableError(`${call.target}: ${code ?? message}`, { code: 'STORE_FAILED', cause: error });
  }
}
