/** Times and durations as people write them on a command line. */
import { usage } from './exit.ts';

const UNITS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 } as const;
const PART = /(\d+(?:\.\d+)?)(ms|s|m|h|d|w)/y;
const LONGEST_MS = 10 * 366 * UNITS.d;

/** `5s`, `250ms`, `1h30m`, `7d` → ms. @throws CommandFailure that names the option */
export function parseDuration(text: string, name: string): number {
  const durationMs = durationOf(text, name);
  if (durationMs !== undefined) return durationMs;
  throw usage(`${name}: "${text}" is not a duration`, 'Write it as 500ms, 30s, 10m, 1h30m or 7d.');
}

/** ms; undefined when it is written in another way. */
function durationOf(text: string, name: string): number | undefined {
  let total = 0;
  PART.lastIndex = 0;
  for (let match = PART.exec(text); match; match = PART.exec(text)) {
    total += Number(match[1]) * UNITS[match[2] as keyof typeof UNITS];
    if (PART.lastIndex === text.length) {
      if (total > LONGEST_MS) throw usage(`${name}: ${text} is too long`);
      return Math.round(total);
    }
  }
  return undefined;
}

const RFC3339 = /^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})$/;

/** An RFC 3339 time, or `+10m` from now → RFC 3339. @throws CommandFailure that names the option */
export function parseMoment(text: string, name: string, now: number): string {
  if (text.startsWith('+')) return new Date(now + parseDuration(text.slice(1), name)).toISOString();
  const time = timeOf(text);
  if (time !== undefined) return time;
  throw usage(
    `${name}: "${text}" is not a time with a zone`,
    'Write it as 2026-12-24T08:00:00Z, 2026-12-24T08:00:00+01:00, or as +10m from now.',
  );
}

/** In RFC 3339; undefined when it is written in another way, or no such day or hour exists. */
function timeOf(text: string): string | undefined {
  return RFC3339.test(text) && isReal(text) ? text.replace(' ', 'T').toUpperCase() : undefined;
}

/** `2026-02-30` parses, as the second of March: the day must survive. */
function isReal(text: string): boolean {
  const day = new Date(`${text.slice(0, 10)}T00:00:00Z`);
  return (
    !Number.isNaN(day.getTime()) &&
    day.toISOString().startsWith(text.slice(0, 10)) &&
    !Number.isNaN(Date.parse(text.replace(' ', 'T')))
  );
}

/** `10m`, `10m ago`, or an RFC 3339 time → RFC 3339. @throws CommandFailure that names the option */
export function parsePast(text: string, name: string, now: number): string {
  const time = timeOf(text);
  if (time !== undefined) return time;
  const durationMs = durationOf(text.replace(/^[+-]/, '').replace(/ ago$/, ''), name);
  if (durationMs !== undefined) return new Date(now - durationMs).toISOString();
  throw usage(
    `${name}: "${text}" is neither a duration nor a time with a zone`,
    'Write it as 30m, 2h or 7d ago, or as 2026-12-24T08:00:00Z or 2026-12-24T08:00:00+01:00.',
  );
}

/** Time for a person at this terminal: local, to the second. */
export function localTime(text: string): string {
  const at = new Date(text);
  const two = (n: number): string => String(n).padStart(2, '0');
  return (
    `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ` +
    `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`
  );
}
