/** The webhook endpoint store on SQLite: the suite of its port, and what only this engine has. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { openTestFile } from '../../../test/support/store.ts';
import { runWebhookEndpointStoreConformance } from '../../adapters/webhook/endpoint-store.conformance.ts';
import { createSecret } from '../../adapters/webhook/signature.ts';
import { type Clock, systemClock } from '../../clock.ts';
import { ServiceError } from '../../errors.ts';
import { parseId } from '../../id.ts';
import { SecretBox } from '../../secret-box.ts';
import { RecordCacheGroup } from './record-cache.ts';
import { SqliteWebhookEndpointStore, webhookEndpointOperations } from './webhook-endpoint-store.ts';
import type { WriteClient } from './write-client.ts';

const APPLICATION = 1;
const URL_A = 'https://hooks.example.com/a';

function openStores() {
  let shift = 0;
  const clock: Clock = {
    ...systemClock,
    now: () => systemClock.now() + shift,
    monotonic: () => systemClock.monotonic() + shift,
  };
  const file = openTestFile('records', (database) =>
    webhookEndpointOperations(database, { clock }),
  );
  const masterKey = randomBytes(32);
  const written: string[] = [];
  const counting: WriteClient = {
    failure: undefined,
    full: false,
    waiting: 0,
    call(operation, argument) {
      written.push(operation);
      return file.writer.call(operation, argument);
    },
  };
  const openStore = (key = masterKey) => {
    const database = file.reader();
    const cache = new RecordCacheGroup(database, clock, 0);
    return new SqliteWebhookEndpointStore({
      database,
      writer: counting,
      cache,
      clock,
      box: new SecretBox(key),
    });
  };
  return {
    file,
    /** Names of the writes that were asked for. */
    written,
    store: openStore(),
    /** A store as another thread has it: a connection and cache of its own. */
    another: openStore,
    advance: (ms: number) => {
      shift += ms;
    },
    [Symbol.asyncDispose]: () => file[Symbol.asyncDispose](),
  };
}

runWebhookEndpointStoreConformance('SQLite', async () => openStores());

const created = async (store: SqliteWebhookEndpointStore, secret = createSecret()) => {
  const { id } = await store.create({
    applicationId: APPLICATION,
    url: URL_A,
    description: null,
    secret,
  });
  return parseId('whe', id) as number;
};

test('a secret ends when its time has come, without anybody writing', async () => {
  await using stores = openStores();
  const { store } = stores;
  const first = createSecret();
  const id = await created(store, first);
  const second = createSecret();
  await store.rotate(APPLICATION, id, { secret: second, previousUntil: Date.now() + 60_000 });
  assert.deepEqual((await store.signing(APPLICATION, id))?.secrets, [second, first]);
  stores.advance(61_000);
  assert.deepEqual((await store.signing(APPLICATION, id))?.secrets, [second]);
  assert.equal((await store.get(APPLICATION, id))?.secrets, 1);
});

test('a later rotation does not put off the end of a secret', async () => {
  await using stores = openStores();
  const { store } = stores;
  const id = await created(store);
  const secrets = [createSecret(), createSecret()] as const;
  await store.rotate(APPLICATION, id, { secret: secrets[0], previousUntil: Date.now() + 60_000 });
  await store.rotate(APPLICATION, id, {
    secret: secrets[1],
    previousUntil: Date.now() + 3_600_000,
  });
  assert.equal((await store.signing(APPLICATION, id))?.secrets.length, 3);
  stores.advance(61_000);
  assert.deepEqual((await store.signing(APPLICATION, id))?.secrets, [secrets[1], secrets[0]]);
});

test('results write only when the series of failures begins or ends', async () => {
  await using stores = openStores();
  const { store, written } = stores;
  const id = await created(store);
  const record = (ok: boolean) => store.recordResult(APPLICATION, id, { ok, at: Date.now() });
  const count = () => written.filter((operation) => operation === 'recordWebhookResult').length;
  for (let i = 0; i < 3; i++) await record(true);
  assert.equal(count(), 0);
  for (let i = 0; i < 3; i++) await record(false);
  assert.equal(count(), 1);
  for (let i = 0; i < 3; i++) await record(true);
  assert.equal(count(), 2);
  await store.recordResult(2, id, { ok: false, at: Date.now() });
  assert.equal(count(), 2);
});

