/**
 * Leases: what of I4, I11 and I14 needs to know who held what, and when. Only of histories that tell it: those of simulated coordinators.
 */
import { type Case, jobKey, type Placed } from '../evidence.ts';
import type { HistoryEvent } from '../history.ts';
import { type Lease, leasesOf } from '../leases.ts';

/** How long what a recovery found READY is offered to nobody, unless its worker came back with it: `limits.leaseMs`, as the coordinator's README promises it. */
const GRACE_MS = 8_000;

/** Whether leases can be told: a database that went back lost records that had ended some. */
function areTold(run: Case): boolean {
  return run.tellsAssignments && run.of('went back').length === 0;
}

/** I4: within one tenure a job has one lease at a time, and none once a result that was acknowledged has ended it. */
export function oneLeaseAtATime(run: Case): string[] {
  if (!areTold(run)) return [];
  const found: string[] = [];
  const leases = leasesOf(run);
  for (const lease of leases.all) {
    const { tenure, token, workflow, job, from } = lease;
    const other = leases.of(workflow, job).find((each) => each !== lease && each.tenure === tenure && leases.isHeld(each, from));
    if (other !== undefined) found.push(`${job} of ${workflow} was given away under ${token}, while ${other.token} held its lease`);
  }
  const ends = new Map<string, number>();
  for (const { place, event } of run.of('ack')) {
    const { token = '', answer } = event.value ?? {};
    const key = jobKey(event.workflow, event.job);
    // What was durable when the ack left was decided before it: later attempts do not count here.
    if (answer === 'ACCEPTED' && !ends.has(key) && leases.hasEndedUnder(token, place)) ends.set(key, place);
  }
  for (const { place, event } of run.of('assign')) {
    if ((ends.get(jobKey(event.workflow, event.job)) ?? Number.POSITIVE_INFINITY) < place)
      found.push(`${event.job} of ${event.workflow} was assigned at ${event.t_mono}, after the result that ended it was acknowledged`);
  }
  return found;
}

/**
 * I4: whoever comes back after a takeover with a live attempt keeps it, and for one grace nobody else is given its job. What the takeover did not find READY,
 * what is between two attempts, and what was taken up and ended again, goes on at once.
 */
export function keptOverATakeover(run: Case): string[] {
  if (!areTold(run)) return [];
  const acquired = new Map<string, Placed>();
  for (const own of run.of('own')) if (!acquired.has(own.event.term ?? '')) acquired.set(own.event.term ?? '', own);
  const isEarly = ({ t_mono, value }: HistoryEvent): boolean => {
    const own = acquired.get(value?.tenure ?? '');
    return own !== undefined && t_mono < own.event.t_mono + GRACE_MS;
  };
  const attached = attachedTokens(run);
  const found: string[] = [];
  for (const { place, event } of run.of('assign')) {
    const { workflow = '', job = '', t_mono, value } = event;
    const own = acquired.get(value?.tenure ?? '');
    if (own === undefined || !isEarly(event) || !mayRun(run, workflow, job, own.event)) continue;
    if (isTakenUpBefore(run, attached, event, place)) continue;
    found.push(
      `${job} of ${workflow} was assigned at ${t_mono}, ${t_mono - own.event.t_mono} ms after a takeover, though it may have been running`,
    );
  }
  const leases = leasesOf(run);
  for (const { place, event } of run.of('welcome')) {
    for (const token of event.value?.dropped ?? []) {
      const assigned = leases.assignedUnder(token);
      const own = acquired.get(event.value?.tenure ?? '');
      if (assigned === undefined || own === undefined || !isEarly(event)) continue;
      const { workflow, job, attempt } = assigned;
      if (!mayRun(run, workflow, job, own.event) || leases.isRecorded(token, place) || leases.hasEnded(workflow, job, place)) continue;
      const others = leases.of(workflow, job).filter((each) => each.token !== token && each.attempt === attempt);
      // The first of two that come back wins, also with nothing but a result; and an attempt whose offer was refused may have been offered again before.
      const { tenure } = event.value ?? {};
      const since = attached.get(`${tenure} ${token}`) ?? place;
      if (
        others.some((each) => (each.from < place && each.tenure === tenure) || (attached.get(`${tenure} ${each.token}`) ?? place) < since)
      )
        continue;
      if (attempt !== attemptsBefore(run, workflow, job, place) + 1) continue;
      found.push(
        `${event.value?.worker} came back with ${job} of ${workflow} under ${token} at ${event.t_mono}, and was told to abandon it`,
      );
    }
  }
  return found;
}

/** By tenure and token, where a worker first came back with it. */
function attachedTokens(run: Case): ReadonlyMap<string, number> {
  const attached = new Map<string, number>();
  for (const { place, event } of run.of('attach'))
    for (const token of event.value?.tokens ?? []) {
      const key = `${event.value?.tenure} ${token}`;
      if (!attached.has(key)) attached.set(key, place);
    }
  return attached;
}

