/** Small parts of the coordinator program. */
import t from 'tap';
import { nonces } from '../../coordinator/nonces.ts';
import { processPorts } from '../../coordinator/process-ports.ts';

t.test('nonces are twelve characters and never the same, over many refills', async (t) => {
  const nonce = nonces();
  const seen = new Set(Array.from({ length: 5_000 }, nonce));
  t.equal(seen.size, 5_000);
  for (const each of seen) if (!/^[\w-]{12}$/.test(each)) t.fail(`${each} is no nonce`);
});

t.test('the clock is the wall clock at first and never goes back; an alarm replaces the one before', async (t) => {
  const { now, alarm } = processPorts(nonces());
  t.ok(Math.abs(now() - Date.now()) < 1_000);
  let last = now();
  for (let i = 0; i < 1_000; i++) {
    const at = now();
    if (at < last) t.fail('time went back');
    last = at;
  }
  const rung: string[] = [];
  await new Promise<void>((resolve) => {
    alarm(now() + 5, () => rung.push('replaced'));
    alarm(now() + 10, () => {
      rung.push('second');
      resolve();
    });
  });
  t.same(rung, ['second']);
});
