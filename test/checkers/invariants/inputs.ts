/**
 * What a handler is given: a part of I3, for what a job depends on is also what it works on. Only of histories whose workers say what they were given.
 */
import type { GraphJob } from '@workflow-orchestrator/engine/definition';
import { type Case, type Fact, JOB_ENDS, type Placed } from '../evidence.ts';

const decoder = new TextDecoder();

/**
 * A handler is given the parameters of its job, the recorded outputs of the sources whose edges were taken (of all, where it always runs; the inputs of the
 * workflow, where it has none), and the checkpoint that an attempt before it stored last.
 */
export function givenWhatItDependsOn(run: Case): string[] {
  const assigned = new Map(run.of('assign').map((placed) => [placed.event.value?.token, placed]));
  return run.of('execute').flatMap(({ event }) => {
    const { workflow = '', job = '', type, value } = event;
    const node = run.jobOf(workflow, job);
    const facts = run.factsOf(workflow);
    if (type !== 'invoke' || value?.inputs === undefined || node === undefined) return [];
    const ready = facts.findIndex((fact) => fact.event.kind === 'jobReady' && fact.event.job === node.index);
    // That it was ready at all is asked elsewhere.
    if (ready < 0) return [];
    const expected = {
      inputs: inputsOf(run, facts, ready, node),
      parameters: parametersOf(facts[ready]!, node),
      checkpoint: checkpointOf(run, facts, node, assigned.get(value.token)),
    };
    return (['inputs', 'parameters', 'checkpoint'] as const).flatMap((what) => {
      const [given, right] = [inOrder(value[what]), inOrder(expected[what])];
      return given === right ? [] : [`${job} of ${workflow} under ${value.token} was given the ${what} ${given} instead of ${right}`];
    });
  });
}

function inputsOf(run: Case, facts: readonly Fact[], ready: number, { index, inEdges, alwaysRun }: GraphJob): Record<string, string> {
  const first = facts[0]!.event;
  if (inEdges.length === 0) return { '': first.kind === 'submitted' ? decoder.decode(first.inputs.data) : '' };
  const graph = run.graphOf(facts[0]!.workflow)!;
  const ends = new Map<number, Fact['event']>();
  for (const { event } of facts.slice(0, ready))
    if ('job' in event && JOB_ENDS.has(event.kind) && event.job !== index) ends.set(event.job, event);
  const isTaken = ({ source, kind }: GraphJob['inEdges'][number]): boolean => {
    const how = ends.get(source)?.kind;
    if (kind === 'failure') return how === 'jobFailed';
    return how === 'jobSucceeded' || (how === 'jobFailed' && graph.jobs[source]!.allowFailure);
  };
  const from = new Set(inEdges.filter((edge) => alwaysRun || isTaken(edge)).map(({ source }) => source));
  return Object.fromEntries(
    [...from].map((source) => {
      const end = ends.get(source);
      return [graph.jobs[source]!.id, end?.kind === 'jobSucceeded' ? decoder.decode(end.output.data) : ''];
    }),
  );
}

function parametersOf({ event }: Fact, { parameters }: GraphJob): string {
  const rendered = event.kind === 'jobReady' ? event.parameters : null;
  if (rendered !== null) return decoder.decode(rendered.data);
  return parameters.kind === 'static' ? decoder.decode(parameters.payload.data) : '';
}

/** The last one that was durable when the attempt was assigned: only the holder of the lease stores any, so none can come between. */
function checkpointOf(run: Case, facts: readonly Fact[], { index }: GraphJob, assigned: Placed | undefined): string | undefined {
  if (assigned === undefined) return undefined;
  const last = facts.findLast(({ workflow, seq, event }) => {
    return event.kind === 'jobCheckpointed' && event.job === index && run.durableAt(workflow, seq) < assigned.place;
  });
  return last?.event.kind === 'jobCheckpointed' ? decoder.decode(last.event.checkpoint.data) : undefined;
}

/** As text, whatever the order of keys. */
function inOrder(value: string | Readonly<Record<string, string>> | undefined): string {
  return JSON.stringify(typeof value === 'object' ? Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)) : (value ?? null));
}
