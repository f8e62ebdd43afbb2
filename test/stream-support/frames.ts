/**
 * Frames and entries of the worker stream in few words, and frames as one line of text, for tests that read like stories.
 */
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  type Assignment,
  AssignmentSchema,
  type CoordinatorFrame,
  CoordinatorFrameSchema,
  InFlightVerdict_Verdict,
  type Result,
  ResultAck_Verdict,
  ResultSchema,
  type WorkerFrame,
  WorkerFrameSchema,
} from '@workflow-orchestrator/proto';

type WorkerBody = NonNullable<MessageInitShape<typeof WorkerFrameSchema>['body']>;
type CoordinatorBody = NonNullable<MessageInitShape<typeof CoordinatorFrameSchema>['body']>;

const encoder = new TextEncoder();

/** UTF-8 JSON. */
export function json(value: unknown): Uint8Array {
  return encoder.encode(JSON.stringify(value));
}

/** A frame of a worker. */
export function workerFrame(seq: number, ack: number, body: WorkerBody): WorkerFrame {
  return create(WorkerFrameSchema, { seq: BigInt(seq), ack: BigInt(ack), body });
}

/** A frame of a coordinator. */
export function coordinatorFrame(seq: number, ack: number, body: CoordinatorBody): CoordinatorFrame {
  return create(CoordinatorFrameSchema, { seq: BigInt(seq), ack: BigInt(ack), body });
}

/** Hello of worker `w1`, process `i1`, which can do `noop`. */
export function hello(overrides: Extract<WorkerBody, { case: 'hello' }>['value'] = {}): WorkerBody {
  const value = {
    minProtocol: 1,
    maxProtocol: 1,
    workerId: 'w1',
    instanceId: 'i1',
    slots: 4,
    connection: 1n,
    capabilities: [{ type: 'noop' }],
  };
  return { case: 'hello', value: { ...value, ...overrides } };
}

/** An assignment of type `noop`, named by its token. */
export function assignment(leaseToken: string, overrides: MessageInitShape<typeof AssignmentSchema> = {}): Assignment {
  return create(AssignmentSchema, {
    leaseToken,
    workflowId: 'wf',
    workflowName: 'flow',
    jobId: `job-${leaseToken}`,
    attempt: 1,
    type: 'noop',
    maxAttempts: 1,
    ...overrides,
  });
}

/** A result with the output `null`, named by its token. */
export function result(leaseToken: string, overrides: MessageInitShape<typeof ResultSchema> = {}): Result {
  return create(ResultSchema, {
    leaseToken,
    workflowId: 'wf',
    jobId: `job-${leaseToken}`,
    attempt: 1,
    outcome: { case: 'output', value: {} },
    ...overrides,
  });
}

/** A frame of a coordinator in a line. */
export function sayCoordinatorFrame({ body }: CoordinatorFrame): string {
  switch (body.case) {
    case 'welcome':
      return [
        'welcome',
        ...body.value.verdicts.map(({ leaseToken, verdict }) => `${leaseToken}:${nameIn(InFlightVerdict_Verdict, verdict)}`),
      ].join(' ');
    case 'assignments':
      return `assign ${body.value.assignments.map(({ leaseToken }) => leaseToken).join(' ')}`;
    case 'heartbeatReply':
      return ['reply', ...body.value.lost.map((token) => `lost:${token}`), ...body.value.cancel.map((token) => `cancel:${token}`)].join(
        ' ',
      );
    case 'resultAcks':
      return `ack ${body.value.acks.map(({ leaseToken, verdict }) => `${leaseToken}:${nameIn(ResultAck_Verdict, verdict)}`).join(' ')}`;
    case 'cancel':
      return `cancel ${body.value.leaseTokens.join(' ')} (${body.value.reason})`;
    case 'drain':
      return `drain (${body.value.reason})`;
    case 'goAway':
      return `goAway (${body.value.reason})`;
    case 'error':
      return `error ${body.value.fatal ? 'fatal ' : ''}${body.value.code}: ${body.value.message}`;
    case undefined:
      return 'nothing';
    default:
      return body satisfies never;
  }
}

/** A frame of a worker in a line. */
export function sayWorkerFrame({ body }: WorkerFrame): string {
  switch (body.case) {
    case 'hello': {
      const held = body.value.inFlight.map(({ leaseToken, resultWaiting }) => `${leaseToken}${resultWaiting ? '!' : ''}`);
      return ['hello', ...held, ...(body.value.partial ? ['...'] : [])].join(' ');
    }
    case 'credit':
      return `credit ${body.value.granted}`;
    case 'assignReplies':
      return `replies ${body.value.replies.map((reply) => `${reply.leaseToken}:${reply.accepted ? 'yes' : `no (${reply.reason})`}`).join(' ')}`;
    case 'heartbeat': {
      const leases = body.value.leases.map(({ leaseToken, checkpoint }) => `${leaseToken}${checkpoint ? '*' : ''}`);
      return ['heartbeat', ...leases, ...(body.value.partial ? ['...'] : [])].join(' ');
    }
    case 'results':
      return `results ${body.value.results.map(({ leaseToken, outcome }) => `${leaseToken}:${outcome.case === 'error' ? outcome.value.code : outcome.case}`).join(' ')}`;
    case 'logLines':
      return `lines ${body.value.lines.map(({ message }) => message).join(' | ')}`;
    case 'drain':
      return `drain (${body.value.reason})`;
    case 'error':
      return `error ${body.value.fatal ? 'fatal ' : ''}${body.value.code}: ${body.value.message}`;
    case undefined:
      return 'nothing';
    default:
      return body satisfies never;
  }
}

function nameIn(names: Readonly<Record<string, number>>, value: number): string {
  return Object.entries(names).find(([, candidate]) => candidate === value)?.[0] ?? String(value);
}
