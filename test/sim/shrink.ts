/**
 * Makes a failing plan smaller: fewer faults, fewer actions, fewer nodes, less that goes wrong, as long as the same invariant is broken.
 */
import { judge } from './judging.ts';
import { calm, type Plan, type Rates } from './plan.ts';

/** Runs that a shrinking may take. */
const MOST_RUNS = 400;

/** The smallest plan that was found to break `invariant` too. */
export async function shrink(plan: Plan, invariant: string): Promise<Plan> {
  let runs = 0;
  const fails = async (candidate: Plan): Promise<boolean> => {
    runs += 1;
    const { violations } = await judge(candidate);
    return violations.some((violation) => violation.invariant === invariant);
  };
  let best = plan;
  for (let isSmaller = true; isSmaller && runs < MOST_RUNS; ) {
    isSmaller = false;
    for (const candidate of smaller(best)) {
      if (runs >= MOST_RUNS) break;
      if (!(await fails(candidate))) continue;
      best = candidate;
      isSmaller = true;
      break;
    }
  }
  return best;
}

/** Smaller plans, the smallest first. */
function* smaller(plan: Plan): Iterable<Plan> {
  for (const faults of parts(plan.faults)) yield { ...plan, faults };
  for (const actions of parts(plan.actions)) yield { ...plan, actions };
  if (plan.actions.some(({ count }) => count > 1)) yield { ...plan, actions: plan.actions.map((action) => ({ ...action, count: 1 })) };
  for (const name of Object.keys(plan.rates) as (keyof Rates)[])
    if (plan.rates[name] > 0) yield { ...plan, rates: { ...plan.rates, [name]: calm[name] } };
  if (plan.coordinators > 1) yield { ...plan, coordinators: 1 };
  if (plan.workers.length > 1) yield { ...plan, workers: plan.workers.slice(0, -1) };
  if (plan.clients > 1) yield { ...plan, clients: 1, actions: plan.actions.map((action) => ({ ...action, client: 0 })) };
  if (plan.clockJumpMs > 0) yield { ...plan, clockJumpMs: 0 };
  if (plan.liveView !== 'none') yield { ...plan, liveView: 'none' };
  for (const bound of Object.keys(plan.bounds)) {
    const { [bound as keyof Plan['bounds']]: _, ...bounds } = plan.bounds;
    yield { ...plan, bounds };
  }
  const last = Math.max(0, ...plan.faults.map(({ at, ms }) => at + ms), ...plan.actions.map(({ at }) => at)) + 500;
  if (last < plan.faultyMs) yield { ...plan, faultyMs: last };
  for (const [index, fault] of plan.faults.entries())
    if (fault.ms > 200) yield { ...plan, faults: plan.faults.with(index, { ...fault, ms: Math.floor(fault.ms / 2) }) };
}

/** A list without its halves, its quarters, ..., each of its items. */
function* parts<T>(items: readonly T[]): Iterable<T[]> {
  for (let size = Math.ceil(items.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let from = 0; from < items.length; from += size) yield [...items.slice(0, from), ...items.slice(from + size)];
  }
}
