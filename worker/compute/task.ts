/**
 * Computations over a job's data. They run in processes of their own (`pool/`), so everything here is plain JSON.
 */
import type { Json } from '../handler.ts';

/** What is to be computed over the data. */
export type ComputeTask =
  /** Value: true. Fails with the violations. */
  | { readonly kind: 'validate'; readonly schema: Json }
  | { readonly kind: 'transform'; readonly expression: string }
  | { readonly kind: 'filter'; readonly expression: string }
  | { readonly kind: 'map'; readonly expression: string }
  | { readonly kind: 'aggregate'; readonly groupBy: readonly NamedField[]; readonly columns: readonly AggregateColumn[] }
  | { readonly kind: 'sort'; readonly by: readonly SortKey[] }
  | { readonly kind: 'merge'; readonly deep: boolean; readonly by: string | null }
  | { readonly kind: 'template'; readonly template: string };

/** A field of each item, and the name that it has in the result. */
export interface NamedField {
  readonly name: string;
  /** `customer.address.city` */
  readonly field: string;
}

/** The functions of `aggregate`. */
export const aggregateFunctions = ['count', 'sum', 'avg', 'min', 'max', 'first', 'last', 'list', 'distinct'] as const;

/** One column of an aggregate. `field` is null for a count of items. */
export interface AggregateColumn {
  readonly name: string;
  readonly function: (typeof aggregateFunctions)[number];
  readonly field: string | null;
}

/** One key of a sort; the first that differs decides. `field` is null for the items themselves. */
export interface SortKey {
  readonly field: string | null;
  readonly descending: boolean;
}

/** Bounds of a result. They come with each request: what runs in the processes reads nothing of the other packages. */
export interface ComputeLimits {
  readonly outputBytes: number;
  readonly jsonDepth: number;
  /** Violations of a schema that are listed. */
  readonly violations: number;
}

/** What came of a computation. A failure is the fault of data, expression or schema: no attempt will end otherwise. */
export type ComputeResult =
  | { readonly kind: 'value'; readonly text: string }
  | { readonly kind: 'failed'; readonly code: string; readonly message: string; readonly details: Json };

/** The data or the expression does not allow the computation. */
export class ComputeError extends Error {
  override readonly name = 'ComputeError';
  readonly code: string;
  readonly details: Json;
  constructor(code: string, message: string, details: Json = null) {
    super(message);
    this.code = code;
    this.details = details;
  }
}
