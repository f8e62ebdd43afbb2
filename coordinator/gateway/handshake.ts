/**
 * Whether a request for the worker stream is let in, before anything is kept for it (R1, R2).
 */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { workerSubprotocol } from '@workflow-orchestrator/proto';

/** Let in, or why not. `code` is the Connect error code. */
export type HandshakeVerdict =
  | { readonly kind: 'accept' }
  | { readonly kind: 'refuse'; readonly status: 400 | 401 | 503; readonly code: string; readonly message: string };

/** How the coordinator is at the moment. */
export interface HandshakeSituation {
  readonly closing: boolean;
  readonly connections: number;
  readonly mostConnections: number;
  readonly authenticate: (token: string | null) => boolean;
  /** Takes one handshake of this second's; false when there is none left. */
  readonly takeHandshake: () => boolean;
}

/** Judges a request by its headers. The token comes first: who has none learns nothing else. */
export function judgeHandshake(headers: IncomingMessage['headers'], situation: HandshakeSituation): HandshakeVerdict {
  if (!situation.authenticate(bearerToken(headers.authorization))) {
    return refuse(401, 'unauthenticated', "the header 'Authorization: Bearer <token>' is missing or its token is not valid here");
  }
  const offered = (headers['sec-websocket-protocol'] ?? '').split(',').map((name) => name.trim());
  if (!offered.includes(workerSubprotocol)) {
    return refuse(400, 'invalid_argument', `the worker stream needs the WebSocket subprotocol '${workerSubprotocol}'`);
  }
  if (situation.closing) return refuse(503, 'unavailable', 'the coordinator is about to end');
  if (situation.connections >= situation.mostConnections)
    return refuse(503, 'unavailable', `${situation.connections} connections are open`);
  if (!situation.takeHandshake()) return refuse(503, 'unavailable', 'too many new connections in this second');
  return { kind: 'accept' };
}

/** The refusal of a request that asks for a WebSocket in the wrong way; `fault` says how. */
export function malformedHandshake(fault: string): Extract<HandshakeVerdict, { kind: 'refuse' }> {
  return refuse(400, 'invalid_argument', `this is no WebSocket handshake: ${fault}`);
}

/** Answers a refused request and closes its socket. */
export function answerRefusal(socket: Duplex, verdict: Extract<HandshakeVerdict, { kind: 'refuse' }>): void {
  const body = `${JSON.stringify({ code: verdict.code, message: verdict.message })}\n`;
  const reasons = { 400: 'Bad Request', 401: 'Unauthorized', 503: 'Service Unavailable' } as const;
  const extra = { 400: [], 401: ['WWW-Authenticate: Bearer'], 503: ['Retry-After: 1'] }[verdict.status];
  const head = [
    `HTTP/1.1 ${verdict.status} ${reasons[verdict.status]}`,
    'Content-Type: application/json',
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Connection: close',
    ...extra,
  ];
  // The caller may be gone already; there is nobody to tell.
  socket.on('error', () => {});
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
  // One that does not close its side is not waited for.
  setTimeout(() => socket.destroy(), 1_000).unref();
}

/** A counter of events per second that lets a second's worth through at once. `now`: milliseconds of a clock that never goes back. */
export function createRate(perSecond: number, now: () => number): () => boolean {
  let tokens = perSecond;
  let filledAt = now();
  return () => {
    const at = now();
    tokens = Math.min(perSecond, tokens + ((at - filledAt) * perSecond) / 1000);
    filledAt = at;
    if (tokens < 1) return false;
    tokens -= 1;
    return true;
  };
}

function refuse(status: 400 | 401 | 503, code: string, message: string): Extract<HandshakeVerdict, { kind: 'refuse' }> {
  return { kind: 'refuse', status, code, message };
}

function bearerToken(header: string | undefined): string | null {
  const match = /^Bearer +(\S+)$/i.exec(header ?? '');
  return match?.[1] ?? null;
}
