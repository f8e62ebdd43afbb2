/**
 * The fenced row and its journal as plain data: what a database does with each statement, in one step each.
 *
 * Time is one clock for everybody, in milliseconds, that only the search moves.
 */

/** A statement on its way to the database, or in it, or answered. */
export type Statement =
  | { readonly kind: 'acquire'; readonly owner: string; readonly termId: string }
  | { readonly kind: 'renew'; readonly epoch: number; readonly termId: string; readonly lastSeq: number }
  | { readonly kind: 'reclaim'; readonly epoch: number; readonly termId: string; readonly nextTermId: string }
  | { readonly kind: 'release'; readonly epoch: number; readonly termId: string }
  | {
      readonly kind: 'commit';
      readonly epoch: number;
      readonly termId: string;
      readonly firstSeq: number;
      readonly lastSeq: number;
      readonly batch: string;
    };

/** What a statement is answered. `refused`: an error that proves that it was not done, and never will be. */
export type Answer =
  | { readonly kind: 'taken'; readonly epoch: number; readonly termId: string; readonly lastSeq: number }
  | { readonly kind: 'held'; readonly expiresInMs: number }
  | { readonly kind: 'done' }
  | { readonly kind: 'nothing' }
  | { readonly kind: 'refused' };

/** The row and the journal. */
export interface Database {
  epoch: number;
  termId: string;
  owner: string;
  leaseUntil: number;
  lastSeq: number;
  /** Batches, in order; each names who decided it and under which epoch it was written. */
  readonly journal: {
    readonly batch: string;
    readonly epoch: number;
    readonly termId: string;
    readonly firstSeq: number;
    readonly lastSeq: number;
  }[];
}

/** Rules that can be broken on purpose. */
export const FLAWS = [
  'fence without epoch',
  'fence without last_seq',
  'reclaim without a new epoch',
  'reclaim only once',
  'acquire ignores the lease',
  'release without the fence',
  'an abort that proves nothing',
] as const;
export type Flaw = (typeof FLAWS)[number];

/** A new database. */
export function newDatabase(): Database {
  return { epoch: 0, termId: '', owner: '', leaseUntil: 0, lastSeq: 0, journal: [] };
}

/** Does a statement at `now`. */
export function apply(database: Database, statement: Statement, now: number, leaseMs: number, flaws: ReadonlySet<Flaw>): Answer {
  const owns = (epoch: number, termId: string): boolean => epoch === database.epoch && termId === database.termId;
  const take = (epoch: number, termId: string): Answer => {
    database.epoch = epoch;
    database.termId = termId;
    database.leaseUntil = now + leaseMs;
    return { kind: 'taken', epoch: database.epoch, termId: database.termId, lastSeq: database.lastSeq };
  };
  switch (statement.kind) {
    case 'acquire': {
      const isHeld = database.leaseUntil > now && database.owner !== statement.owner && database.owner !== '';
      if (isHeld && !flaws.has('acquire ignores the lease')) return { kind: 'held', expiresInMs: database.leaseUntil - now };
      database.owner = statement.owner;
      return take(database.epoch + 1, statement.termId);
    }
    case 'renew': {
      if (!owns(statement.epoch, statement.termId) || database.lastSeq < statement.lastSeq) return { kind: 'nothing' };
      database.leaseUntil = now + leaseMs;
      return { kind: 'done' };
    }
    case 'reclaim': {
      const { epoch, termId, nextTermId } = statement;
      // One whose answer was lost: it was done, and is done again with the same outcome.
      const isDone = owns(epoch + 1, nextTermId) && !flaws.has('reclaim only once');
      if (!owns(epoch, termId) && !isDone) return { kind: 'nothing' };
      if (flaws.has('reclaim without a new epoch'))
        return { kind: 'taken', epoch: database.epoch, termId: database.termId, lastSeq: database.lastSeq };
      return take(epoch + 1, nextTermId);
    }
    case 'release': {
      if (owns(statement.epoch, statement.termId) || flaws.has('release without the fence')) database.leaseUntil = now;
      return { kind: 'done' };
    }
    case 'commit': {
      const isOwner = flaws.has('fence without epoch') || owns(statement.epoch, statement.termId);
      const follows = flaws.has('fence without last_seq') || statement.firstSeq === database.lastSeq + 1;
      if (!isOwner || !follows) return { kind: 'nothing' };
      const { batch, epoch, termId, firstSeq, lastSeq } = statement;
      database.lastSeq = lastSeq;
      database.journal.push({ batch, epoch, termId, firstSeq, lastSeq });
      return { kind: 'done' };
    }
    default:
      return statement satisfies never;
  }
}
