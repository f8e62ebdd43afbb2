/**
 * Words for people: a line for every file, everything about what failed, and the figure that machines read on the last line.
 */
import { inspect } from 'node:util';
import type { FileReport } from './file.ts';
import type { Failure, Test } from './tally.ts';

/** How many tests ended how. */
export interface Count {
  passed: number;
  failed: number;
  skipped: number;
}

/** Counts the tests of some files. */
export function count(reports: readonly FileReport[]): Count {
  const sum: Count = { passed: 0, failed: 0, skipped: 0 };
  for (const { tests } of reports) for (const test of tests) sum[test.outcome] += 1;
  return sum;
}

/** The last line: exactly `N passed, N failed`, and `, N skipped` when there are any. */
export function summaryLine(sum: Count): string {
  return `${sum.passed} passed, ${sum.failed} failed${sum.skipped > 0 ? `, ${sum.skipped} skipped` : ''}`;
}

/** What to print when a file has ended. */
export function fileLines(report: FileReport, verbose: boolean): string[] {
  const sum = count([report]);
  const took = `${(report.tookMs / 1000).toFixed(1)} s`;
  const lines = [`${sum.failed > 0 ? 'FAIL' : 'ok  '} ${report.file.padEnd(52)} ${summaryLine(sum)}, ${took}`];
  for (const test of report.tests) lines.push(...indent(testLines(test), 5));
  if (sum.failed > 0 || verbose) {
    lines.push(...indent(block('printed', report.output.join('\n')), 5));
    lines.push(...indent(block('standard error', report.stderr), 5));
  }
  return lines;
}

/** The names of all failed tests once more, for the end of a long run. */
export function failedLines(reports: readonly FileReport[]): string[] {
  const names = reports.flatMap(({ file, tests }) =>
    tests.filter((test) => test.outcome === 'failed').map((test) => `  ${file}  ${nameOf(test)}`),
  );
  return names.length === 0 ? [] : ['', 'Failed:', ...names];
}

function nameOf(test: Test): string {
  return test.path.length === 0 ? '(the file)' : test.path.join(' > ');
}

function testLines(test: Test): string[] {
  switch (test.outcome) {
    case 'passed':
      return [];
    case 'skipped':
      return [`- skipped: ${nameOf(test)}${test.reason === '' ? '' : ` (${test.reason})`}`];
    case 'failed':
      return [`x ${nameOf(test)}`, ...test.failures.flatMap((failure) => indent(failureLines(failure), 2))];
    default:
      return test.outcome satisfies never;
  }
}

/** What tap knows besides these is noise: the source is in the editor, the rest are its own terms. */
const SHOWN_BY_HAND = new Set([
  'diff',
  'at',
  'stack',
  'source',
  'compare',
  'tapCaught',
  'test',
  'signal',
  'expired',
  'pid',
  'handles',
  'requests',
]);
const STACK_LINES = 8;

function failureLines({ title, diag }: Failure): string[] {
  const lines = [title];
  const stack = typeof diag.stack === 'string' ? diag.stack.trimEnd().split('\n') : [];
  const place = placeOf(diag.at);
  if (place !== null) lines.push(`  at ${place}`);
  if (typeof diag.diff === 'string') lines.push(...indent(diag.diff.trimEnd().split('\n'), 2));
  for (const [key, value] of Object.entries(diag)) {
    if (!SHOWN_BY_HAND.has(key)) lines.push(...indent(`${key}: ${inspect(value, { depth: 6, breakLength: 120 })}`.split('\n'), 2));
  }
  if (stack.length > 1) lines.push(...indent(stack.slice(0, STACK_LINES), 4));
  return lines;
}

function placeOf(at: unknown): string | null {
  if (typeof at !== 'object' || at === null) return null;
  const { fileName, lineNumber, columnNumber } = at as Record<string, unknown>;
  return typeof fileName === 'string' ? `${fileName}:${lineNumber}:${columnNumber}` : null;
}

function block(title: string, text: string): string[] {
  const body = text.trim();
  return body === '' ? [] : [`${title}:`, ...body.split('\n').map((line) => `| ${line}`)];
}

function indent(lines: readonly string[], by: number): string[] {
  return lines.map((line) => (line === '' ? '' : ' '.repeat(by) + line));
}
