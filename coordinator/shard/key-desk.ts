/**
 * Idempotency keys that memory has forgotten: the archive is asked before a workflow is submitted under one.
 *
 * Invariant: between the question and the decision that follows it nobody else submits under a key, and memory forgets nothing that has one.
 */
import type { Archive } from '../store/store.ts';
import { type FoundWorkflow, foldHistory } from './recovery.ts';
import type { WorkflowTable } from './workflow-table.ts';

const NONE: ReadonlyMap<string, FoundWorkflow> = new Map();

export class KeyDesk {
  readonly #archive: Archive | null;
  readonly #table: WorkflowTable;
  /** By key, when the last user that came will be done. */
  readonly #last = new Map<string, Promise<unknown>>();

  constructor(archive: Archive | null, table: WorkflowTable) {
    this.#archive = archive;
    this.#table = table;
  }

  /** Runs `use` with the ended workflows, by key, that only the archive knows, when all users of any of these keys that came before are done. */
  hold<T>(
    submissions: readonly { readonly idempotencyKey: string }[],
    use: (archived: ReadonlyMap<string, FoundWorkflow>) => Promise<T>,
  ): Promise<T> {
    const archive = this.#archive;
    if (archive === null) return use(NONE);
    const keys = submissions.flatMap(({ idempotencyKey }) => (idempotencyKey === '' ? [] : [idempotencyKey]));
    if (keys.length === 0) return use(NONE);
    const before = [...new Set(keys)].flatMap((key) => this.#last.get(key) ?? []);
    const used = Promise.all(before).then(async () => {
      this.#table.useKeys(keys);
      try {
        return await use(await this.#look(archive, keys));
      } finally {
        this.#table.releaseKeys(keys);
      }
    });
    const done = used.then(
      () => {},
      () => {},
    );
    for (const key of keys) this.#last.set(key, done);
    void done.then(() => {
      for (const key of keys) if (this.#last.get(key) === done) this.#last.delete(key);
    });
    return used;
  }

  async #look(archive: Archive, keys: readonly string[]): Promise<ReadonlyMap<string, FoundWorkflow>> {
    // What is in memory is newer than any archive.
    const unknown = keys.filter((key) => this.#table.byKey(key) === undefined);
    if (unknown.length === 0) return NONE;
    const found = new Map<string, FoundWorkflow>();
    for (const [key, { workflowId }] of await archive.byKeys(unknown)) {
      // One that is open is in memory, unless its end was archived and forgotten since: then it is here.
      const entry = await archive.get(workflowId);
      if (entry !== null) found.set(key, foldHistory(entry));
    }
    return found;
  }
}
