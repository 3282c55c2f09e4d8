/**
 * What a query must be beyond its schema: text that can be decoded, each parameter once, times that begin
 * before they end, and a cursor of this very list. What a cursor points at is page.ts's and key-page.ts's.
 */
import type { FastifyRequest } from 'fastify';
import { type FieldError, invalid } from '../../errors.ts';

/** Lists whose cursors look alike; each cursor begins with the name of its list. */
export type List =
  | 'api-keys'
  | 'applications'
  | 'categories'
  | 'dead-letters'
  | 'messages'
  | 'templates'
  | 'users'
  | 'versions'
  | 'webhook-endpoints';

/** The cursor without the name of its list. @throws invalid_request when it is of another one */
export function cursorOf(list: List, cursor: string | undefined): string | undefined {
  if (cursor === undefined) return undefined;
  const prefix = `${list}.`;
  if (cursor.startsWith(prefix)) return cursor.slice(prefix.length);
  throw invalid('invalid_request', [
    { path: 'query.cursor', message: 'is not a cursor of this list: pass its `next` as it is' },
  ]);
}

/** The page with a cursor that only this list takes back. */
export function pageIn<Page extends { next: string | null }>(list: List, page: Page): Page {
  return page.next === null ? page : { ...page, next: `${list}.${page.next}` };
}

/**
 * A range of times in ms since 1970; its end is not in it.
 * @throws invalid_time with the path of the fault below `part`: `query.from`
 */
export function rangeOf(
  { from, to }: { from?: string; to?: string },
  part: 'query' | 'body',
): { from: number | undefined; to: number | undefined } {
  const errors: FieldError[] = [];
  const timeOf = (text: string | undefined, name: string): number | undefined => {
    if (text === undefined) return undefined;
    const at = Date.parse(text);
    if (Number.isNaN(at))
      errors.push({ path: `${part}.${name}`, message: 'is not a time that exists' });
    return at;
  };
  const range = { from: timeOf(from, 'from'), to: timeOf(to, 'to') };
  if (range.from !== undefined && range.to !== undefined && range.from > range.to) {
    errors.push({ path: `${part}.from`, message: 'must not be later than to' });
  }
  if (errors.length > 0) throw invalid('invalid_time', errors);
  return range;
}

/**
 * A hook for routes that take free text: the framework leaves what it cannot decode as it stands,
 * and `?user=%ff` would ask for a user of that name.
 */
export async function readableQuery(request: FastifyRequest): Promise<void> {
  checkDecodable(request.raw.url ?? '');
}

function checkDecodable(url: string): void {
  const start = url.indexOf('?') + 1;
  if (start === 0 || !url.includes('%', start)) return;
  for (const parameter of url.slice(start).split('&')) {
    const end = parameter.indexOf('=');
    const name = decoded(end < 0 ? parameter : parameter.slice(0, end));
    if (name === undefined || decoded(parameter.slice(end + 1)) === undefined) {
      const path = name === undefined ? 'query' : `query.${name}`;
      throw invalid('invalid_request', [{ path, message: 'is not percent-encoded UTF-8' }]);
    }
  }
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