test('a success is not skipped while the failure before it is being written', async () => {
  await using stores = openStores();
  const { store } = stores;
  const id = await created(store);
  const at = Date.now();
  await Promise.all([
    store.recordResult(APPLICATION, id, { ok: false, at }),
    store.recordResult(APPLICATION, id, { ok: true, at: at + 1 }),
  ]);
  assert.equal((await store.signing(APPLICATION, id))?.failingSince, null);
});

test('ensuring an endpoint that exists writes nothing, and never hands out its memory', async () => {
  await using stores = openStores();
  const { store, written } = stores;
  const ensure = () => store.ensure({ applicationId: APPLICATION, url: URL_A, createSecret });
  const first = await ensure();
  const secrets = [...first.secrets];
  first.secrets.push('changed');
  for (let i = 0; i < 3; i++) assert.deepEqual((await ensure()).secrets, secrets);
  assert.deepEqual(written, ['ensureWebhookEndpoint']);
});

test('a change through another thread is seen within 5 s', async () => {
  await using stores = openStores();
  const { store } = stores;
  const other = stores.another();
  const id = await created(store);
  assert.equal((await other.signing(APPLICATION, id))?.enabled, true);
  await store.update(APPLICATION, id, { enabled: false });
  stores.advance(5000);
  assert.equal((await other.signing(APPLICATION, id))?.enabled, false);
});

test('ids grow across a reopening, and after the newest was deleted', async () => {
  await using stores = openStores();
  const { store, file } = stores;
  const first = await created(store);
  const again = webhookEndpointOperations(file.connection(), { clock: systemClock });
  const operation = again.operations['createWebhookEndpoint'];
  assert.ok(operation);
  const values = [APPLICATION, `${URL_A}/b`, null, 'sealed', Date.now()];
  const { id } = operation.run(values as never) as { id: number };
  assert.ok(id > first);
});

test('no file has a secret in it, and another master key cannot read them', async () => {
  await using stores = openStores();
  const { store, file } = stores;
  const secrets = [createSecret(), createSecret()] as const;
  const id = await created(store, secrets[0]);
  await store.rotate(APPLICATION, id, { secret: secrets[1], previousUntil: Date.now() + 60_000 });
  const files = readdirSync(file.folder).map((name) => readFileSync(join(file.folder, name)));
  assert.ok(
    files.some((bytes) => bytes.includes(URL_A)),
    'the rows are in these files',
  );
  for (const secret of secrets) {
    const [key = ''] = secret.split('_').slice(1);
    assert.ok(
      !files.some((bytes) => bytes.includes(key) || bytes.includes(Buffer.from(key, 'base64'))),
    );
  }
  const stranger = stores.another(randomBytes(32));
  await assert.rejects(stranger.signing(APPLICATION, id), (error: unknown) => {
    assert.ok(error instanceof ServiceError && error.code === 'internal');
    return !secrets.some((secret) => String(error.stack).includes(secret));
  });
});

test('while the file cannot be used it says so in the words of the service, and recovers', async () => {
  await using stores = openStores();
  const { file, store } = stores;
  const id = await created(store);
  const connection = file.connection();
  connection.exec('ALTER TABLE webhook_endpoint RENAME TO elsewhere');
  stores.advance(5000);
  const calls = [
    () => store.get(APPLICATION, id),
    () => store.signing(APPLICATION, id),
    () => store.list(APPLICATION, { limit: 1, before: null }),
    () => store.ensure({ applicationId: APPLICATION, url: URL_A, createSecret }),
    () => store.update(APPLICATION, id, { description: 'x' }),
    () => store.rotate(APPLICATION, id, { secret: createSecret(), previousUntil: 0 }),
    () => store.recordResult(APPLICATION, id, { ok: false, at: 1 }),
    () => store.disable(APPLICATION, id, 'gone'),
    () => store.delete(APPLICATION, id),
  ];
  for (const call of calls) {
    await assert.rejects(call, (error: unknown) => {
      return error instanceof ServiceError && error.code === 'store_unavailable';
    });
  }
  connection.exec('ALTER TABLE elsewhere RENAME TO webhook_endpoint');
  await store.recordResult(APPLICATION, id, { ok: false, at: 1 });
  assert.equal((await store.signing(APPLICATION, id))?.failingSince, 1);
  assert.equal((await store.get(APPLICATION, id))?.description, null);
});
