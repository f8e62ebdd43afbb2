/** Parts of the live view that know no Redis: the circuit breaker, and whose history is shown how often. */
import { limits } from '@workflow-orchestrator/proto/limits';
import fc from 'fast-check';
import t from 'tap';
import { Breaker } from '../../coordinator/store/redis/breaker.ts';
import { HistoryPace } from '../../coordinator/store/redis/history-pace.ts';
import { DefinitionCache } from '../../coordinator/store/tiered/definition-cache.ts';

function breakerAt(clock: { now: number }, random = 1): Breaker {
  return new Breaker({ failures: 3, pauseMinMs: 100, pauseMaxMs: 1_000, now: () => clock.now, random: () => random });
}

t.test('a breaker opens after some failures in a row, not before', async (t) => {
  const breaker = breakerAt({ now: 0 });
  for (const ok of [false, false, true, false, false]) {
    t.ok(breaker.mayCall());
    if (ok) breaker.succeeded();
    else breaker.failed('away', 1_000);
  }
  t.equal(breaker.isOpen, false);
  t.ok(breaker.mayCall());
  breaker.failed('still away', 2_000);
  t.equal(breaker.isOpen, true);
  t.same(breaker.trouble, { since: 1_000, message: 'still away' }, 'since the first of them');
  t.equal(breaker.mayCall(), false);
});

t.test('after its pause one call is let through; pauses grow up to a cap, and are drawn', async (t) => {
  for (const [random, share] of [
    [1, 1],
    [0, 0.5],
  ]) {
    const clock = { now: 0 };
    const breaker = breakerAt(clock, random);
    for (let failure = 0; failure < 3; failure++) breaker.failed('away', 0);
    for (const pauseMs of [100, 200, 400, 800, 1_000, 1_000]) {
      clock.now += pauseMs * share - 1;
      t.equal(breaker.mayCall(), false);
      clock.now += 1;
      t.equal(breaker.mayCall(), true);
      t.equal(breaker.mayCall(), false, 'one at a time');
      breaker.failed('away', 0);
    }
    clock.now += 1_000;
    t.equal(breaker.mayCall(), true);
    breaker.succeeded();
    t.equal(breaker.isOpen, false);
    t.equal(breaker.trouble, null);
    t.ok(breaker.mayCall() && breaker.mayCall());
  }
});

t.test('failures of calls that were under way when it opened do not make the pause longer', async (t) => {
  const clock = { now: 0 };
  const breaker = breakerAt(clock);
  for (let failure = 0; failure < 50; failure++) breaker.failed('away', 0);
  clock.now = 100;
  t.equal(breaker.mayCall(), true);
});

t.test('whatever workflows do, histories take no more than their share', async (t) => {
  const act = fc.record({
    id: fc.nat(5),
    bytes: fc.oneof(fc.nat(1_000), fc.integer({ min: 1, max: 2 * limits.liveViewWorkflowBytes })),
    hasEnded: fc.boolean(),
    waitMs: fc.nat(100),
  });
  const property = fc.property(fc.array(act, { minLength: 100, maxLength: 400 }), (acts) => {
    let now = 0;
    const pace = new HistoryPace(() => now);
    const shownOpen = new Map<string, number>();
    let all = 0;
    for (const { id, bytes, hasEnded, waitMs } of acts) {
      now += waitMs;
      // An id that has ended comes no more.
      const name = hasEnded ? `ended ${id} ${now}` : `open ${id}`;
      if (!pace.mayShow(name, 3, hasEnded) || !pace.spend(name, bytes, hasEnded)) continue;
      if (bytes > limits.liveViewWorkflowBytes) throw new Error(`${bytes} bytes were shown`);
      all += bytes;
      if (!hasEnded) shownOpen.set(name, (shownOpen.get(name) ?? 0) + bytes);
      const most = limits.liveViewBytesPerSecond * (1 + now / 1_000) + limits.liveViewWorkflowBytes;
      if (all > most) throw new Error(`${all} bytes in ${now} ms`);
      // Small ones may be shown each time, which is every `liveViewMs`.
      const small = ((now / limits.liveViewMs + 1) * limits.liveViewOpenBytesPerSecond * limits.liveViewMs) / 1_000;
      const often = (acts.length * (limits.liveViewOpenBytesPerSecond * limits.liveViewMs)) / 1_000;
      const share = (now / 1_000) * limits.liveViewOpenBytesPerSecond + limits.liveViewWorkflowBytes + Math.max(small, often);
      if ((shownOpen.get(name) ?? 0) > share) throw new Error(`${shownOpen.get(name)} bytes of one in ${now} ms`);
    }
  });
  t.doesNotThrow(() => fc.assert(property, { numRuns: 200 }));
});

t.test('the more an open workflow weighs, the less often it is shown; its end always is', async (t) => {
  let now = 0;
  const pace = new HistoryPace(() => now);
  const bytes = limits.liveViewOpenBytesPerSecond;
  t.ok(pace.mayShow('wf', 3, false) && pace.spend('wf', bytes, false));
  now = 999;
  t.equal(pace.mayShow('wf', 3, false), false);
  t.equal(pace.mayShow('wf', 3, true), true);
  t.equal(pace.mayShow('other', 3, false), true);
  now = 1_000;
  t.equal(pace.mayShow('wf', 3, false), true);
  t.equal(pace.mayShow('wf', limits.liveViewWorkflowBytes, true), false, 'so many events are not even encoded');
});

t.test('definitions are asked for once, and the least recently used go first', async (t) => {
  const asked: string[] = [];
  const of = (hash: string) => ({ hash, name: hash, yaml: 'x'.repeat(5 * 1024 * 1024), registeredAt: 1 });
  const cache = new DefinitionCache(async (hashes) => {
    asked.push(...hashes);
    return new Map(hashes.filter((hash) => hash !== 'none').map((hash) => [hash, of(hash)]));
  });
  t.same([...(await cache.byHash(['a', 'none'])).keys()], ['a']);
  await cache.byHash(['b']);
  await cache.byHash(['c']);
  await cache.byHash(['a']);
  t.same(asked, ['a', 'none', 'b', 'c']);
  await cache.byHash(['d']);
  await cache.byHash(['a', 'c', 'd']);
  t.same(asked, ['a', 'none', 'b', 'c', 'd'], 'these are still there');
  await cache.byHash(['b']);
  t.same(asked.at(-1), 'b');
});
