/**
 * A file of JSON lines that grows at its end, each line once for each idempotency key.
 *
 * Invariants
 * 1. A line is `{"key": ..., "time": ..., "data": ...}`. What an `append` promised is on disk (fdatasync) before it is told.
 * 2. Before anything is written, what others wrote since is read, so that processes that share the file see each other's keys.
 *    Only two writes of the very same key at the very same moment by two processes can both come through; readers drop the second.
 * 3. The last `limits.storeKeysRemembered` keys are known; an attempt that is repeated after so many other lines would be written twice.
 * 4. A torn line at the end (the machine went down) is left alone and ended with a line break; readers skip it.
 * 5. All that waits goes into one write: a thousand jobs that end together cost one fdatasync.
 */
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { limits } from '@workflow-orchestrator/proto/limits';
import type { Json } from '../handler.ts';

/** One value to be added. */
interface Pending {
  readonly key: string;
  readonly data: Json;
  readonly done: (added: boolean) => void;
  readonly failed: (error: unknown) => void;
}

/** How far back keys are looked for when the file is opened. */
const tailBytes = 64 * 1024 * 1024;
const chunkBytes = 1024 * 1024;
const newline = 0x0a;
/** A symbolic link in the place of the file is not followed. */
const appendFlags = constants.O_RDWR | constants.O_APPEND | constants.O_CREAT | (constants.O_NOFOLLOW ?? 0);

/** One line, as it is kept. */
export interface Line {
  readonly key: string;
  readonly data: Json;
}

/** A line's content; null for one that is torn or not ours. */
export function parseLine(line: string): Line | null {
  try {
    const value = JSON.parse(line) as { key?: unknown; data?: Json } | null;
    return typeof value?.key === 'string' && value.data !== undefined ? { key: value.key, data: value.data } : null;
  } catch {
    return null;
  }
}

/** Appends to one file. */
export class JsonLines {
  readonly #file: string;
  /** In the order in which they were seen. */
  readonly #keys = new Set<string>();
  #readTo: number | null = null;
  /** Which file was read: it may have been removed and made anew since. */
  #inode = 0;
  /** Bytes after the last line break that was read. */
  #tail: Buffer = Buffer.alloc(0);
  #pending: Pending[] = [];
  #writing = false;

  constructor(file: string) {
    this.#file = file;
  }

  /** Whether nothing is under way. */
  get idle(): boolean {
    return !this.#writing && this.#pending.length === 0;
  }

  /** Adds a value; false when one was added under this key before. */
  append(key: string, data: Json): Promise<boolean> {
    return new Promise((done, failed) => {
      this.#pending.push({ key, data, done, failed });
      if (!this.#writing) void this.#writeAll();
    });
  }

  async #writeAll(): Promise<void> {
    this.#writing = true;
    while (this.#pending.length > 0) {
      const batch = this.#pending;
      this.#pending = [];
      try {
        const added = await this.#write(batch);
        for (const [index, { done }] of batch.entries()) done(added[index]);
      } catch (error) {
        // What of it is on disk is found out by reading it again.
        this.#forget();
        for (const { failed } of batch) failed(error);
      }
    }
    this.#writing = false;
  }

  /** Writes one batch; says of each value whether it was added. */
  async #write(batch: readonly Pending[]): Promise<boolean[]> {
    const handle = await open(this.#file, appendFlags, 0o600);
    try {
      await this.#readNew(handle);
      const time = new Date().toISOString();
      let text = this.#tail.length > 0 ? '\n' : '';
      const added = batch.map(({ key, data }) => {
        if (this.#keys.has(key)) return false;
        this.#remember(key);
        text += `${JSON.stringify({ key, time, data })}\n`;
        return true;
      });
      if (added.includes(true)) {
        const bytes = Buffer.from(text);
        for (let written = 0; written < bytes.length; ) written += (await handle.write(bytes, written)).bytesWritten;
      }
      // Also when nothing was added: the line that is there may be another process's, not yet on disk.
      await handle.datasync();
      return added;
    } finally {
      await handle.close();
    }
  }

  /** Reads what was written since the last time. */
  async #readNew(handle: FileHandle): Promise<void> {
    const { size, ino } = await handle.stat();
    if (this.#readTo === null || ino !== this.#inode || size < this.#readTo) {
      this.#forget();
      this.#inode = ino;
      this.#readTo = Math.max(0, size - tailBytes);
    }
    const buffer = Buffer.alloc(Math.min(chunkBytes, size - this.#readTo));
    while (this.#readTo < size) {
      const { bytesRead } = await handle.read(buffer, 0, Math.min(buffer.length, size - this.#readTo), this.#readTo);
      if (bytesRead === 0) break;
      this.#readTo += bytesRead;
      const bytes = Buffer.concat([this.#tail, buffer.subarray(0, bytesRead)]);
      const end = bytes.lastIndexOf(newline);
      this.#tail = Buffer.from(bytes.subarray(end + 1));
      for (const line of bytes.toString('utf8', 0, end + 1).split('\n')) {
        const parsed = parseLine(line);
        if (parsed !== null) this.#remember(parsed.key);
      }
    }
  }

  #remember(key: string): void {
    this.#keys.delete(key);
    this.#keys.add(key);
    if (this.#keys.size <= limits.storeKeysRemembered) return;
    for (const oldest of this.#keys) {
      this.#keys.delete(oldest);
      break;
    }
  }

  #forget(): void {
    this.#keys.clear();
    this.#readTo = null;
    this.#tail = Buffer.alloc(0);
  }
}
