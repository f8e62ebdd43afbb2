/**
 * Runs one workflow to its end in this process: the real state machine, the real messages to a worker, the real handlers.
 * Only the clock is moved by hand, from one timer to the next, so that back-off costs no time.
 */
import { create } from '@bufbuild/protobuf';
import { compile, type Graph, readPayload } from '@workflow-orchestrator/engine/definition';
import { type AttemptOutcome, nextWake } from '@workflow-orchestrator/engine/machine';
import { AssignmentSchema } from '@workflow-orchestrator/proto';
import { assignmentOf } from '../../coordinator/shard/assignment.ts';
import { readJob } from '../../worker/attempt/job.ts';
import { JobError } from '../../worker/errors.ts';
import type { Handler, Json } from '../../worker/handler.ts';
import { json } from '../engine-support/graphs.ts';
import { epochMs, Run } from '../engine-support/run.ts';

/** How a workflow ended: its status, the status of each job that ran, and `-` with a reason for each that did not. */
export interface Ending {
  readonly status: string;
  readonly jobs: Readonly<Record<string, string>>;
  readonly outputs: unknown;
}

/** Compiles; throws with all problems when the text is no definition. */
export function graphOfText(text: string): Graph {
  const compiled = compile(text);
  if (compiled.kind === 'ok') return compiled.graph;
  throw new Error(compiled.problems.map((problem) => `${problem.line}:${problem.column} ${problem.path}: ${problem.message}`).join('\n'));
}

/** Starts a workflow of `text` with `inputs` and gives every ready job to the handler of its type, one after the other. */
export async function runWorkflow(text: string, inputs: Json, handlers: Readonly<Record<string, Handler>>): Promise<Ending> {
  const graph = graphOfText(text);
  const prepared = graph.prepareInputs(inputs);
  if (prepared.kind === 'bad') throw new Error(prepared.problems.map(({ path, message }) => `${path}: ${message}`).join('\n'));
  const run = new Run(graph, 'wf-example');
  run.submit(true, json(prepared.inputs));
  while (run.state.endedAt === 0) {
    const job = run.ready().find((index) => run.state.jobs[index]!.notBefore <= run.now);
    if (job !== undefined) {
      await attempt(run, job, handlers);
      continue;
    }
    const next = Math.min(nextWake(run.state) ?? Infinity, ...run.ready().map((index) => run.state.jobs[index]!.notBefore));
    if (next === Infinity) throw new Error('nothing is ready and no timer runs');
    run.now = Math.max(next, run.now);
    run.send({ kind: 'tick' });
  }
  const names = graph.jobs.map((job): [string, string] => {
    const { phase, skipReason } = run.state.jobs[job.index]!;
    return [job.id, phase === 'SKIPPED' ? `- ${skipReason}` : phase];
  });
  const outputs = run.state.outputs === null ? null : readPayload(run.state.outputs);
  return { status: run.state.status, jobs: Object.fromEntries(names), outputs };
}

async function attempt(run: Run, index: number, handlers: Readonly<Record<string, Handler>>): Promise<void> {
  run.assign(index);
  run.accept(index);
  const read = readJob(create(AssignmentSchema, assignmentOf(run.state, index)));
  if (read.kind === 'problem') throw new Error(read.message);
  const handler = handlers[read.job.type];
  if (handler === undefined) throw new Error(`no handler for the type ${read.job.type}`);
  run.result(index, await outcomeOf(handler, read.job));
}

/** What became of the call of a handler. An error that is none of the worker's is a mistake of the test and goes on. */
async function outcomeOf(handler: Handler, job: Parameters<Handler>[0]): Promise<AttemptOutcome> {
  const quiet = () => {};
  try {
    const output = await handler(job, {
      signal: new AbortController().signal,
      progress: quiet,
      heartbeat: quiet,
      setCheckpoint: quiet,
      checkpoint: undefined,
      log: { debug: quiet, info: quiet, warn: quiet, error: quiet },
      idempotencyKey: `${job.workflowId}/${job.id}/0`,
      fencingToken: BigInt(epochMs),
    });
    return { kind: 'succeeded', output: json(output) };
  } catch (error) {
    if (!(error instanceof JobError)) throw error;
    const { code, message, retryable, retryAfterMs } = error;
    return { kind: 'failed', error: { code, message, retryable, retryAfterMs, details: null, stack: '' } };
  }
}
