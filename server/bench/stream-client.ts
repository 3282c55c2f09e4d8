/**
 * Clients of live streams, thousands of them in one process: bare sockets whose bytes are read into
 * one buffer and searched for events, so that reading costs less than writing does.
 *
 * They come from 127.0.0.1, 127.0.0.2, …, because one address has some 28,000 ports.
 */
import { connect } from 'node:net';
import { serve } from './child.ts';

export interface OpenJob {
  port: number;
  /** One per user. */
  tokens: string[];
  streamsPerToken: number;
}

export interface Seen {
  /** When this was counted: `performance.timeOrigin` of this process plus its clock. */
  atMs: number;
  /** Events `item` since the start. */
  items: number;
  /** Connections that are open, each past its `ready` and `counts`. */
  open: number;
}

/** At the same time, so that the server's backlog of connections does not overflow. */
const openingAtOnce = 100;
const openDeadlineMs = 10_000;
const socketsPerAddress = 20_000;
const itemMark = Buffer.from('event: item\n');
/** The last block of those that open a stream. */
const readyMark = Buffer.from('event: counts\n');
const blockEnd = Buffer.from('\n\n');

const received = Buffer.allocUnsafe(256 * 1024);
let opened = 0;
let items = 0;
let open = 0;
let watch: () => void = () => {};

function countOf(bytes: Buffer, mark: Buffer): number {
  let count = 0;
  for (let at = bytes.indexOf(mark); at >= 0; at = bytes.indexOf(mark, at + mark.length)) count++;
  return count;
}

/** Whole blocks of one stream; what is left of the last is kept until the rest comes. */
function blockReader(read: (blocks: Buffer) => void): (bytes: Buffer) => void {
  let rest: Buffer | undefined;
  return (bytes) => {
    const all = rest === undefined ? bytes : Buffer.concat([rest, bytes]);
    const end = all.lastIndexOf(blockEnd) + blockEnd.length;
    const isWhole = end === all.length;
    // Copied, because the buffer is read into again.
    rest = isWhole ? undefined : Buffer.from(all.subarray(end < blockEnd.length ? 0 : end));
    if (end >= blockEnd.length) read(all.subarray(0, end));
  };
}

function requestOf(port: number, token: string): string {
  const headers = [`host: 127.0.0.1:${port}`, `authorization: Bearer ${token}`];
  return ['GET /v1/inbox/stream HTTP/1.1', ...headers, '', ''].join('\r\n');
}

/** Resolves when the stream is past its first events. */
function openOne(port: number, token: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let isOpen = false;
  let head = '';
  const read = blockReader((blocks) => {
    items += countOf(blocks, itemMark);
    if (!isOpen && blocks.includes(readyMark)) {
      isOpen = true;
      open++;
      clearTimeout(late);
      resolve();
    }
    watch();
  });
  const callback = (length: number): boolean => {
    const bytes = received.subarray(0, length);
    if (!isOpen) head += bytes.toString('latin1');
    read(bytes);
    return true;
  };
  const socket = connect({
    port,
    host: '127.0.0.1',
    localAddress: `127.0.0.${1 + Math.floor(opened++ / socketsPerAddress)}`,
    onread: { buffer: received, callback },
  });
  const late = setTimeout(() => socket.destroy(), openDeadlineMs);
  const fail = (cause: string) => reject(new Error(`a stream did not open: ${cause}`));
  socket.on('error', ({ message }) => fail(message));
  socket.on('close', () => {
    clearTimeout(late);
    if (isOpen) open--;
    else fail(head.split('\r\n', 1)[0] || 'no answer');
  });
  socket.write(requestOf(port, token));
  return promise;
}

const client = {
  /** Resolves when all are open. @throws when one is not */
  async open({ port, tokens, streamsPerToken }: OpenJob): Promise<{ seconds: number }> {
    const startMs = performance.now();
    const wanted = tokens.flatMap((token) => Array<string>(streamsPerToken).fill(token));
    let next = 0;
    const opener = async () => {
      while (next < wanted.length) await openOne(port, wanted[next++] as string);
    };
    await Promise.all(Array.from({ length: openingAtOnce }, opener));
    return { seconds: (performance.now() - startMs) / 1000 };
  },

  count(_: null): Seen {
    return { atMs: performance.timeOrigin + performance.now(), items, open };
  },

  /** Resolves when so many items have come, or the time is over. */
  until({ count, timeoutMs }: { count: number; timeoutMs: number }): Promise<Seen> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        watch = () => {};
        resolve(client.count(null));
      };
      const timer = setTimeout(done, timeoutMs);
      watch = () => {
        if (items >= count) done();
      };
      watch();
    });
  },
};
export type StreamClient = typeof client;

if (import.meta.main) serve(client);
