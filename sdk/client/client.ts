/**
 * The client: everything that the API has, with deadlines, safe retries and streams that survive a lost connection.
 *
 * Invariants
 * 1. Every method throws `WorkflowError` and nothing else.
 * 2. No call is repeated that could take effect twice (`retry.ts`).
 * 3. Runs where `fetch` is: Node 20 and later, browsers, other servers.
 */
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { type Client, type CallOptions as ConnectCallOptions, createClient, type Transport } from '@connectrpc/connect';
import {
  type Attempt,
  type Definition,
  DefinitionService,
  type GetInfoResponse,
  type Job,
  Job_Status,
  type LogLine,
  SystemService,
  type ValidateDefinitionResponse,
  type Worker,
  WorkerService,
  type Workflow,
  Workflow_Status,
  Workflow_View,
  WorkflowService,
} from '@workflow-orchestrator/proto';
import { limits } from '@workflow-orchestrator/proto/limits';
import { type Answer, type Caller, type CallOptions, type Clock, call, systemClock } from './call.ts';
import { toWorkflowError, WorkflowError } from './error.ts';
import { type LogOptions, readLogs } from './logs.ts';
import { eachItem, type Page } from './page.ts';
import { defaultRetry, type Repeatable, type RetryPolicy } from './retry.ts';
import { type DefinitionSource, resolveText, type WorkflowSource } from './source.ts';
import { isEnded, type JobStatusName, type WorkflowStatusName } from './status.ts';
import { type BatchItem, type BatchResult, batchResult, cutBatches, newIdempotencyKey, prepareSubmit, type SubmitInit } from './submit.ts';
import { createTransport, httpAddress } from './transport.ts';
import { type WaitOptions, waitForWorkflow } from './wait.ts';
import { type WatchOptions, type WatchStep, watchWorkflow } from './watch.ts';

/** How a client behaves. */
export interface WorkflowClientOptions {
  /** Bearer token to show. */
  readonly token?: string | undefined;
  /** Time for a call with its retries when the call names none, in milliseconds; 10 seconds when absent. */
  readonly timeoutMs?: number | undefined;
  /** How calls are repeated. */
  readonly retry?: Partial<RetryPolicy> | undefined;
  /** Another `fetch`, for instance one that knows a proxy. */
  readonly fetch?: typeof globalThis.fetch | undefined;
  /** Another way to the server altogether; the address is then for error messages only. */
  readonly transport?: Transport | undefined;
  /** Time and chance, for tests. */
  readonly clock?: Clock | undefined;
}

/** What to submit with, and how long it may take. */
export interface SubmitOptions extends SubmitInit, CallOptions {}

/** Which workflows. */
export interface WorkflowFilter {
  readonly status?: WorkflowStatusName | readonly WorkflowStatusName[] | undefined;
  readonly name?: string | undefined;
  readonly submittedAfter?: Date | undefined;
  readonly submittedBefore?: Date | undefined;
  /** All of these. */
  readonly labels?: Readonly<Record<string, string>> | undefined;
}

/** Which page. */
export interface PageOptions extends CallOptions {
  /** Items of a page, 1 to 1000; the server's own when absent. */
  readonly pageSize?: number | undefined;
  /** From the page before; the first when absent. */
  readonly pageToken?: string | undefined;
}

/** A client of one coordinator. Cheap to make; holds no connection of its own. */
export class WorkflowClient {
  /** Where it calls. */
  readonly address: string;
  readonly #caller: Caller;
  readonly #workflows: Client<typeof WorkflowService>;
  readonly #definitions: Client<typeof DefinitionService>;
  readonly #workers: Client<typeof WorkerService>;
  readonly #system: Client<typeof SystemService>;

