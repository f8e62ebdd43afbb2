/**
 * Several addresses, of which one takes calls: which of them is asked, and what is said when none answers.
 *
 * Invariants
 * 1. A client goes on with the address that answered last; every call and every stream begins there.
 * 2. A walk asks each address once in a round. Pauses are between rounds, never within one.
 * 3. When all that a walk asked have failed, the error names each of them with its reason.
 */
import type { Api } from './api.ts';
import { WorkflowError } from './error.ts';
import { concernsAddress, hadNoEffect } from './retry.ts';
import { whyUnreachable } from './transport.ts';

/** The addresses of a client, at least one. */
export class Addresses {
  readonly all: readonly Api[];
  #preferred = 0;

  constructor(all: readonly Api[]) {
    this.all = all;
  }

  /** The one to begin with. */
  get preferred(): Api {
    return this.all[this.#preferred];
  }

  /** It answered as a coordinator that takes calls. */
  answered(api: Api): void {
    this.#preferred = this.all.indexOf(api);
  }

  /** It did not. Only the first of many calls that fail there moves on. */
  failed(api: Api): void {
    if (this.preferred === api) this.#preferred = (this.#preferred + 1) % this.all.length;
  }
}

/** The way of one call, or of one stream with its connections, over the addresses. */
export class Walk {
  readonly #addresses: Addresses;
  /** Those that failed in this round. */
  readonly #failed = new Set<Api>();
  /** Why each failed the last time. */
  readonly #failures = new Map<Api, WorkflowError>();
  #api: Api;
  #round = 1;
  #askedMs = 0;
  /** A try, in whichever round, may have done what was asked. */
  #mayHaveTakenEffect = false;

  constructor(addresses: Addresses) {
    this.#addresses = addresses;
    this.#api = addresses.preferred;
  }

  /** Where to send now. */
  get api(): Api {
    return this.#api;
  }

  /** Number of this round, from 1. */
  get round(): number {
    return this.#round;
  }

  /** How many addresses this round has left, the present one not counted. */
  get others(): number {
    return this.#addresses.all.filter((api) => api !== this.#api && !this.#failed.has(api)).length;
  }

  /** The longest pause that an address asked for in this round, in milliseconds. */
  get askedMs(): number {
    return this.#askedMs;
  }

  /** The present address takes calls: failures until now count no more. */
  answered(): void {
    this.#addresses.answered(this.#api);
    this.#failed.clear();
    this.#failures.clear();
    this.#mayHaveTakenEffect = false;
    this.#round = 1;
    this.#askedMs = 0;
  }

  /** A try at the present address failed. Nothing moves yet: the decision may be to try no more. */
  failed(error: WorkflowError): void {
    this.#failures.set(this.#api, error);
    if (!hadNoEffect(error)) this.#mayHaveTakenEffect = true;
    this.#askedMs = Math.max(this.#askedMs, error.retryDelayMs ?? 0);
    if (concernsAddress(error)) this.#addresses.failed(this.#api);
    else if (error.code !== 'canceled') this.#addresses.answered(this.#api);
  }

  /** Goes on to the next address of this round. There must be one (`others`). */
  next(): void {
    const { all } = this.#addresses;
    this.#failed.add(this.#api);
    const here = all.indexOf(this.#api);
    const order = [...all.slice(here + 1), ...all.slice(0, here)];
    this.#api = order.find((api) => !this.#failed.has(api)) ?? this.#api;
  }

  /** Begins the next round, with the address that is the best by now. */
  again(): void {
    this.#failed.clear();
    this.#round += 1;
    this.#askedMs = 0;
    this.#api = this.#addresses.preferred;
  }

  /**
   * What to throw for the last failure: itself, or one error for all addresses when none of several answered. It says that the call had no effect
   * (`retryDelayMs`) only when that is so of every try.
   */
  error(last: WorkflowError): WorkflowError {
    if (this.#failures.size < 2 || !concernsAddress(last)) {
      if (!this.#mayHaveTakenEffect || last.retryDelayMs === null) return last;
      return errorLike(last, `${last.message} (an earlier try may have taken effect)`, null);
    }
    const failures = [...this.#failures];
    const reasons = failures.map(([{ address }, error]) => `${address}: ${whyUnreachable(error.cause) ?? error.message}`);
    const isUnknown = this.#mayHaveTakenEffect || failures.some(([, error]) => error.retryDelayMs === null);
    return errorLike(
      last,
      `no coordinator takes the call at any of ${failures.length} addresses: ${reasons.join('; ')}`,
      isUnknown ? null : Math.max(...failures.map(([, error]) => error.retryDelayMs ?? 0)),
    );
  }
}

/** What another error says, in other words. */
function errorLike(last: WorkflowError, message: string, retryDelayMs: number | null): WorkflowError {
  const { code, reason, metadata, problems, violations, resource } = last;
  return new WorkflowError(code, message, { reason, metadata, problems, violations, resource, retryDelayMs, cause: last });
}
