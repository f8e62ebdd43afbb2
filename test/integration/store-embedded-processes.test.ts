/** The embedded store keeps what was acknowledged when its process is killed, and belongs to one process at a time. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import t from 'tap';
import { openEmbeddedStore } from '../../coordinator/store/embedded/embedded.ts';
import { batchOf, commitAll, loaded, take } from '../store-contract/contract.ts';

const quiet = { info: () => {}, warn: () => {} };

/** A process that commits until it is killed. */
function committing(dataDir: string): { child: ChildProcess; lines: AsyncIterator<string> } {
  const program = join(import.meta.dirname, 'support/committing-process.ts');
  const child = spawn(process.execPath, ['--conditions=workflow-orchestrator', program, dataDir], { stdio: ['ignore', 'pipe', 'inherit'] });
  return { child, lines: createInterface(child.stdout!)[Symbol.asyncIterator]() };
}

t.test('kill -9 in the middle of everything: what was acknowledged is there once, twenty times over', { timeout: 110_000 }, async (t) => {
  const dataDir = await mkdtemp(join(tmpdir(), 'wf-embedded-'));
  t.teardown(() => rmSync(dataDir, { recursive: true, force: true }));
  let acknowledged = 0;
  for (let round = 0; round < 20; round++) {
    const { child, lines } = committing(dataDir);
    t.equal((await lines.next()).value, 'open');
    const most = 5 + 13 * (round % 5);
    for (let heard = 0; heard < most; heard++) acknowledged = Number((await lines.next()).value);
    child.kill('SIGKILL');
    await once(child, 'exit');
    for (let line = await lines.next(); line.done !== true; line = await lines.next())
      if (/^\d+$/.test(line.value)) acknowledged = Number(line.value);
    const store = await openEmbeddedStore({ dataDir, log: quiet });
    const batches = await loaded(store);
    t.ok(batches.at(-1)!.lastSeq >= acknowledged, `round ${round}: ${acknowledged} was acknowledged`);
    t.same(
      batches.map(({ firstSeq }) => firstSeq),
      batches.map((_, index) => 2 * index + 1),
      'each once',
    );
    await store.close();
  }
});

t.test('a second process is told which folder is in use, and by whom', async (t) => {
  const dataDir = await mkdtemp(join(tmpdir(), 'wf-embedded-'));
  const open = () => openEmbeddedStore({ dataDir, log: quiet });
  const store = await open();
  t.teardown(async () => {
    await store.close();
    rmSync(dataDir, { recursive: true, force: true });
  });
  const ownership = await take(store);
  const { child, lines } = committing(dataDir);
  t.equal((await lines.next()).value, `refused: the data folder ${dataDir} is in use by another process (pid ${process.pid})`);
  if (child.exitCode === null) await once(child, 'exit');
  await t.rejects(open(), { message: /is in use by another process/ }, 'and so is this one');
  t.same(await commitAll(store, ownership, [batchOf(1)]), ['durable'], 'no harm was done');
});
