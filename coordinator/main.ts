/**
 * The coordinator program: settings, store, log, signals.
 *
 * Exit codes: 0 after a signal, 1 when it could not start or go on, 2 for bad settings. SIGTERM and SIGINT end it gracefully; a second one at once.
 */
import { readFileSync } from 'node:fs';
import { coordinatorSettings, resolveSettings } from '@workflow-orchestrator/proto/settings';
import pino from 'pino';
import { startCoordinator } from './coordinator.ts';
import { openStore } from './stores.ts';

/** Time for calls and workers to end when the program is told to. */
const SHUTDOWN_GRACE_MS = 3_000;

const { version } = JSON.parse(readFileSync(new URL('./package.json', import.meta.url), 'utf8')) as { version: string };

function fail(exitCode: number, lines: readonly string[]): never {
  for (const line of lines) process.stderr.write(`coordinator: ${line}\n`);
  process.exit(exitCode);
}

const settings = resolveSettings(coordinatorSettings, process.argv.slice(2), process.env);
if (settings.kind === 'bad') fail(2, settings.problems);
const { host, port, grpcPort, advertiseUrl, corsOrigins, token, logLevel, insecure } = settings.values;

// Written through the process's own stream: pino's flushes at the exit for ever when nobody reads any more, and such a process never ends.
process.stdout.on('error', () => {});
process.stderr.on('error', () => {});
const log = pino({ level: logLevel, base: null, timestamp: pino.stdTimeFunctions.isoTime }, process.stdout);
try {
  const store = await openStore(settings.values, log);
  const running = await startCoordinator({
    store,
    host,
    port,
    grpcPort,
    advertiseUrl,
    corsOrigins,
    token,
    version,
    log,
    onStopped: (reason) => fail(1, [`stopped: ${reason}`]),
  });
  const access = token === null ? (insecure ? 'anybody (--insecure)' : 'anybody on this machine') : 'whoever shows the token';
  log.info(
    {
      id: running.id,
      host,
      port: running.port,
      grpcPort: running.grpcPort,
      role: running.role(),
      durability: store.durability,
      access,
      version,
    },
    'coordinator listens',
  );
  if (store.durability === 'VOLATILE') log.warn('state is kept in memory only: workflows are gone when this process ends');
  process.send?.({ kind: 'listening', port: running.port, grpcPort: running.grpcPort, durability: store.durability });

  let ending = false;
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      if (ending) process.exit(1);
      ending = true;
      log.info({ signal }, 'coordinator ends');
      running.close(SHUTDOWN_GRACE_MS).then(
        () => process.exit(0),
        (error: unknown) => fail(1, [`could not end cleanly: ${String(error)}`]),
      );
    });
  }
} catch (error) {
  fail(1, [error instanceof Error ? error.message : String(error)]);
}
