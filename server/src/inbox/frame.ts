/** Live events as text on the wire: blocks of an event stream, or JSON frames of a WebSocket. */

export type Encoding = 'sse' | 'json';

export type LiveEventType = 'item' | 'marked' | 'removed' | 'counts' | 'ready' | 'closing';

/**
 * @param data JSON, which has no line breaks of its own
 * @param position where to resume after this event; left out for events that do not move on
 */
export function frameOf(
  encoding: Encoding,
  type: LiveEventType,
  data: string,
  position?: string,
): string {
  return startOf(encoding, type, position) + restOf(encoding, type, data);
}

// What is the same for all connections stands at the end: text is put together with the least copying.

function startOf(encoding: Encoding, type: LiveEventType, position: string | undefined): string {
  if (encoding === 'sse') return position === undefined ? '' : `id: ${position}\n`;
  const at = position === undefined ? '' : `"position":"${position}",`;
  return `{"type":"${type}",${at}`;
}

function restOf(encoding: Encoding, type: LiveEventType, data: string): string {
  return encoding === 'sse' ? `event: ${type}\ndata: ${data}\n\n` : `"data":${data}}`;
}

/** One event for many connections: written as text once per encoding. */
export class SharedFrame {
  readonly #type: LiveEventType;
  readonly #value: unknown;
  #data: string | undefined;
  #sse: string | undefined;
  #json: string | undefined;

  constructor(type: LiveEventType, value: unknown) {
    this.#type = type;
    this.#value = value;
  }

  /** @param position of this connection after the event; left out for events that do not move on */
  in(encoding: Encoding, position?: string): string {
    return startOf(encoding, this.#type, position) + this.#rest(encoding);
  }

  /** The event's data, as JSON. */
  get data(): string {
    this.#data ??= JSON.stringify(this.#value);
    return this.#data;
  }

  #rest(encoding: Encoding): string {
    if (encoding === 'sse') {
      this.#sse ??= restOf('sse', this.#type, this.data);
      return this.#sse;
    }
    this.#json ??= restOf('json', this.#type, this.data);
    return this.#json;
  }
}