  /** `address` may have a http or ws form. Throws `invalid_argument` for one that has neither. */
  constructor(address = 'http://localhost:8000', options: WorkflowClientOptions = {}) {
    this.address = httpAddress(address);
    this.#caller = {
      clock: options.clock ?? systemClock,
      retry: { ...defaultRetry, ...options.retry },
      timeoutMs: options.timeoutMs ?? limits.unaryDeadlineMs,
    };
    const transport = options.transport ?? createTransport(this.address, options.token ?? null, options.fetch);
    this.#workflows = createClient(WorkflowService, transport);
    this.#definitions = createClient(DefinitionService, transport);
    this.#workers = createClient(WorkerService, transport);
    this.#system = createClient(SystemService, transport);
  }

  // --- submit and steer ------------------------------------------------------------------------------------------------

  /** Submits a workflow; it waits as PENDING unless `start` is set. A refused definition throws with all its `problems`. */
  async submitWorkflow(source: WorkflowSource, options: SubmitOptions = {}): Promise<Workflow> {
    const { request, repeatable } = await prepareSubmit(source, options, newIdempotencyKey);
    const { value } = await call(this.#caller, repeatable, options, (o) => this.#workflows.submitWorkflow(request, o));
    return present(value.workflow, 'workflow');
  }

  /** Submits a workflow and starts it, in one call. */
  submitAndStartWorkflow(source: WorkflowSource, options: Omit<SubmitOptions, 'start'> = {}): Promise<Workflow> {
    return this.submitWorkflow(source, { ...options, start: true });
  }

  /** Submits many: each is answered by itself, in order. More than one call takes are sent in several. */
  async submitBatch(items: readonly BatchItem[], options: CallOptions = {}): Promise<BatchResult[]> {
    const prepared = await Promise.all(items.map((item) => prepareSubmit(item.source, item, newIdempotencyKey)));
    const results: BatchResult[] = [];
    for (const batch of cutBatches(prepared)) {
      const repeatable = batch.every((submit) => submit.repeatable === 'repeatable') ? 'repeatable' : 'once';
      const requests = batch.map((submit) => submit.request);
      const { value } = await call(this.#caller, repeatable, options, (o) => this.#workflows.batchSubmitWorkflows({ requests }, o));
      results.push(...value.results.map(batchResult));
    }
    return results;
  }

  /** Starts a PENDING workflow. Starting one that has started changes nothing. */
  start(workflowId: string, options: CallOptions = {}): Promise<Workflow> {
    return this.#steer(workflowId, options, (o) => this.#workflows.startWorkflow({ workflowId }, o));
  }

  /** Asks a workflow to end. With `force` its `always_run` jobs end too. */
  cancel(workflowId: string, options: CallOptions & { readonly reason?: string; readonly force?: boolean } = {}): Promise<Workflow> {
    const request = { workflowId, reason: options.reason ?? '', force: options.force ?? false };
    return this.#steer(workflowId, options, (o) => this.#workflows.cancelWorkflow(request, o));
  }

  /** Stops dispatch; what runs goes on. */
  pause(workflowId: string, options: CallOptions = {}): Promise<Workflow> {
    return this.#steer(workflowId, options, (o) => this.#workflows.pauseWorkflow({ workflowId }, o));
  }

  /** Goes on with dispatch. */
  resume(workflowId: string, options: CallOptions = {}): Promise<Workflow> {
    return this.#steer(workflowId, options, (o) => this.#workflows.resumeWorkflow({ workflowId }, o));
  }

  // --- read ------------------------------------------------------------------------------------------------------------

  /** One workflow as it stands. `view: 'summary'` leaves out jobs, inputs and outputs. */
  async get(workflowId: string, options: CallOptions & { readonly view?: 'full' | 'summary' } = {}): Promise<Workflow> {
    const view = options.view === 'summary' ? Workflow_View.SUMMARY : Workflow_View.FULL;
    const answer = await this.#read(options, (o) => this.#workflows.getWorkflow({ workflowId, view }, o));
    return present(answer.workflow, 'workflow');
  }

  /** Workflows, newest first, without their jobs, page after page. */
  list(filter: WorkflowFilter & Omit<PageOptions, 'pageToken'> = {}): AsyncGenerator<Workflow, void, undefined> {
    return eachItem((pageToken) => this.listPage({ ...filter, pageToken }));
  }

  /** One page of workflows. */
  async listPage(filter: WorkflowFilter & PageOptions = {}): Promise<Page<Workflow>> {
    const statuses = filter.status === undefined ? [] : [filter.status].flat();
    const request = {
      status: statuses.map((name) => Workflow_Status[name as WorkflowStatusName]),
      name: filter.name ?? '',
      label: Object.entries(filter.labels ?? {}).map(([key, value]) => `${key}=${value}`),
      ...(filter.submittedAfter ? { submittedAfter: timestampFromDate(filter.submittedAfter) } : {}),
      ...(filter.submittedBefore ? { submittedBefore: timestampFromDate(filter.submittedBefore) } : {}),
      ...pageOf(filter),
    };
    const answer = await this.#read(filter, (o) => this.#workflows.listWorkflows(request, o));
    return { items: answer.workflows, nextPageToken: answer.nextPageToken };
  }

  /** The jobs of a workflow in the order of the file, page after page. */
  jobs(
    workflowId: string,
    options: CallOptions & { readonly status?: readonly JobStatusName[]; readonly pageSize?: number } = {},
  ): AsyncGenerator<Job, void, undefined> {
    const status = (options.status ?? []).map((name) => Job_Status[name]);
    return eachItem(async (pageToken) => {
      const request = { workflowId, status, ...pageOf({ ...options, pageToken }) };
      const answer = await this.#read(options, (o) => this.#workflows.listJobs(request, o));
      return { items: answer.jobs, nextPageToken: answer.nextPageToken };
    });
  }

  /** One job. */
  async job(workflowId: string, jobId: string, options: CallOptions = {}): Promise<Job> {
    const answer = await this.#read(options, (o) => this.#workflows.getJob({ workflowId, jobId }, o));
    return present(answer.job, 'job');
  }

  /** The attempts of a job, oldest first. */
  async attempts(workflowId: string, jobId: string, options: CallOptions = {}): Promise<Attempt[]> {
    const answer = await this.#read(options, (o) => this.#workflows.listAttempts({ workflowId, jobId }, o));
    return answer.attempts;
  }

  // --- follow ----------------------------------------------------------------------------------------------------------

  /** Every event of a workflow, gap-free and over broken connections, until its end. */
  watch(workflowId: string, options: WatchOptions = {}): AsyncGenerator<WatchStep, void, undefined> {
    const source = {
      open: (request: { workflowId: string; afterSeq: bigint; follow: boolean }, signal: AbortSignal) =>
        this.#workflows.watchWorkflow(request, { signal, timeoutMs: 0 }),
      get: (id: string, signal: AbortSignal) => this.get(id, { view: 'summary', signal }),
    };
    return watchWorkflow(source, this.#caller, workflowId, options);
  }

  /** The workflow in full once it has ended, or is as `until` wants it. */
  waitFor(workflowId: string, options: WaitOptions = {}): Promise<Workflow> {
    const source = {
      get: (id: string, signal: AbortSignal) => this.get(id, { signal }),
      watch: (id: string, o: WatchOptions) => this.watch(id, o),
    };
    return waitForWorkflow(source, workflowId, options);
  }

  /** Lines that handlers wrote, oldest first; with `follow`, on as they come until the workflow ends. */
  logs(workflowId: string, options: LogOptions = {}): AsyncGenerator<LogLine, void, undefined> {
    return readLogs((request, signal) => this.#workflows.readLogs(request, { signal, timeoutMs: 0 }), this.#caller, workflowId, options);
  }

  // --- workers, definitions, server ------------------------------------------------------------------------------------

  /** Connected workers by id, page after page. */
  workers(options: CallOptions & { readonly pageSize?: number } = {}): AsyncGenerator<Worker, void, undefined> {
    return eachItem(async (pageToken) => {
      const answer = await this.#read(options, (o) => this.#workers.listWorkers(pageOf({ ...options, pageToken }), o));
      return { items: answer.workers, nextPageToken: answer.nextPageToken };
    });
  }

  /** Gives a worker no more work; it ends when what it has is done. */
  async drainWorker(workerId: string, options: CallOptions & { readonly reason?: string } = {}): Promise<Worker> {
    const request = { workerId, reason: options.reason ?? '' };
    const { value } = await call(this.#caller, 'repeatable', options, (o) => this.#workers.drainWorker(request, o));
    return present(value.worker, 'worker');
  }

  /** Registered definitions without jobs and YAML, by name and newest first within a name, page after page. */
  definitions(
    options: CallOptions & { readonly name?: string; readonly pageSize?: number } = {},
  ): AsyncGenerator<Definition, void, undefined> {
    return eachItem(async (pageToken) => {
      const request = { name: options.name ?? '', ...pageOf({ ...options, pageToken }) };
      const answer = await this.#read(options, (o) => this.#definitions.listDefinitions(request, o));
      return { items: answer.definitions, nextPageToken: answer.nextPageToken };
    });
  }

  /** One definition by its hash, all of it. */
  async definition(hash: string, options: CallOptions = {}): Promise<Definition> {
    const answer = await this.#read(options, (o) => this.#definitions.getDefinition({ hash }, o));
    return present(answer.definition, 'definition');
  }

  /** Keeps a definition under its hash and makes it the latest of its name. A refused one throws with all its `problems`. */
  async register(
    source: DefinitionSource,
    options: CallOptions = {},
  ): Promise<{ readonly definition: Definition; readonly existed: boolean }> {
    const yaml = await resolveText(source);
    const { value } = await call(this.#caller, 'repeatable', options, (o) => this.#definitions.registerDefinition({ yaml }, o));
    return { definition: present(value.definition, 'definition'), existed: value.existed };
  }

  /** Checks a definition and stores nothing; a bad one is a normal answer. */
  async validate(source: DefinitionSource, options: CallOptions = {}): Promise<ValidateDefinitionResponse> {
    const yaml = await resolveText(source);
    return this.#read(options, (o) => this.#definitions.validateDefinition({ yaml }, o));
  }

  /** What the coordinator is and how it is. */
  info(options: CallOptions = {}): Promise<GetInfoResponse> {
    return this.#read(options, (o) => this.#system.getInfo({}, o));
  }

  // --- inside ----------------------------------------------------------------------------------------------------------

  async #read<T>(options: CallOptions, send: (options: ConnectCallOptions) => Promise<T>): Promise<T> {
    const repeatable: Repeatable = 'repeatable';
    return (await call(this.#caller, repeatable, options, send)).value;
  }

  /**
   * A steering call is idempotent until the workflow has ended. When a retry is refused for that reason, the attempt before it may be what
   * ended it: the answer is the workflow as it stands.
   */
  async #steer(
    workflowId: string,
    options: CallOptions,
    send: (options: ConnectCallOptions) => Promise<{ readonly workflow?: Workflow | undefined }>,
  ): Promise<Workflow> {
    let attempts = 0;
    try {
      const answer: Answer<{ readonly workflow?: Workflow | undefined }> = await call(this.#caller, 'repeatable', options, (o) => {
        attempts += 1;
        return send(o);
      });
      return present(answer.value.workflow, 'workflow');
    } catch (thrown) {
      const error = toWorkflowError(thrown);
      if (error.code !== 'failed_precondition' || attempts < 2) throw error;
      const workflow = await this.get(workflowId, options);
      if (!isEnded(workflow)) throw error;
      return workflow;
    }
  }
}

function pageOf(options: PageOptions): { pageSize: number; pageToken: string } {
  return { pageSize: options.pageSize ?? 0, pageToken: options.pageToken ?? '' };
}

/** What an answer must hold by contract. */
function present<T>(part: T | undefined, name: string): T {
  if (part === undefined) throw new WorkflowError('internal', `the server's answer holds no ${name}`);
  return part;
}
