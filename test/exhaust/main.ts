/**
 * `npm run exhaust`: looks at everything that can happen between two coordinators and their database, within a scope. `test/README.md` says how many worlds are in
 * which scope.
 */
import { parseArgs } from 'node:util';
import { FLAWS, type Flaw } from './database.ts';
import { search } from './search.ts';

const USAGE = `npm run exhaust -- [options]
  --submits 1      what each coordinator is asked to decide
  --ticks 3        seconds that pass, in steps of one; a lease lasts two
  --faults 1       replies that are lost, requests that are cut off, commits that are refused, coordinators that crash
  --ends 1         coordinators that are told to end, and release the shard
  --flaw NAME      a rule that is taken out, to see it found; may be repeated: ${FLAWS.join(', ')}
  --most N         stop after so many worlds`;

function fail(message: string): never {
  process.stderr.write(`${message}\n${USAGE}\n`);
  process.exit(2);
}

function optionsOf(args: readonly string[]) {
  const text = (value: string) => ({ type: 'string', default: value }) as const;
  try {
    return parseArgs({
      args: [...args],
      options: {
        submits: text('1'),
        ticks: text('3'),
        faults: text('1'),
        ends: text('1'),
        most: text('Infinity'),
        flaw: { type: 'string', multiple: true, default: [] },
        help: { type: 'boolean', default: false },
      },
    }).values;
  } catch (error) {
    return fail((error as Error).message);
  }
}

const options = optionsOf(process.argv.slice(2));
if (options.help) {
  process.stdout.write(`${USAGE}\n`);
  process.exit(0);
}
const number = (name: 'submits' | 'ticks' | 'faults' | 'ends' | 'most'): number => {
  const value = Number(options[name]);
  return value >= 0 ? value : fail(`--${name}: ${options[name]} is no number`);
};
const unknown = options.flaw.find((name) => !(FLAWS as readonly string[]).includes(name));
if (unknown !== undefined) fail(`--flaw: there is no '${unknown}'`);

const scope = {
  submits: number('submits'),
  ticks: number('ticks'),
  faults: number('faults'),
  ends: number('ends'),
  flaws: new Set(options.flaw as Flaw[]),
};
const { states, steps, depth, seconds, violation } = await search(scope, number('most'));
process.stdout.write(
  `${JSON.stringify({ ...scope, flaws: options.flaw })}: ${states} states, ${steps} steps, depth ${depth}, ${seconds.toFixed(1)} s\n`,
);
if (violation !== null) {
  process.stdout.write(`${violation.path.join('\n')}\n=> ${violation.messages.join('; ')}\n`);
  process.exitCode = 1;
}
