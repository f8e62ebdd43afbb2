/** See and drain workers. */
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import {
  DrainWorkerResponseSchema,
  ListWorkersResponseSchema,
  Worker_Status,
  type WorkerSchema,
  WorkerService,
} from '@workflow-orchestrator/proto';
import type { Gateway, WorkerInfo } from '../../gateway/gateway.ts';
import { type MountedService, mount } from '../context.ts';
import { notFound } from './failures.ts';
import { pageSize, pageTokenOf, readPageToken } from './pages.ts';

/** The worker service over one gateway. */
export function workerService(gateway: Pick<Gateway, 'workers' | 'worker' | 'drain'>): MountedService<typeof WorkerService> {
  return mount(WorkerService, {
    async listWorkers({ pageSize: size, pageToken }) {
      const after = readPageToken('workers', pageToken);
      const limit = pageSize(size, 100);
      const rest = gateway.workers().filter((worker) => worker.id > after);
      const page = rest.slice(0, limit);
      return create(ListWorkersResponseSchema, {
        workers: page.map(renderWorker),
        nextPageToken: rest.length > page.length ? pageTokenOf('workers', page.at(-1)!.id) : '',
      });
    },

    async drainWorker({ workerId, reason }) {
      if (!gateway.drain(workerId, reason)) throw notFound('worker', workerId);
      const worker = gateway.worker(workerId);
      if (worker === null) throw notFound('worker', workerId);
      return create(DrainWorkerResponseSchema, { worker: renderWorker(worker) });
    },
  });
}

function renderWorker(worker: WorkerInfo): MessageInitShape<typeof WorkerSchema> {
  return {
    id: worker.id,
    status: Worker_Status[worker.status],
    labels: Object.fromEntries(worker.labels),
    types: [...worker.types],
    slots: worker.slots,
    running: worker.running,
    connectTime: timestampFromMs(worker.connectTimeMs),
    lastSeenTime: timestampFromMs(worker.lastSeenTimeMs),
    build: worker.build,
    sdk: worker.sdk,
    loopLagMs: worker.loopLagMs,
  };
}
