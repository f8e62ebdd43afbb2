/**
 * One coordinator: store, shard, gateway and faces put together. The program is `main.ts`; tests start this.
 *
 * Invariants
 * 1. It serves only after the shard is recovered; it ends the faces before the shard, so that nobody waits for an answer that cannot come.
 * 2. A shard that had to stop (lost ownership, broken invariant) ends the process: nothing goes on from a memory that may be wrong.
 */
import { randomUUID } from 'node:crypto';
import type { Logger } from 'pino';
import { collectDefaultMetrics, Registry } from 'prom-client';
import { monotonicFactory } from 'ulid';
import { createAuthenticate } from './api/auth.ts';
import { createServer } from './api/server.ts';
import { definitionService } from './api/services/definition-service.ts';
import { Definitions } from './api/services/definitions.ts';
import { Logs } from './api/services/logs.ts';
import { Submissions } from './api/services/submissions.ts';
import { systemService } from './api/services/system-service.ts';
import { workerService } from './api/services/worker-service.ts';
import { workflowService } from './api/services/workflow-service.ts';
import { createGateway } from './gateway/gateway.ts';
import { gatewayMetrics, registerGauges, shardMetrics } from './metrics.ts';
import { nonces } from './nonces.ts';
import { processPorts } from './process-ports.ts';
import { Shard } from './shard/shard.ts';
import type { Store } from './store/store.ts';

/** What a coordinator is started with. */
export interface CoordinatorOptions {
  readonly store: Store;
  readonly host: string;
  readonly port: number;
  /** Null: gRPC on `port` alone. */
  readonly grpcPort: number | null;
  /** Null: anybody may call. */
  readonly token: string | null;
  readonly version: string;
  readonly log: Logger;
  /** The shard had to stop; the process must end. */
  readonly onStopped: (reason: string) => void;
}

/** A coordinator that serves. */
export interface RunningCoordinator {
  readonly id: string;
  readonly port: number;
  readonly grpcPort: number | null;
  /** Workers are told to go elsewhere, calls are given `graceMs` to end. */
  close(graceMs: number): Promise<void>;
}

/** Starts a coordinator. Rejects with one clear message when it cannot listen. */
export async function startCoordinator(options: CoordinatorOptions): Promise<RunningCoordinator> {
  const { store, log, token, version } = options;
  const coordinatorId = `c-${randomUUID().slice(0, 8)}`;
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });

  const ports = processPorts(nonces(), (reason) => {
    log.fatal({ reason }, 'the shard stopped');
    options.onStopped(reason);
  });
  const shard = await Shard.open(store, ports, shardMetrics(registry));
  const definitions = await Definitions.open(store, ports.now);
  const logs = new Logs();
  const isAllowed = createAuthenticate(token);
  const gateway = createGateway({
    inbox: shard,
    coordinatorId,
    authenticate: (given) => isAllowed(given === null ? undefined : `Bearer ${given}`) === null,
    log: { info: (message) => log.info(message), warn: (message) => log.warn(message) },
    onLogLines: (_workerId, lines) => logs.append(lines),
    metrics: gatewayMetrics(registry),
  });
  registerGauges(registry, shard, gateway);

  const newId = monotonicFactory();
  const server = createServer({
    services: [
      workflowService({ shard, submissions: new Submissions(definitions, () => newId()), logs }),
      definitionService(definitions),
      workerService(gateway),
      systemService({ version, coordinatorId, startedAt: ports.now(), shard, store, workers: () => gateway.workers().length }),
    ],
    gateway,
    host: options.host,
    port: options.port,
    ...(options.grpcPort === null ? {} : { grpcPort: options.grpcPort }),
    token,
    ready: () => {
      const tiers = store.health();
      return { ready: tiers.every(({ health }) => health !== 'DOWN'), detail: { durability: store.durability, tiers } };
    },
    metrics: registry,
    log,
    version,
  });
  const listening = await server.listen();

  return {
    id: coordinatorId,
    port: listening.port,
    grpcPort: listening.grpcPort ?? null,
    async close(graceMs) {
      await gateway.close({ reason: 'the coordinator ends', withinMs: graceMs });
      await server.close(graceMs);
      shard.stop();
      await store.close();
    },
  };
}
