/** What tests about attempts begin with: a shard with a worker, and what that worker was offered. */
import type { WorkerDouble } from './worker-double.ts';
import { ShardWorld } from './world.ts';

/** A shard with one worker that is connected. */
export async function worldWith(skills: Parameters<ShardWorld['worker']>[1] = {}): Promise<{ world: ShardWorld; worker: WorkerDouble }> {
  const world = await ShardWorld.open();
  const worker = world.worker('w1', skills);
  await world.settle();
  return { world, worker };
}

/** The token of the assignment that waits for an answer. */
export function offered(worker: WorkerDouble): string {
  const [token] = worker.unanswered.keys();
  if (token === undefined) throw new Error(`${worker.id} was offered nothing; it heard ${worker.heard.join(', ') || 'nothing'}`);
  return token;
}

/** Accepts what is offered. The token. */
export async function take(world: ShardWorld, worker: WorkerDouble): Promise<string> {
  const token = offered(worker);
  worker.accept(token);
  await world.settle();
  return token;
}
