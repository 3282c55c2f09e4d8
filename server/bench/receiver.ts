/**
 * The far end of deliveries, in a process of its own: a server of webhooks (node:http) or of mail
 * (npm smtp-server) that takes everything, counts it and keeps the first request as a sample.
 */
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { SMTPServer } from 'smtp-server';
import { serve } from './child.ts';

export type Protocol = 'webhook' | 'smtp';

export interface Received {
  /** `performance.timeOrigin` of this process plus its clock. */
  atMs: number;
  count: number;
}

export interface Sample {
  headers: IncomingHttpHeaders;
  body: string;
}

let count = 0;
let sample: Sample | undefined;
let watch: () => void = () => {};

function receive(): void {
  count++;
  watch();
}

async function listenHttp(): Promise<number> {
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      sample ??= { headers: request.headers, body: Buffer.concat(chunks).toString() };
      response.writeHead(204).end();
      receive();
    });
  });
  // Longer than any pause between two runs.
  server.keepAliveTimeout = 120_000;
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

async function listenSmtp(): Promise<number> {
  const server = new SMTPServer({
    name: 'mail.test',
    logger: false,
    disableReverseLookup: true,
    disabledCommands: ['STARTTLS', 'AUTH'],
    onData(stream, _session, done) {
      stream.on('end', () => {
        done();
        receive();
      });
      stream.resume();
    },
  });
  // A connection that a client has left: what is missing shows in the count.
  server.on('error', () => {});
  server.listen(0, '127.0.0.1');
  await once(server.server, 'listening');
  return (server.server.address() as AddressInfo).port;
}

const receiver = {
  /** Gives the port. */
  listen: (protocol: Protocol) => (protocol === 'webhook' ? listenHttp() : listenSmtp()),

  count(_: null): Received {
    return { atMs: performance.timeOrigin + performance.now(), count };
  },

  /** Of HTTP only. */
  sample: (_: null) => sample,

  /** Resolves when so many have come, or the time is over. */
  until({ count: wanted, timeoutMs }: { count: number; timeoutMs: number }): Promise<Received> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        watch = () => {};
        resolve(receiver.count(null));
      };
      const timer = setTimeout(done, timeoutMs);
      watch = () => {
        if (count >= wanted) done();
      };
      watch();
    });
  },
};
export type Receiver = typeof receiver;

if (import.meta.main) serve(receiver);
