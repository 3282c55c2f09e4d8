/**
 * Reading the URL of a webhook: its syntax only. Whether Tidings may send there is decided by
 * address-guard.ts, since that depends on what the operator allows.
 *
 * The WHATWG parser forgives much (`https:host`, `\` for `/`, line breaks inside). What it would
 * silently mend is refused here, so that a URL reads the same to people and to programs.
 */

/** Longest URL that is taken, as written and in its normal spelling. */
export const URL_LIMIT = 2048;

export type ParsedUrl = { ok: true; url: URL } | { ok: false; message: string };

const ABSOLUTE = /^https?:\/\/[^/\\?#]/i;
const NOT_IN_A_URL = /[\s\p{Cc}\p{Z}\\]/u;

/** The URL in its one normal spelling is `url.href`. */
export function parseWebhookUrl(text: string): ParsedUrl {
  if (text.length > URL_LIMIT) return refuse(`is longer than ${URL_LIMIT} characters`);
  if (NOT_IN_A_URL.test(text)) return refuse('has spaces, control characters or backslashes');
  if (!ABSOLUTE.test(text)) return refuse('is not an absolute http or https URL');
  const url = URL.parse(text);
  if (url === null) return refuse('is not a URL: its host or port cannot be read');
  if (text.includes('#')) return refuse('has a fragment (#…), which is never sent');
  if (url.username !== '' || url.password !== '' || hasUserInfo(text)) {
    return refuse('has a user name or password; verify the signature of each request instead');
  }
  if (url.href.length > URL_LIMIT) return refuse(`is longer than ${URL_LIMIT} characters`);
  return { ok: true, url };
}

/** An `@` before the path: also the empty user name, which the parser drops. */
function hasUserInfo(text: string): boolean {
  const rest = text.slice(text.indexOf('//') + 2);
  const end = rest.search(/[/?]/);
  return rest.slice(0, end < 0 ? rest.length : end).includes('@');
}

function refuse(message: string): ParsedUrl {
  return { ok: false, message };
}
