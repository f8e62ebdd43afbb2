/**
 * The definitions that this coordinator knows, compiled.
 *
 * Invariants
 * 1. A definition is durable before a workflow that names it is submitted.
 * 2. The same text is compiled once while it is in use; the same content has one graph, however it was written.
 * 3. A submit never changes what a name means: only registering does.
 * 4. Nothing is remembered over a `load`: the store may have lost what it had (it was emptied, a copy took over), and a definition that is known here and
 *    kept nowhere would make every workflow that names it unreadable.
 * 5. Bounded, however many texts are submitted: graphs by their jobs, registered definitions by their number. Workflows hold their own graph.
 */
import { createHash } from 'node:crypto';
import { compile, type Graph, type Problem } from '@workflow-orchestrator/engine/definition';
import { limits } from '@workflow-orchestrator/proto/limits';
import type { Store, StoredDefinition } from '../../store/store.ts';
import { answered, limitExceeded, unavailable } from './failures.ts';

/** A definition with its graph. */
export interface Known {
  readonly graph: Graph;
  readonly stored: StoredDefinition;
}

/** What became of a text. `existed`: its content was known before, or registered before when it was to be registered. */
export type Reception =
  | { readonly kind: 'ok'; readonly known: Known; readonly existed: boolean }
  | { readonly kind: 'bad'; readonly problems: readonly Problem[] };

/** What is taken on: `proto/limits.ts` says what each is. */
export type DefinitionBounds = Readonly<Record<'registeredDefinitions' | 'compiledJobs' | 'knownTexts', number>>;

export class Definitions {
  readonly #store: Store;
  readonly #now: () => number;
  readonly #bounds: DefinitionBounds;
  /** Hash of a text to the hash of its content, least recently used first. */
  readonly #texts = new Map<string, string>();
  /** By hash of the content, least recently used first. */
  readonly #compiled = new Map<string, Known>();
  readonly #registered = new Map<string, StoredDefinition>();
  /** Name to hashes, in the order of registration. */
  readonly #byName = new Map<string, Set<string>>();
  #compiledJobs = 0;
  /** How often they were read. */
  #generation = 0;

  /** Why they cannot be asked at the moment; null when they can. */
  #away: string | null;

  private constructor(store: Store, now: () => number, away: string | null, bounds: DefinitionBounds) {
    this.#store = store;
    this.#now = now;
    this.#away = away;
    this.#bounds = bounds;
  }

  /** Definitions that are not read yet: whoever asks is refused with `reason`. `bounds`: those that differ from the limits. */
  static away(store: Store, now: () => number, reason: string, bounds: Partial<DefinitionBounds> = {}): Definitions {
    return new Definitions(store, now, reason, { ...limits, ...bounds });
  }

