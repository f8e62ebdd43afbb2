/**
 * The committed events of one workflow, as watchers are shown them.
 *
 * Invariants
 * 1. The event with number n is at n - 1. It grows at its end and nowhere else.
 * 2. Of the checkpoints of a job the last one is held, of the others that they were: handlers store them all the time, and nobody goes back to an older one.
 */
import type { Payload } from '@workflow-orchestrator/engine/definition';
import type { DurableEvent } from '@workflow-orchestrator/engine/machine';

const REPLACED: Payload = { encoding: 'json', data: new Uint8Array() };

export class History {
  readonly #events: DurableEvent[] = [];
  /** By job, the place of its last checkpoint. Null: none. */
  #checkpoints: Map<number, number> | null = null;

  get length(): number {
    return this.#events.length;
  }

  /** The event at a place, from 0; negative: from the end. */
  at(place: number): DurableEvent | undefined {
    return this.#events.at(place);
  }

  /** All events, as they are now: a list of its own. */
  all(): DurableEvent[] {
    return this.#events.slice();
  }

  push(event: DurableEvent): void {
    if (event.kind === 'jobCheckpointed') {
      this.#checkpoints ??= new Map();
      const earlier = this.#checkpoints.get(event.job);
      if (earlier !== undefined) this.#events[earlier] = { ...event, at: this.#events[earlier]!.at, checkpoint: REPLACED };
      this.#checkpoints.set(event.job, this.#events.length);
    }
    this.#events.push(event);
  }
}
