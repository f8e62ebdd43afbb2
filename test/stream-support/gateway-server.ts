/**
 * A real gateway on a free port over the model shard, and a client that speaks the protocol by hand, right or wrong.
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { CoordinatorFrameSchema, type LogLine, WorkerFrameSchema, workerSubprotocol } from '@workflow-orchestrator/proto';
import { WebSocket } from 'ws';
import { createGateway, type Gateway, type GatewayOptions } from '../../coordinator/gateway/gateway.ts';
import { seeded } from '../engine-support/random.ts';
import { sayCoordinatorFrame, workerFrame } from './frames.ts';
import { ModelShard } from './model-shard.ts';

/** A gateway that serves. */
export interface GatewayServer {
  readonly gateway: Gateway;
  readonly shard: ModelShard;
  readonly port: number;
  readonly url: string;
  readonly notes: string[];
  readonly lines: LogLine[];
  close(): Promise<void>;
}

/** Starts one with this many jobs to give. */
export async function startGateway(jobs: number, overrides: Partial<GatewayOptions> = {}): Promise<GatewayServer> {
  const realTime = {
    after(delayMs: number, event: () => void) {
      const timer = setTimeout(event, delayMs);
      return () => clearTimeout(timer);
    },
  };
  const shard = new ModelShard(jobs, realTime, seeded(1), { greed: 0, amnesia: 0 });
  const notes: string[] = [];
  const lines: LogLine[] = [];
  const gateway = createGateway({
    inbox: shard,
    coordinatorId: 'c1',
    authenticate: () => true,
    log: { info: (message) => notes.push(message), warn: (message) => notes.push(message) },
    onLogLines: (_workerId, added) => lines.push(...added),
    ...overrides,
  });
  const server = createServer();
  server.on('upgrade', (request, socket, head) => gateway.handleUpgrade(request, socket, head));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    gateway,
    shard,
    port,
    url: `http://127.0.0.1:${port}`,
    notes,
    lines,
    async close() {
      await gateway.close({ reason: 'the test ends', withinMs: 0 });
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

type Body = Parameters<typeof workerFrame>[2];

/** A worker by hand. What comes is a line each; the last one is `closed <code>`. */
export class HandWorker {
  readonly socket: WebSocket;
  /** What came, oldest first. */
  readonly lines: string[] = [];
  #sent = 0;
  #received = 0;
  #onLine: () => void = () => {};

  constructor(port: number, token = '') {
    const headers = token === '' ? {} : { Authorization: `Bearer ${token}` };
    this.socket = new WebSocket(`ws://127.0.0.1:${port}/workers`, [workerSubprotocol], { headers });
    this.socket.on('message', (data: Buffer) => {
      const frame = fromBinary(CoordinatorFrameSchema, data);
      this.#received = Number(frame.seq);
      this.#add(sayCoordinatorFrame(frame));
    });
    this.socket.on('close', (code) => this.#add(`closed ${code}`));
    this.socket.on('error', () => {});
  }

  /** Connected. */
  async opened(): Promise<this> {
    await once(this.socket, 'open');
    return this;
  }

  send(body: Body): void {
    this.#sent += 1;
    this.socket.send(toBinary(WorkerFrameSchema, workerFrame(this.#sent, this.#received, body)));
  }

  /** The next line that matches; those before it are skipped. */
  async line(pattern: RegExp): Promise<string> {
    for (;;) {
      const place = this.lines.findIndex((line) => pattern.test(line));
      if (place >= 0) return this.lines.splice(0, place + 1).at(-1)!;
      if (this.lines.some((line) => line.startsWith('closed'))) throw new Error(`closed before ${pattern}: ${this.lines.join(', ')}`);
      await new Promise<void>((resolve) => {
        this.#onLine = resolve;
      });
    }
  }

  #add(line: string): void {
    this.lines.push(line);
    this.#onLine();
  }
}

/** Waits until a condition holds, asked every few milliseconds. */
export async function until(condition: () => boolean, what: string, mostMs = 20_000): Promise<void> {
  const end = performance.now() + mostMs;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`waited ${mostMs} ms for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
