/**
 * The lanes of embedded mode: entries go from the threads that accept to the engine's thread by
 * MessagePort, one message per turn of the event loop. What finds no room is dropped; the consumer
 * is told so and looks into the store when it has room again.
 */
import type { MessagePort } from 'node:worker_threads';
import { LANES, type Lane } from '../notification/notification.ts';
import type { QueueEntry } from '../notification/notification-store.ts';
import type { Queue, QueueConsumer } from './queue.ts';

/** An entry as it crosses threads: an array clones several times faster than an object. */
type EntryRow = [
  messageId: number,
  notificationId: number,
  applicationId: number,
  lane: Lane,
  channel: string,
  claim: number,
  attempt: number,
  attemptsBefore: number,
  step: number,
  route: string[] | null,
  body: string,
  watched: boolean,
];

/** The publishing end, in a thread that accepts. */
export class MemoryQueuePublisher implements Queue {
  readonly name = 'queue';
  #port: MessagePort;
  #rows: EntryRow[] = [];

  constructor(port: MessagePort) {
    this.#port = port;
    port.unref();
  }

  /** Goes on with a consumer that has been started anew; what the old one held, the store still has. */
  reconnect(port: MessagePort): void {
    this.#port.close();
    this.#port = port;
    port.unref();
  }

  publish(entries: readonly QueueEntry[]): void {
    if (this.#rows.length === 0) setImmediate(() => this.#post());
    for (const e of entries) {
      this.#rows.push([
        e.messageId,
        e.notificationId,
        e.applicationId,
        e.lane,
        e.channel,
        e.claim,
        e.attempt,
        e.attemptsBefore,
        e.step,
        e.route,
        e.body,
        e.watched,
      ]);
    }
  }

  consume(): void {
    throw new Error('this thread only publishes');
  }

  async start(): Promise<void> {}

  async stop(): Promise<void> {
    this.#post();
    this.#port.close();
  }

  #post(): void {
    if (this.#rows.length === 0) return;
    this.#port.postMessage(this.#rows);
    this.#rows = [];
  }
}

/** The consuming end, in the engine's thread; what is published there does not cross threads. */
export class MemoryQueue implements Queue {
  readonly name = 'queue';
  readonly #ports: MessagePort[] = [];
  #consumer: QueueConsumer | undefined;
  #stopped = false;

  /** Takes what another thread publishes. */
  connect(port: MessagePort): void {
    this.#ports.push(port);
    port.on('message', (rows: EntryRow[]) => this.publish(rows.map(entryOfRow)));
  }

  publish(entries: readonly QueueEntry[]): void {
    const consumer = this.#consumer;
    if (!consumer || this.#stopped) return;
    for (const lane of [0, 1, 2] as const) {
      const ofLane = entries.filter((entry) => entry.lane === lane);
      if (ofLane.length === 0) continue;
      const fitting = ofLane.slice(0, consumer.room(lane));
      if (fitting.length < ofLane.length) consumer.missed(lane);
      if (fitting.length > 0) consumer.take(lane, fitting, () => {});
    }
  }

  consume(consumer: QueueConsumer): void {
    this.#consumer = consumer;
  }

  async start(): Promise<void> {
    // What was accepted before this consumer began is only in the store.
    for (let lane = 0; lane < LANES.length; lane++) this.#consumer?.missed(lane as Lane);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    for (const port of this.#ports) port.close();
  }
}

function entryOfRow(row: EntryRow): QueueEntry {
  return {
    messageId: row[0],
    notificationId: row[1],
    applicationId: row[2],
    lane: row[3],
    channel: row[4],
    claim: row[5],
    attempt: row[6],
    attemptsBefore: row[7],
    step: row[8],
    route: row[9],
    body: row[10],
    watched: row[11],
    suspect: false,
  };
}
