/**
 * The engine and the reference evaluator agree, on every small graph and on many large ones, after every step and in random orders.
 * `ENGINE_CASES=1000000` runs that many sampled cases instead of the default; a failure prints the smallest graph that shows it.
 */
import t from 'tap';
import { allOutcomes, type Case, disagreement, plainGraphs, randomGraph, randomOutcomes, report } from '../engine-support/agreement.ts';
import { buildGraph } from '../engine-support/graphs.ts';
import { seeded } from '../engine-support/random.ts';
import { Run, runToEnd } from '../engine-support/run.ts';
import { evaluate } from '../reference/evaluator.ts';
import { workedExamples } from '../reference/worked-examples.ts';

const sampled = Number(process.env.ENGINE_CASES ?? 40_000);

function firstDisagreement(cases: Iterable<Case>): { readonly count: number; readonly wrong: string | null } {
  let count = 0;
  for (const each of cases) {
    count++;
    if (disagreement(each) !== null) return { count, wrong: report(each) };
  }
  return { count, wrong: null };
}

t.test('the worked examples of the language page hold in the reference and in the engine', async (t) => {
  for (const { title, graph, outcomes, expected } of workedExamples()) {
    const verdict = evaluate(graph, outcomes);
    const run = new Run(buildGraph(graph));
    runToEnd(run, outcomes, (ready) => ready[0]);
    for (const [job, status] of expected) {
      t.equal(verdict.jobs[job].status, status, `reference: ${graph.jobs[job].id} in ${title}`);
      t.equal(run.state.jobs[job].phase, status, `engine: ${graph.jobs[job].id} in ${title}`);
      t.ok(run.events.filter((event) => event.kind === 'jobReady' && event.job === job).length <= 1, 'opened once at most');
    }
  }
});

t.test('every graph of up to four jobs, every way in which they end', async (t) => {
  function* cases(): Generator<Case> {
    for (const size of [1, 2, 3, 4]) {
      for (const graph of plainGraphs(size)) {
        for (const [seed, outcomes] of [...allOutcomes(size)].entries()) yield { graph, outcomes, seed };
      }
    }
  }
  const { count, wrong } = firstDisagreement(cases());
  t.equal(wrong, null, `${count} cases agree`);
});

t.test('sampled graphs with if, join, always_run, allow_failure and recover', async (t) => {
  function* cases(): Generator<Case> {
    for (let seed = 0; seed < sampled; seed++) {
      const random = seeded(seed);
      const size = 2 + random.below(seed % 10 === 0 ? 12 : 5);
      yield { graph: randomGraph(random, size), outcomes: randomOutcomes(random, size), seed };
    }
  }
  const { count, wrong } = firstDisagreement(cases());
  t.equal(wrong, null, `${count} cases agree`);
});
