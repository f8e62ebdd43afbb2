/**
 * From what a run left behind to what is wrong: histories and journal brought to one form, then every checker that can say something of real processes.
 *
 * What real processes cannot tell: when an assignment left a coordinator (executions stand for it), when a batch became durable (the order of the journal stands for it), the
 * lease token of an execution (its fencing token is the beginning of it), and which submission made a workflow (a label says it).
 */
import { create, type JsonObject } from '@bufbuild/protobuf';
import { SubmitWorkflowRequestSchema } from '@workflow-orchestrator/proto';
import { requestHashOf } from '../../coordinator/api/services/submissions.ts';
import { check, type Violation } from '../checkers/checkers.ts';
import { type CommittedBatch, tokenOf } from '../checkers/evidence.ts';
import type { HistoryEvent } from '../checkers/history.ts';
import { OP_LABEL, type Request } from './driver.ts';
import { digestOf, type Remains } from './journal.ts';
import type { Plan } from './plan.ts';

/** Checkers that are asked. I15 is of schedules, I18 compares runs, I19 is measured elsewhere. */
export const asked = [
  'I0',
  'I1',
  'I2',
  'I3',
  'I4',
  'I5',
  'I6',
  'I7',
  'I8',
  'I9',
  'I10',
  'I11',
  'I12',
  'I13',
  'I14',
  'I16',
  'I17',
  'I20',
] as const;

/** What a run left behind. */
export interface RunLeft extends Remains {
  readonly plan: Plan;
  readonly history: readonly HistoryEvent[];
  readonly requests: ReadonlyMap<string, Request>;
}

/** Everything that is wrong. */
export function violationsOf({ plan, history, requests, journal, digests, problems }: RunLeft): Violation[] {
  const evidence = {
    history: inOneForm(plan, history, requests, journal),
    journal,
    isFaultless: false,
    isHealed: true,
    digests,
    digestOf,
    endings: new Map<string, string>(),
    leftovers: {},
  };
  return [...problems.map((message) => ({ invariant: 'I0', message })), ...check(evidence, asked)];
}

function inOneForm(
  plan: Plan,
  history: readonly HistoryEvent[],
  requests: ReadonlyMap<string, Request>,
  journal: readonly CommittedBatch[],
): HistoryEvent[] {
  const tokens = new Map<string, string>();
  const learn = (token: string) => tokens.set(beginning(token), token);
  const offers: HistoryEvent[] = [];
  const ops = firstOps(history);
  for (const { entries } of journal) {
    for (const { workflowId, events } of entries) {
      for (const event of events) {
        const token = tokenOf(event);
        if (token !== '') learn(token);
        if (event.kind !== 'submitted') continue;
        const op = ops.get(event.labels[OP_LABEL] ?? '') ?? 0;
        offers.push({ t_mono: 0, t_wall: event.at, node: 'journal', incarnation: 1, op, f: 'offer', type: 'invoke', workflow: workflowId });
      }
    }
  }
  for (const { f, value } of history) if (f === 'acked') learn(value?.token ?? '');
  const hashes = new Map<string, string>();
  for (const [label, { graph, n, start }] of requests) {
    const request = create(SubmitWorkflowRequestSchema, { inputs: { n } as JsonObject, labels: { [OP_LABEL]: label }, start });
    hashes.set(label, requestHashOf(request, plan.graphs[graph]!.hash));
  }
  const lines = history.map((event) => {
    const { f, value } = event;
    if (f === 'execute') return { ...event, value: { ...value, token: tokens.get(value?.token ?? '') ?? value?.token ?? '' } };
    if (f === 'submit' && value?.hash !== undefined) return { ...event, value: { ...value, hash: hashes.get(value.hash) ?? '' } };
    return event;
  });
  return [...offers, ...lines];
}

/** Of a lease token what a fencing token says too: epoch and number. */
function beginning(token: string): string {
  return token.split('.', 2).join('.');
}

/** By label, the first operation that sent it. */
function firstOps(history: readonly HistoryEvent[]): ReadonlyMap<string, number> {
  const ops = new Map<string, number>();
  for (const { f, type, op, value } of history) {
    if (f === 'submit' && type === 'invoke' && value?.hash !== undefined && !ops.has(value.hash)) ops.set(value.hash, op);
  }
  return ops;
}
