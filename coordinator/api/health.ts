/** The standard gRPC health service over the readiness of the coordinator. Needs no token. */
import { setTimeout as delay } from 'node:timers/promises';
import { create } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { health } from '@workflow-orchestrator/proto/vendor';
import { type MountedService, mount } from './context.ts';

const { Health, HealthCheckResponseSchema, HealthCheckResponse_ServingStatus: Status, HealthListResponseSchema } = health;

/** How often a watch looks again, in milliseconds: readiness is asked for, it does not announce itself. */
const watchIntervalMs = 500;

/** The health service. `names` are the services that may be asked for by name; all share one state, and the empty name is the whole. */
export function createHealthService(names: readonly string[], ready: () => boolean): MountedService<typeof Health> {
  const known = new Set(['', ...names]);
  const status = () => (ready() ? Status.SERVING : Status.NOT_SERVING);
  const answer = (value: health.HealthCheckResponse_ServingStatus) => create(HealthCheckResponseSchema, { status: value });

  return mount(Health, {
    async check({ service }) {
      if (!known.has(service)) throw new ConnectError(`no service '${service}' here; known: ${names.join(', ')}`, Code.NotFound);
      return answer(status());
    },
    async list() {
      return create(HealthListResponseSchema, { statuses: Object.fromEntries([...known].map((name) => [name, answer(status())])) });
    },
    async *watch({ service }, { signal }) {
      let last: health.HealthCheckResponse_ServingStatus | null = null;
      for (;;) {
        const now = known.has(service) ? status() : Status.SERVICE_UNKNOWN;
        if (now !== last) yield answer(now);
        last = now;
        await delay(watchIntervalMs, undefined, { signal, ref: false });
      }
    },
  });
}
