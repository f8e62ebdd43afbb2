/**
 * What the journal alone must keep: I0, I4, I6, I9.
 */
import { type Case, JOB_ENDS, tokenOf } from '../evidence.ts';
import { keptOverATakeover, oneLeaseAtATime } from './leases.ts';

/**
 * I0: the journal is well formed (events numbered gap-free in the shard and in each workflow, epochs that do not go back) and replays to the same state,
 * however it is read.
 */
export function wellFormed(run: Case): string[] {
  const found: string[] = [];
  let lastSeq = 0;
  let epoch = 0;
  for (const batch of run.journal) {
    if (batch.firstSeq !== lastSeq + 1) found.push(`a batch begins at ${batch.firstSeq} after ${lastSeq}`);
    const events = batch.entries.reduce((sum, entry) => sum + entry.events.length, 0);
    if (batch.lastSeq !== batch.firstSeq + events - 1) found.push(`batch ${batch.firstSeq}-${batch.lastSeq} has ${events} events`);
    if (batch.epoch < epoch) found.push(`batch ${batch.firstSeq} of epoch ${batch.epoch} comes after epoch ${epoch}`);
    lastSeq = batch.lastSeq;
    epoch = batch.epoch;
  }
  for (const workflow of run.workflows()) {
    for (const [index, { seq, shardSeq }] of run.factsOf(workflow).entries()) {
      if (seq !== index + 1) found.push(`event ${shardSeq} is number ${seq} of ${workflow}, where ${index + 1} was due`);
    }
  }
  return found.length > 0 ? found : [...sameStates(run), ...isFoundWhereItBelongs(run)];
}

/** Whatever the journal has is read from where it belongs: what ended from the archive, where there is one, everything else from checkpoint and tail. */
function isFoundWhereItBelongs(run: Case): string[] {
  const { digests, isHealed } = run.evidence;
  const [rest, tail] = [digests.get('archive'), digests.get('checkpoint and tail')];
  // A copy of the database may lack the row of the archive alone: its owner has no number that would tell, and cuts the journal all the same.
  if (tail === undefined || run.of('went back').length > 0) return [];
  return [...run.workflows()].flatMap((workflow) => {
    const hasEnded = run.factsOf(workflow).at(-1)?.event.kind === 'ended';
    if (rest?.has(workflow)) return hasEnded ? [] : [`${workflow} is at rest, and has not ended`];
    if (rest !== undefined && hasEnded && isHealed) return [`${workflow} has ended, and the archive does not have it`];
    return tail.has(workflow) ? [] : [`${workflow} is found neither in the archive nor in checkpoint and tail`];
  });
}

function sameStates(run: Case): string[] {
  const { digests, digestOf } = run.evidence;
  const found: string[] = [];
  const expected = new Map<string, string>();
  for (const [how, states] of digests) {
    for (const [workflow, digest] of states) {
      let whole = expected.get(workflow);
      if (whole === undefined) {
        const events = run.factsOf(workflow).map(({ event }) => event);
        whole = events.length === 0 ? 'not in the journal' : digestOf(events);
        expected.set(workflow, whole);
      }
      if (digest !== whole) found.push(`${workflow} read by ${how} is not the fold of its events: ${digest} instead of ${whole}`);
    }
  }
  return found;
}

/**
 * I4: one live attempt holds the lease, and a result is judged by the attempt that produced it: what is recorded under a token is the job and the attempt
 * that were assigned under it, once.
 */
