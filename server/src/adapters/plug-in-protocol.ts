/**
 * What the engine and the process of a plug-in say to each other: frames of structured clones over two
 * pipes, one each way, in order. Each attempt has a number that counts up within its process. The engine
 * takes nothing of what comes out of the process for granted: the plug-in can write to the same pipe.
 *
 * A third pipe is never written to: its end tells the process that the engine is gone, however it went.
 * Beside them is a file of MARKS 64-bit integers that both have open: it says what the process last did
 * also when it can no longer say anything.
 */
import { deserialize, serialize } from 'node:v8';
import { type Delivery, RESPONSE_LIMIT } from './provider.ts';

/** Numbers of the files that the process is started with. */
export const FROM_ENGINE = 3;
export const TO_ENGINE = 4;
export const LIFELINE = 5;
export const MARKS_FILE = 6;

/** Bytes of what the process of plug-in-trial.ts is given to sign its lines with: a UUID. */
export const TRIAL_WORD_LENGTH = 36;

/** What the process may say at once: outcomes are small, and the engine has to hold a frame in whole. */
export const FRAME_LIMIT = 256 * 1024;
const HEADER = 4;

export type ToPlugIn =
  | { type: 'open'; account: number; accountId: string; config: unknown }
  | { type: 'close'; account: number }
  | { type: 'send'; id: number; account: number; delivery: Delivery<never>; held: boolean }
  | { type: 'abort'; id: number; name: string; message: string }
  /** What `isHeld` answers from now on. */
  | { type: 'held'; id: number; held: boolean }
  | { type: 'ping'; ping: number };

export type FromPlugIn =
  | { type: 'ready' }
  /** `create` threw: every attempt of the account will. */
  | { type: 'refused'; account: number; text: string; stack: string | undefined }
  | { type: 'closed'; account: number }
  | { type: 'outcome'; id: number; outcome: unknown }
  /** `send` threw, or what it returned cannot be cloned or is too large. */
  | { type: 'fault'; id: number; text: string; stack: string | undefined }
  | { type: 'pong'; ping: number }
  /** The last word before the end: what nobody caught. */
  | { type: 'crashed'; text: string };

/** The last attempt that was begun. All after it were not. */
export const BEGUN = 0;
/** The attempt whose code runs, or whose code ended the process; 0 when that is not known. */
export const BLAMED = 1;
/** Not 0 when its guard ended it because of its memory. */
export const TOO_LARGE = 2;
export const MARKS = 3;
export const MARK_BYTES = BigInt64Array.BYTES_PER_ELEMENT;

/** @throws DataCloneError when it is no plain data */
export function frameOf(message: ToPlugIn | FromPlugIn): Buffer {
  const body = serialize(message);
  const frame = Buffer.allocUnsafe(HEADER + body.length);
  frame.writeUInt32LE(body.length, 0);
  frame.set(body, HEADER);
  return frame;
}

/** Puts frames together from what comes out of a pipe. */
export class FrameReader {
  readonly #limit: number;
  #chunks: Buffer[] = [];
  #length = 0;

  /** @param limit of a frame, in bytes */
  constructor(limit = Number.POSITIVE_INFINITY) {
    this.#limit = limit;
  }

  /** The messages that are complete by now. @throws Error when one is larger than the limit, or is none */
  *read(chunk: Buffer): Generator<unknown, void, undefined> {
    this.#chunks.push(chunk);
    this.#length += chunk.length;
    if (this.#length < this.#needed()) return;
    let rest = this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks);
    while (rest.length >= HEADER) {
      const end = HEADER + this.#checked(rest.readUInt32LE(0));
      if (rest.length < end) break;
      yield deserialize(rest.subarray(HEADER, end));
      rest = rest.subarray(end);
    }
    this.#chunks = rest.length > 0 ? [rest] : [];
    this.#length = rest.length;
  }

  /** Bytes up to the end of the next frame, as far as its header is there. */
  #needed(): number {
    const [first] = this.#chunks;
    if (first === undefined || first.length < HEADER) return HEADER;
    return HEADER + this.#checked(first.readUInt32LE(0));
  }

  #checked(length: number): number {
    if (length > this.#limit) throw new Error(`${length} bytes at once`);
    return length;
  }
}

/** An error may be anything, also something that throws when it is looked at. */
export function textOf(error: unknown): string {
  try {
    return String((error as Error | undefined)?.message ?? error).slice(0, RESPONSE_LIMIT);
  } catch {
    return 'an error that cannot be read';
  }
}
