/**
 * How jobs run: I3, I10, I11, I12, I13, I14.
 */
import type { GraphJob } from '@workflow-orchestrator/engine/definition';
import { checkEnding, checkJournal } from '../../engine-support/journal-rules.ts';
import { fold } from '../../engine-support/snapshots.ts';
import { type Case, epochOf, type Fact, JOB_ENDS, jobKey, tokenOf } from '../evidence.ts';
import { givenWhatItDependsOn } from './inputs.ts';
import { againstTheReference } from './language.ts';
import { moreThanLeasesExplain, withinWhatAWorkerTakes } from './leases.ts';
import { timersFireInTime } from './timers.ts';

/** I3: a job starts only after the outcomes it depends on are durable, and is given them. */
export function startsAfterItsSources(run: Case): string[] {
  const found: string[] = [];
  const ready = new Map<string, Fact>();
  const ends = new Map<string, Fact>();
  for (const fact of run.facts) {
    const { event, workflow } = fact;
    if (!('job' in event)) continue;
    const key = jobKey(workflow, event.job);
    if (JOB_ENDS.has(event.kind)) ends.set(key, fact);
    if (event.kind !== 'jobReady') continue;
    ready.set(key, fact);
    const job = run.graphOf(workflow)?.jobs[event.job];
    if (job !== undefined && !mayBegin(job, (source) => ends.has(jobKey(workflow, source))))
      found.push(`${job.id} of ${workflow} is ready at event ${fact.shardSeq}, before its sources have ended`);
  }
  for (const { event, place } of run.starts) {
    const { workflow = '', job = '' } = event;
    const index = run.graphOf(workflow)?.indexOf.get(job);
    const fact = index === undefined ? undefined : ready.get(jobKey(workflow, index));
    if (fact === undefined) found.push(`${job} of ${workflow} was assigned, and the journal does not have it ready`);
    else if (run.durableAt(workflow, fact.seq) > place)
      found.push(`${job} of ${workflow} was assigned at ${event.t_mono}, before its ready was durable`);
  }
  return [...found, ...givenWhatItDependsOn(run)];
}

/** Whether enough of its sources have ended: one, for a job that runs at its first taken edge. */
function mayBegin(job: GraphJob, hasEnded: (source: number) => boolean): boolean {
  const sources = [...new Set(job.inEdges.map(({ source }) => source))];
  if (sources.length === 0) return true;
  const atFirst = !job.alwaysRun && (job.join === 'any' || (job.join === 'all' && job.inEdges.every(({ kind }) => kind === 'failure')));
  return atFirst ? sources.some(hasEnded) : sources.every(hasEnded);
}

/** I10: no success without one: a job that SUCCEEDED has an execution that ended well, with exactly that attempt and that output. */
export function successWasSeen(run: Case): string[] {
  const ledger = new Map([...run.outcomes('execute').values()].map(({ event }) => [event.value?.token ?? '', event]));
  return run.facts.flatMap(({ workflow, event }) => {
    if (event.kind !== 'jobSucceeded') return [];
    const execution = ledger.get(event.attempt.token);
    const job = run.graphOf(workflow)?.jobs[event.job]?.id;
    const what = `${job} of ${workflow} SUCCEEDED under ${event.attempt.token}`;
    if (execution?.type !== 'ok') return [`${what}, and no execution ended well under it`];
    if (execution.workflow !== workflow || execution.job !== job)
      return [`${what}, which executed ${execution.job} of ${execution.workflow}`];
    const output = new TextDecoder().decode(event.output.data);
    return execution.value?.output === output ? [] : [`${what} with ${output}, and its execution gave ${execution.value?.output}`];
  });
}

/**
 * I11: a job is executed at most once for each attempt on record and each lease that was lost; without faults exactly once for each attempt. A job that ended
 * by its time, or was stopped, while an offer was on its way has none for that offer: whoever took it had begun, and nobody had heard of it.
 */
export function executionsAreCounted(run: Case): string[] {
  const found: string[] = [];
  const tokens = new Map<string, string[]>();
  const assigned = new Set(run.of('assign').map(({ event }) => event.value?.token));
  for (const { event } of run.of('execute')) {
    if (event.type !== 'invoke') continue;
    const token = event.value?.token ?? '';
    const key = jobKey(event.workflow, event.job);
    const seen = tokens.get(key) ?? [];
    if (seen.includes(token)) found.push(`${key} was executed twice under ${token}`);
    if (run.tellsAssignments && !assigned.has(token)) found.push(`${key} was executed under ${token}, which was never assigned`);
    tokens.set(key, [...seen, token]);
  }
  found.push(...startedAfterItsEnd(run), ...moreThanLeasesExplain(run, tokens));
  if (!run.evidence.isFaultless) return found;
  const recorded = new Map<string, number>();
  const stopped = new Set<string>();
  for (const { workflow, event } of run.facts) {
    if (!('job' in event)) continue;
    const key = jobKey(workflow, run.graphOf(workflow)?.jobs[event.job]?.id);
    if (tokenOf(event) !== '') recorded.set(key, (recorded.get(key) ?? 0) + 1);
    else if (event.kind === 'jobFailed' || event.kind === 'jobCancelled') stopped.add(key);
  }
  for (const [key, seen] of tokens) {
    const attempts = recorded.get(key) ?? 0;
    if (seen.length < attempts || seen.length > attempts + (stopped.has(key) ? 1 : 0))
      found.push(`${key} was executed ${seen.length} times for ${attempts} attempts, without a fault`);
  }
  return found;
}

