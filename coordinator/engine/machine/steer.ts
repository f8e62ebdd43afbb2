/**
 * Commands about the whole workflow (start, pause, resume, cancel) and the passing of time.
 *
 * Invariants
 * 1. A cancel or timeout ends at once what waits, tells what runs, and leaves `always_run` jobs alone until it is forced.
 * 2. A workflow that was never started has nothing to clean up: its cancel ends all of it.
 */
import { endAttempt, recordOf } from './attempt.ts';
import type { Command, Decision } from './command.ts';
import { Draft, ignored } from './draft.ts';
import { openRoots, permanentError, settle } from './settle.ts';
import { hasEnded, type WorkflowState } from './state.ts';
import { type JobTimer, jobTimer, workflowTimer } from './timers.ts';

type SteerCommand = Extract<Command, { kind: 'start' | 'pause' | 'resume' | 'cancel' | 'tick' }>;

/** Decides a command about the whole workflow. */
export function decideSteer(state: WorkflowState, command: SteerCommand): Decision {
  if (hasEnded(state.status)) return ignored('ended', `the workflow has ended: ${state.status}`);
  const draft = new Draft(state);
  const { at } = command;
  switch (command.kind) {
    case 'start':
      if (state.status !== 'PENDING') return ignored('duplicate', 'the workflow was started before');
      start(draft, at);
      break;
    case 'pause':
      if (state.status === 'PAUSED') return ignored('duplicate', 'the workflow is paused');
      if (state.status === 'PENDING') return ignored('invalid', 'the workflow was not started');
      if (state.failuresBeforeStop !== null) return ignored('invalid', 'the workflow is on its way to its end');
      draft.emit({ kind: 'paused', at });
      break;
    case 'resume':
      if (state.status === 'PENDING') return ignored('invalid', 'the workflow was not started');
      if (state.status !== 'PAUSED') return ignored('duplicate', 'the workflow is not paused');
      draft.emit({ kind: 'resumed', at });
      break;
    case 'cancel':
      if (state.cancelRequestedAt !== 0 && (state.forced || !command.force)) return ignored('duplicate', 'a cancel was accepted before');
      draft.emit({ kind: 'cancelRequested', at, reason: command.reason, force: command.force });
      stopJobs(draft, at, command.reason);
      break;
    case 'tick':
      tick(draft, at);
      if (draft.events.length === 0) return ignored('nothing-due', 'no timer is due');
      break;
    default:
      command satisfies never;
  }
  return draft.decision();
}

/** Starts a workflow that is PENDING. */
export function start(draft: Draft, at: number): void {
  draft.emit({ kind: 'started', at });
  openRoots(draft, at);
}

function stopJobs(draft: Draft, at: number, reason: string): void {
  const { state } = draft;
  const all = state.forced || state.startedAt === 0;
  const ended: number[] = [];
  for (const { index, alwaysRun } of state.graph.jobs) {
    const job = state.jobs[index]!;
    if (hasEnded(job.phase) || (alwaysRun && !all)) continue;
    if (job.lease === null) {
      draft.emit({ kind: 'jobCancelled', at, job: index, attempt: null });
      ended.push(index);
    } else if (job.lease.cancelAt === null) {
      draft.emit({ kind: 'attemptCancelSent', at, job: index, token: job.lease.token, reason });
    }
  }
  settle(draft, at, ended);
}

function tick(draft: Draft, at: number): void {
  const { state } = draft;
  const due = workflowTimer(state);
  if (due !== null && due.at <= at) {
    const limit = due.timer === 'timeout' ? 'timeout' : 'cleanup_timeout';
    draft.emit({ kind: 'timedOut', at, limit });
    stopJobs(draft, at, `the workflow's ${limit} has passed`);
  }
  for (let index = 0; index < state.jobs.length; index++) {
    // Again, because a late tick can find the next one due too: the attempt's timeout, and then the job's.
    for (let next = jobTimer(state, index); next !== null && next.at <= at; next = jobTimer(state, index))
      fire(draft, at, index, next.timer);
  }
}

function fire(draft: Draft, at: number, index: number, timer: JobTimer): void {
  const { lease } = draft.state.jobs[index]!;
  const { timeouts } = draft.state.graph.jobs[index]!;
  // What nobody accepted leaves no trace: it may never have been sent.
  const attempt = lease?.acceptedAt == null ? null : recordOf(lease, at);
  const fail = (code: string, message: string): void => {
    draft.emit({ kind: 'jobFailed', at, job: index, attempt, error: permanentError(code, message) });
    settle(draft, at, [index]);
  };
  switch (timer) {
    case 'cancelGrace':
      draft.emit({ kind: 'jobCancelled', at, job: index, attempt });
      settle(draft, at, [index]);
      return;
    case 'total':
      fail('TOTAL_TIMEOUT', `the job was not done within its total timeout of ${timeouts.totalMs} ms`);
      return;
    case 'queue':
      fail('QUEUE_TIMEOUT', `no worker took the job within its queue timeout of ${timeouts.queueMs} ms`);
      return;
    case 'run':
    case 'heartbeat': {
      const [code, message] =
        timer === 'run'
          ? ['TIMEOUT', `the attempt was not done within its timeout of ${timeouts.runMs} ms`]
          : ['HEARTBEAT_TIMEOUT', `the handler showed no life for ${timeouts.heartbeatMs} ms`];
      if (lease === null) return;
      const record = recordOf(lease, at);
      endAttempt(draft, at, index, record, { kind: 'failed', error: { ...permanentError(code, message), retryable: true } });
      return;
    }
    default:
      timer satisfies never;
  }
}
