/** The Retry-After header (RFC 9110, 10.2.3): seconds or an HTTP date. */

/** A longer wait is a mistake or malice: the message would only expire. */
const LIMIT_MS = 24 * 3_600_000;

const SECONDS = /^\d{1,10}$/;
/** IMF-fixdate, and the two obsolete forms that must still be understood. */
const HTTP_DATE =
  /^(?:[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT|[A-Z][a-z]{5,8}, \d{2}-[A-Z][a-z]{2}-\d{2} \d{2}:\d{2}:\d{2} GMT|[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d{2}:\d{2}:\d{2} \d{4})$/;

/** Time to wait from `now` in ms; undefined when there is no such header or it makes no sense. */
export function parseRetryAfter(value: string | undefined, now: number): number | undefined {
  const text = value?.trim() ?? '';
  if (SECONDS.test(text)) return Math.min(Number(text) * 1000, LIMIT_MS);
  if (!HTTP_DATE.test(text)) return undefined;
  // The asctime form names no zone, and means GMT.
  const at = Date.parse(text.endsWith('GMT') ? text : `${text} GMT`);
  if (Number.isNaN(at)) return undefined;
  return Math.min(Math.max(0, at - now), LIMIT_MS);
}
