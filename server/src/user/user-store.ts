/**
 * Port: users of an application, with their addresses, groups and preferences. Writes are durable
 * when they resolve; reads see writes of the same process at once and those of others within 5 s.
 */
import type { Preferences, User } from '@tidings/contracts/user';

export type UserProfile = Pick<User, 'name' | 'locale' | 'timezone' | 'addresses' | 'groups' | 'attributes'>;

export interface UserStore {
  /** Stores the whole profile, and the preferences when they are given. `created` tells whether it is new. */
  put(
    applicationId: number,
    id: string,
    profile: UserProfile,
    preferences: Preferences | null,
    at: number,
  ): Promise<{ user: User; created: boolean }>;
  /** Replaces the preferences; undefined when there is no such user. */
  putPreferences(applicationId: number, id: string, preferences: Preferences, at: number): Promise<User | undefined>;
  get(applicationId: number, id: string): Promise<User | undefined>;
  /** By id, after `after`; only members of `group` when it is given. */
  list(
    applicationId: number,
    page: { limit: number; after: string | null; group: string | null },
  ): Promise<User[]>;
  /** False when there was none. */
  delete(applicationId: number, id: string): Promise<boolean>;
  /** Hot: profile and preferences of one user for delivery; cached. */
  find(applicationId: number, id: string): User | undefined;
}
