/**
 * The faces of the coordinator over small services of the test: real contracts, real sockets, nothing behind them.
 * Ids of workflows choose what a method does; `seen` holds what reached the services.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { create, type Message, type MessageInitShape } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import {
  DefinitionProblemsSchema,
  DefinitionService,
  GetInfoResponseSchema,
  ResourceInfoSchema,
  RetryInfoSchema,
  SystemService,
  WatchWorkflowResponseSchema,
  type Workflow,
  WorkflowSchema,
  WorkflowService,
} from '@workflow-orchestrator/proto';
import pino from 'pino';
import { Registry } from 'prom-client';
import { type CallContext, mount } from '../../../coordinator/api/context.ts';
import { type ApiServer, type ApiServerOptions, createServer } from '../../../coordinator/api/server.ts';

/** What the services of the test saw. */
export interface Seen {
  /** Requests that reached a method, last ones last. */
  readonly requests: Message[];
  /** What became of calls that were broken off: `aborted <reason's code>` for unary ones, `left` for streams. */
  readonly ends: string[];
  /** Items that streams were asked for. */
  items: number;
  /** Lines that were logged. */
  readonly log: Record<string, unknown>[];
}

/** Running faces. */
export interface Faces {
  readonly server: ApiServer;
  readonly port: number;
  readonly grpcPort: number | undefined;
  /** `http://127.0.0.1:port`. */
  readonly base: string;
  readonly seen: Seen;
  readonly metrics: Registry;
  /** Flips readiness. */
  ready: boolean;
  close(): Promise<void>;
}

/** Starts faces on free ports. */
export async function startFaces(options: Partial<ApiServerOptions> = {}): Promise<Faces> {
  const seen: Seen = { requests: [], ends: [], items: 0, log: [] };
  const metrics = new Registry();
  const log = pino({ level: 'debug' }, { write: (line: string) => void seen.log.push(JSON.parse(line)) });
  const faces = { seen, metrics, ready: true };
  const server = createServer({
    services: [workflowService(seen), definitionService(seen), systemService()],
    gateway: { handleUpgrade: (_request, socket) => socket.destroy() },
    host: '127.0.0.1',
    port: 0,
    token: null,
    ready: () => ({ ready: faces.ready, detail: { store: faces.ready ? 'ok' : 'down' } }),
    metrics,
    log,
    version: '1.2.3',
    ...options,
  });
  const { port, grpcPort } = await server.listen();
  return Object.assign(faces, { server, port, grpcPort, base: `http://127.0.0.1:${port}`, close: () => server.close(0) });
}

/** Waits until `condition` holds; fails with `what` after 5 s. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  for (const deadline = Date.now() + 5_000; !condition(); await delay(5)) {
    if (Date.now() > deadline) throw new Error(`not within 5 s: ${what}`);
  }
}

/** What a definition that says `bad` gets, on every face. */
export const badDefinition = [
  {
    line: 3,
    column: 7,
    path: 'workflow.jobs[2].on_success',
    rule: 'unknown-job',
    message: "no job 'proces'",
    hint: "did you mean 'process'?",
  },
];

function workflowService(seen: Seen) {
  const note = <T extends Message>(request: T): T => {
    seen.requests.push(request);
    return request;
  };
  return mount(WorkflowService, {
    async submitWorkflow(request) {
      note(request);
      if (request.source.case === 'yaml' && request.source.value.startsWith('bad')) {
        throw new ConnectError('1 problem', Code.InvalidArgument, undefined, [
          { desc: DefinitionProblemsSchema, value: { problems: badDefinition } },
        ]);
      }
      if (request.idempotencyKey === 'busy') {
        const detail = { desc: RetryInfoSchema, value: { retryDelay: { seconds: 1n, nanos: 500_000_000 } } };
        throw new ConnectError('no room', Code.ResourceExhausted, undefined, [detail]);
      }
      return create(WorkflowService.method.submitWorkflow.output, {
        workflow: workflow('w1', { inputs: request.inputs ?? {}, labels: request.labels }),
      });
    },
    async batchSubmitWorkflows(request) {
      note(request);
      return create(WorkflowService.method.batchSubmitWorkflows.output, {
        results: request.requests.map((_, i) => ({ workflowId: `w${i}` })),
      });
    },
    startWorkflow: async (request) => create(WorkflowService.method.startWorkflow.output, { workflow: workflow(note(request).workflowId) }),
    async getWorkflow(request, context) {
      note(request);
      return create(WorkflowService.method.getWorkflow.output, { workflow: await found(request.workflowId, seen, context) });
    },
    listWorkflows: async (request) =>
      create(WorkflowService.method.listWorkflows.output, { workflows: note(request).name === 'none' ? [] : [workflow('w1')] }),
    cancelWorkflow: async (request) =>
      create(WorkflowService.method.cancelWorkflow.output, { workflow: workflow(note(request).workflowId) }),
    pauseWorkflow: async (request) => create(WorkflowService.method.pauseWorkflow.output, { workflow: workflow(note(request).workflowId) }),
    resumeWorkflow: async (request) =>
      create(WorkflowService.method.resumeWorkflow.output, { workflow: workflow(note(request).workflowId) }),
    watchWorkflow: (request, context) => watch(note(request).workflowId, Number(request.afterSeq), seen, context),
    listJobs: async (request) => create(WorkflowService.method.listJobs.output, { jobs: note(request) && [] }),
    getJob: async (request) => create(WorkflowService.method.getJob.output, { job: { id: note(request).jobId } }),
    listAttempts: async (request) => create(WorkflowService.method.listAttempts.output, { attempts: note(request) && [] }),
    async *readLogs(request) {
      note(request);
      yield create(WorkflowService.method.readLogs.output, { lines: [{ message: 'one' }] });
    },
  });
}

