/**
 * What the program `wf` has around it: where it writes, what it reads, whether somebody watches. Tests hand in their own.
 */
import { text } from 'node:stream/consumers';
import { styleText } from 'node:util';

/** The colours and weights that are used. */
export type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'blue' | 'cyan' | 'magenta';

/** The world around one run of `wf`. */
export interface Terminal {
  /** Writes to stdout, as it is. */
  write(text: string): void;
  /** Writes to stderr, as it is. */
  complain(text: string): void;
  /** All of stdin. */
  readInput(): Promise<string>;
  /** Somebody watches stdout: live views make sense. */
  readonly interactive: boolean;
  /** Colours are wanted. */
  readonly color: boolean;
  /** Letters beyond ASCII can be shown. */
  readonly unicode: boolean;
  /** Size of the window. */
  readonly size: () => { readonly columns: number; readonly rows: number };
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Aborted when the user interrupts. */
  readonly interrupted: AbortSignal;
  /** Aborted when the user interrupts again: nothing is waited for any more. */
  readonly forced: AbortSignal;
}

/** The process's own terminal. `interrupted` and `forced` come from its signals. */
export function processTerminal(interrupted: AbortSignal, forced: AbortSignal): Terminal {
  const { stdout, stderr, stdin, env } = process;
  return {
    write: (text) => void stdout.write(text),
    complain: (text) => void stderr.write(text),
    readInput: () => text(stdin),
    // A terminal that does not say how wide it is cannot be drawn on.
    interactive: stdout.isTTY === true && stdout.columns > 0 && env.TERM !== 'dumb',
    color: wantsColor(env, stdout.isTTY === true),
    unicode: process.platform === 'win32' ? Boolean(env.WT_SESSION) : /utf-?8/i.test(env.LC_ALL || env.LC_CTYPE || env.LANG || ''),
    size: () => ({ columns: stdout.columns || 80, rows: stdout.rows || 24 }),
    env,
    interrupted,
    forced,
  };
}

/** NO_COLOR wins over FORCE_COLOR, both over what stdout is. */
export function wantsColor(env: Readonly<Record<string, string | undefined>>, isTerminal: boolean): boolean {
  if (env.NO_COLOR) return false;
  if (env.FORCE_COLOR !== undefined) return env.FORCE_COLOR !== '0' && env.FORCE_COLOR !== 'false';
  return isTerminal && env.TERM !== 'dumb';
}

/** Text in a style, where colours are wanted. */
export function paint(terminal: Pick<Terminal, 'color'>, style: Style, text: string): string {
  return terminal.color && text !== '' ? styleText(style, text, { validateStream: false }) : text;
}

/** Text from elsewhere without what could move the cursor or change colours. */
export function clean(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is taken out
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, '');
}
