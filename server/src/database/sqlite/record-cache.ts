/**
 * A cache over the records file that shows what another connection has changed within a bound:
 * SQLite's `data_version` moves with every commit of others. Reading it costs up to 30 µs while others
 * write, so it is read once for all look-ups that are made without anything else between them.
 */
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { Clock } from '../../clock.ts';

/** Entries per cache; past it everything is forgotten, which costs one read each. */
const LIMIT = 20_000;

export class RecordCacheGroup {
  readonly #version: StatementSync;
  readonly #clock: Clock;
  readonly #staleMs: number;
  readonly #caches: Map<unknown, unknown>[] = [];
  #seen: number;
  #checkedAt = 0;
  /** It has just been read, and nobody else has had a turn since. */
  #isFresh = false;

  /** @param staleMs how long a change made through another connection may stay unseen; 0 for not at all */
  constructor(database: DatabaseSync, clock: Clock, staleMs: number) {
    this.#version = database.prepare('PRAGMA data_version');
    this.#clock = clock;
    this.#staleMs = staleMs;
    this.#seen = this.#read();
  }

  /** A look-up that remembers; `load` must be synchronous and pure. `undefined` is remembered too. */
  cached<Key, Value>(load: (key: Key) => Value): (key: Key) => Value {
    const values = new Map<Key, Value>();
    this.#caches.push(values as Map<unknown, unknown>);
    return (key) => {
      this.#check();
      const known = values.get(key);
      if (known !== undefined || values.has(key)) return known as Value;
      const value = load(key);
      if (values.size >= LIMIT) values.clear();
      values.set(key, value);
      return value;
    };
  }

  /** To be called when a write of this thread has resolved: reads see it at once. */
  invalidate(): void {
    for (const cache of this.#caches) cache.clear();
  }

  #check(): void {
    if (this.#staleMs > 0) {
      const now = this.#clock.monotonic();
      if (now - this.#checkedAt < this.#staleMs) return;
      this.#checkedAt = now;
    }
    if (this.#isFresh) return;
    this.#isFresh = true;
    queueMicrotask(() => {
      this.#isFresh = false;
    });
    const version = this.#read();
    if (version === this.#seen) return;
    this.#seen = version;
    this.invalidate();
  }

  #read(): number {
    return (this.#version.get() as { data_version: number }).data_version;
  }
}
