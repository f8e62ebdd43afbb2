/** What pool and process say to each other. */
import type { ComputeLimits, ComputeResult, ComputeTask } from '../compute/task.ts';

/** Pool to process. One at a time. */
export interface ComputeRequest {
  readonly task: ComputeTask;
  /** The data as JSON text: cheaper to send than an object, and nothing but JSON can come through. */
  readonly data: string;
  readonly limits: ComputeLimits;
}

/** Process to pool. */
export type ComputeMessage = { readonly kind: 'ready' } | { readonly kind: 'result'; readonly result: ComputeResult };
