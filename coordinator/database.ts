/**
 * The database program: `init` makes what a coordinator needs to keep state, `status` says what is there. `wf db` runs it.
 *
 * Exit codes: 0 done and as it should be, 1 not reachable or refused, 2 bad command line or settings. With `--json` it writes one JSON document.
 */
import { coordinatorSettings, resolveSettings } from '@workflow-orchestrator/proto/settings';
import pino from 'pino';
import type { TierHealth } from './store/store.ts';
import { openStore } from './stores.ts';

/** One line for people: what, and how it is. */
interface Finding {
  readonly name: string;
  readonly ok: boolean;
  readonly detail: string;
}

/** Where `wf dev` keeps its journal when nothing says otherwise. */
const DEV_FOLDER = '.data';

const [command = '', ...rest] = process.argv.slice(2);
const json = rest.includes('--json');
const settings = resolveSettings(
  coordinatorSettings,
  rest.filter((word) => word !== '--json'),
  process.env,
);
if (command !== 'init' && command !== 'status') fail(2, [`'${command}' is no command: init, status`]);
if (settings.kind === 'bad') fail(2, settings.problems);
const { databaseUrl, redisUrl, redisPrefix, dataDir, retentionDays } = settings.values;

try {
  const findings: Finding[] = [];
  if (databaseUrl !== null) findings.push(...(await postgres(databaseUrl)));
  const folder = databaseUrl === null && redisUrl === null ? (dataDir ?? DEV_FOLDER) : null;
  const isReachable = findings.every(({ ok }) => ok);
  if (isReachable && (redisUrl !== null || (folder !== null && command === 'init'))) findings.push(...(await tiers(folder)));
  if (folder !== null) findings.push({ name: 'settings', ok: true, detail: whoUses(dataDir) });
  if (json) process.stdout.write(`${JSON.stringify({ command, findings })}\n`);
  else for (const { name, ok, detail } of findings) process.stdout.write(`${ok ? 'ok  ' : 'BAD '} ${name.padEnd(10)} ${detail}\n`);
  process.exit(findings.every(({ ok }) => ok) ? 0 : 1);
} catch (error) {
  fail(1, [error instanceof Error ? error.message : String(error)]);
}

/** Which program keeps state where, when there is neither a database nor Redis. */
function whoUses(dataDir: string | null): string {
  return dataDir === null
    ? `none of DATABASE_URL, REDIS_URL and DATA_DIR is set: \`wf dev\` keeps its journal in ${DEV_FOLDER}, \`wf coordinator\` keeps state in memory only`
    : `neither DATABASE_URL nor REDIS_URL is set: a coordinator keeps its journal in DATA_DIR, ${dataDir}`;
}

async function postgres(url: string): Promise<Finding[]> {
  const { databaseStatus, migrate } = await import('./store/postgres/postgres.ts');
  const status = command === 'init' ? await migrate(url) : await databaseStatus(url);
  const { database, current, known, missing } = status;
  const behind =
    missing.length === 0 ? '' : `, ${missing.length} missing (${missing.map(({ name }) => name).join(', ')}): wf db init applies them`;
  return [{ name: 'postgresql', ok: missing.length === 0, detail: `${database} at migration ${current} of ${known}${behind}` }];
}

/** Opens what a coordinator would open, and looks at it. */
async function tiers(folder: string | null): Promise<Finding[]> {
  const store = await openStore({ databaseUrl, redisUrl, redisPrefix, dataDir: folder, retentionDays }, pino({ level: 'silent' }));
  const found = store.health().map(
    ({ name, health, detail }: TierHealth): Finding => ({
      name,
      ok: health !== 'DOWN',
      detail: health === 'OK' ? detail : `${health}: ${detail}`,
    }),
  );
  await store.close();
  return found;
}

function fail(code: number, lines: readonly string[]): never {
  if (json) process.stderr.write(`${JSON.stringify({ error: { exitCode: code, message: lines.join('; ') } })}\n`);
  else for (const line of lines) process.stderr.write(`db: ${line}\n`);
  process.exit(code);
}