export function judgedByItsAttempt(run: Case): string[] {
  const found: string[] = [];
  const assigned = new Map(run.starts.map(({ event }) => [event.value?.token ?? '', event]));
  const recorded = new Map<string, string>();
  for (const workflow of run.workflows()) {
    const attempts = new Map<number, number>();
    const over = new Set<number>();
    for (const { event, shardSeq } of run.factsOf(workflow)) {
      if (!('job' in event)) continue;
      if (over.has(event.job)) found.push(`event ${shardSeq} ${event.kind} of a job of ${workflow} that had ended`);
      if (JOB_ENDS.has(event.kind)) over.add(event.job);
      if (!('attempt' in event) || event.attempt === null) continue;
      const { number } = event.attempt;
      const due = (attempts.get(event.job) ?? 0) + 1;
      if (number !== due) found.push(`event ${shardSeq} records attempt ${number} of a job of ${workflow}, where ${due} was due`);
      attempts.set(event.job, number);
      const token = tokenOf(event);
      if (token === '') continue;
      const before = recorded.get(token);
      if (before !== undefined) found.push(`the token ${token} is recorded twice: ${before} and ${event.kind}`);
      recorded.set(token, event.kind);
      const job = run.graphOf(workflow)?.jobs[event.job]?.id;
      const assignment = assigned.get(token);
      if (assignment === undefined) {
        if (run.tellsAssignments) found.push(`${event.kind} of ${job} of ${workflow} is under ${token}, which was never assigned`);
      } else if (assignment.workflow !== workflow || assignment.job !== job || assignment.attempt !== number) {
        found.push(
          `${token} was assigned as attempt ${assignment.attempt} of ${assignment.job} and recorded as attempt ${number} of ${job} of ${workflow}`,
        );
      }
    }
  }
  return [...found, ...oneLeaseAtATime(run), ...keptOverATakeover(run)];
}

/** What a coordinator tells, as the owner of the shard. */
const TOLD: ReadonlySet<string> = new Set(['assign', 'ack', 'welcome', 'revoke', 'stop', 'reply']);

/** I6: two coordinators never both commit for one shard: one term per epoch, epochs never interleave, and whoever was replaced tells nothing any more. */
export function oneWriter(run: Case): string[] {
  const found: string[] = [];
  const terms = new Map<number, string>();
  for (const { epoch, term, firstSeq } of run.journal) {
    const known = terms.get(epoch);
    if (known !== undefined && known !== term) found.push(`batch ${firstSeq} of epoch ${epoch} is of another term`);
    terms.set(epoch, term);
  }
  let owner: { readonly node: string; readonly epoch: number; readonly place: number } | null = null;
  let hasGoneBack = false;
  const owners = new Map<string, string>();
  const begun = new Map<number, number>();
  for (const [place, event] of run.history.entries()) {
    const { f, node, epoch = 0, term = '' } = event;
    // The database itself lost what it had: epochs are counted anew, and leases end earlier than was promised.
    if (f === 'went back') {
      owner = null;
      hasGoneBack = true;
    }
    if (f === 'own') {
      const key = `${epoch} ${term}`;
      // What went back may be asked again by the same process, for an answer that it never had: nothing happened under the term meanwhile.
      const isAskedAgain = hasGoneBack && owners.get(key) === `${node}/${event.incarnation}`;
      if (owners.has(key) && !isAskedAgain)
        found.push(`${node} and ${owners.get(key)} own the shard under the same epoch ${epoch} and term`);
      owners.set(key, `${node}/${event.incarnation}`);
      if (owner !== null && epoch <= owner.epoch) found.push(`${node} owns the shard under epoch ${epoch} after ${owner.epoch}`);
      owner = { node: `${node}/${event.incarnation}`, epoch, place };
    } else if ((f === 'read' || f === 'list') && event.type === 'invoke') begun.set(event.op, place);
    // A read that began before the takeover shows a moment before it, and may take its time over what is at rest.
    else if (
      (TOLD.has(f) || (f === 'shown' && owner !== null && (begun.get(event.op) ?? 0) > owner.place)) &&
      owner !== null &&
      !hasGoneBack
    ) {
      if (`${node}/${event.incarnation}` !== owner.node && epoch < owner.epoch) {
        found.push(
          `${node} told ${f} ${event.value?.token ?? event.workflow ?? ''} at ${event.t_mono} under epoch ${epoch}: ${owner.epoch} is taken`,
        );
      }
    }
  }
  return found;
}

/** I9: identities are never used again across restarts: workflows, lease tokens, numbers of events. */
export function neverAgain(run: Case): string[] {
  const found: string[] = [];
  const seen = new Set<string>();
  const take = (what: string): void => {
    if (seen.has(what)) found.push(`${what} was used twice`);
    seen.add(what);
  };
  for (const { workflow, seq, event } of run.facts) {
    if (event.kind === 'submitted') take(`workflow id ${workflow}`);
    take(`event ${seq} of ${workflow}`);
  }
  for (const { event } of run.of('assign')) take(`lease token ${event.value?.token}`);
  return found;
}
