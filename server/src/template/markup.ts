/**
 * How much markup a template has, counted without parsing it: what liquidjs takes to parse a template
 * grows with its outputs, its tags and the words in them, not with the text around them.
 *
 * The count is an upper limit, since what a quoted text or a comment hides is counted too, and takes
 * about 2 ns for each character of markup and less for the text between. It says nothing about whether
 * the markup is right; that is compile.ts.
 */

export interface Markup {
  /** Outputs and tags. */
  count: number;
  /** Characters within them. */
  length: number;
  /** Names, numbers, words of quoted texts, and every sign between them: `a.b | size` has five. */
  terms: number;
}

export const NO_MARKUP: Readonly<Markup> = { count: 0, length: 0, terms: 0 };

const OPENING = /\{[{%]/g;

/** Where the next output or tag begins, or -1. */
export function nextMarkup(source: string, from: number): number {
  OPENING.lastIndex = from;
  return OPENING.test(source) ? OPENING.lastIndex - 2 : -1;
}

/** Stops where one of the counts is past `limits`. */
export function measureMarkup(source: string, limits: Readonly<Markup>): Readonly<Markup> {
  let from = nextMarkup(source, 0);
  if (from === -1) return NO_MARKUP;
  const markup: Markup = { ...NO_MARKUP };
  while (from !== -1 && !isOver(markup, limits)) {
    const next = nextMarkup(source, from + 2);
    const end = closing(source, from + 2, next === -1 ? source.length : next);
    markup.count += 1;
    markup.length += end - from;
    markup.terms += countTerms(source, from + 2, end);
    from = next;
  }
  return markup;
}

function isOver(markup: Readonly<Markup>, limits: Readonly<Markup>): boolean {
  return (
    markup.count > limits.count || markup.length > limits.length || markup.terms > limits.terms
  );
}

/** The end of the last `}}` or `%}` between two places; the second of them when there is none. */
function closing(source: string, from: number, to: number): number {
  const segment = source.slice(from, to);
  const last = Math.max(segment.lastIndexOf('}}'), segment.lastIndexOf('%}'));
  return last === -1 ? to : from + last + 2;
}

/** Letters, digits and `_` next to each other are one; each other character that is no space is one. */
function countTerms(source: string, from: number, to: number): number {
  let terms = 0;
  let inWord = false;
  for (let i = from; i < to; i++) {
    const code = source.charCodeAt(i);
    if (code <= 32) inWord = false;
    else if (isWord(code)) {
      if (!inWord) terms += 1;
      inWord = true;
    } else {
      terms += 1;
      inWord = false;
    }
  }
  return terms;
}

function isWord(code: number): boolean {
  return (
    (code >= 97 && code <= 122) ||
    (code >= 65 && code <= 90) ||
    (code >= 48 && code <= 57) ||
    code === 95
  );
}

/** What one content or notification has too much of; undefined when it is within the limits. */
export function excessMarkup(
  { count, length, terms }: Readonly<Markup>,
  limits: Readonly<Markup>,
): string | undefined {
  if (count > limits.count) {
    return `the templates together have more than ${limits.count} outputs and tags`;
  }
  if (length > limits.length) {
    return `the outputs and tags are longer than ${limits.length} characters`;
  }
  if (terms > limits.terms) {
    return `the outputs and tags have more than ${limits.terms} names, values, filters and signs`;
  }
  return undefined;
}

/** Adds up the markup of all strings of a value; the path of the string that is too much, and why. */
export class MarkupAllowance {
  readonly #limits: Readonly<Markup>;
  readonly #used: Markup = { ...NO_MARKUP };

  constructor(limits: Readonly<Markup>) {
    this.#limits = limits;
  }

  charge(value: unknown, path = ''): { path: string; message: string } | undefined {
    if (typeof value === 'string') return this.#chargeText(value, path);
    if (typeof value !== 'object' || value === null) return undefined;
    for (const [key, member] of Object.entries(value)) {
      const fault = this.charge(member, path === '' ? key : `${path}.${key}`);
      if (fault !== undefined) return fault;
    }
    return undefined;
  }

  #chargeText(text: string, path: string): { path: string; message: string } | undefined {
    const markup = measureMarkup(text, this.#limits);
    if (markup.count === 0) return undefined;
    this.#used.count += markup.count;
    this.#used.length += markup.length;
    this.#used.terms += markup.terms;
    const message = excessMarkup(this.#used, this.#limits);
    return message === undefined ? undefined : { path, message };
  }
}
