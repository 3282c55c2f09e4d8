/**
 * Places that a consumer keeps free: whoever accepts a message may take one and store the message
 * as claimed at once, which saves a write and two turns of threads for most messages. Counted in
 * memory that threads share; it is a hint and never truth: a place that is lost is missed by nobody
 * for longer than a claim.
 *
 * Per lane and per channel there are two counters that only grow (and may overflow: only their
 * difference counts). `offered` is written by the consumer alone, `taken` by those who accept.
 */
import type { Lane } from '../notification/notification.ts';
import type { PlaceCounts } from './queue.ts';

const LANES = 3;
const OFFERED = 0;
const TAKEN = 1;
/** More than any consumer can begin at once. */
const MOST = 1_000_000;

/** What is sent to those who accept. */
export interface SharedPlaces {
  counters: Int32Array<SharedArrayBuffer>;
  channels: readonly string[];
  /** How long the claim of a place holds, in ms. */
  claimMs: number;
}

function indexOf(channels: readonly string[], channel: string): number | undefined {
  const index = channels.indexOf(channel);
  return index < 0 ? undefined : LANES + index;
}

/** The consumer's side. */
export class PlaceOffer {
  readonly shared: SharedPlaces;
  /** Of each counter, how many taken places have been filled. */
  readonly #filled: number[];

  constructor(channels: readonly string[], claimMs: number) {
    const slots = LANES + channels.length;
    const counters = new Int32Array(new SharedArrayBuffer(slots * 8));
    this.shared = { counters, channels: [...channels], claimMs };
    this.#filled = Array.from({ length: slots }, () => 0);
  }

  /** From now on this many more may be taken; what was offered before and is not taken is withdrawn. */
  offer({ lanes, channel }: PlaceCounts): void {
    lanes.forEach((count, lane) => {
      this.#offer(lane, count);
    });
    this.shared.channels.forEach((name, i) => {
      this.#offer(LANES + i, channel(name));
    });
  }

  #offer(slot: number, count: number): void {
    const { counters } = this.shared;
    const places = Math.floor(Math.max(0, Math.min(MOST, count)));
    Atomics.store(counters, slot * 2 + OFFERED, Atomics.load(counters, slot * 2 + TAKEN) + places);
  }

  /** What has been taken and not filled. */
  expected(): PlaceCounts {
    return {
      lanes: [this.#expected(0), this.#expected(1), this.#expected(2)],
      channel: (name) => this.#expected(indexOf(this.shared.channels, name)),
    };
  }

  #expected(slot: number | undefined): number {
    if (slot === undefined) return 0;
    const taken = Atomics.load(this.shared.counters, slot * 2 + TAKEN);
    return Math.max(0, (taken - (this.#filled[slot] as number)) | 0);
  }

  /** An entry has arrived. */
  filled(lane: Lane, channel: string): void {
    this.#fill(lane);
    const slot = indexOf(this.shared.channels, channel);
    if (slot !== undefined) this.#fill(slot);
  }

  #fill(slot: number): void {
    this.#filled[slot] = ((this.#filled[slot] as number) + 1) | 0;
  }
}

/** Takes a place; false when none is offered. To be filled, or given back. */
export function takePlace(places: SharedPlaces, lane: Lane, channel: string): boolean {
  const ofChannel = indexOf(places.channels, channel);
  if (ofChannel === undefined || !take(places.counters, lane)) return false;
  if (take(places.counters, ofChannel)) return true;
  giveBack(places.counters, lane);
  return false;
}

export function giveBackPlace(places: SharedPlaces, lane: Lane, channel: string): void {
  giveBack(places.counters, lane);
  giveBack(places.counters, indexOf(places.channels, channel) as number);
}

function take(counters: Int32Array<SharedArrayBuffer>, slot: number): boolean {
  const before = Atomics.add(counters, slot * 2 + TAKEN, 1);
  if (((Atomics.load(counters, slot * 2 + OFFERED) - before) | 0) > 0) return true;
  giveBack(counters, slot);
  return false;
}

function giveBack(counters: Int32Array<SharedArrayBuffer>, slot: number): void {
  Atomics.sub(counters, slot * 2 + TAKEN, 1);
}
