/**
 * One run: a plan is played under virtual time, then the faults stop and everything must end, then all checkers look at what is left.
 */
import { createHash } from 'node:crypto';
import type { Graph } from '@workflow-orchestrator/engine/definition';
import type { DurableEvent, WorkflowState } from '@workflow-orchestrator/engine/machine';
import { type FoundWorkflow, foldHistory, readShard } from '../../coordinator/shard/recovery.ts';
import { fromMessage, toMessage } from '../../coordinator/store/codec.ts';
import type { JournalEntry, LoadedPart, Store } from '../../coordinator/store/store.ts';
import { check, type Violation } from '../checkers/checkers.ts';
import type { Evidence } from '../checkers/evidence.ts';
import { HistoryWriter, printHistory } from '../checkers/history.ts';
import { fold } from '../engine-support/snapshots.ts';
import { asTheyAre, throughBytes } from './bytes.ts';
import { Chance } from './chance.ts';
import { type Known, SimClient } from './client.ts';
import { Clock } from './clock.ts';
import { SimCoordinator } from './coordinator.ts';
import { Database } from './database.ts';
import { type Cast, happen, heal } from './faults.ts';
import { SimLiveView } from './live-view.ts';
import { behaviour, calm, graphsOf, isFaultless, liveViews, losesData, type Plan, type Rates } from './plan.ts';
import { Surroundings } from './surroundings.ts';
import { SimWorker } from './worker.ts';

/** How a run is run. */
export interface RunOptions {
  /** Told what happens, for people. */
  readonly trace?: (line: string) => void;
  /** Whether the same seed is run with another live view, and again, and must end the same. */
  readonly isCompared?: boolean;
}

/** What became of a run. */
export interface RunResult {
  readonly violations: readonly Violation[];
  readonly states: ReadonlyMap<string, number>;
  /** A hash of everything that was seen: the same for the same plan. */
  readonly hash: () => string;
  readonly steps: number;
  readonly virtualMs: number;
  readonly workflows: number;
}

/** Most time, after the faults stopped, until everything has ended. */
const HEAL_MS = 600_000;
/** Time after that in which everything goes back to its baseline. */
const SETTLE_MS = 15_000;
/** A database that lost what it had acknowledged: what was told may be lost, but no two histories may mix. */
const CHECKED_WHEN_LOST = ['I0', 'I4', 'I6', 'I8', 'I9', 'I12', 'I14', 'I20'];

/** Plays a plan. */
export async function run(plan: Plan, { trace, isCompared = false }: RunOptions = {}): Promise<RunResult> {
  const one = new Run(plan, trace ?? null);
  await one.play();
  if (!isCompared) return one.judge(new Map());
  const endings = new Map([[plan.liveView, one.ending()]]);
  const ofOthers: Violation[] = [];
  for (const liveView of liveViews) {
    if (liveView === plan.liveView) continue;
    const other = new Run({ ...plan, liveView }, null);
    await other.play();
    endings.set(liveView, other.ending());
    const { violations } = await other.judge(new Map());
    for (const { invariant, message } of violations) ofOthers.push({ invariant, message: `with the live view '${liveView}': ${message}` });
  }
  const result = await one.judge(endings);
  return { ...result, violations: [...result.violations, ...ofOthers] };
}

class Run {
  readonly #plan: Plan;
  readonly #world: Surroundings;
  readonly #cast: Cast;
  readonly #history = new HistoryWriter();
  readonly #known: Known = { ids: [] };
  /** Workflows of the journal that have not ended. */
  readonly #open = new Set<string>();
  /** Digests of the states that readers were shown in the end. */
  readonly #shown = new Map<string, string>();

