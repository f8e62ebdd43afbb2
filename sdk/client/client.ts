/**
 * The client: everything that the API has, with deadlines, safe retries and streams that survive a lost connection.
 *
 * Invariants
 * 1. Every method throws `WorkflowError` and nothing else.
 * 2. No call is repeated that could take effect twice (`retry.ts`).
 * 3. Runs where `fetch` is: Node 20 and later, browsers, other servers.
 */
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import type { Transport } from '@connectrpc/connect';
import {
  type Attempt,
  type Definition,
  type GetInfoResponse,
  type Job,
  Job_Status,
  type LogLine,
  type ValidateDefinitionResponse,
  type Worker,
  type Workflow,
  Workflow_Status,
  Workflow_View,
} from '@workflow-orchestrator/proto';
import { limits } from '@workflow-orchestrator/proto/limits';
import { createApi } from './api.ts';
import { type Caller, type CallOptions, type Clock, call, type Send, systemClock } from './call.ts';
import { toWorkflowError, WorkflowError } from './error.ts';
import { Addresses } from './failover.ts';
import { type LogOptions, type OpenLogs, readLogs } from './logs.ts';
import { eachItem, type Page } from './page.ts';
import { defaultRetry, hadNoEffect, type Repeatable, type RetryPolicy } from './retry.ts';
import { type DefinitionSource, resolveText, type WorkflowSource } from './source.ts';
import { isEnded, type JobStatusName, type WorkflowStatusName } from './status.ts';
import type { Connection } from './stream.ts';
import { type BatchItem, type BatchResult, batchResult, cutBatches, newIdempotencyKey, prepareSubmit, type SubmitInit } from './submit.ts';
import { createTransport, httpAddresses } from './transport.ts';
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
  /** Another way to the server altogether, or to each address; the address is then for error messages only. */
  readonly transport?: Transport | ((address: string) => Transport) | undefined;
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

/** A client of a coordinator, or of several of which one takes calls. Cheap to make; holds no connection of its own. */
export class WorkflowClient {
  readonly #caller: Caller;

