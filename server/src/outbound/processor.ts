/**
 * The claim loop: takes entries from its lanes, claims a group at a time in the store, delivers
 * each, stores what came of it. It decides when and how much; deliver.ts decides what happens.
 *
 *   queue → lane buffers → claim (a group) → deliver (each) → complete (a group) → free the place
 *
 * While nothing waits, the free places are offered to those who accept (queue.ts): what comes with
 * one has been claimed and is delivered at once.
 *
 * A message whose earlier claim was never completed may have killed its process. Such suspects are
 * delivered a few at a time, and those that have died twice one at a time, so that one poisonous
 * message takes no neighbour with it again and again.
 */
import type { Clock, Timer } from '../clock.ts';
import { failpoint } from '../failpoint.ts';
import type { Service } from '../lifecycle.ts';
import type { Lane } from '../notification/notification.ts';
import {
  claimedAnew,
  type NotificationStore,
  type QueueEntry,
} from '../notification/notification-store.ts';
import type { Queue, QueueConsumer } from '../queue/queue.ts';
import type { Completer } from './completer.ts';
import type { Deliver } from './deliver.ts';
import { LaneBuffer } from './lane-buffer.ts';
import { divide, freeSlots, type LaneShares } from './lane-share.ts';

/** Entries per claim: past some 64 the share of the commit no longer shrinks. */
const GROUP = 64;
/** Claims under way at once: one being committed, one waiting for it. */
const CLAIMS = 2;
/** A claim that has lost this much of its time on the way is made anew: it might end before the attempt. */
const LATE_MS = 5_000;
/** What has died once is most likely a bystander of one crash. */
const SUSPECTS_AT_ONCE = 16;
/** What has died more than once waits this long after a start, in which all others have their turn. */
const SUSPECT_PAUSE_MS = 1000;
const LANES_IN_ORDER = [0, 1, 2] as const;

export interface ProcessorOptions {
  store: NotificationStore;
  queue: Queue;
  deliver: Deliver;
  completer: Completer;
  /** How many attempts a channel can begin now; for a channel that is not decided yet, unlimited. */
  capacity(channel: string): number;
  clock: Clock;
  shares: LaneShares;
  laneCapacity: number;
  /** How long a claim holds: longer than any attempt can take. */
  claimMs: number;
}

export interface Processor extends Service, QueueConsumer {
  readonly underWay: readonly [number, number, number];
  readonly waiting: readonly [number, number, number];
  /** Lanes of which the queue has lost entries; cleared by whoever fetched them from the store. */
  readonly incomplete: Set<Lane>;
  /** Looks whether something can be begun; called when capacity may have returned. */
  pump(): void;
}

/** Attempts that were begun and never ended. */
function deathsOf({ attempt, attemptsBefore }: QueueEntry): number {
  return attempt - attemptsBefore;
}

