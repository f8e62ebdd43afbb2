/**
 * A shard with its surroundings under control: clock, turns, store, workers, clients. Whatever leaves the shard is held against the journal.
 *
 * Checked with every effect (`violations` has what was found)
 * 1. Nothing is seen outside before it is committed: replies, assignments, acks, watched events.
 * 2. A job is assigned only after it and the outcomes of its sources are committed.
 * 3. After a cancel that was acknowledged nothing is assigned but clean-up, after one with force nothing at all.
 * 4. Those who watch see every event once, in order.
 */
import type { Graph, Json } from '@workflow-orchestrator/engine/definition';
import { hasEnded, type WorkflowState } from '@workflow-orchestrator/engine/machine';
import { type Assignment, type Result, type ResultAck, ResultAck_Verdict } from '@workflow-orchestrator/proto';
import type { ClientCommand, CommandReply, Submission, SubmitReply } from '../../coordinator/shard/requests.ts';
import { Shard, type ShardBounds } from '../../coordinator/shard/shard.ts';
import type { Watcher } from '../../coordinator/shard/workflow-table.ts';
import { json } from '../engine-support/graphs.ts';
import { HeldStore } from './held-store.ts';
import { MemoryArchive } from './memory-archive.ts';
import { Counts, VirtualPorts } from './ports.ts';
import { nameOf, WorkerDouble, type WorkerSkills } from './worker-double.ts';

/** How a world begins. */
export interface WorldOptions {
  readonly store?: HeldStore;
  readonly bounds?: Partial<ShardBounds>;
  readonly hasArchive?: boolean;
  readonly time?: number;
}

export class ShardWorld {
  readonly store: HeldStore;
  readonly archive = new MemoryArchive();
  ports: VirtualPorts;
  counts = new Counts();
  readonly workers: WorkerDouble[] = [];
  /** Ids of the workflows that were submitted. */
  readonly ids: string[] = [];
  readonly violations: string[] = [];
  /** When the last recovery was; 0 when there was none. */
  recoveredAt = 0;
  /** Workflows of which a cancel was acknowledged, and whether it was forced. */
  readonly #cancelled = new Map<string, boolean>();
  readonly #bounds: Partial<ShardBounds>;
  #shard: Shard | null = null;

  private constructor({ store = new HeldStore(), bounds = {}, hasArchive = false, time }: WorldOptions) {
    this.store = store;
    if (hasArchive) store.archive = this.archive;
    this.#bounds = bounds;
    this.ports = new VirtualPorts(time);
  }

  static async open(options: WorldOptions = {}): Promise<ShardWorld> {
    const world = new ShardWorld(options);
    await world.#open();
    return world;
  }

