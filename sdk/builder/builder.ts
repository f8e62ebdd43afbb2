/**
 * Workflows written in code: the same definition as a YAML file says it, with the same content hash.
 *
 * Invariants
 * 1. A builder only writes the document; the one compiler of definitions judges it (`wf validate`, `client.validate`, a submit).
 * 2. A job id is used once: TypeScript refuses a second one that it can see, `job` throws for the rest.
 */
import { type JobOptions, type JsonValue, toSnakeCase, type WorkflowDocument, type WorkflowOptions } from './document.ts';
import { toYaml } from './yaml.ts';

/** A workflow in the making. `Ids` are the ids of its jobs so far, so that `needs` is completed and checked while one types. */
export class WorkflowBuilder<Ids extends string = never> {
  readonly name: string;
  readonly #options: WorkflowOptions;
  readonly #jobs: { readonly id: string; readonly options: JobOptions }[] = [];

  constructor(name: string, options: WorkflowOptions = {}) {
    this.name = name;
    this.#options = options;
  }

  /** Adds a job. Returns the same builder, which from then on knows its id. */
  job<const Id extends string>(
    id: string extends Ids ? Id : Id extends Ids ? never : Id,
    options: JobOptions<Ids>,
  ): WorkflowBuilder<Ids | Id> {
    const text: string = id;
    if (this.#jobs.some((job) => job.id.toLowerCase() === text.toLowerCase())) {
      throw new TypeError(`workflow ${this.name} has a job ${JSON.stringify(text)} already; ids are unique, whatever the case`);
    }
    this.#jobs.push({ id: text, options });
    return this as unknown as WorkflowBuilder<Ids | Id>;
  }

  /** The workflow file as plain data. */
  toDocument(): WorkflowDocument {
    const jobs = this.#jobs.map((job): { id: string } & Record<string, JsonValue> => ({ id: job.id, ...toSnakeCase(job.options) }));
    return { workflow: { name: this.name, ...toSnakeCase(this.#options), jobs } };
  }

  /** The workflow file as YAML text. */
  toYaml(): string {
    return toYaml(this.toDocument() as unknown as JsonValue);
  }

  /** For `JSON.stringify`: JSON is YAML too. */
  toJSON(): WorkflowDocument {
    return this.toDocument();
  }
}

/**
 * Starts a workflow.
 * `workflow('data-pipeline').job('validate', { type: 'validation' }).job('save', { type: 'integration', needs: 'validate' })`.
 * Where ids are made in a loop, say `workflow<string>('name')`.
 */
export function workflow<Ids extends string = never>(name: string, options: WorkflowOptions = {}): WorkflowBuilder<Ids> {
  return new WorkflowBuilder<Ids>(name, options);
}

/** An expression as a parameter: `expr('jobs.list.output.items')` is `${{ jobs.list.output.items }}`. */
export function expr(source: string): string {
  return `\${{ ${source} }}`;
}
