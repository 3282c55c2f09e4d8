/**
 * Which idempotency keys are known, in memory, in front of append-only rows: a B-tree of random
 * keys would cost more than the rest of an accept together.
 *
 * Open addressing over typed arrays (12 bytes a slot: 32 bits of the digest and the row's number
 * as a double), in segments by age. A segment that is full is sealed and never changes again, so
 * nothing is ever rehashed; the oldest is dropped when all its rows have outlived the retention.
 * A hit is only a candidate: the caller compares the row. Which of 32 segments are worth a look is
 * read from a filter with a bit for each of them: to look into every one cost more than the row.
 *
 * Sealed segments are kept as files beside the database, so that a start reads them instead of
 * every row. A file that is missing or damaged only costs the reading of its rows.
 */
import { hash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';

const SMALLEST_SLOTS = 2 ** 14;
const LARGEST_SLOTS = 2 ** 18;
const FULL_AT = 0.7;

/** 32 bits of a base64url digest; never 0, which marks an empty slot. */
function fingerprint(digest: string): number {
  let value = 0x811c9dc5;
  for (let i = 0; i < 12; i++) value = Math.imul(value ^ digest.charCodeAt(i), 0x01000193);
  return (value ^ (value >>> 15)) >>> 0 || 1;
}

/** As many segments as an integer has bits share one filter. */
const BITS = 32;
/** 8 MB for the six million keys of its segments: one look in some 140 is in vain. Untouched pages take no memory. */
const CELL_BITS = 21;
const CELLS = 2 ** CELL_BITS;

/**
 * In which of its segments a key may be: it leaves the segment's bit in two cells. Bits of keys that
 * were taken back or forgotten stay; they cost a look in vain.
 */
class Filter {
  readonly #cells = new Uint32Array(CELLS);
  /** By bit; undefined is one that was dropped. */
  readonly #segments: (Segment | undefined)[] = [];

  get full(): boolean {
    return this.#segments.length === BITS;
  }

  get empty(): boolean {
    return this.#segments.every((segment) => segment === undefined);
  }

  join(segment: Segment): void {
    segment.bit = this.#segments.push(segment) - 1;
    for (const mark of segment.marks) if (mark !== 0) this.note(mark, segment.bit);
  }

  drop(segment: Segment): void {
    if (this.#segments[segment.bit] === segment) this.#segments[segment.bit] = undefined;
  }

  note(mark: number, bit: number): void {
    const one = mark & (CELLS - 1);
    const other = mark >>> (32 - CELL_BITS);
    this.#cells[one] = (this.#cells[one] as number) | (1 << bit);
    this.#cells[other] = (this.#cells[other] as number) | (1 << bit);
  }

  /** Newest first. */
  collect(mark: number, rows: number[]): void {
    const one = this.#cells[mark & (CELLS - 1)] as number;
    let bits = one & (this.#cells[mark >>> (32 - CELL_BITS)] as number);
    while (bits !== 0) {
      const bit = BITS - 1 - Math.clz32(bits);
      bits ^= 1 << bit;
      this.#segments[bit]?.collect(mark, rows);
    }
  }
}

class Segment {
  readonly slots: number;
  readonly marks: Uint32Array;
  readonly rows: Float64Array;
  count = 0;
  /** First and last row in it. */
  first = 0;
  last = 0;
  /** Time of the newest row, ms since 1970. */
  newestAt = 0;
  /** Its place in its filter. */
  bit = 0;

  constructor(slots: number, marks = new Uint32Array(slots), rows = new Float64Array(slots)) {
    this.slots = slots;
    this.marks = marks;
    this.rows = rows;
  }

  get full(): boolean {
    return this.count >= this.slots * FULL_AT;
  }

  add(mark: number, row: number, at: number): void {
    let slot = mark & (this.slots - 1);
    while (this.marks[slot] !== 0) slot = (slot + 1) & (this.slots - 1);
    this.marks[slot] = mark;
    this.rows[slot] = row;
    this.count++;
    this.first ||= row;
    this.last = Math.max(this.last, row);
    this.newestAt = Math.max(this.newestAt, at);
  }

  remove(mark: number, row: number): void {
    // Only the newest entries are ever removed (a rolled-back group), in reverse order, so no
    // other entry can have been placed behind the slot.
    let slot = mark & (this.slots - 1);
    while (this.marks[slot] !== 0) {
      if (this.marks[slot] === mark && this.rows[slot] === row) {
        this.marks[slot] = 0;
        this.count--;
        return;
      }
      slot = (slot + 1) & (this.slots - 1);
    }
  }

  collect(mark: number, rows: number[]): void {
    let slot = mark & (this.slots - 1);
    while (this.marks[slot] !== 0) {
      if (this.marks[slot] === mark) rows.push(this.rows[slot] as number);
      slot = (slot + 1) & (this.slots - 1);
    }
  }
}

export class IdempotencyIndex {
  readonly #folder: string | undefined;
  /** Oldest first; the last one takes new entries. */
  #segments: Segment[] = [];
  /** Oldest first; the last one has the segment that takes new entries. */
  #filters: Filter[] = [];
  #uncommitted: { segment: Segment; mark: number; row: number }[] = [];

  /** @param folder where sealed segments are kept; undefined keeps none (tests) */
  constructor(folder: string | undefined) {
    this.#folder = folder;
    this.#append(new Segment(SMALLEST_SLOTS));
  }

  #append(segment: Segment): void {
    if (this.#filters.at(-1)?.full !== false) this.#filters.push(new Filter());
    this.#segments.push(segment);
    this.#filters.at(-1)?.join(segment);
  }

  /** Rows that may belong to this key, newest first. */
  candidates(digest: string): number[] {
    const mark = fingerprint(digest);
    const rows: number[] = [];
    for (let i = this.#filters.length - 1; i >= 0; i--)
      (this.#filters[i] as Filter).collect(mark, rows);
    return rows;
  }

  add(digest: string, row: number, at: number): void {
    const last = this.#segments.at(-1) as Segment;
    if (last.full) this.#append(new Segment(Math.min(last.slots * 4, LARGEST_SLOTS)));
    const segment = this.#segments.at(-1) as Segment;
    const mark = fingerprint(digest);
    segment.add(mark, row, at);
    this.#filters.at(-1)?.note(mark, segment.bit);
    this.#uncommitted.push({ segment, mark, row });
  }

  /** The rows added since the last call are durable. */
  committed(): void {
    this.#uncommitted.length = 0;
  }

  /** The rows added since `committed` do not exist. */
  rolledBack(): void {
    for (const { segment, mark, row } of this.#uncommitted.reverse()) segment.remove(mark, row);
    this.#uncommitted = [];
  }

  /**
   * Forgets sealed segments whose newest row is older than `before` or, by a clock that was wrong, later
   * than `after` (ms since 1970).
   */
  expire(before: number, after: number): void {
    const current = this.#segments.pop() as Segment;
    this.#segments = this.#segments.filter((segment) => {
      if (segment.newestAt >= before && segment.newestAt <= after) return true;
      for (const filter of this.#filters) filter.drop(segment);
      if (this.#folder) rmSync(fileOf(this.#folder, segment.first), { force: true });
      return false;
    });
    this.#segments.push(current);
    this.#filters = this.#filters.filter((filter) => !(filter.full && filter.empty));
  }

  /** Writes sealed segments that are not kept yet. Cheap when there is none. */
  save(): void {
    if (!this.#folder) return;
    try {
      mkdirSync(this.#folder, { recursive: true });
      for (const segment of this.#segments.slice(0, -1)) {
        const path = fileOf(this.#folder, segment.first);
        if (existsSync(path)) continue;
        writeFileSync(`${path}.part`, encode(segment));
        renameSync(`${path}.part`, path);
      }
    } catch {
      // A full disk, a folder that may not be written: the next call tries again, a start reads the rows.
    }
  }

  /**
   * Reads kept segments. Returns the last row they cover without a gap from the first; rows after it
   * must be added. Segments that know rows beyond `newestRow` are from another time of the file (a
   * backup was put back): they are removed.
   */
  load(oldestRow: number, newestRow: number): number {
    if (!this.#folder || !existsSync(this.#folder)) return oldestRow - 1;
    const kept = readdirSync(this.#folder)
      .filter((name) => name.endsWith('.segment'))
      .map((name) => decode(join(this.#folder as string, name)))
      .filter((segment) => segment !== undefined)
      .sort((a, b) => a.first - b.first);
    const usable: Segment[] = [];
    let covered = oldestRow - 1;
    for (const segment of kept) {
      if (segment.last < oldestRow || segment.last > newestRow) {
        rmSync(fileOf(this.#folder, segment.first), { force: true });
      } else if (segment.first <= covered + 1) {
        usable.push(segment);
        covered = segment.last;
      }
    }
    const largest = usable.length > 0 ? LARGEST_SLOTS : SMALLEST_SLOTS;
    this.#segments = [];
    this.#filters = [];
    for (const segment of [...usable, new Segment(largest)]) this.#append(segment);
    return covered;
  }
}

function fileOf(folder: string, first: number): string {
  return join(folder, `${String(first).padStart(16, '0')}.segment`);
}

const HEADER_NUMBERS = 5;

function encode(segment: Segment): Buffer {
  const header = Float64Array.of(
    segment.slots,
    segment.count,
    segment.first,
    segment.last,
    segment.newestAt,
  );
  const body = Buffer.concat([bytesOf(header), bytesOf(segment.marks), bytesOf(segment.rows)]);
  return Buffer.concat([Buffer.from(hash('sha256', body), 'hex'), body]);
}

function decode(path: string): Segment | undefined {
  let file: Buffer<ArrayBuffer>;
  try {
    file = readFileSync(path);
  } catch {
    // Whatever it is, it is no segment; its rows are read instead.
    return undefined;
  }
  const body = file.subarray(32);
  if (hash('sha256', body) !== file.subarray(0, 32).toString('hex')) return undefined;
  const copy = body.buffer.slice(body.byteOffset, body.byteOffset + body.byteLength);
  const [slots, count, first, last, newestAt] = new Float64Array(
    copy,
    0,
    HEADER_NUMBERS,
  ) as unknown as [number, number, number, number, number];
  const marksAt = HEADER_NUMBERS * 8;
  const segment = new Segment(
    slots,
    new Uint32Array(copy.slice(marksAt, marksAt + slots * 4)),
    new Float64Array(copy.slice(marksAt + slots * 4)),
  );
  Object.assign(segment, { count, first, last, newestAt });
  return segment;
}

function bytesOf(array: Float64Array | Uint32Array): Buffer {
  return Buffer.from(array.buffer, array.byteOffset, array.byteLength);
}
