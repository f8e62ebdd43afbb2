/**
 * A worker as people are shown it.
 */
import { type Session, whoIs } from './session/state.ts';

/** Where a worker stands; the words of `workflow.v1.Worker.Status`. */
export type WorkerStatus = 'ACTIVE' | 'SUSPECT' | 'DRAINING' | 'DISCONNECTED';

/** One worker. Times are milliseconds since 1970. */
export interface WorkerInfo {
  readonly id: string;
  readonly status: WorkerStatus;
  readonly labels: ReadonlyMap<string, string>;
  /** Job types, sorted. */
  readonly types: readonly string[];
  readonly slots: number;
  /** Attempts now, as far as its replies, results and beats tell. */
  readonly running: number;
  readonly connectTimeMs: number;
  readonly lastSeenTimeMs: number;
  readonly build: string;
  readonly sdk: string;
  readonly loopLagMs: number;
}

/** What is known of the worker behind a session, or null before its Hello was taken. `now` is session time of the caller, `wallNow` the same moment since 1970. */
export function describe(session: Session, connectTimeMs: number, now: number, wallNow: number): WorkerInfo | null {
  const who = whoIs(session);
  if (who === null) return null;
  const { worker, build, sdk } = who;
  return {
    id: worker.workerId,
    status: statusOf(session),
    labels: worker.labels,
    types: [...worker.capabilities.keys()].sort(),
    slots: worker.slots,
    running: session.phase.kind === 'ready' ? session.phase.work.running : 0,
    connectTimeMs,
    lastSeenTimeMs: Math.round(wallNow - Math.max(0, now - session.heardAt - session.stalledMs)),
    build,
    sdk,
    loopLagMs: session.loopLagMs,
  };
}

function statusOf(session: Session): WorkerStatus {
  if (session.phase.kind === 'detached') return 'DISCONNECTED';
  if (session.draining) return 'DRAINING';
  return session.suspect ? 'SUSPECT' : 'ACTIVE';
}
