/**
 * What a reader is shown is new enough and true: a part of I16.
 */
import type { DurableEvent } from '@workflow-orchestrator/engine/machine';
import type { Case, Fact } from '../evidence.ts';

/** Operations of clients whose answer says how far a workflow has come. */
const ANSWERS: ReadonlySet<string> = new Set(['submit', 'start', 'cancel', 'pause', 'resume', 'read', 'watched']);
const STATUSES: ReadonlySet<string> = new Set(['PENDING', 'RUNNING', 'PAUSED', 'SUCCEEDED', 'FAILED', 'CANCELLED']);

/**
 * Whoever reads after somebody was told of an event is shown that event or a later one, and the status that the workflow had after the last event that is
 * shown. A watch needs no such check: it shows every event from where it begins to the end.
 */
export function freshAndTrue(run: Case): string[] {
  const found: string[] = [];
  /** By workflow, the last event that any client was told of. */
  const known = new Map<string, number>();
  /** By read, what was known when it began. */
  const due = new Map<number, number>();
  for (const { f, type, op, workflow = '', node, seq = 0, value, t_mono } of run.history) {
    if (f === 'read' && type === 'invoke') due.set(op, known.get(workflow) ?? 0);
    if (f === 'read' && type === 'ok') {
      const least = due.get(op) ?? 0;
      if (seq < least) found.push(`${node} was shown ${workflow} up to event ${seq} at ${t_mono}, after ${least} was known`);
      const status = statusAfter(run.factsOf(workflow), seq);
      const answer = value?.answer ?? '';
      if (STATUSES.has(answer) && status !== null && answer !== status)
        found.push(`${node} was shown ${workflow} as ${answer} at ${t_mono}, which was ${status} after event ${seq}`);
    }
    if (ANSWERS.has(f) && (type === 'ok' || type === 'fail')) known.set(workflow, Math.max(known.get(workflow) ?? 0, seq));
  }
  return found;
}

/** The status of a workflow after so many of its events; null when the journal does not have them. */
function statusAfter(facts: readonly Fact[], seq: number): string | null {
  return seq < 1 || seq > facts.length ? null : facts.slice(0, seq).reduce((status, { event }) => next(status, event), '');
}

function next(status: string, event: DurableEvent): string {
  switch (event.kind) {
    case 'submitted':
      return 'PENDING';
    case 'started':
    case 'resumed':
      return 'RUNNING';
    case 'paused':
      return 'PAUSED';
    // Both lift a pause.
    case 'cancelRequested':
    case 'timedOut':
      return status === 'PAUSED' ? 'RUNNING' : status;
    case 'ended':
      return event.status;
    default:
      return status;
  }
}
