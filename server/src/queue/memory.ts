/**
 * The lanes of embedded mode: entries go from the threads that accept to the engine's thread by
 * MessagePort, one message per turn of the event loop. What finds no room is dropped; the consumer
 * is told so and looks into the store when it has room again.
 */
import type { MessagePort } from 'node:worker_threads';
import { LANES, type Lane } from '../notification/notification.ts';
import { claimedAnew, type QueueEntry } from '../notification/notification-store.ts';
import { giveBackPlace, PlaceOffer, type SharedPlaces, takePlace } from './places.ts';
import type { Place, PlaceCounts, Queue, QueueConsumer } from './queue.ts';

/** Values of one entry as it crosses threads: flat lists clone several times faster than objects. */
const WIDTH = 13;
const NONE: PlaceCounts = { lanes: [0, 0, 0], channel: () => 0 };

/** The publishing end, in a thread that accepts. */
export class MemoryQueuePublisher implements Queue {
  readonly name = 'queue';
  #port: MessagePort;
  #places: SharedPlaces | undefined;
  /** The consumer has ended, and its successor has not come. */
  #alone = false;
  #values: unknown[] = [];

  constructor(port: MessagePort) {
    this.#port = port;
    this.#listen(port);
  }

  /** Goes on with a consumer that has been started anew; what the old one held, the store still has. */
  reconnect(port: MessagePort): void {
    this.#port.close();
    this.#port = port;
    this.#alone = false;
    this.#places = undefined;
    this.#values = entriesOf(this.#values).flatMap((entry) => valuesOf(claimedAnew(entry)));
    this.#listen(port);
    this.#post();
  }

  #listen(port: MessagePort): void {
    port.on('message', (places: SharedPlaces) => {
      this.#places = places;
    });
    port.on('close', () => {
      if (port !== this.#port) return;
      this.#places = undefined;
      this.#alone = true;
    });
    port.unref();
  }

  place(lane: Lane, channel: string): Place | undefined {
    const places = this.#places;
    if (places === undefined || !takePlace(places, lane, channel)) return undefined;
    return {
      claimMs: places.claimMs,
      isGone: () => places !== this.#places,
      giveBack: () => giveBackPlace(places, lane, channel),
    };
  }

  publish(entries: readonly QueueEntry[]): void {
    if (this.#values.length === 0) setImmediate(() => this.#post());
    for (const entry of entries) {
      // Of what nobody has claimed the store knows, and the next consumer looks there first.
      if (this.#alone && entry.claimedUntil === null && entry.claim === 0) continue;
      this.#values.push(...valuesOf(entry));
    }
  }

  consume(): void {
    throw new Error('this thread only publishes');
  }

  offer(): void {
    throw new Error('this thread only publishes');
  }

  expected(): PlaceCounts {
    return NONE;
  }

  async start(): Promise<void> {}

  async stop(): Promise<void> {
    this.#post();
    this.#port.close();
  }

  #post(): void {
    if (this.#values.length === 0 || this.#alone) return;
    this.#port.postMessage(this.#values);
    this.#values = [];
  }
}

/** The consuming end, in the engine's thread; what is published there does not cross threads. */
export class MemoryQueue implements Queue {
  readonly name = 'queue';
  readonly #ports: MessagePort[] = [];
  readonly #places: PlaceOffer;
  #consumer: QueueConsumer | undefined;
  #stopped = false;

  /** @param options channels that can be given places, and how long the claim of one must hold, in ms */
  constructor({ channels, claimMs }: { channels: readonly string[]; claimMs: number }) {
    this.#places = new PlaceOffer(channels, claimMs);
  }

  /** Takes what another thread publishes. */
  connect(port: MessagePort): void {
    port.postMessage(this.#places.shared);
    // What it published before it was connected may have been dropped.
    for (const lane of [0, 1, 2] as const) this.#consumer?.missed(lane);
    this.#ports.push(port);
    port.on('message', (values: unknown[]) => this.publish(entriesOf(values)));
  }

  publish(entries: readonly QueueEntry[]): void {
    const consumer = this.#consumer;
    if (!consumer || this.#stopped) return;
    for (const lane of [0, 1, 2] as const) {
      const given = entries.filter((entry) => entry.lane === lane && entry.claimedUntil !== null);
      for (const { channel } of given) this.#places.filled(lane, channel);
      if (given.length > 0) consumer.take(lane, given, () => {});
      const ofLane = entries.filter((entry) => entry.lane === lane && entry.claimedUntil === null);
      if (ofLane.length === 0) continue;
      const fitting = ofLane.slice(0, consumer.room(lane));
      if (fitting.length < ofLane.length) consumer.missed(lane);
      if (fitting.length > 0) consumer.take(lane, fitting, () => {});
    }
  }

  consume(consumer: QueueConsumer): void {
    this.#consumer = consumer;
  }

  /** Who publishes in this thread is the consumer's neighbour and leaves the claiming to it. */
  place(): undefined {
    return undefined;
  }

  offer(counts: PlaceCounts): void {
    this.#places.offer(counts);
  }

  expected(): PlaceCounts {
    return this.#places.expected();
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

function valuesOf(entry: QueueEntry): unknown[] {
  return [
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
    entry.claimedUntil,
  ];
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
      claimedUntil: values[at + 12] as number | null,
      suspect: false,
    });
  }
  return entries;
}
