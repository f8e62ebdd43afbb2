/** Says, every now and then, that this coordinator and its workers are there: for whoever looks at the live view. */
import { limits } from '@workflow-orchestrator/proto/limits';
import type { GatewaySeat } from './gateway/seat.ts';
import type { Owner, Store } from './store/store.ts';
import type { Role } from './terms.ts';

/** What is told. */
export interface PresenceParts {
  readonly store: Store;
  readonly owner: Owner;
  readonly role: () => Role;
  readonly gateway: Pick<GatewaySeat, 'workers'>;
}

/** Tells it until `stop`. Without a live view there is nobody to tell. */
export function announcePresence({ store: { liveView }, owner, role, gateway }: PresenceParts): { readonly stop: () => void } {
  if (liveView === null) return { stop: () => {} };
  const announce = (): void => {
    const workers = gateway
      .workers()
      .filter(({ status }) => status !== 'DISCONNECTED')
      .map(({ id, slots, running }) => ({ workerId: id, slots, busy: running }));
    // Whether it was heard is shown by the health of the tier.
    void liveView.announce({ coordinator: { ...owner, role: role() === 'ACTIVE' ? 'ACTIVE' : 'STANDBY' }, workers });
  };
  announce();
  const timer = setInterval(announce, limits.presenceMs);
  timer.unref();
  return { stop: () => clearInterval(timer) };
}
