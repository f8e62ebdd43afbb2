/**
 * One WebSocket as a link of the hub: bytes to frames and back, one timer, flow.
 *
 * Invariants
 * 1. All that waits in one turn of the event loop leaves in one write.
 * 2. A socket that was told to close is gone after a second, whatever the other end does.
 */
import type { Duplex } from 'node:stream';
import { type CoordinatorFrame, cutText } from '@workflow-orchestrator/proto';
import type { RawData, WebSocket } from 'ws';
import { decodeFrame, encodeFrame } from './frame-codec.ts';
import type { GatewayMetrics } from './gateway.ts';
import type { Connection, Hub, Link } from './hub.ts';
import type { StreamLimits } from './session/limits.ts';

/** What WebSocket allows. */
const closeReasonBytes = 123;

/** What a link needs besides its socket. */
export interface SocketLinkOptions {
  readonly hub: Hub;
  readonly limits: StreamLimits;
  readonly metrics: GatewayMetrics;
  /** Milliseconds of the hub's clock. */
  readonly now: () => number;
  /** `flush` is to be called at the end of this turn. */
  readonly wake: (link: SocketLink) => void;
  readonly onClosed: (link: SocketLink, code: number) => void;
}

/** One connection of a worker. */
export class SocketLink implements Link {
  readonly #webSocket: WebSocket;
  readonly #socket: Duplex;
  readonly #options: SocketLinkOptions;
  readonly #connection: Connection;
  #alarm: NodeJS.Timeout | null = null;
  #queuedBytes = 0;
  #bufferedBytes = 0;

  constructor(webSocket: WebSocket, socket: Duplex, options: SocketLinkOptions) {
    this.#webSocket = webSocket;
    this.#socket = socket;
    this.#options = options;
    this.#connection = options.hub.connect(this);
    webSocket.on('message', (data, isBinary) => this.#receive(data, isBinary));
    // ws closes by itself after an error, with the code that belongs to it (R4: 1009; `WorkerSocket` adds the reason).
    webSocket.on('error', () => {});
    webSocket.on('close', (code) => {
      this.#connection.closed(code);
      options.onClosed(this, code);
    });
    socket.on('drain', () => this.#observeFlow());
  }

  send(frame: CoordinatorFrame): void {
    if (this.#webSocket.readyState !== this.#webSocket.OPEN) return;
    const bytes = encodeFrame(frame);
    this.#queuedBytes += bytes.length;
    this.#options.metrics.frameSent(frame.body.case ?? '', bytes.length);
    this.#webSocket.send(bytes);
  }

  close(code: number, reason: string, abrupt: boolean): void {
    this.#webSocket.close(code, cutText(reason, closeReasonBytes));
    setTimeout(() => this.#webSocket.terminate(), abrupt ? 100 : 1_000).unref();
  }

  setAlarm(at: number | null): void {
    if (this.#alarm !== null) clearTimeout(this.#alarm);
    this.#alarm = at === null ? null : setTimeout(() => this.#tick(), Math.max(0, Math.ceil(at - this.#options.now())));
  }

  wake(): void {
    this.#options.wake(this);
  }

  /** Sends what waits. */
  flush(): void {
    this.#socket.cork();
    this.#connection.flush();
    this.#socket.uncork();
    this.#observeFlow();
  }

  #tick(): void {
    this.#alarm = null;
    this.#observeFlow();
    this.#connection.tick();
  }

  #observeFlow(): void {
    const bufferedBytes = this.#webSocket.bufferedAmount;
    if (bufferedBytes === 0 && this.#bufferedBytes === 0) return;
    this.#bufferedBytes = bufferedBytes;
    this.#connection.observeFlow(bufferedBytes, this.#queuedBytes - bufferedBytes);
  }

  #receive(data: RawData, isBinary: boolean): void {
    if (!isBinary || !Buffer.isBuffer(data)) {
      this.#connection.receiveUnreadable('a text message came; frames are binary');
      return;
    }
    const decoded = decodeFrame(data, this.#options.limits);
    if (decoded.kind === 'bad') {
      this.#connection.receiveUnreadable(decoded.message);
      return;
    }
    this.#options.metrics.frameReceived(decoded.frame.body.case ?? '', data.length);
    this.#connection.receive(decoded.frame);
  }
}