function definitionService(seen: Seen) {
  return mount(DefinitionService, {
    registerDefinition: async (request) =>
      create(DefinitionService.method.registerDefinition.output, { definition: { yaml: seen.requests.push(request) ? request.yaml : '' } }),
    validateDefinition: async (request) =>
      create(DefinitionService.method.validateDefinition.output, { valid: !request.yaml.startsWith('bad'), problems: [] }),
    listDefinitions: async () => create(DefinitionService.method.listDefinitions.output),
    getDefinition: async ({ hash }) => create(DefinitionService.method.getDefinition.output, { definition: { hash } }),
  });
}

function systemService() {
  return mount(SystemService, { getInfo: async () => create(GetInfoResponseSchema, { version: '1.2.3', openWorkflows: 7n }) });
}

function workflow(id: string, more: MessageInitShape<typeof WorkflowSchema> = {}): Workflow {
  return create(WorkflowSchema, { id, name: 'demo', status: 2, lastEventSeq: 9_007_199_254_740_993n, ...more });
}

async function found(id: string, seen: Seen, { signal }: CallContext): Promise<Workflow> {
  switch (id) {
    case 'none':
      throw new ConnectError("there is no workflow 'none'", Code.NotFound, undefined, [
        { desc: ResourceInfoSchema, value: { resourceType: 'workflow', resourceName: 'none' } },
      ]);
    case 'boom':
      throw new TypeError('secret: cannot read properties of undefined');
    case 'stuck':
      return new Promise(() => {}); // never answers, and does not look at the signal
    case 'waits':
      return new Promise((_, reject) => {
        signal.addEventListener('abort', () => {
          seen.ends.push(`aborted ${ConnectError.from(signal.reason).code}`);
          reject(signal.reason);
        });
      });
    case 'huge':
      return workflow(id, { inputs: { text: 'x'.repeat(20_000_000) } });
    default:
      return workflow(id);
  }
}

/** `three`: three events. `more`: events until `after_seq` is 5. `quiet`: none until it is left. `fails`: one, then an error. `flood`: large ones for ever. */
async function* watch(id: string, afterSeq: number, seen: Seen, { signal }: CallContext) {
  const event = (seq: number, text = '') =>
    create(WatchWorkflowResponseSchema, { item: { case: 'event', value: { seq: BigInt(seq), jobId: text } } });
  try {
    switch (id) {
      case 'none':
        throw new ConnectError("there is no workflow 'none'", Code.NotFound);
      case 'three':
        for (let seq = afterSeq + 1; seq <= 3; seq += 1) yield event(seq);
        return;
      case 'mixed':
        yield event(1);
        yield create(WatchWorkflowResponseSchema, { item: { case: 'jobUpdate', value: { id: 'a', progress: 0.5 } } });
        yield event(2);
        return;
      case 'fails':
        yield event(1);
        throw new ConnectError('lost the thread', Code.DataLoss);
      case 'quiet':
        yield event(afterSeq + 1);
        await delay(60_000, undefined, { signal });
        return;
      case 'silent':
        await delay(60_000, undefined, { signal });
        return;
      case 'flood':
        for (let seq = 1; ; seq += 1) {
          seen.items = seq;
          yield event(seq, 'x'.repeat(50_000));
        }
    }
  } finally {
    seen.ends.push('left');
  }
}
