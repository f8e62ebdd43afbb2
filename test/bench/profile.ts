/**
 * A CPU profile of the measured part of a process, without start, warm-up and checks. Loaded by `--import` into coordinator and worker: SIGUSR2 begins it, a second one
 * ends it and writes the file that PROFILE names; the parent is told of both. The driver calls it.
 */
import { writeFileSync } from 'node:fs';
import { Session } from 'node:inspector/promises';

/** Steps of the clock that samples are taken by. */
const intervalUs = 250;

/** Starts to profile this process; the answer ends it and writes `file`. */
export async function startProfile(file: string): Promise<() => Promise<void>> {
  const session = new Session();
  session.connect();
  await session.post('Profiler.enable');
  await session.post('Profiler.setSamplingInterval', { interval: intervalUs });
  await session.post('Profiler.start');
  return async () => {
    const { profile } = await session.post('Profiler.stop');
    session.disconnect();
    writeFileSync(file, JSON.stringify(profile));
  };
}

const { PROFILE } = process.env;
if (PROFILE !== undefined) {
  let end: (() => Promise<void>) | null = null;
  const toggle = async () => {
    if (end === null) end = await startProfile(PROFILE);
    else await end();
    process.send?.({ kind: 'profile' });
  };
  process.on('SIGUSR2', () => void toggle());
}
