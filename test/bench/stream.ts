/**
 * How many jobs go through one worker connection: both real ends over loopback in a process each, no-op handlers, a shard that gives and acks at once.
 * Prints jobs per second and CPU per job of each side.
 *
 *   node --conditions=workflow-orchestrator test/bench/stream.ts [seconds] [slots] [payload bytes]
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { create } from '@bufbuild/protobuf';
import { AssignmentSchema, Durability, PayloadSchema, type Result, ResultAck_Verdict, ResultAckSchema } from '@workflow-orchestrator/proto';
import { createWorker } from '@workflow-orchestrator/worker';
import { createGateway } from '../../coordinator/gateway/gateway.ts';
import type { WorkerInbox, WorkerOutbox } from '../../coordinator/gateway/port.ts';

const [seconds = 5, slots = 1000, payloadBytes = 200] = process.argv.slice(2).map(Number);

/** Gives as many jobs as there is credit, for ever. */
class EndlessShard implements WorkerInbox {
  outbox: WorkerOutbox | null = null;
  resultCount = 0;
  frames = 0;
  #next = 0;
  readonly #payload = create(PayloadSchema, { data: new TextEncoder().encode(JSON.stringify('x'.repeat(payloadBytes - 2))) });
  attach(_worker: unknown, outbox: WorkerOutbox): void {
    this.outbox = outbox;
    outbox.welcome([]);
  }
  capacity(_workerId: string, _sessionId: string, available: number, open: boolean): void {
    if (!open || available === 0) return;
    const assignments = Array.from({ length: available }, () => {
      this.#next += 1;
      return create(AssignmentSchema, {
        leaseToken: `1.${this.#next}.8c9af0b2c4d5e6f7`,
        workflowId: '01JDEXAMPLEULIDXXXXXXXXXXX',
        workflowName: 'bench',
        jobId: 'job',
        type: 'noop',
        attempt: 1,
        maxAttempts: 1,
        parameters: this.#payload,
        inputs: [{ jobId: '', payload: this.#payload }],
        idempotencyKey: '01JDEXAMPLEULIDXXXXXXXXXXX/job/0',
        fencingToken: BigInt(this.#next),
      });
    });
    this.outbox?.assign(assignments);
  }
  results(_workerId: string, _sessionId: string, results: readonly Result[]): void {
    this.resultCount += results.length;
    this.frames += 1;
    const verdict = ResultAck_Verdict.ACCEPTED;
    this.outbox?.ack(results.map(({ leaseToken }) => create(ResultAckSchema, { leaseToken, verdict, durability: Durability.VOLATILE })));
  }
  replies(): void {}
  beats(): void {}
  detach(): void {}
  lost(): void {}
}

async function coordinator(): Promise<void> {
  const shard = new EndlessShard();
  const gateway = createGateway({
    inbox: shard,
    coordinatorId: 'bench',
    authenticate: () => true,
    log: { info() {}, warn: console.error },
    onLogLines() {},
  });
  const server = createServer();
  server.on('upgrade', (request, socket, head) => gateway.handleUpgrade(request, socket, head));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const child = fork(import.meta.filename, process.argv.slice(2), {
    env: { ...process.env, BENCH_WORKER_URL: `http://127.0.0.1:${port}` },
    execArgv: ['--conditions=workflow-orchestrator'],
  });
  while (shard.resultCount === 0) await new Promise((resolve) => setTimeout(resolve, 10));
  const cpuBefore = process.cpuUsage();
  const { resultCount: resultsBefore, frames: framesBefore } = shard;
  const startedAt = performance.now();
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  const elapsedMs = performance.now() - startedAt;
  const jobs = shard.resultCount - resultsBefore;
  const cpu = process.cpuUsage(cpuBefore);
  const all = shard.resultCount;
  child.send('stop');
  const [{ cpuMs }] = (await once(child, 'message')) as [{ cpuMs: number }];
  const line = [
    `${Math.round(jobs / (elapsedMs / 1000))} jobs/s`,
    `coordinator ${((cpu.user + cpu.system) / jobs).toFixed(1)} us CPU/job`,
    `worker ${((cpuMs * 1000) / all).toFixed(1)} us CPU/job`,
    `${(jobs / (shard.frames - framesBefore)).toFixed(0)} results/frame`,
  ];
  console.log(`${line.join(', ')} (slots ${slots}, ${payloadBytes} bytes of parameters, input and output)`);
  await gateway.close({ reason: 'done', withinMs: 0 });
  server.close();
}

if (process.env.BENCH_WORKER_URL !== undefined) {
  const worker = createWorker({ url: process.env.BENCH_WORKER_URL, id: 'bench', slots });
  worker.handle('noop', ({ input }) => input);
  await worker.start();
  const before = process.cpuUsage();
  process.on('message', async () => {
    const { user, system } = process.cpuUsage(before);
    await worker.stop({ graceMs: 0 });
    process.send?.({ cpuMs: (user + system) / 1000 }, () => process.disconnect());
  });
} else {
  await coordinator();
}
