/**
 * A worker's WebSocket that says why it closes where `ws` closes by itself without a word.
 */
import { WebSocket } from 'ws';

/** A message was larger than what is taken (R4). */
const tooLarge = 1009;

/** The class of the sockets of a server that takes messages of at most `frameBytes`. */
export function workerSocketClass(frameBytes: number): typeof WebSocket {
  return class WorkerSocket extends WebSocket {
    override close(code?: number, reason?: string | Buffer): void {
      super.close(code, reason ?? (code === tooLarge ? `a frame has at most ${frameBytes} bytes` : undefined));
    }
  };
}
