/**
 * All chance of a run, from its seed. Each concern has a sequence of its own, so that what one of them draws does not move the others.
 */
import { type Random, seeded } from '../engine-support/random.ts';

export class Chance {
  readonly #seed: number;
  readonly #streams = new Map<string, Random>();

  constructor(seed: number) {
    this.#seed = seed;
  }

  /** The sequence of a concern. */
  of(concern: string): Random {
    let stream = this.#streams.get(concern);
    if (stream === undefined) {
      stream = seeded(mix(this.#seed, concern));
      this.#streams.set(concern, stream);
    }
    return stream;
  }
}

/** FNV-1a over the name, begun with the seed. */
function mix(seed: number, text: string): number {
  let hash = 0x811c9dc5 ^ Math.imul(seed, 0x9e3779b1);
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  return hash | 0;
}
