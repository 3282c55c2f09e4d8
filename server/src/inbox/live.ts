/**
 * The live connections of one API thread, by inbox. It is told of what became durable and passes it
 * on; it reads no store (resume.ts, follow.ts) and knows no protocol (event-stream.ts, web-socket.ts). What
 * nobody here listens to costs one look-up.
 */
import type { InboxCounts, InboxMarked } from '@tidings/contracts/inbox';
import type {
  InboxDeparture,
  InboxEntry,
  InboxLive,
  InboxMark,
  InboxOwner,
} from '../adapters/in-app/inbox-store.ts';
import type { Clock, Timer } from '../clock.ts';
import { ServiceError } from '../errors.ts';
import {
  type Audience,
  type CloseReason,
  type ConnectionKeeper,
  LiveConnection,
  type LiveSink,
} from './connection.ts';
import { departureFrame } from './departure.ts';
import { SharedFrame } from './frame.ts';

/** Shorter than the idle time-outs of common proxies (nginx and AWS: 60 s, some mobile networks: 30 s). */
const HEARTBEAT_MS = 15_000;
/** Heartbeats are spread over this many turns, so that none of them is long. */
const SLOTS = 150;
/** Repeated deliveries are told apart from late ones as far back as this. */
const RECENT = 64;
/** What was closed has this long to take its last words. */
const CLOSE_GRACE_MS = 5_000;

/**
 * Connections come back spread over a time that grows with their number, at most 30 s: some 300 a
 * second. A few come back at once.
 */
const LONGEST_RECONNECT_MS = 30_000;
const SHORTEST_RECONNECT_MS = 2_000;
const RECONNECT_MS_PER_CONNECTION = 3;

export interface InboxHubOptions {
  clock: Clock;
  /** Of this thread. */
  maxConnections?: number;
  /** Of one inbox in this thread. */
  maxConnectionsPerUser?: number;
  /** A connection with more than this waiting is closed; its client resumes later. */
  maxBufferedBytes?: number;
}

/** Whoever reads for the hub what nobody tells it: departures, and counts. */
export interface HubFollower {
  /** Ten times a second while there are connections. Never fails, does not wait. */
  look(): void;
  /** There are no connections any more. */
  rest(): void;
}

export class InboxHub implements InboxLive {
  readonly #clock: Clock;
  readonly #maxConnections: number;
  readonly #maxConnectionsPerUser: number;
  readonly #keeper: ConnectionKeeper;
  /** By application and user. */
  readonly #audiences = new Map<number, Map<string, Audience>>();
  readonly #slots: Set<LiveConnection>[] = Array.from({ length: SLOTS }, () => new Set());
  /** Those being closed, until they are gone. */
  readonly #closing = new Map<LiveConnection, Timer>();
  #open = 0;
  #opened = 0;
  #turn = 0;
  #ticker: Timer | undefined;
  #stopped = false;
  /** How many connections a stop ended: they all come back. */
  #sentAway = 0;
  #gone: (() => void) | undefined;
  /** Inboxes whose counts may be other ones than were told. */
  readonly #stale = new Set<Audience>();
  #followed = 0;
  #follower: HubFollower | undefined;

