/**
 * Waiting until a workflow is as one wants it: a watch says when to look, a read says what there is.
 *
 * Invariant: a wait with a deadline keeps its process alive until it is settled, whatever the transport holds open meanwhile.
 */
import type { Workflow } from '@workflow-orchestrator/proto';
import { WorkflowError } from './error.ts';
import { isEnded, type WorkflowStatusName, workflowStatusName } from './status.ts';
import type { WatchOptions, WatchStep } from './watch.ts';

/** What to wait for, and how long. */
export interface WaitOptions {
  /** A status, some, or a test of the workflow; the end when absent. */
  readonly until?: WorkflowStatusName | readonly WorkflowStatusName[] | ((workflow: Workflow) => boolean) | undefined;
  /** Throws `deadline_exceeded` after this long, in milliseconds from 0 to 2 147 483 647 (24 days); waits for ever when absent. */
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
 * when the time is over, `invalid_argument` for a time that is none.
 */
export async function waitForWorkflow(source: WaitSource, workflowId: string, options: WaitOptions = {}): Promise<Workflow> {
  const wanted = testOf(options.until);
  const done = new AbortController();
  const deadline = startDeadline(options.timeoutMs, done);
  const signal = options.signal ? AbortSignal.any([done.signal, options.signal]) : done.signal;
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
    if (deadline.passed && !options.signal?.aborted) {
      const message = `workflow ${workflowId} was not as wanted within ${options.timeoutMs} ms`;
      throw new WorkflowError('deadline_exceeded', message, { cause: thrown });
    }
    throw thrown;
  } finally {
    clearTimeout(deadline.timer);
    done.abort();
  }
}

/** The longest time that a timer can count, in milliseconds. */
const longestTimeoutMs = 2 ** 31 - 1;

/** Aborts `done` after `timeoutMs`. Not `AbortSignal.timeout`: its timer lets a process end that has nothing else to wait for. */
function startDeadline(timeoutMs: number | undefined, done: AbortController): { passed: boolean; timer?: ReturnType<typeof setTimeout> } {
  if (timeoutMs === undefined) return { passed: false };
  if (!(timeoutMs >= 0 && timeoutMs <= longestTimeoutMs)) {
    const message = `timeoutMs ${timeoutMs}: must be from 0 to ${longestTimeoutMs} milliseconds; leave it out to wait for ever`;
    throw new WorkflowError('invalid_argument', message);
  }
  const onTime = () => {
    deadline.passed = true;
    done.abort();
  };
  const deadline = { passed: false, timer: setTimeout(onTime, timeoutMs) };
  return deadline;
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
