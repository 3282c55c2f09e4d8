/**
 * The lanes of embedded mode: entries go from the threads that accept to the engine's thread by
 * MessagePort, one message per turn of the event loop. What finds no room is dropped; the consumer
 * is told so and looks into the store when it has room again.
 */
import type { MessagePort } from 'node:worker_threads';
import { LANES, type Lane } from '../notification/notification.ts';
import type { QueueEntry } from '../notification/notification-store.ts';
import type { Queue, QueueConsumer } from './queue.ts';

/** Values of one entry as it crosses threads: flat lists clone several times faster than objects. */
const WIDTH = 12;

/** The publishing end, in a thread that accepts. */
export class MemoryQueuePublisher implements Queue {
  readonly name = 'queue';
  #port: MessagePort;
  #values: unknown[] = [];

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
    if (this.#values.length === 0) setImmediate(() => this.#post());
    for (const entry of entries) {
      this.#values.push(
        entry.messageId,
        entry.notificationId,
        entry.applicationId,
        entry.lane,
        entry.channel,
        entry.claim,
        entry.attempt,
        entry.attemptsBefore,
        entry.step,
        entry.route,
        entry.body,
        entry.watched,
      );
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
    if (this.#values.length === 0) return;
    this.#port.postMessage(this.#values);
    this.#values = [];
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
    port.on('message', (values: unknown[]) => this.publish(entriesOf(values)));
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

function entriesOf(values: readonly unknown[]): QueueEntry[] {
  const entries: QueueEntry[] = [];
  for (let at = 0; at < values.length; at += WIDTH) {
    entries.push({
      messageId: values[at] as number,
      notificationId: values[at + 1] as number,
      applicationId: values[at + 2] as number,
      lane: values[at + 3] as Lane,
      channel: values[at + 4] as string,
      claim: values[at + 5] as number,
      attempt: values[at + 6] as number,
      attemptsBefore: values[at + 7] as number,
      step: values[at + 8] as number,
      route: values[at + 9] as string[] | null,
      body: values[at + 10] as string,
      watched: values[at + 11] as boolean,
      suspect: false,
    });
  }
  return entries;
}
