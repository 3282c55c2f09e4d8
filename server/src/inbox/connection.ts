/**
 * One live connection to an inbox, whatever carries it.
 *
 * catching up ──goLive──► live ──close──► closing ──ended──► gone
 *
 * While it catches up, new entries wait in a bounded buffer; when that is full they are forgotten
 * and the connection remembers that it has to read them from the store. Live, an entry goes out at
 * once. An entry at or below `floor` was covered by the catching up. One below the newest that was
 * sent is late (its delivery was repeated after a failure): it goes out without its position, so
 * that resuming neither repeats what came after it nor leaves it out.
 */
import type { ClosingReason } from '@tidings/contracts/inbox';
import type { InboxEntry } from '../adapters/in-app/inbox-store.ts';
import { type Encoding, frameOf, type LiveEventType, type SharedFrame } from './frame.ts';

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
  /** Says why and ends in good order. */
  close(reason: CloseReason, retryAfterMs: number): void;
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
}

interface WaitingEntry {
  position: number;
  frame: SharedFrame;
}

export class LiveConnection {
  readonly sink: LiveSink;
  readonly audience: Audience;
  readonly slot: number;
  readonly expiresAt: number;
  readonly #keeper: ConnectionKeeper;
  #open = true;
  /** Undefined once it is live. */
  #waiting: WaitingEntry[] | undefined = [];
  #waitingBytes = 0;
  #missed = false;
  #floor = 0;
  #last = 0;

  constructor({ keeper, audience, slot, sink, expiresAt }: ConnectionOptions) {
    this.#keeper = keeper;
    this.audience = audience;
    this.slot = slot;
    this.sink = sink;
    this.expiresAt = expiresAt;
  }

  /** False as soon as it is being closed. */
  get open(): boolean {
    return this.#open;
  }

  /** An entry that has just become durable. */
  offer(position: number, frame: SharedFrame): void {
    if (this.#waiting === undefined) this.#sendEntry(position, frame);
    else this.#wait(position, frame);
  }

  /** An event that has no place in the order. */
  send(frame: string): void {
    if (!this.#open) return;
    this.sink.write(frame);
    this.#checkBuffer();
  }

  /** An entry read from the store while catching up. The caller minds how much is waiting. */
  replay({ position, item }: InboxEntry): void {
    if (!this.#open) return;
    this.sink.write(frameOf(this.sink.encoding, 'item', JSON.stringify(item), position));
  }

  /**
   * Sends `opening` and what came while it was catching up; from here on entries go out at once.
   * @param floor everything up to this position was sent or is not wanted
   * @returns false when entries were forgotten: read from `floor` on, then try again
   */
  goLive(
    floor: number,
    opening: readonly [type: LiveEventType, data: unknown, position?: number][],
  ): boolean {
    const waiting = this.#waiting;
    if (!this.#open || waiting === undefined) return true;
    if (this.#missed) {
      this.#missed = false;
      return false;
    }
    this.#floor = floor;
    this.#last = floor;
    this.#waiting = undefined;
    for (const [type, data, position] of opening) {
      this.sink.write(frameOf(this.sink.encoding, type, JSON.stringify(data), position));
    }
    for (const { position, frame } of waiting) this.#sendEntry(position, frame);
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
    const { encoding } = this.sink;
    if (position > this.#last) {
      this.#last = position;
      this.sink.write(frame.in(encoding));
    } else {
      this.sink.write(frame.withoutPosition(encoding));
    }
    this.#checkBuffer();
  }

  #wait(position: number, frame: SharedFrame): void {
    this.#waitingBytes += frame.in(this.sink.encoding).length;
    if (this.#waitingBytes > this.#keeper.maxBufferedBytes) {
      this.#missed = true;
      this.#waiting = [];
      this.#waitingBytes = 0;
    } else {
      this.#waiting?.push({ position, frame });
    }
  }

  #checkBuffer(): void {
    if (this.sink.bufferedBytes > this.#keeper.maxBufferedBytes) this.close('slow_reader');
  }
}