  /** Reads what the store holds. Rejects with `StoreUnavailable`. */
  async load(): Promise<void> {
    this.#generation += 1;
    this.#texts.clear();
    this.#compiled.clear();
    this.#compiledJobs = 0;
    this.#registered.clear();
    this.#byName.clear();
    for await (const stored of this.#store.definitions()) this.#list(stored);
    this.#away = null;
  }

  /** From now on another coordinator may register; whoever asks is refused with `reason`. */
  vacate(reason: string): void {
    this.#away = reason;
  }

  /** Checks a text that is submitted, and makes it durable. */
  async submitted(yaml: string): Promise<Reception> {
    this.#expectHere();
    const textHash = createHash('sha256').update(yaml).digest('base64');
    const hash = this.#texts.get(textHash);
    const known = hash === undefined ? undefined : this.byHash(hash);
    if (known !== undefined) return { kind: 'ok', known, existed: true };
    const compiled = compile(yaml);
    if (compiled.kind === 'bad') return compiled;
    const { graph } = compiled;
    const before = this.byHash(graph.hash);
    const stored = before?.stored ?? (await this.#put({ hash: graph.hash, name: graph.name, yaml, registeredAt: 0 }));
    // Another call with the same content may have been faster.
    const kept = this.byHash(graph.hash) ?? this.#keep({ graph, stored });
    this.#texts.set(textHash, graph.hash);
    if (this.#texts.size > this.#bounds.knownTexts) this.#texts.delete(this.#texts.keys().next().value!);
    return { kind: 'ok', known: kept, existed: before !== undefined };
  }

  /** Checks a text, makes it durable, and makes it the latest of its name. Throws ConnectError when there are too many. */
  async register(yaml: string): Promise<Reception> {
    const received = await this.submitted(yaml);
    if (received.kind === 'bad') return received;
    const { graph, stored } = received.known;
    const existed = this.#registered.has(graph.hash);
    const max = this.#bounds.registeredDefinitions;
    if (!existed && this.#registered.size >= max) throw limitExceeded('registeredDefinitions', max, 'too many definitions are registered');
    const registered = await this.#put({ ...stored, registeredAt: this.#now() });
    this.#list(registered);
    return { kind: 'ok', known: this.#keep({ graph, stored: registered }), existed };
  }

  byHash(hash: string): Known | undefined {
    const known = this.#compiled.get(hash);
    if (known !== undefined) return this.#keep(known);
    const stored = this.#registered.get(hash);
    if (stored === undefined) return undefined;
    const compiled = compile(stored.yaml);
    return compiled.kind === 'ok' ? this.#keep({ graph: compiled.graph, stored }) : undefined;
  }

  /** One that is in memory, is registered, or was submitted at any time and is kept. Throws ConnectError when the store does not answer. */
  async find(hash: string): Promise<Known | undefined> {
    this.#expectHere();
    const known = this.byHash(hash);
    if (known !== undefined) return known;
    const generation = this.#generation;
    const stored = (await answered(this.#store.definitionsByHash([hash]))).get(hash);
    if (stored === undefined) return undefined;
    const compiled = compile(stored.yaml);
    if (compiled.kind === 'bad') return undefined;
    const found = { graph: compiled.graph, stored };
    return generation === this.#generation ? this.#keep(found) : found;
  }

  /** The definition of this name that was registered last. */
  latest(name: string): Known | undefined {
    this.#expectHere();
    const hash = [...(this.#byName.get(name) ?? [])].at(-1);
    return hash === undefined ? undefined : this.byHash(hash);
  }

  /** Registered definitions by name, newest first within a name; only those of `name` unless it is empty; those after the hash `after`. */
  list(name: string, after: string, limit: number): Known[] {
    this.#expectHere();
    const names = name === '' ? [...this.#byName.keys()].sort() : [name];
    const hashes = names.flatMap((each) => [...(this.#byName.get(each) ?? [])].reverse());
    const start = after === '' ? 0 : hashes.indexOf(after) + 1;
    return hashes.slice(start, start + limit).flatMap((hash) => this.byHash(hash) ?? []);
  }

  async #put(definition: StoredDefinition): Promise<StoredDefinition> {
    const generation = this.#generation;
    const kept = await answered(this.#store.putDefinition(definition));
    if (generation !== this.#generation) throw unavailable('STANDBY', 'the shard was taken anew while the definition was stored');
    return kept;
  }

  #expectHere(): void {
    if (this.#away !== null) throw unavailable('STANDBY', this.#away);
  }

  #list(stored: StoredDefinition): void {
    const { hash, name } = stored;
    this.#registered.set(hash, stored);
    const hashes = this.#byName.get(name) ?? new Set();
    this.#byName.set(name, hashes);
    hashes.delete(hash);
    hashes.add(hash);
  }

  /** Keeps a graph as the one used last, and lets the least recently used ones go. */
  #keep(known: Known): Known {
    const { hash } = known.stored;
    if (!this.#compiled.delete(hash)) this.#compiledJobs += known.graph.jobs.length;
    this.#compiled.set(hash, known);
    for (const [oldest, { graph }] of this.#compiled) {
      if (this.#compiledJobs <= this.#bounds.compiledJobs || oldest === hash) break;
      this.#compiled.delete(oldest);
      this.#compiledJobs -= graph.jobs.length;
    }
    return known;
  }
}
