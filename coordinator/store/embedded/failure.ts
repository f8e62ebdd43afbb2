/**
 * What an error of SQLite means for a caller.
 *
 * Invariant: `isCertain` is said only where it is proven that nothing of the transaction is in the file, nor will be.
 */

/** An error as a value: it crosses from a thread to its owner. */
export interface Failure {
  readonly message: string;
  /** The same call may work later. */
  readonly isTransient: boolean;
  /** Certainly nothing of it was written. */
  readonly isCertain: boolean;
  /** The disk answered with an error: what it was given before may be gone too. */
  readonly isDiskError: boolean;
}

/** The transaction failed in its very COMMIT. */
export class CommitFailed extends Error {
  constructor(cause: unknown) {
    super('the commit failed', { cause });
  }
}

/** It cannot be done now, and may at another time; nothing was begun. */
export class NotNow extends Error {}

/** Primary result codes of SQLite, with what people are told. */
const MEANINGS: ReadonlyMap<number, readonly [string, boolean]> = new Map([
  [5, ['another program holds a lock on the file', true]],
  [6, ['the table is locked', true]],
  [7, ['out of memory', true]],
  [8, ['the file cannot be written', true]],
  [10, ['the disk answered with an error', true]],
  [11, ['the file is damaged', false]],
  [13, ['the disk is full', true]],
  [14, ['the file cannot be opened', true]],
  [26, ['the file is damaged, or no database', false]],
]);
const BUSY = 5;
const IO_ERROR = 10;
const FULL = 13;

/** What `error`, thrown by a call of `node:sqlite` or by whoever says more about such an error, its `cause`, means. */
export function failureOf(error: unknown): Failure {
  const inCommit = error instanceof CommitFailed;
  const said = (inCommit ? error.cause : error) as { message?: string; errcode?: number; cause?: { errcode?: number } };
  const { message = String(said), errcode, cause } = said;
  const code = (errcode ?? cause?.errcode ?? -1) & 0xff;
  const [meaning, isTransient] = MEANINGS.get(code) ?? ['', error instanceof NotNow];
  return {
    message: meaning === '' || errcode === undefined ? message : `${meaning} (SQLite: ${message})`,
    isTransient,
    // A COMMIT that ran out of room, or never got its lock, has not written the frame that makes the rest count. Of any other, nobody knows what the disk has.
    isCertain: !inCommit || code === FULL || code === BUSY,
    isDiskError: code === IO_ERROR,
  };
}

/** A failure that is not SQLite's. */
export function failure(message: string, isTransient: boolean, isCertain: boolean): Failure {
  return { message, isTransient, isCertain, isDiskError: false };
}
