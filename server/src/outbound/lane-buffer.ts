/**
 * Entries of one lane that wait in this process. Those of one channel and application form a line;
 * the lines take turns, so that neither a slow channel nor a noisy application holds up the others.
 */
import type { QueueEntry } from '../notification/notification-store.ts';

interface Line {
  channel: string;
  entries: QueueEntry[];
  /** Index of the first entry that is still there; the array is cut now and then. */
  head: number;
}

const CUT_AT = 1024;

export class LaneBuffer {
  readonly #capacity: number;
  readonly #lines = new Map<string, Line>();
  /** Keys of lines with entries, in the order in which they are served. */
  #turns: string[] = [];
  #size = 0;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  get size(): number {
    return this.#size;
  }

  get room(): number {
    return Math.max(0, this.#capacity - this.#size);
  }

  add(entry: QueueEntry): void {
    const key = `${entry.channel} ${entry.applicationId}`;
    let line = this.#lines.get(key);
    if (!line) {
      line = { channel: entry.channel, entries: [], head: 0 };
      this.#lines.set(key, line);
      this.#turns.push(key);
    }
    line.entries.push(entry);
    this.#size++;
  }

  /** Moves up to `limit` entries to `into`, in turns, passing over channels without capacity. */
  take(limit: number, capacity: (channel: string) => number, into: QueueEntry[]): number {
    let taken = 0;
    let passed = 0;
    const left = new Map<string, number>();
    while (taken < limit && this.#turns.length > 0 && passed < this.#turns.length) {
      const key = this.#turns.shift() as string;
      const line = this.#lines.get(key) as Line;
      const free = left.get(line.channel) ?? capacity(line.channel);
      if (free <= 0) {
        left.set(line.channel, free);
        this.#turns.push(key);
        passed++;
        continue;
      }
      // A few at a time: fair enough, and the turn itself then costs little.
      const count = Math.min(limit - taken, free, 8, line.entries.length - line.head);
      for (let i = 0; i < count; i++) into.push(line.entries[line.head++] as QueueEntry);
      left.set(line.channel, free - count);
      taken += count;
      passed = 0;
      this.#requeue(key, line);
    }
    this.#size -= taken;
    return taken;
  }

  #requeue(key: string, line: Line): void {
    if (line.head === line.entries.length) {
      this.#lines.delete(key);
      return;
    }
    if (line.head >= CUT_AT) {
      line.entries.splice(0, line.head);
      line.head = 0;
    }
    this.#turns.push(key);
  }
}
