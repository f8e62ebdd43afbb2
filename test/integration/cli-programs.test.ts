/**
 * The programs that `wf` starts in its place: what `wf db` says of where state is kept, and settings of the coordinator that reach its faces.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import t from 'tap';
import { ROOT } from '../repo/source.ts';

const launcher = join(ROOT, 'sdk/cli/bin/wf.js');
const env = { ...process.env, DATABASE_URL: '', REDIS_URL: '', DATA_DIR: '', WORKFLOW_TOKEN: '', NODE_OPTIONS: '' };

t.test('wf db: says who keeps state where', async (t) => {
  const dir = t.testdir();
  const found = (command: string, ...flags: string[]) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [launcher, 'db', command, '--json', ...flags], {
      cwd: dir,
      env,
      encoding: 'utf8',
    });
    t.equal(status, 0, stderr);
    return (JSON.parse(stdout) as { findings: { name: string; ok: boolean; detail: string }[] }).findings;
  };
  const nothingSet = {
    name: 'settings',
    ok: true,
    detail: /none of DATABASE_URL, REDIS_URL and DATA_DIR is set: `wf dev` keeps its journal in \.data, `wf coordinator` .* in memory only/,
  };
  t.match(found('status'), [nothingSet]);
  t.notOk(existsSync(join(dir, '.data')), 'looking makes nothing');
  t.match(found('init'), [{ name: 'embedded', ok: true }, nothingSet]);
  t.ok(existsSync(join(dir, '.data/journal.db')));
  t.match(found('status', '--data-dir', 'kept'), [{ name: 'settings', detail: /a coordinator keeps its journal in DATA_DIR, kept$/ }]);
});

t.test('wf coordinator: a web page of CORS_ORIGINS may call, another may not', async (t) => {
  const child = spawn(process.execPath, [launcher, 'coordinator', '--port', '0', '--cors-origins', 'https://ops.example.com'], {
    env: { ...env, WORKFLOW_TOKEN: 'secret' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(child, 'close');
  let port = 0;
  for await (const line of createInterface({ input: child.stdout })) {
    port = (JSON.parse(line) as { port?: number }).port ?? 0;
    if (port !== 0) break;
  }
  const call = (origin: string, init: RequestInit) =>
    fetch(`http://127.0.0.1:${port}/workflows`, { ...init, headers: { ...init.headers, origin } });
  const withToken = { headers: { authorization: 'Bearer secret' } };
  const allowed = await call('https://ops.example.com', withToken);
  t.equal(allowed.status, 200);
  t.equal(allowed.headers.get('access-control-allow-origin'), 'https://ops.example.com');
  t.equal((await call('https://evil.example.com', withToken)).status, 403);
  const asks = { 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization' };
  const preflight = await call('https://ops.example.com', { method: 'OPTIONS', headers: asks });
  t.equal(preflight.status, 204, 'a browser asks before it shows the token');
  t.match(preflight.headers.get('access-control-allow-headers'), /Authorization/);
  child.kill('SIGTERM');
  t.equal((await ended)[0], 0);
});
