/** Lists that go by a key people chose: a cursor is the key of the last item, opaque to callers. */
import { KEY_PATTERN } from '@tidings/contracts/common';
import { invalid } from '../errors.ts';

const KEY = new RegExp(KEY_PATTERN);

export function readKeyCursor(cursor: string | undefined): string | null {
  if (cursor === undefined) return null;
  const key = Buffer.from(cursor, 'base64url').toString('latin1');
  if (KEY.test(key) && writeKeyCursor(key) === cursor) return key;
  throw invalid('invalid_request', [
    { path: 'query.cursor', message: 'is not a cursor of this list' },
  ]);
}

function writeKeyCursor(key: string): string {
  return Buffer.from(key, 'latin1').toString('base64url');
}

/** A page from one more item than was asked for. */
export function keyPageOf<Item extends { key: string }>(
  found: readonly Item[],
  limit: number,
): { items: Item[]; next: string | null } {
  const items = found.slice(0, limit);
  const last = items.at(-1);
  return { items, next: found.length > limit && last ? writeKeyCursor(last.key) : null };
}
