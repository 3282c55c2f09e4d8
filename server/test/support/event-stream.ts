/** Server-Sent Events read as they come over the wire, for tests that want every byte accounted for. */
import { once } from 'node:events';
import { type ClientRequest, type IncomingMessage, request } from 'node:http';
import { within } from './within.ts';

export interface StreamEvent {
  event: string;
  id: string | undefined;
  data: unknown;
}

const PATIENCE_SECONDS = 50;

export class EventStreamReader implements Disposable {
  readonly status: number;
  /** Everything so far, oldest first. */
  readonly events: StreamEvent[] = [];
  /** `retry` times in ms. */
  readonly retries: number[] = [];
  /** Resolves when the server has ended the stream. */
  readonly ended: Promise<void>;
  readonly #request: ClientRequest;
  readonly #watchers = new Set<() => void>();
  #rest = '';
  #over = false;

  static async open(url: string, headers: Record<string, string> = {}): Promise<EventStreamReader> {
    const { hostname, port, pathname, search } = new URL(url);
    if (hostname !== '127.0.0.1') throw new Error(`${url} is not on the loopback interface`);
    const asked = request({ hostname, port, path: pathname + search, headers, agent: false });
    asked.end();
    const answered = once(asked, 'response') as Promise<[IncomingMessage]>;
    const [response] = await within(PATIENCE_SECONDS, 'the head of the stream', answered);
    return new EventStreamReader(asked, response);
  }

  private constructor(asked: ClientRequest, response: IncomingMessage) {
    this.#request = asked;
    this.status = response.statusCode ?? 0;
    asked.on('error', () => {});
    response.on('error', () => {});
    response.setEncoding('utf8').on('data', (text: string) => this.#read(text));
    this.ended = new Promise((resolve) => {
      response.on('close', () => {
        this.#over = true;
        this.#changed();
        resolve();
      });
    });
  }

  get lastId(): string | undefined {
    return this.events.findLast(({ id }) => id !== undefined)?.id;
  }

  of(event: string): StreamEvent[] {
    return this.events.filter((one) => one.event === event);
  }

  /** Resolves as soon as the condition holds. @throws when the stream ends before */
  async until(what: string, condition: (stream: this) => boolean): Promise<void> {
    let look: () => void = () => {};
    const seen = new Promise<void>((resolve, reject) => {
      look = () => {
        if (condition(this)) resolve();
        else if (this.#over) reject(new Error(`the stream ended before ${what}`));
      };
      this.#watchers.add(look);
      look();
    });
    await within(PATIENCE_SECONDS, what, seen).finally(() => this.#watchers.delete(look));
  }

  [Symbol.dispose](): void {
    this.#request.destroy();
  }

  #read(text: string): void {
    const blocks = (this.#rest + text).split('\n\n');
    this.#rest = blocks.pop() as string;
    for (const block of blocks) this.#take(block);
    this.#changed();
  }

  #take(block: string): void {
    const field = (name: string): string | undefined =>
      block
        .split('\n')
        .find((line) => line.startsWith(`${name}: `))
        ?.slice(name.length + 2);
    const [retry, data] = [field('retry'), field('data')];
    if (retry !== undefined) this.retries.push(Number(retry));
    if (data === undefined) return;
    this.events.push({
      event: field('event') ?? 'message',
      id: field('id'),
      data: JSON.parse(data),
    });
  }

  #changed(): void {
    for (const look of [...this.#watchers]) look();
  }
}
