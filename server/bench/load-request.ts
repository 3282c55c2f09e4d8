/**
 * Requests of the load generator: bytes built once, digits patched in place.
 *
 * A request is text with marks of a fixed width, so that content-length never changes and a request
 * costs some twenty assignments instead of a JSON.stringify:
 *
 * - `<<n>>`     ten digits, the number of the request, unique over a whole benchmark;
 * - `<<key>>`   ten digits, as unique as `<<n>>` but in scattered order, as clients' keys are (rising
 *               keys would flatter every sorted index);
 * - `<<user>>`  eight digits, one of `users`, in scattered order.
 */

export interface RequestSpec {
  method: string;
  path: string;
  headers?: Record<string, string>;
  /** The body as text, marks included; absent for requests without one. */
  body?: string;
}

/**
 * Gives the bytes of request `n`. The same Buffer is handed out again by the next call, so one builder serves one
 * connection with one request in flight.
 */
export type BuildRequest = (n: number) => Buffer;

const widths = { '<<n>>': 10, '<<key>>': 10, '<<user>>': 8 } as const;
type Mark = keyof typeof widths;
const markPattern = /<<n>>|<<key>>|<<user>>/g;

interface Patch {
  offset: number;
  mark: Mark;
}

/** Scatters numbers below 2^32 without a random generator: an odd multiplier permutes them. */
function scatter(n: number): number {
  return Math.imul(n, 0x9e3779b1) >>> 0;
}

function digitsOf(mark: Mark, n: number, users: number): number {
  if (mark === '<<n>>') return n;
  return mark === '<<key>>' ? scatter(n) : scatter(n) % users;
}

function widen(text: string): string {
  return text.replace(markPattern, (mark) => '0'.repeat(widths[mark as Mark]));
}

function assemble(spec: RequestSpec, host: string): string {
  const lines = [`${spec.method} ${spec.path} HTTP/1.1`, `host: ${host}`];
  for (const [name, value] of Object.entries(spec.headers ?? {})) lines.push(`${name}: ${value}`);
  if (spec.body !== undefined) {
    lines.push(
      'content-type: application/json',
      `content-length: ${Buffer.byteLength(widen(spec.body))}`,
    );
  }
  return `${lines.join('\r\n')}\r\n\r\n${spec.body ?? ''}`;
}

function locatePatches(text: string): Patch[] {
  const patches: Patch[] = [];
  let offset = 0;
  let from = 0;
  for (const match of text.matchAll(markPattern)) {
    offset += Buffer.byteLength(text.slice(from, match.index));
    const mark = match[0] as Mark;
    patches.push({ offset, mark });
    offset += widths[mark];
    from = match.index + match[0].length;
  }
  return patches;
}

function writeDigits(bytes: Buffer, offset: number, width: number, value: number): void {
  let rest = value;
  for (let at = offset + width - 1; at >= offset; at--) {
    const tenth = Math.floor(rest / 10);
    bytes[at] = 48 + rest - tenth * 10;
    rest = tenth;
  }
}

/** Each call of the result makes a builder with buffers of its own; `specs` are taken in turn. */
export function requestFactory(
  specs: RequestSpec[],
  host: string,
  users: number,
): () => BuildRequest {
  if (specs.length === 0) throw new Error('a load needs at least one request');
  const models = specs.map((spec) => {
    const text = assemble(spec, host);
    return { bytes: Buffer.from(widen(text)), patches: locatePatches(text) };
  });
  return () => {
    const own = models.map(({ bytes, patches }) => ({ bytes: Buffer.from(bytes), patches }));
    return (n) => {
      const { bytes, patches } = own[n % own.length] as (typeof own)[number];
      for (const { offset, mark } of patches) {
        writeDigits(bytes, offset, widths[mark], digitsOf(mark, n, users));
      }
      return bytes;
    };
  };
}
