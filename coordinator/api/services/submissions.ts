/** From a submit request to what the shard takes: the definition found, the inputs checked, the keys computed. */
import { createHash } from 'node:crypto';
import { type Graph, type Json, jsonPayload } from '@workflow-orchestrator/engine/definition';
import type { SubmitWorkflowRequest } from '@workflow-orchestrator/proto';
import { limits } from '@workflow-orchestrator/proto/limits';
import type { Submission } from '../../shard/requests.ts';
import type { Definitions } from './definitions.ts';
import { badDefinition, badField, badInputs, notFound } from './failures.ts';

export class Submissions {
  readonly #definitions: Definitions;
  readonly #newId: () => string;

  /** `newId` gives ids that grow. */
  constructor(definitions: Definitions, newId: () => string) {
    this.#definitions = definitions;
    this.#newId = newId;
  }

  /** Everything but the id, which is given last so that ids grow in the order in which the shard sees them. Throws ConnectError. */
  async prepare(request: SubmitWorkflowRequest): Promise<() => Submission> {
    const graph = await this.#graphOf(request);
    const prepared = graph.prepareInputs((request.inputs ?? {}) as Json);
    if (prepared.kind === 'bad') throw badInputs(prepared.problems);
    const inputs = jsonPayload(prepared.inputs);
    const idempotencyKey = request.idempotencyKey === '' ? keyOfFile(graph, prepared.inputs) : request.idempotencyKey;
    // Hashed only where it is needed: two bodies are compared only under one key.
    const requestHash = idempotencyKey === '' ? '' : requestHashOf(request, graph.hash);
    const { labels, start } = request;
    return () => ({ workflowId: this.#newId(), graph, inputs, labels, idempotencyKey, requestHash, start });
  }

  async #graphOf(request: SubmitWorkflowRequest): Promise<Graph> {
    const { source } = request;
    switch (source.case) {
      case 'yaml': {
        const received = await this.#definitions.submitted(source.value);
        if (received.kind === 'bad') throw badDefinition(received.problems);
        return received.known.graph;
      }
      case 'definitionHash':
      case 'definitionName': {
        const found =
          source.case === 'definitionHash' ? await this.#definitions.find(source.value) : this.#definitions.latest(source.value);
        if (found === undefined) throw notFound('definition', source.value);
        return found.graph;
      }
      case undefined:
        throw badField('source', 'one of yaml, definition_hash and definition_name is required');
      default:
        return source satisfies never;
    }
  }
}

function keyOfFile(graph: Graph, inputs: Json): string {
  const result = graph.idempotencyKey?.(inputs);
  if (result === undefined) return '';
  if (result.kind === 'failure') throw badField('workflow.idempotency_key', result.message);
  if (result.value.length > limits.idempotencyKeyLength) {
    throw badField(
      'workflow.idempotency_key',
      `it has ${result.value.length} characters; at most ${limits.idempotencyKeyLength} are taken`,
    );
  }
  return result.value;
}

/** The same for the same request, whatever the definition's layout and the order of maps. */
export function requestHashOf(request: Pick<SubmitWorkflowRequest, 'inputs' | 'labels' | 'start'>, definitionHash: string): string {
  const sorted = (value: unknown): unknown =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? Object.fromEntries(
          Object.entries(value)
            .sort(([a], [b]) => (a < b ? -1 : 1))
            .map(([key, inner]) => [key, sorted(inner)]),
        )
      : Array.isArray(value)
        ? value.map(sorted)
        : value;
  const facts = { definitionHash, inputs: request.inputs ?? {}, labels: request.labels, start: request.start };
  return createHash('sha256')
    .update(JSON.stringify(sorted(facts)))
    .digest('hex');
}
