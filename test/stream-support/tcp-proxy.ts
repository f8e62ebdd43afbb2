/**
 * A TCP proxy between two parts of the system that can break connections, refuse them, or swallow everything, or what one side answers.
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
  /** Lets what clients send through, and no answer, until `mend`. */
  mute(): void;
  mend(): void;
  /**
   * Swallows the next thing that a client says and that holds `about`, or what it is answered to it, and breaks its connection then; settled when it has.
   * All else goes through.
   */
  loseNext(what: 'request' | 'reply', about?: string): Promise<void>;
  close(): Promise<void>;
}

/** Starts a proxy to a port of this machine. */
export async function startProxy(target: number): Promise<TcpProxy> {
  const pairs = new Set<readonly [Socket, Socket]>();
  let state: 'open' | 'cut' | 'frozen' | 'muted' = 'open';
  let toLose: { readonly what: 'request' | 'reply'; readonly about: string; readonly done: () => void; asker: Socket | null } | null = null;
  const isLost = (inner: Socket, isRequest: boolean, chunk: Buffer): boolean => {
    if (toLose === null) return false;
    if (!isRequest) return toLose.what === 'reply' && (toLose.asker === inner || toLose.about === '');
    if (!chunk.includes(toLose.about)) return false;
    toLose.asker = inner;
    return toLose.what === 'request';
  };
  const server = createServer((inner) => {
    if (state === 'cut') {
      inner.destroy();
      return;
    }
    const outer = connect(target, '127.0.0.1');
    const pair = [inner, outer] as const;
    pairs.add(pair);
    for (const [from, to] of [pair, [outer, inner] as const]) {
      from.on('data', (chunk) => {
        if (isLost(inner, from === inner, chunk)) {
          toLose?.done();
          toLose = null;
          inner.destroy();
          outer.destroy();
        } else if (state === 'open' || (state === 'muted' && from === inner)) to.write(chunk);
      });
      from.on('error', () => {});
      from.on('close', () => {
        pairs.delete(pair);
        if (state !== 'frozen') to.destroy();
      });
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const cut = () => {
    state = 'cut';
    for (const [inner, outer] of pairs) {
      inner.destroy();
      outer.destroy();
    }
  };
  return {
    port: (server.address() as AddressInfo).port,
    cut,
    freeze: () => {
      state = 'frozen';
    },
    mute: () => {
      state = 'muted';
    },
    mend: () => {
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
