/**
 * A search in a thread of its own: what watches over promises in a thread of tests makes a search, which is made of promises, several times as slow.
 */
import { once } from 'node:events';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { type Findings, search } from './search.ts';
import type { Scope } from './world.ts';

/** As `search`. */
export async function searchApart(scope: Scope): Promise<Findings> {
  const thread = new Worker(new URL(import.meta.url), { workerData: scope });
  // An error of the thread rejects.
  const [findings] = await once(thread, 'message');
  return findings;
}

if (!isMainThread) parentPort?.postMessage(await search(workerData));
