/**
 * The writer's thread: drains the ports of all other threads into one group per file, commits,
 * then answers. Runs nothing else, so that no rendering or request delays a commit.
 */
import { statfsSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { type MessagePort, receiveMessageOnPort } from 'node:worker_threads';
import type { Clock, Timer } from '../../clock.ts';
import type { PlainError, ServiceError } from '../../errors.ts';
import { logLine } from '../../log-line.ts';
import { unpackCalls } from './call-codec.ts';
import { inPlainWords, isDamaged } from './connection.ts';
import type { Answers, Call, GroupWriter } from './group-writer.ts';
import type { WriteRequest, WriteResponse } from './write-client.ts';

/** The log is bounded at this many frames of 4 KiB: past it the writer makes it begin anew by itself. */
const MOST_FRAMES = 16_000;
/**
 * How many groups lie between two looks at the size of the log. What they write is added to the
 * bound, and a look in vain, while somebody reads, adds it once more; a look costs microseconds.
 */
const GROUPS_PER_LOOK = 8;
const REPAIR_INTERVAL_MS = 500;
const SPACE_INTERVAL_MS = 1000;
/** With less free than this the next group could fill the disk again. */
const SPACE_BYTES = 1024 * 1024;
/**
 * How long patient calls wait for others. Each commit writes the same dozen pages however few rows
 * are in it, so outcomes that ride along with acceptances cost a third of what they cost alone.
 */
const PATIENCE_MS = 2;

/**
 * Where much is written, commits begin no more often than this: each costs the same fsync, dozen of
 * pages and waking of threads however few calls are in it, and on few cores that time is taken from
 * the requests. Costs a call half of it on average.
 */
const SPACING_MS = 1.5;
/** So much is much. A few callers that wait for each other's commits do not come to it. */
const MUCH_PER_MS = 8;
const UNTIL_WRITTEN = 'until it can be written again';
const UNTIL_WHOLE =
  'unless the file turns out to be whole; otherwise stop the service and put it back from a backup';
const nobodyNotifies = new Int32Array(new SharedArrayBuffer(4));

interface Batch {
  port: MessagePort;
  calls: Call[];
}

export class WriterLoop {
  readonly #writer: GroupWriter;
  readonly #path: string;
  readonly #inode: number;
  readonly #clock: Clock;
  readonly #ports: MessagePort[] = [];
  #groups = 0;
  /** When the last group began. */
  #begunAt = Number.NEGATIVE_INFINITY;
  /** How many calls have come per ms lately. */
  #callsPerMs = 0;
  #healthy = true;
  /** A write did not fit on the disk, and there is still no space. Writes are tried all the same. */
  #full = false;
  #held: Batch[] = [];
  #timer: Timer | undefined;
  /** When somebody last wrote who was not patient. */
  #hurriedAt = Number.NEGATIVE_INFINITY;

  constructor(options: { writer: GroupWriter; path: string; clock: Clock }) {
    this.#writer = options.writer;
    this.#path = options.path;
    this.#inode = statSync(options.path).ino;
    this.#clock = options.clock;
  }

  /** True while the file takes no writes. */
  get broken(): boolean {
    return !this.#healthy;
  }

  connect(port: MessagePort): void {
    this.#ports.push(port);
    port.on('message', (request: WriteRequest) => this.#receive(port, request));
    port.on('close', () => {
      const index = this.#ports.indexOf(port);
      if (index >= 0) this.#ports.splice(index, 1);
    });
  }

  stop(): void {
    if (this.#held.length > 0) this.#run([]);
    for (const port of [...this.#ports]) port.close();
    this.#writer.close();
  }

  #receive(port: MessagePort, request: WriteRequest): void {
    const now = this.#clock.monotonic();
    const batch = { port, calls: unpackCalls(request.calls) };
    if (request.patient && now - this.#hurriedAt <= PATIENCE_MS) {
      // Somebody in a hurry was here just now and will be again: one commit serves both.
      this.#held.push(batch);
      this.#timer ??= this.#clock.after(PATIENCE_MS, () => this.#run([]));
      return;
    }
    if (!request.patient) this.#hurriedAt = now;
    this.#run([batch]);
  }

  /** Everything that was held, given or has arrived meanwhile, in one commit. */
  #run(given: Batch[]): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    const sinceLastMs = this.#spaceOut();
    const batches = [...this.#held, ...given];
    this.#held = [];
    for (const port of this.#ports) {
      for (let more = receiveMessageOnPort(port); more; more = receiveMessageOnPort(port)) {
        const { calls, patient } = more.message as WriteRequest;
        batches.push({ port, calls: unpackCalls(calls) });
        if (!patient) this.#hurriedAt = this.#clock.monotonic();
      }
    }
    const [only] = batches;
    if (!only) return;
    this.#checkPlace();
    const all = batches.length === 1 ? only.calls : batches.flatMap(({ calls }) => calls);
    this.#callsPerMs += (all.length / sinceLastMs - this.#callsPerMs) / 8;
    const answers = this.#writer.run(all);
    const wasHealthy = this.#healthy;
    this.#healthy = this.#writer.failure === undefined;
    let from = 0;
    for (const { port, calls } of batches) {
      port.postMessage(part(answers, from, calls.length));
      from += calls.length;
    }
    if (wasHealthy && !this.#healthy) this.#broken();
    if (!this.#full && answers.errors.some(([, { code }]) => code === 'store_full')) {
      this.#waitForSpace();
    }
    if (++this.#groups % GROUPS_PER_LOOK === 0) this.#boundLog();
  }

  /**
   * Keeps the distance to the last group and returns it, in ms. Blocks: the thread has nothing else
   * to do, and what arrives meanwhile is in the group.
   */
  #spaceOut(): number {
    const leftMs = this.#begunAt + SPACING_MS - this.#clock.monotonic();
    if (leftMs > 0 && this.#callsPerMs >= MUCH_PER_MS) Atomics.wait(nobodyNotifies, 0, 0, leftMs);
    const now = this.#clock.monotonic();
    const sinceLastMs = Math.max(now - this.#begunAt, 0.1);
    this.#begunAt = now;
    return sinceLastMs;
  }

  /** What is written to a file that nobody can find any more would be acknowledged and lost. */
  #checkPlace(): void {
    if (statSync(this.#path, { throwIfNoEntry: false })?.ino === this.#inode) return;
    throw new Error(`${this.#path} was removed or replaced while the service was running`);
  }

  #broken(): void {
    const failure = this.#writer.failure as ServiceError;
    const isDamage = isDamaged(failure.cause);
    const words = inPlainWords(failure.cause ?? failure);
    logLine('error', 'writer', {
      msg: `${this.#path}: ${words}; nothing is accepted ${isDamage ? UNTIL_WHOLE : UNTIL_WRITTEN}`,
    });
    this.#tellAll({ failure: failure.toPlain() });
    const timer = this.#clock.every(REPAIR_INTERVAL_MS, () => {
      if (!this.#writer.repair()) return;
      timer.cancel();
      this.#healthy = true;
      const found = isDamage ? 'was looked through, is whole and ' : '';
      logLine('warn', 'writer', { msg: `${this.#path} ${found}takes writes again` });
      this.#tellAll({ failure: null });
    });
  }

  /** It looks by itself: while the service says that it is not ready, nobody may write. */
  #waitForSpace(): void {
    this.#full = true;
    this.#tellAll({ full: true });
    const timer = this.#clock.every(SPACE_INTERVAL_MS, () => {
      if (freeBytes(dirname(this.#path)) < SPACE_BYTES) return;
      timer.cancel();
      this.#full = false;
      this.#tellAll({ full: false });
    });
  }

  #tellAll(response: WriteResponse): void {
    for (const port of this.#ports) port.postMessage(response);
  }

  #boundLog(): void {
    try {
      if (this.#writer.framesInLog() > MOST_FRAMES) this.#writer.checkpoint();
    } catch {
      // The disk does not answer: the next commit will say so.
    }
  }
}

/** Of the disk of a folder; 0 when it does not say. */
function freeBytes(folder: string): number {
  try {
    const { bavail, bsize } = statfsSync(folder);
    return bavail * bsize;
  } catch {
    return 0;
  }
}

/** The answers to one of several batches. */
function part({ values, errors }: Answers, from: number, length: number): WriteResponse {
  if (values.length === length) return { values, errors };
  const to = from + length;
  return {
    values: values.slice(from, to),
    errors: errors
      .filter(([i]) => i >= from && i < to)
      .map(([i, error]): [number, PlainError] => [i - from, error]),
  };
}
