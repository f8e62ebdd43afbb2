/**
 * What expressions read while they are evaluated: the scope as CEL values, made when they are first asked for.
 *
 * Invariants
 * 1. A job is asked for only when an expression names it.
 * 2. Declared inputs are always there: null when they were not given.
 */
import type { Json, Scope } from '../graph.ts';
import { InputsValue, JobValue, toCel, WorkflowValue } from './value.ts';

/** An input as expressions see it. */
export interface DeclaredInput {
  readonly name: string;
  /** Its CEL type; `dyn` when its schema does not say, or when it may be absent. */
  readonly type: string;
  /** `type: integer`: an int, and not a double as all other numbers. */
  readonly integer: boolean;
}

/** The variables of one evaluation, or of several in the same scope. */
export class Variables {
  readonly #scope: Scope;
  readonly #declared: readonly DeclaredInput[];
  readonly #jobs: Record<string, unknown>;
  readonly #named: Record<string, unknown>;

  /** `jobs`: those that the expressions name. */
  constructor(scope: Scope, declared: readonly DeclaredInput[], jobs: readonly number[]) {
    this.#scope = scope;
    this.#declared = declared;
    this.#jobs = Object.create(null) as Record<string, unknown>;
    for (const job of jobs) lazy(this.#jobs, `j${job}`, () => new JobValue(scope.job(job)));
    this.#named = Object.create(null) as Record<string, unknown>;
    const { workflow, failure } = scope;
    this.#named.jobs = this.#jobs;
    lazy(this.#named, 'inputs', () => this.#inputs());
    lazy(this.#named, 'workflow', () => new WorkflowValue(workflow.id, workflow.name, workflow.status));
    lazy(this.#named, 'failure', () => toCel(failure as Json));
  }

  /** By name, as the evaluator wants them. */
  forNames(): Record<string, unknown> {
    return this.#named;
  }

  #inputs(): InputsValue {
    const { inputs } = this.#scope;
    const given = typeof inputs === 'object' && inputs !== null && !Array.isArray(inputs) ? (inputs as Readonly<Record<string, Json>>) : {};
    const entries = this.#declared.map(({ name, type, integer }, index) => {
      const written = Object.hasOwn(given, name) ? given[name] : null;
      const value = integer && Number.isInteger(written) ? BigInt(written as number) : toCel(written);
      if (!fits(value, type)) throw new Error(`the input '${name}' is not of the type that the definition declares`);
      return [`i${index}`, value] as const;
    });
    return new InputsValue(given, entries);
  }
}

/** Whether a value is of the type that the checker relied on. */
function fits(value: unknown, type: string): boolean {
  switch (type) {
    case 'string':
      return typeof value === 'string';
    case 'bool':
      return typeof value === 'boolean';
    case 'int':
      return typeof value === 'bigint';
    case 'double':
      return typeof value === 'number';
    case 'list':
    case 'list<string>':
      return Array.isArray(value);
    case 'map':
      return typeof value === 'object' && value !== null && !Array.isArray(value);
    default:
      return true;
  }
}

/** A property that is computed when it is first read. */
function lazy(onto: Record<string, unknown>, name: string, make: () => unknown): void {
  let made: { readonly value: unknown } | undefined;
  Object.defineProperty(onto, name, {
    enumerable: true,
    get: () => {
      made ??= { value: make() };
      return made.value;
    },
  });
}
