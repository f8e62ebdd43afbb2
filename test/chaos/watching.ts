/** A client that follows one workflow to its end, over lost connections, and may go away in the middle and come back. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type WorkflowClient, WorkflowError } from '@workflow-orchestrator/sdk';
import type { HistoryType, HistoryValue } from '../checkers/history.ts';

/** What is followed, and where it is written. */
export interface Watching {
  readonly client: WorkflowClient;
  readonly workflow: string;
  /** Ends it, wherever it is. */
  readonly signal: AbortSignal;
  /** Events after which it goes away and comes back; null: never. */
  readonly leavesAfter: number | null;
  readonly newOp: () => number;
  readonly write: (op: number, f: string, type: HistoryType, rest: { seq?: number; value?: HistoryValue }) => void;
  readonly failed: (op: number, error: unknown) => void;
}

/** How long nothing may be heard: longer than any fault. */
const PATIENCE_MS = 600_000;

/** Follows it. */
export async function watchToItsEnd(watching: Watching): Promise<void> {
  const seen = await part(watching, 0, watching.leavesAfter);
  if (seen === null) return;
  await sleep(300);
  await part(watching, seen, null);
}

/** Follows from after event `after`; the last event seen when it went away after `most`, null when it is over. */
async function part(
  { client, workflow, signal, newOp, write, failed }: Watching,
  after: number,
  most: number | null,
): Promise<number | null> {
  const op = newOp();
  let seen = after;
  let kind = '';
  write(op, 'watch', 'invoke', { value: { after } });
  try {
    for await (const step of client.watch(workflow, { afterSeq: BigInt(after), signal, giveUpAfterMs: PATIENCE_MS })) {
      if (step.kind !== 'event') continue;
      seen = Number(step.event.seq);
      kind = step.event.kind.case ?? '';
      write(op, 'watched', 'ok', { seq: seen, value: { kind } });
      if (kind === 'ended' || most === null || seen < after + most) continue;
      write(op, 'watch', 'info', { value: { answer: 'left' } });
      return seen;
    }
    write(op, 'watch', 'ok', { value: { kind } });
  } catch (error) {
    if (error instanceof WorkflowError && error.code === 'canceled') write(op, 'watch', 'info', { value: { answer: 'canceled' } });
    else failed(op, error);
  }
  return null;
}
