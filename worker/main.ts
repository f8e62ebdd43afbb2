/**
 * The stock worker program: settings, connections, the stock job types, log, signals.
 *
 * Exit codes: 0 when it ended because it was told to (a signal, a drain of the coordinator), 1 when it could not go on,
 * 2 for bad settings or connections, one line for each problem. SIGTERM and SIGINT let running attempts end; a second signal ends at once.
 */
import { readFileSync } from 'node:fs';
import { nearest } from '@workflow-orchestrator/proto/nearest';
import { resolveSettings, settingsHelp, showSetting, workerSettings } from '@workflow-orchestrator/proto/settings';
import pino from 'pino';
import type { Connections } from './connections/connections.ts';
import { ConnectionsError, loadConnections } from './connections/load.ts';
import { type StockType, stockHandlers, stockTypes } from './jobs/stock.ts';
import type { Logger } from './logger.ts';
import { openComputePool } from './pool/pool.ts';
import { createWorker, type WorkerEvent } from './worker.ts';

const version = packageVersion();
const args = process.argv.slice(2);

if (args.includes('--help') || args.includes('-h')) {
  process.stdout.write(`${settingsHelp(workerSettings)}  --print-config  what it would run with, as JSON\n  --version\n`);
  process.exit(0);
}
if (args.includes('--version')) {
  process.stdout.write(`${version}\n`);
  process.exit(0);
}

const settings = resolveSettings(
  workerSettings,
  args.filter((argument) => argument !== '--print-config'),
  process.env,
);
if (settings.kind === 'bad') fail(2, settings.problems);
const { values, sources } = settings;

if (args.includes('--print-config')) {
  const shown = Object.entries(workerSettings.settings).map(([name, setting]) => {
    const key = name as keyof typeof values;
    return [name, { value: 'secret' in setting ? showSetting(setting, values[key]) : values[key], source: sources[key] }];
  });
  process.stdout.write(`${JSON.stringify(Object.fromEntries(shown), null, 2)}\n`);
  process.exit(0);
}

const { types, connections } = readTypesAndConnections();
// Written through the process's own stream: pino's flushes at the exit for ever when nobody reads any more, and such a process never ends.
process.stdout.on('error', () => {});
process.stderr.on('error', () => {});
const pinoLog = pino({ level: values.logLevel, base: null, timestamp: pino.stdTimeFunctions.isoTime }, process.stdout);
const log: Logger = {
  debug: (message, fields) => pinoLog.debug(fields ?? {}, message),
  info: (message, fields) => pinoLog.info(fields ?? {}, message),
  warn: (message, fields) => pinoLog.warn(fields ?? {}, message),
  error: (message, fields) => pinoLog.error(fields ?? {}, message),
};

const pool = openComputePool();
const stock = stockHandlers(connections, pool, { log });
const worker = createWorker({
  url: values.coordinatorUrl,
  slots: values.slots,
  labels: values.labels,
  build: `stock worker ${version}`,
  log,
  onEvent,
  ...(values.token === null ? {} : { token: values.token }),
  ...(values.workerId === null ? {} : { id: values.workerId }),
});
for (const type of types) worker.handle(type, stock.handlers[type]);

let signalled = false;
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.on(signal, () => {
    if (signalled) {
      void pool.close();
      process.exit(1);
    }
    signalled = true;
    end(signal);
  });
}
// Whoever started this program with a channel is gone: nobody is left to end it.
process.once('disconnect', () => end('the starter is gone'));

log.info('worker starts', {
  id: worker.state().id,
  coordinator: values.coordinatorUrl.join(),
  types,
  slots: values.slots,
  labels: values.labels,
  connections: connections.file,
  dataFolder: connections.dataFolder,
  version,
});
worker.start().catch((error: unknown) => log.info(error instanceof Error ? error.message : String(error)));
await worker.done;
await Promise.all([stock.close(), pool.close()]);
process.exit(0);

/** Takes no more work; running attempts have `drainMs` to end. */
function end(why: string): void {
  const { running } = worker.state();
  log.info('worker ends', { why, running, drainMs: values.drainMs });
  void worker.stop({ graceMs: values.drainMs, reason: why });
}

function onEvent(event: WorkerEvent): void {
  switch (event.kind) {
    case 'connected':
      process.send?.({ kind: 'connected', id: worker.state().id, coordinatorId: event.coordinatorId });
      break;
    case 'attemptEnded': {
      const { kind: _, outcome, durationMs, ...attempt } = event;
      // Why one failed is told by the handlers, with its code.
      log.debug(`attempt ${outcome}`, { ...attempt, durationMs: Math.round(durationMs) });
      break;
    }
    case 'attemptStarted':
    case 'resultAcknowledged':
    case 'disconnected':
    case 'ended':
      break;
    default:
      event satisfies never;
  }
}

/** The job types to take and the connections they use, or every problem of both. */
function readTypesAndConnections(): { readonly types: readonly StockType[]; readonly connections: Connections } {
  const problems = values.types.flatMap((type) => {
    if (stockTypes.some((known) => known === type)) return [];
    const near = nearest(type, stockTypes);
    return [`WORKER_TYPES: no job type '${type}'; known: ${stockTypes.join(', ')}${near === null ? '' : `; did you mean '${near}'?`}`];
  });
  let found: Connections | null = null;
  try {
    found = loadConnections({ file: values.connectionsFile, dataFolder: values.dataDir, env: process.env });
  } catch (error) {
    if (!(error instanceof ConnectionsError)) throw error;
    problems.push(...error.problems);
  }
  if (found === null || problems.length > 0) fail(2, problems);
  return { types: stockTypes.filter((type) => values.types.length === 0 || values.types.includes(type)), connections: found };
}

/** Beside the sources, or one folder above the build. */
function packageVersion(): string {
  for (const place of ['./package.json', '../package.json']) {
    try {
      return (JSON.parse(readFileSync(new URL(place, import.meta.url), 'utf8')) as { version: string }).version;
    } catch {
      // The other place.
    }
  }
  return 'unknown';
}

function fail(exitCode: number, lines: readonly string[]): never {
  for (const line of lines) process.stderr.write(`worker: ${line}\n`);
  process.exit(exitCode);
}
