/**
 * Users as callers deal with them: stored, read, listed and removed, each within the caller's own
 * application. Checks what a schema cannot: addresses by the rules of their channel, time zones,
 * locales. It does not decide whether or where a message goes; that is preference.ts and route.ts.
 */
import type { Address, Preferences, PutUser, User } from '@tidings/contracts/user';
import type { Clock } from '../clock.ts';
import { type FieldError, invalid, notFound } from '../errors.ts';
import type { UserProfile, UserStore } from './user-store.ts';

/** What is needed of the catalogue of channels. */
export interface AddressRules {
  adapter(channel: string): AddressParser | undefined;
  channels(): string[];
}

interface AddressParser {
  parseAddress(text: string): { ok: true; normalized: string } | { ok: false; message: string };
}

/** Inboxes of users, which are kept in another store. */
export interface UserInboxes {
  /** Empties one for good and ends what was let into it. Repeating it is harmless. */
  clear(owner: { applicationId: number; userId: string }, at: number): Promise<void>;
}

export interface UserServiceOptions {
  users: UserStore;
  inboxes: UserInboxes;
  adapters: AddressRules;
  clock: Clock;
}

/** A profile is kept in memory while messages go to its user, so it must stay small. */
const ATTRIBUTES_LIMIT_BYTES = 16 * 1024;

/** Whose users are meant: the caller. */
interface Owner {
  applicationId: number;
}

export type UserService = ReturnType<typeof createUserService>;

export function createUserService({ users, inboxes, adapters, clock }: UserServiceOptions) {
  return {
    /**
     * Creates a user or replaces its profile; the preferences only when they are given.
     * @throws ServiceError of kind invalid, with the path of each fault.
     */
    async put(
      { applicationId }: Owner,
      id: string,
      request: PutUser,
    ): Promise<{ user: User; created: boolean }> {
      const profile = checkRequest(request, adapters);
      return users.put(applicationId, id, profile, request.preferences ?? null, clock.now());
    },

    /** @throws not_found, unknown_channel */
    async putPreferences(
      { applicationId }: Owner,
      id: string,
      preferences: Preferences,
    ): Promise<User> {
      const unknown = unknownChannels(preferences, 'body', adapters);
      if (unknown.length > 0) throw invalid('unknown_channel', unknown);
      const user = await users.putPreferences(applicationId, id, preferences, clock.now());
      if (!user) throw notFound('user');
      return user;
    },

    /** @throws not_found */
    async get({ applicationId }: Owner, id: string): Promise<User> {
      const user = await users.get(applicationId, id);
      if (!user) throw notFound('user');
      return user;
    },

    /** By id, after `after`; only members of `group` when it is given. */
    list(
      { applicationId }: Owner,
      page: { limit: number; after: string | null; group: string | null },
    ): Promise<User[]> {
      return users.list(applicationId, page);
    },

    /**
     * The inbox first: whoever is left when this fails between the two is still a user, and removed
     * by another call. @throws not_found
     */
    async delete({ applicationId }: Owner, id: string): Promise<void> {
      if (!(await users.get(applicationId, id))) throw notFound('user');
      await inboxes.clear({ applicationId, userId: id }, clock.now());
      if (!(await users.delete(applicationId, id))) throw notFound('user');
    },
  };
}

/** Addresses of one channel, the one that is used first in front. */
export function addressesOf(user: User | undefined, channel: string): string[] {
  return (user?.addresses ?? [])
    .filter((address) => address.channel === channel)
    .map(({ address }) => address);
}

