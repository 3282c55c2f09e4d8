/// <reference lib="esnext.temporal" />
/**
 * The `date` filter: `{{ due | date: "%-d %B %Y" }}` or, in a zone of its own,
 * `{{ due | date: "%H:%M", "Asia/Shanghai" }}`.
 *
 * The one of liquidjs reads the system's clock and is right only where the process runs in
 * UTC, so this one stands in for it, with the directives it has (and %F %T %R %G %V). The
 * result depends on the arguments and the options of the rendering alone; `now` and `today`
 * are the options' `now`.
 *
 * A value is an ISO 8601 date or date-time, or seconds since 1970 as in every Liquid. One
 * without an offset is a wall-clock time and is shown as it is written. What is no date comes
 * back unchanged.
 */
import { RenderLimitError } from './work.ts';

export interface DateOptions {
  /** IANA name or offset; UTC when left out. */
  timezone?: string;
  /** BCP 47 tag for the names of months and days; `en` when left out or unknown. */
  locale?: string;
  /** What `now` means, in ms since 1970. */
  now: number;
}

/** Enough for any format a person writes; each directive costs up to 2 µs. */
const FORMAT_LENGTH = 200;
/** Wider padding is an attack: `%5000000d`. */
const FIELD_WIDTH = 30;
const DEFAULT_FORMAT = '%A, %B %-e, %Y at %-l:%M %P %z';
const ISO =
  /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?) ?(?:(Z)|([+-]\d\d):?(\d\d))?)?$/i;

