/**
 * The seam between worker sessions (gateway) and the shard that decides.
 *
 * The gateway owns connections, the protocol, liveness of workers and back-pressure of sockets; the shard owns jobs, leases and matching.
 * Neither waits for the other: the gateway calls `WorkerInbox`, the shard answers later through `WorkerOutbox`.
 *
 * Invariants
 * 1. Everything that the shard sends through `WorkerOutbox` rests on committed events (durable first, then tell).
 * 2. A worker id has at most one live `WorkerHandle`; a newer connection of the same worker process takes over by `attach` with the same handle id kept by the gateway.
 * 3. After `lost` the shard has revoked every lease of that worker; a later `attach` starts anew.
 */
import type { Assignment, AssignReply, InFlight, InFlightVerdict, LeaseBeat, Result, ResultAck } from '@workflow-orchestrator/proto';

/** A worker as the shard sees it, after Hello was accepted. */
export interface AttachedWorker {
  readonly workerId: string;
  readonly instanceId: string;
  readonly sessionId: string;
  readonly labels: ReadonlyMap<string, string>;
  /** Job type to the number of this type at once. */
  readonly capabilities: ReadonlyMap<string, number>;
  readonly slots: number;
  /** Attempts that it holds from before. */
  readonly inFlight: readonly InFlight[];
}

/** From sessions to the shard. None of these throws or blocks. */
export interface WorkerInbox {
  /**
   * A worker connected or connected again. `outbox` replaces the one before. Verdicts come by `outbox.welcome`.
   * A lease that `inFlight` does not name is not held any more: its assignment never arrived, or its process started anew.
   */
  attach(worker: AttachedWorker, outbox: WorkerOutbox): void;
  /**
   * Room for `available` more assignments right now (granted minus sent), and whether work may be sent at all (not suspect, draining or congested).
   * Told when it grows or closes, not after each `assign`: the shard subtracts what it hands over. What it gives beyond the room comes back by `replies`.
   */
  capacity(workerId: string, sessionId: string, available: number, open: boolean): void;
  replies(workerId: string, sessionId: string, replies: readonly AssignReply[]): void;
  /** `whole`: these are all running attempts of the worker. Otherwise what is left out says nothing. A whole list may be empty. */
  beats(workerId: string, sessionId: string, beats: readonly LeaseBeat[], whole: boolean): void;
  results(workerId: string, sessionId: string, results: readonly Result[]): void;
  /** The socket is gone; leases hold for the reconnect grace. Nothing is sent to it. */
  detach(workerId: string, sessionId: string): void;
  /** The grace or the lease has passed, or the worker said it ends: revoke its leases. `reason` is for people. */
  lost(workerId: string, sessionId: string, reason: string): void;
}

/** From the shard to one session. */
export interface WorkerOutbox {
  /** Answer to `attach`: what becomes of each in-flight attempt. */
  welcome(verdicts: readonly InFlightVerdict[]): void;
  assign(assignments: readonly Assignment[]): void;
  ack(acks: readonly ResultAck[]): void;
  /** Attempts to stop: they are cancelled, and their end is awaited. */
  cancel(leaseTokens: readonly string[], reason: string): void;
  /** Attempts whose lease is gone: forget them. Told again in each heartbeat reply until the worker stops naming them. */
  revoke(leaseTokens: readonly string[]): void;
}
