/**
 * What was told must be so: I1, I2, I8, I16, I17, I20, and what only a client can see of I7.
 */
import type { DurableEvent } from '@workflow-orchestrator/engine/machine';
import { type Case, JOB_ENDS, jobKey, tokenOf } from '../evidence.ts';
import { cancelReasonOf, type HistoryEvent } from '../history.ts';
import { freshAndTrue } from './reads.ts';

/** I1: a submission that was acknowledged is never lost: the journal has it, and whoever reads on finds it, from the checkpoint or at rest. */
export function submitsAreKept(run: Case): string[] {
  // What is made from the journal itself finds whatever the journal has.
  const ways = ['checkpoint and tail', 'archive'].flatMap((way) => run.evidence.digests.get(way) ?? []);
  return run.of('submit').flatMap(({ event }) => {
    if (event.type !== 'ok') return [];
    const { workflow = '', node } = event;
    const what = `the submit of ${workflow} was acknowledged to ${node}`;
    if (run.factsOf(workflow)[0]?.event.kind !== 'submitted') return [`${what}, and the journal does not have it`];
    return ways.length === 0 || ways.some((found) => found.has(workflow)) ? [] : [`${what}, and it is found nowhere`];
  });
}

/** I2: a result that was acknowledged to its worker is never lost or changed, and a job has one outcome. */
export function resultsAreKept(run: Case): string[] {
  const found: string[] = [];
  const recorded = new Map<string, DurableEvent>();
  const ends = new Map<string, string>();
  for (const { workflow, event } of run.facts) {
    const token = tokenOf(event);
    if (token !== '') recorded.set(token, event);
    if (!('job' in event) || !JOB_ENDS.has(event.kind)) continue;
    const key = jobKey(workflow, event.job);
    if (ends.has(key)) found.push(`job ${event.job} of ${workflow} has two outcomes: ${ends.get(key)} and ${event.kind}`);
    ends.set(key, event.kind);
  }
  const executions = new Map([...run.outcomes('execute').values()].map(({ event }) => [event.value?.token ?? '', event]));
  for (const { event } of [...run.of('ack'), ...run.of('acked')]) {
    const { token = '', answer } = event.value ?? {};
    if (answer !== 'ACCEPTED' && answer !== 'DUPLICATE') continue;
    const outcome = executions.get(token)?.value?.outcome;
    // Given back before it began: that leaves no trace.
    if (outcome === undefined) continue;
    const record = recorded.get(token);
    if (record === undefined) found.push(`${token} was acknowledged ${answer}, and the journal does not have it`);
    else if (!isRecordOf(record, outcome)) found.push(`${token} ${outcome}, was acknowledged ${answer}, and is recorded as ${record.kind}`);
  }
  return found;
}

function isRecordOf(record: DurableEvent, outcome: string): boolean {
  if (outcome === 'succeeded') return record.kind === 'jobSucceeded';
  return record.kind === 'jobRetryScheduled' || record.kind === 'jobFailed' || record.kind === 'jobCancelled';
}

/** What leaves a coordinator, and what of it is seen by clients. */
const EFFECTS: ReadonlySet<string> = new Set(['reply', 'shown', 'assign', 'ack']);
const SEEN: ReadonlySet<string> = new Set(['watched', 'submit', 'read']);
/** Longest time for which an owner may not know that it is none any more, and a little. */
const LEASE_MS = 4_000;

/** I8: nothing is seen outside before it is durable: whatever an effect shows is in the final journal, and was there before it. */
export function durableBeforeTold(run: Case): string[] {
  const found: string[] = [];
  const rests = restsOn(run);
  const lost = run.of('went back').at(-1);
  for (const [place, event] of run.history.entries()) {
    if (event.type !== 'ok') continue;
    const { f, node, workflow = '', value } = event;
    // What was told before the database lost it is gone; whoever owned the shard then may go on telling of it until its lease ends, and no longer.
    if (lost !== undefined && (place < lost.place || event.t_mono < lost.event.t_mono + LEASE_MS || !EFFECTS.has(f))) continue;
    if (!EFFECTS.has(f) && !SEEN.has(f)) continue;
    const seq = rests(event);
    if (seq === null) {
      found.push(`${f} ${value?.answer ?? event.job} by ${node} at ${event.t_mono} under ${value?.token} rests on nothing in the journal`);
      continue;
    }
    if (seq === 0) continue;
    const facts = run.factsOf(workflow);
    if (facts.length < seq) found.push(`${f} to or by ${node} rests on event ${seq} of ${workflow}, and the journal has ${facts.length}`);
    else if (run.durableAt(workflow, seq) > place)
      found.push(`${f} by ${node} at ${event.t_mono} shows event ${seq} of ${workflow} before its commit`);
    if (f === 'watched' && facts[seq - 1] !== undefined && facts[seq - 1].event.kind !== value?.kind)
      found.push(`a watch of ${node} showed ${value?.kind} as event ${seq} of ${workflow}; the journal has ${facts[seq - 1].event.kind}`);
  }
  return found;
}

