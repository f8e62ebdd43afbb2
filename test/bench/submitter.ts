/**
 * The client's side of the benchmark: submits orders to one registered definition, over the client library.
 *
 * Invariant: what is refused ends the measurement.
 */
import type { Workflow } from '@workflow-orchestrator/proto';
import type { WorkflowClient } from '@workflow-orchestrator/sdk';
import { newOrder } from './payload.ts';

export class Submitter {
  /** The number of each workflow by the id that the coordinator gave it. */
  readonly ids = new Map<string, number>();
  readonly #client: WorkflowClient;
  readonly #source: { readonly definitionHash: string };
  #next: { readonly ids: number[]; readonly sent: Promise<void> } | null = null;
  #last: Promise<void> = Promise.resolve();

  constructor(client: WorkflowClient, definitionHash: string) {
    this.#client = client;
    this.#source = { definitionHash };
  }

  /** One call for one workflow. */
  async one(id: number): Promise<Workflow> {
    const workflow = await this.#client.submitWorkflow(this.#source, { inputs: inputsOf(id), start: true });
    this.ids.set(workflow.id, id);
    return workflow;
  }

  /** One call for many. */
  async batch(ids: readonly number[]): Promise<void> {
    const results = await this.#client.submitBatch(ids.map((id) => ({ source: this.#source, inputs: inputsOf(id), start: true })));
    for (const [index, result] of results.entries()) {
      if (result.kind === 'refused') throw new Error(`workflow ${ids[index]} was refused: ${result.code}: ${result.message}`);
      this.ids.set(result.workflowId, ids[index]!);
    }
  }

  /** One call at a time: what comes while one is under way goes together with the next. */
  gathered(id: number): Promise<void> {
    if (this.#next !== null) {
      this.#next.ids.push(id);
      return this.#next.sent;
    }
    const ids = [id];
    const sent = this.#last.then(() => {
      this.#next = null;
      return this.batch(ids);
    });
    this.#next = { ids, sent };
    this.#last = sent.catch(() => {});
    return sent;
  }
}

function inputsOf(id: number) {
  const { tags, ...order } = newOrder(id);
  return { order: { ...order, tags: [...tags] } };
}
