/**
 * One call of a client to a coordinator: a request that travels, an answer that may be lost on its way back.
 *
 * Invariant: `failed` only where it is certain that nothing was done; whatever nobody can know is `unknown`.
 */
import { Code, ConnectError } from '@connectrpc/connect';
import { OutcomeUnknown } from '../../coordinator/shard/requests.ts';
import type { Faces, SimCoordinator } from './coordinator.ts';
import type { SimNode } from './node.ts';
import type { Surroundings } from './surroundings.ts';

/** What became of a call. */
export type CallEnd<T> =
  | { readonly kind: 'answered'; readonly value: T }
  | { readonly kind: 'failed'; readonly reason: string; readonly message: string }
  | { readonly kind: 'unknown' };

/** Deadline of a call. */
const DEADLINE_MS = 6_000;

/** Calls `serve` at a coordinator. */
export function call<T>(
  world: Surroundings,
  client: SimNode,
  coordinator: SimCoordinator,
  serve: (faces: Faces) => Promise<T>,
): Promise<CallEnd<T>> {
  const random = world.chance.of('calls');
  const isLost = (): boolean => {
    const isIt = random.chance(world.rates.callLost);
    if (isIt) world.reached('a call or its answer was lost');
    return isIt;
  };
  const delayMs = () => 1 + random.below(random.chance(world.rates.linkSlow) ? 800 : 15);
  const { node } = coordinator;
  return new Promise((resolve) => {
    const cancel = client.after(DEADLINE_MS, () => resolve({ kind: 'unknown' }));
    const end = (result: CallEnd<T>): void => {
      cancel();
      resolve(result);
    };
    const back = (result: CallEnd<T>): void => {
      if (isLost()) return;
      world.clock.after(world.openAt(node.name, client.name) - world.clock.now + delayMs(), () => client.after(0, () => end(result)));
    };
    if (isLost()) return;
    world.requestsUnderWay += 1;
    const arrived = (): void => {
      world.requestsUnderWay -= 1;
    };
    world.clock.after(world.openAt(client.name, node.name) - world.clock.now + delayMs(), () => {
      if (!node.isUp) {
        arrived();
        return back({ kind: 'failed', reason: 'unreachable', message: 'connection refused' });
      }
      node.after(0, () => {
        const { faces } = coordinator;
        if (faces === null) return back({ kind: 'failed', reason: 'unreachable', message: 'connection refused' });
        const closed = coordinator.opened('call', () => back({ kind: 'unknown' }));
        serve(faces).then(
          (value) => {
            closed();
            back({ kind: 'answered', value });
          },
          (error: unknown) => {
            closed();
            back(failureOf(error));
          },
        );
      });
      // Only when the process that it reaches has looked at it.
      world.clock.after(0, arrived);
    });
  });
}

function failureOf(error: unknown): CallEnd<never> {
  if (error instanceof ConnectError) return { kind: 'failed', reason: Code[error.code], message: error.rawMessage };
  if (error instanceof OutcomeUnknown) return { kind: 'unknown' };
  if (error instanceof Error && (error.name === 'ShardAway' || error.name === 'ShardStopped' || error.name === 'StoreUnavailable'))
    return { kind: 'failed', reason: error.name, message: error.message };
  throw error;
}
