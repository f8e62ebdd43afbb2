/** Chance as an argument: a small seeded generator, so that a failing case is its seed. */

/** Numbers from a seed. */
export interface Random {
  /** 0 <= n < bound */
  below(bound: number): number;
  /** True with this probability. */
  chance(probability: number): boolean;
  pick<T>(items: readonly T[]): T;
}

/** SplitMix32: every seed, also 0 and neighbours, gives an unrelated sequence. */
export function seeded(seed: number): Random {
  let position = seed | 0;
  const next = (): number => {
    position = (position + 0x9e3779b9) | 0;
    let mixed = position ^ (position >>> 16);
    mixed = Math.imul(mixed, 0x21f0aaad);
    mixed ^= mixed >>> 15;
    mixed = Math.imul(mixed, 0x735a2d97);
    return (mixed ^ (mixed >>> 15)) >>> 0;
  };
  const below = (bound: number): number => next() % bound;
  return {
    below,
    chance: (probability) => next() / 2 ** 32 < probability,
    pick: (items) => items[below(items.length)],
  };
}