/** The number of the event that an effect rests on: 0 when on none, null when on one that the journal does not have. */
function restsOn(run: Case): (effect: HistoryEvent) => number | null {
  const records = new Map<string, number>();
  const readies = new Map<string, number>();
  for (const { workflow, seq, event } of run.facts) {
    if (tokenOf(event) !== '') records.set(tokenOf(event), seq);
    if (event.kind === 'jobReady') readies.set(jobKey(workflow, run.graphOf(workflow)?.jobs[event.job]?.id), seq);
  }
  // What is given back leaves no trace.
  const released = new Set(run.of('result').flatMap(({ event: { value } }) => (value?.outcome === 'released' ? [value.token] : [])));
  return ({ f, workflow, job, seq = 0, value: { answer, token = '' } = {} }) => {
    if (f === 'assign') return readies.get(jobKey(workflow, job)) ?? null;
    if (f !== 'ack') return seq;
    if (answer === 'WORKFLOW_ENDED') return run.factsOf(workflow ?? '').length;
    if ((answer !== 'ACCEPTED' && answer !== 'DUPLICATE') || released.has(token)) return 0;
    return records.get(token) ?? null;
  };
}

/** I7: one idempotency key, one workflow; another body with the same key is refused. */
export function oneWorkflowPerKey(run: Case): string[] {
  const found: string[] = [];
  const owners = new Map<string, { readonly workflow: string; readonly hash: string }>();
  for (const { workflow, event } of run.facts) {
    if (event.kind !== 'submitted' || event.idempotencyKey === '') continue;
    const other = owners.get(event.idempotencyKey);
    if (other !== undefined) found.push(`the key ${event.idempotencyKey} made ${other.workflow} and ${workflow}`);
    else owners.set(event.idempotencyKey, { workflow, hash: event.requestHash });
  }
  for (const { event } of run.of('submit')) {
    const { key = '', hash } = event.value ?? {};
    const owner = owners.get(key);
    if (event.type !== 'ok' || key === '' || owner === undefined) continue;
    if (owner.workflow !== event.workflow) found.push(`${event.node} was given ${event.workflow} for the key ${key} of ${owner.workflow}`);
    else if (owner.hash !== hash) found.push(`${event.node} was given ${event.workflow} for another body with the key ${key}`);
  }
  return found;
}

/**
 * I16: after an acknowledged submit a read never says "not found" and a list of everything has it, and what is read is new enough and true; a watch has no
 * gaps, can be resumed, and delivers the end.
 */
export function readable(run: Case): string[] {
  const found: string[] = [];
  const submitted = new Map<string, number>();
  const begun = new Map<number, number>();
  const next = new Map<number, number>();
  for (const [place, event] of run.history.entries()) {
    const { f, type, op, workflow = '', node } = event;
    if (f === 'submit' && type === 'ok' && !submitted.has(workflow)) submitted.set(workflow, place);
    if ((f === 'read' || f === 'watch' || f === 'list') && type === 'invoke') begun.set(op, place);
    if (f === 'list' && type === 'ok') {
      const listed = new Set(event.value?.ids);
      for (const [id, at] of submitted)
        if (at < (begun.get(op) ?? -1) && !listed.has(id))
          found.push(`${node} did not find ${id} in its list at ${event.t_mono}, whose submit was acknowledged before`);
    }
    const isKnown = (submitted.get(workflow) ?? Number.POSITIVE_INFINITY) < (begun.get(op) ?? -1);
    if ((f === 'read' || f === 'watch') && type !== 'invoke' && event.value?.answer === 'not found' && isKnown)
      found.push(`${node} did not find ${workflow} at ${event.t_mono}, whose submit was acknowledged before`);
    if (f === 'watch' && type === 'invoke') next.set(op, (event.value?.after ?? 0) + 1);
    if (f === 'watched') {
      if (event.seq !== next.get(op))
        found.push(`a watch of ${node} was shown event ${event.seq} of ${workflow}, where ${next.get(op)} was due`);
      next.set(op, (event.seq ?? 0) + 1);
    }
    if (f === 'watch' && type === 'ok' && event.value?.kind !== 'ended')
      found.push(`a watch of ${workflow} by ${node} ended before the workflow`);
  }
  if (run.evidence.isHealed) {
    const last = new Map<string, string>();
    for (const { event } of run.of('watch'))
      last.set(`${event.node} ${event.workflow}`, event.value?.answer === 'not found' ? 'ok' : event.type);
    for (const [who, type] of last) if (type === 'info' || type === 'invoke') found.push(`the watch of ${who} never came to its end`);
  }
  return [...found, ...freshAndTrue(run)];
}

