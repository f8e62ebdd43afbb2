/**
 * One port for everything: the first bytes of a connection tell who speaks. HTTP/2 opens with a fixed preface; anything else is HTTP/1.1.
 *
 * Invariants
 * 1. Not a byte is lost or read twice: what was looked at is put back before the socket is handed on.
 * 2. A connection that does not say what it is within the time given is closed.
 */
import type { Socket } from 'node:net';

const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');

/** Who takes a connection over. */
export interface SniffHandlers {
  readonly http1: (socket: Socket) => void;
  readonly http2: (socket: Socket) => void;
}

/** Looks at the first bytes of `socket` and hands it on; closes it when they do not come within `timeoutMs`. */
export function sniff(socket: Socket, handlers: SniffHandlers, timeoutMs: number): void {
  let seen: Buffer = Buffer.alloc(0);
  const timer = setTimeout(() => socket.destroy(), timeoutMs);
  const giveUp = () => socket.destroy();

  const onData = (chunk: Buffer) => {
    seen = seen.length === 0 ? chunk : Buffer.concat([seen, chunk]);
    const looked = Math.min(seen.length, preface.length);
    const agrees = seen.compare(preface, 0, looked, 0, looked) === 0;
    if (agrees && looked < preface.length) return;
    stop();
    socket.pause();
    socket.unshift(seen);
    if (agrees) {
      handlers.http2(socket);
    } else {
      handlers.http1(socket);
      socket.resume();
    }
  };
  const stop = () => {
    clearTimeout(timer);
    socket.off('data', onData).off('end', giveUp).off('error', giveUp).off('close', stop);
  };
  socket.on('data', onData).on('end', giveUp).on('error', giveUp).on('close', stop);
}