/** The profile in its one spelling. Collects every fault, so that a caller mends them in one go. */
function checkRequest(request: PutUser, adapters: AddressRules): UserProfile {
  const faults: FieldError[] = [];
  const unknown = unknownChannels(request.preferences ?? {}, 'body.preferences', adapters);
  const malformed: FieldError[] = [];
  const profile: UserProfile = {
    name: checkName(request.name, faults),
    locale: checkLocale(request.locale, faults),
    timezone: checkTimezone(request.timezone, faults),
    addresses: checkAddresses(request.addresses ?? [], adapters, { unknown, malformed }),
    groups: request.groups ?? [],
    attributes: request.attributes ?? {},
  };
  if (Buffer.byteLength(JSON.stringify(profile.attributes)) > ATTRIBUTES_LIMIT_BYTES) {
    faults.push({ path: 'body.attributes', message: 'has more than 16 KiB as JSON' });
  }
  const all = [...faults, ...unknown, ...malformed];
  if (faults.length > 0) throw invalid('invalid_request', all);
  if (malformed.length > 0) throw invalid('invalid_recipient', all);
  if (unknown.length > 0) throw invalid('unknown_channel', all);
  return profile;
}

/** A misspelt opt-out must not pass: whoever wrote it would be told what they opted out of. */
function unknownChannels(
  { channels, categories, route }: Preferences,
  base: string,
  adapters: AddressRules,
): FieldError[] {
  const inCategories = Object.entries(categories ?? {}).flatMap(([category, entry]) =>
    Object.keys(entry.channels ?? {}).map((channel) => ({
      channel,
      path: `${base}.categories.${category}.channels.${channel}`,
    })),
  );
  const named = [
    ...Object.keys(channels ?? {}).map((channel) => ({
      channel,
      path: `${base}.channels.${channel}`,
    })),
    ...inCategories,
    ...(route ?? []).map((channel, i) => ({ channel, path: `${base}.route.${i}` })),
  ];
  return named
    .filter(({ channel }) => adapters.adapter(channel) === undefined)
    .map(({ path }) => unknownChannel(path, adapters));
}

function unknownChannel(path: string, adapters: AddressRules): FieldError {
  return { path, message: `is not a channel; channels: ${adapters.channels().join(', ')}` };
}

/** A channel may be unknown or an address malformed; an address that is given twice is kept once. */
function checkAddresses(
  addresses: readonly Address[],
  adapters: AddressRules,
  { unknown, malformed }: { unknown: FieldError[]; malformed: FieldError[] },
): Address[] {
  const kept = new Map<string, Address>();
  for (const [i, address] of addresses.entries()) {
    const parsed = adapters.adapter(address.channel)?.parseAddress(address.address);
    if (!parsed) {
      unknown.push(unknownChannel(`body.addresses.${i}.channel`, adapters));
    } else if (!parsed.ok) {
      malformed.push({ path: `body.addresses.${i}.address`, message: parsed.message });
    } else {
      const key = `${address.channel}:${parsed.normalized}`;
      if (!kept.has(key)) kept.set(key, { ...address, address: parsed.normalized });
    }
  }
  return [...kept.values()];
}

/** A name ends up in headers of mails. */
function checkName(name: string | undefined, faults: FieldError[]): string | null {
  if (name === undefined) return null;
  if (/\p{Cc}/u.test(name)) {
    faults.push({ path: 'body.name', message: 'must not have line breaks or control characters' });
  }
  return name;
}

function checkLocale(locale: string | undefined, faults: FieldError[]): string | null {
  if (locale === undefined) return null;
  try {
    return Intl.getCanonicalLocales(locale)[0] ?? null;
  } catch {
    faults.push({ path: 'body.locale', message: 'is not a BCP 47 language tag' });
    return null;
  }
}

/** The name as it was given, in the usual case; Intl also takes offsets, which know no summer time. */
function checkTimezone(timezone: string | undefined, faults: FieldError[]): string | null {
  if (timezone === undefined) return null;
  try {
    if (!/^[+-]/.test(timezone)) {
      const { timeZone } = new Intl.DateTimeFormat('en', { timeZone: timezone }).resolvedOptions();
      // Not simply what Intl resolves to: it turns names into older ones of the same zone.
      return timeZone.toLowerCase() === timezone.toLowerCase() ? timeZone : timezone;
    }
  } catch {
    // Said below.
  }
  faults.push({
    path: 'body.timezone',
    message: 'is not an IANA time zone such as Asia/Shanghai',
  });
  return null;
}
