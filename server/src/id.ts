/**
 * Ids of notifications and messages: 53-bit integers that grow with time, so that they are
 * cheap keys of append-only tables (a random key costs four times as much, see
 * docs/decisions) and fit a JavaScript number.
 *
 *   31 bits  seconds since 2026-01-01
 *   22 bits  sequence within the second; in cluster mode its upper 6 bits are the writer's slot
 *
 * Outside the service an id is opaque text: a prefix and 11 characters of Crockford base32,
 * which sort like the numbers.
 */

const EPOCH_MS = Date.UTC(2026, 0, 1);
const SEQUENCE = 2 ** 22;
const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';
const LENGTH = 11;

const VALUES = new Map([...ALPHABET].map((character, value) => [character, value]));

export type IdPrefix = 'ntf' | 'msg' | 'key' | 'whe';

/** First id of the second in which `timeMs` lies. */
export function firstIdAt(timeMs: number): number {
  return Math.max(0, Math.floor((timeMs - EPOCH_MS) / 1000)) * SEQUENCE;
}

/** Start of the second in which the id was made, in ms since 1970. */
export function timeOfId(id: number): number {
  return Math.floor(id / SEQUENCE) * 1000 + EPOCH_MS;
}

/** Hands out ids that only ever grow, also when the wall clock goes back. One per writer. */
export class IdSequence {
  readonly #now: () => number;
  #last: number;

  /** @param last the greatest id handed out so far, from the store */
  constructor(now: () => number, last = 0) {
    this.#now = now;
    this.#last = last;
  }

  /** Reserves `count` consecutive ids and returns the first, which is of the given time or later. */
  take(count = 1, at = this.#now()): number {
    const first = Math.max(this.#last + 1, firstIdAt(at));
    this.#last = first + count - 1;
    return first;
  }
}

/** All texts of ten bits, since an answer names several ids and a division of large numbers is slow. */
const PAIRS = Array.from(ALPHABET, (high) => Array.from(ALPHABET, (low) => high + low)).flat();

export function formatId(prefix: IdPrefix, id: number): string {
  const high = Math.floor(id / 2 ** 30);
  const low = id - high * 2 ** 30;
  return `${prefix}_${ALPHABET[high >> 20]}${PAIRS[(high >> 10) & 1023]}${PAIRS[high & 1023]}${PAIRS[low >> 20]}${PAIRS[(low >> 10) & 1023]}${PAIRS[low & 1023]}`;
}

/** The number in an id of this prefix, or undefined when the text is no such id. */
export function parseId(prefix: IdPrefix, text: string): number | undefined {
  if (text.length !== prefix.length + 1 + LENGTH || !text.startsWith(`${prefix}_`))
    return undefined;
  let id = 0;
  for (let i = prefix.length + 1; i < text.length; i++) {
    const value = VALUES.get(text[i] as string);
    if (value === undefined) return undefined;
    id = id * 32 + value;
  }
  return Number.isSafeInteger(id) ? id : undefined;
}
