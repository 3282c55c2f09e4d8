/**
 * One file as a disk may hold it (power-loss.ts has the rules): what is certain, and the changes
 * since that may or may not have reached it.
 */
const PAGE = 4096;
const SECTOR = 512;

export interface Change {
  /** Where it begins; of a truncation, the new length. */
  offset: number;
  /** undefined is a truncation. */
  data: Buffer | undefined;
  /** False while the call is under way. */
  done: boolean;
  /** A sync has failed to write it and no other one will. */
  forgotten: boolean;
}

export class File {
  #content = Buffer.alloc(0);
  #size = 0;
  /** In the order in which they began, since the last sync. */
  pending: Change[] = [];
  /** Grows whenever what is certain changes. */
  version = 0;

  get durable(): Buffer {
    return this.#content.subarray(0, this.#size);
  }

  /** These changes are on the disk, and with them the pages they are on as the program sees them. */
  commit(changes: ReadonlySet<Change>): void {
    if (changes.size === 0) return;
    const pages = new Set(touchedPages([...changes], this.#size));
    let left: Change[] = [];
    for (const change of this.pending) {
      if (changes.has(change)) {
        this.#apply(change);
        // What lay beyond the new end is gone, written or not.
        if (!change.data) left = left.filter(({ offset }) => offset < change.offset);
      } else if (change.forgotten) {
        const parts = byPage(change);
        for (const part of parts) if (pages.has(pageOf(part))) this.#apply(part);
        left.push(...parts.filter((part) => !pages.has(pageOf(part))));
      } else {
        left.push(change);
      }
    }
    this.pending = left;
    this.version++;
  }

  #apply({ offset, data }: Pick<Change, 'offset' | 'data'>): void {
    const end = data ? Math.max(this.#size, offset + data.length) : offset;
    if (end > this.#content.length) {
      const larger = Buffer.alloc(Math.max(end, this.#content.length * 2));
      this.#content.copy(larger, 0, 0, this.#size);
      this.#content = larger;
    }
    if (data) data.copy(this.#content, offset);
    else if (offset < this.#size) this.#content.fill(0, offset, this.#size);
    this.#size = end;
  }

  /** With some of the pending changes: any pages, some of them torn between two states. */
  torn(random: () => number): Buffer {
    const { durable, pending } = this;
    if (pending.length === 0) return durable;
    // The length is a matter of its own: zeros where it grew without its pages.
    const size = sizeAfter(durable.length, pending.slice(0, moment(pending.length, random)));
    const result = Buffer.alloc(size);
    durable.subarray(0, size).copy(result);
    for (const page of touchedPages(pending, durable.length)) {
      if (page * PAGE >= size) continue;
      const state = this.#stateAfter(page, random() < 0.4 ? 0 : moment(pending.length, random));
      if (random() < 0.5) {
        tear(state, this.#stateAfter(page, moment(pending.length, random)), random);
      }
      state.copy(result, page * PAGE);
    }
    return result;
  }

  /** A page after so many of the pending changes. */
  #stateAfter(page: number, count: number): Buffer {
    const state = Buffer.alloc(PAGE);
    this.durable.subarray(page * PAGE, (page + 1) * PAGE).copy(state);
    for (const { offset, data } of this.pending.slice(0, count)) {
      overlay(state, page * PAGE, offset, data);
    }
    return state;
  }
}

function pageOf({ offset }: Pick<Change, 'offset'>): number {
  return Math.floor(offset / PAGE);
}

/** A write as one for each page. */
function byPage(change: Change): Change[] {
  const { offset, data } = change;
  if (!data) return [change];
  return touchedPages([change], 0).map((page) => {
    const from = Math.max(offset, page * PAGE);
    return {
      ...change,
      offset: from,
      data: data.subarray(from - offset, (page + 1) * PAGE - offset),
    };
  });
}

function tear(state: Buffer, other: Buffer, random: () => number): void {
  for (let at = 0; at < PAGE; at += SECTOR) {
    if (random() < 0.5) other.copy(state, at, at, at + SECTOR);
  }
}

function sizeAfter(size: number, changes: readonly Change[]): number {
  return changes.reduce(
    (now, { offset, data }) => (data ? Math.max(now, offset + data.length) : offset),
    size,
  );
}

/** How many of the changes have happened: often all, else any number. */
function moment(count: number, random: () => number): number {
  return random() < 0.5 ? count : Math.floor(random() * (count + 1));
}

function overlay(state: Buffer, pageAt: number, offset: number, data: Buffer | undefined): void {
  if (!data) return void state.fill(0, Math.min(PAGE, Math.max(0, offset - pageAt)));
  const from = Math.max(offset, pageAt);
  const to = Math.min(offset + data.length, pageAt + PAGE);
  if (from < to) data.copy(state, from - pageAt, from - offset, to - offset);
}

/** @param size how far a truncation reaches */
function touchedPages(pending: readonly Pick<Change, 'offset' | 'data'>[], size: number): number[] {
  const pages = new Set<number>();
  for (const { offset, data } of pending) {
    const end = data ? offset + data.length : size;
    for (let page = Math.floor(offset / PAGE); page * PAGE < end; page++) pages.add(page);
  }
  return [...pages];
}
