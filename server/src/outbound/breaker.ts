/**
 * Circuit breaker of one destination.
 *
 * closed ──FAILURES in a row──► open ──time over──► half open ──success──► closed
 *                                ▲                      └──failure──► open, for longer
 *                                └── Retry-After: open at once, at least until then
 *
 * Half open lets one attempt through at a time. Written here because no library keeps to an
 * injected clock and to a Retry-After from outside (docs/decisions/006).
 */
import type { Clock } from '../clock.ts';

const FAILURES = 10;
const FIRST_OPEN_MS = 5_000;
const LONGEST_OPEN_MS = 120_000;

export class Breaker {
  readonly #clock: Clock;
  #failures = 0;
  #openUntil = 0;
  #openMs = FIRST_OPEN_MS;
  #probing = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get state(): 'closed' | 'open' | 'half_open' {
    if (this.#openUntil === 0) return 'closed';
    return this.#clock.now() < this.#openUntil ? 'open' : 'half_open';
  }

  /** ms until an attempt may be tried; 0 when one may now. */
  get openMs(): number {
    return Math.max(0, this.#openUntil - this.#clock.now());
  }

  /** True when nothing has gone wrong lately, so that it may be forgotten. */
  get idle(): boolean {
    return this.#failures === 0 && this.#openUntil === 0;
  }

  /** 0 when an attempt may start now (it must then end in `succeeded` or `failed`), else ms to wait. */
  tryStart(): number {
    if (this.#openUntil === 0) return 0;
    if (this.openMs > 0) return this.openMs;
    if (this.#probing) return 1000;
    this.#probing = true;
    return 0;
  }

  succeeded(): void {
    this.#failures = 0;
    this.#openUntil = 0;
    this.#openMs = FIRST_OPEN_MS;
    this.#probing = false;
  }

  /** @param retryAfterMs what the vendor asked for */
  failed(retryAfterMs: number | undefined): void {
    const now = this.#clock.now();
    const wasProbe = this.#probing;
    this.#probing = false;
    this.#failures++;
    if (wasProbe || this.#failures >= FAILURES) {
      this.#openUntil = Math.max(
        this.#openUntil,
        now + this.#openMs * (1 + 0.2 * this.#clock.random()),
      );
      if (wasProbe) this.#openMs = Math.min(this.#openMs * 2, LONGEST_OPEN_MS);
    }
    if (retryAfterMs !== undefined) this.#openUntil = Math.max(this.#openUntil, now + retryAfterMs);
  }

  /** The attempt ended without saying anything about the destination (a bad address, our own fault). */
  undecided(): void {
    this.#probing = false;
  }
}
