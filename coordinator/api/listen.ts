/** Listening on a port, with errors that say what to do. */
import type { AddressInfo, Server } from 'node:net';

/** A port could not be had. The message is one line for people; `code` is the system's, such as `EADDRINUSE`. */
export class ListenError extends Error {
  readonly code: string;

  constructor(message: string, code: string) {
    super(message);
    this.name = 'ListenError';
    this.code = code;
  }
}

/** Which port of the coordinator, and the flag that chooses it. */
export interface PortName {
  readonly flag: string;
}

/** Listens; resolves with the port, which differs from the one asked for when that is 0. Rejects with `ListenError`. */
export function listenOn(server: Server, host: string, port: number, { flag }: PortName): Promise<number> {
  return new Promise((resolve, reject) => {
    const onError = (error: NodeJS.ErrnoException) => reject(new ListenError(explain(error, host, port, flag), error.code ?? 'UNKNOWN'));
    server.once('error', onError);
    server.listen({ host, port }, () => {
      server.off('error', onError);
      resolve((server.address() as AddressInfo).port);
    });
  });
}

/** Stops listening; resolves when the last connection has ended too. */
export function stopListening(server: Server): Promise<void> {
  return new Promise((resolve) => {
    if (server.listening) server.close(() => resolve());
    else resolve();
  });
}

function explain(error: NodeJS.ErrnoException, host: string, port: number, flag: string): string {
  switch (error.code) {
    case 'EADDRINUSE':
      return `port ${port} is taken; choose another with ${flag}`;
    case 'EACCES':
      return `port ${port} may not be opened by this user; choose one above 1023 with ${flag}`;
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `'${host}' is no address of this machine; choose another with --host`;
    default:
      return `cannot listen on ${host}:${port}: ${error.message}`;
  }
}
