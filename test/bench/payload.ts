/** What jobs of the benchmark are given and what they make of it: about 200 bytes of JSON each way, different for every workflow. */

/** `seq` counts the steps that it went through. */
export interface Order {
  readonly id: number;
  readonly customer: string;
  readonly kind: string;
  readonly amount: number;
  readonly note: string;
  readonly tags: readonly string[];
  readonly seq: number;
}

/** The parameters of workflow number `id`. */
export function newOrder(id: number): Order {
  return {
    id,
    customer: `customer-${String(id).padStart(8, '0')}`,
    kind: 'order.created',
    amount: (id % 9_973) / 7,
    note: 'abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz01234567',
    tags: ['alpha', 'beta', 'gamma'],
    seq: 0,
  };
}

/** The whole work of a job: a result as large as what it was given, one step further. */
export function nextOrder({ id, customer, kind, amount, note, tags, seq }: Order): Order {
  return { id, customer, kind, amount, note, tags, seq: seq + 1 };
}

/** Whether `value` is the order of workflow `id` after `steps` steps, in every field. */
export function isOrder(value: unknown, id: number, steps: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const found = value as Order;
  const wanted = newOrder(id);
  return (
    found.id === id &&
    found.seq === steps &&
    found.customer === wanted.customer &&
    found.kind === wanted.kind &&
    found.amount === wanted.amount &&
    found.note === wanted.note &&
    found.tags?.join() === wanted.tags.join()
  );
}
