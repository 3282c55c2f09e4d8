/** Hints within one process: between its threads by MessagePort, within a thread directly. */
import type { MessagePort } from 'node:worker_threads';
import type { Hints } from './hints.ts';

type Hint = [topic: string, payload: unknown];

export class MemoryHints implements Hints {
  readonly #callbacks = new Map<string, Set<(payload: unknown) => void>>();
  readonly #ports: MessagePort[] = [];
  #waiting: Hint[] = [];

  /** Exchanges hints with another thread. */
  connect(port: MessagePort): void {
    this.#ports.push(port);
    port.on('message', (hints: Hint[]) => {
      for (const [topic, payload] of hints) this.#deliver(topic, payload);
      // The thread in the middle passes them on; the others have no further port.
      for (const other of this.#ports) if (other !== port) other.postMessage(hints);
    });
    port.on('close', () => {
      const index = this.#ports.indexOf(port);
      if (index >= 0) this.#ports.splice(index, 1);
    });
    port.unref();
  }

  publish(topic: string, payload: unknown): void {
    this.#deliver(topic, payload);
    if (this.#ports.length === 0) return;
    if (this.#waiting.length === 0) setImmediate(() => this.#post());
    this.#waiting.push([topic, payload]);
  }

  subscribe(topic: string, callback: (payload: unknown) => void): () => void {
    const callbacks = this.#callbacks.get(topic) ?? new Set();
    callbacks.add(callback);
    this.#callbacks.set(topic, callbacks);
    return () => {
      callbacks.delete(callback);
      if (callbacks.size === 0 && this.#callbacks.get(topic) === callbacks)
        this.#callbacks.delete(topic);
    };
  }

  close(): void {
    for (const port of [...this.#ports]) port.close();
  }

  #post(): void {
    const hints = this.#waiting;
    this.#waiting = [];
    for (const port of this.#ports) port.postMessage(hints);
  }

  #deliver(topic: string, payload: unknown): void {
    const callbacks = this.#callbacks.get(topic);
    if (callbacks) for (const callback of [...callbacks]) callback(payload);
  }
}
