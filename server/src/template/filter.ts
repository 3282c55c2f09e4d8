/**
 * The filters of templates, by name: text and numbers from liquidjs, each with bounds around
 * it; the date and the array filters our own, because those of liquidjs turn whatever they
 * are given into text or walk it without paying.
 *
 * A filter is a function of the value, its arguments and the options of the rendering. Filters
 * whose arguments are code (`where_exp` and its like), that are not deterministic (`sample`)
 * or that have no use in a message (hashes, base64) do not exist here.
 */
import { filters as library } from 'liquidjs';
import { type DateOptions, formatDate } from './date.ts';
import { escapeHtml, isSame, ownValue, readMember, toJson, toText, withoutDrop } from './value.ts';
import { RENDER_LIMITS, RenderLimitError, type Work } from './work.ts';

/** What a filter may use besides its value and arguments. */
export interface FilterScope {
  readonly work: Work;
  readonly options: DateOptions;
}

type FilterFunction = (scope: FilterScope, value: unknown, args: unknown[]) => unknown;

export interface TemplateFilter {
  apply: FilterFunction;
  /** As the last filter of an output, its result is not escaped again. */
  escapes: boolean;
}

/** The filter that provides for a missing value. */
export const TOLERANT_FILTER = 'default';

/** Applies a filter and pays for it. */
export function applyFilter(
  filter: TemplateFilter,
  scope: FilterScope,
  value: unknown,
  args: unknown[],
): unknown {
  const { work } = scope;
  const given = withoutDrop(value);
  pay(given, work);
  for (let i = 0; i < args.length; i++) {
    args[i] = withoutDrop(args[i]);
    pay(args[i], work);
  }
  const result = filter.apply(scope, given, args);
  pay(result, work);
  if (typeof result === 'string' && result.length > RENDER_LIMITS.textLength) {
    throw new RenderLimitError(`makes a text longer than ${RENDER_LIMITS.textLength} characters`);
  }
  return result;
}

function pay(value: unknown, work: Work): void {
  if (typeof value === 'string') work.use(value.length);
  else if (Array.isArray(value)) work.visit(value.length);
  else work.spend(1);
}

/**
 * A function of the library for text or numbers, given text and plain arguments. One that
 * searches has a bound on what it searches for; a slow one takes some 50 ns for each character.
 */
function scalar(name: string, { searches = false, slow = false } = {}): FilterFunction {
  const entry = library[name];
  if (typeof entry !== 'function') throw new Error(`liquidjs has no filter ${name}`);
  return (scope, value, args) => {
    if (searches) checkPattern(toText(args[0], scope.work));
    if (slow && typeof value === 'string') scope.work.use(2 * value.length);
    return callLibrary(
      entry,
      scope,
      plainArgument(value, scope.work),
      args.map((argument) => plainArgument(argument, scope.work)),
    );
  };
}

function callLibrary(
  filter: (...args: never[]) => unknown,
  { work }: FilterScope,
  value: unknown,
  args: unknown[],
): unknown {
  // All that these filters look at in the context of liquidjs.
  const context = { memoryLimit: work, opts: { jsTruthy: false } };
  return Reflect.apply(filter, { context }, [value, ...args]);
}

function plainArgument(argument: unknown, work: Work): unknown {
  return typeof argument === 'object' && argument !== null ? toText(argument, work) : argument;
}

function checkPattern(pattern: string): void {
  if (pattern.length > RENDER_LIMITS.patternLength) {
    throw new RenderLimitError(
      `searches for a text longer than ${RENDER_LIMITS.patternLength} characters`,
    );
  }
}

const defaultTo: FilterFunction = (_scope, value, [fallback, option]) => {
  const allowFalse = Array.isArray(option) && option[0] === 'allow_false' && option[1] === true;
  const empty =
    value === undefined ||
    value === null ||
    value === '' ||
    (value === false && !allowFalse) ||
    (Array.isArray(value) && value.length === 0);
  return empty ? fallback : value;
};

