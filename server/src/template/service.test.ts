import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { CreateTemplate, PutTemplateVersion } from '@tidings/contracts/template';
import { adapters, chat, emailTemplate, openTestTemplates } from '../../test/support/templates.ts';
import email from '../adapters/email/adapter.ts';
import { type ErrorCode, ServiceError } from '../errors.ts';
import { VERSION_LIMITS } from './version-check.ts';

const ONE = 1;

/** The paths of a refusal with this code, each once. */
async function refused(call: Promise<unknown>, code: ErrorCode): Promise<string[]> {
  const error = await call.then(
    () => assert.fail('was not refused'),
    (error: unknown) => error,
  );
  assert.ok(error instanceof ServiceError, String(error));
  assert.equal(error.code, code, error.message);
  return [...new Set(error.errors?.map(({ path }) => path))].sort();
}

const put = (rest: Partial<PutTemplateVersion> = {}): PutTemplateVersion => ({
  content: { email: { subject: 'Hi {{ name }}', text: 'a' } },
  ...rest,
});

describe('saving', () => {
  test('keeps what it is given, with defaults', async () => {
    await using opened = openTestTemplates();
    const { service } = opened;
    const created = await service.create(ONE, emailTemplate('a'));
    assert.deepEqual([created.name, created.category, created.publishedVersion], ['a', null, null]);
    const version = await service.version(ONE, 'a', 1);
    assert.deepEqual([version.locale, version.variables, version.example], ['en', null, null]);
    assert.deepEqual(version.translations, {});
  });

  test('tells all faults at once, each with its path', async () => {
    await using opened = openTestTemplates();
    const { service } = opened;
    const request: CreateTemplate = {
      key: 'a',
      locale: 'zh-cn',
      content: {
        email: { subject: '{{ a', text: '{% if %}', extra: 1 },
        chat: { url: 'nowhere', text: 'a' },
        pigeon: { text: 'a' },
        constructor: { text: 'a' },
      },
      translations: {
        de: { email: { subject: 'a', text: 'a', html: '{% nope %}' }, webhook: { payload: {} } },
        'zh-cn': { email: { subject: 'a', text: 'a' } },
      },
      variables: { type: 'object', properties: { a: { type: 'nope' } } },
    };
    const expected = [
      'body.content.chat.url',
      'body.content.constructor',
      'body.content.email.extra',
      'body.content.email.subject',
      'body.content.email.text',
      'body.content.pigeon',
      'body.locale',
      'body.translations.de.email.html',
      'body.translations.de.webhook',
      'body.translations.zh-cn',
      'body.variables.properties.a.type',
    ];
    assert.deepEqual(await refused(service.create(ONE, request), 'invalid_template'), expected);
    assert.deepEqual(await service.list(ONE, { limit: 10, after: null }), []);
    await service.create(ONE, emailTemplate('a'));
    const { key: _, ...version } = request;
    assert.deepEqual(
      await refused(service.addVersion(ONE, 'a', version), 'invalid_template'),
      expected,
    );
    assert.deepEqual(
      await refused(service.replaceDraft(ONE, 'a', 1, version), 'invalid_template'),
      expected,
    );
    assert.equal((await service.get(ONE, 'a')).latestVersion, 1);
  });

  test('the example must fit the variables', async () => {
    await using opened = openTestTemplates();
    const { service } = opened;
    const variables = {
      type: 'object',
      required: ['order'],
      properties: { order: { type: 'object', properties: { id: { type: 'integer' } } } },
    };
    const create = (example?: Record<string, unknown>) =>
      service.create(ONE, emailTemplate('a', { variables, example }));
    assert.deepEqual(await refused(create({ order: { id: 'x' } }), 'invalid_template'), [
      'body.example.order.id',
    ]);
    assert.deepEqual(await refused(create({}), 'invalid_template'), ['body.example.order']);
    await create();
  });

  test('names locales that are not canonical in their canonical spelling', async () => {
    await using opened = openTestTemplates();
    const { service } = opened;
    const create = (locale: string, translation = 'fr') =>
      service.create(
        ONE,
        emailTemplate('a', { locale, translations: { [translation]: put().content } }),
      );
    await assert.rejects(create('zh-cn'), /body\.locale: is written zh-CN/);
    await assert.rejects(create('en', 'iw'), /body\.translations\.iw: is written he/);
    await assert.rejects(create('xx-1'), /body\.locale: is not a language tag/);
    await assert.rejects(create('fr'), /body\.translations\.fr: is the locale of the content/);
    await create('zh-Hant-TW', 'en-GB');
  });

  test('is bounded in size, contents and markup', async () => {
    await using opened = openTestTemplates();
    const { service } = opened;
    const subject = 'a';
    const wide = (count: number, text: string) =>
      Object.fromEntries(
        Array.from({ length: count }, (_, i) => [
          `${String.fromCharCode(97 + (i % 26))}${String.fromCharCode(97 + Math.floor(i / 26))}`,
          { email: { subject, text } },
        ]),
      );
    const large = put({ example: { a: '€'.repeat(VERSION_LIMITS.bytes / 3) } });
    const many = put({ translations: wide(VERSION_LIMITS.contents, 'a') });
    const busy = put({ translations: wide(21, '{{a}}'.repeat(500)) });
    for (const [version, path] of [
      [large, 'body'],
      [many, 'body.translations'],
      [busy, 'body.translations.ta.email.text'],
    ] as const) {
      const create = service.create(ONE, { key: 'a', ...version });
      assert.deepEqual(await refused(create, 'invalid_template'), [path]);
    }
    const text = '{{a}}'.repeat(2501);
    const dense = service.create(ONE, { key: 'a', content: { email: { subject, text } } });
    assert.deepEqual(await refused(dense, 'invalid_template'), ['body.content.email.text']);
  });

  test('tells a bounded number of faults', async () => {
    await using opened = openTestTemplates();
    const { service } = opened;
    const extra = Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [`x${i}`, 1]));
    const content = { email: { subject: 'a', text: 'a', ...extra } };
    const faults = await refused(service.create(ONE, { key: 'a', content }), 'invalid_template');
    assert.equal(faults.length, 50);
  });

  test('attacks by way of a template are refused or stay text', async () => {
    await using opened = openTestTemplates();
    const { service } = opened;
    const text = "{{constructor.constructor('return process')()}}";
    const code = service.create(ONE, { key: 'a', content: { email: { subject: 'a', text } } });
    assert.deepEqual(await refused(code, 'invalid_template'), ['body.content.email.text']);
    const own = JSON.parse('{"subject":"a","text":"a","__proto__":{"polluted":1}}');
    const polluted = service.create(ONE, { key: 'a', content: { email: own } });
    assert.deepEqual(await refused(polluted, 'invalid_template'), ['body.content.email.__proto__']);
    assert.equal(({} as Record<string, unknown>)['polluted'], undefined);
  });

  test('a key is given once', async () => {
    await using opened = openTestTemplates();
    const { service } = opened;
    await service.create(ONE, emailTemplate('a'));
    const again = service.create(ONE, emailTemplate('a'));
    assert.deepEqual(await refused(again, 'already_exists'), ['body.key']);
  });

  test('what is not there is not found, whatever is done to it', async () => {
    await using opened = openTestTemplates();
    const { service } = opened;
    await service.create(ONE, emailTemplate('a'));
    const calls = [
      () => service.get(ONE, 'b'),
      () => service.edit(ONE, 'b', { name: 'x' }),
      () => service.delete(ONE, 'b'),
      () => service.addVersion(ONE, 'b', put()),
      () => service.addVersion(ONE, 'b', put({ locale: '?' })),
      () => service.replaceDraft(ONE, 'b', 1, put()),
      () => service.replaceDraft(ONE, 'a', 2, put()),
      () => service.version(ONE, 'a', 2),
      () => service.versions(ONE, 'b', { limit: 1, before: null }),
      () => service.publish(ONE, 'b'),
      () => service.publish(ONE, 'a', 2),
      () => service.preview(ONE, 'b', {}),
      () => service.preview(ONE, 'a', { version: 2 }),
      () => service.getCategory(ONE, 'b'),
      () => service.deleteCategory(ONE, 'b'),
    ];
    for (const call of calls) assert.deepEqual(await refused(call(), 'not_found'), []);
  });
});

