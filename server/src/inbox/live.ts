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
import { type CloseReason, LiveConnection, type LiveSink } from './connection.ts';
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

/** Everybody who listens to one inbox. */
interface Audience {
  key: string;
  connections: LiveConnection[];
  newest: number;
  /** Latest positions that were told, oldest first. */
  recent: number[];
}

/** Where a connection is kept. */
interface Place {
  audience: Audience;
  slot: Set<LiveConnection>;
}

export class InboxHub implements InboxLive {
  readonly #clock: Clock;
  readonly #maxConnections: number;
  readonly #maxConnectionsPerUser: number;
  readonly #maxBufferedBytes: number;
  readonly #audiences = new Map<string, Audience>();
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
    this.#maxBufferedBytes = options.maxBufferedBytes ?? 256 * 1024;
  }

  /** Open connections. */
  get connections(): number {
    return this.#open;
  }

  /**
   * Listens from now on; entries wait in the connection until it goes live.
   * @returns the connection, and what its transport calls once it is gone
   * @throws limited, overloaded, shutting_down
   */
  connect(
    owner: InboxOwner,
    sink: LiveSink,
    { expiresAt }: { expiresAt: number },
  ): { connection: LiveConnection; gone: () => void } {
    const key = keyOf(owner);
    this.#admit(this.#audiences.get(key));
    const audience = this.#audiences.get(key) ?? { key, connections: [], newest: 0, recent: [] };
    this.#audiences.set(key, audience);
    const slot = this.#slots[this.#opened++ % SLOTS] as Set<LiveConnection>;
    const place: Place = { audience, slot };
    const connection = new LiveConnection({
      sink,
      expiresAt,
      maxBufferedBytes: this.#maxBufferedBytes,
      closing: (closed, reason) => this.#close(closed, place, reason),
    });
    audience.connections.push(connection);
    slot.add(connection);
    this.#open++;
    this.#ticker ??= this.#clock.every(HEARTBEAT_MS / SLOTS, () => this.#tick());
    return { connection, gone: () => this.#forget(connection, place) };
  }

  publish(event: InboxEntry | InboxMark): void {
    const audience = this.#audiences.get(keyOf(event));
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
    audience.recent.push(position);
    if (audience.recent.length > RECENT) audience.recent.shift();
    const frame = new SharedFrame('item', item, position);
    for (const connection of this.#listening(audience)) connection.offer(position, frame);
  }

  #tellMark(audience: Audience, { action, items, category, at, counts }: InboxMark): void {
    const marked = new SharedFrame('marked', {
      action,
      items: items === 'all' ? 'all' : [...items],
      category,
      at: new Date(at).toISOString(),
    } satisfies InboxMarked);
    const counted = new SharedFrame('counts', counts);
    for (const connection of this.#listening(audience)) {
      connection.send(marked.in(connection.sink.encoding));
      connection.send(counted.in(connection.sink.encoding));
    }
  }

  /** The connections that may be told something now: nothing is sent past the end of a token. */
  *#listening(audience: Audience): Iterable<LiveConnection> {
    const now = this.#clock.now();
    // From the end, because closing takes a connection out of the list.
    for (let i = audience.connections.length - 1; i >= 0; i--) {
      const connection = audience.connections[i];
      if (connection === undefined) continue;
      if (now >= connection.expiresAt) connection.close('token_expired');
      else yield connection;
    }
  }

  #tick(): void {
    this.#turn = (this.#turn + 1) % SLOTS;
    const now = this.#clock.now();
    for (const connection of this.#slots[this.#turn] as Set<LiveConnection>) {
      if (now >= connection.expiresAt) connection.close('token_expired');
      else connection.sink.heartbeat();
    }
  }

  #close(connection: LiveConnection, place: Place, reason: CloseReason): void {
    this.#take(connection, place);
    const { sink } = connection;
    this.#closing.set(
      connection,
      this.#clock.after(CLOSE_GRACE_MS, () => sink.destroy()),
    );
    sink.close(reason, this.reconnectDelayMs());
  }

  /** The transport is gone, whoever ended it. */
  #forget(connection: LiveConnection, place: Place): void {
    this.#take(connection, place);
    this.#closing.get(connection)?.cancel();
    this.#closing.delete(connection);
    connection.leave();
    if (this.#closing.size === 0 && this.#stopped) this.#gone?.();
  }

  #take(connection: LiveConnection, { audience, slot }: Place): void {
    if (!slot.delete(connection)) return;
    this.#open--;
    audience.connections.splice(audience.connections.indexOf(connection), 1);
    if (audience.connections.length === 0 && this.#audiences.get(audience.key) === audience) {
      this.#audiences.delete(audience.key);
    }
    if (this.#open > 0) return;
    this.#ticker?.cancel();
    this.#ticker = undefined;
  }
}

/** The number comes first, so that no user's name can look like another application's. */
function keyOf({ applicationId, userId }: InboxOwner): string {
  return `${applicationId} ${userId}`;
}
