/** Webhook endpoints in the records file. Secrets are sealed one by one, so that the writer adds one without opening the others. */
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type {
  WebhookEndpoint,
  WebhookEndpointWithSecret,
} from '@tidings/contracts/webhook-endpoint';
import {
  type DisabledReason,
  SECRET_LIMIT,
  type SigningEndpoint,
  type WebhookEndpointStore,
} from '../../adapters/webhook/endpoint-store.ts';
import type { Clock } from '../../clock.ts';
import { ServiceError } from '../../errors.ts';
import { formatId, IdSequence } from '../../id.ts';
import type { SecretBox } from '../../secret-box.ts';
import { translateError } from './connection.ts';
import { alone, type OperationSet } from './group-writer.ts';
import type { RecordCacheGroup } from './record-cache.ts';
import type { WriteClient } from './write-client.ts';

type Row = {
  id: number;
  application_id: number;
  url: string;
  description: string | null;
  secrets: string;
  enabled: number;
  disabled_reason: string | null;
  failing_since: number | null;
  created_at: number;
  updated_at: number;
};

type KeptSecret = { secret: string; until: number | null };

/** A row with its secrets opened: what the cache holds, so that a delivery decrypts nothing. */
interface Opened {
  row: Row;
  secrets: KeptSecret[];
}

