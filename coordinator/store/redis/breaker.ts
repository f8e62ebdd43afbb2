/**
 * A circuit breaker: after some failures in a row nothing is asked for a while, then one call is let through to see.
 *
 * Invariants
 * 1. While it is open nothing is let through; when its pause is over, one call at a time until one succeeds.
 * 2. Pauses grow with each failure after the first ones, up to a cap; each is drawn between a half and the whole of it, so that many coordinators do not
 *    come back at the same moment.
 */

/** How it is set. */
export interface BreakerSettings {
  /** Failures in a row that open it. */
  readonly failures: number;
  readonly pauseMinMs: number;
  readonly pauseMaxMs: number;
  /** Milliseconds that never go back. */
  readonly now: () => number;
  /** From 0 to 1. */
  readonly random: () => number;
}

export class Breaker {
  readonly #settings: BreakerSettings;
  #failures = 0;
  #openUntil = 0;
  #isProbing = false;
  #last: { readonly since: number; readonly message: string } | null = null;

  constructor(settings: BreakerSettings) {
    this.#settings = settings;
  }

  /** Since when (milliseconds since 1970) and why it fails; null when the last call succeeded. */
  get trouble(): { readonly since: number; readonly message: string } | null {
    return this.#last;
  }

  get isOpen(): boolean {
    return this.#failures >= this.#settings.failures;
  }

  /** Whether a call may be made now. Whoever is told so must say how it ended. */
  mayCall(): boolean {
    if (!this.isOpen) return true;
    if (this.#isProbing || this.#settings.now() < this.#openUntil) return false;
    this.#isProbing = true;
    return true;
  }

  succeeded(): void {
    this.#failures = 0;
    this.#isProbing = false;
    this.#last = null;
  }

  /** `at`: milliseconds since 1970. */
  failed(message: string, at: number): void {
    const { failures, pauseMinMs, pauseMaxMs, now, random } = this.#settings;
    // Calls that were under way when it opened say nothing new.
    const isLate = this.isOpen && !this.#isProbing;
    this.#isProbing = false;
    this.#last = { since: this.#last?.since ?? at, message };
    if (isLate) return;
    this.#failures += 1;
    if (!this.isOpen) return;
    const pauseMs = Math.min(pauseMinMs * 2 ** Math.min(this.#failures - failures, 20), pauseMaxMs);
    this.#openUntil = now() + pauseMs * (0.5 + random() / 2);
  }
}
