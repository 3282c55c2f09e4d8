/**
 * How a connection gets from where its client was to now, without a gap and without a repeat: it
 * listens first, then reads what the store has behind the client's position, then goes live.
 */
import type { InboxReady } from '@tidings/contracts/inbox';
import type { InboxOwner, InboxStore } from '../adapters/in-app/inbox-store.ts';
import type { Clock } from '../clock.ts';
import type { LiveConnection } from './connection.ts';

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
  lastPosition: number | undefined;
  clock: Clock;
  /** Told of what kept a connection from catching up. */
  failed(error: unknown): void;
}

/** Never fails: a connection that cannot catch up is closed, and its client resumes later. */
export async function catchUp(resume: Resume): Promise<void> {
  const { inbox, owner, connection, lastPosition } = resume;
  try {
    let floor =
      lastPosition === undefined
        ? await inbox.position(owner)
        : await resumeFrom(resume, lastPosition);
    const counts = await inbox.counts(owner);
    const expiresAt = new Date(connection.expiresAt).toISOString();
    for (;;) {
      const ready: InboxReady = { position: floor, expiresAt };
      if (
        connection.goLive(floor, [
          ['ready', ready, floor],
          ['counts', counts],
        ])
      )
        return;
      floor = await replay(resume, floor);
    }
  } catch (error) {
    connection.close('unavailable');
    resume.failed(error);
  }
}

/** A position from before the store was restored from a backup lies in the future: begin now. */
async function resumeFrom(resume: Resume, lastPosition: number): Promise<number> {
  const newest = await resume.inbox.position(resume.owner);
  return lastPosition > newest ? newest : replay(resume, lastPosition);
}

/** Sends everything behind a position and returns the last one. */
async function replay({ inbox, owner, connection, clock }: Resume, from: number): Promise<number> {
  let floor = from;
  for (;;) {
    const entries = await inbox.since(owner, floor, PAGE);
    for (const entry of entries) {
      if (!connection.open) return floor;
      connection.replay(entry);
      floor = entry.position;
      if (connection.sink.bufferedBytes > WAITING_BYTES) await taken(connection, clock);
    }
    if (entries.length < PAGE) return floor;
  }
}

/** Waits until the client has taken what was sent, so that a long replay needs little memory. */
async function taken(connection: LiveConnection, clock: Clock): Promise<void> {
  const stalled = clock.after(LONGEST_STALL_MS, () => connection.close('slow_reader'));
  await connection.sink.drained();
  stalled.cancel();
}
