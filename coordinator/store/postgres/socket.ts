/**
 * One connection on the level of sockets: to a host or a Unix socket, and with TLS as the address wants it.
 *
 * Invariant: whoever asked for a check of the certificate never gets a socket without it.
 */
import { readFile } from 'node:fs/promises';
import { connect, isIP, type Socket } from 'node:net';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';
import type { Address, TlsMode } from './address.ts';

/** First message of a client that wants TLS; the server answers with one byte. */
const TLS_REQUEST = Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]);
const KEEP_ALIVE_MS = 15_000;

/** A socket that is connected and, where asked for, encrypted. Rejects when that is not so within `deadlineMs`. */
export async function connectSocket({ host, port }: Address['hosts'][number], tls: TlsMode, deadlineMs: number): Promise<Socket> {
  const files = await tlsFiles(tls);
  const isLocal = host.startsWith('/');
  const socket = isLocal
    ? connect(`${host}/.s.PGSQL.${port}`)
    : connect({ host, port, noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS });
  // It has a listener for as long as it lives, so that no error of it is ever nobody's.
  socket.on('error', () => {});
  const timer = setTimeout(() => socket.destroy(new Error(`${host}:${port} did not answer within ${deadlineMs} ms`)), deadlineMs);
  try {
    await once(socket, 'connect');
    if (isLocal || tls.mode === 'disable') return socket;
    socket.write(TLS_REQUEST);
    if (!(await offersTls(socket))) {
      if (tls.mode === 'prefer') return socket;
      throw new Error(`${host}:${port} offers no TLS, and sslmode=${tls.mode} asks for it`);
    }
    const encrypted = connectTls({ socket, host, ...(isIP(host) ? {} : { servername: host }), ...files, ...checksOf(tls) });
    encrypted.on('error', () => {});
    await once(encrypted, 'secureConnect');
    return encrypted;
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

function checksOf({ mode }: TlsMode): ConnectionOptions {
  if (mode === 'verify-full') return { rejectUnauthorized: true };
  if (mode === 'verify-ca') return { rejectUnauthorized: true, checkServerIdentity: () => undefined };
  return { rejectUnauthorized: false };
}

async function tlsFiles({ mode, rootCertificate, certificate, key }: TlsMode): Promise<ConnectionOptions> {
  if (mode === 'disable') return {};
  const read = async (name: string, file: string) => (file === '' || file === 'system' ? {} : { [name]: await readFile(file) });
  return { ...(await read('ca', rootCertificate)), ...(await read('cert', certificate)), ...(await read('key', key)) };
}

/** The byte that answers a request for TLS. More than one would be somebody else's words in front of the encrypted ones. */
async function offersTls(socket: Socket): Promise<boolean> {
  const answer = await new Promise<Buffer>((resolve, reject) => {
    socket.once('data', resolve);
    failed(socket, reject);
  });
  if (answer.length !== 1) throw new Error('the server answered a request for TLS with more than one byte');
  return answer[0] === 0x53;
}

function once(socket: Socket, event: string): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once(event, resolve);
    failed(socket, reject);
  });
}

function failed(socket: Socket, reject: (error: Error) => void): void {
  socket.once('error', reject);
  socket.once('close', () => reject(new Error('the connection was closed')));
}
