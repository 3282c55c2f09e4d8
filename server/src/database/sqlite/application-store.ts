/** Applications and API keys in the records file. */
import { randomBytes, timingSafeEqual } from 'node:crypto';
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
import { ServiceError } from '../../errors.ts';
import { formatId, IdSequence } from '../../id.ts';
import type { SecretBox } from '../../secret-box.ts';
import { alone, type OperationSet } from './group-writer.ts';
import type { RecordCacheGroup } from './record-cache.ts';
import type { WriteClient } from './write-client.ts';

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

export class SqliteApplicationStore implements ApplicationStore {
  readonly #writer: WriteClient;
  readonly #cache: RecordCacheGroup;
  readonly #clock: Clock;
  readonly #box: SecretBox;
  readonly #list: StatementSync;
  readonly #listKeys: StatementSync;
  readonly #secret: StatementSync;
  readonly #byKey: (key: string) => ApplicationRecord | undefined;
  readonly #byId: (id: number) => ApplicationRecord | undefined;
  readonly #keysByLookup: (lookup: string) => KeyRow[];

  constructor(options: {
    database: DatabaseSync;
    writer: WriteClient;
    cache: RecordCacheGroup;
    clock: Clock;
    box: SecretBox;
  }) {
    const { database, writer, cache, clock, box } = options;
    this.#writer = writer;
    this.#cache = cache;
    this.#clock = clock;
    this.#box = box;
    const columns = 'id, key, name, created_at';
    const byKey = database.prepare(`SELECT ${columns} FROM application WHERE key = ?`);
    const byId = database.prepare(`SELECT ${columns} FROM application WHERE id = ?`);
    const byLookup = database.prepare(
      `SELECT api_key.*, application.key AS application FROM api_key
       JOIN application ON application.id = application_id WHERE lookup = ?`,
    );
    this.#list = database.prepare(
      `SELECT ${columns} FROM application WHERE ?1 IS NULL OR id < ?1 ORDER BY id DESC LIMIT ?2`,
    );
    this.#listKeys = database.prepare(
      `SELECT api_key.*, application.key AS application FROM api_key
       JOIN application ON application.id = application_id
       WHERE application_id = ?1 AND session = 0 AND (?2 IS NULL OR api_key.id < ?2)
       ORDER BY api_key.id DESC LIMIT ?3`,
    );
    this.#secret = database.prepare('SELECT webhook_secret FROM application WHERE id = ?');
    this.#byKey = cache.cached((key: string) => recordOf(byKey.get(key)));
    this.#byId = cache.cached((id: number) => recordOf(byId.get(id)));
    this.#keysByLookup = cache.cached((lookup: string) => byLookup.all(lookup) as KeyRow[]);
  }

  async create(input: { key: string; name: string }): Promise<ApplicationRecord> {
    const secret = this.#box.seal(`whsec_${randomBytes(32).toString('base64')}`);
    await this.#write('createApplication', [input.key, input.name, secret, this.#clock.now()]);
    const created = this.#byKey(input.key);
    if (!created) throw new ServiceError('internal', { detail: 'The application was stored but cannot be read.' });
    return created;
  }

  async byKey(key: string): Promise<ApplicationRecord | undefined> {
    return this.#byKey(key);
  }

  async byId(id: number): Promise<ApplicationRecord | undefined> {
    return this.#byId(id);
  }

  async list({ limit, before }: { limit: number; before: number | null }): Promise<ApplicationRecord[]> {
    return this.#list.all(before, limit).map((row) => recordOf(row) as ApplicationRecord);
  }

  async webhookSecret(id: number): Promise<string> {
    const row = this.#secret.get(id) as { webhook_secret: string } | undefined;
    if (!row) throw new ServiceError('not_found');
    return this.#box.open(row.webhook_secret);
  }

  async createKey(input: NewApiKey): Promise<ApiKey> {
    const now = this.#clock.now();
    const id = await this.#write<number>('createKey', [
      input.applicationId,
      input.name,
      input.kind,
      input.scopes.join(','),
      input.prefix,
      input.digest.slice(0, LOOKUP_LENGTH),
      input.digest,
      input.session ? 1 : 0,
      now,
      input.expiresAt,
    ]);
    const application = this.#byId(input.applicationId)?.key ?? '';
    return {
      id: formatId('key', id),
      application,
      name: input.name,
      kind: input.kind,
      scopes: [...input.scopes],
      prefix: input.prefix,
      createdAt: new Date(now).toISOString(),
      expiresAt: input.expiresAt === null ? null : new Date(input.expiresAt).toISOString(),
      revokedAt: null,
    };
  }

  authenticate(digest: string): Caller | undefined {
    const given = Buffer.from(digest);
    for (const row of this.#keysByLookup(digest.slice(0, LOOKUP_LENGTH))) {
      if (!timingSafeEqual(Buffer.from(row.digest), given)) continue;
      if (row.revoked_at !== null) return undefined;
      if (row.expires_at !== null && row.expires_at <= this.#clock.now()) return undefined;
      return {
        applicationId: row.application_id,
        application: row.application,
        keyId: row.id,
        kind: row.kind,
        scopes: row.scopes.split(',') as Scope[],
      };
    }
    return undefined;
  }

  async listKeys(applicationId: number, page: { limit: number; before: number | null }): Promise<ApiKey[]> {
    return (this.#listKeys.all(applicationId, page.before, page.limit) as KeyRow[]).map((row) => ({
      id: formatId('key', row.id),
      application: row.application,
      name: row.name,
      kind: row.kind,
      scopes: row.scopes.split(',') as Scope[],
      prefix: row.prefix,
      createdAt: new Date(row.created_at).toISOString(),
      expiresAt: row.expires_at === null ? null : new Date(row.expires_at).toISOString(),
      revokedAt: row.revoked_at === null ? null : new Date(row.revoked_at).toISOString(),
    }));
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

