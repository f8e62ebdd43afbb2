/**
 * The engine and the reference evaluator agree, on every small graph and on many large ones, after every step and in random orders.
 * `ENGINE_CASES=1000000` runs that many sampled cases instead of the default; a failure prints the smallest graph that shows it.
 */
import t from 'tap';
import {
  allOutcomes,
  type Case,
  disagreement,
  isValid,
  plainGraphs,
  randomGraph,
  randomOutcomes,
  report,
} from '../engine-support/agreement.ts';
import { buildGraph } from '../engine-support/graphs.ts';
import { seeded } from '../engine-support/random.ts';
import { Run, runToEnd } from '../engine-support/run.ts';
import { type AbstractJob, evaluate } from '../reference/evaluator.ts';
import { parse, print } from '../reference/notation.ts';
import { workedExamples } from '../reference/worked-examples.ts';

const sampled = Number(process.env.ENGINE_CASES ?? 40_000);

t.setTimeout(3_600_000);

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
    const wanted = Object.fromEntries([...expected].map(([job, status]) => [graph.jobs[job].id, status]));
    const told = (status: (job: number) => string): object =>
      Object.fromEntries([...expected.keys()].map((job) => [graph.jobs[job].id, status(job)]));
    t.same(
      told((job) => verdict.jobs[job].status),
      wanted,
      `reference: ${title}`,
    );
    t.same(
      told((job) => run.state.jobs[job].phase),
      wanted,
      `engine: ${title}`,
    );
    const opened = run.events.flatMap((event) => (event.kind === 'jobReady' ? [event.job] : []));
    t.equal(new Set(opened).size, opened.length, 'each job runs once');
  }
});

t.test('the notation of graphs reads back what it writes', async (t) => {
  const graphs = Array.from({ length: 200 }, (_, seed) => randomGraph(seeded(seed), 5));
  t.same(
    graphs.map((graph) => parse(print(graph))),
    graphs,
  );
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

/** What a job may be, one thing at a time. */
const traits: readonly Partial<AbstractJob>[] = [
  {},
  { condition: 'false' },
  { condition: 'error' },
  { join: 'any' },
  { join: 'all_done' },
  { alwaysRun: true },
  { allowFailure: true },
  { recover: true },
];

t.test('graphs of up to three jobs, each plain or with one trait, every way in which they end', async (t) => {
  const stride = sampled >= 1_000_000 ? 1 : 8;
  function* cases(): Generator<Case> {
    let number = 0;
    for (const size of [1, 2, 3]) {
      for (const plain of plainGraphs(size)) {
        for (let code = 0; code < traits.length ** size; code++) {
          const jobs = plain.jobs.map((job, at) => ({ ...job, ...traits[Math.floor(code / traits.length ** at) % traits.length] }));
          const graph = { ...plain, jobs };
          if (!isValid(graph)) continue;
          for (const outcomes of allOutcomes(size)) if (number++ % stride === 0 || size < 3) yield { graph, outcomes, seed: number };
        }
      }
    }
  }
  const { count, wrong } = firstDisagreement(cases());
  t.equal(wrong, null, `${count} cases agree`);
});

t.test('sampled graphs of up to thirteen jobs with all that the language has', async (t) => {
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
