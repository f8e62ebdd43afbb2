/**
 * The store of one term of a coordinator, as `coordinator/store/postgres/` has it: what the commit loop and the tenure ask becomes a statement, and its answer, or
 * that there was none, an outcome.
 */
import type { JournalBatch, Ownership, Store } from '../../coordinator/store/store.ts';
import type { Answer, Statement } from './database.ts';

/** A store, with what the commit loop that has it is about. */
export interface WorldStore extends Store {
  /** What the commit loop asked last, and for which batch. */
  readonly doing: string;
  /** The term that a reclaim without an answer may have put in the place of the one of now; null when there was none. */
  readonly asked: string | null;
  /** Every term that this one may have. */
  readonly terms: ReadonlySet<string>;
}

/** Makes one. `ask` answers null when the reply, or the request, was lost. */
export function storeOf(
  { termId: acquired }: Ownership,
  leaseMs: number,
  ask: (statement: Statement, doing: string) => Promise<Answer | null>,
  newTerm: () => string,
): WorldStore {
  const terms = new Set([acquired]);
  let asked: string | null = null;
  let batch = '';
  let doing = '';
  const store: Pick<WorldStore, 'leaseMs' | 'commit' | 'renew' | 'reclaim' | 'terms' | 'doing' | 'asked'> = {
    leaseMs,
    terms,
    get doing() {
      return doing;
    },
    get asked() {
      return asked;
    },
    async commit({ epoch, termId }: Ownership, { firstSeq, lastSeq, entries }: JournalBatch) {
      batch = entries.map(({ workflowId }) => workflowId).join('+');
      doing = `commit ${batch}`;
      const answer = await ask({ kind: 'commit', epoch, termId, firstSeq, lastSeq, batch }, doing);
      if (answer === null) return { kind: 'unknown', message: 'cut' };
      if (answer.kind === 'refused') return { kind: 'aborted', isTransient: true, message: 'refused' };
      return { kind: answer.kind === 'done' ? 'durable' : 'fenced' };
    },
    async renew({ epoch, termId }: Ownership, lastSeq: number) {
      const answer = await ask({ kind: 'renew', epoch, termId, lastSeq }, 'renew');
      if (answer === null) return { kind: 'unavailable', message: 'cut' };
      return answer.kind === 'done' ? { kind: 'renewed' } : { kind: 'lost', message: 'another owner' };
    },
    async reclaim({ epoch, termId }: Ownership) {
      asked ??= newTerm();
      terms.add(asked);
      doing = `reclaim ${batch}`;
      const answer = await ask({ kind: 'reclaim', epoch, termId, nextTermId: asked }, doing);
      if (answer === null) return { kind: 'unavailable', message: 'cut' };
      asked = null;
      return answer.kind === 'taken' ? { kind: 'reclaimed', ownership: answer } : { kind: 'lost', message: 'another owner' };
    },
  };
  // The loop and the tenure ask for nothing else.
  return store as WorldStore;
}
