/**
 * The worker stream's coordinator end over real sockets: lets connections in, and turns the hub's wishes into writes and timers.
 * Everything that decides is in `hub.ts` and the session machine; the rules are in proto/PROTOCOL.md.
 *
 * Invariants
 * 1. Nothing is kept for a connection whose token was refused.
 * 2. Everything that is to be sent in one turn of the event loop leaves at its end, one write per connection.
 * 3. `close` returns in bounded time.
 */
import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { closeCodes, type LogLine, workerSubprotocol } from '@workflow-orchestrator/proto';
import { WebSocketServer } from 'ws';
import { answerRefusal, createRate, judgeHandshake, malformedHandshake } from './handshake.ts';
import { createHub } from './hub.ts';
import type { WorkerInbox } from './port.ts';
import { type StreamLimits, streamLimits } from './session/limits.ts';
import { SocketLink } from './socket-link.ts';
import type { WorkerInfo } from './worker-info.ts';
import { workerSocketClass } from './worker-socket.ts';

export type { StreamLimits } from './session/limits.ts';
export type { WorkerInfo, WorkerStatus } from './worker-info.ts';

/** Two clocks. */
export interface GatewayClock {
  /** Milliseconds of a clock that never goes back. */
  now(): number;
  /** Milliseconds since 1970. */
  wallNow(): number;
}

/** What is counted. `kind` is the name of a frame's body, empty when it has none. */
export interface GatewayMetrics {
  frameReceived(kind: string, bytes: number): void;
  frameSent(kind: string, bytes: number): void;
  connectionOpened(): void;
  /** `code`: the WebSocket close code. */
  connectionClosed(code: number): void;
  /** `status`: the HTTP status. */
  handshakeRefused(status: number): void;
}

/** What a gateway is made of. */
export interface GatewayOptions {
  readonly inbox: WorkerInbox;
  /** Names this coordinator process. */
  readonly coordinatorId: string;
  /** Whether a worker with this token may connect; null when it sent none. Must not take long: it runs on every handshake. */
  readonly authenticate: (token: string | null) => boolean;
  readonly log: { info(message: string): void; warn(message: string): void };
  /** Lines that handlers wrote. */
  readonly onLogLines: (workerId: string, lines: readonly LogLine[]) => void;
  readonly clock?: GatewayClock;
  readonly metrics?: GatewayMetrics;
  /** WebSocket addresses of other coordinators, told to workers. */
  readonly coordinatorUrls?: () => readonly string[];
  /** Limits that differ from `proto/limits.ts`, for tests. */
  readonly limits?: Partial<StreamLimits>;
}

/** The worker stream of one coordinator. */
export interface Gateway {
  /** Takes over a request to upgrade to WebSocket, as Node's `upgrade` event gives it. The caller has checked the path. */
  handleUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  /** Workers that are connected or within their reconnect grace, by id. */
  workers(): WorkerInfo[];
  /** One of them, or null. */
  worker(workerId: string): WorkerInfo | null;
  /** Asks a worker to take no more work and to end when it has none. False when there is no such worker. */
  drain(workerId: string, reason: string): boolean;
  /** Takes no new connection, says GoAway to all, gives them `withinMs` to move elsewhere, and closes the rest. */
  close(options: { readonly reason: string; readonly withinMs?: number }): Promise<void>;
}

const systemClock: GatewayClock = { now: () => performance.now(), wallNow: () => Date.now() };
const noMetrics: GatewayMetrics = {
  frameReceived() {},
  frameSent() {},
  connectionOpened() {},
  connectionClosed() {},
  handshakeRefused() {},
};
/** When no other address is known, workers can hardly move: this long is enough for what is under way. */
const closeWithoutOthersMs = 300;
/** How long closing sockets are waited for. */
const closeHandshakeMs = 1_000;

/** Makes a gateway without connections. */
export function createGateway(options: GatewayOptions): Gateway {
  const clock = options.clock ?? systemClock;
  const limits = streamLimits(options.limits);
  const metrics = options.metrics ?? noMetrics;
  const coordinatorUrls = options.coordinatorUrls ?? (() => []);
  const takeHandshake = createRate(limits.handshakesPerSecond, clock.now);
  const links = new Set<SocketLink>();
  const awake = new Set<SocketLink>();
  let closing = false;
  let onLinksGone: (() => void) | null = null;

  const hub = createHub({
    inbox: options.inbox,
    coordinatorId: options.coordinatorId,
    limits,
    now: clock.now,
    wallNow: clock.wallNow,
    newSessionId: randomUUID,
    coordinatorUrls,
    onLogLines: options.onLogLines,
    note: (level, message) => options.log[level](message),
  });
  const server = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: limits.frameBytes,
    WebSocket: workerSocketClass(limits.frameBytes),
    handleProtocols: () => workerSubprotocol,
  });
  // What ws refuses by itself it would answer in HTML.
  server.on('wsClientError', (error, socket) => {
    metrics.handshakeRefused(400);
    answerRefusal(socket, malformedHandshake(error.message));
  });

  function wake(link: SocketLink): void {
    if (awake.size === 0) setImmediate(flushAll);
    awake.add(link);
  }

  function flushAll(): void {
    // What is woken while this runs waits for the next turn.
    const due = [...awake];
    awake.clear();
    for (const link of due) link.flush();
  }

  function onClosed(link: SocketLink, code: number): void {
    links.delete(link);
    metrics.connectionClosed(code);
    if (links.size === 0) onLinksGone?.();
  }

  /** Resolves when all links are gone or the time is over. */
  function linksGone(withinMs: number): Promise<void> {
    if (links.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, withinMs);
      onLinksGone = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  return {
    handleUpgrade(request, socket, head) {
      const verdict = judgeHandshake(request.headers, {
        closing,
        connections: links.size,
        // Connections that have not greeted yet come on top of the workers.
        mostConnections: limits.workers + limits.handshakesPerSecond,
        authenticate: options.authenticate,
        takeHandshake,
      });
      if (verdict.kind === 'refuse') {
        metrics.handshakeRefused(verdict.status);
        answerRefusal(socket, verdict);
        return;
      }
      server.handleUpgrade(request, socket, head, (webSocket) => {
        metrics.connectionOpened();
        links.add(new SocketLink(webSocket, socket, { hub, limits, metrics, now: clock.now, wake, onClosed }));
      });
    },
    workers: hub.workers,
    worker: hub.worker,
    drain: hub.drain,
    async close({ reason, withinMs }) {
      closing = true;
      hub.goAway(reason, 0);
      await linksGone(withinMs ?? (coordinatorUrls().length > 0 ? limits.goAwayMs : closeWithoutOthersMs));
      for (const link of links) link.close(closeCodes.restart, reason, false);
      await linksGone(closeHandshakeMs + 500);
      hub.stop();
    },
  };
}
