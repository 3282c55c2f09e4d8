/**
 * JSON bodies, stricter than JSON.parse: what two readers could understand differently, or what
 * would hurt code behind it, is refused before anything else sees it.
 *
 * Refused: bytes that are no UTF-8, more members than anybody sends, numbers past the largest, integers that lose digits, duplicate
 * keys, nesting deeper than MAX_DEPTH, `__proto__` and `constructor.prototype`, lone surrogates and
 * NUL in any text. Costs about as much as the parse itself.
 *
 * A body is JSON when its media type is `application/json` or ends in `+json` (RFC 6839, 3.1), so that
 * a PATCH may call itself `application/merge-patch+json` (RFC 7396), which is what it is. What the type
 * promises beyond JSON counts for nothing: the schema of the route says what a body must hold, so a JSON
 * Patch, which is a list, is refused like any other list.
 */
import { isUtf8 } from 'node:buffer';
import { ServiceError } from '../errors.ts';

/** Deeper than any honest message; shallow enough that no recursive code behind it overflows. */
export const MAX_DEPTH = 32;

/**
 * Members of all objects, and objects and lists, in one body. Reading that many takes some 10 ms, in which
 * nobody else is answered; bodies as large with fewer and longer texts take a tenth of it.
 */
export const MOST_MEMBERS = 20_000;

/**
 * Integers beyond it would come out as others (2^53 + 1 as 2^53). All are refused, also those that
 * happen to be kept: who sends ids learns it from the first and not from every second one.
 */
const LARGEST_INTEGER = Number.MAX_SAFE_INTEGER;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COLON = 0x3a;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;

/** Bytes that are no UTF-8 would become U+FFFD, and with it another message than was sent. */
export function decodeStrict(bytes: Buffer): string {
  if (!isUtf8(bytes)) throw refuse('body', 'is not UTF-8');
  return bytes.toString('utf8');
}

export function parseStrictJson(text: string): unknown {
  const members = scan(text);
  // Without an escape or a broken pair anywhere, no text in it can have NUL or half a pair.
  const plain = !text.includes('\\u') && text.isWellFormed();
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw refuse('body', `is not JSON${placeOf(error as Error, text)}`);
  }
  if (value !== null && typeof value === 'object') {
    hasLarge = false;
    hasEndless = false;
    const found = plain && !text.includes('proto') ? countMembers(value) : inspect(value);
    if (hasEndless || (hasLarge && LONG_NUMBER.test(text))) checkLarge(text);
    if (found !== members) throw refuse('body', 'has the same key twice in one object');
  } else if (typeof value === 'string') {
    checkText(value, 'body');
  }
  return value;
}

/** Counts the members of all objects by their colons outside of strings; refuses what is too deep. */
function scan(text: string): number {
  let depth = 0;
  let members = 0;
  let opened = 0;
  for (let i = 0; i < text.length; i++) {
    switch (text.charCodeAt(i)) {
      case QUOTE:
        i = endOfString(text, i);
        break;
      case COLON:
        if (++members + opened > MOST_MEMBERS) throw tooMany();
        break;
      case OPEN_BRACE:
      case OPEN_BRACKET:
        if (++depth > MAX_DEPTH) throw refuse('body', `is nested deeper than ${MAX_DEPTH} levels`);
        if (members + ++opened > MOST_MEMBERS) throw tooMany();
        break;
      case CLOSE_BRACE:
      case CLOSE_BRACKET:
        depth--;
        break;
    }
  }
  return members;
}

function tooMany(): ServiceError {
  const most = MOST_MEMBERS.toLocaleString('en');
  return refuse('body', `has more than ${most} members, objects and lists together`);
}

function endOfString(text: string, start: number): number {
  let end = text.indexOf('"', start + 1);
  while (end > 0 && text.charCodeAt(end - 1) === BACKSLASH) {
    let backslashes = 1;
    while (text.charCodeAt(end - 1 - backslashes) === BACKSLASH) backslashes++;
    if (backslashes % 2 === 0) return end;
    end = text.indexOf('"', end + 1);
  }
  return end < 0 ? text.length : end;
}

