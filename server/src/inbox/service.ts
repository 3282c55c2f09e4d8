/**
 * What the user of an inbox, and the application that lets them in, can do with it. The one file
 * through which HTTP uses this room.
 */
import type { ServerResponse } from 'node:http';
import type {
  InboxCounts,
  InboxItem,
  InboxState,
  InboxTicket,
  InboxToken,
  MarkedInbox,
  MarkInbox,
} from '@tidings/contracts/inbox';
import type { WebSocket } from 'ws';
import type { InboxLive, InboxStore } from '../adapters/in-app/inbox-store.ts';
import type { Clock } from '../clock.ts';
import { invalid } from '../errors.ts';
import type { LiveConnection, LiveSink } from './connection.ts';
import { EventStream } from './event-stream.ts';
import { InboxFollower } from './follow.ts';
import type { InboxHub } from './live.ts';
import { readPosition } from './position.ts';
import { catchUp } from './resume.ts';
import { type InboxSession, type InboxTokens, refused } from './token.ts';
import { InboxSockets } from './web-socket.ts';

export interface InboxServiceOptions {
  inbox: InboxStore;
  /** The live connections of this thread. */
  hub: InboxHub;
  /** Tells the hubs of all threads, this one's too, of marks; only this one's when left out. */
  live?: InboxLive;
  tokens: InboxTokens;
  clock: Clock;
  /** Reads a frame of a WebSocket as strictly as a body. @throws ServiceError for what is no JSON */
  parseFrame(text: string): unknown;
  /** Told of what ended a live connection against the user's will; the client comes back by itself. */
  failed?(error: unknown): void;
}

export type { InboxSession } from './token.ts';

export interface InboxService {
  mintToken(
    applicationId: number,
    input: { userId: string; expiresInSeconds: number },
  ): Promise<InboxToken>;
  /** @throws unauthorized */
  authenticate(token: string): Promise<InboxSession>;
  mintTicket(session: InboxSession): Promise<InboxTicket>;
  /** @throws unauthorized, limited */
  useTicket(ticket: string): Promise<InboxSession>;
  /** As `useTicket`, and the ticket can still be used. @throws unauthorized, limited */
  lookAtTicket(ticket: string): Promise<InboxSession>;
  list(
    session: InboxSession,
    query: { state: InboxState; category: string | null; limit: number; cursor: string | null },
  ): Promise<{ items: InboxItem[]; next: string | null }>;
  counts(session: InboxSession): Promise<InboxCounts>;
  /** Tells the user's other devices. @throws invalid_request */
  mark(session: InboxSession, change: MarkInbox): Promise<MarkedInbox>;
  /** Begins an event stream; from then on the answer is the stream's. @throws limited, overloaded, shutting_down */
  stream(
    session: InboxSession,
    response: ServerResponse,
    options: { headers: Readonly<Record<string, string>>; lastPosition: string | undefined },
  ): void;
  /** Whether a stream could begin now. @throws what `stream` would */
  checkStream(session: InboxSession): void;
  /** Serves a WebSocket, which says by its first frame whose inbox it is. */
  serve(socket: WebSocket): void;
  /** Sends all live connections away. Resolves when they are gone. */
  stop(): Promise<void>;
}

export function createInboxService(options: InboxServiceOptions): InboxService {
  const { inbox, hub, tokens, clock, parseFrame } = options;
  const live = options.live ?? hub;
  const failed = options.failed ?? (() => {});
  const follower = new InboxFollower({ inbox, hub, failed });
  const sockets = new InboxSockets({
    clock,
    failed,
    parseFrame,
    authenticate: async (token) => admitted(await tokens.verify(token)),
    connect,
    mark: async (session, change) => mark(await admitted(session), change),
  });

  /** A session from before its inbox was cleared opens nothing any more. @throws unauthorized */
  async function admitted(session: InboxSession): Promise<InboxSession> {
    if ((await inbox.generation(session)) > session.generation) throw refused();
    return session;
  }

  async function mark(
    session: InboxSession,
    { action, items, category }: MarkInbox,
  ): Promise<MarkedInbox> {
    if (action === 'unarchive' && items === 'all') {
      throw invalid('invalid_request', [
        {
          path: 'body.items',
          message: 'must be ids: the whole archive is not brought back at once',
        },
      ]);
    }
    const change = { action, items, category: category ?? null, at: clock.now() };
    const changed = await inbox.mark(session, change);
    const counts = await inbox.counts(session);
    const { applicationId, userId } = session;
    if (changed > 0) live.publish({ applicationId, userId, ...change, counts });
    return { changed, counts };
  }

  function connect(
    session: InboxSession,
    sink: LiveSink,
    lastPosition: string | undefined,
  ): LiveConnection {
    const connection = hub.connect(session, sink, session);
    void catchUp({
      inbox,
      owner: session,
      connection,
      lastPosition: lastPosition === undefined ? undefined : readPosition(lastPosition),
      followed: () => follower.begin(),
      clock,
      failed,
    });
    return connection;
  }

  return {
    async mintToken(applicationId, input) {
      const generation = await inbox.generation({ applicationId, userId: input.userId });
      const { token, expiresAt } = await tokens.mint({ applicationId, ...input, generation });
      return { token, expiresAt: new Date(expiresAt).toISOString() };
    },
    authenticate: async (token) => admitted(await tokens.verify(token)),
    async mintTicket(session) {
      const { ticket, expiresAt } = await tokens.mintTicket(session);
      return { ticket, expiresAt: new Date(expiresAt).toISOString() };
    },
    useTicket: async (ticket) => admitted(await tokens.useTicket(ticket)),
    lookAtTicket: async (ticket) => admitted(await tokens.lookAtTicket(ticket)),
    list: (session, query) => inbox.list(session, query),
    counts: (session) => inbox.counts(session),
    mark,
    stream(session, response, { headers, lastPosition }) {
      const stream = new EventStream(response);
      const connection = connect(session, stream, lastPosition);
      stream.onGone(() => connection.gone());
      stream.begin(headers, hub.reconnectDelayMs());
    },
    checkStream: (session) => hub.admit(session),
    serve: (socket) => sockets.serve(socket),
    async stop() {
      sockets.stop();
      await hub.stop();
    },
  };
}
