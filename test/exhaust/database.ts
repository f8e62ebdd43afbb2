/**
 * The fenced row and its journal as plain data: what a database does with each statement, in one step each.
 *
 * Time is one clock for everybody, in milliseconds, that only the search moves.
 */

/** A statement on its way to the database, or in it, or answered. */
export type Statement =
  | { readonly kind: 'acquire'; readonly owner: number }
  | { readonly kind: 'renew'; readonly epoch: number; readonly termId: string; readonly lastSeq: number }
  | { readonly kind: 'reclaim'; readonly epoch: number; readonly termId: string }
  | {
      readonly kind: 'commit';
      readonly epoch: number;
      readonly termId: string;
      readonly firstSeq: number;
      readonly lastSeq: number;
      readonly batch: string;
    };

/** What a statement is answered. */
export type Answer =
  | { readonly kind: 'taken'; readonly epoch: number; readonly termId: string; readonly lastSeq: number }
  | { readonly kind: 'held'; readonly expiresInMs: number }
  | { readonly kind: 'done' }
  | { readonly kind: 'nothing' };

/** The row and the journal. */
export interface Database {
  epoch: number;
  termId: string;
  owner: number;
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
  /** Statements so far: makes terms. */
  terms: number;
}

/** Rules of the database that can be broken on purpose. */
export const FLAWS = ['fence without epoch', 'fence without last_seq', 'reclaim without a new epoch', 'acquire ignores the lease'] as const;
export type Flaw = (typeof FLAWS)[number];

/** A new database. */
export function newDatabase(): Database {
  return { epoch: 0, termId: '', owner: -1, leaseUntil: 0, lastSeq: 0, journal: [], terms: 0 };
}

/** Does a statement at `now`. */
export function apply(database: Database, statement: Statement, now: number, leaseMs: number, flaws: ReadonlySet<Flaw>): Answer {
  const owns = (epoch: number, termId: string): boolean => epoch === database.epoch && termId === database.termId;
  const take = (owner: number): Answer => {
    database.epoch += 1;
    database.terms += 1;
    database.termId = `t${database.terms}`;
    database.owner = owner;
    database.leaseUntil = now + leaseMs;
    return { kind: 'taken', epoch: database.epoch, termId: database.termId, lastSeq: database.lastSeq };
  };
  switch (statement.kind) {
    case 'acquire': {
      const isHeld = database.leaseUntil > now && database.owner !== statement.owner && database.owner !== -1;
      if (isHeld && !flaws.has('acquire ignores the lease')) return { kind: 'held', expiresInMs: database.leaseUntil - now };
      return take(statement.owner);
    }
    case 'renew': {
      if (!owns(statement.epoch, statement.termId) || database.lastSeq < statement.lastSeq) return { kind: 'nothing' };
      database.leaseUntil = now + leaseMs;
      return { kind: 'done' };
    }
    case 'reclaim': {
      if (!owns(statement.epoch, statement.termId)) return { kind: 'nothing' };
      if (flaws.has('reclaim without a new epoch'))
        return { kind: 'taken', epoch: database.epoch, termId: database.termId, lastSeq: database.lastSeq };
      return take(database.owner);
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
