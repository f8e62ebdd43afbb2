/**
 * A bound on work, counted in steps and not in time: the same input always ends the same way, on every machine.
 */

/** Thrown when the work exceeds its bound. Caught where the work began. */
export class BudgetExceeded extends Error {
  constructor() {
    super('too much work');
    this.name = 'BudgetExceeded';
  }
}

/** Steps that are left. */
export class Budget {
  #left: number;
  readonly #once = new Set<string>();

  /** `steps`: about 100 ns each. */
  constructor(steps: number) {
    this.#left = steps;
  }

  /** Whether more was asked for than there is. */
  get exceeded(): boolean {
    return this.#left < 0;
  }

  /** Takes steps the first time that `key` is named. */
  chargeOnce(key: string, steps: number): void {
    if (this.#once.has(key)) return;
    this.#once.add(key);
    this.charge(steps);
  }

  /** Takes all that is left, and throws. */
  exhaust(): never {
    this.#left = -1;
    throw exceeded;
  }

  /** Takes steps; throws `BudgetExceeded` when there are too few, and from then on always. */
  charge(steps: number): void {
    this.#left -= steps;
    if (this.#left < 0) throw exceeded;
  }
}

/** One object for all: throwing it must stay cheap, since expressions may catch it thousands of times before they end. */
const exceeded = new BudgetExceeded();
