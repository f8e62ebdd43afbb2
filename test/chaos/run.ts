/**
 * One run: starts the system, loads it, breaks it, heals it, waits until everything has ended, and asks the checkers.
 *
 * Invariant: whatever happens, also when the signal ends it in the middle, every process that it started has ended when it settles.
 */
import { createWriteStream } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Violation } from '../checkers/checkers.ts';
import { HistoryWriter } from '../checkers/history.ts';
import { Driver } from './driver.ts';
import { Faults } from './faults.ts';
import { type RunLeft, violationsOf } from './findings.ts';
import { archivedCounts, readRemains } from './journal.ts';
import type { FaultKind, Plan } from './plan.ts';
import { startSink } from './sink.ts';
import { System } from './system.ts';

/** How long everything may take to end when nothing is broken any more. */
const HEAL_MS = 180_000;
/** How long the archive may take to have it all. */
const ARCHIVE_MS = 60_000;
const WATCH_MS = 60_000;

/** What came of a run. */
export interface Report {
  readonly violations: readonly Violation[];
  readonly counts: Readonly<Record<string, number>>;
  readonly faults: ReadonlyMap<FaultKind, number>;
  readonly errors: ReadonlyMap<string, number>;
  /** Where everything is kept; null when all was well and it was not asked for. */
  readonly folder: string | null;
}

/** Runs a plan. `say` is told how it goes. */
export async function runPlan(plan: Plan, isKept: boolean, say: (line: string) => void, signal: AbortSignal): Promise<Report> {
  const folder = await mkdtemp(join(tmpdir(), `chaos-${plan.seed}-`));
  const file = createWriteStream(join(folder, 'history.jsonl'));
  const history = new HistoryWriter((line) => void file.write(line));
  const sink = await startSink(history);
  const system = new System();
  const started = performance.now();
  const noted: string[] = [];
  const note = (line: string) => void noted.push(`${((performance.now() - started) / 1000).toFixed(3)} ${line}`);
  let isWell = false;
  try {
    await system.start(folder, sink.port, plan.isCanary);
    const driver = new Driver(
      plan,
      system.coordinators.map(({ url }) => url),
      history,
    );
    const faults = new Faults(system, note);
    say(
      `${system.coordinators.length} coordinators, ${system.workers.length} workers; ${plan.faults.length} faults in ${plan.faultyMs / 1000} s`,
    );
    note('load begins');
    await Promise.all([driver.run(plan.faultyMs, signal), faults.run(plan.faults, plan.faultyMs, signal)]);
    signal.throwIfAborted();
    note('nothing is broken any more');
    say('healing');
    const late = await heal(driver, plan, signal, say);
    const { history: _, ...found } = await finish(system, driver, plan);
    say('checking');
    const left: RunLeft = { ...found, plan, history: history.events, requests: driver.requests };
    const violations = [
      ...violationsOf(left),
      ...late.map((message) => ({ invariant: 'I5', message })),
      ...driver.strange.map((message) => ({ invariant: 'answers', message })),
      ...system.ends.map((message) => ({ invariant: 'processes', message })),
    ];
    isWell = violations.length === 0;
    if (!isWell || isKept) await keep(folder, left, violations, noted);
    return {
      violations,
      counts: countsOf(left, driver, faults),
      faults: faults.done,
      errors: driver.errors,
      folder: isWell && !isKept ? null : folder,
    };
  } finally {
    await system.close();
    sink.close();
    await new Promise<void>((resolve) => file.end(resolve));
    await writeFile(join(folder, 'faults.txt'), `${noted.join('\n')}\n`);
    if ((isWell && !isKept) || signal.aborted) await rm(folder, { recursive: true, force: true });
  }
}

