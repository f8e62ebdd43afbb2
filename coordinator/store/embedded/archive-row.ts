/** A workflow as a row of the archive: what people ask for in columns, and all its events as bytes once it has ended. */

import type { Payload } from '@workflow-orchestrator/engine/definition';
import { hasEnded, type JobError, jobStatus } from '@workflow-orchestrator/engine/machine';
import { limits } from '@workflow-orchestrator/proto/limits';
import { encodeEntries } from '../journal.ts';
import type { ArchivedWorkflow, JournalEntry } from '../store.ts';
import type { ArchiveRow, Encoded } from './calls.ts';

/** Entries as they are sent to the writer. */
export function encoded(entries: readonly JournalEntry[]): Encoded {
  const { codec, crc, body, payloads } = encodeEntries(entries, true);
  return { codec, crc, body, payloads: payloads.size === 0 ? [] : [...payloads] };
}

/** The row of a workflow, as of `now`. */
export function archiveRow({ state, events }: ArchivedWorkflow, now: number): ArchiveRow {
  const isEnded = hasEnded(state.status);
  const errorJob = state.errorJob === null ? {} : { job: state.graph.jobs[state.errorJob].id };
  return {
    id: state.id,
    name: state.graph.name,
    definitionHash: state.graph.hash,
    status: state.status,
    submittedAt: state.submittedAt,
    startedAt: state.startedAt === 0 ? null : state.startedAt,
    endedAt: isEnded ? state.endedAt : null,
    labels: JSON.stringify(state.labels),
    idempotencyKey: state.idempotencyKey === '' ? null : state.idempotencyKey,
    requestHash: state.requestHash,
    seq: state.seq,
    outputs: state.outputs === null ? null : jsonText(state.outputs),
    error: state.error === null ? null : JSON.stringify({ ...errorFacts(state.error), ...errorJob }),
    jobs: JSON.stringify(jobFacts(state, now)),
    history: isEnded ? encoded([{ workflowId: state.id, firstEventSeq: 1, events }]) : null,
  };
}

function jobFacts({ graph, jobs }: ArchivedWorkflow['state'], now: number): object[] {
  return jobs.map((job, index) => {
    const { id, type } = graph.jobs[index];
    const last = job.attempts.at(-1);
    return {
      id,
      type,
      status: jobStatus(job, now),
      attempts: job.attempts.length,
      ...(last === undefined ? {} : { worker: last.workerId }),
      ...(job.readyAt === 0 ? {} : { readyAt: job.readyAt }),
      ...(job.endedAt === 0 ? {} : { endedAt: job.endedAt }),
      ...(job.skipReason === null ? {} : { skipReason: job.skipReason }),
      ...(job.error === null ? {} : { error: errorFacts(job.error) }),
    };
  });
}

function errorFacts({ code, message, retryable }: JobError): object {
  return { code, message, retryable };
}

/** A value as JSON text; null when it is none, or too large for a column. */
function jsonText({ encoding, data }: Payload): string | null {
  if (encoding !== 'json' || data.length > limits.payloadInlineBytes) return null;
  const text = new TextDecoder().decode(data);
  try {
    JSON.parse(text);
    return text;
  } catch {
    return null;
  }
}
