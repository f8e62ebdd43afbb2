/**
 * Definitions that were met lately, so that what the live view shows can be read while the store behind it does not answer.
 *
 * Invariants: it holds at most so many bytes of texts, the least recently used go first; a text never changes under its hash. `registeredAt` may be an old one.
 */
import type { StoredDefinition } from '../store.ts';

const TEXT_BYTES = 16 * 1024 * 1024;

export class DefinitionCache {
  readonly #source: (hashes: readonly string[]) => Promise<ReadonlyMap<string, StoredDefinition>>;
  /** Least recently used first. */
  readonly #known = new Map<string, StoredDefinition>();
  #bytes = 0;

  constructor(source: (hashes: readonly string[]) => Promise<ReadonlyMap<string, StoredDefinition>>) {
    this.#source = source;
  }

  /** Remembers one. */
  learn(definition: StoredDefinition): void {
    const before = this.#known.get(definition.hash);
    if (before !== undefined) this.#bytes -= before.yaml.length;
    this.#known.delete(definition.hash);
    this.#known.set(definition.hash, definition);
    this.#bytes += definition.yaml.length;
    for (const [hash, { yaml }] of this.#known) {
      if (this.#bytes <= TEXT_BYTES) break;
      this.#known.delete(hash);
      this.#bytes -= yaml.length;
    }
  }

  /** Definitions by their hashes; those that are not kept anywhere are left out. */
  async byHash(hashes: readonly string[]): Promise<ReadonlyMap<string, StoredDefinition>> {
    const found = new Map<string, StoredDefinition>();
    const missing: string[] = [];
    for (const hash of hashes) {
      const known = this.#known.get(hash);
      if (known === undefined) missing.push(hash);
      else found.set(hash, known);
    }
    const fetched = missing.length === 0 ? new Map<string, StoredDefinition>() : await this.#source(missing);
    for (const definition of [...found.values(), ...fetched.values()]) {
      this.learn(definition);
      found.set(definition.hash, definition);
    }
    return found;
  }
}
