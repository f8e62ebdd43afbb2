/**
 * The conformance kit finds what it looks for: each duty of a worker is broken by a planted fault, and the kit says which one it was.
 */
import t from 'tap';
import { checkers, readDuties } from '../conformance/duties.ts';
import { play } from '../conformance/run.ts';
import { connectionScripts } from '../conformance/scripts/connection.ts';
import { workScripts } from '../conformance/scripts/work.ts';
import { judge } from '../conformance/verdict.ts';
import { faults } from '../conformance/workers/faults.ts';
import { ROOT } from '../repo/source.ts';

const node = [process.execPath, '--conditions=workflow-orchestrator'];
const faulty = `${ROOT}/test/conformance/workers/faulty-worker.ts`;
const scripts = [...workScripts, ...connectionScripts];
/** How long a script waits for what a faulty worker does not do. */
const patienceMs = 3_000;
/** They wait more than they compute. */
const atOnce = 8;

/** The duties that failed, and the words of the faults. */
async function failed(
  name: string,
  script: string,
): Promise<{ readonly numbers: string[]; readonly stuck: string | null; readonly words: string[] }> {
  const told = scripts.find((candidate) => candidate.name === script)!;
  const { history, stuck, output } = await play(told, [...node, faulty, name], patienceMs);
  const bad = judge([history], readDuties(), checkers).filter(({ kind }) => kind === 'FAIL');
  const words = bad.flatMap(({ duty, faults: found }) =>
    found.slice(0, 1).map(({ what, frames }) => `${duty.number}: ${what}\n${frames.join('\n')}`),
  );
  return { numbers: bad.map(({ duty }) => duty.number), stuck, words: [...words, output] };
}

t.jobs = atOnce;

t.test('what stands in between cannot be seen by itself', { buffered: true }, async (t) => {
  for (const script of ['jobs', 'lost-ack', 'go-away', 'doubled-assignment', 'cancel']) {
    const { numbers, stuck, words } = await failed('none', script);
    t.same(numbers, [], script, { words });
    t.equal(stuck, null, script);
  }
});

for (const [name, { breaks, script }] of Object.entries(faults)) {
  if (breaks.length === 0) continue;
  t.test(`a worker that ${name}`, { buffered: true }, async (t) => {
    const { numbers, words } = await failed(name, script);
    for (const duty of breaks) t.ok(numbers.includes(duty), `breaks ${duty}`, { numbers, words });
  });
}
