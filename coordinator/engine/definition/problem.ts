/**
 * Problems of a definition: collected in any order, told in the order of the file.
 *
 * Invariants
 * 1. Every rule is in `rules`; the words never change their meaning.
 * 2. One fault is told once: the same rule and message at the same place is one problem.
 * 3. The list is bounded: after `MAX_PROBLEMS` one closing problem says how many more there are.
 */
import type { Problem } from './graph.ts';
import { type Node, pathOf } from './node.ts';

/** Every rule that a problem can name. `README.md` says what each means. */
export const rules = [
  'syntax',
  'documents',
  'tag',
  'merge-key',
  'alias',
  'duplicate-key',
  'bad-key',
  'limit',
  'missing-key',
  'unknown-key',
  'bad-type',
  'bad-value',
  'bad-name',
  'out-of-range',
  'conflict',
  'bad-duration',
  'not-supported',
  'duplicate-id',
  'unknown-job',
  'self-edge',
  'cycle',
  'never-runs',
  'always-run-deadlock',
  'template-syntax',
  'template-not-allowed',
  'expression-syntax',
  'expression-type',
  'expression-limit',
  'unknown-name',
  'unknown-input',
  'not-an-ancestor',
  'bad-schema',
  'bad-default',
  'too-many-problems',
  'internal',
] as const;

/** The name of a rule. */
export type Rule = (typeof rules)[number];

/** Problems of one definition that are told; the rest is counted. */
export const MAX_PROBLEMS = 100;
/** Problems that are kept until they are sorted; what comes later is only counted. */
const MAX_KEPT = 10_000;

interface Kept {
  readonly offset: number;
  readonly node: Node | null;
  readonly key: string | null;
  readonly rule: Rule;
  readonly message: string;
  readonly hint: string;
}

/** Collects the problems of one text. */
export class Problems {
  readonly source: string;
  readonly #kept: Kept[] = [];
  readonly #seen = new Set<string>();
  #dropped = 0;

  constructor(source: string) {
    this.source = source;
  }

  /** How many there are so far. */
  get count(): number {
    return this.#kept.length + this.#dropped;
  }

  /** A problem with the value `node`. */
  add(node: Node, rule: Rule, message: string, hint = ''): void {
    this.#keep({ offset: node.at, node, key: null, rule, message, hint });
  }

  /** A problem with what stands at `offset` inside the value `node`. */
  addInside(node: Node, offset: number, rule: Rule, message: string, hint = ''): void {
    this.#keep({ offset, node, key: null, rule, message, hint });
  }

  /** A problem with the key `key` of `map`, which stands at `offset`; without it (the key is missing) at the map. */
  addKey(map: Node, key: string, offset: number | null, rule: Rule, message: string, hint = ''): void {
    this.#keep({ offset: offset ?? map.at, node: map, key, rule, message, hint });
  }

  /** A problem with the text itself, which has no path. */
  addText(offset: number, rule: Rule, message: string, hint = ''): void {
    this.#keep({ offset, node: null, key: null, rule, message, hint });
  }

  /** The problems in the order of the file. */
  list(): Problem[] {
    const sorted = this.#kept.toSorted((a, b) => a.offset - b.offset);
    const lines = lineStarts(this.source);
    const told: Problem[] = sorted.slice(0, MAX_PROBLEMS).map((kept) => ({
      ...positionOf(lines, kept.offset),
      path: kept.key === null ? pathOf(kept.node) : pathOf(kept.node, kept.key),
      rule: kept.rule,
      message: kept.message,
      hint: kept.hint,
    }));
    const more = this.count - told.length;
    if (more > 0) {
      const { offset } = sorted[MAX_PROBLEMS] ?? sorted[sorted.length - 1];
      const message = `${more} more ${more === 1 ? 'problem' : 'problems'} from here on`;
      told.push({ ...positionOf(lines, offset), path: '', rule: 'too-many-problems', message, hint: 'repair the ones above first' });
    }
    return told;
  }

  #keep(problem: Kept): void {
    const identity = `${problem.offset} ${problem.rule} ${problem.message}`;
    if (this.#seen.has(identity)) return;
    if (this.#kept.length >= MAX_KEPT) {
      this.#dropped++;
      return;
    }
    this.#seen.add(identity);
    this.#kept.push(problem);
  }
}

/** Offsets at which lines begin. */
function lineStarts(text: string): number[] {
  const starts = [0];
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) starts.push(at + 1);
  return starts;
}

/** Line and column of an offset, both from 1. */
function positionOf(starts: readonly number[], offset: number): { readonly line: number; readonly column: number } {
  let low = 0;
  let high = starts.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (starts[middle] <= offset) low = middle;
    else high = middle - 1;
  }
  return { line: low + 1, column: offset - starts[low] + 1 };
}

/** A value as it is quoted in a message: short, on one line. */
export function quote(text: string): string {
  const line = text.replaceAll(/\s+/g, ' ');
  return `'${line.length > 80 ? `${line.slice(0, 77)}...` : line}'`;
}
