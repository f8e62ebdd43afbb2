/**
 * The data folder of one process: made, found to be writable, and locked for as long as the process lives.
 *
 * Invariants
 * 1. One process has a folder. The lock is one of the operating system on `journal.lock`, so that it is gone with its process, however that ended.
 * 2. `journal.db` itself stays open to readers of other programs.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { failureOf } from './failure.ts';

const BUSY = 5;

/** Another process has the folder, perhaps one that is just ending. */
export class FolderInUse extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'FolderInUse';
  }
}

/** A folder that is this process's own. */
export interface Folder {
  /** Where the journal is. */
  readonly path: string;
  release(): void;
}

/** Takes the folder, making it where it is missing. Throws with one clear line. */
export function takeFolder(dataDir: string): Folder {
  const pidFile = join(dataDir, 'journal.pid');
  let lock: DatabaseSync | null = null;
  try {
    mkdirSync(dataDir, { recursive: true });
    lock = new DatabaseSync(join(dataDir, 'journal.lock'), { timeout: 0 });
    lock.exec('begin exclusive');
    writeFileSync(pidFile, `${process.pid}\n`);
  } catch (error) {
    lock?.close();
    const { errcode = 0 } = error as { errcode?: number };
    if ((errcode & 0xff) === BUSY) throw new FolderInUse(`the data folder ${dataDir} is in use by another process${pidIn(pidFile)}`);
    throw new Error(`the data folder ${dataDir} cannot be used: ${failureOf(error).message}`, { cause: error });
  }
  return { path: join(dataDir, 'journal.db'), release: () => lock.close() };
}

function pidIn(file: string): string {
  try {
    return ` (pid ${Number.parseInt(readFileSync(file, 'utf8'), 10)})`;
  } catch {
    return '';
  }
}
