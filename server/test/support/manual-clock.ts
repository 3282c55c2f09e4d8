/** A clock that moves only when told to. Not a stand-in for a part of ours: time is an input. */
import { randomBytes } from 'node:crypto';
import type { Clock } from '../../src/clock.ts';

interface Due {
  at: number;
  everyMs: number | null;
  callback: () => void;
}

export class ManualClock implements Clock {
  #now: number;
  #due: Due[] = [];
  randomValue = 0;

  constructor(now = Date.UTC(2026, 5, 1)) {
    this.#now = now;
  }

  now = (): number => this.#now;
  monotonic = (): number => this.#now;
  random = (): number => this.randomValue;
  randomBytes = randomBytes;

  after(delayMs: number, callback: () => void): { cancel(): void } {
    return this.#add({ at: this.#now + delayMs, everyMs: null, callback });
  }

  every(intervalMs: number, callback: () => void): { cancel(): void } {
    return this.#add({ at: this.#now + intervalMs, everyMs: intervalMs, callback });
  }

  /** Moves on, calling back in the order of time. */
  advance(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      const next = this.#due.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (!next) break;
      this.#now = Math.max(this.#now, next.at);
      if (next.everyMs === null) this.#due.splice(this.#due.indexOf(next), 1);
      else next.at += next.everyMs;
      next.callback();
    }
    this.#now = end;
  }

  get timers(): number {
    return this.#due.length;
  }

  #add(due: Due): { cancel(): void } {
    this.#due.push(due);
    return {
      cancel: () => {
        const index = this.#due.indexOf(due);
        if (index >= 0) this.#due.splice(index, 1);
      },
    };
  }
}