  constructor(plan: Plan, trace: ((line: string) => void) | null) {
    const clock = new Clock();
    const chance = new Chance(plan.seed);
    this.#plan = plan;
    const world = new Surroundings(plan, clock, chance, this.#history, trace);
    this.#world = world;
    const database = new Database(clock, chance.of('database'), plan.rates);
    const liveView = plan.liveView === 'none' ? null : new SimLiveView(world, plan.liveView);
    const graphs: readonly Graph[] = graphsOf(plan);
    const numbered = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1);
    const written = plan.seed % 4 === 1 ? throughBytes(graphs) : asTheyAre;
    const coordinators = numbered(plan.coordinators).map((number) => new SimCoordinator(`c${number}`, world, database, liveView, written));
    const workers = plan.workers.map((worker, index) => new SimWorker(`w${index + 1}`, world, worker, coordinators));
    const clients = numbered(plan.clients).map((number) => new SimClient(`client${number}`, world, coordinators, graphs, this.#known));
    this.#cast = { coordinators, workers, clients, database, liveView };
    world.isActive = (process) => coordinators.some(({ isActive, node }) => isActive && !node.isPaused && node.process === process);
    database.reached = (state) => world.reached(state);
    this.#followCommits(database);
  }

  /** Plays it to its end. */
  async play(): Promise<void> {
    const { clock } = this.#world;
    const { coordinators, workers, clients, database } = this.#cast;
    for (const { node } of coordinators) node.lagMs = 0;
    for (const coordinator of coordinators) coordinator.start();
    for (const worker of workers) worker.start();
    for (const action of this.#plan.actions) clock.after(action.at, () => clients[action.client].act(action));
    for (const fault of this.#plan.faults) clock.after(fault.at, () => happen(this.#world, this.#cast, fault));
    if (losesData(this.#plan)) this.#copyDatabase(database);
    await clock.run(() => false, this.#plan.faultyMs);
    this.#world.tell('the faults stop');
    heal(this.#world, this.#cast);
    const gentle: Rates = { ...calm, ...Object.fromEntries(behaviour.map((name) => [name, this.#plan.rates[name]])) };
    this.#world.rates = gentle;
    database.rates = gentle;
    this.#nudge();
    const hasHealed = await clock.run(() => this.#undone() === null, HEAL_MS);
    if (!hasHealed) this.#violated('I5', `${HEAL_MS / 1_000} s after the faults stopped ${this.#undone()}`);
    await clock.run(() => false, SETTLE_MS);
    if (hasHealed) await this.#readAll();
    // A heartbeat may just be on its way.
    await clock.run(() => Object.values(this.#leftovers()).every((count) => count === 0), 1_000);
  }

  /** What all checkers say. */
  async judge(endings: ReadonlyMap<string, string>): Promise<RunResult> {
    const { database } = this.#cast;
    const { clock, violations, states } = this.#world;
    const evidence: Evidence = {
      history: this.#history.events,
      journal: database.audit,
      isFaultless: isFaultless(this.#plan),
      isHealed: true,
      digests: await this.#digests(),
      digestOf: (events) => digestOf(events),
      endings,
      leftovers: this.#leftovers(),
    };
    const found = check(evidence, losesData(this.#plan) ? CHECKED_WHEN_LOST : undefined);
    return {
      violations: [...violations, ...found],
      states,
      hash: () => createHash('sha256').update(printHistory(this.#history.events)).digest('hex').slice(0, 16),
      steps: clock.steps,
      virtualMs: clock.now,
      workflows: this.#known.ids.length,
    };
  }

  #followCommits(database: Database): void {
    const node = { name: 'db', incarnation: 1, skewMs: 0 };
    database.onWentBack = () => {
      this.#open.clear();
      for (const { entries } of database.audit) this.#count(entries);
      this.#world.record(node, { op: 0, f: 'went back', type: 'ok' });
    };
    database.onCommit = ({ entries, lastSeq, epoch, term }) => {
      this.#count(entries);
      const last = Object.fromEntries(
        entries.map(({ workflowId, firstEventSeq, events }) => [workflowId, firstEventSeq + events.length - 1]),
      );
      this.#world.record(node, { op: 0, f: 'commit', type: 'ok', epoch, term, seq: lastSeq, value: { last } });
    };
  }

  #count(entries: readonly JournalEntry[]): void {
    for (const { workflowId, events } of entries) {
      for (const { kind } of events) {
        if (kind === 'submitted') this.#open.add(workflowId);
        else if (kind === 'ended') this.#open.delete(workflowId);
      }
    }
  }

  #copyDatabase(database: Database): void {
    database.copy();
    this.#world.clock.after(700, () => {
      if (!this.#world.isHealing) this.#copyDatabase(database);
    });
  }

  /** Somebody looks after workflows that wait for a person, until there are none. */
  #nudge(): void {
    const { clients } = this.#cast;
    void clients[0].nudge().then(() => {
      if (this.#undone() !== null) clients[0].node.after(2_000, () => this.#nudge());
    });
  }

  /** What has not come to its end, in words; null when all has. */
  #undone(): string | null {
    const { clients, workers, coordinators } = this.#cast;
    const { requestsUnderWay } = this.#world;
    if (requestsUnderWay > 0) return `${requestsUnderWay} requests are under way`;
    const calls = coordinators.find(({ openCalls }) => openCalls > 0);
    if (calls !== undefined) return `${calls.node.name} has open calls`;
    if (this.#open.size > 0) return `${this.#open.size} workflows are open`;
    const client = clients.find(({ busy }) => busy > 0);
    if (client !== undefined) return `${client.node.name} waits for an answer`;
    const worker = workers.find(({ holds }) => holds > 0);
    if (worker !== undefined) return `${worker.node.name} has attempts, or results that nobody took`;
    return coordinators.some(({ isActive }) => isActive) ? null : 'nobody has the shard';
  }

  /** Every workflow that was acknowledged is read once more, and must be answered. */
  async #readAll(): Promise<void> {
    const [client] = this.#cast.clients;
    const left = new Set(this.#known.ids);
    for (const id of this.#known.ids) {
      void client.read(id).then((answer) => {
        if (answer === null) return;
        left.delete(id);
        if (answer !== 'not found') this.#shown.set(id, stateDigestOf(answer.state));
      });
    }
    await this.#world.clock.run(() => left.size === 0, 60_000);
    for (const id of left) this.#violated('I16', `the read of ${id} after everything had healed was not answered`);
  }

  #violated(invariant: string, message: string): void {
    this.#world.violations.push({ invariant, message });
  }

  /** By each way in which workflows are read, their digests. */
  async #digests(): Promise<ReadonlyMap<string, ReadonlyMap<string, string>>> {
    const { database } = this.#cast;
    const digests = new Map<string, ReadonlyMap<string, string>>();
    const parts: LoadedPart[] = [
      { kind: 'place', seq: database.checkpointSeq },
      { kind: 'checkpoint', entries: [...database.checkpoints.values()] },
      ...database.batches.map((batch): LoadedPart => ({ kind: 'batch', batch })),
    ];
    const store = {
      load: async function* () {
        yield* parts;
      },
    } as unknown as Store;
    try {
      const { workflows } = await readShard(store, { epoch: 0, termId: '', lastSeq: database.shard.lastSeq });
      setBoth(digests, 'checkpoint and tail', workflows);
    } catch (error) {
      this.#violated('I0', (error as Error).message);
    }
    const ended = [...database.archive].filter(([, { hasEnded }]) => hasEnded);
    if (this.#plan.hasArchive)
      setBoth(
        digests,
        'archive',
        ended.map(([workflowId, { events }]) => foldHistory({ workflowId, firstEventSeq: 1, events })),
      );
    digests.set('a reader', this.#shown);
    if (this.#plan.seed % 8 === 0) digests.set('codec', this.#decoded());
    return digests;
  }

  #decoded(): ReadonlyMap<string, string> {
    const events = new Map<string, DurableEvent[]>();
    const graphs = new Map(graphsOf(this.#plan).map((graph) => [graph.hash, graph]));
    for (const { entries } of this.#cast.database.audit) {
      for (const { workflowId, events: added } of entries) {
        const decoded = added.map((event) => fromMessage(toMessage(event, 0), (hash) => graphs.get(hash)!));
        events.set(workflowId, [...(events.get(workflowId) ?? []), ...decoded]);
      }
    }
    return new Map([...events].map(([id, decoded]) => [id, digestOf(decoded)]));
  }

  #leftovers(): Record<string, number> {
    const { coordinators, workers, database } = this.#cast;
    const left: Record<string, number> = {};
    for (const coordinator of coordinators)
      for (const [what, count] of Object.entries(coordinator.holds())) left[`${what} of ${coordinator.node.name}`] = count;
    for (const worker of workers) left[`attempts of ${worker.node.name}`] = worker.holds;
    left['workflows archived as open'] = [...database.archive.values()].filter(({ hasEnded }) => !hasEnded).length;
    left['rows that are locked'] = database.shardLock.queue.length + database.checkpointLock.queue.length;
    return left;
  }

  /** The journal that it ended in. */
  ending(): string {
    const { audit } = this.#cast.database;
    return audit
      .map(
        ({ firstSeq, epoch, entries }) =>
          `${firstSeq} ${epoch} ${entries.map(({ workflowId, events }) => `${workflowId} ${events.map(({ kind, at }) => `${kind} ${at}`)}`)}`,
      )
      .join('\n');
  }
}

/** Of workflows that were read, what a recovery would go on from, and what the events that it would show say. */
function setBoth(digests: Map<string, ReadonlyMap<string, string>>, how: string, workflows: readonly FoundWorkflow[]): void {
  digests.set(how, new Map(workflows.map(({ state }) => [state.id, stateDigestOf(state)])));
  digests.set(`events of ${how}`, new Map(workflows.map(({ state, events }) => [state.id, digestOf(events.all())])));
}

/** A digest of the state that events lead to. */
function digestOf(events: readonly DurableEvent[]): string {
  return stateDigestOf(fold(events));
}

/** A digest of a state, without what is volatile and the graph. */
function stateDigestOf(state: WorkflowState): string {
  const text = JSON.stringify(state, (key, value: unknown) => {
    if (key === 'graph' || key === 'lease' || key === 'recoveredAt' || key === 'lostOffers') return undefined;
    return value instanceof Uint8Array ? Buffer.from(value).toString('latin1') : value;
  });
  return createHash('sha1').update(text).digest('hex');
}
