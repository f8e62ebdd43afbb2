/**
 * From messages of the worker stream to values of the engine. What a worker sends is bounded here once more, for nobody need use our library.
 */
import type { Payload } from '@workflow-orchestrator/engine/definition';
import type { AttemptOutcome, JobError } from '@workflow-orchestrator/engine/machine';
import type { JobError as JobErrorMessage, Payload as PayloadMessage, Result } from '@workflow-orchestrator/proto';
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

/** How an attempt ended, or null when the message says nothing. */
export function outcomeOf(result: Result): AttemptOutcome | null {
  const { outcome } = result;
  switch (outcome.case) {
    case 'output': {
      const { length } = outcome.value.data;
      if (length <= limits.outputBytes) return { kind: 'succeeded', output: length === 0 ? NULL_OUTPUT : payloadOf(outcome.value) };
      const message = `the output is ${length} bytes; at most ${limits.outputBytes} are kept`;
      return { kind: 'failed', error: { code: 'OUTPUT_TOO_LARGE', message, retryable: false, details: null, retryAfterMs: 0, stack: '' } };
    }
    case 'error':
      return { kind: 'failed', error: errorOf(outcome.value) };
    case 'cancelled':
      return { kind: 'cancelled' };
    case 'released':
      return { kind: 'released' };
    case undefined:
      return null;
    default:
      return outcome satisfies never;
  }
}

function errorOf(message: JobErrorMessage): JobError {
  const { details } = message;
  return {
    code: message.code === '' ? 'HANDLER_ERROR' : cut(message.code, limits.nameLength),
    message: cut(message.message, limits.errorMessageBytes),
    retryable: message.retryable,
    details: details === undefined || details.data.length > limits.errorDetailsBytes ? null : payloadOf(details),
    retryAfterMs: Math.max(0, Number(message.retryAfterMs)),
    stack: cut(message.stack, limits.errorStackBytes),
  };
}

/** At most `bytes` of UTF-8; never half a character. */
function cut(text: string, bytes: number): string {
  if (text.length * 3 <= bytes) return text;
  const encoded = new TextEncoder().encode(text);
  if (encoded.length <= bytes) return text;
  return new TextDecoder().decode(encoded.subarray(0, bytes)).replace(/�+$/u, '');
}
