/**
 * "Did you mean ...?": the known word nearest to an unknown one. Pure; used wherever people type names.
 */

/**
 * The candidate that `word` was probably meant to be, or null when none is near enough: at most a third of its letters differ
 * (at least one may), whatever the case. Of several equally near the first one wins.
 */
export function nearest(word: string, candidates: Iterable<string>): string | null {
  const wanted = word.toLowerCase();
  let best: string | null = null;
  let bestDistance = Math.max(1, Math.floor(wanted.length / 3)) + 1;
  for (const candidate of candidates) {
    const known = candidate.toLowerCase();
    if (Math.abs(known.length - wanted.length) >= bestDistance) continue;
    const distance = editDistance(wanted, known, bestDistance);
    if (distance >= bestDistance) continue;
    best = candidate;
    bestDistance = distance;
  }
  return best;
}

/** Letters added, removed, changed or swapped with their neighbour (optimal string alignment); `bound` when it is at least that. */
function editDistance(left: string, right: string, bound: number): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: right.length + 1 }, (_, column) => column);
  for (let row = 1; row <= left.length; row += 1) {
    const current = [row];
    let smallest = row;
    for (let column = 1; column <= right.length; column += 1) {
      const same = left[row - 1] === right[column - 1];
      let distance = Math.min(last[column] + 1, current[column - 1] + 1, last[column - 1] + (same ? 0 : 1));
      const swapped = row > 1 && column > 1 && left[row - 1] === right[column - 2] && left[row - 2] === right[column - 1];
      if (swapped) distance = Math.min(distance, beforeLast[column - 2] + 1);
      current.push(distance);
      smallest = Math.min(smallest, distance);
    }
    if (smallest >= bound) return bound;
    beforeLast = last;
    last = current;
  }
  return Math.min(last[right.length], bound);
}
