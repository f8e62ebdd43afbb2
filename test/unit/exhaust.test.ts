/**
 * Two coordinators and their database in a small scope: every interleaving is looked at, and a protocol with a rule taken out is found out.
 */
import t from 'tap';
import type { Flaw } from '../exhaust/database.ts';
import { searchApart } from '../exhaust/thread.ts';

t.setTimeout(300_000);
const scope = (submits: number, ticks: number, faults: number, ends: number, ...flaws: Flaw[]) => {
  return { submits, ticks, faults, ends, flaws: new Set(flaws) };
};

t.test('fence, commit, unknown outcome, takeover, planned end: no interleaving of the scope breaks a promise', async (t) => {
  // A lease lasts two ticks: in the first two scopes it is renewed, runs out, and another coordinator takes over, with a planned end, or a fault, anywhere.
  const scopes = [
    [scope(1, 3, 0, 1), 30_000],
    [scope(1, 3, 1, 0), 70_000],
    [scope(1, 1, 1, 1), 18_000],
  ] as const;
  for (const [bounds, least] of scopes) {
    const { states, violation } = await searchApart(bounds);
    t.equal(violation, null);
    t.ok(states > least, `${states} states`);
  }
});

t.test('without a rule that holds alone, or without both of two that hold together, it is found', async (t) => {
  const found: readonly (readonly [ReturnType<typeof scope>, RegExp])[] = [
    [scope(1, 4, 0, 0, 'acquire ignores the lease'), /was told by its coordinator while c\d has the shard/],
    [scope(1, 0, 1, 1, 'fence without epoch'), /was told and is not in the journal/],
    [scope(1, 3, 0, 0, 'fence without epoch', 'fence without last_seq'), /the journal goes from|twice|epoch/],
    [scope(1, 0, 1, 0, 'reclaim without a new epoch', 'fence without last_seq'), /is in the journal twice/],
    [scope(1, 0, 1, 0, 'an abort that proves nothing', 'fence without last_seq'), /is in the journal twice/],
    [scope(1, 0, 2, 0, 'reclaim only once'), /its reclaim did not find it/],
    [scope(1, 0, 0, 1, 'release without the fence'), /was told by its coordinator while c\d has the shard/],
  ];
  for (const [flawed, message] of found) {
    const { violation } = await searchApart(flawed);
    t.match(violation?.messages.join('; '), message, [...flawed.flaws].join(', '));
  }
  // What the last number lets pass is caught by the epoch, and what a reclaim or an abort lets pass is caught by the last number.
  for (const flaw of ['fence without last_seq', 'reclaim without a new epoch', 'an abort that proves nothing'] as const) {
    t.equal((await searchApart(scope(1, 0, 1, 1, flaw))).violation, null, flaw);
  }
});