describe('deleting', () => {
  test('asks for no message, and leaves what delivery needs', async () => {
    await using opened = openTestTemplates();
    const { service, store } = opened;
    await service.create(ONE, emailTemplate('a', { publish: true }));
    const template = service.resolve(ONE, { key: 'a', version: 1 });
    await refused(service.delete(2, 'a'), 'not_found');
    await service.delete(ONE, 'a');
    await refused(service.delete(ONE, 'a'), 'not_found');
    await refused(service.get(ONE, 'a'), 'not_found');
    await refused(service.version(ONE, 'a', 1), 'not_found');
    await refused(service.versions(ONE, 'a', { limit: 1, before: null }), 'not_found');
    await refused(service.preview(ONE, 'a', { version: 1 }), 'not_found');
    await refused(service.publish(ONE, 'a', 1), 'not_found');
    await refused(service.addVersion(ONE, 'a', put()), 'not_found');
    assert.equal(store.published(ONE, 'a', 1), template);
    const again = await service.create(ONE, emailTemplate('a', { publish: true }));
    assert.equal(again.publishedVersion, 2);
    await refused(service.preview(ONE, 'a', { version: 1 }), 'not_found');
    await refused(service.publish(ONE, 'a', 1), 'not_found');
  });
});

describe('versions', () => {
  test('come in pages that large versions make shorter', async () => {
    await using opened = openTestTemplates();
    const { service } = opened;
    await service.create(ONE, emailTemplate('a'));
    for (let i = 0; i < 24; i++) await service.addVersion(ONE, 'a', put());
    const numbers = async (limit: number, before: number | null) => {
      const { items, more } = await service.versions(ONE, 'a', { limit, before });
      return [items.map(({ version }) => version), more];
    };
    assert.deepEqual(await numbers(3, null), [[25, 24, 23], true]);
    assert.deepEqual(await numbers(3, 4), [[3, 2, 1], false]);
    assert.deepEqual(await numbers(24, null), [Array.from({ length: 24 }, (_, i) => 25 - i), true]);
    assert.equal((await numbers(25, null))[1], false);
    assert.deepEqual(await numbers(10, 1), [[], false]);
    const example = { a: 'x'.repeat(VERSION_LIMITS.bytes - 1000) };
    for (let i = 0; i < 4; i++) await service.addVersion(ONE, 'a', put({ example }));
    assert.deepEqual(await numbers(200, null), [[29, 28, 27], true]);
    assert.equal((await numbers(200, 27))[1], false);
  });

  test('a published version never changes', async () => {
    await using opened = openTestTemplates();
    const { service } = opened;
    await service.create(ONE, emailTemplate('a', { publish: true }));
    const before = await service.version(ONE, 'a', 1);
    assert.equal(before.status, 'published');
    assert.deepEqual(await refused(service.replaceDraft(ONE, 'a', 1, put()), 'conflict'), []);
    assert.deepEqual(await service.version(ONE, 'a', 1), before);
    const draft = await service.addVersion(ONE, 'a', put());
    assert.equal(draft.status, 'draft');
    const replaced = await service.replaceDraft(ONE, 'a', 2, put({ locale: 'de' }));
    assert.equal(replaced.locale, 'de');
  });
});

