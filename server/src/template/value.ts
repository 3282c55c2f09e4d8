/**
 * The values templates work with: how they are reached, copied, compared and turned into text.
 * Both ways of rendering (parts.ts and liquid.ts) use these functions and no others, which is
 * what makes them agree.
 *
 * Data is JSON, but nothing here depends on that: only data properties that the object itself
 * has are read, through their descriptors, so no getter, `toString`, `toJSON`, `toLiquid` or
 * iterator of the data ever runs.
 */
import { Drop, toValue } from 'liquidjs';
import { RENDER_LIMITS, RenderLimitError, type Work } from './work.ts';

/** What the data's own property holds; undefined for a getter and for what is inherited. */
export function ownValue(object: object, key: PropertyKey): unknown {
  return Object.getOwnPropertyDescriptor(object, key)?.value;
}

/**
 * One step of a variable's path. Besides own properties there are `size` (of strings, arrays
 * and objects), and `first`, `last` and negative indexes of arrays.
 */
export function readMember(value: unknown, key: string | number, work: Work): unknown {
  if (typeof value === 'string') return key === 'size' ? value.length : undefined;
  if (typeof value !== 'object' || value === null) return undefined;
  if (Array.isArray(value)) return readItem(value, key);
  const own = Object.getOwnPropertyDescriptor(value, key);
  if (own !== undefined) return own.value;
  return key === 'size' ? countKeys(value, work) : undefined;
}

function countKeys(object: object, work: Work): number {
  const { length } = Object.keys(object);
  work.list(length);
  return length;
}

function readItem(array: unknown[], key: string | number): unknown {
  if (key === 'size') return array.length;
  if (key === 'first') return ownValue(array, 0);
  if (key === 'last') return ownValue(array, array.length - 1);
  return ownValue(array, typeof key === 'number' && key < 0 ? array.length + key : key);
}

/** The member of the data that a variable's path begins with. */
export function readRoot(data: unknown, key: string | number): unknown {
  return typeof data === 'object' && data !== null ? ownValue(data, key) : undefined;
}

export function readPath(data: unknown, path: readonly (string | number)[], work: Work): unknown {
  let value = readRoot(data, path[0] as string | number);
  for (let i = 1; i < path.length && value !== undefined; i++) {
    value = readMember(value, path[i] as string | number, work);
  }
  return value;
}

/**
 * The value with nothing in it but strings, numbers, booleans, null, arrays, and objects
 * without a prototype. What JSON has no form for becomes undefined.
 */
export function plainCopy(value: unknown, work: Work, depth = 0): unknown {
  if (typeof value !== 'object' || value === null) return plainScalar(value);
  if (depth >= RENDER_LIMITS.dataDepth) {
    throw new RenderLimitError(`uses data nested deeper than ${RENDER_LIMITS.dataDepth}`);
  }
  if (Array.isArray(value)) {
    work.visit(value.length);
    const copy: unknown[] = [];
    for (let i = 0; i < value.length; i++) {
      copy.push(plainCopy(ownValue(value, i), work, depth + 1));
    }
    return copy;
  }
  const copy: Record<string, unknown> = Object.create(null);
  const keys = Object.keys(value);
  work.list(keys.length);
  for (const key of keys) copy[key] = plainCopy(ownValue(value, key), work, depth + 1);
  return copy;
}

function plainScalar(value: unknown): unknown {
  const hasForm = typeof value === 'string' || typeof value === 'number' || value === null;
  return hasForm || typeof value === 'boolean' ? value : undefined;
}

/** A value of a template without the objects by which liquidjs represents `empty`, `nil` or `forloop`. */
export function withoutDrop(value: unknown): unknown {
  return value instanceof Drop ? toValue(value) : value;
}

/**
 * The text of a value: nothing for null and undefined, JSON for arrays and objects.
 * Objects must come from `plainCopy`.
 */
export function toText(value: unknown, work: Work): string {
  if (typeof value === 'string') return value;
  if (value === undefined || value === null) return '';
  if (typeof value === 'object') {
    return value instanceof Drop ? toText(toValue(value), work) : toJson(value, work);
  }
  return String(value);
}

/** JSON of a value from `plainCopy`. Filters can nest an array in itself over and over, so each visit is paid for. */
export function toJson(value: unknown, work: Work): string {
  const json = JSON.stringify(value, (_key, member) => {
    work.use(typeof member === 'string' ? member.length : 8);
    return withoutDrop(member);
  });
  return json ?? 'null';
}

const ENTITIES: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&#34;',
  "'": '&#39;',
};

/** Text for HTML content or a quoted attribute. */
export function escapeHtml(text: string, work: Work): string {
  work.use(text.length);
  if (!/[&<>"']/.test(text)) return text;
  const escaped = text.replace(/[&<>"']/g, (character) => ENTITIES[character] as string);
  work.use(escaped.length);
  return escaped;
}

/** Equality in templates: arrays by their elements, all else by identity. */
export function isSame(left: unknown, right: unknown, work: Work): boolean {
  work.spend(1);
  if (typeof left === 'string' && typeof right === 'string') work.use(left.length);
  if (!Array.isArray(left) || !Array.isArray(right)) return left === right;
  return (
    left.length === right.length &&
    left.every((element, i) => isSame(withoutDrop(element), withoutDrop(right[i]), work))
  );
}
