/** A PostgreSQL that crashes under load, again and again: nothing that was acknowledged is lost, nothing is there twice. */
import type { Test } from 'tap';
import { postgres } from '../services/services.ts';
import { pause } from '../store-contract/contract.ts';
import { drive, journalNames } from './commit-driver.ts';
import { postgresHarness } from './databases.ts';

const CRASHES = 10;

/** Adds the test. */
export async function crashes(t: Test, signal: 'SIGKILL' | 'SIGQUIT'): Promise<void> {
  const server = await postgres(t);
  const cannot = 'this PostgreSQL does not belong to the test, so that it cannot be crashed';
  const skip = server.skip !== false ? server.skip : server.canKill ? false : cannot;
  if (skip !== false) process.stderr.write(`\n*** SKIPPED: ${skip}\n\n`);
  t.test(`a server that crashes under load (${signal})`, { skip }, async (t) => {
    const harness = await postgresHarness(server.url, { leaseMs: 1_000 });
    const [first, second] = [await harness.open(), await harness.open()];
    let isOver = false;
    // Two that want the shard: the second waits for as long as the first has it.
    const drives = [drive(first, 'c-1', () => isOver), drive(second, 'c-2', () => isOver)];
    const acknowledged = (): number => drives.reduce((sum, driven) => sum + driven.acknowledged.size, 0);
    const more = async (count: number): Promise<void> => {
      const until = acknowledged() + count;
      while (acknowledged() < until) await pause(5);
    };
    for (let crash = 0; crash < CRASHES; crash++) {
      await more(5 + (crash % 10));
      await server.kill(signal);
      await server.start();
    }
    await more(20);
    isOver = true;
    await Promise.all(drives.map(({ done }) => done));
    const names = await journalNames(second);
    const told = new Map(drives.flatMap((driven) => [...driven.acknowledged]));
    t.equal(told.size, acknowledged(), 'no place in the journal was acknowledged to both');
    for (const [seq, name] of told)
      if (names.get(seq) !== name) t.fail(`${name} was acknowledged at ${seq}, and there is ${names.get(seq)}`);
    t.equal(new Set(names.values()).size, names.size, 'nothing is there twice');
    t.ok(names.size - told.size <= CRASHES * 2, 'what is there without an acknowledgement was under way when its owner lost the shard');
    const unknown = drives.reduce((sum, { answers }) => sum + (answers.unknown ?? 0), 0);
    t.ok(unknown > 0, `commits of unknown outcome: ${unknown} of ${names.size}`);
    t.same([first.health()[0]?.health, second.health()[0]?.health], ['OK', 'OK'], 'and both are well again');
    await Promise.all([first.close(), second.close()]);
  });
}