describe('publishing', () => {
  test('takes the newest version, or the one that is named, and goes back', async () => {
    await using opened = openTestTemplates();
    const { service } = opened;
    await service.create(ONE, emailTemplate('a'));
    await service.addVersion(ONE, 'a', put());
    assert.equal((await service.publish(ONE, 'a')).publishedVersion, 2);
    assert.equal((await service.publish(ONE, 'a', 1)).publishedVersion, 1);
    assert.equal(service.resolve(ONE, { key: 'a', version: null }).version, 1);
    assert.equal(service.resolve(ONE, { key: 'a', version: 2 }).version, 2);
    assert.equal((await service.addVersion(ONE, 'a', put({}))).status, 'draft');
    const added = await service.addVersion(ONE, 'a', { ...put(), publish: true });
    assert.equal(added.status, 'published');
    assert.equal((await service.get(ONE, 'a')).publishedVersion, 4);
  });

  test('renders the example, in every locale, and refuses what does not fit', async () => {
    await using opened = openTestTemplates();
    const { service } = opened;
    const version = put({
      content: {
        email: { subject: '{{ title }}', text: 'a' },
        chat: { text: '{{ body }}', url: '{{ link }}' },
      },
      translations: { de: { chat: { text: '{{ body }}{{ body }}{{ body }}' } } },
      example: { body: 'ten chars!', link: 'nowhere' },
    });
    const expected = ['content.chat.url', 'content.email.subject', 'translations.de.chat.text'];
    await service.create(ONE, { key: 'a', ...version });
    assert.deepEqual(await refused(service.publish(ONE, 'a'), 'invalid_template'), expected);
    assert.equal((await service.get(ONE, 'a')).publishedVersion, null);
    const inBody = expected.map((path) => `body.${path}`);
    const request = { ...version, publish: true };
    assert.deepEqual(
      await refused(service.create(ONE, { key: 'b', ...request }), 'invalid_template'),
      inBody,
    );
    assert.deepEqual(
      await refused(service.addVersion(ONE, 'a', request), 'invalid_template'),
      inBody,
    );
    await assert.rejects(service.get(ONE, 'b'), ServiceError);
    assert.equal((await service.get(ONE, 'a')).latestVersion, 1);
    await service.replaceDraft(ONE, 'a', 1, { ...version, example: undefined });
    assert.equal((await service.publish(ONE, 'a')).publishedVersion, 1);
  });

  test('an example that takes too much work is a fault of its field', async () => {
    await using opened = openTestTemplates();
    const { service } = opened;
    const text = '{% for i in (1..5000) %}{% for j in (1..5000) %}{% endfor %}{% endfor %}';
    const content = { email: { subject: 'a', text } };
    const create = service.create(ONE, { key: 'a', content, example: {}, publish: true });
    assert.deepEqual(await refused(create, 'invalid_template'), ['body.content.email.text']);
  });

  test('checks again: channels may have changed since', async () => {
    await using opened = openTestTemplates();
    const { service } = opened;
    const content = { ...emailTemplate('a').content, chat: { text: 'a' } };
    await service.create(ONE, { key: 'a', content });
    const without = opened.serviceWith({
      get: (channel) => (channel === 'email' ? email : undefined),
    });
    assert.deepEqual(await refused(without.publish(ONE, 'a'), 'invalid_template'), [
      'content.chat',
    ]);
    assert.deepEqual(await refused(without.preview(ONE, 'a', {}), 'invalid_template'), [
      'content.chat',
    ]);
    const stricter = opened.serviceWith({
      get: (channel) =>
        channel === 'chat'
          ? { ...chat, validate: () => [{ path: 'text', message: 'no' }] }
          : adapters.get(channel),
    });
    assert.deepEqual(await refused(stricter.publish(ONE, 'a'), 'invalid_template'), [
      'content.chat.text',
    ]);
    assert.equal((await service.publish(ONE, 'a')).publishedVersion, 1);
  });
});

