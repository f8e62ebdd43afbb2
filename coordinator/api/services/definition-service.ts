/** Register, find and check definitions. */
import { create, type JsonObject, type MessageInitShape } from '@bufbuild/protobuf';
import { type Timestamp, timestampFromMs } from '@bufbuild/protobuf/wkt';
import { compile, type Graph, type GraphJob } from '@workflow-orchestrator/engine/definition';
import {
  type Definition,
  DefinitionSchema,
  DefinitionService,
  Edge_Kind,
  GetDefinitionResponseSchema,
  type JobDefinition,
  JobDefinition_Join,
  JobDefinitionSchema,
  ListDefinitionsResponseSchema,
  RegisterDefinitionResponseSchema,
  ValidateDefinitionResponseSchema,
} from '@workflow-orchestrator/proto';
import type { StoredDefinition } from '../../store/store.ts';
import { type MountedService, mount } from '../context.ts';
import type { Definitions, Known } from './definitions.ts';
import { badDefinition, badField, notFound, problemMessage } from './failures.ts';
import { pageSize, pageTokenOf, readPageToken } from './pages.ts';

const JOINS = { all: JobDefinition_Join.ALL, any: JobDefinition_Join.ANY, all_done: JobDefinition_Join.ALL_DONE } as const;

/** The definition service. */
export function definitionService(definitions: Definitions): MountedService<typeof DefinitionService> {
  return mount(DefinitionService, {
    async registerDefinition({ yaml }) {
      const received = await definitions.register(yaml);
      if (received.kind === 'bad') throw badDefinition(received.problems);
      return create(RegisterDefinitionResponseSchema, { definition: whole(received.known), existed: received.existed });
    },

    async validateDefinition({ yaml }) {
      const compiled = compile(yaml);
      if (compiled.kind === 'bad') return create(ValidateDefinitionResponseSchema, { problems: compiled.problems.map(problemMessage) });
      return create(ValidateDefinitionResponseSchema, {
        valid: true,
        definition: { ...outline(compiled.graph), jobs: jobsOf(compiled.graph) },
      });
    },

    async listDefinitions({ name, pageSize: size, pageToken }) {
      const limit = pageSize(size, 50);
      const after = readPageToken('definitions', pageToken);
      const last = definitions.byHash(after)?.stored.name;
      if (after !== '' && (last === undefined || (name !== '' && last !== name))) {
        throw badField('page_token', `'${pageToken}' is not a token that this list gave`);
      }
      const found = definitions.list(name, after, limit + 1);
      const page = found.slice(0, limit);
      return create(ListDefinitionsResponseSchema, {
        definitions: page.map(({ graph, stored }) => ({ ...outline(graph), ...registerTime(stored) })),
        nextPageToken: found.length > page.length ? pageTokenOf('definitions', page.at(-1)!.stored.hash) : '',
      });
    },

    async getDefinition({ hash }) {
      const known = await definitions.find(hash);
      if (known === undefined) throw notFound('definition', hash);
      return create(GetDefinitionResponseSchema, { definition: whole(known) });
    },
  });
}

function registerTime({ registeredAt }: StoredDefinition): { registerTime?: Timestamp } {
  return registeredAt === 0 ? {} : { registerTime: timestampFromMs(registeredAt) };
}

function whole({ graph, stored }: Known): Definition {
  return create(DefinitionSchema, {
    ...outline(graph),
    jobs: jobsOf(graph),
    ...registerTime(stored),
    yaml: stored.yaml,
  });
}

function outline(graph: Graph): MessageInitShape<typeof DefinitionSchema> {
  const { hash, name, version, description, inputsSchema } = graph;
  return { hash, name, version, description, ...(inputsSchema === null ? {} : { inputsSchema: inputsSchema as JsonObject }) };
}

function jobsOf(graph: Graph): JobDefinition[] {
  return graph.jobs.map((job) => renderJob(graph, job));
}

function renderJob(graph: Graph, job: GraphJob): JobDefinition {
  return create(JobDefinitionSchema, {
    id: job.id,
    name: job.name,
    type: job.type,
    alwaysRun: job.alwaysRun,
    condition: job.condition?.source ?? '',
    join: JOINS[job.join],
    inEdges: job.inEdges.map(({ source, kind }) => ({
      source: graph.jobs[source]!.id,
      kind: kind === 'success' ? Edge_Kind.SUCCESS : Edge_Kind.FAILURE,
    })),
    allowFailure: job.allowFailure,
    priority: job.priority,
    maxAttempts: job.retry.maxAttempts,
  });
}
