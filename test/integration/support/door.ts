/**
 * An address that plays one coordinator of several: it leads to a real one, answers as one that stands by, is gone, or is silent.
 *
 * Invariant: a change breaks every connection that is open.
 */
import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { create, toBinary } from '@bufbuild/protobuf';
import { RetryInfoSchema } from '@workflow-orchestrator/proto';

/** One address. */
export interface Door {
  readonly url: string;
  /** Leads to a coordinator on a port of this machine. */
  lead(port: number): Promise<void>;
  /** Answers every call and every handshake with 503; it says that nothing was done. */
  standBy(): Promise<void>;
  /** Refuses connections. */
  leave(): Promise<void>;
  /** Takes connections and says nothing. */
  freeze(): Promise<void>;
  /** Sends the head of an answer and breaks off within its body. */
  breakOff(): Promise<void>;
  /** Requests that were answered with 503. */
  refused(): number;
}

type State = number | 'standby' | 'gone' | 'frozen' | 'breaking';

/** Opens an address that refuses connections until it is told otherwise; it is closed with the test. */
export async function openDoor(t: { teardown(end: () => Promise<void>): void }): Promise<Door> {
  const open = new Set<Socket>();
  let state: State = 'gone';
  let refused = 0;
  const detail = Buffer.from(toBinary(RetryInfoSchema, create(RetryInfoSchema, { retryDelay: { seconds: 0n, nanos: 50_000_000 } })));
  const details = [{ type: RetryInfoSchema.typeName, value: detail.toString('base64').replace(/=+$/, '') }];
  const body = JSON.stringify({ code: 'unavailable', message: 'this coordinator stands by', details });
  const head = { 'Content-Type': 'application/json', 'Content-Length': String(body.length), Connection: 'close' };
  const standby = createHttpServer((request, response) => {
    refused += 1;
    request.resume();
    response.writeHead(503, head).end(body);
  });
  standby.on('upgrade', (_request, socket) => {
    refused += 1;
    const lines = Object.entries(head).map(([name, value]) => `${name}: ${value}\r\n`);
    socket.end(`HTTP/1.1 503 Service Unavailable\r\n${lines.join('')}\r\n${body}`);
  });
  const server = createServer((socket) => {
    open.add(socket);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => open.delete(socket));
    if (typeof state === 'number') {
      const onward = connect(state, '127.0.0.1');
      onward.on('error', () => socket.destroy());
      onward.on('close', () => socket.destroy());
      socket.on('close', () => onward.destroy());
      socket.pipe(onward).pipe(socket);
    } else if (state === 'standby') standby.emit('connection', socket);
    else if (state === 'breaking') {
      socket.once('data', () => {
        socket.write('HTTP/1.1 200 OK\r\nContent-Type: application/proto\r\nContent-Length: 1000\r\n\r\nstart');
        setImmediate(() => socket.destroy());
      });
    }
  });
  const listen = async (port: number) => {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  };
  const port = await listen(0);
  const become = async (next: State) => {
    state = next;
    for (const socket of open) socket.destroy();
    if (next === 'gone' && server.listening) await new Promise<void>((resolve) => server.close(() => resolve()));
    if (next !== 'gone' && !server.listening) await listen(port);
  };
  await become('gone');
  t.teardown(() => become('gone'));
  return {
    url: `http://127.0.0.1:${port}`,
    lead: (to) => become(to),
    standBy: () => become('standby'),
    leave: () => become('gone'),
    freeze: () => become('frozen'),
    breakOff: () => become('breaking'),
    refused: () => refused,
  };
}
