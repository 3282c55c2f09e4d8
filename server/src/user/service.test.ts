/** What the user service checks beyond the schema, on a real store and with real channel rules. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PutUser } from '@tidings/contracts/user';
import { openTestRecords } from '../../test/support/records.ts';
import email from '../adapters/email/adapter.ts';
import { ServiceError } from '../errors.ts';
import { openTestInbox } from '../inbox/conformance-setup.ts';
import { addressesOf, createUserService } from './service.ts';

const CALLER = { applicationId: 1 };
const adapters = {
  adapter: (channel: string) => (channel === 'email' ? email : undefined),
  channels: () => ['email'],
};

async function open() {
  const records = openTestRecords();
  const { users, clock } = records;
  const inbox = await openTestInbox();
  const inboxes = inbox.store;
  const service = createUserService({ users, inboxes, adapters, clock });
  return {
    service,
    clock: records.clock,
    async [Symbol.asyncDispose]() {
      await inbox[Symbol.asyncDispose]();
      await records[Symbol.asyncDispose]();
    },
  };
}

/** The faults of a request as `code path path …`. */
async function faultsOf(request: PutUser): Promise<string> {
  await using opened = await open();
  try {
    await opened.service.put(CALLER, 'ada', request);
  } catch (error) {
    assert.ok(error instanceof ServiceError);
    await assert.rejects(opened.service.get(CALLER, 'ada'), { code: 'not_found' });
    return [error.code, ...(error.errors ?? []).map(({ path }) => path)].join(' ');
  }
  return 'none';
}

const mail = (address: string, more: object = {}) => ({ channel: 'email', address, ...more });

test('addresses are stored in their one spelling, each once, in the order given', async () => {
  await using opened = await open();
  const { user } = await opened.service.put(CALLER, 'ada', {
    addresses: [
      mail('Ada@EXAMPLE.com', { label: 'first' }),
      mail('b@bücher.example'),
      mail('Ada@example.COM', { label: 'again' }),
      mail('ada@example.com'),
    ],
  });
  assert.deepEqual(user.addresses, [
    mail('Ada@example.com', { label: 'first' }),
    mail('b@xn--bcher-kva.example'),
    mail('ada@example.com'),
  ]);
  assert.deepEqual(addressesOf(user, 'email'), [
    'Ada@example.com',
    'b@xn--bcher-kva.example',
    'ada@example.com',
  ]);
  assert.deepEqual(addressesOf(user, 'sms'), []);
  assert.deepEqual(addressesOf(undefined, 'email'), []);
});

test('a fault of an address names its place', async () => {
  const good = mail('ada@example.com');
  const unknown = { channel: 'pigeon', address: 'loft 4' };
  const injected = mail('a@example.com\r\nBcc: evil@example.com');
  assert.equal(
    await faultsOf({ addresses: [good, mail('nobody')] }),
    'invalid_recipient body.addresses.1.address',
  );
  assert.equal(
    await faultsOf({ addresses: [injected] }),
    'invalid_recipient body.addresses.0.address',
  );
  assert.equal(
    await faultsOf({ addresses: [good, unknown] }),
    'unknown_channel body.addresses.1.channel',
  );
  assert.equal(
    await faultsOf({ addresses: [{ channel: 'constructor', address: 'x' }] }),
    'unknown_channel body.addresses.0.channel',
  );
  assert.equal(
    await faultsOf({ addresses: [unknown, mail('x')], timezone: 'Mars/Base', locale: 'en-a' }),
    'invalid_request body.locale body.timezone body.addresses.0.channel body.addresses.1.address',
  );
});