/** Waits until no workflow is open and every watch has ended; what is not so after all that time. */
async function heal(driver: Driver, { isCanary }: Plan, signal: AbortSignal, say: (line: string) => void): Promise<string[]> {
  const problems: string[] = [];
  // What was forgotten cannot end; nothing is waited for that long.
  const deadline = performance.now() + (isCanary ? 20_000 : HEAL_MS);
  const { client } = driver.client(0);
  await driver.settled();
  let said = performance.now();
  for (;;) {
    signal.throwIfAborted();
    const open: { id: string; isPending: boolean }[] = [];
    try {
      const status = ['PENDING', 'RUNNING', 'PAUSED'] as const;
      for (const each of status) {
        const { items } = await client.listPage({ status: each, pageSize: 100 });
        for (const { id } of items) open.push({ id, isPending: each === 'PENDING' });
      }
      if (open.length === 0) break;
      // Those whose start nobody got through.
      await Promise.all(open.filter(({ isPending }) => isPending).map(({ id }) => driver.steer('start', id)));
    } catch (error) {
      if (performance.now() > deadline) problems.push(`the API does not answer: ${(error as Error).message}`);
    }
    if (performance.now() > deadline) {
      problems.push(`${open.length} or more workflows are open after ${HEAL_MS / 1000} s: ${open.slice(0, 5).map(({ id }) => id)}`);
      break;
    }
    if (performance.now() - said > 10_000) {
      said = performance.now();
      say(`${open.length === 300 ? 'more than 300' : open.length} workflows are open`);
    }
    await sleep(200);
  }
  await driver.watched(isCanary ? 1_000 : WATCH_MS);
  await driver.settled();
  return problems;
}

/** Lets the archive catch up, ends coordinators and workers, and reads what PostgreSQL has. */
async function finish(system: System, driver: Driver, { isCanary }: Plan) {
  const { url } = system.postgres;
  const deadline = performance.now() + (isCanary ? 1_000 : ARCHIVE_MS);
  let counts = await archivedCounts(url);
  while (counts.open > 0 && performance.now() < deadline) {
    await sleep(200);
    counts = await archivedCounts(url);
  }
  await system.stop();
  const remains = await readRemains(url);
  counts = await archivedCounts(url);
  const workflows = new Set(remains.journal.flatMap(({ entries }) => entries.map(({ workflowId }) => workflowId))).size;
  const problems = [...remains.problems];
  if (counts.open > 0 || counts.ended !== workflows)
    problems.push(`the archive has ${counts.ended} ended and ${counts.open} open workflows; the journal has ${workflows}`);
  return { ...remains, problems, history: driver.history };
}

function countsOf({ journal, history }: RunLeft, driver: Driver, faults: Faults): Record<string, number> {
  const ended = new Map<string, number>();
  let events = 0;
  for (const { entries } of journal) {
    for (const entry of entries) {
      events += entry.events.length;
      for (const event of entry.events) if (event.kind === 'ended') ended.set(event.status, (ended.get(event.status) ?? 0) + 1);
    }
  }
  const count = (f: string, type: string) => history.reduce((sum, event) => sum + (event.f === f && event.type === type ? 1 : 0), 0);
  return {
    submissions: driver.submissions,
    'submits sent': count('submit', 'invoke'),
    'submits acknowledged': count('submit', 'ok'),
    'submits refused': count('submit', 'fail'),
    'submits of unknown outcome': count('submit', 'info'),
    'seconds without room for load': Math.round(driver.heldMs / 1000),
    cancels: count('cancel', 'ok'),
    reads: count('read', 'ok'),
    watches: count('watch', 'ok'),
    'events watched': count('watched', 'ok'),
    ...Object.fromEntries([...ended].sort().map(([status, number]) => [`workflows ${status}`, number])),
    executions: count('execute', 'invoke'),
    'results acknowledged': count('acked', 'ok'),
    'events of the journal': events,
    batches: journal.length,
    epochs: new Set(journal.map(({ epoch }) => epoch)).size,
    faults: [...faults.done.values()].reduce((sum, number) => sum + number, 0),
    'faults passed over': faults.passedOver,
    'lines of history': history.length,
  };
}

/** What a post-mortem needs, beside the history and the logs. */
async function keep(folder: string, { plan, journal }: RunLeft, violations: readonly Violation[], noted: readonly string[]): Promise<void> {
  await writeFile(join(folder, 'plan.json'), JSON.stringify(plan, null, 1));
  await writeFile(join(folder, 'violations.json'), JSON.stringify(violations, null, 1));
  await writeFile(join(folder, 'faults.txt'), `${noted.join('\n')}\n`);
  const file = createWriteStream(join(folder, 'journal.jsonl'));
  for (const batch of journal) {
    const line = JSON.stringify(batch, (key, value) => {
      if (key === 'graph') return (value as { hash: string }).hash;
      return value instanceof Uint8Array ? Buffer.from(value).toString('utf8') : value;
    });
    if (!file.write(`${line}\n`)) await new Promise<void>((resolve) => file.once('drain', () => resolve()));
  }
  await new Promise<void>((resolve) => file.end(resolve));
}