/** Whether the value that was read last has a number beyond LARGEST_INTEGER. */
let hasLarge = false;
/** Whether it has one that was too large to be read at all. */
let hasEndless = false;
/** What every integer beyond LARGEST_INTEGER has: a text without it needs no second reading. */
const LONG_NUMBER = /[0-9]{16}/;

function note(value: number): void {
  if (isKept(value)) return;
  if (Number.isFinite(value)) hasLarge = true;
  else hasEndless = true;
}

/** How many members the objects of a value have; no deeper than `scan` lets through. */
function countMembers(value: object): number {
  const children: unknown[] = Array.isArray(value) ? value : Object.values(value);
  let members = children === value ? 0 : children.length;
  for (const child of children) {
    if (child !== null && typeof child === 'object') members += countMembers(child);
    else if (typeof child === 'number') note(child);
  }
  return members;
}

/** Checks every key and text of a value and returns how many members its objects have. */
function inspect(root: object): number {
  let members = 0;
  const pending: { value: object; path: string }[] = [{ value: root, path: 'body' }];
  for (let next = pending.pop(); next; next = pending.pop()) {
    const { value, path } = next;
    const isArray = Array.isArray(value);
    for (const key of Object.keys(value)) {
      if (!isArray) {
        members++;
        if (key === '__proto__' || (key === 'prototype' && path.endsWith('.constructor'))) {
          throw refuse(`${path}.${key}`, 'is not an acceptable name');
        }
        checkText(key, path);
      }
      const child = (value as Record<string, unknown>)[key];
      if (typeof child === 'string') {
        if (!isAcceptable(child)) checkText(child, `${path}.${key}`);
      } else if (typeof child === 'number') {
        note(child);
      } else if (child !== null && typeof child === 'object') {
        pending.push({ value: child, path: `${path}.${key}` });
      }
    }
  }
  return members;
}

function isKept(value: number): boolean {
  return value <= LARGEST_INTEGER && value >= -LARGEST_INTEGER;
}

/** Stands for a number that cannot be kept, and says why. */
class Unkept {
  readonly message: string;
  constructor(message: string) {
    this.message = message;
  }
}

/** Only the text says whether a number is written as an integer: 1e300 is meant as it is. Reads it anew. */
function checkLarge(text: string): void {
  const value = JSON.parse(text, (_key, child: unknown, context?: { source?: string }) => {
    if (typeof child !== 'number' || isKept(child)) return child;
    if (!Number.isFinite(child)) return new Unkept('is a number that is too large to be kept');
    if (!/^-?[0-9]+$/.test(context?.source ?? '')) return child;
    return new Unkept(
      `is an integer beyond ${LARGEST_INTEGER}, which would lose digits: send it as a string`,
    );
  });
  refuseUnkept(value, 'body');
}

function refuseUnkept(value: object, path: string): void {
  for (const [key, child] of Object.entries(value)) {
    if (child instanceof Unkept) throw refuse(`${path}.${key}`, child.message);
    if (child !== null && typeof child === 'object') refuseUnkept(child, `${path}.${key}`);
  }
}

function isAcceptable(text: string): boolean {
  return text.isWellFormed() && !text.includes('\0');
}

function checkText(text: string, path: string): void {
  if (!text.isWellFormed()) throw refuse(path, 'has half of a surrogate pair, which is not text');
  if (text.includes('\0')) throw refuse(path, 'has a NUL character');
}

/** Where the parser stopped, without what stands there: an answer or log repeats nothing of a body. */
function placeOf({ message }: Error, text: string): string {
  const told = /at position (\d+)/.exec(message)?.[1];
  const snippet = /"([\s\S]*)"(?:\.\.\.)? is not valid JSON$/.exec(message)?.[1];
  const start = told === undefined && snippet !== undefined ? text.indexOf(snippet) : -1;
  // What the parser shows begins up to ten characters before the fault.
  const position = told ?? (start < 0 ? undefined : Math.min(start + 10, text.length));
  return position === undefined ? '' : ` near position ${position}`;
}

function refuse(path: string, message: string): ServiceError {
  return new ServiceError('invalid_json', {
    detail: `${path} ${message}`,
    errors: [{ path, message }],
  });
}
