/** Applications and API keys in the records file. */
import { timingSafeEqual } from 'node:crypto';
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { ApiKey } from '@tidings/contracts/application';
import type { KeyKind, Scope } from '@tidings/contracts/common';
import type {
  ApplicationRecord,
  ApplicationStore,
  Caller,
  NewApiKey,
} from '../../application/application-store.ts';
import type { Clock } from '../../clock.ts';
import { notFound, ServiceError } from '../../errors.ts';
import { formatId, IdSequence } from '../../id.ts';
import { alone, type OperationSet } from './group-writer.ts';
import type { RecordCacheGroup } from './record-cache.ts';
import { reportDamage, type WriteClient } from './write-client.ts';

const LOOKUP_LENGTH = 16;

type KeyRow = {
  id: number;
  application_id: number;
  application: string;
  name: string;
  kind: KeyKind;
  scopes: string;
  prefix: string;
  digest: string;
  created_at: number;
  expires_at: number | null;
  revoked_at: number | null;
};

/** What authentication needs of a key, ready to use. */
interface Credential {
  digest: Buffer;
  revoked: boolean;
  expiresAt: number;
  caller: Caller;
}

type CreateKeyArgument = [
  applicationId: number,
  name: string,
  kind: string,
  scopes: string,
  prefix: string,
  lookup: string,
  digest: string,
  session: number,
  createdAt: number,
  expiresAt: number | null,
];

export class SqliteApplicationStore implements ApplicationStore {
  readonly #writer: WriteClient;
  readonly #cache: RecordCacheGroup;
  readonly #clock: Clock;
  readonly #list: StatementSync;
  readonly #listKeys: StatementSync;
  readonly #keyById: StatementSync;
  readonly #keyByDigest: StatementSync;
  readonly #byKey: (key: string) => ApplicationRecord | undefined;
  readonly #byId: (id: number) => ApplicationRecord | undefined;
  readonly #credential: (digest: string) => Credential | undefined;

  constructor(options: {
    database: DatabaseSync;
    writer: WriteClient;
    cache: RecordCacheGroup;
    clock: Clock;
  }) {
    const { database, writer, cache, clock } = options;
    this.#writer = writer;
    this.#cache = cache;
    this.#clock = clock;
    // For all stores that share these two.
    reportDamage(database, writer);
    const columns = 'id, key, name, created_at';
    const keys = `SELECT api_key.*, application.key AS application FROM api_key
      JOIN application ON application.id = application_id`;
    const byKey = database.prepare(`SELECT ${columns} FROM application WHERE key = ?`);
    const byId = database.prepare(`SELECT ${columns} FROM application WHERE id = ?`);
    const byLookup = database.prepare(`${keys} WHERE lookup = ?`);
    this.#list = database.prepare(
      `SELECT ${columns} FROM application WHERE ?1 IS NULL OR id < ?1 ORDER BY id DESC LIMIT ?2`,
    );
    this.#listKeys = database.prepare(
      `${keys} WHERE application_id = ?1 AND session = 0 AND (?2 IS NULL OR api_key.id < ?2)
       ORDER BY api_key.id DESC LIMIT ?3`,
    );
    this.#keyById = database.prepare(`${keys} WHERE application_id = ? AND api_key.id = ?`);
    this.#keyByDigest = database.prepare(`${keys} WHERE digest = ?`);
    this.#byKey = cache.cached((key: string) => recordOf(byKey.get(key)));
    this.#byId = cache.cached((id: number) => recordOf(byId.get(id)));
    this.#credential = cache.cached((digest: string) => {
      const given = Buffer.from(digest);
      const found = byLookup.all(digest.slice(0, LOOKUP_LENGTH)) as KeyRow[];
      return found
        .map(credentialOf)
        .find(
          (credential) =>
            credential.digest.length === given.length && timingSafeEqual(credential.digest, given),
        );
    });
  }

  async create(input: { key: string; name: string }): Promise<ApplicationRecord> {
    await this.#write('createApplication', [input.key, input.name, this.#clock.now()]);
    const created = this.#byKey(input.key);
    if (!created) {
      throw new ServiceError('internal', {
        detail: 'The application was stored but cannot be read.',
      });
    }
    return created;
  }

  async byKey(key: string): Promise<ApplicationRecord | undefined> {
    return this.#byKey(key);
  }

  async byId(id: number): Promise<ApplicationRecord | undefined> {
    return this.#byId(id);
  }

  async list(page: { limit: number; before: number | null }): Promise<ApplicationRecord[]> {
    return this.#list.all(page.before, page.limit).map((row) => recordOf(row) as ApplicationRecord);
  }

  async createKey(input: NewApiKey): Promise<ApiKey> {
    const id = await this.#write<number>('createKey', [
      input.applicationId,
      input.name,
      input.kind,
      input.scopes.join(','),
      input.prefix,
      input.digest.slice(0, LOOKUP_LENGTH),
      input.digest,
      input.session ? 1 : 0,
      this.#clock.now(),
      input.expiresAt,
    ] satisfies CreateKeyArgument);
    return apiKeyOf(this.#keyById.get(input.applicationId, id) as KeyRow);
  }

  authenticate(digest: string): Caller | undefined {
    const credential = this.#credential(digest);
    if (credential === undefined || credential.revoked) return undefined;
    return credential.expiresAt > this.#clock.now() ? credential.caller : undefined;
  }

  async keyByDigest(digest: string): Promise<ApiKey | undefined> {
    const row = this.#keyByDigest.get(digest) as KeyRow | undefined;
    return row && apiKeyOf(row);
  }

  async keyById(applicationId: number, keyId: number): Promise<ApiKey | undefined> {
    const row = this.#keyById.get(applicationId, keyId) as KeyRow | undefined;
    return row && apiKeyOf(row);
  }

  async listKeys(
    applicationId: number,
    page: { limit: number; before: number | null },
  ): Promise<ApiKey[]> {
    const rows = this.#listKeys.all(applicationId, page.before, page.limit) as KeyRow[];
    return rows.map(apiKeyOf);
  }

  revokeKey(applicationId: number, keyId: number): Promise<boolean> {
    return this.#write('revokeKey', [applicationId, keyId, this.#clock.now()]);
  }

  async createAdminLink(digest: string, expiresAt: number): Promise<void> {
    await this.#write('createAdminLink', [digest, expiresAt, this.#clock.now()]);
  }

  useAdminLink(digest: string): Promise<boolean> {
    return this.#write('useAdminLink', [digest, this.#clock.now()]);
  }

  async #write<Result>(operation: string, argument: unknown): Promise<Result> {
    try {
      return await this.#writer.call<Result>(operation, argument);
    } finally {
      this.#cache.invalidate();
    }
  }
}