const slice: FilterFunction = (scope, value, [begin, length = 1]) => {
  const source = Array.isArray(value) ? value : toText(value, scope.work);
  const args = [toNumber(begin), Math.min(toNumber(length), RENDER_LIMITS.textLength)];
  return callLibrary(library['slice'] as () => unknown, scope, source, args);
};

const date: FilterFunction = ({ work, options }, value, [format, timezone]) => {
  const formatText = optionalText(format, work);
  work.spend(40 + 3 * (formatText?.length ?? 0));
  return formatDate(value, formatText, optionalText(timezone, work), options);
};

const escapeText: FilterFunction = ({ work }, value) => escapeHtml(toText(value, work), work);

const sentence: FilterFunction = (scope, value, [connector]) => {
  const texts = toArray(value).map((element) => toText(element, scope.work));
  const args = connector === undefined ? [] : [toText(connector, scope.work)];
  for (const text of texts) scope.work.use(text.length);
  return callLibrary(library['array_to_sentence_string'] as () => unknown, scope, texts, args);
};

function optionalText(value: unknown, work: Work): string | undefined {
  return value === undefined || value === null ? undefined : toText(value, work);
}

function toNumber(value: unknown): number {
  return typeof value === 'object' ? 0 : Number(value) || 0;
}

function toArray(value: unknown): unknown[] {
  if (value === undefined || value === null) return [];
  return Array.isArray(value) ? value : [value];
}

/** Reads a property of elements by its dotted name; the element itself when no name is given. */
function propertyReader({ work }: FilterScope, name: unknown): (element: unknown) => unknown {
  if (name === undefined) return (element) => element;
  const text = toText(name, work);
  if (text.length > 200) throw new RenderLimitError('names a property by more than 200 characters');
  const path = text.split('.');
  return (element) => {
    work.spend(1 + path.length);
    let value = element;
    for (const key of path) value = readMember(value, key, work);
    return value;
  };
}

/** Whether an element has the property (truthy when no value is asked for). */
function matcher(scope: FilterScope, [name, wanted]: unknown[]): (element: unknown) => boolean {
  const read = propertyReader(scope, name);
  if (wanted !== undefined) return (element) => isSame(read(element), wanted, scope.work);
  return (element) => {
    const value = read(element);
    return value !== undefined && value !== null && value !== false;
  };
}

const join: FilterFunction = ({ work }, value, [separator]) => {
  const between = toText(separator ?? ' ', work);
  let text = '';
  for (const [i, element] of toArray(value).entries()) {
    const next = toText(element, work);
    work.use(next.length + between.length);
    text += i === 0 ? next : between + next;
    if (text.length > RENDER_LIMITS.textLength) break; // applyFilter refuses it
  }
  return text;
};

type SortKey = string | number | boolean | undefined;

/** Ascending; what has no order (null, objects) goes to the end. */
function sortBy(keyOf: (key: SortKey) => SortKey): FilterFunction {
  return (scope, value, [name]) => {
    const { work } = scope;
    const read = propertyReader(scope, name);
    const rows = toArray(value).map((element) => ({
      element,
      key: keyOf(sortable(read(element))),
    }));
    let characters = 0;
    for (const { key } of rows) characters += 8 + (typeof key === 'string' ? key.length : 0);
    work.use(characters * Math.log2(rows.length + 1));
    return rows.sort((a, b) => compareKeys(a.key, b.key)).map(({ element }) => element);
  };
}

function sortable(key: unknown): SortKey {
  return key === null || typeof key === 'object' ? undefined : (key as SortKey);
}

function compareKeys(a: SortKey, b: SortKey): number {
  if (a === undefined || b === undefined) return Number(a === undefined) - Number(b === undefined);
  return a < b ? -1 : a > b ? 1 : 0;
}

