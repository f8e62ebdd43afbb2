/**
 * The place of the gateway in a coordinator: empty while it has no shard for workers. Handshakes are refused then, so that workers go elsewhere.
 */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Gateway } from './gateway.ts';
import { answerRefusal } from './handshake.ts';
import type { WorkerInfo } from './worker-info.ts';

export class GatewaySeat implements Pick<Gateway, 'handleUpgrade' | 'workers' | 'worker' | 'drain'> {
  #gateway: Gateway | null = null;
  #reason: string;

  /** `reason`: why there is no gateway yet. */
  constructor(reason: string) {
    this.#reason = reason;
  }

  take(gateway: Gateway): void {
    this.#gateway = gateway;
  }

  /** From now on handshakes are refused for this reason. The gateway that was here; null for none. */
  vacate(reason: string): Gateway | null {
    const gateway = this.#gateway;
    this.#gateway = null;
    this.#reason = reason;
    return gateway;
  }

  handleUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    if (this.#gateway !== null) this.#gateway.handleUpgrade(request, socket, head);
    else answerRefusal(socket, { kind: 'refuse', status: 503, code: 'unavailable', message: this.#reason });
  }

  workers(): WorkerInfo[] {
    return this.#gateway?.workers() ?? [];
  }

  worker(id: string): WorkerInfo | null {
    return this.#gateway?.worker(id) ?? null;
  }

  drain(id: string, reason: string): boolean {
    return this.#gateway?.drain(id, reason) ?? false;
  }
}
