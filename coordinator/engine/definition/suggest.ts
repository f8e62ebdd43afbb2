/**
 * "Did you mean ...?": the known name that is nearest to an unknown one.
 *
 * Invariants
 * 1. The work is bounded: when the effort of one definition is used up, there are no more suggestions, and nothing else changes.
 */

/** Cells of distance tables that one definition may cost: about 50 ms. */
const EFFORT = 4_000_000;

/** Finds near names, for one definition. */
export class Suggestions {
  #effort = EFFORT;

  /** The known name that was probably meant, or null. The first one of several that are equally near. */
  nearest(name: string, known: Iterable<string>): string | null {
    const most = name.length <= 3 ? 1 : name.length <= 7 ? 2 : 3;
    const wanted = name.toLowerCase();
    let best: string | null = null;
    let bestDistance = most + 1;
    for (const candidate of known) {
      this.#effort -= 4;
      if (this.#effort < 0) return null;
      if (Math.abs(candidate.length - name.length) >= bestDistance) continue;
      this.#effort -= candidate.length + name.length * (2 * bestDistance + 1);
      const distance = editDistance(wanted, candidate.toLowerCase(), bestDistance);
      if (distance < bestDistance) {
        best = candidate;
        bestDistance = distance;
        if (distance === 0) break;
      }
    }
    // Sharing almost nothing is no likeness: 'ab' is not meant by 'xy'.
    return bestDistance < name.length ? best : null;
  }

  /** `did you mean 'process'?`, or `otherwise`. */
  hint(name: string, known: Iterable<string>, otherwise = ''): string {
    const nearest = this.nearest(name, known);
    return nearest === null ? otherwise : `did you mean '${nearest}'?`;
  }
}

/** Edits (insert, delete, replace, swap neighbours) between two words; `limit` when there are that many or more. Only the diagonal band is computed. */
function editDistance(a: string, b: string, limit: number): number {
  const width = b.length + 2;
  let before = new Uint16Array(width);
  let last = new Uint16Array(width);
  let next = new Uint16Array(width);
  for (let column = 0; column < width; column++) last[column] = column;
  for (let row = 1; row <= a.length; row++) {
    const from = Math.max(1, row - limit);
    const to = Math.min(b.length, row + limit);
    next[from - 1] = from === 1 ? row : limit;
    let least = next[from - 1];
    for (let column = from; column <= to; column++) {
      const same = a[row - 1] === b[column - 1] ? 0 : 1;
      let cost = Math.min(last[column - 1] + same, last[column] + 1, next[column - 1] + 1, limit);
      if (row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]) {
        cost = Math.min(cost, before[column - 2] + 1);
      }
      next[column] = cost;
      if (cost < least) least = cost;
    }
    next[to + 1] = limit;
    if (least >= limit) return limit;
    [before, last, next] = [last, next, before];
  }
  return Math.min(last[b.length], limit);
}
