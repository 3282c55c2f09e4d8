/** Lists that go by id, newest first: a cursor is the id of the last item, opaque to callers. */
import { ServiceError } from '../errors.ts';

export function readCursor(cursor: string | undefined): number | null {
  if (cursor === undefined) return null;
  const value = Number(Buffer.from(cursor, 'base64url').toString('latin1'));
  if (!Number.isSafeInteger(value) || value < 0 || writeCursor(value) !== cursor) {
    throw new ServiceError('invalid_request', {
      detail: 'query.cursor is not one that this service gave out.',
      errors: [{ path: 'query.cursor', message: 'is not a cursor of this list' }],
    });
  }
  return value;
}

export function writeCursor(id: number): string {
  return Buffer.from(String(id), 'latin1').toString('base64url');
}

/** A page from one more row than was asked for. */
export function pageOf<Row, Item>(
  rows: readonly Row[],
  limit: number,
  options: { id: (row: Row) => number; item: (row: Row) => Item },
): { items: Item[]; next: string | null } {
  const shown = rows.slice(0, limit);
  const last = shown.at(-1);
  return {
    items: shown.map(options.item),
    next: rows.length > limit && last !== undefined ? writeCursor(options.id(last)) : null,
  };
}
