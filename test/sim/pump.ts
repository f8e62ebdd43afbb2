/** Virtual time that goes with real time: for a suite that waits by itself, such as the contract of stores. */
import { Clock } from './clock.ts';

export class PumpedClock extends Clock {
  readonly #startedAt = performance.now();
  readonly #timer: NodeJS.Timeout;
  #isRunning = false;

  constructor() {
    super();
    this.#timer = setInterval(() => void this.#catchUp(), 1);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  async #catchUp(): Promise<void> {
    if (this.#isRunning) return;
    this.#isRunning = true;
    await this.run(() => false, Math.max(0, performance.now() - this.#startedAt - this.now));
    this.#isRunning = false;
  }
}
