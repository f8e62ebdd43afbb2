/**
 * From messages of the worker stream to values of the engine. What a worker sends is bounded here once more, for nobody need use our library.
 */
import type { Payload } from '@workflow-orchestrator/engine/definition';
import type { AttemptOutcome, JobError } from '@workflow-orchestrator/engine/machine';
import { cutText, type JobError as JobErrorMessage, type Payload as PayloadMessage, type Result } from '@workflow-orchestrator/proto';
import { limits } from '@workflow-orchestrator/proto/limits';

const NULL_OUTPUT: Payload = { encoding: 'json', data: new Uint8Array() };

/** A payload of its own memory: a few bytes must not keep the frame they came in alive. */
export function payloadOf(message: PayloadMessage): Payload {
  const { data } = message;
  return {
    encoding: message.encoding === '' ? 'json' : message.encoding,
    data: data.byteLength * 2 < data.buffer.byteLength ? data.slice() : data,
  };
}

/** How an attempt ended. What says nothing, or too much, is an error of the attempt: its worker must not wait for an answer for ever. */
export function outcomeOf(result: Result): AttemptOutcome {
  const { outcome } = result;
  switch (outcome.case) {
    case 'output': {
      const { length } = outcome.value.data;
      if (length <= limits.outputBytes) return { kind: 'succeeded', output: length === 0 ? NULL_OUTPUT : payloadOf(outcome.value) };
      return refused('OUTPUT_TOO_LARGE', `the output is ${length} bytes; at most ${limits.outputBytes} are kept`);
    }
    case 'error':
      return { kind: 'failed', error: errorOf(outcome.value) };
    case 'cancelled':
      return { kind: 'cancelled' };
    case 'released':
      return { kind: 'released' };
    case undefined:
      return refused('BAD_RESULT', 'the worker sent a result without an outcome');
    default:
      return outcome satisfies never;
  }
}

function refused(code: string, message: string): AttemptOutcome {
  return { kind: 'failed', error: { code, message, retryable: false, details: null, retryAfterMs: 0, stack: '' } };
}

/** What a handler stored; null when it stored nothing, or more than is kept. */
export function checkpointOf(message: PayloadMessage | undefined): Payload | null {
  return message === undefined || message.data.length > limits.checkpointBytes ? null : payloadOf(message);
}

/** A time that a worker names, in milliseconds: at most the longest duration there is, so that no sum of it leaves the numbers that can be written. */
export function millisecondsOf(value: bigint): number {
  return value <= 0n ? 0 : Math.min(Number(value), limits.durationMs);
}

function errorOf(message: JobErrorMessage): JobError {
  const { details } = message;
  return {
    code: message.code === '' ? 'HANDLER_ERROR' : cutText(message.code, limits.nameLength),
    message: cutText(message.message, limits.errorMessageBytes),
    retryable: message.retryable,
    details: details === undefined || details.data.length > limits.errorDetailsBytes ? null : payloadOf(details),
    retryAfterMs: millisecondsOf(message.retryAfterMs),
    stack: cutText(message.stack, limits.errorStackBytes),
  };
}
