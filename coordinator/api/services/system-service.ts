/** What this coordinator is and how it is. */
import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { GetInfoResponse_Role, GetInfoResponseSchema, StorageTier_Health, SystemService } from '@workflow-orchestrator/proto';
import type { ShardClient } from '../../shard/seat.ts';
import type { Store } from '../../store/store.ts';
import { type MountedService, mount } from '../context.ts';

/** What the system service tells of. */
export interface SystemServiceParts {
  readonly version: string;
  readonly coordinatorId: string;
  /** Milliseconds since 1970. */
  readonly startedAt: number;
  readonly shard: ShardClient;
  readonly store: Store;
  /** What this coordinator does at the moment, and where the active one is when it is another. */
  readonly role: () => { readonly role: 'ACTIVE' | 'STANDBY' | 'RECOVERING'; readonly activeAddress: string };
  readonly workers: () => number;
}

/** The system service. */
export function systemService({
  version,
  coordinatorId,
  startedAt,
  shard,
  store,
  role,
  workers,
}: SystemServiceParts): MountedService<typeof SystemService> {
  return mount(SystemService, {
    async getInfo() {
      const stats = shard.stats();
      return create(GetInfoResponseSchema, {
        version,
        coordinatorId,
        startTime: timestampFromMs(startedAt),
        durability: shard.durability,
        tiers: store.health().map(({ name, health, detail }) => ({ name, health: StorageTier_Health[health], detail })),
        openWorkflows: BigInt(stats.openWorkflows),
        readyJobs: BigInt(stats.readyJobs),
        runningJobs: BigInt(stats.runningJobs),
        workers: workers(),
        role: GetInfoResponse_Role[role().role],
        activeAddress: role().activeAddress,
        trouble: stats.trouble ?? '',
        unarchivedWorkflows: BigInt(stats.unarchived),
      });
    },
  });
}
