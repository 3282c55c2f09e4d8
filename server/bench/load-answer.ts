/**
 * Reading of one HTTP/1.1 answer, as narrow as the service under test needs: a status line, a content-length, a body
 * that is skipped. Chunked bodies, answers without a length and 1xx are malformed here, not guessed at: a generator
 * that misreads answers would report a speed that nobody has.
 */

export const incomplete = -1;
export const malformed = -2;
/** Longer than any answer of the service; bounds what a connection keeps of an unfinished one. */
export const maxAnswerBytes = 64 * 1024;

/** What the last `readAnswer` found. One object for all, since an allocation per answer would be avoidable work. */
export const answer = { status: 0, closes: false };

const lineFeed = 10;
const carriageReturn = 13;
const space = 32;
const zero = 48;

/** Whether the lower-case `text` stands at `at`, whatever the case in the bytes. */
function standsAt(bytes: Uint8Array, at: number, text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    if (((bytes[at + i] as number) | 0x20) !== text.charCodeAt(i)) return false;
  }
  return true;
}

/** The number from `at` to the end of the line, or -1 if there is anything but digits. */
function readLength(bytes: Uint8Array, at: number): number {
  let value = 0;
  let next = at;
  while (bytes[next] === space) next++;
  if (bytes[next] === carriageReturn) return -1;
  for (; bytes[next] !== carriageReturn; next++) {
    const digit = (bytes[next] as number) - zero;
    if (!(digit >= 0 && digit <= 9)) return -1;
    value = value * 10 + digit;
    if (value > maxAnswerBytes) return -1;
  }
  return value;
}

/**
 * Reads the answer that starts at the first of `length` bytes into `answer`. Returns how many bytes it takes, or
 * `incomplete`, or `malformed`.
 */
export function readAnswer(bytes: Uint8Array, length: number): number {
  // The status has been read when twelve bytes are there: "HTTP/1.1 202".
  if (length < 12) return incomplete;
  if (!standsAt(bytes, 0, 'http/1.1 ')) return malformed;
  const status =
    100 * ((bytes[9] as number) - zero) +
    10 * ((bytes[10] as number) - zero) +
    ((bytes[11] as number) - zero);
  if (!(status >= 200 && status <= 599)) return malformed;
  let closes = false;
  let bodyLength = status === 204 || status === 304 ? 0 : -1;
  let at = 12;
  for (let isStatusLine = true; ; isStatusLine = false) {
    const start = at;
    while (at < length && bytes[at] !== lineFeed) at++;
    if (at === length) return incomplete;
    at++;
    if (isStatusLine) continue;
    if (at - start === 2 && bytes[start] === carriageReturn) break;
    if (bytes[at - 2] !== carriageReturn) return malformed;
    const initial = (bytes[start] as number) | 0x20;
    // Only "c" and "t" begin a header that matters, which spares the comparison for all others.
    if (initial === 0x63) {
      if (standsAt(bytes, start, 'content-length:')) {
        bodyLength = readLength(bytes, start + 15);
        if (bodyLength < 0) return malformed;
      } else if (standsAt(bytes, start, 'connection: close')) closes = true;
    } else if (initial === 0x74 && standsAt(bytes, start, 'transfer-encoding:')) return malformed;
  }
  if (bodyLength < 0) return malformed;
  answer.status = status;
  answer.closes = closes;
  const total = at + bodyLength;
  return total <= length ? total : incomplete;
}
