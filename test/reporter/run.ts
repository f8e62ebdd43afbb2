/**
 * `npm test`: runs test files in parallel processes and tells what came of them.
 *
 * 1. The last line of standard output is `N passed, N failed`, with `, N skipped` when there are any, whatever happens.
 * 2. The exit code is 0 only when at least nothing failed: a crash, a limit, a signal and a wrong command line are failures.
 * 3. Nothing that a test file started outlives it.
 *
 * Tests are written with tap, and `npx tap file` runs them too; this runner exists for the figures and for the endings
 * (a kill, a busy loop, an exit in the middle), which tap's own runner mixes up between files that run at the same time.
 */
import { type Config, readConfig, USAGE, UsageError } from './config.ts';
import { type FileReport, type RunningFile, runFile } from './file.ts';
import { count, failedLines, fileLines, summaryLine } from './report.ts';

const say = (lines: readonly string[]): void => {
  if (lines.length > 0) process.stdout.write(`${lines.join('\n')}\n`);
};

/** Runs all files of `config`; `reports` grows as they end. Settles with why it stopped early, or null. */
async function runAll(config: Config, reports: FileReport[]): Promise<string | null> {
  const waiting = [...config.files];
  const running = new Set<RunningFile>();
  let stopped: string | null = null;
  const stopAll = (reason: string): void => {
    stopped ??= reason;
    for (const file of running) file.stop(reason);
  };
  const deadline = setTimeout(
    () => stopAll(`stopped: the whole run took longer than ${config.runTimeoutMs / 1000} s`),
    config.runTimeoutMs,
  );
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => stopAll(`stopped by ${signal}`));
  const lane = async (): Promise<void> => {
    for (let name = waiting.shift(); name !== undefined && stopped === null; name = waiting.shift()) {
      const file = runFile(name, config);
      running.add(file);
      const report = await file.done;
      running.delete(file);
      reports.push(report);
      say(fileLines(report, config.verbose));
    }
  };
  await Promise.all(Array.from({ length: config.jobs }, lane));
  clearTimeout(deadline);
  return stopped;
}

async function main(args: readonly string[]): Promise<void> {
  const reports: FileReport[] = [];
  const faults: string[] = [];
  try {
    if (args.includes('--help')) return say([USAGE]);
    const config = readConfig(args);
    if (config.files.length === 0) say([`no test files in ${args.join(' ') || config.root}`]);
    const stopped = await runAll(config, reports);
    if (stopped !== null) faults.push(`${stopped}; ${config.files.length - reports.length} files were not run`);
  } catch (error) {
    faults.push(error instanceof UsageError ? `${error.message}\n\n${USAGE}` : String((error as Error).stack ?? error));
  }
  const sum = count(reports);
  sum.failed += faults.length;
  say([...failedLines(reports), ...faults, '', summaryLine(sum)]);
  process.exit(sum.failed > 0 ? 1 : 0);
}

await main(process.argv.slice(2));