test('preferences name channels that exist, each fault by its place', async () => {
  const email = { email: false };
  assert.equal(
    await faultsOf({
      preferences: {
        channels: { ...email, emial: false },
        categories: {
          news: { channels: email },
          offers: { enabled: true, channels: { sms: false, constructor: true } },
        },
        route: ['email', 'pigeon'],
      },
    }),
    'unknown_channel body.preferences.channels.emial body.preferences.categories.offers.channels.sms body.preferences.categories.offers.channels.constructor body.preferences.route.1',
  );
  const preferences = { channels: { emial: false } };
  const address = { channel: 'pigeon', address: 'x' };
  assert.equal(
    await faultsOf({ preferences, addresses: [address] }),
    'unknown_channel body.preferences.channels.emial body.addresses.0.channel',
  );
  await using opened = await open();
  await opened.service.put(CALLER, 'ada', { preferences: { route: ['email'] } });
  await assert.rejects(opened.service.putPreferences(CALLER, 'ada', preferences), {
    code: 'unknown_channel',
    errors: [{ path: 'body.channels.emial', message: 'is not a channel; channels: email' }],
  });
  const { preferences: kept } = await opened.service.get(CALLER, 'ada');
  assert.deepEqual(kept, { route: ['email'] });
});

test('a time zone is an IANA name', async () => {
  await using opened = await open();
  const stored = async (timezone: string) =>
    (await opened.service.put(CALLER, 'ada', { timezone })).user.timezone;
  assert.equal(await stored('Asia/Shanghai'), 'Asia/Shanghai');
  assert.equal(await stored('asia/shanghai'), 'Asia/Shanghai');
  assert.equal(await stored('Asia/Kolkata'), 'Asia/Kolkata');
  assert.equal(await stored('UTC'), 'UTC');
  for (const timezone of ['Asia/Atlantis', '+08:00', '-08', ' UTC', 'UTC ', '北京', '../UTC']) {
    assert.equal(await faultsOf({ timezone }), 'invalid_request body.timezone', timezone);
  }
});

test('a locale is stored in its canonical form', async () => {
  await using opened = await open();
  const stored = async (locale: string) =>
    (await opened.service.put(CALLER, 'ada', { locale })).user.locale;
  assert.equal(await stored('zh-cn'), 'zh-CN');
  assert.equal(await stored('ZH-hans-cn'), 'zh-Hans-CN');
  assert.equal(await stored('iw'), 'he');
  assert.equal(await faultsOf({ locale: 'de-abcdefgh-abcdefgh' }), 'invalid_request body.locale');
});

test('a name cannot break out of a mail header', async () => {
  assert.equal(
    await faultsOf({ name: 'Ada\r\nBcc: evil@example.com' }),
    'invalid_request body.name',
  );
  assert.equal(await faultsOf({ name: 'Ada\u0085' }), 'invalid_request body.name');
  assert.equal(await faultsOf({ name: 'Ada "the first" <Lovelace> 👩‍💻' }), 'none');
});

test('attributes are bounded by their bytes', async () => {
  const jsonOf = (length: number) => ({ a: 'x'.repeat(length - '{"a":""}'.length) });
  assert.equal(await faultsOf({ attributes: jsonOf(16 * 1024) }), 'none');
  assert.equal(
    await faultsOf({ attributes: jsonOf(16 * 1024 + 1) }),
    'invalid_request body.attributes',
  );
  assert.equal(
    await faultsOf({ attributes: { a: '文'.repeat(6000) } }),
    'invalid_request body.attributes',
  );
});

test('times are those of the clock', async () => {
  await using opened = await open();
  const { service, clock } = opened;
  const { user } = await service.put(CALLER, 'ada', {});
  assert.equal(user.createdAt, new Date(clock.now()).toISOString());
  clock.advance(1000);
  const changed = await service.putPreferences(CALLER, 'ada', { route: ['email'] });
  assert.equal(changed.createdAt, user.createdAt);
  assert.equal(changed.updatedAt, new Date(clock.now()).toISOString());
});

test('what is not there is not found, whoever asks', async () => {
  await using opened = await open();
  const { service } = opened;
  await service.put(CALLER, 'ada', {});
  const other = { applicationId: 2 };
  for (const [caller, id] of [
    [CALLER, 'bob'],
    [other, 'ada'],
  ] as const) {
    const expected = { code: 'not_found', message: 'There is no such user.' };
    await assert.rejects(service.get(caller, id), expected);
    await assert.rejects(service.putPreferences(caller, id, {}), expected);
    await assert.rejects(service.delete(caller, id), expected);
  }
  assert.deepEqual(await service.list(other, { limit: 9, after: null, group: null }), []);
  await service.delete(CALLER, 'ada');
  await assert.rejects(service.delete(CALLER, 'ada'), { code: 'not_found' });
});
