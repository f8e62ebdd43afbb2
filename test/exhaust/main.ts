/**
 * `npm run exhaust -- [--submits 2] [--ticks 5] [--faults 2] [--flaw NAME ...]`: looks at everything that can happen between two coordinators and their database.
 */
import { parseArgs } from 'node:util';
import type { Flaw } from './database.ts';
import { search } from './search.ts';

const { values } = parseArgs({
  options: {
    submits: { type: 'string', default: '1' },
    ticks: { type: 'string', default: '4' },
    faults: { type: 'string', default: '2' },
    flaw: { type: 'string', multiple: true, default: [] },
    most: { type: 'string', default: 'Infinity' },
  },
});
const scope = {
  submits: Number(values.submits),
  ticks: Number(values.ticks),
  faults: Number(values.faults),
  flaws: new Set(values.flaw as Flaw[]),
};
const { states, steps, depth, seconds, violation } = await search(scope, Number(values.most));
process.stdout.write(
  `${JSON.stringify({ ...scope, flaws: values.flaw })}: ${states} states, ${steps} steps, depth ${depth}, ${seconds.toFixed(1)} s\n`,
);
if (violation !== null) {
  process.stdout.write(`${violation.path.join('\n')}\n=> ${violation.messages.join('; ')}\n`);
  process.exitCode = 1;
}
