/** What a call fails with, as a client would be told. */
import { Code, ConnectError } from '@connectrpc/connect';
import { ErrorInfoSchema, FieldViolationsSchema } from '@workflow-orchestrator/proto';

/** An error in plain words; `none` where there was none. */
export interface Failure {
  readonly code: string;
  readonly message: string;
  readonly reason: string;
  readonly field: string;
}

/** The error that something fails with. */
export async function failureOf(call: Promise<unknown> | (() => unknown)): Promise<Failure> {
  try {
    await (typeof call === 'function' ? call() : call);
  } catch (error) {
    const failure = ConnectError.from(error);
    const [info] = failure.findDetails(ErrorInfoSchema);
    const [fields] = failure.findDetails(FieldViolationsSchema);
    return { code: Code[failure.code], message: failure.rawMessage, reason: info?.reason ?? '', field: fields?.violations[0]?.field ?? '' };
  }
  return { code: 'none', message: '', reason: '', field: '' };
}
