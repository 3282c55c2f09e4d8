/** What every engine of the webhook endpoint store must do, in the words of its port. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { WebhookEndpoint } from '@tidings/contracts/webhook-endpoint';
import { ServiceError } from '../../errors.ts';
import { formatId, parseId } from '../../id.ts';
import { SECRET_LIMIT, type WebhookEndpointStore } from './endpoint-store.ts';
import { createSecret } from './signature.ts';

type Opened = AsyncDisposable & { store: WebhookEndpointStore };

const APPLICATION = 1;
const OTHER = 2;
const ABSENT = parseId('whe', 'whe_00000000001') as number;
const URL_A = 'https://hooks.example.com/a';
const HOUR_MS = 3_600_000;

const ALIKE = [
  'https://hooks.example.com/a',
  'https://hooks.example.com/A',
  'https://hooks.example.com/a%20',
  'https://hooks.example.com/a/',
  'https://hooks.example.com/%C3%A1',
  'https://hooks.example.com/a%CC%81',
  `https://hooks.example.com/${'a'.repeat(2020)}`,
  `https://hooks.example.com/${'a'.repeat(2019)}b`,
  'https://hooks.example.com/a%_',
  "https://hooks.example.com/'%20OR%201=1--",
];

const TEXTS = ['', ' ', 'a ', 'A', '📦👩‍👩‍👧', "' OR 1=1--", '\\', '字'.repeat(500)];

function createIn(store: WebhookEndpointStore, url = URL_A, applicationId = APPLICATION) {
  return store.create({ applicationId, url, description: null, secret: createSecret() });
}

function numberOf({ id }: Pick<WebhookEndpoint, 'id'>): number {
  return parseId('whe', id) as number;
}

async function exists(promise: Promise<unknown>): Promise<void> {
  await assert.rejects(promise, (error: unknown) => {
    assert.ok(error instanceof ServiceError, String(error));
    assert.equal(error.code, 'already_exists');
    return true;
  });
}

async function listAll(store: WebhookEndpointStore, applicationId = APPLICATION) {
  return store.list(applicationId, { limit: 1000, before: null });
}

export function runWebhookEndpointStoreConformance(
  name: string,
  open: () => Promise<Opened>,
): void {
  describe(`webhook endpoint store on ${name}`, () => {
    describe('creating and reading', () => runCreating(open));
    describe('ensuring', () => runEnsuring(open));
    describe('updating and deleting', () => runUpdating(open));
    describe('secrets', () => runSecrets(open));
    describe('results', () => runResults(open));
    describe('other applications', () => runIsolation(open));
  });
}

function runCreating(open: () => Promise<Opened>): void {
  test('a new endpoint is enabled, shown with its secret once, and read back', async () => {
    await using opened = await open();
    const { store } = opened;
    const secret = createSecret();
    const from = Date.now();
    const input = { applicationId: APPLICATION, url: URL_A, description: 'Orders', secret };
    const { secret: shown, ...created } = await store.create(input);
    assert.equal(shown, secret);
    const { id, createdAt, updatedAt, ...rest } = created;
    assert.deepEqual(rest, {
      url: URL_A,
      description: 'Orders',
      enabled: true,
      disabledReason: null,
      failingSince: null,
      secrets: 1,
    });
    assert.match(id, /^whe_[0-9a-hjkmnp-tv-z]{11}$/);
    assert.equal(updatedAt, createdAt);
    assert.equal(new Date(createdAt).toISOString(), createdAt);
    assert.ok(Math.abs(Date.parse(createdAt) - from) < HOUR_MS);
    assert.deepEqual(await store.get(APPLICATION, numberOf(created)), created);
    assert.deepEqual(await store.signing(APPLICATION, numberOf(created)), {
      id: numberOf(created),
      applicationId: APPLICATION,
      url: URL_A,
      enabled: true,
      secrets: [secret],
      failingSince: null,
    });
  });

  test('what does not exist is not there', async () => {
    await using opened = await open();
    const { store } = opened;
    assert.equal(await store.get(APPLICATION, ABSENT), undefined);
    assert.equal(await store.signing(APPLICATION, ABSENT), undefined);
    assert.deepEqual(await listAll(store), []);
  });

  test('texts and URLs that look alike are kept apart', async () => {
    await using opened = await open();
    const { store } = opened;
    const urls = new Map<string, number>();
    for (const url of ALIKE) urls.set(url, numberOf(await createIn(store, url)));
    for (const [url, id] of urls) {
      assert.equal((await store.get(APPLICATION, id))?.url, url);
      const input = { applicationId: APPLICATION, url, createSecret };
      assert.equal((await store.ensure(input)).id, id);
      await exists(createIn(store, url));
    }
    const id = urls.get(URL_A) as number;
    for (const description of TEXTS) {
      assert.equal(
        (await store.update(APPLICATION, id, { description }))?.description,
        description,
      );
      assert.equal((await store.get(APPLICATION, id))?.description, description);
    }
  });

  test('the list is newest first, in pages', async () => {
    await using opened = await open();
    const { store } = opened;
    const ids: string[] = [];
    for (let i = 0; i < 5; i++) ids.unshift((await createIn(store, `${URL_A}/${i}`)).id);
    const page = async (limit: number, before: number | null) =>
      (await store.list(APPLICATION, { limit, before })).map(({ id }) => id);
    assert.deepEqual(await page(10, null), ids);
    assert.deepEqual(await page(2, null), ids.slice(0, 2));
    const second = parseId('whe', ids[1] as string) as number;
    assert.deepEqual(await page(2, second), ids.slice(2, 4));
    assert.deepEqual(await page(10, second), ids.slice(2));
    assert.deepEqual(await page(10, ABSENT), []);
  });

  test('of many that create one URL at once, one succeeds', async () => {
    await using opened = await open();
    const { store } = opened;
    const results = await Promise.allSettled(Array.from({ length: 20 }, () => createIn(store)));
    assert.equal(results.filter(({ status }) => status === 'fulfilled').length, 1);
    for (const result of results) {
      if (result.status === 'rejected') await exists(Promise.reject(result.reason));
    }
    assert.equal((await listAll(store)).length, 1);
  });
}

function runEnsuring(open: () => Promise<Opened>): void {
  const ensureIn = (store: WebhookEndpointStore, url = URL_A, secret = createSecret()) =>
    store.ensure({ applicationId: APPLICATION, url, createSecret: () => secret });

  test('100 calls at once make one endpoint, with one of their secrets', async () => {
    await using opened = await open();
    const { store } = opened;
    const secrets = Array.from({ length: 100 }, createSecret);
    const found = await Promise.all(secrets.map((secret) => ensureIn(store, URL_A, secret)));
    const [first] = found;
    for (const endpoint of found) assert.deepEqual(endpoint, first);
    assert.equal(first?.secrets.length, 1);
    assert.ok(secrets.includes(first?.secrets[0] as string));
    assert.deepEqual(
      (await listAll(store)).map(({ url }) => url),
      [URL_A],
    );
    assert.deepEqual(await ensureIn(store), first);
    assert.deepEqual(await store.signing(APPLICATION, first?.id as number), first);
  });

  test('an endpoint that was created is found, also when it is disabled', async () => {
    await using opened = await open();
    const { store } = opened;
    const created = await createIn(store);
    await store.disable(APPLICATION, numberOf(created), 'gone');
    const found = await ensureIn(store);
    assert.deepEqual([found.id, found.enabled], [numberOf(created), false]);
    assert.deepEqual(found.secrets, [created.secret]);
  });

  test('creating and ensuring at once leave one endpoint', async () => {
    await using opened = await open();
    const { store } = opened;
    const calls = Array.from({ length: 20 }, (_, i) =>
      i % 2 === 0 ? ensureIn(store) : createIn(store),
    );
    await Promise.allSettled(calls);
    assert.equal((await listAll(store)).length, 1);
    const found = await ensureIn(store);
    await exists(createIn(store));
    assert.equal((await store.get(APPLICATION, found.id))?.description, null);
  });

  test('after a deletion it makes a new one', async () => {
    await using opened = await open();
    const { store } = opened;
    const first = await ensureIn(store);
    assert.equal(await store.delete(APPLICATION, first.id), true);
    const second = await ensureIn(store);
    assert.ok(second.id > first.id);
    assert.notDeepEqual(second.secrets, first.secrets);
  });

  test('what was remembered of a URL follows an update', async () => {
    await using opened = await open();
    const { store } = opened;
    const first = await ensureIn(store);
    await store.update(APPLICATION, first.id, { url: `${URL_A}/moved` });
    const second = await ensureIn(store);
    assert.notEqual(second.id, first.id);
    assert.equal((await ensureIn(store, `${URL_A}/moved`)).id, first.id);
  });
}

function runUpdating(open: () => Promise<Opened>): void {
  test('changes what is given and nothing else', async () => {
    await using opened = await open();
    const { store } = opened;
    const { secret: _, ...created } = await createIn(store);
    const id = numberOf(created);
    const change = async (
      input: Parameters<typeof store.update>[2],
      expected: Partial<WebhookEndpoint>,
    ) => {
      const before = await store.get(APPLICATION, id);
      const after = await store.update(APPLICATION, id, input);
      assert.deepEqual(after, { ...before, ...expected, updatedAt: after?.updatedAt });
      assert.deepEqual(await store.get(APPLICATION, id), after);
      assert.ok(Date.parse(after?.updatedAt ?? '') >= Date.parse(created.updatedAt));
    };
    await change({ description: 'x' }, { description: 'x' });
    await change({ url: `${URL_A}/b` }, { url: `${URL_A}/b` });
    await change({ enabled: false }, { enabled: false, disabledReason: null });
    await change({ description: null, enabled: true }, { description: null, enabled: true });
    assert.equal((await store.signing(APPLICATION, id))?.url, `${URL_A}/b`);
  });

  test("another endpoint's URL is refused, and nothing is changed", async () => {
    await using opened = await open();
    const { store } = opened;
    await createIn(store);
    const { secret: _, ...second } = await createIn(store, `${URL_A}/b`);
    await exists(store.update(APPLICATION, numberOf(second), { url: URL_A, description: 'x' }));
    assert.deepEqual(await store.get(APPLICATION, numberOf(second)), second);
    // Its own is not another's.
    assert.equal(
      (await store.update(APPLICATION, numberOf(second), { url: second.url }))?.url,
      second.url,
    );
  });

  test('enabling forgets the reason and the failures; another URL forgets the failures', async () => {
    await using opened = await open();
    const { store } = opened;
    const id = numberOf(await createIn(store));
    const fail = () => store.recordResult(APPLICATION, id, { ok: false, at: Date.now() });
    await fail();
    assert.equal(await store.disable(APPLICATION, id, 'failing'), true);
    const off = await store.update(APPLICATION, id, { enabled: false });
    assert.deepEqual([off?.disabledReason, off?.failingSince === null], ['failing', false]);
    const on = await store.update(APPLICATION, id, { enabled: true });
    assert.deepEqual([on?.enabled, on?.disabledReason, on?.failingSince], [true, null, null]);
    await fail();
    assert.notEqual((await store.update(APPLICATION, id, { url: URL_A }))?.failingSince, null);
    assert.equal((await store.update(APPLICATION, id, { url: `${URL_A}/b` }))?.failingSince, null);
  });

  test('what is deleted is gone, once', async () => {
    await using opened = await open();
    const { store } = opened;
    const id = numberOf(await createIn(store));
    const results = await Promise.all([1, 2, 3].map(() => store.delete(APPLICATION, id)));
    assert.deepEqual(results.sort(), [false, false, true]);
    assert.equal(await store.get(APPLICATION, id), undefined);
    assert.equal(await store.signing(APPLICATION, id), undefined);
    assert.equal(await store.update(APPLICATION, id, { enabled: true }), undefined);
    assert.deepEqual(await listAll(store), []);
    assert.notEqual((await createIn(store)).id, formatId('whe', id));
  });
}

function runSecrets(open: () => Promise<Opened>): void {
  const rotateIn = (
    store: WebhookEndpointStore,
    id: number,
    previousUntil: number,
    secret = createSecret(),
  ) => store.rotate(APPLICATION, id, { secret, previousUntil });
  const signingIn = async (store: WebhookEndpointStore, id: number) =>
    (await store.signing(APPLICATION, id))?.secrets;

  test('a new secret signs first, and those before it until their time', async () => {
    await using opened = await open();
    const { store } = opened;
    const created = await createIn(store);
    const id = numberOf(created);
    const second = await rotateIn(store, id, Date.now() + HOUR_MS);
    assert.equal(second?.secrets, 2);
    const third = await rotateIn(store, id, Date.now() + HOUR_MS);
    assert.deepEqual(await signingIn(store, id), [third?.secret, second?.secret, created.secret]);
    assert.equal((await store.get(APPLICATION, id))?.secrets, 3);
    const last = await rotateIn(store, id, Date.now() - 1);
    assert.equal(last?.secrets, 1);
    assert.deepEqual(await signingIn(store, id), [last?.secret]);
    const { secret: _, ...shown } = last ?? { secret: '' };
    assert.deepEqual(await store.get(APPLICATION, id), shown);
  });

  test('the end that a secret has is not put off', async () => {
    await using opened = await open();
    const { store } = opened;
    const id = numberOf(await createIn(store));
    await rotateIn(store, id, Date.now() - 1);
    await rotateIn(store, id, Date.now() + HOUR_MS);
    // Now one is current and one ends in an hour; the first, which has ended, stays away.
    assert.equal((await signingIn(store, id))?.length, 2);
  });

  test('rotations at once all take effect', async () => {
    await using opened = await open();
    const { store } = opened;
    const created = await createIn(store);
    const id = numberOf(created);
    const secrets = Array.from({ length: 8 }, createSecret);
    await Promise.all(secrets.map((secret) => rotateIn(store, id, Date.now() + HOUR_MS, secret)));
    const signing = (await signingIn(store, id)) ?? [];
    assert.deepEqual([...signing].sort(), [...secrets, created.secret].sort());
    assert.equal(signing.at(-1), created.secret);
  });

  test('past the limit the oldest end', async () => {
    await using opened = await open();
    const { store } = opened;
    const created = await createIn(store);
    const id = numberOf(created);
    const newest: string[] = [];
    for (let i = 0; i < SECRET_LIMIT + 2; i++) {
      newest.unshift((await rotateIn(store, id, Date.now() + HOUR_MS))?.secret ?? '');
    }
    assert.deepEqual(await signingIn(store, id), newest.slice(0, SECRET_LIMIT));
  });

  test('an absent endpoint has none', async () => {
    await using opened = await open();
    const { store } = opened;
    assert.equal(await rotateIn(store, ABSENT, Date.now()), undefined);
  });
}

function runResults(open: () => Promise<Opened>): void {
  const AT = Date.UTC(2026, 10, 22, 8);
  const record = (store: WebhookEndpointStore, id: number, ok: boolean, at: number) =>
    store.recordResult(APPLICATION, id, { ok, at });
  const sinceIn = async (store: WebhookEndpointStore, id: number) =>
    (await store.signing(APPLICATION, id))?.failingSince;

  test('the first failure starts a series, a success ends it', async () => {
    await using opened = await open();
    const { store } = opened;
    const id = numberOf(await createIn(store));
    await record(store, id, true, AT);
    assert.equal(await sinceIn(store, id), null);
    await record(store, id, false, AT + 1);
    await record(store, id, false, AT + 2);
    assert.equal(await sinceIn(store, id), AT + 1);
    const shown = await store.get(APPLICATION, id);
    assert.equal(shown?.failingSince, new Date(AT + 1).toISOString());
    await record(store, id, true, AT + 3);
    await record(store, id, true, AT + 3);
    assert.equal(await sinceIn(store, id), null);
    await record(store, id, false, AT + 4);
    assert.equal(await sinceIn(store, id), AT + 4);
  });

  test('a success from before the series does not end it', async () => {
    await using opened = await open();
    const { store } = opened;
    const id = numberOf(await createIn(store));
    await record(store, id, false, AT);
    await record(store, id, true, AT - 1);
    assert.equal(await sinceIn(store, id), AT);
  });

  test('failures at once start one series', async () => {
    await using opened = await open();
    const { store } = opened;
    const id = numberOf(await createIn(store));
    await Promise.all(Array.from({ length: 20 }, () => record(store, id, false, AT)));
    assert.equal(await sinceIn(store, id), AT);
  });

  test('neither result changes anything else', async () => {
    await using opened = await open();
    const { store } = opened;
    const { secret: _, ...created } = await createIn(store);
    const id = numberOf(created);
    await record(store, id, false, AT);
    await record(store, id, true, AT);
    assert.deepEqual(await store.get(APPLICATION, id), created);
    await record(store, ABSENT, false, AT);
    await record(store, ABSENT, true, AT);
  });

  test('of many that switch it off, one did', async () => {
    await using opened = await open();
    const { store } = opened;
    const id = numberOf(await createIn(store));
    const done = await Promise.all(
      Array.from({ length: 10 }, (_, i) =>
        store.disable(APPLICATION, id, i % 2 ? 'gone' : 'failing'),
      ),
    );
    assert.equal(done.filter(Boolean).length, 1);
    const shown = await store.get(APPLICATION, id);
    assert.deepEqual(
      [shown?.enabled, shown?.disabledReason],
      [false, done.indexOf(true) % 2 ? 'gone' : 'failing'],
    );
    assert.equal((await store.signing(APPLICATION, id))?.enabled, false);
    assert.equal(await store.disable(APPLICATION, ABSENT, 'gone'), false);
    await store.update(APPLICATION, id, { enabled: true });
    assert.equal(await store.disable(APPLICATION, id, 'gone'), true);
  });
}

function runIsolation(open: () => Promise<Opened>): void {
  test("another application's endpoint is one that does not exist", async () => {
    await using opened = await open();
    const { store } = opened;
    const { secret, ...created } = await createIn(store);
    const id = numberOf(created);
    const at = Date.now();
    assert.equal(await store.get(OTHER, id), undefined);
    assert.equal(await store.signing(OTHER, id), undefined);
    assert.deepEqual(await listAll(store, OTHER), []);
    assert.equal(await store.update(OTHER, id, { enabled: false, description: 'x' }), undefined);
    assert.equal(
      await store.rotate(OTHER, id, { secret: createSecret(), previousUntil: 0 }),
      undefined,
    );
    assert.equal(await store.disable(OTHER, id, 'gone'), false);
    assert.equal(await store.delete(OTHER, id), false);
    await store.recordResult(OTHER, id, { ok: false, at });
    assert.deepEqual(await store.get(APPLICATION, id), created);
    assert.deepEqual((await store.signing(APPLICATION, id))?.secrets, [secret]);
  });

  test('each application has its own endpoint for a URL', async () => {
    await using opened = await open();
    const { store } = opened;
    const first = await createIn(store, URL_A, APPLICATION);
    const second = await createIn(store, URL_A, OTHER);
    assert.notEqual(second.id, first.id);
    for (const [applicationId, { id, secret }] of [
      [APPLICATION, first],
      [OTHER, second],
    ] as const) {
      const found = await store.ensure({ applicationId, url: URL_A, createSecret });
      assert.deepEqual([formatId('whe', found.id), found.secrets], [id, [secret]]);
      assert.deepEqual(
        (await listAll(store, applicationId)).map((shown) => shown.id),
        [id],
      );
    }
  });
}
