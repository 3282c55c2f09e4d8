/**
 * Stands between the service and a server on the loopback interface, and loses what a network can
 * lose: the answer to a request that has arrived.
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export type Loss =
  /** The connection is reset instead of the answer. */
  | 'reset'
  /** The connection ends in an orderly way instead of the answer. */
  | 'close'
  /** Nothing comes any more, and nobody says so. */
  | 'silence';

export interface TcpProxy extends AsyncDisposable {
  port: number;
  /** Answers lost so far. */
  readonly lost: number;
  /** What becomes of the next answers, in their order; after these they pass. */
  lose(...losses: Loss[]): void;
}

/** @param isAnswer whether bytes from the server are an answer that may be lost; all are when left out */
export async function startTcpProxy(
  serverPort: number,
  isAnswer: (bytes: Buffer) => boolean = () => true,
): Promise<TcpProxy> {
  const sockets = new Set<Socket>();
  const script: Loss[] = [];
  let lost = 0;
  const keep = (socket: Socket): Socket => {
    sockets.add(socket);
    socket.setNoDelay(true);
    // Either end may go at any time; the other one is told below.
    socket.on('error', () => {});
    socket.once('close', () => sockets.delete(socket));
    return socket;
  };
  const server = createServer((client) => {
    keep(client);
    const upstream = keep(connect(serverPort, '127.0.0.1'));
    let silent = false;
    client.pipe(upstream);
    upstream.on('data', (bytes: Buffer) => {
      if (silent) return;
      const loss = isAnswer(bytes) ? script.shift() : undefined;
      if (loss === undefined) return void client.write(bytes);
      lost++;
      if (loss === 'silence') silent = true;
      else if (loss === 'close') client.end();
      else client.resetAndDestroy();
    });
    upstream.once('end', () => silent || client.end());
    upstream.once('close', () => silent || client.destroy());
    client.once('close', () => upstream.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    get lost() {
      return lost;
    },
    lose(...losses) {
      script.push(...losses);
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