  /**
   * An address may have a http or ws form. Of several, in a list or separated by commas, the one that answered last is asked first.
   * Throws `invalid_argument` for what is no address.
   */
  constructor(address: string | readonly string[] = 'http://localhost:8000', options: WorkflowClientOptions = {}) {
    const { transport } = options;
    const transportOf = (to: string) =>
      transport === undefined
        ? createTransport(to, options.token ?? null, options.fetch)
        : typeof transport === 'function'
          ? transport(to)
          : transport;
    this.#caller = {
      addresses: new Addresses(httpAddresses(address).map((to) => createApi(to, transportOf(to)))),
      clock: options.clock ?? systemClock,
      retry: { ...defaultRetry, ...options.retry },
      timeoutMs: options.timeoutMs ?? limits.unaryDeadlineMs,
    };
  }

  /** Where it calls: of several addresses the one that answered last. */
  get address(): string {
    return this.#caller.addresses.preferred.address;
  }

  // --- submit and steer ------------------------------------------------------------------------------------------------

  /** Submits a workflow; it waits as PENDING unless `start` is set. A refused definition throws with all its `problems`. */
  async submitWorkflow(source: WorkflowSource, options: SubmitOptions = {}): Promise<Workflow> {
    const { request, repeatable } = await prepareSubmit(source, options, newIdempotencyKey);
    const value = await call(this.#caller, repeatable, options, (o, api) => api.workflows.submitWorkflow(request, o));
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
      const value = await call(this.#caller, repeatable, options, (o, api) => api.workflows.batchSubmitWorkflows({ requests }, o));
      results.push(...value.results.map(batchResult));
    }
    return results;
  }

  /** Starts a PENDING workflow. Starting one that has started changes nothing. */
  start(workflowId: string, options: CallOptions = {}): Promise<Workflow> {
    return this.#steer(workflowId, options, (o, api) => api.workflows.startWorkflow({ workflowId }, o));
  }

  /** Asks a workflow to end. With `force` its `always_run` jobs end too. */
  cancel(workflowId: string, options: CallOptions & { readonly reason?: string; readonly force?: boolean } = {}): Promise<Workflow> {
    const request = { workflowId, reason: options.reason ?? '', force: options.force ?? false };
    return this.#steer(workflowId, options, (o, api) => api.workflows.cancelWorkflow(request, o));
  }

  /** Stops dispatch; what runs goes on. */
  pause(workflowId: string, options: CallOptions = {}): Promise<Workflow> {
    return this.#steer(workflowId, options, (o, api) => api.workflows.pauseWorkflow({ workflowId }, o));
  }

  /** Goes on with dispatch. */
  resume(workflowId: string, options: CallOptions = {}): Promise<Workflow> {
    return this.#steer(workflowId, options, (o, api) => api.workflows.resumeWorkflow({ workflowId }, o));
  }

  // --- read ------------------------------------------------------------------------------------------------------------

  /** One workflow as it stands. `view: 'summary'` leaves out jobs, inputs and outputs. */
  async get(workflowId: string, options: CallOptions & { readonly view?: 'full' | 'summary' } = {}): Promise<Workflow> {
    const view = options.view === 'summary' ? Workflow_View.SUMMARY : Workflow_View.FULL;
    const answer = await this.#read(options, (o, api) => api.workflows.getWorkflow({ workflowId, view }, o));
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
    const answer = await this.#read(filter, (o, api) => api.workflows.listWorkflows(request, o));
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
      const answer = await this.#read(options, (o, api) => api.workflows.listJobs(request, o));
      return { items: answer.jobs, nextPageToken: answer.nextPageToken };
    });
  }

  /** One job. */
  async job(workflowId: string, jobId: string, options: CallOptions = {}): Promise<Job> {
    const answer = await this.#read(options, (o, api) => api.workflows.getJob({ workflowId, jobId }, o));
    return present(answer.job, 'job');
  }

  /** The attempts of a job, oldest first. */
  async attempts(workflowId: string, jobId: string, options: CallOptions = {}): Promise<Attempt[]> {
    const answer = await this.#read(options, (o, api) => api.workflows.listAttempts({ workflowId, jobId }, o));
    return answer.attempts;
  }

  // --- follow ----------------------------------------------------------------------------------------------------------

  /** Every event of a workflow, gap-free and over broken connections, until its end. */
  watch(workflowId: string, options: WatchOptions = {}): AsyncGenerator<WatchStep, void, undefined> {
    const source = {
      open: (request: { workflowId: string; afterSeq: bigint; follow: boolean }, { api, signal }: Connection) =>
        api.workflows.watchWorkflow(request, { signal, timeoutMs: 0 }),
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
    const open: OpenLogs = (request, { api, signal }) => api.workflows.readLogs(request, { signal, timeoutMs: 0 });
    return readLogs(open, this.#caller, workflowId, options);
  }

  // --- workers, definitions, server ------------------------------------------------------------------------------------

  /** Connected workers by id, page after page. */
  workers(options: CallOptions & { readonly pageSize?: number } = {}): AsyncGenerator<Worker, void, undefined> {
    return eachItem(async (pageToken) => {
      const answer = await this.#read(options, (o, api) => api.workers.listWorkers(pageOf({ ...options, pageToken }), o));
      return { items: answer.workers, nextPageToken: answer.nextPageToken };
    });
  }

  /** Gives a worker no more work; it ends when what it has is done. */
  async drainWorker(workerId: string, options: CallOptions & { readonly reason?: string } = {}): Promise<Worker> {
    const request = { workerId, reason: options.reason ?? '' };
    const value = await call(this.#caller, 'repeatable', options, (o, api) => api.workers.drainWorker(request, o));
    return present(value.worker, 'worker');
  }

  /** Registered definitions without jobs and YAML, by name and newest first within a name, page after page. */
  definitions(
    options: CallOptions & { readonly name?: string; readonly pageSize?: number } = {},
  ): AsyncGenerator<Definition, void, undefined> {
    return eachItem(async (pageToken) => {
      const request = { name: options.name ?? '', ...pageOf({ ...options, pageToken }) };
      const answer = await this.#read(options, (o, api) => api.definitions.listDefinitions(request, o));
      return { items: answer.definitions, nextPageToken: answer.nextPageToken };
    });
  }

  /** One definition by its hash, all of it. */
  async definition(hash: string, options: CallOptions = {}): Promise<Definition> {
    const answer = await this.#read(options, (o, api) => api.definitions.getDefinition({ hash }, o));
    return present(answer.definition, 'definition');
  }

  /** Keeps a definition under its hash and makes it the latest of its name. A refused one throws with all its `problems`. */
  async register(
    source: DefinitionSource,
    options: CallOptions = {},
  ): Promise<{ readonly definition: Definition; readonly existed: boolean }> {
    const yaml = await resolveText(source);
    const value = await call(this.#caller, 'repeatable', options, (o, api) => api.definitions.registerDefinition({ yaml }, o));
    return { definition: present(value.definition, 'definition'), existed: value.existed };
  }

  /** Checks a definition and stores nothing; a bad one is a normal answer. */
  async validate(source: DefinitionSource, options: CallOptions = {}): Promise<ValidateDefinitionResponse> {
    const yaml = await resolveText(source);
    return this.#read(options, (o, api) => api.definitions.validateDefinition({ yaml }, o));
  }

  /** What the coordinator is and how it is. */
  info(options: CallOptions = {}): Promise<GetInfoResponse> {
    return this.#read(options, (o, api) => api.system.getInfo({}, o));
  }

  // --- inside ----------------------------------------------------------------------------------------------------------

  #read<T>(options: CallOptions, send: Send<T>): Promise<T> {
    const repeatable: Repeatable = 'repeatable';
    return call(this.#caller, repeatable, options, send);
  }

  /**
   * A steering call is idempotent until the workflow has ended. When a retry is refused for that reason, the attempt before it may be what
   * ended it: the answer is the workflow as it stands.
   */
  async #steer(workflowId: string, options: CallOptions, send: Send<{ readonly workflow?: Workflow | undefined }>): Promise<Workflow> {
    let mayHaveEnded = false;
    try {
      const answer = await call(this.#caller, 'repeatable', options, (o, api) =>
        send(o, api).catch((thrown) => {
          const error = toWorkflowError(thrown);
          mayHaveEnded ||= error.code !== 'failed_precondition' && !hadNoEffect(error);
          throw error;
        }),
      );
      return present(answer.workflow, 'workflow');
    } catch (thrown) {
      const error = toWorkflowError(thrown);
      if (error.code !== 'failed_precondition' || !mayHaveEnded) throw error;
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
