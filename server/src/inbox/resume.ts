/**
 * How a connection gets from where its client was to now, without a gap and without a repeat: it
 * listens first, then reads what the store has behind the client's position, then goes live.
 */
import type { InboxOwner, InboxStore } from '../adapters/in-app/inbox-store.ts';
import type { Clock } from '../clock.ts';
import type { LiveConnection } from './connection.ts';
import { departureFrame } from './departure.ts';
import type { InboxPosition } from './position.ts';

/** Items read at once; each is at most 64 KiB. */
const PAGE = 100;
/** While this much is waiting for the client, no more of a replay is sent. */
const WAITING_BYTES = 64 * 1024;
/** A client that takes nothing for this long while it catches up is gone or hopeless. */
const LONGEST_STALL_MS = 30_000;

export interface Resume {
  inbox: InboxStore;
  owner: InboxOwner;
  connection: LiveConnection;
  /** The client's position, or undefined to begin with what comes now. */
  lastPosition: InboxPosition | undefined;
  /** Resolves when departures are followed for this connection. */
  followed(): Promise<void>;
  clock: Clock;
  /** Told of what kept a connection from catching up. */
  failed(error: unknown): void;
}

/** Never fails: a connection that cannot catch up is closed, and its client resumes later. */
export async function catchUp(resume: Resume): Promise<void> {
  const { inbox, owner, connection } = resume;
  try {
    await resume.followed();
    // Emptied between the look at the token and the connection: nobody else would tell it.
    if ((await inbox.generation(owner)) > connection.generation) {
      return connection.close('user_removed');
    }
    let { floor, resumed } = await start(resume);
    const counts = await inbox.counts(owner);
    while (!connection.goLive(floor, { resumed, counts })) {
      const next = await replay(resume, floor);
      resumed &&= next !== undefined;
      floor = next ?? (await beginning(inbox));
    }
  } catch (error) {
    connection.close('unavailable');
    resume.failed(error);
  }
}

async function beginning(inbox: InboxStore): Promise<InboxPosition> {
  const position = await inbox.position();
  return { item: position, departure: position };
}

/** A position from before the store was restored from a backup lies in the future: begin now. */
async function start(resume: Resume): Promise<{ floor: InboxPosition; resumed: boolean }> {
  const { inbox, lastPosition } = resume;
  const now = await beginning(inbox);
  if (lastPosition === undefined) return { floor: now, resumed: false };
  const isFuture = lastPosition.item > now.item || lastPosition.departure > now.departure;
  const floor = isFuture ? undefined : await replay(resume, lastPosition);
  return { floor: floor ?? now, resumed: floor !== undefined };
}

/**
 * Sends everything behind a position and returns the last one: items as they are now, then what left
 * meanwhile. Undefined when it is not known any more what left.
 */
async function replay(resume: Resume, from: InboxPosition): Promise<InboxPosition | undefined> {
  const item = await replayItems(resume, from);
  return replayDepartures(resume, { ...from, item });
}

async function replayItems(
  { inbox, owner, connection, clock }: Resume,
  from: InboxPosition,
): Promise<number> {
  let { item } = from;
  for (;;) {
    const entries = await inbox.since(owner, item, PAGE);
    for (const entry of entries) {
      if (!connection.open) return item;
      item = entry.position;
      connection.replay(entry, { ...from, item });
      if (connection.sink.bufferedBytes > WAITING_BYTES) await taken(connection, clock);
    }
    if (entries.length < PAGE) return item;
  }
}

async function replayDepartures(
  { inbox, owner, connection, clock }: Resume,
  from: InboxPosition,
): Promise<InboxPosition | undefined> {
  let at = from;
  for (;;) {
    const { departures, position, complete } = await inbox.departures(owner, at.departure, PAGE);
    if (!complete) return undefined;
    for (const departure of departures) {
      if (!connection.open) return at;
      at = { ...at, departure: departure.position };
      if (departure.kind === 'cleared' || departure.items.length === 0) continue;
      connection.replayDeparture(departureFrame(departure), at);
      if (connection.sink.bufferedBytes > WAITING_BYTES) await taken(connection, clock);
    }
    at = { ...at, departure: position };
    if (departures.length < PAGE) return at;
  }
}

/** Waits until the client has taken what was sent, so that a long replay needs little memory. */
async function taken(connection: LiveConnection, clock: Clock): Promise<void> {
  const stalled = clock.after(LONGEST_STALL_MS, () => connection.close('slow_reader'));
  await connection.sink.drained();
  stalled.cancel();
}
