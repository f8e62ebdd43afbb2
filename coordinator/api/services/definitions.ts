/**
 * The definitions that this coordinator knows, compiled.
 *
 * Invariants
 * 1. A definition is durable before a workflow that names it is submitted.
 * 2. The same text is compiled once; the same content has one graph, however it was written.
 */
import { createHash } from 'node:crypto';
import { compile, type Graph, type Problem } from '@workflow-orchestrator/engine/definition';
import { limits } from '@workflow-orchestrator/proto/limits';
import type { Store, StoredDefinition } from '../../store/store.ts';

/** A definition that was registered, with its graph. */
export interface Registered {
  readonly graph: Graph;
  readonly stored: StoredDefinition;
  readonly existed: boolean;
}

/** What became of a text. */
export type Registration =
  | { readonly kind: 'ok'; readonly registered: Registered }
  | { readonly kind: 'bad'; readonly problems: readonly Problem[] };

export class Definitions {
  readonly #store: Store;
  readonly #now: () => number;
  /** By hash of the text, least recently used first. */
  readonly #byText = new Map<string, Registered>();
  readonly #byHash = new Map<string, Registered>();
  /** Name to hashes, in the order of registration. */
  readonly #byName = new Map<string, string[]>();

  private constructor(store: Store, now: () => number) {
    this.#store = store;
    this.#now = now;
  }

  /** Reads what the store holds. */
  static async open(store: Store, now: () => number): Promise<Definitions> {
    const definitions = new Definitions(store, now);
    for await (const stored of store.definitions()) {
      const compiled = compile(stored.yaml);
      if (compiled.kind === 'ok') definitions.#add({ graph: compiled.graph, stored, existed: true });
    }
    return definitions;
  }

  /** Checks a text and keeps it. */
  async register(yaml: string): Promise<Registration> {
    const textHash = createHash('sha256').update(yaml).digest('base64');
    const known = this.#byText.get(textHash);
    if (known !== undefined) {
      this.#byText.delete(textHash);
      this.#byText.set(textHash, known);
      return { kind: 'ok', registered: known };
    }
    const compiled = compile(yaml);
    if (compiled.kind === 'bad') return compiled;
    const { graph } = compiled;
    let registered = this.#byHash.get(graph.hash);
    if (registered === undefined) {
      const stored = await this.#store.putDefinition({ hash: graph.hash, name: graph.name, yaml, registeredAt: this.#now() });
      // Another call with the same content may have been faster.
      registered = this.#byHash.get(graph.hash) ?? { graph, stored, existed: false };
      this.#add({ ...registered, existed: true });
    }
    this.#byText.set(textHash, { ...registered, existed: true });
    if (this.#byText.size > limits.compiledDefinitions) this.#byText.delete(this.#byText.keys().next().value!);
    return { kind: 'ok', registered };
  }

  byHash(hash: string): Registered | undefined {
    return this.#byHash.get(hash);
  }

  /** The definition of this name that was registered last. */
  latest(name: string): Registered | undefined {
    const hash = this.#byName.get(name)?.at(-1);
    return hash === undefined ? undefined : this.#byHash.get(hash);
  }

  /** Definitions by name, newest first within a name; only those of `name` unless it is empty; those after the hash `after`. */
  list(name: string, after: string, limit: number): Registered[] {
    const names = name === '' ? [...this.#byName.keys()].sort() : [name];
    const hashes = names.flatMap((each) => [...(this.#byName.get(each) ?? [])].reverse());
    const start = after === '' ? 0 : hashes.indexOf(after) + 1;
    return hashes.slice(start, start + limit).map((hash) => this.#byHash.get(hash)!);
  }

  #add(registered: Registered): void {
    const { hash, name } = registered.stored;
    if (this.#byHash.has(hash)) return;
    this.#byHash.set(hash, registered);
    this.#byName.set(name, [...(this.#byName.get(name) ?? []), hash]);
  }
}
