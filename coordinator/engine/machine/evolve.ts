/**
 * `evolve`: what an event changes. No rule is decided here; replaying the journal goes through this file alone.
 *
 * Invariants
 * 1. Total and blind: it never refuses an event and reads no clock. What it is given was decided.
 * 2. It owns the container it is given (fields and the `jobs` array are changed in place) and replaces job states, never changes them:
 *    a copy of the container with a copied array is a snapshot.
 * 3. Durable events alone rebuild everything but `lease` and `recoveredAt`.
 */
import type { DurableEvent, VolatileEvent, WorkflowEvent } from './event.ts';
import { isDurable } from './event.ts';
import type { EndedAttempt, JobError, JobPhase, JobState, WorkflowState } from './state.ts';

/** Folds one event into `state`, in place, and returns it. Only `submitted` takes null. */
export function evolve(state: WorkflowState | null, event: WorkflowEvent): WorkflowState {
  if (event.kind === 'submitted') return submitted(event);
  if (state === null) throw new Error(`invariant broken: event '${event.kind}' of a workflow that was not submitted`);
  if (isDurable(event)) {
    state.seq += 1;
    evolveDurable(state, event);
  } else {
    evolveVolatile(state, event);
  }
  return state;
}

/** A snapshot that `evolve` may change without changing `state`. */
export function fork(state: WorkflowState): WorkflowState {
  return { ...state, jobs: state.jobs.slice() };
}

/** The state without what is volatile: what the durable events alone give. A new container. */
export function stripLeases(state: WorkflowState): WorkflowState {
  return {
    ...state,
    recoveredAt: 0,
    jobs: state.jobs.map((job) => (job.lease === null && job.lostOffers === 0 ? job : { ...job, lease: null, lostOffers: 0 })),
  };
}

/**
 * The state with which a coordinator goes on that has read it from the journal. A job that is READY may be running on a worker that has yet
 * to come back, until `at`: its time in the queue, and the time to obey a cancel, count from there. A new container.
 */
export function recovered(state: WorkflowState, at: number): WorkflowState {
  return { ...stripLeases(state), recoveredAt: at };
}

const PENDING_JOB: JobState = {
  phase: 'PENDING',
  skipReason: null,
  causes: [],
  readyAt: 0,
  notBefore: 0,
  parameters: null,
  inputJobs: [],
  attempts: [],
  checkpoint: null,
  output: null,
  error: null,
  endedAt: 0,
  lease: null,
  lostOffers: 0,
};

function submitted(event: Extract<DurableEvent, { kind: 'submitted' }>): WorkflowState {
  const { graph } = event;
  return {
    id: event.workflowId,
    graph,
    inputs: event.inputs,
    labels: event.labels,
    idempotencyKey: event.idempotencyKey,
    requestHash: event.requestHash,
    submittedAt: event.at,
    status: 'PENDING',
    startedAt: 0,
    resumedAt: 0,
    recoveredAt: 0,
    endedAt: 0,
    cancelRequestedAt: 0,
    cancelReason: '',
    forced: false,
    timedOutAt: 0,
    failures: [],
    failuresBeforeStop: null,
    outputs: null,
    error: null,
    errorJob: null,
    seq: 1,
    jobs: new Array<JobState>(graph.jobs.length).fill(PENDING_JOB),
    openJobs: graph.jobs.length,
    openRegularJobs: graph.jobs.reduce((count, job) => (job.finaliser ? count : count + 1), 0),
  };
}

