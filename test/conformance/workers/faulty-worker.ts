/**
 * A worker with a planted fault: a right worker, and between it and the kit something that passes everything on and spoils what the fault says (faults.ts).
 *
 *   node faulty-worker.ts <fault>
 *
 * Invariant: without a fault it cannot be seen, but for one thing: frames are numbered anew on both sides, and acks translated, so that frames may go or
 * come in between; a frame with a doubled or a skipped number comes to the worker as the next one.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { CoordinatorFrameSchema, HeartbeatReplySchema, type WorkerFrame, WorkerFrameSchema } from '@workflow-orchestrator/proto';
import { WebSocket, WebSocketServer } from 'ws';
import { type Fault, faults, type Wire } from './faults.ts';
import { conformanceWorker } from './job-types.ts';

/** Numbers of one direction: those that came, and those under which they were passed on. */
class Renumbering {
  /** The number that came, for each that was passed on; 0 for one that was put in. */
  readonly #passed: bigint[] = [];
  #came = 0n;

  /** A message came that takes a number. */
  come(): bigint {
    this.#came += 1n;
    return this.#came;
  }

  /** Its number on the other side. */
  pass(came: bigint): bigint {
    this.#passed.push(came);
    return BigInt(this.#passed.length);
  }

  /** The ack of the other side in the numbers of this one: what was dropped counts as handled. */
  ackOf(ack: bigint): bigint {
    const next = this.#passed.slice(Number(ack)).find((came) => came > 0n);
    return next === undefined ? this.#came : next - 1n;
  }
}

const name = process.argv[2] ?? '';
const fault = faults[name];
if (fault === undefined) {
  process.stderr.write(`no fault '${name}'; faults: ${Object.keys(faults).join(', ')}\n`);
  process.exit(2);
}

const http = createServer();
const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false, maxPayload: 16 * 1024 * 1024 });
let connections = 0;
http.on('upgrade', (request, raw, head) => void connect(fault, request, raw, head));
http.listen(0, '127.0.0.1');
await once(http, 'listening');
const url = `ws://127.0.0.1:${(http.address() as AddressInfo).port}/workers`;
const worker = conformanceWorker(url);
process.once('SIGTERM', () => worker.stop());
worker.start().catch((error: unknown) => process.stderr.write(`${error}\n`));
await worker.done;
// The last words may still be on their way.
setTimeout(() => process.exit(fault.exitCode ?? 0), 100);

async function connect(planted: Fault, request: IncomingMessage, raw: Duplex, head: Buffer): Promise<void> {
  if (planted.connectsOnce && connections > 0) {
    raw.destroy();
    return;
  }
  const upstream = await dial(planted);
  if (!(upstream instanceof WebSocket)) {
    raw.end(`HTTP/1.1 ${upstream.status} Refused\r\n${upstream.retryAfter}Content-Length: 0\r\nConnection: close\r\n\r\n`);
    return;
  }
  connections += 1;
  const number = connections;
  sockets.handleUpgrade(request, raw, head, (downstream) => pass(planted, upstream, downstream, number));
}

/** A connection to the kit, or how it was refused. */
function dial(planted: Fault): Promise<WebSocket | { readonly status: number; readonly retryAfter: string }> {
  return new Promise((resolve) => {
    const protocol = planted.subprotocol ?? 'workflow.worker.v1';
    const upstream = new WebSocket(process.env.COORDINATOR_URL!, [protocol], { perMessageDeflate: false });
    upstream.on('open', () => resolve(upstream));
    upstream.on('unexpected-response', (_, response) => {
      upstream.terminate();
      const after = response.headers['retry-after'];
      const answer = { status: response.statusCode ?? 400, retryAfter: after === undefined ? '' : `Retry-After: ${after}\r\n` };
      resolve(planted.isImpatient ? dial(planted) : answer);
    });
    upstream.on('error', () => resolve({ status: 503, retryAfter: '' }));
  });
}

function pass(planted: Fault, upstream: WebSocket, downstream: WebSocket, number: number): void {
  const up = new Renumbering();
  const down = new Renumbering();
  let acked = 0n;

  const sendUp = (frame: WorkerFrame) => {
    if (upstream.readyState === WebSocket.OPEN) upstream.send(toBinary(WorkerFrameSchema, frame));
  };
  const wire: Wire = {
    number,
    toKit: (body) => sendUp(create(WorkerFrameSchema, { seq: up.pass(0n), ack: acked, body } as never)),
    text: (words) => {
      up.pass(0n);
      upstream.send(words);
    },
    close: (closeCode) => upstream.close(closeCode),
  };

  downstream.on('message', (data: Buffer) => {
    const frame = fromBinary(WorkerFrameSchema, data);
    const came = up.come();
    acked = down.ackOf(frame.ack);
    if (!planted.spoilsNumbers && planted.fromWorker?.(frame, wire) === 'drop') return;
    frame.seq = up.pass(came);
    frame.ack = acked;
    if (planted.spoilsNumbers) planted.fromWorker?.(frame, wire);
    sendUp(frame);
  });
  upstream.on('message', (data: Buffer, isBinary) => {
    const came = down.come();
    const frame = isBinary ? readDown(data) : null;
    if (frame === null) {
      down.pass(came);
      downstream.send(data, { binary: isBinary });
      return;
    }
    if (planted.fromKit?.(frame, wire) === 'drop') return;
    frame.seq = down.pass(came);
    frame.ack = up.ackOf(frame.ack);
    downstream.send(toBinary(CoordinatorFrameSchema, frame));
  });

  const words = planted.hidesSilence ? setInterval(() => chat(), 200) : null;
  function chat(): void {
    if (downstream.readyState !== WebSocket.OPEN) return;
    const body = { case: 'heartbeatReply' as const, value: create(HeartbeatReplySchema) };
    downstream.send(toBinary(CoordinatorFrameSchema, create(CoordinatorFrameSchema, { seq: down.pass(0n), ack: 0n, body })));
  }
  for (const socket of [upstream, downstream]) socket.on('error', () => {});
  downstream.on('close', (closed) => {
    if (words !== null) clearInterval(words);
    if (closed === 1006) upstream.terminate();
    else upstream.close(planted.closeCode ?? closed);
  });
  upstream.on('close', (closed) => (closed === 1006 || closed === 1005 ? downstream.terminate() : downstream.close(closed)));
}

function readDown(data: Buffer) {
  try {
    return fromBinary(CoordinatorFrameSchema, data);
  } catch {
    return null;
  }
}