export function applicationOperations(database: DatabaseSync, { clock }: { clock: Clock }): OperationSet {
  const insert = database.prepare(
    'INSERT INTO application (key, name, webhook_secret, created_at) VALUES (?, ?, ?, ?)',
  );
  const last = database.prepare('SELECT coalesce(max(id), 0) AS id FROM api_key').get() as { id: number };
  const ids = new IdSequence(clock.now, last.id);
  const insertKey = database.prepare(
    'INSERT INTO api_key VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)',
  );
  const revoke = database.prepare(
    'UPDATE api_key SET revoked_at = coalesce(revoked_at, ?) WHERE id = ? AND application_id = ?',
  );
  const dropOldLinks = database.prepare('DELETE FROM admin_link WHERE expires_at <= ?');
  const insertLink = database.prepare('INSERT OR REPLACE INTO admin_link VALUES (?, ?)');
  const takeLink = database.prepare('DELETE FROM admin_link WHERE digest = ? AND expires_at > ?');
  return {
    operations: {
      createApplication: alone((values: [string, string, string, number]) => {
        insert.run(...values);
        return null;
      }),
      createKey: alone((values: [number, string, string, string, string, string, string, number, number, number | null]) => {
        const id = ids.take();
        insertKey.run(id, ...values);
        return id;
      }),
      revokeKey: alone(([applicationId, id, at]: [number, number, number]) => revoke.run(at, id, applicationId).changes === 1),
      createAdminLink: alone(([digest, expiresAt, now]: [string, number, number]) => {
        dropOldLinks.run(now);
        insertLink.run(digest, expiresAt);
        return null;
      }),
      useAdminLink: alone(([digest, now]: [string, number]) => takeLink.run(digest, now).changes === 1),
    },
  };
}

function recordOf(row: unknown): ApplicationRecord | undefined {
  if (!row) return undefined;
  const { id, key, name, created_at } = row as { id: number; key: string; name: string; created_at: number };
  return { id, key, name, createdAt: new Date(created_at).toISOString() };
}
