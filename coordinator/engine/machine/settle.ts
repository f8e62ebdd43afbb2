/**
 * What follows from the end of jobs: joins, conditions, skips, finalisers and the end of the workflow.
 *
 * Invariants
 * 1. After `settle` no PENDING job of a running workflow is decidable: each waits for a job that has not ended.
 * 2. A workflow whose jobs have all ended has ended. So nothing is ever stuck between two commands.
 */
import type { Draft } from './draft.ts';
import { endingOf } from './finish.ts';
import { judge } from './join.ts';
import { scopeOf } from './scope.ts';
import type { JobError, WorkflowState } from './state.ts';

/** An error that no further attempt would change. */
export function permanentError(code: string, message: string): JobError {
  return { code, message, retryable: false, details: null, retryAfterMs: 0, stack: '' };
}

/** Decides everything that follows from `ended`, the jobs that have just ended. */
export function settle(draft: Draft, at: number, ended: Iterable<number>): void {
  const { graph } = draft.state;
  const queue = [...ended];
  for (;;) {
    for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
      for (const edge of graph.jobs[next]!.outEdges) if (decideJob(draft, at, edge.target)) queue.push(edge.target);
    }
    if (draft.state.openRegularJobs === 0) {
      for (const job of graph.jobs) if (job.finaliser && decideJob(draft, at, job.index)) queue.push(job.index);
    }
    if (queue.length === 0) break;
  }
  if (draft.state.openJobs === 0) end(draft, at);
}

/** Opens the roots of a workflow that has just started. */
export function openRoots(draft: Draft, at: number): void {
  const ended: number[] = [];
  for (const job of draft.state.graph.jobs) {
    if (job.inEdges.length === 0 && !job.finaliser && decideJob(draft, at, job.index)) ended.push(job.index);
  }
  settle(draft, at, ended);
}

/** Decides one job if it can be decided. Returns whether it has ended by that. */
function decideJob(draft: Draft, at: number, index: number): boolean {
  const { state } = draft;
  if (state.jobs[index]!.phase !== 'PENDING') return false;
  const job = state.graph.jobs[index]!;
  const verdict = judge(state, job);
  if (verdict.kind === 'wait') return false;
  if (verdict.kind === 'skip') {
    draft.emit({ kind: 'jobSkipped', at, job: index, reason: verdict.reason, causes: verdict.causes });
    return true;
  }
  const fail = (code: string, message: string): true => {
    draft.emit({ kind: 'jobFailed', at, job: index, attempt: null, error: permanentError(code, message) });
    return true;
  };
  if (job.condition !== null) {
    const result = job.condition.evaluate(scopeOf(state, index, verdict.failedSource));
    if (result.kind === 'failure') return fail('EXPRESSION_ERROR', `if: ${result.message}`);
    if (!result.value) {
      draft.emit({ kind: 'jobSkipped', at, job: index, reason: 'CONDITION_FALSE', causes: [] });
      return true;
    }
  }
  let parameters = null;
  if (job.parameters.kind === 'dynamic') {
    const result = job.parameters.render(scopeOf(state, index, verdict.failedSource));
    if (result.kind === 'failure') return fail('EXPRESSION_ERROR', `parameters: ${result.message}`);
    parameters = result.value;
  }
  const bytes = assignmentBytes(state, index, verdict.from) + (parameters?.data.length ?? 0);
  if (bytes > state.graph.assignmentBytes) {
    return fail(
      'INPUT_TOO_LARGE',
      `parameters and inputs of the job are ${bytes} bytes together; at most ${state.graph.assignmentBytes} can be handed to a worker`,
    );
  }
  draft.emit({ kind: 'jobReady', at, job: index, parameters, inputJobs: verdict.from });
  return false;
}

/** What an input takes in an assignment besides its value and its name, at most; and a character of the name. */
const INPUT_BYTES = 44;
const NAME_CHARACTER_BYTES = 3;

/** Bytes of the fixed parameters and of the inputs. Names count too: a job with thousands of sources has to fit into one message all the same. */
function assignmentBytes(state: WorkflowState, index: number, from: readonly number[]): number {
  const { parameters, inEdges } = state.graph.jobs[index]!;
  let bytes = parameters.kind === 'static' ? parameters.payload.data.length : 0;
  if (inEdges.length === 0) bytes += state.inputs.data.length;
  for (const source of from) {
    const { id } = state.graph.jobs[source]!;
    bytes += INPUT_BYTES + NAME_CHARACTER_BYTES * id.length + (state.jobs[source]!.output?.data.length ?? 0);
  }
  return bytes;
}

/** Ends the workflow. An output that cannot be computed fails it, for whoever reads it would take the absence for a value. */
function end(draft: Draft, at: number): void {
  const { state } = draft;
  const { status, error, errorJob } = endingOf(state);
  if (status !== 'SUCCEEDED' || state.graph.outputs === null) {
    draft.emit({ kind: 'ended', at, status, outputs: null, error, errorJob });
    return;
  }
  const { outputs } = state.graph;
  const result =
    outputs.kind === 'static' ? { kind: 'value' as const, value: outputs.payload } : outputs.render(scopeOf(state, null, null));
  if (result.kind === 'value') draft.emit({ kind: 'ended', at, status, outputs: result.value, error, errorJob });
  else {
    const failure = permanentError('EXPRESSION_ERROR', `outputs: ${result.message}`);
    draft.emit({ kind: 'ended', at, status: 'FAILED', outputs: null, error: failure, errorJob: null });
  }
}
