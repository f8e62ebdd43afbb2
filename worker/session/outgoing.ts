/**
 * What waits to be sent to the coordinator becomes frames: all of one kind of one turn in one frame, split where it does not fit (R4).
 *
 * Invariants
 * 1. Of one attempt the reply comes first, then the checkpoint that it failed with, then lines, then its result (R26).
 * 2. On a slow connection replies, credit and heartbeats go on; results and lines wait.
 */
import { create } from '@bufbuild/protobuf';
import {
  AssignRepliesSchema,
  CreditSchema,
  cutText,
  DrainSchema,
  HeartbeatSchema,
  type Hello,
  HelloSchema,
  type InFlight,
  InFlightSchema,
  type LeaseBeat,
  LeaseBeatSchema,
  LogLinesSchema,
  protocolVersions,
  type Result,
  ResultsSchema,
  splitEntries,
  textBytes,
  type WorkerFrame,
  WorkerFrameSchema,
} from '@workflow-orchestrator/proto';
import { takeLines } from './log-buffer.ts';
import { resultBytes } from './outcome.ts';
import { freeSlots, live, type Ready, type Running, type Wire, type WorkerOutput, type WorkerSession } from './state.ts';

/** Bytes of log in one flush: what is more waits for the next turn. */
const logBytesPerFlush = 64 * 1024;

/** Sends what waits on the connection in use, if there is one. `congested`: the connection is slow. */
export function flushInto(session: WorkerSession, at: number, congested: boolean, outputs: WorkerOutput[]): void {
  const ready = live(session);
  if (ready === null) return;
  const { wire } = ready;
  const parts = <T>(entries: readonly T[], bytesOf: (entry: T) => number) =>
    splitEntries(entries, bytesOf, ready.frameBytes, session.limits.frameEntries);
  for (const replies of parts(session.replies, (reply) => textBytes(reply.leaseToken) + textBytes(reply.reason) + 8)) {
    sendFrame(wire, { case: 'assignReplies', value: create(AssignRepliesSchema, { replies }) }, outputs);
  }
  session.replies = [];
  if (!congested) {
    sendLines(session, wire, outputs);
    sendResults(session, ready, at, outputs);
  }
  const granted = ready.received + freeSlots(session);
  if (granted > ready.granted) {
    ready.granted = granted;
    sendFrame(wire, { case: 'credit', value: create(CreditSchema, { granted: BigInt(granted) }) }, outputs);
  }
  if (at >= wire.beatAt) sendHeartbeat(session, ready, at, outputs);
  if (session.draining !== null && !ready.drainSent) {
    ready.drainSent = true;
    sendFrame(
      wire,
      { case: 'drain', value: create(DrainSchema, { reason: cutText(session.draining, session.limits.reasonBytes) }) },
      outputs,
    );
  }
  for (const value of session.errors) sendFrame(wire, { case: 'error', value }, outputs);
  session.errors = [];
}

/** Numbers a frame and sends it. */
export function sendFrame(wire: Wire, body: WorkerFrame['body'], outputs: WorkerOutput[]): number {
  const { numbering } = wire;
  numbering.sent += 1;
  const frame = create(WorkerFrameSchema, { seq: BigInt(numbering.sent), ack: BigInt(numbering.handled), body });
  outputs.push({ kind: 'send', link: wire.link, frame });
  return numbering.sent;
}

/** Hello, in as many frames as it needs (R10). */
export function sendHello(session: WorkerSession, wire: Wire, at: number, outputs: WorkerOutput[]): void {
  const { profile, limits } = session;
  const held: InFlight[] = [];
  for (const { assignment, acceptedAt } of session.running.values()) {
    held.push(inFlight(assignment, BigInt(Math.max(0, Math.round(at - acceptedAt))), false));
  }
  for (const { result } of session.ended.values()) held.push(inFlight(result, result.runningMs, true));
  const bytesOf = ({ leaseToken, workflowId, jobId }: InFlight) => textBytes(leaseToken) + textBytes(workflowId) + textBytes(jobId) + 40;
  // Half a frame: the profile, with its labels and capabilities, fits into the other half.
  const parts = splitEntries(held, bytesOf, limits.frameBytes / 2, limits.frameEntries);
  const count = Math.max(1, parts.length);
  for (let i = 0; i < count; i += 1) {
    const hello: Hello = create(HelloSchema, { inFlight: parts[i] ?? [], partial: i < count - 1 });
    if (i === 0) {
      hello.minProtocol = protocolVersions.min;
      hello.maxProtocol = protocolVersions.max;
      hello.workerId = profile.workerId;
      hello.instanceId = profile.instanceId;
      hello.build = profile.build;
      hello.sdk = profile.sdk;
      hello.labels = { ...profile.labels };
      hello.capabilities = [...profile.capabilities];
      hello.slots = profile.slots;
      hello.lastSessionId = session.lastSessionId;
      hello.connection = BigInt(wire.link);
    }
    sendFrame(wire, { case: 'hello', value: hello }, outputs);
  }
}

