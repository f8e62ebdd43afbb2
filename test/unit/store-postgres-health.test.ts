/** How PostgreSQL is, told from what calls found: what is wrong, since when, what it means; and well again by itself. */
import t from 'tap';
import { Health } from '../../coordinator/store/postgres/health.ts';

const failed = (code: string) => Object.assign(new Error('refused'), { code });

t.test('what keeps commits from succeeding is told until one succeeds', async (t) => {
  const health = new Health('db', '');
  t.match(health.tiers(), [{ name: 'postgresql', health: 'OK', detail: 'db keeps the journal' }]);
  health.commitFailed(failed('53100'));
  health.answered();
  t.match(
    health.tiers(),
    [{ health: 'DOWN', detail: /no room on its disk since \d{4}-.*: nothing new is taken/ }],
    'a lease is renewed on a full disk',
  );
  health.committed(1);
  t.match(health.tiers(), [{ health: 'OK' }]);
  health.commitFailed(failed('25006'));
  t.match(health.tiers(), [{ health: 'DOWN', detail: /takes no writes since/ }]);
  health.committed(1);
  health.callFailed(failed('ECONNREFUSED'));
  t.match(health.tiers(), [{ health: 'DOWN', detail: /does not answer since .*ECONNREFUSED/ }]);
  health.answered();
  t.match(health.tiers(), [{ health: 'OK' }]);
  health.commitFailed(failed('CONNECTION_CLOSED'));
  health.answered();
  t.match(health.tiers(), [{ health: 'OK' }], 'it is there again, also for one who commits nothing now');
});

t.test('the time since when does not move while it lasts', async (t) => {
  const health = new Health('db', '');
  health.callFailed(failed('ECONNREFUSED'));
  const since = /since (\S+):/.exec(health.tiers()[0]!.detail)?.[1];
  while (new Date().toISOString() === since);
  health.callFailed(failed('ECONNRESET'));
  t.match(health.tiers()[0]!.detail, new RegExp(`since ${since}: .*ECONNRESET`));
});

t.test('slow commits, and settings that promise too little', async (t) => {
  const health = new Health('db', 'fsync is off');
  t.match(health.tiers(), [{ health: 'DEGRADED', detail: 'db: fsync is off' }]);
  for (let count = 0; count < 19; count++) health.committed(900);
  t.match(health.tiers(), [{ detail: 'db: fsync is off' }], 'few say nothing');
  health.committed(900);
  t.match(health.tiers(), [{ health: 'DEGRADED', detail: /is slow: one commit in a hundred takes 900 ms or more/ }]);
  for (let count = 0; count < 200; count++) health.committed(1);
  t.match(health.tiers(), [{ detail: 'db: fsync is off' }], 'fast ones make it good');
});
