/**
 * Whose history the live view is given, and how often: what it costs is bounded, however large workflows are and however fast they change.
 *
 * Invariants
 * 1. All histories together are at most `liveViewBytesPerSecond`, give or take one second's worth and one history.
 * 2. An open workflow's history, which is written whole each time, takes at most `liveViewOpenBytesPerSecond`; it is shown anew the less often the larger it is.
 * 3. No history over `liveViewWorkflowBytes` is shown.
 * 4. What is remembered is bounded.
 */
import { limits } from '@workflow-orchestrator/proto/limits';

/** No event takes less. */
const EVENT_BYTES = 8;
const REMEMBERED = 10_000;

export class HistoryPace {
  readonly #now: () => number;
  #budget: number = limits.liveViewBytesPerSecond;
  #at: number;
  /** When an open workflow's history may be shown again. */
  readonly #nextAt = new Map<string, number>();

  /** `now`: milliseconds that never go back. */
  constructor(now: () => number) {
    this.#now = now;
    this.#at = now();
  }

  /** Whether its history is worth encoding now. */
  mayShow(workflowId: string, events: number, hasEnded: boolean): boolean {
    if (events * EVENT_BYTES > limits.liveViewWorkflowBytes) return false;
    const now = this.#now();
    const grown = this.#budget + ((now - this.#at) / 1_000) * limits.liveViewBytesPerSecond;
    this.#budget = Math.min(grown, limits.liveViewBytesPerSecond);
    this.#at = now;
    if (this.#budget <= 0) return false;
    return hasEnded || now >= (this.#nextAt.get(workflowId) ?? 0);
  }

  /** Accounts for a history that was encoded; answers whether it is shown. */
  spend(workflowId: string, bytes: number, hasEnded: boolean): boolean {
    if (hasEnded) this.#nextAt.delete(workflowId);
    else this.#remember(workflowId, (bytes / limits.liveViewOpenBytesPerSecond) * 1_000);
    if (bytes > limits.liveViewWorkflowBytes) return false;
    this.#budget -= bytes;
    return true;
  }

  #remember(workflowId: string, pauseMs: number): void {
    const now = this.#now();
    this.#nextAt.delete(workflowId);
    // It is not asked more often than that anyway.
    if (pauseMs <= limits.liveViewMs) return;
    if (this.#nextAt.size >= REMEMBERED) this.#forget(now);
    this.#nextAt.set(workflowId, now + pauseMs);
  }

  #forget(now: number): void {
    for (const [id, nextAt] of this.#nextAt) if (nextAt <= now) this.#nextAt.delete(id);
    // The oldest go first: shown once too often, they do no harm that the budget for all does not bound.
    for (const id of this.#nextAt.keys()) {
      if (this.#nextAt.size < REMEMBERED) break;
      this.#nextAt.delete(id);
    }
  }
}