/** A sign of life on a connection that has no Welcome yet (R14). */
export function sendEmptyHeartbeat(session: WorkerSession, wire: Wire, at: number, outputs: WorkerOutput[]): void {
  wire.beatAt = at + session.limits.heartbeatIntervalMs;
  sendFrame(wire, { case: 'heartbeat', value: create(HeartbeatSchema) }, outputs);
}

function sendHeartbeat(session: WorkerSession, ready: Ready, at: number, outputs: WorkerOutput[]): void {
  const { wire } = ready;
  wire.beatAt = at + ready.heartbeatMs;
  const beats: LeaseBeat[] = [];
  for (const attempt of session.running.values()) {
    // R30: known to have arrived.
    if (attempt.checkpoint !== null && attempt.checkpoint.frame > 0 && attempt.checkpoint.frame <= wire.numbering.acked)
      attempt.checkpoint = null;
    beats.push(beatOf(attempt, at));
  }
  const parts = splitEntries(beats, beatBytes, ready.frameBytes, session.limits.frameEntries);
  const count = Math.max(1, parts.length);
  const loopLagMs = Math.max(0, Math.round(session.lagMs));
  for (let i = 0; i < count; i += 1) {
    const leases = parts[i] ?? [];
    const frame = sendFrame(
      wire,
      { case: 'heartbeat', value: create(HeartbeatSchema, { leases, loopLagMs, partial: i < count - 1 }) },
      outputs,
    );
    for (const { leaseToken, checkpoint } of leases) {
      const stored = checkpoint === undefined ? null : (session.running.get(leaseToken)?.checkpoint ?? null);
      if (stored !== null) stored.frame = frame;
    }
  }
  session.lagMs = 0;
}

function sendLines(session: WorkerSession, wire: Wire, outputs: WorkerOutput[]): void {
  if (session.logs.lines.length === 0) return;
  const lines = takeLines(session.logs, logBytesPerFlush);
  sendFrame(wire, { case: 'logLines', value: create(LogLinesSchema, { lines }) }, outputs);
  if (session.logs.lines.length > 0) outputs.push({ kind: 'wake' });
}

function sendResults(session: WorkerSession, ready: Ready, at: number, outputs: WorkerOutput[]): void {
  if (session.unsent.size === 0) return;
  const { wire } = ready;
  const results: Result[] = [];
  const partingBeats: LeaseBeat[] = [];
  for (const token of session.unsent) {
    const ended = session.ended.get(token);
    if (ended === undefined) continue;
    ended.sentAt = at;
    results.push(ended.result);
    if (ended.checkpoint !== null) partingBeats.push(create(LeaseBeatSchema, { leaseToken: token, checkpoint: ended.checkpoint }));
  }
  session.unsent.clear();
  for (const leases of splitEntries(partingBeats, beatBytes, ready.frameBytes, session.limits.frameEntries)) {
    sendFrame(wire, { case: 'heartbeat', value: create(HeartbeatSchema, { leases, partial: true }) }, outputs);
  }
  for (const part of splitEntries(results, resultBytes, ready.frameBytes, session.limits.frameEntries)) {
    sendFrame(wire, { case: 'results', value: create(ResultsSchema, { results: part }) }, outputs);
  }
}

function beatOf({ assignment, progress, progressMessage, checkpoint, lifeAt }: Running, at: number): LeaseBeat {
  const beat = create(LeaseBeatSchema, { leaseToken: assignment.leaseToken, progressMessage });
  beat.idleMs = BigInt(Math.max(0, Math.round(at - lifeAt)));
  if (progress !== null) beat.progress = progress;
  if (checkpoint !== null) beat.checkpoint = checkpoint.payload;
  return beat;
}

function beatBytes({ leaseToken, progressMessage, checkpoint }: LeaseBeat): number {
  return textBytes(leaseToken) + textBytes(progressMessage) + (checkpoint ? checkpoint.data.length + 16 : 0) + 40;
}

function inFlight(
  origin: { leaseToken: string; workflowId: string; jobId: string; instance: number; attempt: number },
  runningMs: bigint,
  resultWaiting: boolean,
): InFlight {
  const { leaseToken, workflowId, jobId, instance, attempt } = origin;
  const entry = create(InFlightSchema, { leaseToken, workflowId, jobId, instance, attempt, resultWaiting });
  entry.runningMs = runningMs;
  return entry;
}
