/**
 * What deciding costs: workflows through `Shard` and `MemoryStore` with workers in the same process that answer at once. No sockets, no protocol.
 *
 *     node --conditions=workflow-orchestrator test/bench/shard.ts [seconds per shape]
 *
 * Prints per shape: jobs per second, CPU microseconds per job, events per commit. Figures are for comparing two versions on one quiet machine;
 * no test asserts them. `--cpu-prof` shows where the time goes.
 */
import { create } from '@bufbuild/protobuf';
import type { Graph } from '@workflow-orchestrator/engine/definition';
import { type Assignment, AssignReplySchema, PayloadSchema, ResultSchema } from '@workflow-orchestrator/proto';
import type { WorkerOutbox } from '../../coordinator/gateway/port.ts';
import { processPorts } from '../../coordinator/process-ports.ts';
import type { ShardObserver } from '../../coordinator/shard/ports.ts';
import type { Submission } from '../../coordinator/shard/requests.ts';
import { Shard } from '../../coordinator/shard/shard.ts';
import { MemoryStore } from '../../coordinator/store/memory/memory.ts';
import { graphOf, json } from '../engine-support/graphs.ts';

/** What is run, how many jobs one of it has, how many of it are open at once. */
interface Shape {
  readonly name: string;
  readonly graph: Graph;
  readonly open: number;
}

const chain = (length: number): string => Array.from({ length: length - 1 }, (_, index) => `j${index}.ok->j${index + 1}`).join(', ');
const fan = (width: number): string => Array.from({ length: width }, (_, index) => `a.ok->b${index}, b${index}.ok->z`).join(', ');
const shapes: readonly Shape[] = [
  { name: 'one job', graph: graphOf('a'), open: 2_000 },
  { name: 'chain of 10', graph: graphOf(chain(10)), open: 1_000 },
  { name: 'chain of 100', graph: graphOf(chain(100)), open: 500 },
  { name: 'fan out and in of 100', graph: graphOf(fan(100)), open: 50 },
  { name: 'fan out and in of 1000', graph: graphOf(fan(1_000)), open: 5 },
];
const WORKERS = 10;
const SLOTS = 100;
const inputs = json({ order: 4711, customer: 'somebody' });
const output = create(PayloadSchema, { data: new TextEncoder().encode('{"ok":true}') });

/** Counts commits; the rest of what a shard tells is nobody's business here. */
class CommitCount implements ShardObserver {
  commits = 0;
  events = 0;
  workflowSubmitted(): void {}
  workflowEnded(): void {}
  jobEnded(): void {}
  attemptFailed(): void {}
  jobAssigned(): void {}
  resultRefused(): void {}
  trouble(): void {}
  committed(events: number): void {
    this.commits++;
    this.events += events;
  }
}

/** A worker that accepts and ends whatever it is given in the next turn of the event loop, in one message each. */
class InstantWorker implements WorkerOutbox {
  done = 0;
  readonly #shard: Shard;
  readonly #id: string;
  #batch: Assignment[] = [];

  constructor(shard: Shard, id: string) {
    this.#shard = shard;
    this.#id = id;
    const capabilities = new Map([['work', 0]]);
    shard.attach({ workerId: id, instanceId: id, sessionId: id, labels: new Map(), capabilities, slots: SLOTS, inFlight: [] }, this);
  }

  welcome(): void {
    this.#shard.capacity(this.#id, this.#id, SLOTS, true);
  }

  assign(assignments: readonly Assignment[]): void {
    if (this.#batch.length === 0) setImmediate(() => this.#end());
    for (const assignment of assignments) this.#batch.push(assignment);
  }

  ack(): void {}
  cancel(): void {}
  revoke(): void {}

  #end(): void {
    const batch = this.#batch;
    this.#batch = [];
    this.done += batch.length;
    const replies = batch.map(({ leaseToken }) => create(AssignReplySchema, { leaseToken, accepted: true }));
    const results = batch.map(({ leaseToken, workflowId, jobId, attempt }) =>
      create(ResultSchema, { leaseToken, workflowId, jobId, attempt, outcome: { case: 'output', value: output } }),
    );
    this.#shard.replies(this.#id, this.#id, replies);
    this.#shard.results(this.#id, this.#id, results);
    this.#shard.capacity(this.#id, this.#id, SLOTS, true);
  }
}

async function run({ name, graph, open }: Shape, ms: number): Promise<void> {
  let nonces = 0;
  const counts = new CommitCount();
  const stop = (reason: string): never => {
    throw new Error(reason);
  };
  const ports = { ...processPorts(() => `nonce-${++nonces}`), stop };
  const store = new MemoryStore();
  const acquired = await store.acquire();
  if (acquired.kind !== 'acquired') throw new Error(acquired.kind);
  const shard = await Shard.open({ store, ownership: acquired.ownership, acquiredAt: ports.now(), ports, observer: counts });
  const workers = Array.from({ length: WORKERS }, (_, index) => new InstantWorker(shard, `w${index}`));
  const done = (): number => workers.reduce((sum, worker) => sum + worker.done, 0);
  let ids = 0;
  const submission = (): Submission => {
    const workflowId = `wf-${String(++ids).padStart(10, '0')}`;
    return { workflowId, graph, inputs, labels: {}, idempotencyKey: '', requestHash: '', start: true };
  };
  const serve = async (until: number): Promise<void> => {
    while (performance.now() < until) {
      const room = open - shard.stats().openWorkflows;
      if (room > 0) await shard.submit(Array.from({ length: Math.min(room, 200) }, submission));
      else await new Promise((resolve) => setImmediate(resolve));
    }
  };
  await serve(performance.now() + ms / 3);
  const before = { jobs: done(), commits: counts.commits, events: counts.events };
  const startedAt = performance.now();
  const cpu = process.cpuUsage();
  await serve(startedAt + ms);
  const { user, system } = process.cpuUsage(cpu);
  const seconds = (performance.now() - startedAt) / 1_000;
  const jobs = done() - before.jobs;
  const batch = (counts.events - before.events) / Math.max(1, counts.commits - before.commits);
  shard.stop();
  console.log(
    `${name.padEnd(24)} ${Math.round(jobs / seconds)} jobs/s  ${((user + system) / jobs).toFixed(1)} us CPU a job  ${batch.toFixed(0)} events a commit`,
  );
}

const ms = Number(process.argv[2] ?? 3) * 1_000;
const only = process.argv[3];
for (const shape of shapes) if (only === undefined || shape.name === only) await run(shape, ms);
