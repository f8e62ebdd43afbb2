/**
 * A TCP proxy to a port of this machine that can break connections, refuse them, swallow what is sent, or lose one request or its answer.
 *
 * Invariant: a connection that lost bytes never goes on: whoever mends the proxy breaks it, as a real one would be.
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** A proxy that listens. */
export interface TcpProxy {
  readonly port: number;
  /** Breaks all connections and takes no new ones until `mend`. */
  cut(): void;
  /** Lets connections stand, and nothing through, until `mend`. */
  freeze(): void;
  /** Lets through what callers say, and swallows what they are answered, until `mend`. */
  mute(): void;
  mend(): void;
  /**
   * Swallows the next thing that a client says and that holds `about`, or what it is answered to it, and breaks its connection then; settled when it has.
   * All else goes through.
   */
  loseNext(what: 'request' | 'reply', about?: string): Promise<void>;
  close(): Promise<void>;
}

interface Pair {
  readonly caller: Socket;
  readonly called: Socket;
  /** Something was swallowed. */
  isBroken: boolean;
}

/** Starts a proxy to a port of this machine. */
export async function startProxy(target: number): Promise<TcpProxy> {
  const pairs = new Set<Pair>();
  let state: 'open' | 'cut' | 'frozen' | 'mute' = 'open';
  let toLose: { readonly what: 'request' | 'reply'; readonly about: string; readonly done: () => void; asker: Socket | null } | null = null;
  const isLost = (caller: Socket, isRequest: boolean, chunk: Buffer): boolean => {
    if (toLose === null) return false;
    if (!isRequest) return toLose.what === 'reply' && (toLose.asker === caller || toLose.about === '');
    if (!chunk.includes(toLose.about)) return false;
    toLose.asker = caller;
    return toLose.what === 'request';
  };
  const isSwallowing = () => state === 'frozen' || state === 'mute';
  const drop = (pair: Pair) => {
    pairs.delete(pair);
    pair.caller.destroy();
    pair.called.destroy();
  };
  const server = createServer((caller) => {
    if (state === 'cut') {
      caller.destroy();
      return;
    }
    const pair: Pair = { caller, called: connect(target, '127.0.0.1'), isBroken: false };
    pairs.add(pair);
    const pass = (from: Socket, to: Socket) => {
      from.on('data', (chunk) => {
        if (isLost(caller, from === caller, chunk)) {
          toLose?.done();
          toLose = null;
          drop(pair);
        } else if (state === 'open' || (state === 'mute' && from === caller)) to.write(chunk);
        else pair.isBroken = true;
      });
      from.on('error', () => {});
      from.on('close', () => {
        // Nobody hears of an end either.
        if (isSwallowing()) pair.isBroken = true;
        else drop(pair);
      });
    };
    pass(caller, pair.called);
    pass(pair.called, caller);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const cut = () => {
    state = 'cut';
    for (const pair of pairs) drop(pair);
  };
  return {
    port: (server.address() as AddressInfo).port,
    cut,
    freeze: () => {
      state = 'frozen';
    },
    mute: () => {
      state = 'mute';
    },
    mend: () => {
      for (const pair of pairs) if (pair.isBroken) drop(pair);
      state = 'open';
    },
    loseNext: (what, about = '') =>
      new Promise((done) => {
        toLose = { what, about, done, asker: null };
      }),
    close: () => {
      cut();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}