/** What has ended under one owner is not started by a later one, who has read that it has. */
function startedAfterItsEnd(run: Case): string[] {
  const ends = new Map<string, number>();
  for (const { workflow, epoch, event } of run.facts) {
    if (!('job' in event) || !JOB_ENDS.has(event.kind)) continue;
    ends.set(jobKey(workflow, run.graphOf(workflow)?.jobs[event.job]?.id), epoch);
  }
  return run.starts.flatMap(({ event }) => {
    const epoch = epochOf(event.value?.token ?? '');
    const ended = ends.get(jobKey(event.workflow, event.job)) ?? Number.POSITIVE_INFINITY;
    return epoch > ended ? [`${event.job} of ${event.workflow}, which ended in epoch ${ended}, was started again in epoch ${epoch}`] : [];
  });
}

/** I12: attempts stay within their number, back-off and timeouts fire in their window, a workflow ends as what happened says. */
export function rulesOfTheLanguage(run: Case): string[] {
  const found: string[] = [];
  for (const workflow of run.workflows()) {
    const graph = run.graphOf(workflow);
    const events = run.factsOf(workflow).map(({ event }) => event);
    if (graph === undefined) continue;
    try {
      checkJournal(graph, events);
      const state = fold(events);
      if (events.at(-1)?.kind === 'ended') checkEnding(state, events);
      found.push(...againstTheReference(graph, events).map((what) => `${workflow}: ${what}`));
    } catch (error) {
      found.push(`${workflow}: ${(error as Error).message}`);
    }
  }
  return [...found, ...timersFireInTime(run)];
}

/** I13: after an acknowledged cancel no new attempt is dispatched, but of jobs that always run; after one with force none at all. */
export function nothingAfterACancel(run: Case): string[] {
  return run.tellsAssignments ? assignedAfterACancel(run) : startedAfterACancel(run);
}

/** Where nobody tells when an attempt was assigned: none is started by a later owner, who has read that it was cancelled. */
function startedAfterACancel(run: Case): string[] {
  const cancelled = new Map<string, { readonly epoch: number; readonly force: boolean }>();
  for (const { workflow, epoch, event } of run.facts) {
    if (event.kind !== 'cancelRequested') continue;
    const before = cancelled.get(workflow);
    if (before === undefined || (event.force && !before.force)) cancelled.set(workflow, { epoch, force: event.force });
  }
  return run.starts.flatMap(({ event }) => {
    const { workflow = '', job = '' } = event;
    const cancel = cancelled.get(workflow);
    if (cancel === undefined || epochOf(event.value?.token ?? '') <= cancel.epoch) return [];
    const graph = run.graphOf(workflow);
    const { alwaysRun = false } = graph?.jobs[graph.indexOf.get(job) ?? -1] ?? {};
    return alwaysRun && !cancel.force ? [] : [`${job} of ${workflow} was started after its cancel, by a later owner`];
  });
}

function assignedAfterACancel(run: Case): string[] {
  const cancelled = new Map<string, boolean>();
  return run.history.flatMap((event) => {
    const { workflow = '', job = '' } = event;
    if (event.f === 'cancel' && event.type === 'ok' && event.value?.answer === 'done')
      cancelled.set(workflow, (event.value.force ?? false) || cancelled.get(workflow) === true);
    if (event.f !== 'assign' || !cancelled.has(workflow)) return [];
    const graph = run.graphOf(workflow);
    const { alwaysRun = false } = graph?.jobs[graph.indexOf.get(job) ?? -1] ?? {};
    return alwaysRun && cancelled.get(workflow) === false
      ? []
      : [`${job} of ${workflow} was assigned at ${event.t_mono}, after its cancel was acknowledged`];
  });
}

/** I14: a limit counts what is live: at every moment a worker process runs, and holds leases of, at most as many attempts as it has slots. */
export function withinSlots(run: Case): string[] {
  const live = new Map<string, Set<number>>();
  const executed = run.of('execute').flatMap(({ event }) => {
    const who = `${event.node}/${event.incarnation}`;
    const running = live.get(who) ?? new Set();
    live.set(who, running);
    if (event.type !== 'invoke') running.delete(event.op);
    else running.add(event.op);
    const { slots = Number.POSITIVE_INFINITY } = event.value ?? {};
    return running.size > slots ? [`${who} runs ${running.size} attempts in ${slots} slots at ${event.t_mono}`] : [];
  });
  return [...executed, ...withinWhatAWorkerTakes(run)];
}
