/**
 * What one test file said, as tests: reads the TAP of its standard output.
 *
 * 1. A **test** is a named block (`t.test`) that makes assertions of its own, or a file that makes some outside of any block.
 *    A block that only holds other blocks is not counted, unless it fails for a reason of its own. So the figure does not
 *    change with the number of assertions that a loop happened to make.
 * 2. A test has failed when one of its assertions has, when its plan was not kept, or when it never ended.
 * 3. A skipped or todo block is one skipped test; a skipped assertion inside a block that ran changes nothing.
 * 4. What is not TAP is kept as `output`, for people.
 */
import { type FinalResults, Parser, type Result } from 'tap-parser';

/** One thing that went wrong in a test. `diag` is what tap says about it: `diff`, `at`, `stack`, `found`, `wanted` and more. */
export interface Failure {
  readonly title: string;
  readonly diag: Readonly<Record<string, unknown>>;
}

/** One test. `path` is the names of its blocks from the outside in; empty for the file itself. */
export interface Test {
  readonly path: readonly string[];
  readonly outcome: 'passed' | 'failed' | 'skipped';
  /** Why it was skipped, or the empty string. */
  readonly reason: string;
  readonly failures: readonly Failure[];
}

/** All that a file said. `bailout` is the reason of a `Bail out!`, null when there was none. */
export interface Tally {
  readonly tests: readonly Test[];
  readonly output: readonly string[];
  readonly bailout: string | null;
}

/** What tap writes as the plan of a file that tests nothing; any other reason of an empty plan was given by the file itself. */
const NOTHING_FOUND = 'no tests found';

/** Collects the TAP of one file. Feed it with `write`, then ask for the `result` once. */
export class TallyReader {
  readonly #parser = new Parser({ strict: false });
  readonly #tests: Test[] = [];
  readonly #output: string[] = [];
  #bailout: string | null = null;

  constructor() {
    this.#read(this.#parser, []);
    this.#parser.on('extra', (line: string) => this.#output.push(line.replace(/\n$/, '')));
    this.#parser.on('bailout', (reason: string) => {
      this.#bailout = reason.trim() || 'no reason given';
    });
  }

  /** Takes what the file wrote next. */
  write(text: string): void {
    this.#parser.write(text);
  }

  /** Says that nothing more will come, and what it all amounts to. */
  result(): Tally {
    this.#parser.end();
    return { tests: this.#tests, output: this.#output, bailout: this.#bailout };
  }

  /** Follows one block, and through it the blocks inside. */
  #read(parser: Parser, path: readonly string[]): void {
    const failures: Failure[] = [];
    let own = 0;
    let inner = 0;
    let innerFailed = false;
    parser.on('child', (child: Parser) => {
      inner += 1;
      this.#read(child, [...path, child.name || `block ${inner}`]);
    });
    parser.on('assert', (result: Result) => {
      if (result.closingTestPoint) {
        innerFailed ||= !result.ok;
        return;
      }
      if (result.skip !== false || result.todo !== false) {
        this.#skipped(result, path);
        inner += 1;
        return;
      }
      own += 1;
      if (!result.ok) failures.push({ title: result.name, diag: diagnosis(result.diag) });
    });
    parser.on('complete', (results: FinalResults) => {
      failures.push(...brokenPromises(results, path));
      const closing = parser.closingTestPoint;
      // A block that was closed as failed although nothing in it did: its own diagnosis says why.
      if (closing !== null && !closing.ok && failures.length === 0 && !innerFailed) {
        failures.push({ title: closing.name, diag: diagnosis(closing.diag) });
      }
      if (closing !== null && closing.todo !== false) {
        this.#tests.push({ path, outcome: 'skipped', reason: reasonOf(closing.todo), failures: [] });
      } else if (results.plan.skipAll && own === 0 && results.plan.skipReason !== NOTHING_FOUND) {
        this.#tests.push({ path, outcome: 'skipped', reason: results.plan.skipReason, failures: [] });
      } else if (own > 0 || failures.length > 0 || (path.length > 0 && inner === 0)) {
        this.#tests.push({ path, outcome: failures.length > 0 ? 'failed' : 'passed', reason: '', failures });
      }
    });
  }

  #skipped(result: Result, path: readonly string[]): void {
    const reason = reasonOf(result.skip !== false ? result.skip : result.todo);
    this.#tests.push({ path: [...path, result.name], outcome: 'skipped', reason, failures: [] });
  }
}

/** A plan that was not kept. A block without one was cut off; that a file was, the runner knows better. */
function brokenPromises(results: FinalResults, path: readonly string[]): Failure[] {
  return results.failures.flatMap((failure) => {
    if (typeof failure.tapError !== 'string') return [];
    if (failure.tapError === 'no plan') return path.length > 0 ? [{ title: 'never came to its end', diag: {} }] : [];
    return [{ title: failure.tapError, diag: diagnosis('diag' in failure ? failure.diag : null) }];
  });
}

function reasonOf(directive: string | boolean): string {
  return typeof directive === 'string' ? directive : '';
}

function diagnosis(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}
