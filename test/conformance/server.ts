/**
 * The coordinator's end of the wire: a real WebSocket server that writes down everything and decides nothing.
 *
 * Invariants
 * 1. What was read or sent is in the history before anybody acts on it.
 * 2. Frames of a link are numbered and acked as R5 and R6 want it, unless the caller says otherwise.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import {
  type CoordinatorFrame,
  CoordinatorFrameSchema,
  type WorkerFrame,
  WorkerFrameSchema,
  workerSubprotocol,
} from '@workflow-orchestrator/proto';
import { type WebSocket, WebSocketServer } from 'ws';
import type { Happening } from './history.ts';

/** What a coordinator says. */
export type Body = NonNullable<MessageInitShape<typeof CoordinatorFrameSchema>['body']>;

/** Frames of a worker may be this large; a larger one is a fault of the worker that the history should show. */
const mostBytes = 16 * 1024 * 1024;

/** Who is told of what comes. */
export interface ServerEvents {
  record(link: number, happening: Happening): void;
  frame(link: Link, frame: WorkerFrame): void;
}

/** One connection of the worker. */
export class Link {
  readonly number: number;
  isOpen = true;
  /** Frames of ours so far. */
  sent = 0;
  /** The worker's last frame. */
  handled = 0n;
  readonly #webSocket: WebSocket;
  readonly #raw: Duplex;
  readonly #record: (happening: Happening) => void;
  #muted = false;

  constructor(number: number, webSocket: WebSocket, raw: Duplex, events: ServerEvents) {
    this.number = number;
    this.#webSocket = webSocket;
    this.#raw = raw;
    this.#record = (happening) => events.record(number, happening);
    webSocket.on('message', (data: Buffer, isBinary) => {
      const frame = this.#read(data, isBinary);
      if (frame === null) return;
      this.handled = frame.seq;
      events.frame(this, frame);
    });
    webSocket.on('error', () => {});
    webSocket.on('close', (code, reason) => {
      this.isOpen = false;
      this.#record({ kind: 'closed', code, reason: reason.toString() });
    });
  }

  get isMuted(): boolean {
    return this.#muted;
  }

  /** Sends a frame with the next number; returns it. */
  send(body: Body, fields: { readonly seq?: number; readonly ack?: bigint; readonly what?: string } = {}): CoordinatorFrame {
    const seq = fields.seq ?? this.sent + 1;
    const frame = create(CoordinatorFrameSchema, { seq: BigInt(seq), ack: fields.ack ?? this.handled, body });
    this.sendAgain(frame, fields.what ?? '');
    this.sent = seq;
    return frame;
  }

  /** Sends a frame as it is. */
  sendAgain(frame: CoordinatorFrame, what: string): void {
    if (this.#muted) return;
    this.#record({ kind: 'out', frame, what });
    this.#webSocket.send(toBinary(CoordinatorFrameSchema, frame));
  }

  /** Sends a message that is no frame this kit has a message for. `counts`: how many numbers it takes (R5, R8). */
  sendBytes(data: Uint8Array | string, what: string, counts: number): void {
    this.#record({ kind: 'out', frame: null, what });
    this.#webSocket.send(data);
    this.sent += counts;
  }

  /** Half open: the connection stays, nothing is read and nothing is sent. */
  mute(): void {
    this.#muted = true;
    this.#record({ kind: 'muted' });
    this.#raw.pause();
  }

  /** Reads on, so that the end of a muted connection is seen. */
  unmute(): void {
    this.#raw.resume();
  }

  close(code: number): void {
    this.#record({ kind: 'closing', code });
    this.#webSocket.close(code);
  }

  /** Ends the connection without a word. */
  cut(): void {
    if (!this.isOpen) return;
    this.#record({ kind: 'closing', code: 0 });
    this.#webSocket.terminate();
  }

  #read(data: Buffer, isBinary: boolean): WorkerFrame | null {
    let frame: WorkerFrame | null = null;
    let problem = 'a text message';
    if (isBinary) {
      try {
        frame = fromBinary(WorkerFrameSchema, data);
        problem = '';
      } catch (error) {
        problem = `bytes that are no WorkerFrame: ${error instanceof Error ? error.message : error}`;
      }
    }
    this.#record({ kind: 'in', bytes: data.length, frame, problem });
    return frame;
  }
}

/** Listens on a free port of this machine. */
export class StreamServer {
  readonly links: Link[] = [];
  /** Answers of the next requests instead of a connection: HTTP 503, with the seconds of `Retry-After`. */
  readonly refusals: { readonly retryAfterS: number }[] = [];
  readonly #http: Server = createServer((_, response) => response.writeHead(404).end());
  readonly #sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false, maxPayload: mostBytes });
  readonly #events: ServerEvents;
  #requests = 0;

  constructor(events: ServerEvents) {
    this.#events = events;
    this.#http.on('upgrade', (request, raw, head) => this.#upgrade(request, raw, head));
  }

  /** Where it listens. */
  async listen(): Promise<string> {
    this.#http.listen(0, '127.0.0.1');
    await once(this.#http, 'listening');
    return `ws://127.0.0.1:${(this.#http.address() as AddressInfo).port}/workers`;
  }

  close(): void {
    for (const link of this.links) link.cut();
    this.#http.close();
    this.#http.closeAllConnections();
  }

  #upgrade(request: IncomingMessage, raw: Duplex, head: Buffer): void {
    const number = this.#requests + 1;
    this.#requests = number;
    const path = request.url ?? '';
    const protocols = (request.headers['sec-websocket-protocol'] ?? '').split(/ *, */).filter(Boolean);
    const answer = (status: number, retryAfterMs = 0) =>
      this.#events.record(number, { kind: 'request', path, protocols, status, retryAfterMs });
    raw.on('error', () => {});
    const refusal = this.refusals.shift();
    if (refusal !== undefined) {
      answer(503, refusal.retryAfterS * 1_000);
      const body = JSON.stringify({ code: 'unavailable', message: 'no room at the moment' });
      raw.end(
        `HTTP/1.1 503 Service Unavailable\r\nRetry-After: ${refusal.retryAfterS}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`,
      );
      return;
    }
    if (path !== '/workers' || !protocols.includes(workerSubprotocol)) {
      answer(400);
      raw.end('HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
      return;
    }
    this.#sockets.handleUpgrade(request, raw, head, (webSocket) => {
      answer(101);
      this.links.push(new Link(number, webSocket, raw, this.#events));
    });
  }
}
