/**
 * A run that checks the engine's contract at every step, whatever the test is about. A breach throws.
 *
 * Checked
 * 1. `decide` changes nothing that it is given.
 * 2. The state of its decision is the fold of the decision's events; the live state is the fold of all events.
 * 3. The fold of the durable events alone is the live state without what is volatile.
 * 4. `seq` counts the durable events; `openJobs` and `openRegularJobs` count what they say.
 * 5. A decision has an event; what has ended never changes.
 * 6. After a tick no timer is due.
 */
import { type Decision, hasEnded, isDurable, nextWake, stripLeases, type WorkflowState } from '@workflow-orchestrator/engine/machine';
import { Run, type TimelessCommand } from './run.ts';
import { cloneState, differences, fold, sameState } from './snapshots.ts';

export class CheckedRun extends Run {
  override send(command: TimelessCommand): Decision {
    const given = this.current;
    const before = given === null ? null : cloneState(given);
    // The engine is to see an argument that a wrong write would be found in: the live state itself, compared with its copy.
    const decision = this.decideOnly(command);
    if (given !== null && before !== null) expectSame('decide changed its argument', given, before);
    this.apply(decision);
    if (decision.kind === 'ignored') {
      if (before !== null) expectSame('an ignored command changed the state', this.state, before);
      return decision;
    }
    if (decision.events.length === 0) throw new Error(`a decision without events: ${JSON.stringify(command)}`);
    this.#checkStep(decision.state, before);
    if (command.kind === 'tick' && this.state.endedAt === 0) {
      const wake = nextWake(this.state);
      if (wake !== null && wake <= this.now) throw new Error(`after a tick at ${this.now} a timer is due at ${wake}`);
    }
    return decision;
  }

  #checkStep(decided: WorkflowState, before: WorkflowState | null): void {
    const { state } = this;
    expectSame('the state of the decision is not the fold of its events', decided, state);
    const { recoveredAt } = state;
    expectSame('the live state is not the fold of all events', state, { ...fold(this.events), recoveredAt });
    const durable = this.events.filter(isDurable);
    expectSame('the fold of the durable events is not the live state without leases', fold(durable), stripLeases(state));
    if (state.seq !== durable.length) throw new Error(`seq is ${state.seq} after ${durable.length} durable events`);
    const open = state.jobs.flatMap((job, index) => (hasEnded(job.phase) ? [] : [state.graph.jobs[index]]));
    if (state.openJobs !== open.length) throw new Error(`openJobs is ${state.openJobs}; ${open.length} are open`);
    const regular = open.filter((job) => !job.finaliser).length;
    if (state.openRegularJobs !== regular) throw new Error(`openRegularJobs is ${state.openRegularJobs}; ${regular} are open`);
    if ((state.endedAt !== 0) !== (open.length === 0)) throw new Error(`${open.length} jobs are open, ended: ${state.endedAt !== 0}`);
    if (before === null) return;
    if (hasEnded(before.status)) throw new Error('an ended workflow changed');
    for (const [index, job] of before.jobs.entries()) {
      const changes = hasEnded(job.phase) ? differences(state.jobs[index], job, `jobs[${index}]`) : [];
      if (changes.length > 0) throw new Error(`an ended job changed: ${changes.join('; ')}`);
    }
  }
}

function expectSame(rule: string, actual: WorkflowState, expected: WorkflowState): void {
  if (!sameState(actual, expected)) throw new Error(`${rule}: ${differences(actual, expected).join('; ')}`);
}