describe('previews', () => {
  const request: CreateTemplate = {
    key: 'a',
    content: {
      email: { subject: 'Hi {{ user.name }}', text: '{{ due | date: "%A" }} {{ note }}' },
      chat: { text: 'Hi {{ user.name }}' },
    },
    translations: { de: { chat: { text: 'Hallo {{ user.name }}' } } },
    variables: { type: 'object', required: ['due'] },
    example: { user: { name: 'Ada' }, due: '2026-11-05' },
  };

  test('show every channel with the example, and what it lacks', async () => {
    await using opened = openTestTemplates();
    const { service } = opened;
    await service.create(ONE, request);
    assert.deepEqual(await service.preview(ONE, 'a', {}), {
      version: 1,
      locale: 'en',
      locales: { email: 'en', chat: 'en' },
      channels: {
        email: { subject: 'Hi Ada', text: 'Thursday ' },
        chat: { text: 'Hi Ada' },
      },
      missing: ['note'],
      dataErrors: [],
    });
  });

  test('show one channel, a locale, a version and other data', async () => {
    await using opened = openTestTemplates();
    const { service } = opened;
    await service.create(ONE, request);
    await service.addVersion(ONE, 'a', put());
    const preview = await service.preview(ONE, 'a', {
      ...{ version: 1, locale: 'de-at', data: { user: { name: 'Bob' } } },
    });
    assert.deepEqual([preview.locale, preview.locales], ['de-AT', { email: 'en', chat: 'de' }]);
    assert.deepEqual(preview.channels['chat'], { text: 'Hallo Bob' });
    assert.deepEqual(preview.missing, ['due', 'note']);
    assert.deepEqual(preview.dataErrors, [{ path: 'data.due', message: 'is required' }]);
    const one = await service.preview(ONE, 'a', { version: 1, channel: 'chat' });
    assert.deepEqual(Object.keys(one.channels), ['chat']);
    const newest = await service.preview(ONE, 'a', {});
    assert.deepEqual([newest.version, newest.missing], [2, ['name']]);
    const channel = service.preview(ONE, 'a', { channel: 'constructor' });
    assert.deepEqual(await refused(channel, 'invalid_request'), ['body.channel']);
    const locale = service.preview(ONE, 'a', { locale: 'xx-1' });
    assert.deepEqual(await refused(locale, 'invalid_request'), ['body.locale']);
  });

  test('refuse what cannot be sent, with the path in the version and what the data lacks', async () => {
    await using opened = openTestTemplates();
    const { service } = opened;
    const { example: _, ...without } = request;
    await service.create(ONE, {
      ...without,
      content: { ...request.content, email: { subject: '{{ title }}', text: 'a' } },
      translations: { de: { chat: { text: '{{ user.name }}' } } },
    });
    await assert.rejects(service.preview(ONE, 'a', { locale: 'de' }), (error: ServiceError) => {
      assert.equal(error.code, 'invalid_template');
      const paths = error.errors?.map(({ path }) => path);
      assert.deepEqual(paths, ['content.email.subject', 'translations.de.chat.text']);
      assert.equal(error.hint, 'The data has no title, user.name.');
      return true;
    });
    const loop = '{% for i in (1..5000) %}{% for j in (1..5000) %}{% endfor %}{% endfor %}';
    await service.addVersion(ONE, 'a', put({ content: { email: { subject: loop, text: 'a' } } }));
    assert.deepEqual(await refused(service.preview(ONE, 'a', {}), 'invalid_template'), [
      'content.email.subject',
    ]);
  });
});

describe('categories', () => {
  test('are created, replaced, listed and removed', async () => {
    await using opened = openTestTemplates();
    const { service } = opened;
    const first = await service.putCategory(ONE, 'security', { name: 'Security', mandatory: true });
    assert.deepEqual(first, {
      category: { key: 'security', name: 'Security', mandatory: true },
      isNew: true,
    });
    assert.deepEqual(service.category(ONE, 'security'), first.category);
    const second = await service.putCategory(ONE, 'security', {});
    assert.deepEqual(second, { category: { key: 'security', mandatory: false }, isNew: false });
    assert.deepEqual(await service.getCategory(ONE, 'security'), second.category);
    assert.deepEqual(await service.listCategories(ONE, { limit: 5, after: null }), [
      second.category,
    ]);
    await service.deleteCategory(ONE, 'security');
    assert.equal(service.category(ONE, 'security'), undefined);
  });
});
