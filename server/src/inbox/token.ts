/**
 * Tokens that open one inbox for the browser or app of its user, and tickets that open one stream
 * for clients that cannot send a header. Both are signed, neither is stored.
 *
 * A token ends by itself, which is why callers choose how long it lives (an hour unless they say
 * otherwise) and why every connection ends with its token. It names the generation of its inbox, which
 * ends when the user is removed (service.ts looks). Replacing the master key ends all of them at once.
 */
import { createSecretKey } from 'node:crypto';
import { errors, jwtVerify, SignJWT } from 'jose';
import type { InboxOwner } from '../adapters/in-app/inbox-store.ts';
import type { Clock } from '../clock.ts';
import { ServiceError } from '../errors.ts';

const ALGORITHM = 'HS256';
const TOKEN_AUDIENCE = 'tidings-inbox';
/** Of its own, so that a ticket is no token and a token no ticket. */
const TICKET_AUDIENCE = 'tidings-inbox-ticket';

/** From the answer to the opening of the stream; it stands in a URL, so it ends soon. */
export const TICKET_LIFETIME_MS = 30_000;
const TICKET_ID_BYTES = 16;

/** Tokens whose signature need not be checked again; each takes about half a kilobyte. */
const CACHE_LIMIT = 20_000;
/** Tickets used within the last 30 s. Beyond it new ones are refused rather than old ones forgotten. */
const USED_LIMIT = 100_000;

/** Whose inbox it is, and until when. */
export interface InboxSession extends InboxOwner {
  /** ms since 1970; every connection opened with it ends then. */
  expiresAt: number;
  /** Of the inbox, when the token was made; a later one is nobody's it knows. */
  generation: number;
}

export interface InboxTokens {
  mint(
    input: InboxOwner & { expiresInSeconds: number; generation: number },
  ): Promise<{ token: string; expiresAt: number }>;
  /** @throws unauthorized with one and the same answer for everything that is not a valid token */
  verify(token: string): Promise<InboxSession>;
  /** A ticket for one connection of this session. */
  mintTicket(session: InboxSession): Promise<{ ticket: string; expiresAt: number }>;
  /** The session a ticket was made for. @throws unauthorized, also when it was used before; limited */
  useTicket(ticket: string): Promise<InboxSession>;
  /** What `useTicket` would come to; the ticket can still be used. @throws the same */
  lookAtTicket(ticket: string): Promise<InboxSession>;
}

export interface InboxTokensOptions {
  /** Derived from the master key for this purpose alone. */
  key: Buffer;
  clock: Clock;
  /** Tokens that are remembered as valid. */
  cacheLimit?: number;
}

interface Claims {
  sub: string;
  app: number;
  exp: number;
  gen: number;
  /** Of a ticket: its id, and the end of the session in ms. */
  jti?: string;
  until?: number;
}

export function createInboxTokens(options: InboxTokensOptions): InboxTokens {
  const { clock, cacheLimit = CACHE_LIMIT } = options;
  const key = createSecretKey(options.key);
  const verified = new Map<string, InboxSession>();
  const used = new UsedTickets(clock);

  async function sign(
    audience: string,
    owner: InboxOwner & { generation: number },
    expiresAt: number,
    more: object,
  ): Promise<string> {
    return new SignJWT({ app: owner.applicationId, gen: owner.generation, ...more })
      .setProtectedHeader({ alg: ALGORITHM, typ: 'JWT' })
      .setSubject(owner.userId)
      .setAudience(audience)
      .setIssuedAt(Math.floor(clock.now() / 1000))
      .setExpirationTime(expiresAt / 1000)
      .sign(key);
  }

  async function check(text: string, audience: string): Promise<Claims> {
    try {
      const { payload } = await jwtVerify(text, key, {
        algorithms: [ALGORITHM],
        audience,
        requiredClaims: ['sub', 'exp', 'iat', 'app', 'gen'],
        currentDate: new Date(clock.now()),
      });
      return payload as unknown as Claims;
    } catch (error) {
      if (error instanceof errors.JOSEError) throw refused(error);
      throw error;
    }
  }

  async function sessionOfTicket(
    ticket: string,
    take: (id: string, endsAt: number) => boolean,
  ): Promise<InboxSession> {
    const { sub, app, exp, gen, jti, until } = await check(ticket, TICKET_AUDIENCE);
    if (jti === undefined || until === undefined || !take(jti, exp * 1000)) throw refused();
    return { applicationId: app, userId: sub, expiresAt: until, generation: gen };
  }

  /** Whole seconds, as JWTs count, and never longer than asked for. */
  const endOf = (lifetimeMs: number) => Math.floor((clock.now() + lifetimeMs) / 1000) * 1000;

  return {
    async mint({ expiresInSeconds, ...owner }) {
      const expiresAt = endOf(expiresInSeconds * 1000);
      const token = await sign(TOKEN_AUDIENCE, owner, expiresAt, {});
      return { token, expiresAt };
    },

    async verify(token) {
      const known = verified.get(token);
      if (known) {
        if (known.expiresAt > clock.now()) return known;
        verified.delete(token);
        throw refused();
      }
      const { sub, app, exp, gen } = await check(token, TOKEN_AUDIENCE);
      const session = { applicationId: app, userId: sub, expiresAt: exp * 1000, generation: gen };
      if (verified.size >= cacheLimit) forgetOldest(verified);
      verified.set(token, session);
      return session;
    },

    async mintTicket(session) {
      const expiresAt = Math.min(endOf(TICKET_LIFETIME_MS), session.expiresAt);
      const jti = clock.randomBytes(TICKET_ID_BYTES).toString('base64url');
      const more = { jti, until: session.expiresAt };
      return { ticket: await sign(TICKET_AUDIENCE, session, expiresAt, more), expiresAt };
    },

    useTicket: (ticket) => sessionOfTicket(ticket, (id, endsAt) => used.add(id, endsAt)),
    lookAtTicket: (ticket) => sessionOfTicket(ticket, (id) => used.canAdd(id)),
  };
}

/** Ids of tickets that were used and could be used again if they were forgotten. */
class UsedTickets {
  readonly #clock: Clock;
  readonly #ends = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** False when it was there. @throws limited */
  add(id: string, endsAt: number): boolean {
    if (!this.canAdd(id)) return false;
    this.#ends.set(id, endsAt);
    return true;
  }

  /** What `add` would say. @throws limited */
  canAdd(id: string): boolean {
    if (this.#ends.has(id)) return false;
    if (this.#ends.size >= USED_LIMIT) this.#forgetEnded();
    if (this.#ends.size >= USED_LIMIT) {
      throw new ServiceError('limited', { retryAfterMs: TICKET_LIFETIME_MS });
    }
    return true;
  }

  #forgetEnded(): void {
    const now = this.#clock.now();
    for (const [id, endsAt] of this.#ends) if (endsAt <= now) this.#ends.delete(id);
  }
}

function forgetOldest(sessions: Map<string, unknown>): void {
  for (const token of sessions.keys()) {
    sessions.delete(token);
    return;
  }
}

/** One answer for everything, so that nobody learns what was wrong with a guess. */
export function refused(cause?: unknown): ServiceError {
  return new ServiceError('unauthorized', {
    detail: 'The inbox token or ticket is not valid, or it has ended.',
    hint: 'Get a new token for this user: POST /v1/inbox/tokens with an API key.',
    cause,
  });
}
