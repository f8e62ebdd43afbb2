/** The live view as a run sees it: there, away, slow. Nothing that is decided may depend on it. */
import type { ArchivedWorkflow, Kept, LiveView, Ownership } from '../../coordinator/store/store.ts';
import type { Plan } from './plan.ts';
import type { Surroundings } from './surroundings.ts';

export class SimLiveView implements LiveView {
  /** Shown, until it is flushed. */
  readonly shown = new Map<string, number>();
  isAway = false;
  readonly #world: Surroundings;
  readonly #mode: Plan['liveView'];

  constructor(world: Surroundings, mode: Plan['liveView']) {
    this.#world = world;
    this.#mode = mode;
  }

  async show(_ownership: Ownership, workflows: readonly ArchivedWorkflow[]): Promise<Kept> {
    await this.#travel();
    if (this.isAway || this.#mode === 'away') return { kind: 'unavailable', message: 'the live view is away' };
    for (const { state } of workflows) this.shown.set(state.id, state.seq);
    return { kind: 'kept' };
  }

  async announce(): Promise<Kept> {
    await this.#travel();
    return { kind: 'kept' };
  }

  #travel(): Promise<void> {
    return new Promise((resolve) => this.#world.clock.after(this.#mode === 'slow' ? 3_000 : 1, resolve));
  }
}
