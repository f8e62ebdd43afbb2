/**
 * Rules that hold for the events of every run, read off the journal alone and written from the language page (sections 3 and 4),
 * not from the engine. Each throws with what is wrong.
 */
import type { Graph, GraphJob } from '@workflow-orchestrator/engine/definition';
import { isDurable, type JobError, type WorkflowEvent, type WorkflowState } from '@workflow-orchestrator/engine/machine';

/** The events of one job that end it. */
const ends: ReadonlySet<string> = new Set(['jobSkipped', 'jobSucceeded', 'jobFailed', 'jobCancelled']);

/** Checks the events of a run, from the submit on. */
export function checkJournal(graph: Graph, events: readonly WorkflowEvent[]): void {
  for (const job of graph.jobs)
    checkJob(
      job,
      events.filter((event) => 'job' in event && event.job === job.index),
    );
  const end = events.findIndex((event) => event.kind === 'ended');
  if (end >= 0 && end !== events.length - 1) throw new Error(`events after the end: ${events.slice(end + 1).map((event) => event.kind)}`);
  for (const kind of ['submitted', 'started', 'ended']) {
    if (events.filter((event) => event.kind === kind).length > 1) throw new Error(`${kind} twice`);
  }
}

function checkJob(job: GraphJob, events: readonly WorkflowEvent[]): void {
  const fail = (message: string): never => {
    throw new Error(`${job.id}: ${message}`);
  };
  let attempts = 0;
  let opened = 0;
  let ended = false;
  let maxAttempts = job.retry.maxAttempts;
  for (const event of events) {
    if (ended) fail(`${event.kind} after its end`);
    ended = ends.has(event.kind);
    if (event.kind === 'jobReady') opened++;
    else if (event.kind !== 'jobSkipped' && event.kind !== 'jobFailed' && event.kind !== 'jobCancelled' && opened === 0)
      fail(`${event.kind} before it was ready`);
    if (event.kind === 'attemptAssigned' && event.attempt !== attempts + 1) fail(`attempt ${event.attempt} assigned after ${attempts}`);
    if (!('attempt' in event) || event.attempt === null || typeof event.attempt === 'number') continue;
    if (event.attempt.number !== attempts + 1) fail(`attempt ${event.attempt.number} after ${attempts}`);
    attempts++;
    if (event.kind !== 'jobRetryScheduled') continue;
    checkRetry(job, attempts, event.error, event.nextAttemptAt - event.at, fail);
    maxAttempts = Math.max(maxAttempts, event.error.code === 'WORKER_LOST' ? job.retry.maxAttemptsWhenLost : 0);
  }
  if (opened > 1) fail('ready twice');
  if (attempts > maxAttempts) fail(`${attempts} attempts of ${maxAttempts}`);
}

/** [4] "min(initial_delay * factor^(n-1), max_delay), spread by jitter"; a handler may ask for more; a lost worker needs no pause. */
function checkRetry(job: GraphJob, attempt: number, error: JobError, delayMs: number, fail: (message: string) => never): void {
  const { retry } = job;
  const lost = error.code === 'WORKER_LOST';
  if (attempt >= (lost ? retry.maxAttemptsWhenLost : retry.maxAttempts)) fail(`attempt ${attempt} was followed by another`);
  if (!error.retryable || retry.notOn.includes(error.code)) fail(`${error.code} was retried`);
  if (retry.on.length > 0 && !retry.on.includes(error.code)) fail(`${error.code} was retried`);
  const plain = Math.min(retry.initialDelayMs * retry.factor ** (attempt - 1), retry.maxDelayMs);
  const least = lost ? 0 : Math.max(plain * (1 - retry.jitter), error.retryAfterMs);
  const most = Math.max(plain * (1 + retry.jitter), error.retryAfterMs);
  if (delayMs < Math.floor(least) || delayMs > Math.ceil(most)) fail(`delay of ${delayMs} ms is not in ${least} to ${most}`);
}

/** [3] How the workflow must have ended, by what had failed when the first cancel or timeout came. */
export function checkEnding(state: WorkflowState, events: readonly WorkflowEvent[]): void {
  const { graph } = state;
  const durable = events.filter(isDurable);
  const stop = durable.findIndex((event) => event.kind === 'cancelRequested' || event.kind === 'timedOut');
  const counted = stop < 0 ? durable : durable.slice(0, stop);
  const blamed = counted.flatMap((event) => (event.kind === 'jobFailed' && isBlamed(state, event.job) ? [event.job] : []));
  const timedOut = durable.some((event) => event.kind === 'timedOut' && event.limit === 'timeout');
  const expected = blamed.length > 0 || timedOut ? 'FAILED' : stop >= 0 ? 'CANCELLED' : 'SUCCEEDED';
  if (state.status !== expected) throw new Error(`ended ${state.status} instead of ${expected}`);
  if (state.errorJob !== (blamed[0] ?? null)) throw new Error(`names ${state.errorJob} instead of ${blamed[0]}`);
  if (blamed.length === 0 && timedOut && state.error?.code !== 'TIMEOUT') throw new Error(`ended with ${state.error?.code}`);
  const forced =
    state.startedAt === 0 ||
    durable.some(
      (event) => (event.kind === 'cancelRequested' && event.force) || (event.kind === 'timedOut' && event.limit === 'cleanup_timeout'),
    );
  for (const { index, id, alwaysRun } of graph.jobs) {
    if (state.jobs[index].phase !== 'CANCELLED') continue;
    if (stop < 0) throw new Error(`${id} is CANCELLED although nobody asked for it`);
    if (alwaysRun && !forced) throw new Error(`${id} is CANCELLED although it always runs`);
  }
}

function isBlamed(state: WorkflowState, index: number): boolean {
  const job = state.graph.jobs[index];
  if (job.allowFailure) return false;
  const handlers = job.outEdges.filter((edge) => edge.kind === 'failure').map((edge) => state.jobs[edge.target].phase);
  const ran = handlers.filter((phase) => phase !== 'SKIPPED');
  return !(job.recover && ran.length > 0 && ran.every((phase) => phase === 'SUCCEEDED'));
}