export class SqliteWebhookEndpointStore implements WebhookEndpointStore {
  readonly #writer: WriteClient;
  readonly #cache: RecordCacheGroup;
  readonly #clock: Clock;
  readonly #box: SecretBox;
  readonly #list: StatementSync;
  readonly #byId: (id: number) => Opened | undefined;
  readonly #byUrl: (key: string) => Opened | undefined;
  /** Results whose write is under way, per endpoint: until then the cache cannot tell what to skip. */
  readonly #recording = new Map<number, number>();

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
    this.#list = database.prepare(
      `SELECT * FROM webhook_endpoint WHERE application_id = ?1 AND (?2 IS NULL OR id < ?2)
       ORDER BY id DESC LIMIT ?3`,
    );
    const byId = database.prepare('SELECT * FROM webhook_endpoint WHERE id = ?');
    const byUrl = database.prepare(
      'SELECT * FROM webhook_endpoint WHERE application_id = ? AND url = ?',
    );
    this.#byId = cache.cached((id: number) => this.#open(read(() => byId.get(id))));
    this.#byUrl = cache.cached((key: string) => {
      const [applicationId, url] = splitUrlKey(key);
      return this.#open(read(() => byUrl.get(applicationId, url)));
    });
  }

  async create(input: {
    applicationId: number;
    url: string;
    description: string | null;
    secret: string;
  }): Promise<WebhookEndpointWithSecret> {
    const { applicationId, url, description, secret } = input;
    const values: CreateArgument = [
      applicationId,
      url,
      description,
      this.#box.seal(secret),
      this.#clock.now(),
    ];
    const row = await this.#write<Row>('createWebhookEndpoint', values);
    return { ...this.#recordOf(row), secret };
  }

  async ensure(input: {
    applicationId: number;
    url: string;
    createSecret: () => string;
  }): Promise<SigningEndpoint> {
    const { applicationId, url, createSecret } = input;
    const known = this.#byUrl(urlKey(applicationId, url));
    if (known) return this.#signingOf(known);
    const values: CreateArgument = [
      applicationId,
      url,
      null,
      this.#box.seal(createSecret()),
      this.#clock.now(),
    ];
    const row = await this.#write<Row>('ensureWebhookEndpoint', values);
    return this.#signingOf(this.#open(row) as Opened);
  }

  async get(applicationId: number, id: number): Promise<WebhookEndpoint | undefined> {
    const found = this.#find(applicationId, id);
    return found && this.#recordOf(found.row);
  }

  async signing(applicationId: number, id: number): Promise<SigningEndpoint | undefined> {
    const found = this.#find(applicationId, id);
    return found && this.#signingOf(found);
  }

  async list(
    applicationId: number,
    { limit, before }: { limit: number; before: number | null },
  ): Promise<WebhookEndpoint[]> {
    const rows = read(() => this.#list.all(applicationId, before, limit)) as Row[];
    return rows.map((row) => this.#recordOf(row));
  }

  async update(
    applicationId: number,
    id: number,
    change: { url?: string; description?: string | null; enabled?: boolean },
  ): Promise<WebhookEndpoint | undefined> {
    const values: UpdateArgument = [applicationId, id, change, this.#clock.now()];
    const row = await this.#write<Row | null>('updateWebhookEndpoint', values);
    return row === null ? undefined : this.#recordOf(row);
  }

  async rotate(
    applicationId: number,
    id: number,
    { secret, previousUntil }: { secret: string; previousUntil: number },
  ): Promise<WebhookEndpointWithSecret | undefined> {
    const sealed = this.#box.seal(secret);
    const values: RotateArgument = [applicationId, id, sealed, previousUntil, this.#clock.now()];
    const row = await this.#write<Row | null>('rotateWebhookSecret', values);
    return row === null ? undefined : { ...this.#recordOf(row), secret };
  }

  delete(applicationId: number, id: number): Promise<boolean> {
    return this.#write('deleteWebhookEndpoint', [applicationId, id]);
  }

  async recordResult(
    applicationId: number,
    id: number,
    { ok, at }: { ok: boolean; at: number },
  ): Promise<void> {
    const underWay = this.#recording.get(id) ?? 0;
    const since = this.#find(applicationId, id)?.row.failing_since;
    if (since === undefined) return;
    if (underWay === 0 && ok === (since === null)) return;
    this.#recording.set(id, underWay + 1);
    try {
      await this.#write('recordWebhookResult', [applicationId, id, ok, at]);
    } finally {
      const left = (this.#recording.get(id) ?? 1) - 1;
      if (left > 0) this.#recording.set(id, left);
      else this.#recording.delete(id);
    }
  }

  disable(applicationId: number, id: number, reason: DisabledReason): Promise<boolean> {
    return this.#write('disableWebhookEndpoint', [applicationId, id, reason, this.#clock.now()]);
  }

  #find(applicationId: number, id: number): Opened | undefined {
    const found = this.#byId(id);
    return found?.row.application_id === applicationId ? found : undefined;
  }

  #open(row: unknown): Opened | undefined {
    if (row === undefined) return undefined;
    const kept = keptSecrets((row as Row).secrets);
    const secrets = kept.map(({ secret, until }) => ({ secret: this.#unseal(secret), until }));
    return { row: row as Row, secrets };
  }

  #unseal(sealed: string): string {
    try {
      return this.#box.open(sealed);
    } catch (error) {
      throw new ServiceError('internal', {
        detail: 'A webhook secret cannot be read.',
        cause: error,
      });
    }
  }

  #recordOf(row: Row): WebhookEndpoint {
    return {
      id: formatId('whe', row.id),
      url: row.url,
      description: row.description,
      enabled: row.enabled === 1,
      disabledReason: row.disabled_reason,
      failingSince: row.failing_since === null ? null : new Date(row.failing_since).toISOString(),
      secrets: signingAt(keptSecrets(row.secrets), this.#clock.now()).length,
      createdAt: new Date(row.created_at).toISOString(),
      updatedAt: new Date(row.updated_at).toISOString(),
    };
  }

  #signingOf({ row, secrets }: Opened): SigningEndpoint {
    return {
      id: row.id,
      applicationId: row.application_id,
      url: row.url,
      enabled: row.enabled === 1,
      secrets: signingAt(secrets, this.#clock.now()).map(({ secret }) => secret),
      failingSince: row.failing_since,
    };
  }

  async #write<Result>(operation: string, argument: unknown): Promise<Result> {
    try {
      return await this.#writer.call<Result>(operation, argument);
    } finally {
      this.#cache.invalidate();
    }
  }
}

type CreateArgument = [
  applicationId: number,
  url: string,
  description: string | null,
  sealedSecret: string,
  now: number,
];
type UpdateArgument = [
  applicationId: number,
  id: number,
  change: { url?: string; description?: string | null; enabled?: boolean },
  now: number,
];
type RotateArgument = [
  applicationId: number,
  id: number,
  sealedSecret: string,
  previousUntil: number,
  now: number,
];

export function webhookEndpointOperations(
  database: DatabaseSync,
  { clock }: { clock: Clock },
): OperationSet {
  const last = database.prepare('SELECT coalesce(max(id), 0) AS id FROM webhook_endpoint').get();
  const ids = new IdSequence(clock.now, (last as { id: number }).id);
  const byUrl = database.prepare(
    'SELECT * FROM webhook_endpoint WHERE application_id = ? AND url = ?',
  );
  const insert = database.prepare(
    `INSERT INTO webhook_endpoint VALUES (?1, ?2, ?3, ?4, ?5, 1, NULL, NULL, ?6, ?6) RETURNING *`,
  );
  const remove = database.prepare(
    'DELETE FROM webhook_endpoint WHERE application_id = ? AND id = ?',
  );
  const record = database.prepare(
    `UPDATE webhook_endpoint
     SET failing_since = CASE WHEN ?3 THEN NULL ELSE coalesce(failing_since, ?4) END
     WHERE application_id = ?1 AND id = ?2
       AND CASE WHEN ?3 THEN failing_since <= ?4 ELSE failing_since IS NULL END`,
  );
  const disable = database.prepare(
    `UPDATE webhook_endpoint SET enabled = 0, disabled_reason = ?3, updated_at = ?4
     WHERE application_id = ?1 AND id = ?2 AND enabled = 1`,
  );
  const create = ([applicationId, url, description, secret, now]: CreateArgument) => {
    const secrets = JSON.stringify([{ secret, until: null } satisfies KeptSecret]);
    return insert.get(ids.take(), applicationId, url, description, secrets, now);
  };
  return {
    operations: {
      createWebhookEndpoint: alone(create),
      ensureWebhookEndpoint: alone(
        (values: CreateArgument) => byUrl.get(values[0], values[1]) ?? create(values),
      ),
      updateWebhookEndpoint: alone(updateOperation(database)),
      rotateWebhookSecret: alone(rotateOperation(database)),
      deleteWebhookEndpoint: alone(
        ([applicationId, id]: [number, number]) => remove.run(applicationId, id).changes === 1,
      ),
      recordWebhookResult: alone(
        ([applicationId, id, ok, at]: [number, number, boolean, number]) =>
          record.run(applicationId, id, ok ? 1 : 0, at).changes === 1,
      ),
      disableWebhookEndpoint: alone(
        ([applicationId, id, reason, now]: [number, number, string, number]) =>
          disable.run(applicationId, id, reason, now).changes === 1,
      ),
    },
  };
}

function updateOperation(database: DatabaseSync) {
  const update = database.prepare(
    `UPDATE webhook_endpoint SET
       url = coalesce(?3, url),
       description = CASE WHEN ?4 THEN ?5 ELSE description END,
       enabled = coalesce(?6, enabled),
       disabled_reason = CASE WHEN ?6 = 1 THEN NULL ELSE disabled_reason END,
       failing_since = CASE WHEN ?6 = 1 OR url <> ?3 THEN NULL ELSE failing_since END,
       updated_at = ?7
     WHERE application_id = ?1 AND id = ?2 RETURNING *`,
  );
  return ([applicationId, id, change, now]: UpdateArgument) => {
    const { url, description, enabled } = change;
    const row = update.get(
      applicationId,
      id,
      url ?? null,
      description === undefined ? 0 : 1,
      description ?? null,
      enabled === undefined ? null : Number(enabled),
      now,
    );
    return row ?? null;
  };
}

function rotateOperation(database: DatabaseSync) {
  const secretsOf = database.prepare(
    'SELECT secrets FROM webhook_endpoint WHERE application_id = ? AND id = ?',
  );
  const update = database.prepare(
    'UPDATE webhook_endpoint SET secrets = ?2, updated_at = ?3 WHERE id = ?1 RETURNING *',
  );
  return ([applicationId, id, secret, previousUntil, now]: RotateArgument) => {
    const row = secretsOf.get(applicationId, id) as { secrets: string } | undefined;
    if (!row) return null;
    const previous = keptSecrets(row.secrets).map((kept) => ({
      ...kept,
      until: Math.min(kept.until ?? previousUntil, previousUntil),
    }));
    const secrets: KeptSecret[] = [{ secret, until: null }, ...signingAt(previous, now)];
    return update.get(id, JSON.stringify(secrets.slice(0, SECRET_LIMIT)), now);
  };
}

function keptSecrets(json: string): KeptSecret[] {
  return JSON.parse(json) as KeptSecret[];
}

function signingAt(secrets: KeptSecret[], now: number): KeptSecret[] {
  return secrets.filter(({ until }) => until === null || until > now);
}

function urlKey(applicationId: number, url: string): string {
  return `${applicationId} ${url}`;
}

function splitUrlKey(key: string): [applicationId: number, url: string] {
  const space = key.indexOf(' ');
  return [Number(key.slice(0, space)), key.slice(space + 1)];
}

/** Reads with the engine's errors in the service's words. */
function read<Result>(query: () => Result): Result {
  try {
    return query();
  } catch (error) {
    throw translateError(error);
  }
}
