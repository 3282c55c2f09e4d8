/**
 * The writer's thread: drains the ports of all other threads into one group per file, commits,
 * then answers. Runs nothing else, so that no rendering or request delays a commit.
 */
import { statSync } from 'node:fs';
import { type MessagePort, receiveMessageOnPort } from 'node:worker_threads';
import type { Clock } from '../../clock.ts';
import type { Call, GroupWriter } from './group-writer.ts';
import type { WriteRequest, WriteResponse } from './write-client.ts';

/** The log is bounded at this many frames of 4 KiB: past it the writer makes it wrap by itself. */
const WAL_LIMIT_BYTES = 16_000 * 4120;
/** How many groups lie between two looks at the size of the log. */
const GROUPS_PER_LOOK = 64;
const REPAIR_INTERVAL_MS = 500;

export class WriterLoop {
  readonly #writer: GroupWriter;
  readonly #walPath: string;
  readonly #clock: Clock;
  readonly #ports: MessagePort[] = [];
  #groups = 0;
  #healthy = true;

  constructor(options: { writer: GroupWriter; path: string; clock: Clock }) {
    this.#writer = options.writer;
    this.#walPath = `${options.path}-wal`;
    this.#clock = options.clock;
  }

  /** True while the file takes no writes. */
  get broken(): boolean {
    return !this.#healthy;
  }

  connect(port: MessagePort): void {
    this.#ports.push(port);
    port.on('message', (request: WriteRequest) => this.#run(port, request));
    port.on('close', () => {
      const index = this.#ports.indexOf(port);
      if (index >= 0) this.#ports.splice(index, 1);
    });
  }

  stop(): void {
    for (const port of [...this.#ports]) port.close();
    this.#writer.close();
  }

  #run(port: MessagePort, request: WriteRequest): void {
    const batches: { port: MessagePort; calls: Call[] }[] = [{ port, calls: request.calls }];
    for (const other of this.#ports) {
      for (let more = receiveMessageOnPort(other); more; more = receiveMessageOnPort(other)) {
        batches.push({ port: other, calls: (more.message as WriteRequest).calls });
      }
    }
    const calls = batches.length === 1 ? request.calls : batches.flatMap((batch) => batch.calls);
    const answers = this.#writer.run(calls);
    const wasHealthy = this.#healthy;
    this.#healthy = this.#writer.failure === undefined;
    let from = 0;
    for (const batch of batches) {
      const mine = batches.length === 1 ? answers : answers.slice(from, from + batch.calls.length);
      from += batch.calls.length;
      batch.port.postMessage({ answers: mine } satisfies WriteResponse);
    }
    if (wasHealthy && !this.#healthy) this.#broken();
    if (++this.#groups % GROUPS_PER_LOOK === 0) this.#boundLog();
  }

  #broken(): void {
    this.#tellAll({ failure: { code: 'store_unavailable' } });
    const timer = this.#clock.every(REPAIR_INTERVAL_MS, () => {
      if (!this.#writer.repair()) return;
      timer.cancel();
      this.#healthy = true;
      this.#tellAll({ failure: null });
    });
  }

  #tellAll(response: WriteResponse): void {
    for (const port of this.#ports) port.postMessage(response);
  }

  #boundLog(): void {
    try {
      if (statSync(this.#walPath).size > WAL_LIMIT_BYTES) this.#writer.checkpoint();
    } catch {
      // No log yet, or the disk does not answer: the next commit will say so.
    }
  }
}
