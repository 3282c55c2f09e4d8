/**
 * Links that a notification may have: http(s), paths within the app, and an app's own schemes. Clients
 * put them into `href` and `src`, so a scheme that runs code or opens local files never gets through.
 * A link may be a template; the scheme it then gets is checked when it is rendered.
 */

/** Schemes that run code, carry a document of their own, reach local files, or wrap another URL. */
const UNSAFE_SCHEMES: ReadonlySet<string> = new Set([
  'about',
  'blob',
  'data',
  'feed',
  'file',
  'filesystem',
  'jar',
  'javascript',
  'livescript',
  'mhtml',
  'mocha',
  'resource',
  'vbscript',
  'view-source',
]);

/**
 * What browsers drop from a URL before they read its scheme (controls and blanks; WHATWG URL, 4.4),
 * and characters that are not seen: a person must not be shown another scheme than is followed.
 */
const DROPPED = /[\p{Cc}\p{Cf}\p{Z}]+/gu;

/** What a browser would make of the scheme, or undefined for a path. */
function schemeOf(link: string): string | undefined {
  return /^([a-z][a-z0-9+.-]*):/i.exec(link.replace(DROPPED, ''))?.[1]?.toLowerCase();
}

/** As it follows the name of the field. */
export const UNSAFE_LINK = 'must be http(s), a path within the app or an app link';

export function isSafeLink(link: string): boolean {
  const scheme = schemeOf(link);
  return scheme === undefined || !UNSAFE_SCHEMES.has(scheme);
}
