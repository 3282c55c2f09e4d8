/**
 * Which channels a message goes over when its caller named none (`auto`). Pure: content, addresses
 * and preferences are handed in; nothing is looked up or sent here.
 */
import type { User } from '@tidings/contracts/user';
import { allows } from './preference.ts';

export interface RouteQuestion {
  /** undefined for somebody who is given only by an address. */
  user: User | undefined;
  /** The recipient as the request gives it: whoever writes an address there means it to be used. */
  to: Readonly<Record<string, string>>;
  /** Channels that the content has something for. */
  available: readonly string[];
  /** Where the recipient is reached on a channel: inline, from the profile or by default; undefined for nowhere. */
  reachable(channel: string): string | undefined;
  category: string | null;
  /** The category is one that nobody can opt out of. */
  mandatory: boolean;
  /** The operator's order of channels. */
  defaultOrder: readonly string[];
}

export interface LeftOut {
  channel: string;
  /**
   * no_content: the content has nothing for it. opted_out: the user does not want it; `rule` says
   * which entry. no_address: nowhere to send. not_in_order: neither the user, the operator nor the
   * request names it.
   */
  reason: 'no_content' | 'opted_out' | 'no_address' | 'not_in_order';
  rule?: string;
}

export interface ResolvedRoute {
  /** Channels in the order they are tried; empty when nobody can be reached. */
  route: string[];
  left: LeftOut[];
  /** With other content there would have been a further channel: the user wants it and has an address. */
  missed: boolean;
}

/**
 * The user's own order first, then the operator's, then channels for which the request has an
 * inline address. Only channels with content, consent and an address are kept.
 */
export function resolveRoute(question: RouteQuestion): ResolvedRoute {
  const { user, to, available, defaultOrder } = question;
  const preferred = user?.preferences.route ?? [];
  const inline = Object.keys(to).filter((channel) => available.includes(channel));
  const ordered = new Set([...preferred, ...defaultOrder, ...inline]);
  const route: string[] = [];
  const left: LeftOut[] = [];
  let missed = false;
  for (const channel of ordered) {
    const objection = objectionTo(channel, question);
    if (!objection) {
      route.push(channel);
      continue;
    }
    const isMissed = objection.reason === 'no_content' && wouldBeUsed(channel, question);
    missed ||= isMissed;
    // The operator's order may name every channel there is: of those that could not be used anyway it is no news.
    if (objection.reason !== 'no_content' || preferred.includes(channel) || isMissed)
      left.push(objection);
  }
  for (const channel of new Set(available)) {
    if (!ordered.has(channel)) left.push({ channel, reason: 'not_in_order' });
  }
  return { route, left, missed };
}

/** Why a channel cannot be used. A refusal by the user is named before a missing address: it is what matters to people. */
function objectionTo(channel: string, question: RouteQuestion): LeftOut | undefined {
  const { user, available, reachable, category, mandatory } = question;
  if (!available.includes(channel)) return { channel, reason: 'no_content' };
  const { allowed, rule } = allows(user?.preferences, { channel, category, mandatory });
  if (!allowed) return { channel, reason: 'opted_out', rule };
  // An empty address, which no channel takes, is none.
  return reachable(channel) ? undefined : { channel, reason: 'no_address' };
}

/** Were there content for it. */
function wouldBeUsed(channel: string, question: RouteQuestion): boolean {
  return objectionTo(channel, { ...question, available: [channel] }) === undefined;
}
