/**
 * Two coordinators and their database in a small scope: every interleaving is looked at, and a protocol with a rule taken out is found out.
 */
import t from 'tap';
import type { Flaw } from '../exhaust/database.ts';
import { search } from '../exhaust/search.ts';

t.setTimeout(110_000);
const scope = (submits: number, ticks: number, faults: number, ...flaws: Flaw[]) => ({ submits, ticks, faults, flaws: new Set(flaws) });

t.test('fence, commit, unknown outcome, takeover: no interleaving of the scope breaks a promise', async (t) => {
  const calm = await search(scope(1, 3, 0));
  t.equal(calm.violation, null);
  t.ok(calm.states > 4_000, `${calm.states} states`);
  const faulty = await search(scope(1, 1, 1));
  t.equal(faulty.violation, null);
  t.ok(faulty.states > 5_000, `${faulty.states} states`);
});

t.test('without a rule that holds alone, or without both of two that hold together, it is found', async (t) => {
  const found: readonly (readonly [ReturnType<typeof scope>, RegExp])[] = [
    [scope(1, 4, 0, 'acquire ignores the lease'), /was told by \d while \d has the shard/],
    [scope(1, 3, 0, 'fence without epoch', 'fence without last_seq'), /the journal goes from|twice|epoch/],
    [scope(1, 0, 1, 'reclaim without a new epoch', 'fence without last_seq'), /is in the journal twice/],
  ];
  for (const [flawed, message] of found) {
    const { violation } = await search(flawed, 100_000);
    t.match(violation?.messages.join('; '), message, [...flawed.flaws].join(', '));
  }
  // Epoch and last number are two locks on one door: with either of them alone it stays shut.
  for (const flaw of ['fence without epoch', 'fence without last_seq', 'reclaim without a new epoch'] as const) {
    t.equal((await search(scope(1, 3, 0, flaw))).violation, null, flaw);
  }
});
