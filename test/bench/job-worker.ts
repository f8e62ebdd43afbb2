/**
 * The worker process of the benchmark: the worker library with job types of its own, which do nothing but build their result.
 * Tells the process that started it, in small batches, which workflows' last handlers have ended and when.
 *
 * Environment: COORDINATOR_URL, WORKER_SLOTS.
 */
import { createWorker } from '@workflow-orchestrator/worker';
import { nextOrder, type Order } from './payload.ts';

/** What is told: the workflow's number, when (of the clock of `now`), what its last handler returned: a step counter, or how many it joined. */
export type Ending = readonly [id: number, at: number, value: number];

/** Milliseconds of CLOCK_MONOTONIC, which is one for all processes of a machine. */
export const now = (): number => Number(process.hrtime.bigint()) / 1e6;

/** Endings are told together, so that telling costs little of what is measured. */
const tellMs = 2;

if (import.meta.main) await serve();

async function serve(): Promise<void> {
  let endings: Ending[] = [];
  let executed = 0;
  const tell = (id: number, value: number) => {
    if (endings.length === 0) setTimeout(send, tellMs);
    endings.push([id, now(), value]);
  };
  const send = () => {
    process.send?.({ kind: 'ended', endings });
    endings = [];
  };

  const worker = createWorker({ slots: Number(process.env.WORKER_SLOTS) });
  worker.handle('bench-step', (job) => {
    executed += 1;
    // A first job comes from the inputs of its workflow, any other from the output of the one before.
    const input = job.input as unknown as Order | { readonly order: Order };
    const order = nextOrder('order' in input ? input.order : input);
    if (job.id === 'last') tell(order.id, order.seq);
    return order;
  });
  worker.handle('bench-join', (job) => {
    executed += 1;
    const orders = Object.values(job.input as unknown as Record<string, Order>);
    const joined = orders.filter(({ seq }) => seq === 2).length;
    tell(orders[0]!.id, joined);
    return { joined };
  });

  process.on('message', () => process.send?.({ kind: 'executed', executed }));
  process.on('SIGTERM', () => void worker.stop({ graceMs: 0 }).then(() => process.exit(0)));
  await worker.start();
  process.send?.({ kind: 'ready' });
}
