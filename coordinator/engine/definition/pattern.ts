/**
 * Regular expressions that take linear time whatever the pattern and the text: RE2 syntax, no lookaround, no backreferences.
 *
 * Invariants
 * 1. Never the native RegExp on a pattern that somebody else wrote.
 * 2. A match is charged before it is made: text length times program size. Compiling is charged once in an evaluation, so that the result does
 *    not depend on what is kept compiled.
 */
import { limits } from '@workflow-orchestrator/proto/limits';
import { RE2JS } from 're2js';
import type { Budget } from './budget.ts';

/** A compiled pattern. */
export interface Pattern {
  /** Whether it matches anywhere in `text`. */
  readonly test: (text: string, budget: Budget) => boolean;
}

/** A pattern, or why there is none. */
export type PatternResult = { readonly kind: 'ok'; readonly pattern: Pattern } | { readonly kind: 'bad'; readonly message: string };

/** Checks the patterns of one definition. Compiling one takes up to 30 ms, so all of them together are bounded. */
export class PatternCheck {
  readonly #known = new Map<string, string | null>();
  #left: number = limits.patternsLength;

  /** Why a pattern is refused, or null. */
  fault(source: string): string | null {
    const known = this.#known.get(source);
    if (known !== undefined) return known;
    this.#left -= source.length;
    const fault = this.#left < 0 ? `all patterns together are longer than patternsLength (${limits.patternsLength})` : faultOf(source);
    this.#known.set(source, fault);
    return fault;
  }
}

function faultOf(source: string): string | null {
  const compiled = compilePattern(source);
  return compiled.kind === 'bad' ? compiled.message : null;
}

/** Patterns that are kept compiled. */
const MAX_CACHED = 256;
/** Text characters times program instructions of one step. */
const CELLS_PER_STEP = 32;
const cache = new Map<string, PatternResult>();

/** Compiles a pattern; the last ones are kept. */
export function compilePattern(source: string): PatternResult {
  const known = cache.get(source);
  if (known !== undefined) return known;
  const result = compileFresh(source);
  if (cache.size >= MAX_CACHED) cache.delete(cache.keys().next().value!);
  cache.set(source, result);
  return result;
}

function compileFresh(source: string): PatternResult {
  if (source.length > limits.patternLength) {
    return { kind: 'bad', message: `the pattern has ${source.length} characters, more than patternLength (${limits.patternLength})` };
  }
  try {
    const compiled = RE2JS.compile(RE2JS.translateRegExp(source));
    const size = compiled.programSize();
    return {
      kind: 'ok',
      pattern: {
        test: (text, budget) => {
          budget.charge(1 + Math.ceil((text.length * size) / CELLS_PER_STEP));
          return compiled.test(text);
        },
      },
    };
  } catch (error) {
    const why = error instanceof Error ? error.message.replace(/^error parsing regexp: /, '') : String(error);
    return { kind: 'bad', message: `${why.slice(0, 200)}; patterns are RE2, without lookaround and backreferences` };
  }
}