export function createProcessor(options: ProcessorOptions): Processor {
  const { store, queue, deliver, completer, capacity, clock, shares, claimMs } = options;
  const buffers = LANES_IN_ORDER.map(() => new LaneBuffer(options.laneCapacity));
  /** By their message, since a lease may run out while one waits here. */
  const suspects = new Map<number, QueueEntry>();
  const underWay: [number, number, number] = [0, 0, 0];
  const incomplete = new Set<Lane>();
  /** Entries per channel that are being claimed: their account does not know of them yet. */
  const spoken = new Map<string, number>();
  /** Claims and deliveries under way, and who waits for their end. */
  let working = 0;
  let idle: (() => void) | undefined;
  let claims = 0;
  /** Entries of medium and low that could have begun by their guaranteed share and have not. */
  const owed: [number, number, number] = [0, 0, 0];
  /** Messages being delivered here. Their claims run out by the clock of the day, which may jump. */
  const attempted = new Set<number>();
  let suspectsUnderWay = 0;
  let scheduled = false;
  let stopping = false;
  let timer: Timer | undefined;
  let startedAt = 0;

  function buffer(lane: Lane): LaneBuffer {
    return buffers[lane] as LaneBuffer;
  }

  function schedule(): void {
    if (scheduled || stopping) return;
    scheduled = true;
    setImmediate(() => {
      scheduled = false;
      pump();
    });
  }

  function pump(): void {
    if (stopping) return;
    beginSuspects();
    while (claims < CLAIMS) {
      const group = nextGroup();
      if (group.length === 0) break;
      begin(group);
    }
    offer();
  }

  /** Half of what is free, so that what comes back for another attempt finds a place too; nothing while others wait. */
  function offer(): void {
    const waits = incomplete.size > 0 || buffers.some(({ size }) => size > 0);
    const busy = busyPlaces();
    const half = (count: number): number => (waits ? 0 : count >> 1);
    queue.offer({
      lanes: LANES_IN_ORDER.map((lane) => half(freeSlots(lane, busy, shares))) as [
        number,
        number,
        number,
      ],
      channel: (channel) => half(Math.min(unspoken(channel), 1 << 20)),
    });
  }

  /** Places that are filled or will be by what is on its way. */
  function busyPlaces(): [number, number, number] {
    const { lanes } = queue.expected();
    return [underWay[0] + lanes[0], underWay[1] + lanes[1], underWay[2] + lanes[2]];
  }

  function nextGroup(): QueueEntry[] {
    const waiting = LANES_IN_ORDER.map((lane) => buffer(lane).size) as [number, number, number];
    if (waiting[0] + waiting[1] + waiting[2] === 0) return [];
    const busy = busyPlaces();
    const free = LANES_IN_ORDER.map((lane) =>
      Math.min(waiting[lane], freeSlots(lane, busy, shares)),
    );
    const places = Math.max(0, Math.min(GROUP, shares.concurrency - busy[0] - busy[1] - busy[2]));
    const parts = divide(places, free as [number, number, number], shares);
    const group: QueueEntry[] = [];
    // What the others are owed comes first: a channel may have no more places than high could fill.
    for (const lane of [1, 2] as const) {
      if (waiting[lane] === 0) owed[lane] = 0;
      const taken = take(lane, Math.min(Math.floor(owed[lane]), parts[lane]), group);
      owed[lane] -= taken;
      parts[lane] -= taken;
    }
    for (const lane of LANES_IN_ORDER) take(lane, parts[lane], group);
    owed[1] = Math.min(GROUP, owed[1] + group.length * shares.guaranteedMedium);
    owed[2] = Math.min(GROUP, owed[2] + group.length * shares.guaranteedLow);
    return group;
  }

  /** Moves entries of a lane to a group, no more than their channels can begin. */
  function take(lane: Lane, most: number, group: QueueEntry[]): number {
    const from = group.length;
    const taken = buffer(lane).take(most, unspoken, group);
    for (let i = from; i < group.length; i++) {
      const { channel } = group[i] as QueueEntry;
      spoken.set(channel, (spoken.get(channel) ?? 0) + 1);
    }
    underWay[lane] += taken;
    return taken;
  }

  /** What a channel can begin besides what has been claimed for it and what is on its way with a place. */
  function unspoken(channel: string): number {
    return capacity(channel) - (spoken.get(channel) ?? 0) - queue.expected().channel(channel);
  }

  function begin(group: QueueEntry[]): void {
    claims++;
    working++;
    void claimAndDeliver(group).finally(finished);
  }

  function finished(): void {
    if (--working === 0) idle?.();
  }

  async function claimAndDeliver(group: QueueEntry[]): Promise<void> {
    const until = clock.now() + claimMs;
    let held: boolean[];
    try {
      held = await store.claim(group.map(({ messageId, claim }) => ({ messageId, claim, until })));
    } catch {
      // The store is away. The rows keep their lease; they come back by the sweeper.
      held = [];
      for (const { lane } of group) incomplete.add(lane);
    }
    failpoint('after-claim');
    claims--;
    group.forEach((entry, i) => {
      // Delivery asks its account for a place before it first waits for anything.
      spoken.set(entry.channel, (spoken.get(entry.channel) ?? 1) - 1);
      if (held[i]) run(entry);
      else underWay[entry.lane]--;
    });
    schedule();
  }

  function beginClaimed(entry: QueueEntry, until: number): void {
    if (until - clock.now() < claimMs - LATE_MS) {
      buffer(entry.lane).add(claimedAnew(entry));
      return;
    }
    failpoint('after-claim');
    underWay[entry.lane]++;
    run(entry);
  }

  function run(entry: QueueEntry): void {
    working++;
    void deliverOne(entry).finally(() => {
      underWay[entry.lane]--;
      schedule();
      finished();
    });
  }

  async function deliverOne(entry: QueueEntry): Promise<void> {
    attempted.add(entry.messageId);
    try {
      await completer.complete(await deliver(entry), entry.watched);
    } finally {
      attempted.delete(entry.messageId);
    }
  }

  /** What has died most often comes last, so that the others wait for one more end of it at most; urgent first. */
  function sortSuspects(): void {
    const sorted = [...suspects].sort(
      ([, a], [, b]) => deathsOf(a) - deathsOf(b) || a.lane - b.lane,
    );
    suspects.clear();
    for (const [id, entry] of sorted) suspects.set(id, entry);
  }

  function beginSuspects(): void {
    for (const entry of suspects.values()) {
      const lone = deathsOf(entry) > 1;
      if (suspectsUnderWay >= (lone ? 1 : SUSPECTS_AT_ONCE) || (lone && mustPause())) return;
      suspects.delete(entry.messageId);
      suspectsUnderWay++;
      underWay[entry.lane]++;
      working++;
      void claimAndDeliverSuspect(entry).finally(() => {
        suspectsUnderWay--;
        underWay[entry.lane]--;
        schedule();
        finished();
      });
    }
  }

  function mustPause(): boolean {
    return clock.monotonic() - startedAt < SUSPECT_PAUSE_MS;
  }

  async function claimAndDeliverSuspect(entry: QueueEntry): Promise<void> {
    const { messageId, claim } = entry;
    const [held] = await store
      .claim([{ messageId, claim, until: clock.now() + claimMs }])
      .catch(() => [false]);
    if (held) await deliverOne(entry);
  }

  return {
    name: 'processor',
    underWay,
    get waiting() {
      return LANES_IN_ORDER.map((lane) => buffer(lane).size) as [number, number, number];
    },
    incomplete,
    pump: schedule,
    room: (lane) => (stopping ? 0 : buffer(lane).room),
    take(lane, entries, settle) {
      let suspected = false;
      for (const entry of entries) {
        if (attempted.has(entry.messageId)) continue;
        if (entry.claimedUntil !== null) beginClaimed(entry, entry.claimedUntil);
        else if (!entry.suspect) buffer(lane).add(entry);
        else {
          suspects.set(entry.messageId, entry);
          suspected = true;
        }
      }
      if (suspected) sortSuspects();
      // The store knows each of them, and its sweeper finds what is lost here.
      settle();
      schedule();
    },
    missed(lane) {
      incomplete.add(lane);
    },
    async start() {
      startedAt = clock.monotonic();
      queue.consume(this);
      // Rate limits and breakers let go by time alone, without an event to wake up on.
      timer = clock.every(20, schedule);
    },
    async stop() {
      stopping = true;
      timer?.cancel();
      // A claim that is under way becomes a delivery, which is finished too.
      if (working === 0) return;
      await new Promise<void>((resolve) => {
        idle = resolve;
      });
    },
  };
}
