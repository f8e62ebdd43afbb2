/**
 * The bearer token, the same on every face.
 *
 * Invariants
 * 1. Comparing takes the same time whatever the difference is.
 * 2. It is checked before a body is read and before anything is kept for the request.
 */
import { hash, timingSafeEqual } from 'node:crypto';
import { Code, ConnectError } from '@connectrpc/connect';
import { ErrorInfoSchema } from '@workflow-orchestrator/proto';

/** Judges the value of a header `Authorization`: null when the request may go on, else `unauthenticated` with what is missing. */
export type Authenticate = (authorization: string | null | undefined) => ConnectError | null;

/** A check for `token`; without one everything may pass. */
export function createAuthenticate(token: string | null): Authenticate {
  if (token === null) return () => null;
  const expected = hash('sha256', token, 'buffer');
  return (authorization) => {
    if (authorization === null || authorization === undefined || authorization === '') {
      return refused('this coordinator wants a token: send the header `Authorization: Bearer <token>`');
    }
    const match = /^bearer +(\S+) *$/i.exec(authorization);
    if (match === null) return refused('the header Authorization is not of the form `Bearer <token>`');
    if (!timingSafeEqual(hash('sha256', match[1], 'buffer'), expected)) return refused('the token is not the one of this coordinator');
    return null;
  };
}

function refused(message: string): ConnectError {
  return new ConnectError(message, Code.Unauthenticated, undefined, [{ desc: ErrorInfoSchema, value: { reason: 'UNAUTHENTICATED' } }]);
}
