/**
 * One live connection to an inbox, whatever carries it.
 *
 * catching up ──goLive──► live ──close──► closing ──ended──► gone
 *
 * While it catches up, new entries wait in a bounded buffer; when that is full they are forgotten
 * and the connection remembers that it has to read them from the store. Live, an entry goes out at
 * once. An entry at or below `floor` was covered by the catching up. One below the newest that was
 * sent is late (its delivery was repeated after a failure): it goes out without its position, so
 * that resuming neither repeats what came after it nor leaves it out. Departures are told in their
 * order, which is another one (position.ts).
 */
import type { ClosingReason, InboxCounts, InboxReady } from '@tidings/contracts/inbox';
import type { InboxEntry } from '../adapters/in-app/inbox-store.ts';
import { type Encoding, frameOf, SharedFrame } from './frame.ts';
import { type InboxPosition, writePosition } from './position.ts';

export type CloseReason = ClosingReason | 'slow_reader';

/** What carries a connection: writes text, and knows how much of it is still waiting. */
export interface LiveSink {
  readonly encoding: Encoding;
  /** Takes a frame for sending; those of one turn may go out together. */
  write(frame: string): void;
  /** Bytes (about) that were taken and that the kernel has not. */
  readonly bufferedBytes: number;
  /** Resolves when little is waiting any more, or when the connection is gone. */
  drained(): Promise<void>;
  /** A sign of life, for proxies and to find out about a lost peer. */
  heartbeat(): void;
  /** Says why and ends in good order. @param retryAfterMs undefined when there is nothing to come back to */
  close(reason: CloseReason, retryAfterMs: number | undefined): void;
  /** Ends at once. */
  destroy(): void;
}

/** Everybody who listens to one inbox, by the hub of their thread. */
export interface Audience {
  applicationId: number;
  userId: string;
  connections: LiveConnection[];
  /** The greatest position that was told. */
  newest: number;
  /** The latest positions that were told, oldest first from `next` on. */
  recent: number[];
  next: number;
}

/** The hub of a connection. */
export interface ConnectionKeeper {
  readonly maxBufferedBytes: number;
  /** Departures up to here were told to every live connection. */
  readonly followed: number;
  /** The connection was told counts that may be of a moment ago. */
  wentLive(connection: LiveConnection): void;
  /** Forgets the connection and closes its sink. */
  close(connection: LiveConnection, reason: CloseReason): void;
  /** The other side is gone. */
  forget(connection: LiveConnection): void;
}

export interface ConnectionOptions {
  keeper: ConnectionKeeper;
  audience: Audience;
  /** When it gets its heartbeats. */
  slot: number;
  sink: LiveSink;
  /** ms since 1970. */
  expiresAt: number;
  /** Of the inbox that its token was made for. */
  generation: number;
}

interface WaitingEvent {
  kind: 'item' | 'departure';
  position: number;
  frame: SharedFrame;
}

export class LiveConnection {
  readonly sink: LiveSink;
  readonly audience: Audience;
  readonly slot: number;
  readonly expiresAt: number;
  readonly generation: number;
  readonly #keeper: ConnectionKeeper;
  #open = true;
  /** Undefined once it is live. */
  #waiting: WaitingEvent[] | undefined = [];
  #waitingBytes = 0;
  #missed = false;
  #floor = 0;
  readonly #last: InboxPosition = { item: 0, departure: 0 };
  /** The counts that were told last, as JSON. */
  #counts = '';

  constructor({ keeper, audience, slot, sink, expiresAt, generation }: ConnectionOptions) {
    this.#keeper = keeper;
    this.audience = audience;
    this.slot = slot;
    this.sink = sink;
    this.expiresAt = expiresAt;
    this.generation = generation;
  }

  /** False as soon as it is being closed. */
  get open(): boolean {
    return this.#open;
  }

  /** True when it has caught up. */
  get live(): boolean {
    return this.#open && this.#waiting === undefined;
  }

