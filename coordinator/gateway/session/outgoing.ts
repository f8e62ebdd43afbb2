/**
 * What waits to be sent to a worker, and how it becomes frames: all of one kind of one turn in one frame, split where it does not fit (R4).
 *
 * Invariants
 * 1. The order of kinds within a flush is fixed, so that an attempt is assigned before it is cancelled or revoked.
 * 2. Frames are numbered in the order in which they are given out (R5).
 */
import { create } from '@bufbuild/protobuf';
import {
  type Assignment,
  AssignmentsSchema,
  CancelAttemptsSchema,
  type CoordinatorFrame,
  CoordinatorFrameSchema,
  DrainSchema,
  type GoAway,
  HeartbeatReplySchema,
  type Numbering,
  type ProtocolError,
  type ResultAck,
  ResultAcksSchema,
  splitEntries,
  textBytes,
  type Welcome,
} from '@workflow-orchestrator/proto';
import type { StreamLimits } from './limits.ts';
import { markTold, type Told } from './told.ts';

/** Entries that wait, by kind. */
export interface Outgoing {
  welcome: Welcome | null;
  assignments: Assignment[];
  acks: ResultAck[];
  /** Tokens by the reason of their cancel. */
  cancels: Map<string, string[]>;
  /** A Heartbeat waits for its reply. */
  replyDue: boolean;
  /** Tokens for the next HeartbeatReply. */
  lost: Set<string>;
  cancelAgain: Set<string>;
  /** Reason of a Drain that is to be sent. */
  drain: string | null;
  goAway: GoAway | null;
  errors: ProtocolError[];
}

/** Nothing waits. */
export function newOutgoing(): Outgoing {
  return {
    welcome: null,
    assignments: [],
    acks: [],
    cancels: new Map(),
    replyDue: false,
    lost: new Set(),
    cancelAgain: new Set(),
    drain: null,
    goAway: null,
    errors: [],
  };
}

type Body = CoordinatorFrame['body'];

/** Turns everything that waits into numbered frames. */
export function takeFrames(outgoing: Outgoing, numbering: Numbering, told: Told, limits: StreamLimits): CoordinatorFrame[] {
  const frames: CoordinatorFrame[] = [];
  const send = (body: Body): number => {
    numbering.sent += 1;
    frames.push(create(CoordinatorFrameSchema, { seq: BigInt(numbering.sent), ack: BigInt(numbering.handled), body }));
    return numbering.sent;
  };
  if (outgoing.welcome !== null) {
    send({ case: 'welcome', value: outgoing.welcome });
    outgoing.welcome = null;
  }
  if (outgoing.assignments.length > 0) {
    for (const assignments of split(outgoing.assignments, assignmentBytes, limits)) {
      send({ case: 'assignments', value: create(AssignmentsSchema, { assignments }) });
    }
    outgoing.assignments = [];
  }
  if (outgoing.acks.length > 0) {
    for (const acks of split(outgoing.acks, ackBytes, limits)) send({ case: 'resultAcks', value: create(ResultAcksSchema, { acks }) });
    outgoing.acks = [];
  }
  if (outgoing.cancels.size > 0) {
    for (const [reason, tokens] of outgoing.cancels) {
      for (const leaseTokens of split(tokens, textBytes, limits)) {
        markTold(told.cancelled, leaseTokens, send({ case: 'cancel', value: create(CancelAttemptsSchema, { leaseTokens, reason }) }));
      }
    }
    outgoing.cancels.clear();
  }
  if (outgoing.replyDue || outgoing.lost.size > 0 || outgoing.cancelAgain.size > 0) sendReplies(outgoing, told, limits, send);
  if (outgoing.drain !== null) {
    send({ case: 'drain', value: create(DrainSchema, { reason: outgoing.drain }) });
    outgoing.drain = null;
  }
  if (outgoing.goAway !== null) {
    send({ case: 'goAway', value: outgoing.goAway });
    outgoing.goAway = null;
  }
  for (const error of outgoing.errors) send({ case: 'error', value: error });
  outgoing.errors = [];
  return frames;
}

function sendReplies(outgoing: Outgoing, told: Told, limits: StreamLimits, send: (body: Body) => number): void {
  const lostParts = split([...outgoing.lost], textBytes, limits);
  const cancelParts = split([...outgoing.cancelAgain], textBytes, limits);
  for (const lost of lostParts) {
    markTold(told.revoked, lost, send({ case: 'heartbeatReply', value: create(HeartbeatReplySchema, { lost }) }));
  }
  for (const cancel of cancelParts) {
    markTold(told.cancelled, cancel, send({ case: 'heartbeatReply', value: create(HeartbeatReplySchema, { cancel }) }));
  }
  if (lostParts.length === 0 && cancelParts.length === 0) send({ case: 'heartbeatReply', value: create(HeartbeatReplySchema) });
  outgoing.replyDue = false;
  outgoing.lost.clear();
  outgoing.cancelAgain.clear();
}

function split<T>(entries: readonly T[], bytesOf: (entry: T) => number, limits: StreamLimits): T[][] {
  return splitEntries(entries, bytesOf, limits.frameBytes, limits.frameEntries);
}

function ackBytes(ack: ResultAck): number {
  return textBytes(ack.leaseToken) + 12;
}

/** At most this many bytes on the wire. */
export function assignmentBytes(assignment: Assignment): number {
  let bytes = 96 + textBytes(assignment.leaseToken) + textBytes(assignment.workflowId) + textBytes(assignment.workflowName);
  bytes +=
    textBytes(assignment.jobId) + textBytes(assignment.type) + textBytes(assignment.idempotencyKey) + textBytes(assignment.traceparent);
  for (const payload of [assignment.parameters, assignment.checkpoint]) {
    if (payload) bytes += payload.data.length + textBytes(payload.encoding) + 16;
  }
  for (const { jobId, payload } of assignment.inputs) {
    bytes += textBytes(jobId) + (payload ? payload.data.length + textBytes(payload.encoding) : 0) + 24;
  }
  return bytes;
}
