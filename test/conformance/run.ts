/**
 * Runs scripts against a command, a few at a time, and gives back what happened.
 */
import type { History } from './history.ts';
import type { Script } from './scripts/script.ts';
import { quickTimers, Stage, Stuck } from './stage.ts';

/** One session that is over. */
export interface Session {
  readonly script: Script;
  readonly history: History;
  /** What the script waited for in vain, or null. */
  readonly stuck: string | null;
  /** The last of what the program printed. */
  readonly output: string;
}

/** Plays one script; `patienceMs` is how long it waits for what should come. */
export async function play(script: Script, command: readonly string[], patienceMs?: number): Promise<Session> {
  const stage = new Stage(script.name, { ...quickTimers, ...script.timers }, patienceMs);
  let stuck: string | null = null;
  try {
    await stage.start(command);
    await script.run(stage);
  } catch (error) {
    if (!(error instanceof Stuck)) throw error;
    stuck = error.message;
  } finally {
    await stage.end();
  }
  return { script, history: stage.history, stuck, output: stage.process?.output ?? '' };
}

/** Plays all of them, `jobs` at a time; `told` hears of each that is over. */
export async function playAll(
  scripts: readonly Script[],
  command: readonly string[],
  jobs: number,
  told: (session: Session) => void = () => {},
): Promise<Session[]> {
  const sessions: Session[] = [];
  const waiting = [...scripts];
  const work = async () => {
    for (let script = waiting.shift(); script !== undefined; script = waiting.shift()) {
      const session = await play(script, command);
      sessions.push(session);
      told(session);
    }
  };
  await Promise.all(Array.from({ length: jobs }, work));
  return sessions.sort((a, b) => scripts.indexOf(a.script) - scripts.indexOf(b.script));
}
