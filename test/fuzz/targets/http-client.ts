/**
 * Bytes to a server and its answer back, over one connection: no client library stands between, so that nothing is made right on the way.
 */
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

/** What came back. */
export interface Answer {
  /** `answered`: a whole answer. `stream`: the head of one that goes on. `other`: bytes of another protocol. `closed`: the connection, without one. */
  readonly kind: 'answered' | 'stream' | 'other' | 'closed' | 'nothing';
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

/** A request that waits for more bytes gets none after this long. */
const silenceMs = 250;
/** An answer that has not come by then does not come. */
const mostMs = 15_000;

/** Sends a request and reads the answer. `isHead`: no body follows. */
export async function exchange(port: number, request: Uint8Array, isHead: boolean): Promise<Answer> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  const chunks: Buffer[] = [];
  const abort = new AbortController();
  const done = Promise.withResolvers<Answer>();
  const read = (hasEnded: boolean) => {
    const answer = answerOf(Buffer.concat(chunks), isHead, hasEnded);
    if (answer !== null) done.resolve(answer);
  };
  socket.on('data', (chunk) => {
    chunks.push(chunk);
    read(false);
  });
  socket.on('error', () => {});
  socket.on('end', () => read(true));
  socket.on('close', () => read(true));
  socket.write(request);
  void (async () => {
    await delay(silenceMs, undefined, abort);
    if (chunks.length === 0) socket.end();
    await delay(mostMs, undefined, abort);
    done.resolve({ kind: 'nothing', status: 0, type: '', body: '' });
  })().catch(() => {});
  const answer = await done.promise;
  abort.abort();
  socket.destroy();
  return answer;
}

/** The answer in `bytes`, or null while it is not whole. */
function answerOf(bytes: Buffer, isHead: boolean, hasEnded: boolean): Answer | null {
  const none = { status: 0, type: '', body: '' };
  if (bytes.length === 0) return hasEnded ? { kind: 'closed', ...none } : null;
  if (!bytes.subarray(0, 5).equals(Buffer.from('HTTP/').subarray(0, Math.min(5, bytes.length)))) return { kind: 'other', ...none };
  const end = bytes.indexOf('\r\n\r\n');
  if (end < 0) return hasEnded ? { kind: 'closed', ...none } : null;
  const head = bytes.toString('latin1', 0, end);
  const status = Number(head.slice(9, 12));
  // What is only said on the way, such as 100 and 102.
  if (status >= 100 && status < 200 && status !== 101) return answerOf(bytes.subarray(end + 4), isHead, hasEnded);
  const type = /^content-type: *([^;\r]*)/im.exec(head)?.[1].trim() ?? '';
  const body = bytes.subarray(end + 4);
  const answer = { status, type, body: body.toString('utf8') };
  if (isHead || status === 101 || status === 204 || status === 304) return { kind: 'answered', ...answer, body: '' };
  const length = /^content-length: *(\d+)/im.exec(head)?.[1];
  if (length !== undefined) {
    // What follows is the answer to bytes behind the request.
    const own = body.toString('utf8', 0, Number(length));
    return body.length >= Number(length) || hasEnded ? { kind: 'answered', ...answer, body: own } : null;
  }
  if (/^(text\/event-stream|application\/(connect\+|grpc|jsonl|x-ndjson|json-seq))/i.test(type)) return { kind: 'stream', ...answer };
  if (hasEnded) return { kind: 'answered', ...answer };
  if (!/^transfer-encoding: *chunked/im.test(head)) return null;
  const chunked = body.toString('latin1');
  if (!chunked.endsWith('0\r\n\r\n')) return null;
  return { kind: 'answered', ...answer, body: unchunked(chunked) };
}

function unchunked(text: string): string {
  let plain = '';
  for (let at = 0; at < text.length; ) {
    const lineEnd = text.indexOf('\r\n', at);
    const size = Number.parseInt(text.slice(at, lineEnd), 16);
    if (!(size > 0)) break;
    plain += text.slice(lineEnd + 2, lineEnd + 2 + size);
    at = lineEnd + 2 + size + 2;
  }
  return Buffer.from(plain, 'latin1').toString('utf8');
}
