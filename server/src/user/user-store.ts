/**
 * Port: users of an application, with their addresses, groups and preferences. Writes are durable
 * when they resolve; reads see writes of the same process at once and those of others within 5 s.
 *
 * Ids and groups are the caller's text and are compared exactly: case, trailing spaces and the way
 * a character is composed all matter. A user of another application is not there.
 */
import type { Preferences, User } from '@tidings/contracts/user';

export type UserProfile = Pick<
  User,
  'name' | 'locale' | 'timezone' | 'addresses' | 'groups' | 'attributes'
>;

export interface UserStore {
  /**
   * Stores the whole profile, and the preferences when they are given; otherwise a user keeps those
   * it has, and a new one has none (`{}`). `created` tells whether it is new: of concurrent calls
   * for one id exactly one creates. Profile and membership of groups change together.
   */
  put(
    applicationId: number,
    id: string,
    profile: UserProfile,
    preferences: Preferences | null,
    at: number,
  ): Promise<{ user: User; created: boolean }>;
  /** Replaces the preferences; undefined when there is no such user. */
  putPreferences(
    applicationId: number,
    id: string,
    preferences: Preferences,
    at: number,
  ): Promise<User | undefined>;
  get(applicationId: number, id: string): Promise<User | undefined>;
  /**
   * In the order of the UTF-8 bytes of the ids, after `after`; only members of `group` when it is
   * given. Who is there throughout a walk from page to page is met exactly once, whatever is added
   * or removed meanwhile.
   */
  list(
    applicationId: number,
    page: { limit: number; after: string | null; group: string | null },
  ): Promise<User[]>;
  /** Removes the user with its groups and preferences. False when there was none. */
  delete(applicationId: number, id: string): Promise<boolean>;
  /**
   * Hot: profile and preferences of one user for delivery; cached. The same object may be handed
   * out again, so nobody changes it.
   */
  find(applicationId: number, id: string): User | undefined;
}
