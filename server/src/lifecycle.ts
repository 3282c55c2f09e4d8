/**
 * What everything with a beginning and an end has in common: stores, queues, processors,
 * servers. `start` is called once and resolves when the part can be used. `stop` finishes
 * what is under way, tolerates never having been started and being called twice, and
 * afterwards the part holds no timer, socket, file or thread.
 */
export interface Service {
  readonly name: string;
  start(): Promise<void>;
  stop(): Promise<void>;
}

/** Runs parts as one: starts in order, stops in reverse order, and stops what had started when one fails. */
export class ServiceGroup implements Service {
  readonly name: string;
  readonly #parts: readonly Service[];
  #started: Service[] = [];
  #stopping: Promise<void> | undefined;

  constructor(name: string, parts: readonly Service[]) {
    this.name = name;
    this.#parts = parts;
  }

  async start(): Promise<void> {
    try {
      for (const part of this.#parts) {
        this.#started.push(part);
        await part.start();
      }
    } catch (error) {
      await this.stop().catch(() => {});
      throw error;
    }
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stopAll();
    return this.#stopping;
  }

  async #stopAll(): Promise<void> {
    const failures: unknown[] = [];
    for (const part of this.#started.reverse()) {
      try {
        await part.stop();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length === 1) throw failures[0];
    if (failures.length > 1)
      throw new AggregateError(failures, `${this.name} did not stop cleanly`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