export function formatDate(
  value: unknown,
  format: string | undefined,
  timezone: string | undefined,
  options: DateOptions,
): unknown {
  const zoned = parseDate(value, timezone ?? options.timezone ?? 'UTC', options.now);
  if (zoned === undefined) return value;
  if (format !== undefined && format.length > FORMAT_LENGTH) {
    throw new RenderLimitError(`has a date format longer than ${FORMAT_LENGTH} characters`);
  }
  const locale = options.locale ?? 'en';
  return (format ?? DEFAULT_FORMAT).replace(
    /%([-_0^#:]*)(\d*)[EO]?(.)/g,
    (directive, flags: string, width: string, code: string) => {
      if (Number(width) > FIELD_WIDTH) {
        throw new RenderLimitError(`has a date format wider than ${FIELD_WIDTH} characters`);
      }
      const entry = Object.hasOwn(CODES, code) ? CODES[code] : undefined;
      if (entry === undefined) return directive;
      return pad(String(entry.text(zoned, locale, flags, width)), entry, flags, width);
    },
  );
}

function parseDate(
  value: unknown,
  timezone: string,
  now: number,
): Temporal.ZonedDateTime | undefined {
  if (!isTimezone(timezone)) throw new RenderLimitError(`names an unknown timezone`);
  try {
    if (value === 'now' || value === 'today') return atEpoch(now, timezone);
    if (typeof value === 'number') return atEpoch(Math.round(value * 1000), timezone);
    if (typeof value !== 'string' || value.length > 40) return undefined;
    if (/^\d+$/.test(value)) return atEpoch(Number(value) * 1000, timezone);
    const iso = ISO.exec(value.trim());
    if (iso === null) return undefined;
    const [, date, time = '00:00', utc, hours, minutes] = iso;
    if (utc === undefined && hours === undefined) {
      return Temporal.PlainDateTime.from(`${date}T${time}`).toZonedDateTime(timezone);
    }
    const offset = utc === undefined ? `${hours}:${minutes}` : 'Z';
    return Temporal.Instant.from(`${date}T${time}${offset}`).toZonedDateTimeISO(timezone);
  } catch (error) {
    // Temporal's word for 30 February and for what lies beyond its 275,000 years.
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

function atEpoch(ms: number, timezone: string): Temporal.ZonedDateTime {
  return Temporal.Instant.fromEpochMilliseconds(ms).toZonedDateTimeISO(timezone);
}

/** Whether Temporal knows the zone. */
function isTimezone(name: string): boolean {
  if (name === 'UTC') return true;
  try {
    atEpoch(0, name);
    return true;
  } catch {
    return false;
  }
}

interface Directive {
  text: (
    date: Temporal.ZonedDateTime,
    locale: string,
    flags: string,
    width: string,
  ) => string | number;
  width: number;
  padding: ' ' | '0';
}

function number(width: number, text: Directive['text'], padding: ' ' | '0' = '0'): Directive {
  return { text, width, padding };
}

function word(text: Directive['text']): Directive {
  return { text, width: 0, padding: ' ' };
}

const CODES: Record<string, Directive> = {
  a: word((date, locale) => named(date, locale, 'shortWeekday')),
  A: word((date, locale) => named(date, locale, 'weekday')),
  b: word((date, locale) => named(date, locale, 'shortMonth')),
  B: word((date, locale) => named(date, locale, 'month')),
  c: word((date, locale) => named(date, locale, 'dateTime')),
  C: number(2, (date) => Math.floor(date.year / 100)),
  d: number(2, (date) => date.day),
  e: number(2, (date) => date.day, ' '),
  F: word((date) => date.toPlainDate().toString()),
  G: number(4, (date) => date.yearOfWeek ?? date.year),
  h: word((date, locale) => named(date, locale, 'shortMonth')),
  H: number(2, (date) => date.hour),
  I: number(2, (date) => date.hour % 12 || 12),
  j: number(3, (date) => date.dayOfYear),
  k: number(2, (date) => date.hour, ' '),
  l: number(2, (date) => date.hour % 12 || 12, ' '),
  L: number(3, (date) => date.millisecond),
  m: number(2, (date) => date.month),
  M: number(2, (date) => date.minute),
  n: word(() => '\n'),
  N: number(0, (date, _locale, _flags, width) => fraction(date, Number(width) || 9)),
  p: word((date) => (date.hour < 12 ? 'AM' : 'PM')),
  P: word((date) => (date.hour < 12 ? 'am' : 'pm')),
  q: word((date) => ordinal(date.day)),
  R: word((date) => date.toPlainTime().toString({ smallestUnit: 'minute' })),
  s: number(0, (date) => Math.floor(date.epochMilliseconds / 1000)),
  S: number(2, (date) => date.second),
  t: word(() => '\t'),
  T: word((date) => date.toPlainTime().toString({ smallestUnit: 'second' })),
  u: number(0, (date) => date.dayOfWeek),
  U: number(2, (date) => weekOfYear(date, date.dayOfWeek % 7)),
  V: number(2, (date) => date.weekOfYear ?? 0),
  w: number(0, (date) => date.dayOfWeek % 7),
  W: number(2, (date) => weekOfYear(date, date.dayOfWeek - 1)),
  x: word((date, locale) => named(date, locale, 'date')),
  X: word((date, locale) => named(date, locale, 'time')),
  y: number(2, (date) => ((date.year % 100) + 100) % 100),
  Y: number(4, (date) => date.year),
  z: word((date, _locale, flags) =>
    flags.includes(':') ? date.offset : date.offset.replace(':', ''),
  ),
  Z: word((date) => date.timeZoneId),
  '%': word(() => '%'),
};

/** Flags: `-` no padding, `_` spaces, `0` zeros, `^` upper case, `#` the other case. */
function pad(text: string, directive: Directive, flags: string, width: string): string {
  let result = text;
  if (flags.includes('^')) result = result.toUpperCase();
  else if (flags.includes('#')) {
    result = /[a-z]/.test(result) ? result.toUpperCase() : result.toLowerCase();
  }
  if (flags.includes('-')) return result;
  const padding = flags.includes('_') ? ' ' : flags.includes('0') ? '0' : directive.padding;
  const length = Number(width) || directive.width;
  return padding === '0' && result.startsWith('-')
    ? `-${result.slice(1).padStart(length - 1, '0')}`
    : result.padStart(length, padding);
}

/** So many digits of the second's fraction. */
function fraction(
  { millisecond, microsecond, nanosecond }: Temporal.ZonedDateTime,
  digits: number,
) {
  const all = (millisecond * 1e6 + microsecond * 1e3 + nanosecond).toString().padStart(9, '0');
  return all.slice(0, digits).padEnd(digits, '0');
}

/** Days before the first Sunday (or Monday) of the year belong to week 0. */
function weekOfYear(date: Temporal.ZonedDateTime, daysSinceWeekStart: number): number {
  return Math.floor((date.dayOfYear - 1 - daysSinceWeekStart + 7) / 7);
}

function ordinal(day: number): string {
  if (day >= 11 && day <= 13) return 'th';
  return ['th', 'st', 'nd', 'rd'][day % 10] ?? 'th';
}

const NAMES = {
  month: { month: 'long' },
  shortMonth: { month: 'short' },
  weekday: { weekday: 'long' },
  shortWeekday: { weekday: 'short' },
  date: { year: 'numeric', month: 'numeric', day: 'numeric' },
  time: { hour: 'numeric', minute: 'numeric', second: 'numeric' },
  dateTime: {
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
  },
} satisfies Record<string, Intl.DateTimeFormatOptions>;

/** Making a formatter costs 50 µs, using one 1 µs. Bounded because a locale comes from a profile. */
const formatters = new Map<string, Intl.DateTimeFormat>();
const MAX_FORMATTERS = 500;

/** A name in the locale, of the wall-clock time: the zone has been applied before. */
function named(date: Temporal.ZonedDateTime, locale: string, name: keyof typeof NAMES): string {
  const key = `${name} ${locale}`;
  let formatter = formatters.get(key);
  if (formatter === undefined) {
    if (formatters.size >= MAX_FORMATTERS) formatters.clear();
    formatter = newFormatter(locale, { ...NAMES[name], timeZone: 'UTC' });
    formatters.set(key, formatter);
  }
  return formatter.format(date.toPlainDateTime().toZonedDateTime('UTC').epochMilliseconds);
}

function newFormatter(locale: string, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  try {
    return new Intl.DateTimeFormat(locale, options);
  } catch {
    return new Intl.DateTimeFormat('en', options);
  }
}
