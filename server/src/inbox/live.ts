/**
 * The live connections of one API thread, by inbox. It is told of what became durable and passes it
 * on; it reads no store (resume.ts) and knows no protocol (event-stream.ts, web-socket.ts). What
 * nobody here listens to costs one look-up.
 */
import type { InboxMarked } from '@tidings/contracts/inbox';
import type {
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

  constructor(options: InboxHubOptions) {
    this.#clock = options.clock;
    this.#maxConnections = options.maxConnections ?? 50_000;
    this.#maxConnectionsPerUser = options.maxConnectionsPerUser ?? 20;
    this.#keeper = {
      maxBufferedBytes: options.maxBufferedBytes ?? 256 * 1024,
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
  connect(owner: InboxOwner, sink: LiveSink, { expiresAt }: { expiresAt: number }): LiveConnection {
    this.#admit(this.#audienceOf(owner));
    const audience = this.#audienceOf(owner) ?? this.#addAudience(owner);
    const slot = this.#opened++ % SLOTS;
    const connection = new LiveConnection({
      keeper: this.#keeper,
      audience,
      slot,
      sink,
      expiresAt,
    });
    audience.connections.push(connection);
    this.#slots[slot]?.add(connection);
    this.#open++;
    this.#ticker ??= this.#clock.every(HEARTBEAT_MS / SLOTS, () => this.#tick());
    return connection;
  }

  publish(event: InboxEntry | InboxMark): void {
    const audience = this.#audienceOf(event);
    if (audience === undefined) return;
    if ('item' in event) this.#tellEntry(audience, event);
    else this.#tellMark(audience, event);
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

  #admit(audience: Audience | undefined): void {
    if (this.#stopped) throw new ServiceError('shutting_down', { retryAfterMs: 1000 });
    if (this.#open >= this.#maxConnections) {
      throw new ServiceError('overloaded', {
        detail: 'There are too many live connections just now.',
        retryAfterMs: LONGEST_RECONNECT_MS,
      });
    }
    if ((audience?.connections.length ?? 0) >= this.#maxConnectionsPerUser) {
      throw new ServiceError('limited', {
        detail: `This user has ${this.#maxConnectionsPerUser} live connections already.`,
        retryAfterMs: HEARTBEAT_MS,
      });
    }
  }

  #tellEntry(audience: Audience, { position, item }: InboxEntry): void {
    if (position > audience.newest) audience.newest = position;
    else if (audience.recent.includes(position)) return;
    audience.recent[audience.next] = position;
    audience.next = (audience.next + 1) % RECENT;
    const frame = new SharedFrame('item', item, position);
    const now = this.#clock.now();
    const { connections } = audience;
    // From the end, because closing takes a connection out of the list.
    for (let i = connections.length - 1; i >= 0; i--) {
      const connection = connections[i] as LiveConnection;
      if (isLeft(connection, now)) connection.offer(position, frame);
    }
  }

  #tellMark(audience: Audience, { action, items, category, at, counts }: InboxMark): void {
    const marked = new SharedFrame('marked', {
      action,
      items: items === 'all' ? 'all' : [...items],
      category,
      at: new Date(at).toISOString(),
    } satisfies InboxMarked);
    const counted = new SharedFrame('counts', counts);
    const now = this.#clock.now();
    for (const connection of [...audience.connections]) {
      if (!isLeft(connection, now)) continue;
      connection.send(marked.in(connection.sink.encoding));
      connection.send(counted.in(connection.sink.encoding));
    }
  }

  #tick(): void {
    this.#turn = (this.#turn + 1) % SLOTS;
    const now = this.#clock.now();
    for (const connection of this.#slots[this.#turn] as Set<LiveConnection>) {
      if (isLeft(connection, now)) connection.sink.heartbeat();
    }
  }

  #close(connection: LiveConnection, reason: CloseReason): void {
    this.#take(connection);
    const { sink } = connection;
    this.#closing.set(
      connection,
      this.#clock.after(CLOSE_GRACE_MS, () => sink.destroy()),
    );
    sink.close(reason, this.reconnectDelayMs());
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

  #dropAudience({ applicationId, userId }: Audience): void {
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