  /** An entry that has just become durable. */
  offer(position: number, frame: SharedFrame): void {
    if (this.#waiting === undefined) this.#sendEntry(position, frame);
    else this.#wait({ kind: 'item', position, frame });
  }

  /** Items that have left; departures come in their order. */
  offerDeparture(position: number, frame: SharedFrame): void {
    if (this.#waiting === undefined) this.#sendDeparture(position, frame);
    else this.#wait({ kind: 'departure', position, frame });
  }

  /** An event that has no place in the order. */
  send(frame: SharedFrame): void {
    if (!this.#open) return;
    this.sink.write(frame.in(this.sink.encoding));
    this.#checkBuffer();
  }

  /** Counts, unless they are what was told last. */
  sendCounts(frame: SharedFrame): void {
    if (this.#counts === frame.data) return;
    this.#counts = frame.data;
    this.send(frame);
  }

  /** An entry read from the store while catching up. The caller minds how much is waiting. */
  replay({ item }: InboxEntry, at: InboxPosition): void {
    if (!this.#open) return;
    this.sink.write(frameOf(this.sink.encoding, 'item', JSON.stringify(item), writePosition(at)));
  }

  replayDeparture(frame: SharedFrame, at: InboxPosition): void {
    if (!this.#open) return;
    this.sink.write(frame.in(this.sink.encoding, writePosition(at)));
  }

  /**
   * Says that it is ready and sends what came while it was catching up; from here on entries go out
   * at once.
   * @param floor everything up to this position was sent or is not wanted
   * @returns false when events were forgotten: read from `floor` on, then try again
   */
  goLive(
    floor: InboxPosition,
    { resumed, counts }: { resumed: boolean; counts: InboxCounts },
  ): boolean {
    const waiting = this.#waiting;
    if (!this.#open || waiting === undefined) return true;
    if (this.#missed) {
      this.#missed = false;
      return false;
    }
    this.#floor = floor.item;
    this.#last.item = floor.item;
    this.#last.departure = floor.departure;
    this.#waiting = undefined;
    const position = writePosition(floor);
    const expiresAt = new Date(this.expiresAt).toISOString();
    const ready = JSON.stringify({ position, resumed, expiresAt } satisfies InboxReady);
    this.sink.write(frameOf(this.sink.encoding, 'ready', ready, position));
    this.#counts = '';
    this.sendCounts(new SharedFrame('counts', counts));
    for (const event of waiting) {
      if (event.kind === 'item') this.#sendEntry(event.position, event.frame);
      else this.#sendDeparture(event.position, event.frame);
    }
    if (this.#open) this.#keeper.wentLive(this);
    return true;
  }

  close(reason: CloseReason): void {
    if (!this.#open) return;
    this.#open = false;
    this.#waiting = undefined;
    this.#keeper.close(this, reason);
  }

  /** Called by the transport when the other side is gone, whoever ended it. */
  gone(): void {
    this.#open = false;
    this.#waiting = undefined;
    this.#keeper.forget(this);
  }

  #sendEntry(position: number, frame: SharedFrame): void {
    if (!this.#open || position <= this.#floor) return;
    const isLate = position <= this.#last.item;
    if (!isLate) this.#last.item = position;
    this.#write(frame, isLate ? undefined : this.#position());
  }

  #sendDeparture(position: number, frame: SharedFrame): void {
    if (!this.#open || position <= this.#last.departure) return;
    this.#last.departure = position;
    this.#write(frame, this.#position());
  }

  #write(frame: SharedFrame, position: string | undefined): void {
    this.sink.write(frame.in(this.sink.encoding, position));
    this.#checkBuffer();
  }

  #position(): string {
    const { item, departure } = this.#last;
    return writePosition({ item, departure: Math.max(departure, this.#keeper.followed) });
  }

  #wait(event: WaitingEvent): void {
    this.#waitingBytes += event.frame.data.length;
    if (this.#waitingBytes > this.#keeper.maxBufferedBytes) {
      this.#missed = true;
      this.#waiting = [];
      this.#waitingBytes = 0;
    } else {
      this.#waiting?.push(event);
    }
  }

  #checkBuffer(): void {
    if (this.sink.bufferedBytes > this.#keeper.maxBufferedBytes) this.close('slow_reader');
  }
}