/** Whether a job may have been running when the shard was acquired: it had been ready, and was not between two attempts. */
function mayRun(run: Case, workflow: string, job: string, own: HistoryEvent): boolean {
  const index = run.jobOf(workflow, job)?.index;
  let isReady = false;
  for (const { shardSeq, event } of run.factsOf(workflow)) {
    if (shardSeq > (own.seq ?? 0)) break;
    if (!('job' in event) || event.job !== index) continue;
    if (event.kind === 'jobReady') isReady = true;
    // By the clock of whoever took over, which is no later than the moment of the recovery.
    else if (event.kind === 'jobRetryScheduled') isReady = event.nextAttemptAt <= own.t_wall;
  }
  return isReady;
}

/** Whether an attempt of before was taken up in this tenure, and has ended since: from then on its job is like any other. */
function isTakenUpBefore(
  run: Case,
  attached: ReadonlyMap<string, number>,
  { workflow = '', job = '', value }: HistoryEvent,
  place: number,
): boolean {
  const leases = leasesOf(run);
  return leases.of(workflow, job).some((lease) => {
    const since = attached.get(`${value?.tenure} ${lease.token}`) ?? Number.POSITIVE_INFINITY;
    return since < place && lease.token !== value?.token;
  });
}

/** Attempts of a job that were on record there. */
function attemptsBefore(run: Case, workflow: string, job: string, place: number): number {
  const index = run.jobOf(workflow, job)?.index;
  return run.factsOf(workflow).filter(({ seq, event }) => {
    return 'job' in event && event.job === index && 'attempt' in event && event.attempt !== null && run.durableAt(workflow, seq) < place;
  }).length;
}

/**
 * I11: what leases explain. Each token is executed at most once, and each lease ends with a record, is given back (refused, released, lost before it was
 * accepted), or is the last one of its job in its tenure: its owner was replaced, or the job ended without it. Within a tenure one follows another only when
 * that has ended (I4). So a job is executed at most once for each record, each lease that was given back, and each tenure in which it had a lease.
 */
export function moreThanLeasesExplain(run: Case, executed: ReadonlyMap<string, readonly string[]>): string[] {
  if (!areTold(run)) return [];
  const leases = leasesOf(run);
  const byJob = new Map<string, Lease[]>();
  for (const lease of leases.all) {
    const key = jobKey(lease.workflow, lease.job);
    byJob.set(key, [...(byJob.get(key) ?? []), lease]);
  }
  return [...executed].flatMap(([key, tokens]) => {
    const given = byJob.get(key) ?? [];
    const open = given.filter(({ token, givenBack }) => !leases.isRecorded(token) && givenBack === Number.POSITIVE_INFINITY);
    const explained = new Set(given.filter((lease) => !open.includes(lease)).map(({ token }) => token)).size;
    const most = explained + new Set(open.map(({ tenure }) => tenure)).size;
    return tokens.length > most ? [`${key} was executed ${tokens.length} times, where ${most} leases explain it`] : [];
  });
}

/** I14: with each assignment a worker holds at most as many leases as it has slots, and of a type as many as it takes; and it is able to do the job. */
export function withinWhatAWorkerTakes(run: Case): string[] {
  const found: string[] = [];
  const joined = new Map<string, HistoryEvent>();
  const leases = areTold(run) ? leasesOf(run) : null;
  const byPlace = new Map(leases?.all.map((lease) => [lease.from, lease]));
  for (const [place, event] of run.history.entries()) {
    const { f, type, node, workflow = '', job = '', value = {} } = event;
    if (f === 'join') joined.set(node, event);
    if (f !== 'assign' && (f !== 'execute' || type !== 'invoke')) continue;
    const worker = f === 'assign' ? (value.worker ?? '') : node;
    const { slots = 0, capabilities = {}, labels = {} } = joined.get(worker)?.value ?? {};
    const needs = run.jobOf(workflow, job);
    if (!joined.has(worker) || needs === undefined) continue;
    const what = `${worker} was given ${job} of ${workflow} at ${event.t_mono}`;
    if (capabilities[needs.type] === undefined) found.push(`${what}, and takes no jobs of the type ${needs.type}`);
    for (const [key, wanted] of needs.requiredLabels)
      if (labels[key] !== wanted) found.push(`${what}, which asks for the label ${key} ${wanted}`);
    const lease = byPlace.get(place);
    if (leases === null || f !== 'assign' || lease === undefined) continue;
    const held = [...leases.ofWorker(lease.tenure, worker).filter((each) => leases.isHeld(each, place)), lease];
    const most = capabilities[needs.type] ?? 0;
    const ofType = held.filter((each) => run.jobOf(each.workflow, each.job)?.type === needs.type).length;
    if (held.length > slots) found.push(`${what}, and holds ${held.length} leases in ${slots} slots`);
    if (most > 0 && ofType > most) found.push(`${what}, and holds ${ofType} leases of the type ${needs.type}, where ${most} are the most`);
  }
  return found;
}