export function applicationOperations(
  database: DatabaseSync,
  { clock }: { clock: Clock },
): OperationSet {
  // Numbers follow the time, so that none is given to somebody else when an older copy of this file is
  // put back beside newer messages.
  const insert = database.prepare(
    `INSERT INTO application (id, key, name, created_at)
     VALUES (max(?, (SELECT coalesce(max(id), 0) + 1 FROM application)), ?, ?, ?)`,
  );
  const application = database.prepare('SELECT 1 FROM application WHERE id = ?');
  const last = database.prepare('SELECT coalesce(max(id), 0) AS id FROM api_key').get() as {
    id: number;
  };
  const ids = new IdSequence(clock.now, last.id);
  const insertKey = database.prepare(
    'INSERT INTO api_key VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)',
  );
  const dropOldSessions = database.prepare(
    'DELETE FROM api_key WHERE session = 1 AND expires_at <= ?',
  );
  const revoke = database.prepare(
    'UPDATE api_key SET revoked_at = coalesce(revoked_at, ?) WHERE id = ? AND application_id = ?',
  );
  const dropOldLinks = database.prepare('DELETE FROM admin_link WHERE expires_at <= ?');
  const insertLink = database.prepare('INSERT OR REPLACE INTO admin_link VALUES (?, ?)');
  const takeLink = database.prepare('DELETE FROM admin_link WHERE digest = ? AND expires_at > ?');
  return {
    operations: {
      createApplication: alone((values: [string, string, number]) => {
        insert.run(clock.now(), ...values);
        return null;
      }),
      createKey: alone((values: CreateKeyArgument) => {
        const [applicationId, , , , , , , session, now] = values;
        if (!application.get(applicationId)) throw notFound('application');
        if (session === 1) dropOldSessions.run(now);
        const id = ids.take();
        insertKey.run(id, ...values);
        return id;
      }),
      revokeKey: alone(
        ([applicationId, id, at]: [number, number, number]) =>
          revoke.run(at, id, applicationId).changes === 1,
      ),
      createAdminLink: alone(([digest, expiresAt, now]: [string, number, number]) => {
        dropOldLinks.run(now);
        insertLink.run(digest, expiresAt);
        return null;
      }),
      useAdminLink: alone(
        ([digest, now]: [string, number]) => takeLink.run(digest, now).changes === 1,
      ),
    },
  };
}

function recordOf(row: unknown): ApplicationRecord | undefined {
  if (!row) return undefined;
  const { id, key, name, created_at } = row as {
    id: number;
    key: string;
    name: string;
    created_at: number;
  };
  return { id, key, name, createdAt: timeOf(created_at) };
}

function credentialOf(row: KeyRow): Credential {
  return {
    digest: Buffer.from(row.digest),
    revoked: row.revoked_at !== null,
    expiresAt: row.expires_at ?? Number.POSITIVE_INFINITY,
    caller: {
      applicationId: row.application_id,
      application: row.application,
      keyId: row.id,
      kind: row.kind,
      scopes: row.scopes.split(',') as Scope[],
    },
  };
}

function apiKeyOf(row: KeyRow): ApiKey {
  return {
    id: formatId('key', row.id),
    application: row.application,
    name: row.name,
    kind: row.kind,
    scopes: row.scopes.split(',') as Scope[],
    prefix: row.prefix,
    createdAt: timeOf(row.created_at),
    expiresAt: row.expires_at === null ? null : timeOf(row.expires_at),
    revokedAt: row.revoked_at === null ? null : timeOf(row.revoked_at),
  };
}

function timeOf(at: number): string {
  return new Date(at).toISOString();
}
