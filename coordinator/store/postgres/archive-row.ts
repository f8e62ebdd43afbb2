/**
 * A workflow as the row that people read, in JSON; its history goes apart, as bytes.
 *
 * Invariant: no text can keep a row from being written, and none of it is in the way of finding it again: the key is that of `keyText`.
 */
import { createHash } from 'node:crypto';
import { type Payload, readPayload } from '@workflow-orchestrator/engine/definition';
import { hasEnded, type JobError, type JobState, jobStatus, type WorkflowState } from '@workflow-orchestrator/engine/machine';

/** An output of a job that is larger stands in the history alone. */
const SHOWN_OUTPUT_BYTES = 16 * 1024;
const DAY_MS = 86_400_000;
const ULID = /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/;
const CROCKFORD = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';

/** The UTC day of a workflow's id, as days since 1970; 0 for an id that says no time. */
export function dayOf(workflowId: string): number {
  if (!ULID.test(workflowId)) return 0;
  let ms = 0;
  for (const letter of workflowId.slice(0, 10)) ms = ms * 32 + CROCKFORD.indexOf(letter);
  return Math.floor(ms / DAY_MS);
}

/** A day as PostgreSQL takes it. */
export function dateOf(day: number): string {
  // The time of an id reaches to the year 10889, which has a digit more than a date is written with.
  return new Date(Math.min(day, 2_932_896) * DAY_MS).toISOString().slice(0, 10);
}

/** An idempotency key as it is kept: itself, or its hash when it has letters that PostgreSQL cannot keep. Null for none. */
export function keyText(key: string): string | null {
  if (key === '') return null;
  return key.includes('\0') || !key.isWellFormed() ? `sha256:${createHash('sha256').update(JSON.stringify(key)).digest('hex')}` : key;
}

/** The columns that are JSON or can be read from it. `now`: milliseconds since 1970. */
export function rowOf(state: WorkflowState, now: number): Readonly<Record<string, unknown>> {
  const { graph } = state;
  const { error, outputs } = state;
  return {
    id: state.id,
    day: dateOf(dayOf(state.id)),
    name: graph.name,
    version: graph.version,
    definition_hash: graph.hash,
    status: state.status,
    submitted_at: time(state.submittedAt),
    started_at: time(state.startedAt),
    ended_at: time(state.endedAt),
    labels: state.labels,
    idempotency_key: keyText(state.idempotencyKey),
    request_hash: state.requestHash,
    error: error === null ? undefined : errorOf(error, state.errorJob === null ? undefined : graph.jobs[state.errorJob]?.id),
    outputs: outputs === null ? undefined : shownValue(outputs),
    jobs: state.jobs.map((job, index) => jobOf(job, graph.jobs[index]!, now)),
    seq: state.seq,
  };
}

/** Whether the row is of a workflow that has ended, and has its history. */
export function isWhole(state: WorkflowState): boolean {
  return hasEnded(state.status);
}

function jobOf(
  job: JobState,
  { id, type }: { readonly id: string; readonly type: string },
  now: number,
): Readonly<Record<string, unknown>> {
  const { lease, error, output } = job;
  const last = job.attempts.at(-1);
  return {
    job_id: id,
    type,
    status: jobStatus(job, now),
    attempts: lease?.attempt ?? last?.number ?? 0,
    worker: (lease?.workerId ?? last?.workerId) || undefined,
    ready_at: time(job.readyAt),
    started_at: time(lease === null ? (last?.startMs ?? 0) : (lease.acceptedAt ?? 0)),
    ended_at: time(job.endedAt),
    error_code: error?.code,
    error_message: error?.message,
    output: output === null ? undefined : shownValue(output),
  };
}

function errorOf(error: JobError, jobId: string | undefined): Readonly<Record<string, unknown>> {
  const { code, message, retryable, details } = error;
  return { code, message, retryable, job_id: jobId, details: details === null ? undefined : shownValue(details) };
}

/** A value as JSON; a word about it when it is large or none. */
function shownValue(payload: Payload): unknown {
  if (payload.data.length > SHOWN_OUTPUT_BYTES) return { '@large': `${payload.data.length} bytes` };
  if (payload.encoding !== 'json') return { '@encoding': payload.encoding };
  try {
    return payload.data.length === 0 ? null : readPayload(payload);
  } catch {
    return { '@invalid': `${payload.data.length} bytes that are no JSON` };
  }
}

/** Times that were written lately: those of one batch are close together. */
const times = new Map<number, string>();
const TIMES_KEPT = 10_000;

function time(ms: number): string | undefined {
  if (ms === 0) return undefined;
  const known = times.get(ms);
  if (known !== undefined) return known;
  if (times.size >= TIMES_KEPT) times.clear();
  const text = new Date(ms).toISOString();
  times.set(ms, text);
  return text;
}
