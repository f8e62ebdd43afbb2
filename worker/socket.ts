/**
 * One WebSocket to a coordinator, as the session's shell needs it: frames in and out, and one end.
 *
 * Invariants
 * 1. `closed` is the last event of a socket and comes once, whatever failed; its reason is one line for people.
 * 2. After `close` there are no events.
 */
import type { Duplex } from 'node:stream';
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import {
  type CoordinatorFrame,
  CoordinatorFrameSchema,
  cutText,
  type WorkerFrame,
  WorkerFrameSchema,
  workerSubprotocol,
} from '@workflow-orchestrator/proto';
import { type RawData, WebSocket } from 'ws';
import type { WorkerLimits } from './session/worker-limits.ts';

/** What happens on a socket. */
export interface SocketEvents {
  opened(): void;
  frame(frame: CoordinatorFrame): void;
  /** A message that is no frame, and why. */
  unreadable(problem: string): void;
  /** What waited to go out has gone. */
  drained(): void;
  /** `retryAfterMs`: how long the coordinator asked to wait, 0 when it did not. */
  closed(reason: string, retryAfterMs: number): void;
}

const decodeOptions = { readUnknownFields: false } as const;
/** What WebSocket allows. */
const closeReasonBytes = 123;
/** How long the other end may take to close. */
const closeHandshakeMs = 1_000;
/** A longer wait that is asked for is not kept: the worker's own pauses are. */
const mostRetryAfterS = 60;
/** Of the body of a refusal, this much is read. */
const refusalBytes = 4_096;

/** One connection, made at once. */
export class Socket {
  readonly #webSocket: WebSocket;
  readonly #events: SocketEvents;
  #socket: Duplex | null = null;
  #isOver = false;

  constructor(url: string, token: string | null, limits: WorkerLimits, events: SocketEvents) {
    this.#events = events;
    this.#webSocket = new WebSocket(url, [workerSubprotocol], {
      headers: token === null ? {} : { Authorization: `Bearer ${token}` },
      perMessageDeflate: false,
      maxPayload: limits.frameBytes,
      handshakeTimeout: limits.connectTimeoutMs,
      followRedirects: false,
    });
    const webSocket = this.#webSocket;
    webSocket.on('upgrade', (response) => {
      this.#socket = response.socket;
      response.socket.on('drain', () => this.#tell(() => events.drained()));
    });
    webSocket.on('open', () => this.#tell(() => events.opened()));
    webSocket.on('message', (data, isBinary) => this.#tell(() => this.#receive(data, isBinary)));
    webSocket.on('unexpected-response', (request, response) => {
      readRefusal(response, (message) => {
        request.destroy();
        const retryAfterS = Number(response.headers['retry-after'] ?? 0);
        const retryAfterMs = retryAfterS > 0 && retryAfterS <= mostRetryAfterS ? retryAfterS * 1_000 : 0;
        this.#end(`refused with HTTP ${response.statusCode}${message === '' ? '' : `: ${message}`}`, retryAfterMs);
      });
    });
    webSocket.on('error', (error) => this.#end(errorText(error)));
    webSocket.on('close', (code, reason) => this.#end(`closed with ${code}${reason.length > 0 ? `: ${reason.toString()}` : ''}`));
  }

  /** Bytes that wait to go out. */
  get bufferedBytes(): number {
    return this.#webSocket.bufferedAmount;
  }

  /** Sends what `write` sends in one write. */
  batch(write: () => void): void {
    this.#socket?.cork();
    write();
    this.#socket?.uncork();
  }

  send(frame: WorkerFrame): void {
    if (this.#webSocket.readyState === this.#webSocket.OPEN) this.#webSocket.send(toBinary(WorkerFrameSchema, frame));
  }

  /** Closes after what was sent. */
  close(code: number, reason: string): void {
    this.#isOver = true;
    this.#webSocket.close(code, cutText(reason, closeReasonBytes));
    setTimeout(() => this.#webSocket.terminate(), closeHandshakeMs).unref();
  }

  #receive(data: RawData, isBinary: boolean): void {
    if (!isBinary || !Buffer.isBuffer(data)) {
      this.#events.unreadable('a text message came; frames are binary');
      return;
    }
    let frame: CoordinatorFrame;
    try {
      frame = fromBinary(CoordinatorFrameSchema, data, decodeOptions);
    } catch (error) {
      this.#events.unreadable(`the bytes are no CoordinatorFrame: ${errorText(error)}`);
      return;
    }
    this.#events.frame(frame);
  }

  #tell(event: () => void): void {
    if (!this.#isOver) event();
  }

  #end(reason: string, retryAfterMs = 0): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#webSocket.terminate();
    this.#events.closed(reason, retryAfterMs);
  }
}

/** Reads why a coordinator refused, as far as it says so. */
function readRefusal(response: NodeJS.ReadableStream, done: (message: string) => void): void {
  let body = '';
  response.on('data', (chunk: Buffer) => {
    if (body.length < refusalBytes) body += chunk.toString();
  });
  response.on('error', () => done(''));
  response.on('end', () => {
    try {
      const { message } = JSON.parse(body) as { message?: unknown };
      done(typeof message === 'string' ? cutText(message, refusalBytes) : '');
    } catch {
      // Whoever answered, it was no coordinator.
      done('');
    }
  });
}

/** An error in one line. A connection that fails on all addresses of a name is an AggregateError without a message. */
function errorText(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return errorText(error.errors[0]);
  return error instanceof Error ? error.message : String(error);
}
