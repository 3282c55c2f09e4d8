/**
 * The only place where time, timers and randomness enter the core, so that the same code
 * runs under a simulated clock. Adapters' network time limits are not the core's time and
 * use AbortSignal of their own.
 */
import { randomBytes } from 'node:crypto';

export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Wall-clock time in ms since 1970. */
  now(): number;
  /** Monotonic time in ms; only differences mean something. */
  monotonic(): number;
  /** Calls back once after `delayMs`. Does not keep the process alive. */
  after(delayMs: number, callback: () => void): Timer;
  /** Calls back every `intervalMs`. Does not keep the process alive. */
  every(intervalMs: number, callback: () => void): Timer;
  /** A number in [0, 1), for jitter; never for secrets. */
  random(): number;
  /** Cryptographically strong random bytes. */
  randomBytes(length: number): Buffer;
}

export const systemClock: Clock = {
  now: Date.now,
  monotonic: () => performance.now(),
  after(delayMs, callback) {
    const timer = setTimeout(callback, delayMs);
    timer.unref();
    return { cancel: () => clearTimeout(timer) };
  },
  every(intervalMs, callback) {
    const timer = setInterval(callback, intervalMs);
    timer.unref();
    return { cancel: () => clearInterval(timer) };
  },
  random: Math.random,
  randomBytes,
};

/** Resolves after `delayMs` of the given clock. */
export function delay(clock: Clock, delayMs: number): Promise<void> {
  return new Promise((resolve) => {
    clock.after(delayMs, resolve);
  });
}
