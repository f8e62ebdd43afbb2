/**
 * The names of jobs and inputs in an expression. Ids may hold dashes and dots, which CEL would read as operators: `jobs.my-job.output`,
 * `inputs.dry-run`. So the text is rewritten before it is parsed: `jobs.j4.output`, `inputs.i2`.
 *
 * Invariants
 * 1. Every job and input that an expression reads is named in its text: `jobs` and `inputs` have no computed keys.
 * 2. `toSource` leads from any offset of the rewritten text to the place in the original that it came from.
 * 3. Strings and comments are left alone.
 */
import { commentEnd, isWord, skipSpace, stringEnd } from './text.ts';

/** What can be named. */
export interface Names {
  /** Job id to index. */
  readonly jobs: ReadonlyMap<string, number>;
  /** Input name to index. */
  readonly inputs: ReadonlyMap<string, number>;
  /** The inputs could not be read: any name may be one of them. */
  readonly anyInput: boolean;
}

/** A job or input that an expression names. `index` is -1 when there is none of this name. */
export interface NameReference {
  readonly kind: 'job' | 'input';
  readonly name: string;
  readonly index: number;
  /** Where the whole name begins in the original text, `jobs` or `inputs` included. */
  readonly start: number;
}

/** `jobs` without a name, or with one that is computed. */
export interface Unnamed {
  readonly kind: 'job' | 'input';
  readonly start: number;
}

/** A rewritten expression. */
export interface Rewritten {
  readonly source: string;
  readonly text: string;
  readonly references: readonly NameReference[];
  readonly unnamed: readonly Unnamed[];
  readonly toSource: (offset: number) => number;
}

/** Methods of CEL that are replaced by bounded ones of our own, under another name. */
export const REPLACED = { matches: 'matchesBounded', join: 'joinBounded' } as const;
/** What an unknown job or input is rewritten to, so that the rest of the expression is checked all the same. */
export const UNKNOWN = 'unknown';

/** Rewrites the names in an expression. */
export function rewriteNames(source: string, names: Names): Rewritten {
  return new Rewriter(source, names).run();
}

class Rewriter {
  readonly #source: string;
  readonly #names: Names;
  readonly #pieces: string[] = [];
  /** Beginnings of pieces: in the rewritten text, in the original, and whether the piece is a copy. */
  readonly #origins: { readonly to: number; readonly from: number; readonly copied: boolean }[] = [];
  readonly #references: NameReference[] = [];
  readonly #unnamed: Unnamed[] = [];
  #copiedTo = 0;
  #length = 0;

  constructor(source: string, names: Names) {
    this.#source = source;
    this.#names = names;
  }

  run(): Rewritten {
    const source = this.#source;
    let afterDot = false;
    for (let at = 0; at < source.length; ) {
      const char = source[at];
      if (char === '"' || char === "'") at = stringEnd(source, at);
      else if (char === '/' && source[at + 1] === '/') at = commentEnd(source, at);
      else if (isWord(source.charCodeAt(at))) {
        let end = at + 1;
        while (end < source.length && isWord(source.charCodeAt(end))) end++;
        at = this.#word(source.slice(at, end), at, end, afterDot);
      } else {
        if (/\S/.test(char)) afterDot = char === '.';
        at++;
        continue;
      }
      afterDot = false;
    }
    this.#copy(source.length);
    const toSource = (offset: number): number => this.#toSource(offset);
    return { source, text: this.#pieces.join(''), references: this.#references, unnamed: this.#unnamed, toSource };
  }

  /** Handles a word from `at` to `end`; answers where to go on. */
  #word(word: string, at: number, end: number, afterDot: boolean): number {
    if (afterDot) {
      const replaced = REPLACED[word as keyof typeof REPLACED];
      if (replaced !== undefined && this.#source[skipSpace(this.#source, end)] === '(') this.#replace(at, end, replaced);
      return end;
    }
    if (word === 'jobs') return this.#named('job', at, end);
    return word === 'inputs' ? this.#named('input', at, end) : end;
  }

  #named(kind: 'job' | 'input', start: number, wordEnd: number): number {
    const source = this.#source;
    const after = skipSpace(source, wordEnd);
    const found =
      source[after] === '.' ? this.#dotted(kind, skipSpace(source, after + 1)) : source[after] === '[' ? bracketed(source, after) : null;
    if (found === null) {
      // All inputs at once may be read, all jobs may not.
      if (kind === 'job' || source[after] === '[' || source[after] === '.') this.#unnamed.push({ kind, start });
      return wordEnd;
    }
    const known = kind === 'job' ? this.#names.jobs : this.#names.inputs;
    const index = known.get(found.name) ?? -1;
    this.#references.push({ kind, name: found.name, index, start });
    const alias = index < 0 ? UNKNOWN : `${kind === 'job' ? 'j' : 'i'}${index}`;
    this.#replace(start, found.end, `${kind === 'job' ? 'jobs' : 'inputs'}.${alias}`);
    return found.end;
  }

  /** The longest known name at `at`; else the name that was probably meant. */
  #dotted(kind: 'job' | 'input', at: number): { readonly name: string; readonly end: number } | null {
    const run = /^[A-Za-z0-9._-]*/.exec(this.#source.slice(at))![0];
    const known = kind === 'job' ? this.#names.jobs : this.#names.inputs;
    for (let length = run.length; length > 0; length--) {
      const atBoundary = length === run.length || run[length] === '.' || (kind === 'input' && run[length] === '-');
      if (atBoundary && known.has(run.slice(0, length))) return { name: run.slice(0, length), end: at + length };
    }
    const segment = run.split('.', 1)[0].replace(/-+$/, '');
    return segment === '' ? null : { name: segment, end: at + segment.length };
  }

  #copy(end: number): void {
    if (end <= this.#copiedTo) return;
    this.#origins.push({ to: this.#length, from: this.#copiedTo, copied: true });
    this.#pieces.push(this.#source.slice(this.#copiedTo, end));
    this.#length += end - this.#copiedTo;
    this.#copiedTo = end;
  }

  #replace(start: number, end: number, text: string): void {
    this.#copy(start);
    this.#origins.push({ to: this.#length, from: start, copied: false });
    this.#pieces.push(text);
    this.#length += text.length;
    this.#copiedTo = end;
  }

  #toSource(offset: number): number {
    const origin = this.#origins.findLast(({ to }) => to <= offset);
    if (origin === undefined) return 0;
    return Math.min(this.#source.length, origin.copied ? origin.from + offset - origin.to : origin.from);
  }
}

/** `["my-job"]` or `['my-job']` without escapes. */
function bracketed(source: string, at: number): { readonly name: string; readonly end: number } | null {
  const match = /^\[\s*(?:"([A-Za-z0-9._-]+)"|'([A-Za-z0-9._-]+)')\s*\]/.exec(source.slice(at));
  return match === null ? null : { name: match[1] ?? match[2], end: at + match[0].length };
}
