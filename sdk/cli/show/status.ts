/**
 * How a status looks: its colour, and its sign in a tree.
 */
import type { JobStatusName, WorkflowStatusName } from '../../client/status.ts';
import { paint, type Style, type Terminal } from '../terminal.ts';

type StatusName = JobStatusName | WorkflowStatusName | 'UNKNOWN';

const looks: Readonly<Record<StatusName, { readonly style: Style; readonly sign: string; readonly ascii: string }>> = {
  PENDING: { style: 'dim', sign: '◌', ascii: '.' },
  READY: { style: 'blue', sign: '○', ascii: 'o' },
  RUNNING: { style: 'cyan', sign: '●', ascii: '*' },
  RETRYING: { style: 'yellow', sign: '↻', ascii: '~' },
  PAUSED: { style: 'yellow', sign: '‖', ascii: '=' },
  SUCCEEDED: { style: 'green', sign: '✔', ascii: '+' },
  FAILED: { style: 'red', sign: '✘', ascii: 'x' },
  CANCELLED: { style: 'yellow', sign: '⊘', ascii: '!' },
  SKIPPED: { style: 'dim', sign: '–', ascii: '-' },
  UNKNOWN: { style: 'dim', sign: '?', ascii: '?' },
};

/** The word in its colour. */
export function statusText(terminal: Pick<Terminal, 'color'>, status: StatusName): string {
  return paint(terminal, looks[status].style, status);
}

/** One letter that stands for the status, in its colour. */
export function statusSign(terminal: Pick<Terminal, 'color' | 'unicode'>, status: StatusName): string {
  const { style, sign, ascii } = looks[status];
  return paint(terminal, style, terminal.unicode ? sign : ascii);
}
