/** Live events as text on the wire: blocks of an event stream, or JSON frames of a WebSocket. */

export type Encoding = 'sse' | 'json';

export type LiveEventType = 'item' | 'marked' | 'counts' | 'ready' | 'closing';

/**
 * @param data JSON, which has no line breaks of its own
 * @param position where to resume after this event; left out for events that do not move on
 */
export function frameOf(
  encoding: Encoding,
  type: LiveEventType,
  data: string,
  position?: number,
): string {
  if (encoding === 'sse') {
    const id = position === undefined ? '' : `id: ${position}\n`;
    return `${id}event: ${type}\ndata: ${data}\n\n`;
  }
  const at = position === undefined ? '' : `"position":${position},`;
  return `{"type":"${type}",${at}"data":${data}}`;
}

/** One event for many connections: written as text once per encoding. */
export class SharedFrame {
  readonly #type: LiveEventType;
  readonly #value: unknown;
  readonly #position: number | undefined;
  #data: string | undefined;
  #sse: string | undefined;
  #json: string | undefined;

  constructor(type: LiveEventType, value: unknown, position?: number) {
    this.#type = type;
    this.#value = value;
    this.#position = position;
  }

  in(encoding: Encoding): string {
    if (encoding === 'sse') {
      this.#sse ??= frameOf('sse', this.#type, this.#text(), this.#position);
      return this.#sse;
    }
    this.#json ??= frameOf('json', this.#type, this.#text(), this.#position);
    return this.#json;
  }

  /** The same event for a connection that is past it already and must not be set back. */
  withoutPosition(encoding: Encoding): string {
    return frameOf(encoding, this.#type, this.#text());
  }

  #text(): string {
    this.#data ??= JSON.stringify(this.#value);
    return this.#data;
  }
}
