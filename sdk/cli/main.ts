/**
 * Entry of the program `wf`: signals, terminal, exit code. Started by `bin/wf.js`.
 */
import { readFileSync } from 'node:fs';
import { runCli } from './program.ts';
import { processTerminal } from './terminal.ts';

/** Signals that come closer together are one: a terminal sends Ctrl-C to the launcher and to this process, and the launcher passes it on. */
const sameSignalMs = 400;

const interrupted = new AbortController();
const forced = new AbortController();
let firstAt = 0;

function interrupt(): void {
  if (!interrupted.signal.aborted) {
    firstAt = performance.now();
    interrupted.abort(new Error('interrupted'));
  } else if (performance.now() - firstAt > sameSignalMs) {
    forced.abort(new Error('interrupted again'));
  }
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, interrupt);
// The launcher is gone, however it went.
if (process.channel) {
  process.on('disconnect', interrupt);
  process.channel.unref();
}
// Whoever read the output has seen enough.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

const { version } = JSON.parse(
  readFileSync(new URL(import.meta.url.endsWith('.ts') ? '../package.json' : '../../package.json', import.meta.url), 'utf8'),
) as {
  version: string;
};
const code = await runCli(process.argv.slice(2), processTerminal(interrupted.signal, forced.signal), version);
// What was written reaches its reader before the process ends, also through a pipe.
process.stdout.write('', () => process.exit(code));
