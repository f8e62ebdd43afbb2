/** One stream of the events of a workflow, from a coordinator to a client, until it ends or breaks. */
import { create } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { WatchWorkflowRequestSchema } from '@workflow-orchestrator/proto';
import type { SimCoordinator } from './coordinator.ts';
import type { SimNode } from './node.ts';
import type { Surroundings } from './surroundings.ts';

/** How a stream ended. */
export type StreamEnd =
  | { readonly kind: 'ended'; readonly lastKind: string }
  | { readonly kind: 'not found' }
  | { readonly kind: 'broken' };

/** Time without a word, after which a client looks elsewhere. */
const SILENCE_MS = 10_000;

/** Follows a workflow from after `after`; `onEvent` is told each event as the client gets it. */
export function follow(
  world: Surroundings,
  client: SimNode,
  coordinator: SimCoordinator,
  workflowId: string,
  after: number,
  onEvent: (seq: number, kind: string) => void,
): Promise<StreamEnd> {
  const { node } = coordinator;
  const random = world.chance.of('streams');
  return new Promise((resolve) => {
    const abort = new AbortController();
    let isOver = false;
    let lastKind = '';
    let arrivesAt = 0;
    let cancel = (): void => {};
    const end = (how: StreamEnd): void => {
      if (isOver) return;
      isOver = true;
      cancel();
      node.after(0, () => abort.abort());
      resolve(how);
    };
    const wait = (): void => {
      cancel();
      cancel = client.after(SILENCE_MS, () => end({ kind: 'broken' }));
    };
    const arrive = (event: () => void): void => {
      arrivesAt = Math.max(arrivesAt, world.openAt(node.name, client.name) + 1 + random.below(10));
      world.clock.after(arrivesAt - world.clock.now, () => {
        if (!isOver) event();
      });
    };
    wait();
    world.clock.after(world.openAt(client.name, node.name) - world.clock.now + 5, () => {
      const { faces } = coordinator;
      if (!node.isUp || faces === null) return arrive(() => end({ kind: 'broken' }));
      node.after(0, () => {
        const closed = coordinator.opened('stream', () => {
          abort.abort();
          arrive(() => end({ kind: 'broken' }));
        });
        const stream = async (): Promise<void> => {
          const request = create(WatchWorkflowRequestSchema, { workflowId, afterSeq: BigInt(after), follow: true });
          const context = { signal: abort.signal, face: 'grpc' as const, header: () => null };
          for await (const { item } of faces.watches.watch(request, context)) {
            if (item.case !== 'event') continue;
            const { seq, kind } = item.value;
            arrive(() => {
              wait();
              lastKind = kind.case ?? '';
              onEvent(Number(seq), lastKind);
            });
          }
          closed();
          if (!abort.signal.aborted) arrive(() => end({ kind: 'ended', lastKind }));
        };
        stream().catch((error: unknown) => {
          closed();
          const isMissing = ConnectError.from(error).code === Code.NotFound;
          arrive(() => end(isMissing ? { kind: 'not found' } : { kind: 'broken' }));
        });
      });
    });
  });
}
