/** Which messages, in which status, have been shown: bounded, since a tail may run for months. */
import type { MessageSummary } from '@tidings/contracts/notification';

/** Several times what one look can show, so that nothing is shown twice. */
const CAPACITY = 20_000;

export class MessageWindow {
  readonly #statuses = new Map<string, string>();
  readonly #capacity: number;

  constructor(capacity = CAPACITY) {
    this.#capacity = capacity;
  }

  has(id: string): boolean {
    return this.#statuses.has(id);
  }

  /** True when it is new, or has another status than before. */
  add({ id, status }: Pick<MessageSummary, 'id' | 'status'>): boolean {
    const before = this.#statuses.get(id);
    // Taken out and put in again: what was seen longest ago is forgotten first.
    this.#statuses.delete(id);
    this.#statuses.set(id, status);
    if (this.#statuses.size > this.#capacity) {
      const [oldest] = this.#statuses.keys();
      this.#statuses.delete(oldest as string);
    }
    return before !== status;
  }
}
