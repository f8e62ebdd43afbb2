/**
 * Waiting until a workflow is as one wants it: a watch says when to look, a read says what there is.
 */
import type { Workflow } from '@workflow-orchestrator/proto';
import { WorkflowError } from './error.ts';
import { isEnded, type WorkflowStatusName, workflowStatusName } from './status.ts';
import type { WatchOptions, WatchStep } from './watch.ts';

/** What to wait for, and how long. */
export interface WaitOptions {
  /** A status, some, or a test of the workflow; the end when absent. */
  readonly until?: WorkflowStatusName | readonly WorkflowStatusName[] | ((workflow: Workflow) => boolean) | undefined;
  /** Throws `deadline_exceeded` after this long, in milliseconds; waits for ever when absent. */
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly giveUpAfterMs?: number | undefined;
  readonly onReconnect?: WatchOptions['onReconnect'];
}

/** The calls that waiting rests on. */
export interface WaitSource {
  get(workflowId: string, signal: AbortSignal): Promise<Workflow>;
  watch(workflowId: string, options: WatchOptions): AsyncGenerator<WatchStep, void, undefined>;
}

/**
 * The workflow, in full, once it is as wanted. Throws `failed_precondition` when it has ended and can never be, `deadline_exceeded`
 * when the time is over.
 */
export async function waitForWorkflow(source: WaitSource, workflowId: string, options: WaitOptions = {}): Promise<Workflow> {
  const wanted = testOf(options.until);
  const done = new AbortController();
  const deadline = options.timeoutMs === undefined ? null : AbortSignal.timeout(options.timeoutMs);
  const signal = AbortSignal.any([done.signal, ...(deadline ? [deadline] : []), ...(options.signal ? [options.signal] : [])]);
  try {
    let workflow = await source.get(workflowId, signal);
    if (wanted(workflow)) return workflow;
    if (isEnded(workflow)) throw neverAgain(workflow);
    const changes = new Changes(
      source.watch(workflowId, {
        afterSeq: workflow.lastEventSeq,
        signal,
        giveUpAfterMs: options.giveUpAfterMs,
        onReconnect: options.onReconnect,
      }),
      options.until === undefined,
    );
    for (;;) {
      await changes.next();
      workflow = await source.get(workflowId, signal);
      if (wanted(workflow)) return workflow;
      if (isEnded(workflow)) throw neverAgain(workflow);
    }
  } catch (thrown) {
    if (deadline?.aborted && !options.signal?.aborted) {
      const message = `workflow ${workflowId} was not as wanted within ${options.timeoutMs} ms`;
      throw new WorkflowError('deadline_exceeded', message, { cause: thrown });
    }
    throw thrown;
  } finally {
    done.abort();
  }
}

/** Reads a watch in the background and remembers only that something changed: many events lead to one read. */
class Changes {
  #changed = false;
  #failure: { readonly error: unknown } | null = null;
  #wake: (() => void) | null = null;

  /** `endOnly`: the end is the only change of interest. */
  constructor(steps: AsyncIterable<WatchStep>, endOnly: boolean) {
    this.#read(steps, endOnly).then(
      () => this.#signal(),
      (error: unknown) => {
        this.#failure = { error };
        this.#signal();
      },
    );
  }

  async #read(steps: AsyncIterable<WatchStep>, endOnly: boolean): Promise<void> {
    for await (const _step of steps) if (!endOnly) this.#signal();
  }

  #signal(): void {
    this.#changed = true;
    this.#wake?.();
  }

  /** Resolves when something has changed since the last call; throws what the watch threw. */
  async next(): Promise<void> {
    if (!this.#changed) await new Promise<void>((resolve) => (this.#wake = resolve));
    this.#changed = false;
    this.#wake = null;
    if (this.#failure) throw this.#failure.error;
  }
}

function testOf(until: WaitOptions['until']): (workflow: Workflow) => boolean {
  if (until === undefined) return isEnded;
  if (typeof until === 'function') return until;
  const wanted: readonly string[] = typeof until === 'string' ? [until] : until;
  return (workflow) => wanted.includes(workflowStatusName(workflow.status));
}

function neverAgain(workflow: Workflow): WorkflowError {
  const status = workflowStatusName(workflow.status);
  return new WorkflowError('failed_precondition', `workflow ${workflow.id} ended ${status} and will never be as wanted`, {
    resource: { type: 'workflow', name: workflow.id },
  });
}
