/** The terms of a coordinator: what it does between taking a shard and letting it go. */
import { Durability } from '@workflow-orchestrator/proto';
import { limits } from '@workflow-orchestrator/proto/limits';
import t from 'tap';
import type { Gateway } from '../../coordinator/gateway/gateway.ts';
import { ShardSeat } from '../../coordinator/shard/seat.ts';
import type { LoadedPart, Store } from '../../coordinator/store/store.ts';
import { Terms } from '../../coordinator/terms.ts';
import { HeldStore } from '../shard-support/held-store.ts';
import { Counts, VirtualPorts } from '../shard-support/ports.ts';

async function settle(ports: VirtualPorts): Promise<void> {
  do {
    ports.run();
    for (let i = 0; i < 20; i++) await null;
  } while (ports.isBusy);
}

t.test('a coordinator that is ended while it reads a shard lets go of it when that is read, and serves nobody', async (t) => {
  const held = new HeldStore();
  held.leaseMs = limits.shardLeaseMs;
  const store: Store = held;
  let read = (): void => {};
  store.load = async function* (): AsyncIterable<LoadedPart> {
    await new Promise<void>((resolve) => {
      read = resolve;
    });
  };
  const released: number[] = [];
  store.release = async ({ epoch }) => void released.push(epoch);
  let renewals = 0;
  store.renew = async () => {
    renewals += 1;
    return { kind: 'renewed' };
  };
  const ports = new VirtualPorts();
  const seat = new ShardSeat(Durability.DURABLE, ports.now, 'starting');
  let gateways = 0;
  const terms = new Terms({
    store,
    owner: { coordinatorId: 'c-1', address: '' },
    ports,
    observer: new Counts(),
    definitions: { load: async () => {}, vacate: () => {} },
    seat,
    gatewaySeat: { take: () => {}, vacate: () => null },
    gatewayOf: () => {
      gateways += 1;
      return {} as Gateway;
    },
    endStreams: () => {},
    log: { info: () => {}, warn: () => {}, error: () => {} },
    onFatal: (reason) => t.fail(reason),
  });
  await settle(ports);
  t.equal(terms.role, 'RECOVERING');
  const closed = terms.close(1_000);
  await settle(ports);
  t.same(released, [], 'it is still being read');
  read();
  await settle(ports);
  await closed;
  t.same(released, [1]);
  t.equal(gateways, 0);
  t.ok(seat.vacancy);
  renewals = 0;
  for (let passed = 0; passed < 3 * limits.shardRenewMs; passed += 50) {
    ports.advance(50);
    await settle(ports);
  }
  t.equal(renewals, 0, 'and keeps its lease no longer');
});
