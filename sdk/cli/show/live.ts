/**
 * A picture that is drawn over itself, at most ten times a second. Other output goes above it.
 */
import { createLogUpdate } from 'log-update';

/** Time between two drawings. */
const frameMs = 100;

/** A live picture on stdout. `draw` is asked for its lines. */
export class LivePicture {
  readonly #update = createLogUpdate(process.stdout, { showCursor: false });
  readonly #draw: () => readonly string[];
  readonly #timer: NodeJS.Timeout;

  constructor(draw: () => readonly string[]) {
    this.#draw = draw;
    this.#timer = setInterval(() => this.show(), frameMs);
    this.show();
  }

  /** Draws now. */
  show(): void {
    this.#update(this.#draw().join('\n'));
  }

  /** Writes lines above the picture. */
  above(text: string): void {
    this.#update.clear();
    process.stdout.write(text.endsWith('\n') ? text : `${text}\n`);
    this.show();
  }

  /** Draws a last time and leaves the picture where it is. */
  stop(): void {
    clearInterval(this.#timer);
    this.show();
    this.#update.done();
  }
}
