/**
 * What the engine and the thread of a plug-in say to each other: structured clones, in order. Each
 * attempt has a number that counts up within its thread. The engine takes nothing of what comes out
 * of the thread for granted: the plug-in can write to the same port.
 */
import { type Delivery, RESPONSE_LIMIT } from './provider.ts';

export interface PlugInThreadData {
  /** The plug-in's file. */
  file: string;
  /** Shared memory of MARKS 64-bit integers, read when the thread can no longer say anything. */
  marks: SharedArrayBuffer;
}

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
  | { type: 'refused'; account: number; text: string }
  | { type: 'closed'; account: number }
  | { type: 'outcome'; id: number; outcome: unknown }
  /** `send` threw, or what it returned cannot be cloned. */
  | { type: 'fault'; id: number; text: string }
  | { type: 'pong'; ping: number };

/** The last attempt that was begun. All after it were not. */
export const BEGUN = 0;
/** The attempt whose code runs, or whose code ended the thread; 0 when that is not known. */
export const BLAMED = 1;
/** Not 0 once the engine has given the thread up: it must begin nothing more. */
export const GIVEN_UP = 2;
export const MARKS = 3;

/** An error may be anything, also something that throws when it is looked at. */
export function textOf(error: unknown): string {
  try {
    return String((error as Error | undefined)?.message ?? error).slice(0, RESPONSE_LIMIT);
  } catch {
    return 'an error that cannot be read';
  }
}
