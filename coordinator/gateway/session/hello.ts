/**
 * Whether a Hello makes sense, and what it says about its worker (R10 to R12).
 */
import { createValidator } from '@bufbuild/protovalidate';
import { type Hello, HelloSchema, isWorkerId, type ProtocolErrorCode, protocolVersions, workerIdRule } from '@workflow-orchestrator/proto';
import { isToken } from './entries.ts';
import type { StreamLimits } from './limits.ts';
import type { Introduction } from './state.ts';

/** What came of a Hello. */
export type HelloVerdict =
  | { readonly kind: 'right'; readonly who: Introduction }
  | { readonly kind: 'wrong'; readonly code: ProtocolErrorCode; readonly message: string };

const validator = createValidator();

/** The version that both ends speak from now on (R12), or null. */
export function agreeOnProtocol(hello: Hello): number | null {
  const highest = Math.min(hello.maxProtocol, protocolVersions.max);
  return highest >= Math.max(hello.minProtocol, protocolVersions.min) ? highest : null;
}

/** Judges a whole Hello; `parts` are its frames, of which only the attempts of the later ones count. */
export function judgeHello(parts: readonly Hello[], sessionId: string, limits: StreamLimits): HelloVerdict {
  const hello = parts[0]!;
  if (agreeOnProtocol(hello) === null) {
    const theirs = `${hello.minProtocol} to ${hello.maxProtocol}`;
    const ours = `${protocolVersions.min} to ${protocolVersions.max}`;
    return { kind: 'wrong', code: 'UNSUPPORTED_PROTOCOL', message: `the worker speaks protocol ${theirs}, this coordinator ${ours}` };
  }
  if (!isWorkerId(hello.workerId)) return wrong(`hello.worker_id ${workerIdRule}`);
  const validity = validator.validate(HelloSchema, hello);
  if (validity.kind !== 'valid') {
    const first = validity.kind === 'invalid' ? validity.violations[0] : undefined;
    const what = first
      ? `${first.field.map((part) => ('name' in part ? part.name : '')).join('.')}: ${first.message}`
      : String(validity.error);
    return wrong(`hello.${what}`);
  }
  for (const [key, value] of Object.entries(hello.labels)) {
    if (key.length === 0 || key.length > limits.labelKeyLength)
      return wrong(`hello.labels: key '${key.slice(0, 80)}' must have 1 to ${limits.labelKeyLength} characters`);
    if (value.length > limits.labelValueLength)
      return wrong(`hello.labels: the value of '${key}' must have at most ${limits.labelValueLength} characters`);
  }
  if (hello.slots < 1 || hello.slots > limits.workerSlots)
    return wrong(`hello.slots must be 1 to ${limits.workerSlots}, not ${hello.slots}`);
  const capabilities = new Map<string, number>();
  for (const { type, slots } of hello.capabilities) {
    if (capabilities.has(type)) return wrong(`hello.capabilities names '${type}' twice`);
    capabilities.set(type, slots === 0 ? hello.slots : Math.min(slots, hello.slots));
  }
  const inFlight = parts.flatMap((part) => part.inFlight);
  if (inFlight.length > limits.workerInFlight) {
    return {
      kind: 'wrong',
      code: 'LIMIT_EXCEEDED',
      message: `hello.in_flight names ${inFlight.length} attempts, more than ${limits.workerInFlight}`,
    };
  }
  for (const { leaseToken, workflowId, jobId } of inFlight) {
    const named = isToken(leaseToken, limits) && workflowId.length <= limits.nameLength && jobId.length <= limits.nameLength;
    if (!named) return wrong('hello.in_flight: lease_token, workflow_id and job_id must be set as they were assigned');
  }
  return {
    kind: 'right',
    who: {
      worker: {
        workerId: hello.workerId,
        instanceId: hello.instanceId,
        sessionId,
        labels: new Map(Object.entries(hello.labels)),
        capabilities,
        slots: hello.slots,
        inFlight,
      },
      connection: Number(hello.connection),
      build: hello.build,
      sdk: hello.sdk,
    },
  };
}

function wrong(message: string): HelloVerdict {
  return { kind: 'wrong', code: 'BAD_FRAME', message };
}
