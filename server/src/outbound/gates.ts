/**
 * What may keep a message from going out on a channel, in the order in which it is asked. Each
 * answer names the rule that gave it, for the timeline.
 */
import type { User } from '@tidings/contracts/user';
import type { NotificationBody } from '../notification/notification.ts';
import { allows } from '../user/preference.ts';

export type Refusal = { reason: string; rule: string };

export function isExpired(body: NotificationBody, now: number): boolean {
  return body.expiresAt !== null && body.expiresAt <= now;
}

/** Preferences of a known user; whoever is given only by an address has none. */
export function checkPreference(
  user: User | undefined,
  {
    channel,
    category,
    mandatory,
  }: { channel: string; category: string | null; mandatory: boolean },
): Refusal | undefined {
  if (!user) return undefined;
  const { allowed, rule } = allows(user.preferences, { category, channel, mandatory });
  return allowed ? undefined : { reason: 'opted_out', rule };
}
