/**
 * The verdicts as people read them: one line for each duty, then each fault with the frames that led to it.
 */
import type { Session } from './run.ts';
import type { Verdict } from './verdict.ts';

/** Faults of one duty that are told in full. */
const faultsTold = 3;

/** All lines of the report. */
export function reportLines(verdicts: readonly Verdict[], sessions: readonly Session[]): string[] {
  const lines = verdicts.map(({ duty, kind, shown }) => {
    const count = kind === 'PASS' ? String(shown) : '';
    return `${duty.number.padEnd(4)} ${kind.padEnd(9)} ${count.padStart(5)}  ${duty.text}`;
  });
  for (const { duty, faults } of verdicts) {
    for (const { session, what, frames } of faults.slice(0, faultsTold)) {
      lines.push('', `${duty.number} FAIL in session ${session}: ${what}`, ...frames.map((frame) => `    ${frame}`));
    }
    if (faults.length > faultsTold) lines.push('', `${duty.number}: ${faults.length - faultsTold} more faults`);
  }
  for (const { script, stuck, output, history } of sessions) {
    if (stuck === null) continue;
    lines.push('', `session ${script.name} did not come to its end: ${stuck}`);
    if (output !== '')
      lines.push(
        '  the program printed:',
        ...output
          .trimEnd()
          .split('\n')
          .slice(-10)
          .map((line) => `    ${line}`),
      );
    lines.push(`  ${history.entries.length} entries; --only ${script.name} --verbose shows them`);
  }
  const count = (kind: Verdict['kind']) => verdicts.filter((verdict) => verdict.kind === kind).length;
  const ended = sessions.filter(({ stuck }) => stuck === null).length;
  lines.push(
    '',
    `${count('PASS')} duties PASS, ${count('FAIL')} FAIL, ${count('NOT SHOWN')} NOT SHOWN; ${ended} of ${sessions.length} sessions came to their end`,
  );
  return lines;
}