  get shard(): Shard {
    if (this.#shard === null) throw new Error('the shard is not open');
    return this.#shard;
  }

  get now(): number {
    return this.ports.time;
  }

  /** The coordinator dies, and another reads its journal `downMs` later. Workers have lost their connections. */
  async recover(downMs = 0): Promise<void> {
    this.#shard?.stop();
    for (const worker of this.workers) worker.abandon();
    this.ports = new VirtualPorts(this.ports.time + downMs);
    this.recoveredAt = this.now;
    this.counts = new Counts();
    await this.#open();
    await this.settle();
  }

  /** A worker that is connected, with all its slots granted. */
  worker(id: string, skills: WorkerSkills = {}): WorkerDouble {
    const worker = new WorkerDouble(
      id,
      {
        inbox: () => this.shard,
        now: () => this.now,
        onAssigned: (_, assignment) => this.#checkAssigned(assignment),
        onAcked: (_, ack, result) => this.#checkAcked(ack, result),
        violation: (message) => this.violations.push(message),
      },
      skills,
    );
    this.workers.push(worker);
    worker.attach();
    return worker;
  }

  /** Lets everything happen that needs no time and no commit that is held. */
  async settle(): Promise<void> {
    do {
      this.ports.run();
      // Commits and replies are promises: all of them get their turn.
      for (let i = 0; i < 8; i++) await null;
    } while (this.ports.isBusy);
  }

  async advance(ms: number): Promise<void> {
    this.ports.advance(ms);
    await this.settle();
  }

  /** Submits; the reply comes when it is committed. */
  async submit(graph: Graph, over: Partial<Submission> & { readonly input?: Json } = {}): Promise<SubmitReply> {
    const { input = {}, ...rest } = over;
    const workflowId = `wf-${String(this.ids.length + 1).padStart(6, '0')}`;
    this.ids.push(workflowId);
    const submission = { workflowId, graph, inputs: json(input), labels: {}, idempotencyKey: '', requestHash: '', start: true, ...rest };
    const [reply] = await this.shard.submit([submission]);
    if (reply.kind === 'accepted') this.#checkShown('a reply', reply.state);
    return reply;
  }

  /** Submits, started, and lets it begin. The id. */
  async start(graph: Graph, over: Partial<Submission> = {}): Promise<string> {
    const reply = this.submit(graph, over);
    const id = this.ids.at(-1) ?? '';
    await this.settle();
    if (!this.store.closed) await reply;
    return id;
  }

  async command(id: string, command: ClientCommand): Promise<CommandReply> {
    const reply = await this.shard.command(id, command);
    if (reply.kind !== 'not-found') this.#checkShown(`a reply to ${command.kind}`, reply.state);
    if (command.kind === 'cancel' && reply.kind === 'done') this.#cancelled.set(id, command.force || this.#cancelled.get(id) === true);
    return reply;
  }

  /** Steers, and waits for what follows. */
  async steer(id: string, command: ClientCommand): Promise<CommandReply> {
    const reply = this.command(id, command);
    await this.settle();
    return await reply;
  }

  /** The state as the shard has it at this moment, committed or not. */
  state(id: string): WorkflowState {
    const watch = this.shard.watch(id, Number.MAX_SAFE_INTEGER, { event: () => {}, live: () => {} });
    if (watch === null) throw new Error(`no workflow ${id}`);
    watch.stop();
    return watch.record.state;
  }

  /** Every open workflow that the shard has. */
  openStates(): WorkflowState[] {
    const states = this.ids.filter((id) => this.has(id)).map((id) => this.state(id));
    return states.filter((state) => !hasEnded(state.status));
  }

  /** Whether the shard has it. */
  has(id: string): boolean {
    const watch = this.shard.watch(id, Number.MAX_SAFE_INTEGER, { event: () => {}, live: () => {} });
    watch?.stop();
    return watch !== null;
  }

  /** Reads a workflow as clients do. */
  async read(id: string): Promise<WorkflowState | null> {
    const state = await this.shard.query((table) => table.get(id)?.state ?? null);
    if (state !== null) this.#checkShown('a read', state);
    return state;
  }

  /** Follows a workflow; what is seen is held against the journal. */
  watch(id: string, afterSeq: number, watcher: Partial<Watcher> = {}): (() => void) | null {
    let last = afterSeq;
    const watch = this.shard.watch(id, afterSeq, {
      event: (seq, event) => {
        if (seq !== last + 1) this.violations.push(`a watcher of ${id} was shown event ${seq} after ${last}`);
        if (this.store.eventsOf(id).length < seq) this.violations.push(`a watcher of ${id} was shown event ${seq} before its commit`);
        last = seq;
        watcher.event?.(seq, event);
      },
      live: (job, state, at) => watcher.live?.(job, state, at),
    });
    return watch === null ? null : watch.stop;
  }

  async #open(): Promise<void> {
    const { store, ports, counts: observer } = this;
    const acquired = await store.acquire();
    if (acquired.kind !== 'acquired') throw new Error(`the shard is ${acquired.kind}`);
    const { ownership } = acquired;
    this.#shard = await Shard.open({ store, ownership, acquiredAt: this.now, ports, observer, bounds: this.#bounds });
  }

  #checkShown(what: string, state: WorkflowState): void {
    const committed = this.store.eventsOf(state.id).length;
    if (committed < state.seq) this.violations.push(`${what} shows event ${state.seq} of ${state.id} when ${committed} are committed`);
  }

  #checkAssigned({ workflowId, jobId, leaseToken }: Assignment): void {
    const { graph } = this.state(workflowId);
    const job = graph.jobs[graph.indexOf.get(jobId) ?? -1];
    const isForced = this.#cancelled.get(workflowId);
    if (isForced === true || (isForced === false && !job.alwaysRun))
      this.violations.push(`${leaseToken}: ${jobId} was assigned after a cancel`);
    const committed = this.store.eventsOf(workflowId);
    const happened = (kinds: readonly string[], index: number): boolean => {
      return committed.some((event) => kinds.includes(event.kind) && 'job' in event && event.job === index);
    };
    if (!happened(['jobReady'], job.index)) this.violations.push(`${leaseToken}: ${jobId} was assigned before its READY was committed`);
    const early = job.inEdges.filter(({ source }) => !happened(['jobSucceeded', 'jobFailed', 'jobSkipped', 'jobCancelled'], source));
    // Such a job may run at the first taken edge; the others are not waited for.
    const runsEarly = job.join === 'any' || job.inEdges.every((edge) => edge.kind === 'failure');
    if (early.length > (runsEarly ? Math.max(0, job.inEdges.length - 1) : 0))
      this.violations.push(`${leaseToken}: ${jobId} was assigned before the outcomes of its sources were committed`);
  }

  #checkAcked({ leaseToken, verdict }: ResultAck, result: Result | undefined): void {
    if (result === undefined || !this.has(result.workflowId)) return;
    const committed = this.store.eventsOf(result.workflowId);
    const isRecorded = committed.some((event) => 'attempt' in event && event.attempt?.token === leaseToken);
    const isGivenBack = result.outcome.case === 'released';
    if ((verdict === ResultAck_Verdict.ACCEPTED || verdict === ResultAck_Verdict.DUPLICATE) && !isRecorded && !isGivenBack)
      this.violations.push(`${leaseToken} was acked ${nameOf(ResultAck_Verdict, verdict)} and is not in the journal`);
    if (verdict === ResultAck_Verdict.WORKFLOW_ENDED && committed.at(-1)?.kind !== 'ended')
      this.violations.push(`${leaseToken} was acked WORKFLOW_ENDED before that was committed`);
  }
}
