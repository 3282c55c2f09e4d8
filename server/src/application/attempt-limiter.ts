/**
 * Bounds how often one remote address may try something, in this thread's memory. It keeps a
 * flood away from the store; what it protects must be safe from guessing by itself.
 */
import ipaddr from 'ipaddr.js';
import type { Clock } from '../clock.ts';

export interface AttemptLimiterOptions {
  clock: Clock;
  /** Attempts of one address per window. */
  limit: number;
  windowMs: number;
  /** Addresses remembered at once; past it the one that began longest ago is forgotten. */
  capacity: number;
}

interface Window {
  endsAt: number;
  attempts: number;
}

export class AttemptLimiter {
  readonly #options: AttemptLimiterOptions;
  /** In the order in which the windows began, so that the first one ends first. */
  readonly #windows = new Map<string, Window>();

  constructor(options: AttemptLimiterOptions) {
    this.#options = options;
  }

  /** Counts an attempt. Returns undefined when it may be made, otherwise in how many ms one may be again. */
  take(remoteAddress: string): number | undefined {
    const { clock, limit, windowMs, capacity } = this.#options;
    const now = clock.monotonic();
    this.#forgetEnded(now);
    const key = networkOf(remoteAddress);
    const window = this.#windows.get(key);
    if (!window) {
      if (this.#windows.size >= capacity) this.#forgetFirst();
      this.#windows.set(key, { endsAt: now + windowMs, attempts: 1 });
      return undefined;
    }
    if (window.attempts >= limit) return window.endsAt - now;
    window.attempts++;
    return undefined;
  }

  #forgetEnded(now: number): void {
    for (const [key, { endsAt }] of this.#windows) {
      if (endsAt > now) return;
      this.#windows.delete(key);
    }
  }

  #forgetFirst(): void {
    const first = this.#windows.keys().next();
    if (!first.done) this.#windows.delete(first.value);
  }
}

/** Whoever has one IPv6 address has the 2^64 of its network. */
function networkOf(remoteAddress: string): string {
  if (!ipaddr.isValid(remoteAddress)) return remoteAddress;
  const address = ipaddr.process(remoteAddress);
  return address instanceof ipaddr.IPv6 ? address.parts.slice(0, 4).join(':') : address.toString();
}