/** What `cancelReasonOf` gives. */
const CANCEL_REASON = /^asked for by \d+$/;

/** I17: a request that was refused has no effect; one that was answered has the one that it was told. */
export function refusedIsNothing(run: Case): string[] {
  return [...submitsAreAsAnswered(run), ...cancelsAreAsAnswered(run), ...steersAreAsAnswered(run)];
}

/** A cancel that was refused is not in the journal, and one that was done is. */
function cancelsAreAsAnswered(run: Case): string[] {
  const reasons = new Map<string, Set<string>>();
  for (const { workflow, event } of run.facts) {
    if (event.kind !== 'cancelRequested') continue;
    reasons.set(workflow, new Set([...(reasons.get(workflow) ?? []), event.reason]));
  }
  // Where reasons do not tell who asked, nothing can be said.
  if ([...reasons.values()].some((all) => [...all].some((reason) => !CANCEL_REASON.test(reason)))) return [];
  return run.of('cancel').flatMap(({ event }) => {
    const { op, type, workflow = '', node } = event;
    const isThere = reasons.get(workflow)?.has(cancelReasonOf(op)) ?? false;
    if (type === 'fail' && isThere)
      return [`the cancel ${op} of ${node} was refused (${event.value?.answer}), and ${workflow} was cancelled by it`];
    return type === 'ok' && !isThere ? [`the cancel ${op} of ${node} was done, and ${workflow} was not cancelled by it`] : [];
  });
}

/** Nothing is started, paused or resumed more often than somebody may have been heard. */
function steersAreAsAnswered(run: Case): string[] {
  // Real clients try again by themselves, and may be refused after a try that was heard.
  if (!run.tellsAssignments) return [];
  return (['start', 'pause', 'resume'] as const).flatMap((f) => {
    const heard = new Map<string, number>();
    for (const { event } of run.outcomes(f).values())
      if (event.type !== 'fail') heard.set(event.workflow ?? '', (heard.get(event.workflow ?? '') ?? 0) + 1);
    return [...run.workflows()].flatMap((workflow) => {
      const count = run.factsOf(workflow).filter(({ seq, event }) => {
        // One that is submitted to begin at once begins with its second event.
        return event.kind === STEERED[f] && !(f === 'start' && seq === 2 && isOfItsSubmit(run, workflow));
      }).length;
      const most = heard.get(workflow) ?? 0;
      return count > most
        ? [`${workflow} was ${STEERED[f]} ${count} times, and of what clients asked only ${most} may have been heard`]
        : [];
    });
  });
}

const STEERED = { start: 'started', pause: 'paused', resume: 'resumed' } as const;

/** Whether a workflow was started in the batch of its submit. */
function isOfItsSubmit(run: Case, workflow: string): boolean {
  return run.journal.some(({ entries }) => {
    return entries.some(({ workflowId, firstEventSeq, events }) => {
      return workflowId === workflow && firstEventSeq === 1 && events[1]?.kind === 'started';
    });
  });
}

function submitsAreAsAnswered(run: Case): string[] {
  const offered = new Map<number, string[]>();
  for (const { event } of run.of('offer')) offered.set(event.op, [...(offered.get(event.op) ?? []), event.workflow ?? '']);
  return run.of('submit').flatMap(({ event }) => {
    const kept = (offered.get(event.op) ?? []).filter((id) => run.factsOf(id).length > 0);
    if (event.type === 'ok' && kept.includes(event.workflow ?? '') && kept.length > 1)
      return [
        `the submit ${event.op} of ${event.node} was answered ${event.workflow}, and made ${kept.length} workflows: ${kept.join(', ')}`,
      ];
    if (event.type !== 'fail') return [];
    return kept.map((id) => `the submit ${event.op} of ${event.node} was refused (${event.value?.answer}), and the journal has ${id}`);
  });
}

/** I20: overload is honest: refused means a reason, a time to come again, and no effect (I17); accepted means I1. */
export function overloadIsHonest(run: Case): string[] {
  return run.of('submit').flatMap(({ event }) => {
    if (event.type !== 'fail' || event.value?.answer !== 'overloaded') return [];
    if ((event.value.retryAfterMs ?? 0) > 0 && event.value.message) return [];
    return [`${event.node} was refused for overload without a reason or a time to come again`];
  });
}