const ignoreCase = (key: SortKey) => (key === undefined ? key : String(key).toLowerCase());

/** Of a text too: its first or last character. */
function elementAt(position: 0 | -1): FilterFunction {
  return (_scope, value) => {
    if (typeof value === 'string') return value.at(position) ?? '';
    if (!Array.isArray(value)) return '';
    return ownValue(value, position === 0 ? 0 : value.length - 1);
  };
}

const groupBy: FilterFunction = (scope, value, [name]) => {
  const groups = new Map<unknown, unknown[]>();
  const read = propertyReader(scope, name);
  for (const element of toArray(value)) {
    const key = read(element);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [element]);
    else group.push(element);
  }
  return [...groups].map(([key, items]) =>
    Object.assign(Object.create(null), { name: key, items }),
  );
};

const sum: FilterFunction = (scope, value, [name]) => {
  let total = 0;
  const read = propertyReader(scope, name);
  for (const element of toArray(value)) total += toNumber(read(element));
  return total;
};

const size: FilterFunction = ({ work }, value) => readMember(value, 'size', work) ?? 0;

function ofArray(apply: (array: unknown[], args: unknown[], scope: FilterScope) => unknown) {
  return ((scope, value, args) => apply(toArray(value), args, scope)) satisfies FilterFunction;
}

function scalars(names: string[], options?: Parameters<typeof scalar>[1]) {
  return Object.fromEntries(names.map((name) => [name, scalar(name, options)]));
}

const TABLE: Record<string, FilterFunction> = {
  ...scalars([
    ...['append', 'prepend', 'capitalize', 'downcase', 'upcase', 'newline_to_br'],
    ...['strip', 'lstrip', 'rstrip', 'strip_newlines', 'squish', 'normalize_whitespace'],
    ...['truncate', 'truncatewords', 'url_encode', 'url_decode'],
    ...['abs', 'at_least', 'at_most', 'ceil', 'floor', 'round'],
    ...['plus', 'minus', 'times', 'divided_by', 'modulo'],
  ]),
  ...scalars(['escape_once', 'strip_html', 'slugify', 'number_of_words'], { slow: true }),
  ...scalars(
    [
      ...['remove', 'remove_first', 'remove_last', 'split'],
      ...['replace', 'replace_first', 'replace_last'],
    ],
    { searches: true },
  ),
  [TOLERANT_FILTER]: defaultTo,
  slice,
  date,
  json: ({ work }, value) => toJson(value, work),
  raw: (_scope, value) => value,
  escape: escapeText,
  xml_escape: escapeText,
  size,
  join,
  array_to_sentence_string: sentence,
  first: elementAt(0),
  last: elementAt(-1),
  reverse: ofArray((array) => array.toReversed()),
  sort: sortBy((key) => key),
  sort_natural: sortBy(ignoreCase),
  map: ofArray((array, [name], scope) => array.map(propertyReader(scope, name))),
  sum,
  compact: ofArray((array) => array.filter((element) => element !== undefined && element !== null)),
  concat: ofArray((array, [other]) => array.concat(toArray(other))),
  uniq: ofArray((array) => [...new Set(array)]),
  where: ofArray((array, args, scope) => array.filter(matcher(scope, args))),
  reject: ofArray((array, args, scope) => {
    const isMatch = matcher(scope, args);
    return array.filter((element) => !isMatch(element));
  }),
  find: ofArray((array, args, scope) => array.find(matcher(scope, args))),
  has: ofArray((array, args, scope) => array.some(matcher(scope, args))),
  group_by: groupBy,
};

const ESCAPING = new Set(['raw', 'escape', 'xml_escape', 'escape_once']);

/** Every filter there is. */
export const FILTERS: ReadonlyMap<string, TemplateFilter> = new Map(
  Object.entries(TABLE).map(([name, apply]) => [name, { apply, escapes: ESCAPING.has(name) }]),
);
