/**
 * Computes in processes of their own, so that nothing a job brings - an endless expression, a backtracking pattern, a huge value -
 * can stop or end the worker.
 *
 * Why processes and not threads: V8 ends the whole process when a thread asks for one value larger than its heap
 * (`$pad('x', 5e8)` does), whatever limits the thread was given; and a process can be forbidden files and environment.
 *
 * Invariants
 * 1. One computation a process at a time; the time limit runs from when the process gets it, not from when it was asked for.
 * 2. A computation that is cancelled, or takes too long, ends with its process. The next one gets another process.
 * 3. Processes are started when they are needed and end when they have been idle; every one is ended by its own handle.
 * 4. A process has no environment, may read the program's own files only, may write none and start nothing (Node's permission model).
 */
import { availableParallelism } from 'node:os';
import { limits } from '@workflow-orchestrator/proto/limits';
import type { ComputeLimits, ComputeResult, ComputeTask } from '../compute/task.ts';
import type { Json } from '../handler.ts';
import { ComputeProcess, type ProcessEnd } from './compute-process.ts';

/** How a pool is to be. */
export interface PoolOptions {
  /** Processes at most; as many as the machine has processors, at most 8, when absent. */
  readonly size?: number;
  /** Heap of each process. */
  readonly memoryMib?: number;
  /** An idle process ends after this long. */
  readonly idleMs?: number;
}

/** What came of a computation. */
export type ComputeOutcome =
  | ComputeResult
  | { readonly kind: 'timeout' }
  | { readonly kind: 'memory' }
  | { readonly kind: 'crashed'; readonly reason: string };

/** A pool of processes that compute. */
export interface ComputePool {
  /**
   * Computes a task over data.
   * @throws the signal's reason, when it is aborted
   */
  run(task: ComputeTask, data: Json, options: { readonly timeMs: number; readonly signal: AbortSignal }): Promise<ComputeOutcome>;
  /** Processes that are alive now, for tests and for people. */
  readonly processes: number;
  /** Ends all processes; what is being computed is given up. */
  close(): Promise<void>;
}

/** Someone who waits for a process. */
interface Waiter {
  readonly take: (process: ComputeProcess) => void;
  readonly fail: (end: ProcessEnd) => void;
}

const resultLimits: ComputeLimits = { outputBytes: limits.outputBytes, jsonDepth: limits.jsonDepth, violations: limits.schemaViolations };

/** Opens a pool. Nothing is started yet. */
export function openComputePool(options: PoolOptions = {}): ComputePool {
  const size = options.size ?? Math.min(availableParallelism(), 8);
  const memoryMib = options.memoryMib ?? limits.computeMemoryMib;
  const idleMs = options.idleMs ?? 60_000;
  const alive = new Set<ComputeProcess>();
  const idle: ComputeProcess[] = [];
  const waiting: Waiter[] = [];
  let closed = false;

  /** Starts a process for the first in line, if there is room. */
  const startOne = () => {
    if (closed || alive.size >= size) return;
    const process = new ComputeProcess(memoryMib);
    alive.add(process);
    void process.ended.then((end) => {
      alive.delete(process);
      const place = idle.indexOf(process);
      if (place >= 0) idle.splice(place, 1);
      // One that never got ready would fail for whoever is next too; tell somebody instead of trying for ever.
      if (!process.wasReady) waiting.shift()?.fail(end);
      if (waiting.length > 0) startOne();
    });
    void process.ready.then(() => release(process));
  };

  /** Gives a process to the first in line, or lets it rest. */
  const release = (process: ComputeProcess) => {
    if (!process.isAlive) return;
    const next = waiting.shift();
    if (next !== undefined) {
      next.take(process);
      return;
    }
    idle.push(process);
    process.rest(idleMs, () => {
      idle.splice(idle.indexOf(process), 1);
      void process.kill();
    });
  };

  const acquire = (signal: AbortSignal): Promise<ComputeProcess | ProcessEnd> =>
    new Promise((resolve, reject) => {
      // One that died while it rested is forgotten when its end is told.
      for (let free = idle.pop(); free !== undefined; free = idle.pop()) {
        if (!free.isAlive) continue;
        resolve(free);
        return;
      }
      const stop = () => {
        waiting.splice(waiting.indexOf(waiter), 1);
        reject(signal.reason);
      };
      const settle = (value: ComputeProcess | ProcessEnd) => {
        signal.removeEventListener('abort', stop);
        resolve(value);
      };
      const waiter: Waiter = { take: settle, fail: settle };
      waiting.push(waiter);
      signal.addEventListener('abort', stop, { once: true });
      startOne();
    });

  return {
    get processes() {
      return alive.size;
    },
    async run(task, data, { timeMs, signal }) {
      signal.throwIfAborted();
      if (closed) return { kind: 'crashed', reason: 'the pool is closed' };
      const process = await acquire(signal);
      if (!(process instanceof ComputeProcess)) return process;
      const outcome = await process.compute({ task, data: JSON.stringify(data), limits: resultLimits }, timeMs, signal);
      release(process);
      signal.throwIfAborted();
      return outcome;
    },
    async close() {
      closed = true;
      for (const waiter of waiting.splice(0)) waiter.fail({ kind: 'crashed', reason: 'the pool is closed' });
      await Promise.all([...alive].map((process) => process.kill()));
    },
  };
}
