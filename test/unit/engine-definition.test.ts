/**
 * From the file to the end: graphs written as definition files, compiled, and run in the engine, held against the reference evaluator.
 * The other engine tests build graphs without the compiler; this one shows that the compiler builds the same.
 */
import { compile } from '@workflow-orchestrator/engine/definition';
import t from 'tap';
import { disagreement, randomGraph, randomOutcomes } from '../engine-support/agreement.ts';
import { json } from '../engine-support/graphs.ts';
import { seeded } from '../engine-support/random.ts';
import { Run } from '../engine-support/run.ts';
import type { AbstractGraph, AbstractJob, EdgeKind } from '../reference/evaluator.ts';
import { print } from '../reference/notation.ts';

const cases = Number(process.env.ENGINE_CASES ?? 500);

/** What `if` says so that it gives what the abstract graph asks for; the inputs are read so that nothing can be folded at compile time. */
const conditions = { none: {}, true: { if: 'inputs.yes' }, false: { if: '!inputs.yes' }, error: { if: '1 / inputs.zero == 1' } } as const;

/** The definition file of a graph, in JSON, which is YAML. */
function fileOf(graph: AbstractGraph): string {
  const inputs = { yes: { type: 'boolean', default: true }, zero: { type: 'integer', default: 0 } };
  const jobs = graph.jobs.map((job, index) => jobOf(graph, job, index));
  return JSON.stringify({ workflow: { name: 'sampled', inputs, jobs } });
}

function jobOf(graph: AbstractGraph, job: AbstractJob, index: number): object {
  const targets = (kind: EdgeKind): string[] => {
    return graph.edges.filter((edge) => edge.source === index && edge.kind === kind).map((edge) => graph.jobs[edge.target].id);
  };
  const success = targets('success');
  const failure = targets('failure');
  return {
    id: job.id,
    type: 'work',
    ...(success.length > 0 ? { on_success: success } : {}),
    ...(failure.length > 0 ? { on_failure: job.recover ? { run: failure, recover: true } : failure } : {}),
    join: job.join,
    always_run: job.alwaysRun,
    allow_failure: job.allowFailure,
    ...conditions[job.condition],
  };
}

t.test('sampled graphs as files: compiled and run, every step is as the page says', async (t) => {
  const faults: string[] = [];
  for (let seed = 0; seed < cases && faults.length === 0; seed++) {
    const random = seeded(seed);
    const size = 2 + random.below(5);
    const graph = randomGraph(random, size);
    const outcomes = randomOutcomes(random, size);
    const compiled = compile(fileOf(graph));
    if (compiled.kind === 'bad') {
      faults.push(`refused: ${print(graph)}: ${compiled.problems.map((problem) => problem.message).join('; ')}`);
      continue;
    }
    const prepared = compiled.graph.prepareInputs({});
    if (prepared.kind === 'bad') throw new Error('the inputs do not fit');
    const fault = disagreement({ graph, outcomes, seed }, () => {
      const run = new Run(compiled.graph);
      run.submit(true, json(prepared.inputs));
      return run;
    });
    if (fault !== null) faults.push(`${print(graph)} | ${outcomes.join(' ')} | ${fault}`);
  }
  t.same(faults, [], `${cases} files`);
});
