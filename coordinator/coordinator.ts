/**
 * One coordinator: store, shard, gateway and faces put together. The program is `main.ts`; tests start this.
 *
 * Invariants
 * 1. It listens first and serves when it has the shard; while it has not, it answers whoever calls, and says why and who has.
 * 2. It ends the worker streams and the shard before the faces: nobody is promised anything that cannot come, and whoever calls meanwhile is told to go elsewhere.
 * 3. A broken invariant ends the process: nothing goes on from a memory that may be wrong.
 */
import { randomUUID } from 'node:crypto';
import { Durability } from '@workflow-orchestrator/proto';
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
import { createGateway, type Gateway } from './gateway/gateway.ts';
import { GatewaySeat } from './gateway/seat.ts';
import { gatewayMetrics, registerGauges, registerTiers, shardMetrics } from './metrics.ts';
import { fractions, nonces } from './nonces.ts';
import { announcePresence } from './presence.ts';
import { processPorts } from './process-ports.ts';
import { ShardSeat } from './shard/seat.ts';
import type { Shard } from './shard/shard.ts';
import type { Store } from './store/store.ts';
import { type Role, Terms } from './terms.ts';

/** What a coordinator is started with. */
export interface CoordinatorOptions {
  readonly store: Store;
  readonly host: string;
  readonly port: number;
  /** Null: gRPC on `port` alone. */
  readonly grpcPort: number | null;
  /** Where clients and workers reach this coordinator, as others are told; null: the address that it listens on. */
  readonly advertiseUrl: string | null;
  /** Null: anybody may call. */
  readonly token: string | null;
  /** Origins of web pages that may call, besides the coordinator's own. */
  readonly corsOrigins?: readonly string[];
  readonly version: string;
  readonly log: Logger;
  /** It cannot go on; the process must end. */
  readonly onStopped: (reason: string) => void;
}

/** A coordinator that serves. */
export interface RunningCoordinator {
  readonly id: string;
  readonly port: number;
  readonly grpcPort: number | null;
  readonly role: () => Role;
  /** Workers are told to go elsewhere, calls are given `graceMs` to end. */
  close(graceMs: number): Promise<void>;
}

/** Starts a coordinator: it listens, and is the active one or stands by. Rejects with one clear message when it cannot listen. */
export async function startCoordinator(options: CoordinatorOptions): Promise<RunningCoordinator> {
  const { store, log, token, version } = options;
  const coordinatorId = `c-${randomUUID().slice(0, 8)}`;
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });

  const ports = processPorts(nonces());
  const starting = 'this coordinator is starting';
  const seat = new ShardSeat(Durability[store.durability], ports.now, starting);
  const gatewaySeat = new GatewaySeat(starting);
  const definitions = Definitions.away(store, ports.now, starting);
  const logs = new Logs();
  const isAllowed = createAuthenticate(token);
  const gatewayMetricsOf = gatewayMetrics(registry);
  const gatewayOf = (shard: Shard): Gateway =>
    createGateway({
      inbox: shard,
      coordinatorId,
      authenticate: (given) => isAllowed(given === null ? undefined : `Bearer ${given}`) === null,
      log: { info: (message) => log.info(message), warn: (message) => log.warn(message) },
      onLogLines: (_workerId, lines) => logs.append(lines),
      metrics: gatewayMetricsOf,
    });
  registerGauges(registry, seat, gatewaySeat);
  registerTiers(registry, () => store.health());

  const ulid = monotonicFactory(fractions());
  let terms: Terms | null = null;
  const roleOf = (): Pick<Terms, 'role' | 'activeAddress'> => terms ?? { role: 'STANDBY', activeAddress: '' };
  const server = createServer({
    services: [
      workflowService({ shard: seat, submissions: new Submissions(definitions, () => ulid(seat.now())), logs }),
      definitionService(definitions),
      workerService(gatewaySeat),
      systemService({
        version,
        coordinatorId,
        startedAt: ports.now(),
        shard: seat,
        store,
        role: roleOf,
        workers: () => gatewaySeat.workers().length,
      }),
    ],
    gateway: gatewaySeat,
    host: options.host,
    port: options.port,
    ...(options.grpcPort === null ? {} : { grpcPort: options.grpcPort }),
    token,
    corsOrigins: options.corsOrigins ?? [],
    ready: () => {
      const tiers = store.health();
      const { role, activeAddress } = roleOf();
      const ready = role === 'ACTIVE' && tiers.every(({ health }) => health !== 'DOWN');
      return { ready, detail: { role, activeAddress, durability: store.durability, trouble: seat.stats().trouble, tiers } };
    },
    metrics: registry,
    log,
    version,
  });
  const listening = await server.listen();
  const address = options.advertiseUrl ?? `http://${options.host.includes(':') ? `[${options.host}]` : options.host}:${listening.port}`;

  terms = new Terms({
    store,
    owner: { coordinatorId, address },
    ports,
    observer: shardMetrics(registry),
    definitions,
    seat,
    gatewaySeat,
    gatewayOf,
    endStreams: () => server.endStreams(),
    log,
    onFatal: (reason) => {
      log.fatal({ reason }, 'this coordinator cannot go on');
      options.onStopped(reason);
    },
  });
  const running = terms;
  await Promise.race([running.settled, running.failed]);
  const presence = announcePresence({ store, owner: { coordinatorId, address }, role: () => running.role, gateway: gatewaySeat });

  return {
    id: coordinatorId,
    port: listening.port,
    grpcPort: listening.grpcPort ?? null,
    role: () => running.role,
    async close(graceMs) {
      presence.stop();
      await running.close(graceMs);
      await server.close(graceMs);
      await store.close();
    },
  };
}
