/**
 * Where side effects go: a server that nobody kills and that writes each effect to disk before it answers. It is in the process that drives the load, so that one clock
 * and one file have the order of everything that was seen outside of the coordinators.
 *
 * On the wire: a JSON line for each event, answered by its number in the connection.
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import type { HistoryEvent, HistoryWriter } from '../checkers/history.ts';

/** Who tells. */
export interface Teller {
  readonly node: string;
  readonly incarnation: number;
}

/** What is told: the sink adds who and when. */
export type Told = Omit<HistoryEvent, 't_mono' | 't_wall' | 'node' | 'incarnation'>;

/** The moment, for a history. */
export function stampOf({ node, incarnation }: Teller): Pick<HistoryEvent, 't_mono' | 't_wall' | 'node' | 'incarnation'> {
  return { t_mono: Math.round(performance.now() * 1000) / 1000, t_wall: Date.now(), node, incarnation };
}

/** Starts the sink; everything goes into `history`, which writes it. */
export async function startSink(history: HistoryWriter): Promise<{ readonly port: number; close(): void }> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
    let teller: Teller | null = null;
    let answered = 0;
    /** By the teller's own number of an operation, the one of the whole history. */
    const ops = new Map<number, number>();
    linesOf(socket, (line) => {
      if (teller === null) {
        teller = JSON.parse(line) as Teller;
        return;
      }
      const told = parsed(line);
      // The end of a line that its teller did not live to write.
      if (told === null) return;
      const op = ops.get(told.op) ?? history.newOp();
      if (told.type === 'invoke') ops.set(told.op, op);
      else ops.delete(told.op);
      history.write(stampOf(teller), { ...told, op });
      answered += 1;
      if (!socket.destroyed) socket.write(`${answered}\n`);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    close: () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

/** The interface says errors of its socket again: they are heard there. */
function linesOf(socket: Socket, onLine: (line: string) => void): void {
  createInterface({ input: socket })
    .on('line', onLine)
    .on('error', () => {});
}

function parsed(line: string): Told | null {
  try {
    return JSON.parse(line) as Told;
  } catch {
    return null;
  }
}

/** The other end. */
export interface SinkConnection {
  /** Resolves when it is written. */
  tell(event: Told): Promise<void>;
}

/** Connects a process to the sink, which is always there. */
export async function connectSink(port: number, teller: Teller): Promise<SinkConnection> {
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  socket.setNoDelay(true);
  // Without the sink nothing may be done: the run is over.
  socket.on('error', () => process.exit(0));
  socket.on('close', () => process.exit(0));
  socket.write(`${JSON.stringify(teller)}\n`);
  let told = 0;
  const waiting = new Map<number, () => void>();
  linesOf(socket, (line) => {
    const number = Number(line);
    waiting.get(number)?.();
    waiting.delete(number);
  });
  return {
    tell(event) {
      told += 1;
      const number = told;
      return new Promise((resolve) => {
        waiting.set(number, resolve);
        socket.write(`${JSON.stringify(event)}\n`);
      });
    },
  };
}