function evolveDurable(state: WorkflowState, event: Exclude<DurableEvent, { kind: 'submitted' }>): void {
  switch (event.kind) {
    case 'started':
      state.status = 'RUNNING';
      state.startedAt = event.at;
      return;
    case 'paused':
      state.status = 'PAUSED';
      return;
    case 'resumed':
      state.status = 'RUNNING';
      state.resumedAt = event.at;
      return;
    case 'cancelRequested':
      stop(state, event.at);
      if (state.cancelRequestedAt === 0) {
        state.cancelRequestedAt = event.at;
        state.cancelReason = event.reason;
      }
      state.forced ||= event.force;
      return;
    case 'timedOut':
      stop(state, event.at);
      if (event.limit === 'timeout') state.timedOutAt = event.at;
      else state.forced = true;
      return;
    case 'ended':
      state.status = event.status;
      state.endedAt = event.at;
      state.outputs = event.outputs;
      state.error = event.error;
      state.errorJob = event.errorJob;
      return;
    case 'jobReady':
      state.jobs[event.job] = {
        ...state.jobs[event.job]!,
        phase: 'READY',
        readyAt: event.at,
        notBefore: event.at,
        parameters: event.parameters,
        inputJobs: event.inputJobs,
      };
      return;
    case 'jobSkipped':
      endJob(state, event.job, 'SKIPPED', event.at, { skipReason: event.reason, causes: event.causes });
      return;
    case 'jobRetryScheduled': {
      const job = state.jobs[event.job]!;
      const ended: EndedAttempt = { ...event.attempt, endMs: event.at, outcome: 'FAILED', error: event.error };
      state.jobs[event.job] = {
        ...job,
        attempts: [...job.attempts, ended],
        error: event.error,
        notBefore: event.nextAttemptAt,
        lease: null,
        lostOffers: 0,
      };
      return;
    }
    case 'jobSucceeded':
      endJob(state, event.job, 'SUCCEEDED', event.at, {
        attempts: withAttempt(state, event.job, { ...event.attempt, endMs: event.at, outcome: 'SUCCEEDED', error: null }),
        output: event.output,
        error: null,
      });
      return;
    case 'jobFailed': {
      const ended: EndedAttempt | null =
        event.attempt === null ? null : { ...event.attempt, endMs: event.at, outcome: 'FAILED', error: event.error };
      endJob(state, event.job, 'FAILED', event.at, { attempts: withAttempt(state, event.job, ended), error: event.error });
      if (!state.graph.jobs[event.job]!.allowFailure) state.failures = [...state.failures, event.job];
      return;
    }
    case 'jobCancelled': {
      const ended: EndedAttempt | null =
        event.attempt === null ? null : { ...event.attempt, endMs: event.at, outcome: 'CANCELLED', error: null };
      endJob(state, event.job, 'CANCELLED', event.at, { attempts: withAttempt(state, event.job, ended) });
      return;
    }
    case 'jobCheckpointed':
      state.jobs[event.job] = { ...state.jobs[event.job]!, checkpoint: event.checkpoint };
      return;
    default:
      event satisfies never;
  }
}

function evolveVolatile(state: WorkflowState, event: VolatileEvent): void {
  const job = state.jobs[event.job]!;
  switch (event.kind) {
    case 'attemptAssigned':
      state.jobs[event.job] = {
        ...job,
        lease: {
          token: event.token,
          workerId: event.workerId,
          attempt: event.attempt,
          fencingToken: event.fencingToken,
          assignedAt: event.at,
          acceptedAt: null,
          beatAt: event.at,
          cancelAt: null,
          progress: null,
          progressMessage: '',
        },
      };
      return;
    case 'attemptAccepted':
      if (job.lease !== null)
        state.jobs[event.job] = { ...job, lease: { ...job.lease, acceptedAt: event.startedAt, beatAt: event.at }, lostOffers: 0 };
      return;
    case 'attemptReleased':
      state.jobs[event.job] = { ...job, lease: null, lostOffers: event.workerLost ? job.lostOffers + 1 : job.lostOffers };
      return;
    case 'attemptBeat':
      if (job.lease !== null) {
        const { beatAt, progress, progressMessage } = event;
        state.jobs[event.job] = { ...job, lease: { ...job.lease, beatAt, progress, progressMessage } };
      }
      return;
    case 'attemptCancelSent':
      if (job.lease !== null) state.jobs[event.job] = { ...job, lease: { ...job.lease, cancelAt: event.at } };
      return;
    default:
      event satisfies never;
  }
}

/** A cancel or a timeout: from here on failures do not change how the workflow ends. It lifts a pause, for clean-up must run. */
function stop(state: WorkflowState, at: number): void {
  state.failuresBeforeStop ??= state.failures.length;
  if (state.status === 'PAUSED') {
    state.status = 'RUNNING';
    state.resumedAt = at;
  }
}

function withAttempt(state: WorkflowState, index: number, ended: EndedAttempt | null): readonly EndedAttempt[] {
  const { attempts } = state.jobs[index]!;
  return ended === null ? attempts : [...attempts, ended];
}

interface JobEnd {
  readonly skipReason?: JobState['skipReason'];
  readonly causes?: readonly number[];
  readonly attempts?: readonly EndedAttempt[];
  readonly output?: JobState['output'];
  readonly error?: JobError | null;
}

function endJob(state: WorkflowState, index: number, phase: JobPhase, at: number, end: JobEnd): void {
  state.jobs[index] = { ...state.jobs[index]!, ...end, phase, endedAt: at, lease: null, lostOffers: 0 };
  state.openJobs -= 1;
  if (!state.graph.jobs[index]!.finaliser) state.openRegularJobs -= 1;
}
