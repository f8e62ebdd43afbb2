/** Reading one line of a story: a verb, words, `key=value` options; and the settings of a job. */
import type { GraphJob } from '@workflow-orchestrator/engine/definition';

/** A line in its parts. */
export interface Words {
  readonly line: string;
  readonly verb: string;
  readonly positional: readonly string[];
  readonly options: ReadonlyMap<string, string>;
  /** A word that must be there. */
  at(place: number): string;
  /** The words from `place` on. */
  text(place: number): string;
}

/** Splits a line. */
export function readWords(line: string): Words {
  const [verb, ...rest] = line.trim().split(/\s+/);
  const isOption = (word: string): boolean => /^[a-z_]+=/.test(word);
  const positional = rest.filter((word) => !isOption(word));
  const options = new Map(rest.filter(isOption).map((word) => [word.slice(0, word.indexOf('=')), word.slice(word.indexOf('=') + 1)]));
  return {
    line,
    verb,
    positional,
    options,
    at: (place) => {
      if (positional[place] === undefined) throw new Error(`a word is missing in '${line}'`);
      return positional[place];
    },
    text: (place) => positional.slice(place).join(' '),
  };
}

const units: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** `500ms`, `1.5s`, `5m`, `1h` as milliseconds. */
export function durationMs(text: string | undefined): number {
  const match = /^([0-9.]+)(ms|s|m|h)$/.exec(text ?? '');
  if (match === null) throw new Error(`not a duration: '${text}'`);
  return Math.round(Number(match[1]) * units[match[2]]);
}

/** The settings of a job, in the words of a definition file: `max_attempts=3 initial_delay=1s run=30s`. */
export function jobSettings(job: GraphJob, text: string): Partial<GraphJob> {
  let { retry, timeouts, checkOutput } = job;
  for (const [key, value] of readWords(`set ${text}`).options) {
    const codes = value.split(',');
    switch (key) {
      case 'max_attempts':
        retry = { ...retry, maxAttempts: Number(value), maxAttemptsWhenLost: Number(value) };
        break;
      case 'initial_delay':
        retry = { ...retry, initialDelayMs: durationMs(value) };
        break;
      case 'factor':
        retry = { ...retry, factor: Number(value) };
        break;
      case 'max_delay':
        retry = { ...retry, maxDelayMs: durationMs(value) };
        break;
      case 'jitter':
        retry = { ...retry, jitter: Number(value) };
        break;
      case 'on':
        retry = { ...retry, on: codes };
        break;
      case 'not_on':
        retry = { ...retry, notOn: codes };
        break;
      case 'queue':
        timeouts = { ...timeouts, queueMs: durationMs(value) };
        break;
      case 'run':
        timeouts = { ...timeouts, runMs: durationMs(value) };
        break;
      case 'heartbeat':
        timeouts = { ...timeouts, heartbeatMs: durationMs(value) };
        break;
      case 'total':
        timeouts = { ...timeouts, totalMs: durationMs(value) };
        break;
      case 'output_type':
        checkOutput = (output) => (typeof output === value ? null : `must be a ${value}`);
        break;
      default:
        throw new Error(`no setting '${key}'`);
    }
  }
  return { retry, timeouts, checkOutput };
}
