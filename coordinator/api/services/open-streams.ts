/** How many streams (watches, logs that are followed) are open at once, over all callers. */
import { limits } from '@workflow-orchestrator/proto/limits';
import { limitExceeded } from './failures.ts';

export class OpenStreams {
  readonly #most: number;
  #open = 0;

  constructor(most: number = limits.watches) {
    this.#most = most;
  }

  /** Takes one of them; call what it returns when the stream ends. Throws ConnectError when there are too many. */
  enter(): () => void {
    if (this.#open >= this.#most) throw limitExceeded('watches', this.#most, 'too many watches and log streams are open');
    this.#open += 1;
    return () => {
      this.#open -= 1;
    };
  }
}
