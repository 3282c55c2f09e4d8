/** Users in the records file: one row each, and one more per group for look-ups by group. */
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { Preferences, User } from '@tidings/contracts/user';
import type { UserProfile, UserStore } from '../../user/user-store.ts';
import { hot, type OperationSet } from './group-writer.ts';
import type { RecordCacheGroup } from './record-cache.ts';
import type { WriteClient } from './write-client.ts';

/** Larger users are read each time, so that a full cache stays below some 100 MB. */
const CACHED_LIMIT_CHARACTERS = 4096;
const TOO_LARGE = Symbol('too large to cache');

type UserRow = {
  id: string;
  profile: string;
  preferences: string;
  created_at: number;
  updated_at: number;
};

type PutArgument = [
  applicationId: number,
  id: string,
  profile: string,
  preferences: string | null,
  groups: string,
  at: number,
];
type PutResult = [created: boolean, createdAt: number, preferences: string];

export class SqliteUserStore implements UserStore {
  readonly #writer: WriteClient;
  readonly #cache: RecordCacheGroup;
  readonly #one: StatementSync;
  readonly #all: StatementSync;
  readonly #members: StatementSync;
  readonly #find: (key: string) => User | typeof TOO_LARGE | undefined;

  constructor(options: { database: DatabaseSync; writer: WriteClient; cache: RecordCacheGroup }) {
    const { database, writer, cache } = options;
    this.#writer = writer;
    this.#cache = cache;
    const columns = 'user.id, profile, preferences, created_at, updated_at';
    this.#one = database.prepare(`SELECT ${columns} FROM user WHERE application_id = ? AND id = ?`);
    this.#all = database.prepare(
      `SELECT ${columns} FROM user
       WHERE application_id = ?1 AND (?2 IS NULL OR id > ?2) ORDER BY id LIMIT ?3`,
    );
    this.#members = database.prepare(
      `SELECT ${columns} FROM user_group
       JOIN user ON user.application_id = user_group.application_id AND user.id = user_id
       WHERE user_group.application_id = ?1 AND group_key = ?4 AND (?2 IS NULL OR user_id > ?2)
       ORDER BY user_id LIMIT ?3`,
    );
    this.#find = cache.cached((key: string) => {
      const [applicationId, id] = splitKey(key);
      const row = this.#row(applicationId, id);
      if (!row) return undefined;
      const size = row.profile.length + row.preferences.length;
      return size > CACHED_LIMIT_CHARACTERS ? TOO_LARGE : userOf(row);
    });
  }

  async put(
    applicationId: number,
    id: string,
    profile: UserProfile,
    preferences: Preferences | null,
    at: number,
  ): Promise<{ user: User; created: boolean }> {
    const stored = JSON.stringify(profile);
    const [created, createdAt, current] = await this.#write<PutResult>('putUser', [
      applicationId,
      id,
      stored,
      preferences === null ? null : JSON.stringify(preferences),
      JSON.stringify(profile.groups),
      at,
    ] satisfies PutArgument);
    const row = { id, profile: stored, preferences: current };
    return { user: userOf({ ...row, created_at: createdAt, updated_at: at }), created };
  }

  async putPreferences(
    applicationId: number,
    id: string,
    preferences: Preferences,
    at: number,
  ): Promise<User | undefined> {
    const argument = [applicationId, id, JSON.stringify(preferences), at];
    const row = await this.#write<UserRow | null>('putPreferences', argument);
    return row === null ? undefined : userOf(row);
  }

  async get(applicationId: number, id: string): Promise<User | undefined> {
    const row = this.#row(applicationId, id);
    return row && userOf(row);
  }

  async list(
    applicationId: number,
    { limit, after, group }: { limit: number; after: string | null; group: string | null },
  ): Promise<User[]> {
    const rows =
      group === null
        ? this.#all.all(applicationId, after, limit)
        : this.#members.all(applicationId, after, limit, group);
    return (rows as UserRow[]).map(userOf);
  }

  delete(applicationId: number, id: string): Promise<boolean> {
    return this.#write('deleteUser', [applicationId, id]);
  }

  find(applicationId: number, id: string): User | undefined {
    const found = this.#find(`${applicationId}:${id}`);
    if (found !== TOO_LARGE) return found;
    const row = this.#row(applicationId, id);
    return row && userOf(row);
  }

  #row(applicationId: number, id: string): UserRow | undefined {
    return this.#one.get(applicationId, id) as UserRow | undefined;
  }

  async #write<Result>(operation: string, argument: unknown): Promise<Result> {
    try {
      return await this.#writer.call<Result>(operation, argument);
    } finally {
      this.#cache.invalidate();
    }
  }
}

export function userOperations(database: DatabaseSync): OperationSet {
  const known = database.prepare(
    'SELECT created_at, preferences FROM user WHERE application_id = ? AND id = ?',
  );
  const upsert = database.prepare(
    `INSERT INTO user VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (application_id, id) DO UPDATE SET
       profile = excluded.profile, preferences = excluded.preferences, updated_at = excluded.updated_at`,
  );
  const leaveGroups = database.prepare(
    `DELETE FROM user_group WHERE application_id = ?1 AND user_id = ?2
     AND group_key NOT IN (SELECT value FROM json_each(?3))`,
  );
  const joinGroups = database.prepare(
    'INSERT OR IGNORE INTO user_group SELECT ?1, value, ?2 FROM json_each(?3)',
  );
  const updatePreferences = database.prepare(
    `UPDATE user SET preferences = ?3, updated_at = ?4 WHERE application_id = ?1 AND id = ?2
     RETURNING id, profile, preferences, created_at, updated_at`,
  );
  const remove = database.prepare('DELETE FROM user WHERE application_id = ? AND id = ?');
  return {
    operations: {
      putUser: hot(
        ([applicationId, id, profile, preferences, groups, at]: PutArgument): PutResult => {
          const old = known.get(applicationId, id) as
            | { created_at: number; preferences: string }
            | undefined;
          const createdAt = old?.created_at ?? at;
          const current = preferences ?? old?.preferences ?? '{}';
          upsert.run(applicationId, id, profile, current, createdAt, at);
          if (old) leaveGroups.run(applicationId, id, groups);
          if (groups !== '[]') joinGroups.run(applicationId, id, groups);
          return [!old, createdAt, current];
        },
      ),
      putPreferences: hot(
        ([applicationId, id, preferences, at]: [number, string, string, number]) =>
          updatePreferences.get(applicationId, id, preferences, at) ?? null,
      ),
      deleteUser: hot(([applicationId, id]: [number, string]) => {
        leaveGroups.run(applicationId, id, '[]');
        return remove.run(applicationId, id).changes === 1;
      }),
    },
  };
}

/** The application's number has no colon, so the first one ends it, whatever the id contains. */
function splitKey(key: string): [applicationId: number, id: string] {
  const colon = key.indexOf(':');
  return [Number(key.slice(0, colon)), key.slice(colon + 1)];
}

function userOf(row: UserRow): User {
  const profile = JSON.parse(row.profile) as UserProfile;
  const createdAt = new Date(row.created_at).toISOString();
  return {
    id: row.id,
    name: profile.name,
    locale: profile.locale,
    timezone: profile.timezone,
    addresses: profile.addresses,
    groups: profile.groups,
    attributes: profile.attributes,
    preferences: JSON.parse(row.preferences) as Preferences,
    createdAt,
    // Most users are stored once, and the text of a time costs a tenth of the whole look-up.
    updatedAt:
      row.updated_at === row.created_at ? createdAt : new Date(row.updated_at).toISOString(),
  };
}