  constructor(options: InboxHubOptions) {
    this.#clock = options.clock;
    this.#maxConnections = options.maxConnections ?? 50_000;
    this.#maxConnectionsPerUser = options.maxConnectionsPerUser ?? 20;
    const hub = this;
    this.#keeper = {
      maxBufferedBytes: options.maxBufferedBytes ?? 256 * 1024,
      get followed() {
        return hub.#followed;
      },
      wentLive: ({ audience }) => this.#stale.add(audience),
      close: (connection, reason) => this.#close(connection, reason),
      forget: (connection) => this.#forget(connection),
    };
  }

  /** Open connections. */
  get connections(): number {
    return this.#open;
  }

  /**
   * Listens from now on; entries wait in the connection until it goes live. Its transport calls
   * `gone` when it has ended.
   * @throws limited, overloaded, shutting_down
   */
  connect(
    owner: InboxOwner,
    sink: LiveSink,
    { expiresAt, generation }: { expiresAt: number; generation: number },
  ): LiveConnection {
    this.admit(owner);
    const audience = this.#audienceOf(owner) ?? this.#addAudience(owner);
    const slot = this.#opened++ % SLOTS;
    const connection = new LiveConnection({
      keeper: this.#keeper,
      audience,
      slot,
      sink,
      expiresAt,
      generation,
    });
    audience.connections.push(connection);
    this.#slots[slot]?.add(connection);
    this.#open++;
    this.#ticker ??= this.#clock.every(HEARTBEAT_MS / SLOTS, () => this.#tick());
    return connection;
  }

  /** Whether another connection may come. @throws what `connect` does */
  admit(owner: InboxOwner): void {
    if (this.#stopped) throw new ServiceError('shutting_down', { retryAfterMs: 1000 });
    if (this.#open >= this.#maxConnections) {
      throw new ServiceError('overloaded', {
        detail: 'There are too many live connections just now.',
        retryAfterMs: LONGEST_RECONNECT_MS,
      });
    }
    if ((this.#audienceOf(owner)?.connections.length ?? 0) >= this.#maxConnectionsPerUser) {
      throw new ServiceError('limited', {
        detail: `This user has ${this.#maxConnectionsPerUser} live connections already.`,
        retryAfterMs: HEARTBEAT_MS,
      });
    }
  }

  publish(event: InboxEntry | InboxMark): void {
    const audience = this.#audienceOf(event);
    if (audience === undefined) return;
    if ('item' in event) this.#tellEntry(audience, event);
    else this.#tellMark(audience, event);
  }

  follow(follower: HubFollower): void {
    this.#follower = follower;
  }

  /** Departures of all inboxes, in their order; there are no others up to `position`. */
  depart(departures: readonly InboxDeparture[], position: number): void {
    for (const departure of departures) {
      const audience = this.#audienceOf(departure);
      if (audience !== undefined) this.#tellDeparture(audience, departure);
    }
    this.#followed = position;
  }

  /** Ends every connection, because it cannot be told what it missed. */
  lose(): void {
    for (const slot of this.#slots) for (const connection of slot) connection.close('unavailable');
  }

  /** Takes the inboxes whose counts must be told anew, as far as their entries lie at or below `position`. */
  takeStale(position: number): Audience[] {
    const stale = [...this.#stale].filter(({ newest }) => newest <= position);
    for (const audience of stale) this.#stale.delete(audience);
    return stale;
  }

  /** What `takeStale` gave, with the counts read since then; without them they stay to be told. */
  tellCounts(audience: Audience, counts: InboxCounts | undefined): void {
    if (audience.connections.length === 0) return;
    if (counts === undefined) return void this.#stale.add(audience);
    const frame = new SharedFrame('counts', counts);
    for (const connection of this.#left(audience)) {
      if (connection.live) connection.sendCounts(frame);
    }
  }

  /** How long a client should wait before it connects again, when this connection is lost. */
  reconnectDelayMs(): number {
    const coming = Math.max(this.#open, this.#sentAway);
    const spread = Math.max(SHORTEST_RECONNECT_MS, coming * RECONNECT_MS_PER_CONNECTION);
    return Math.ceil(this.#clock.random() * Math.min(LONGEST_RECONNECT_MS, spread));
  }

  /** Sends everybody away, each with a time of its own to come back. Resolves when all are gone. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#sentAway = this.#open;
    for (const slot of this.#slots)
      for (const connection of slot) connection.close('shutting_down');
    if (this.#closing.size === 0) return;
    await new Promise<void>((resolve) => {
      const before = this.#gone;
      this.#gone = () => {
        before?.();
        resolve();
      };
    });
  }

  #tellEntry(audience: Audience, { position, item }: InboxEntry): void {
    if (position > audience.newest) audience.newest = position;
    else if (audience.recent.includes(position)) return;
    audience.recent[audience.next] = position;
    audience.next = (audience.next + 1) % RECENT;
    this.#stale.add(audience);
    const frame = new SharedFrame('item', item);
    for (const connection of this.#left(audience)) connection.offer(position, frame);
  }

  #tellMark(audience: Audience, { action, items, category, at, counts }: InboxMark): void {
    const marked = new SharedFrame('marked', {
      action,
      items: items === 'all' ? 'all' : [...items],
      category,
      at: new Date(at).toISOString(),
      replacedBy: null,
    } satisfies InboxMarked);
    const counted = new SharedFrame('counts', counts);
    // Of two marks in two threads, the counts that come last need not be the newer ones.
    this.#stale.add(audience);
    for (const connection of this.#left(audience)) {
      connection.send(marked);
      connection.sendCounts(counted);
    }
  }

  #tellDeparture(audience: Audience, departure: InboxDeparture): void {
    const { position } = departure;
    if (departure.kind === 'cleared') {
      for (const connection of [...audience.connections]) {
        if (connection.generation < position) connection.close('user_removed');
      }
      return;
    }
    this.#stale.add(audience);
    if (departure.items.length === 0) return;
    const frame = departureFrame(departure);
    for (const connection of this.#left(audience)) connection.offerDeparture(position, frame);
  }

  /** The connections of an inbox; those whose token has ended are closed instead. */
  #left({ connections }: Audience): LiveConnection[] {
    const now = this.#clock.now();
    return [...connections].filter((connection) => isLeft(connection, now));
  }

  #tick(): void {
    this.#turn = (this.#turn + 1) % SLOTS;
    const now = this.#clock.now();
    for (const connection of this.#slots[this.#turn] as Set<LiveConnection>) {
      if (isLeft(connection, now)) connection.sink.heartbeat();
    }
    if (this.#open > 0) this.#follower?.look();
  }

  #close(connection: LiveConnection, reason: CloseReason): void {
    this.#take(connection);
    const { sink } = connection;
    this.#closing.set(
      connection,
      this.#clock.after(CLOSE_GRACE_MS, () => sink.destroy()),
    );
    // To a user who was removed every token is refused: there is no time to come back.
    sink.close(reason, reason === 'user_removed' ? undefined : this.reconnectDelayMs());
  }

  #forget(connection: LiveConnection): void {
    this.#take(connection);
    this.#closing.get(connection)?.cancel();
    this.#closing.delete(connection);
    if (this.#closing.size === 0 && this.#stopped) this.#gone?.();
  }

  /** Nothing is told to it from here on. */
  #take(connection: LiveConnection): void {
    if (!this.#slots[connection.slot]?.delete(connection)) return;
    this.#open--;
    const { audience } = connection;
    audience.connections.splice(audience.connections.indexOf(connection), 1);
    if (audience.connections.length === 0) this.#dropAudience(audience);
    if (this.#open > 0) return;
    this.#ticker?.cancel();
    this.#ticker = undefined;
    this.#follower?.rest();
  }

  #audienceOf({ applicationId, userId }: InboxOwner): Audience | undefined {
    return this.#audiences.get(applicationId)?.get(userId);
  }

  #addAudience({ applicationId, userId }: InboxOwner): Audience {
    const audience = { applicationId, userId, connections: [], newest: 0, recent: [], next: 0 };
    const users = this.#audiences.get(applicationId) ?? new Map<string, Audience>();
    this.#audiences.set(applicationId, users.set(userId, audience));
    return audience;
  }

  #dropAudience(audience: Audience): void {
    this.#stale.delete(audience);
    const { applicationId, userId } = audience;
    const users = this.#audiences.get(applicationId);
    users?.delete(userId);
    if (users?.size === 0) this.#audiences.delete(applicationId);
  }
}

/** Nothing is sent past the end of a token: a connection that has reached it is closed instead. */
function isLeft(connection: LiveConnection, now: number): boolean {
  if (now < connection.expiresAt) return true;
  connection.close('token_expired');
  return false;
}
