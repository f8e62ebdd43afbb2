/**
 * A line of a child's log as people read it. Programs write JSON, one object a line; anything else is left as it is. Pure.
 */
import { clockText } from '../show/time.ts';
import { clean, paint, type Style, type Terminal } from '../terminal.ts';

const sources: readonly Style[] = ['cyan', 'magenta', 'green', 'yellow', 'blue'];

const levels: readonly { readonly from: number; readonly word: string; readonly style: Style }[] = [
  { from: 50, word: 'ERROR', style: 'red' },
  { from: 40, word: 'WARN', style: 'yellow' },
  { from: 30, word: 'INFO', style: 'green' },
  { from: 0, word: 'DEBUG', style: 'dim' },
];

/** `coordinator | 10:00:00.123 INFO  coordinator serves port=8000`. `index` chooses the colour of the source. */
export function logLine(canvas: Pick<Terminal, 'color'>, source: string, index: number, columns: number, line: string): string {
  const prefix = paint(canvas, sources[index % sources.length], `${source.padEnd(columns)} |`);
  return `${prefix} ${readable(canvas, line)}`;
}

function readable(canvas: Pick<Terminal, 'color'>, line: string): string {
  const fields = parse(line);
  if (fields === null || typeof fields.msg !== 'string') return clean(line);
  const { level, time, msg, ...rest } = fields;
  const { word, style } = levels.find(({ from }) => typeof level === 'number' && level >= from) ?? levels[2];
  const timeMs = typeof time === 'number' || typeof time === 'string' ? new Date(time).getTime() : Number.NaN;
  const facts = Object.entries(rest).flatMap(([name, value]) =>
    value === null || value === undefined ? [] : [`${name}=${factText(value)}`],
  );
  return [
    Number.isNaN(timeMs) ? '' : paint(canvas, 'dim', clockText(timeMs)),
    paint(canvas, style, word.padEnd(5)),
    clean(msg),
    paint(canvas, 'dim', clean(facts.join(' '))),
  ]
    .filter((part) => part !== '')
    .join(' ');
}

function factText(value: unknown): string {
  if (typeof value === 'string') return /^[^\s"=]*$/.test(value) ? value : JSON.stringify(value);
  return JSON.stringify(value);
}

function parse(line: string): Record<string, unknown> | null {
  if (!line.startsWith('{')) return null;
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}
