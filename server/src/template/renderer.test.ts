import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { adapters, emailTemplate, openTestTemplates } from '../../test/support/templates.ts';
import email from '../adapters/email/adapter.ts';
import { systemClock } from '../clock.ts';
import { type ErrorCode, type FieldError, ServiceError } from '../errors.ts';
import { contentFor, createRenderer, type RenderRequest } from './renderer.ts';
import type { PublishedTemplate } from './template-store.ts';

const ONE = 1;
const NOW = Date.UTC(2026, 10, 5, 23, 30);
const renderer = createRenderer({ adapters, clock: systemClock });

function templateOf(rest: Partial<PublishedTemplate>): PublishedTemplate {
  return {
    ...{ key: 'a', version: 1, category: null, priority: null, locale: 'en' },
    ...{ content: {}, translations: {}, variables: null },
    ...rest,
  };
}

function requestOf(channel: string, rest: Partial<RenderRequest> = {}): RenderRequest {
  return { channel, data: {}, now: NOW, ...rest };
}

function refused(call: () => unknown, code: ErrorCode): FieldError[] {
  try {
    call();
  } catch (error) {
    assert.ok(error instanceof ServiceError, String(error));
    assert.equal(error.code, code, error.message);
    return error.errors ?? [];
  }
  assert.fail('was not refused');
}

const paths = (errors: FieldError[]) => errors.map(({ path }) => path).sort();

describe('resolving', () => {
  test('finds what is published and refuses the rest', async () => {
    await using opened = openTestTemplates();
    const { service } = opened;
    await service.create(ONE, emailTemplate('a', { publish: true, category: 'c' }));
    await service.create(ONE, emailTemplate('draft'));
    const template = service.resolve(ONE, { key: 'a', version: null });
    assert.deepEqual([template.version, template.category], [1, 'c']);
    assert.equal(service.resolve(ONE, { key: 'a', version: 1 }), template);
    assert.deepEqual(service.channelsOf(template), ['email']);
    for (const [application, key, version] of [
      [ONE, 'a', 2],
      [ONE, 'draft', null],
      [ONE, 'draft', 1],
      [ONE, 'b', null],
      [2, 'a', null],
      [ONE, '__proto__', null],
    ] as const) {
      const errors = refused(
        () => service.resolve(application, { key, version }),
        'invalid_template',
      );
      assert.deepEqual(paths(errors), ['body.template']);
    }
  });

  test('renders through the store, and nothing after a deletion', async () => {
    await using opened = openTestTemplates();
    const { service, clock } = opened;
    await service.create(ONE, emailTemplate('a', { publish: true }));
    const template = service.resolve(ONE, { key: 'a', version: null });
    const data = { order: { id: 7 }, name: 'Ada' };
    const request = { channel: 'email', data, now: clock.now() };
    const expected = { subject: 'Order 7', text: 'Thank you, Ada.' };
    assert.deepEqual(service.render(template, request), expected);
    await service.delete(ONE, 'a');
    refused(() => service.resolve(ONE, { key: 'a', version: 1 }), 'invalid_template');
    await service.create(ONE, emailTemplate('a', { publish: true }));
    refused(() => service.resolve(ONE, { key: 'a', version: 1 }), 'invalid_template');
    assert.equal(service.resolve(ONE, { key: 'a', version: null }).version, 2);
  });
});

describe('data', () => {
  const variables = {
    type: 'object',
    required: ['order'],
    properties: {
      order: {
        type: 'object',
        required: ['id'],
        properties: {
          id: { type: 'integer' },
          items: { type: 'array', items: { type: 'string' } },
        },
      },
    },
  };

  test('must fit the variables, if there are any', () => {
    const template = templateOf({ variables });
    renderer.checkData(template, { order: { id: 1, items: ['a'] }, more: true });
    renderer.checkData(templateOf({}), { anything: 1 });
    const errors = refused(
      () => renderer.checkData(template, { order: { id: 'x', items: ['a', 1] } }),
      'invalid_data',
    );
    assert.deepEqual(paths(errors), ['body.data.order.id', 'body.data.order.items.1']);
    const missing = refused(() => renderer.checkData(template, { order: {} }), 'invalid_data');
    assert.deepEqual(paths(missing), ['body.data.order.id']);
  });

  test('compiles the variables once for each template', () => {
    const template = templateOf({ variables });
    renderer.checkData(template, { order: { id: 1 } });
    template.variables = { type: 'object', required: ['other'] };
    renderer.checkData(template, { order: { id: 1 } });
    const again = { ...template };
    assert.equal(refused(() => renderer.checkData(again, {}), 'invalid_data').length, 1);
  });
});

describe('rendering', () => {
  const greeting = (text: string) => ({ chat: { text: `${text} {{ name }}` } });
  const template = templateOf({
    content: { ...greeting('Hello'), email: { subject: 'Hello {{ name }}', text: 'a' } },
    translations: {
      'zh-Hant': greeting('哈囉'),
      zh: greeting('你好'),
      de: { email: { subject: 'Hallo {{ name }}', text: 'a' } },
      'de-AT': greeting('Servus'),
    },
  });
  const data = { name: 'Ada' };
  const chatIn = (locale?: string | null) =>
    renderer.render(template, requestOf('chat', { locale, data }))['text'];
  const subjectIn = (locale?: string) =>
    renderer.render(template, requestOf('email', { locale, data }))['subject'];

  test('takes the nearest locale, each channel by itself', () => {
    assert.equal(chatIn('zh-TW'), '哈囉 Ada');
    assert.equal(chatIn('zh-Hant-HK'), '哈囉 Ada');
    assert.equal(chatIn('zh-CN'), '你好 Ada');
    assert.equal(chatIn('de-AT'), 'Servus Ada');
    assert.equal(chatIn('de'), 'Hello Ada');
    assert.equal(subjectIn('de-AT'), 'Hallo Ada');
    assert.equal(subjectIn('de'), 'Hallo Ada');
    assert.equal(subjectIn('zh-TW'), 'Hello Ada');
    for (const locale of [
      'en-GB',
      'fr',
      'constructor',
      '__proto__',
      'no tag',
      '',
      null,
      undefined,
    ]) {
      assert.equal(chatIn(locale), 'Hello Ada', String(locale));
    }
  });

  test('finds no content under names that every object has', () => {
    for (const name of ['constructor', 'toString', '__proto__']) {
      assert.equal(contentFor(template, name, null), undefined);
    }
  });

  test('compiles each text once for each template', () => {
    const changed = structuredClone(template);
    const render = () => renderer.render(changed, requestOf('chat', { data }))['text'];
    assert.equal(render(), 'Hello Ada');
    changed.content['chat'] = { text: 'changed' };
    assert.equal(render(), 'Hello Ada');
    const again = { ...changed };
    assert.equal(renderer.render(again, requestOf('chat'))['text'], 'changed');
  });

  test('writes dates in the zone of the recipient and the language of the text', () => {
    const dated = templateOf({
      content: { chat: { text: '{{ "now" | date: "%x %H" }}' } },
      translations: { de: { chat: { text: '{{ "now" | date: "%A %H" }}' } } },
    });
    const text = (locale: string, timezone?: string) =>
      renderer.render(dated, requestOf('chat', { locale, timezone }))['text'];
    assert.equal(text('de', 'Asia/Shanghai'), 'Freitag 07');
    assert.equal(text('de-CH', 'Mars/Olympus'), 'Donnerstag 23');
    assert.equal(text('en-GB', undefined), '05/11/2026 23');
    assert.equal(text('fr', 'UTC'), '11/5/2026 23');
  });

  test('escapes values in HTML and nowhere else', () => {
    const html = templateOf({
      content: { email: { subject: '{{ v }}', html: '<p>{{ v }}</p>', text: '{{ v }}' } },
    });
    const value = '<img src=x onerror="alert(1)">&';
    const content = renderer.render(html, requestOf('email', { data: { v: value } }));
    assert.equal(content['subject'], value);
    assert.equal(content['text'], value);
    assert.equal(content['html'], '<p>&lt;img src=x onerror=&#34;alert(1)&#34;&gt;&amp;</p>');
  });

  test('refuses what does not fit once it is rendered', () => {
    const rendered = templateOf({
      content: {
        chat: { text: '{{ a }}', url: '{{ b }}' },
        email: { subject: '{{ a }}', text: 'a', replyTo: '{{ b }}' },
      },
    });
    const at = (channel: string, values: Record<string, unknown>) =>
      paths(
        refused(
          () => renderer.render(rendered, requestOf(channel, { data: values })),
          'invalid_content',
        ),
      );
    assert.deepEqual(at('chat', { b: 'nowhere' }), ['text', 'url']);
    assert.deepEqual(at('chat', { a: 'a!', b: 'https://a.example' }), ['text']);
    assert.deepEqual(at('email', { a: 'a\r\nBcc: evil@example.com', b: 'a@example.com' }), [
      'subject',
    ]);
    assert.deepEqual(at('email', { a: 'a', b: 'a@example.com, b@example.com' }), ['replyTo']);
  });

  test('names the field of a text that takes too much work', () => {
    const loop = '{% for i in (1..5000) %}{% for j in (1..5000) %}{% endfor %}{% endfor %}';
    const heavy = templateOf({ content: { chat: { text: loop } } });
    const errors = refused(() => renderer.render(heavy, requestOf('chat')), 'invalid_data');
    assert.deepEqual(paths(errors), ['text']);
  });

  test('refuses channels that are unknown, or that the template has nothing for', () => {
    refused(() => renderer.render(template, requestOf('pigeon')), 'unknown_channel');
    for (const channel of ['webhook', 'constructor']) {
      const code = channel === 'webhook' ? 'invalid_template' : 'unknown_channel';
      refused(() => renderer.render(template, requestOf(channel)), code);
    }
  });
});

describe('content given with a notification', () => {
  const render = (content: Record<string, unknown>, data: Record<string, unknown> = {}) =>
    renderer.renderInline(content, requestOf('chat', { data }));

  test('is a template where it has markup, and itself otherwise', () => {
    const plain = { text: 'a { b } %' };
    assert.equal(render(plain), plain);
    assert.deepEqual(render({ text: 'a {{ b }}' }, { b: 'c' }), { text: 'a c' });
    assert.deepEqual(render({ text: 'a {{ b }}' }, { b: 'd' }), { text: 'a d' });
    assert.deepEqual(render({ text: '{% raw %}{{ b }}{% endraw %}' }), { text: '{{ b }}' });
    assert.deepEqual(
      renderer.renderInline(
        { payload: { a: [1, '{{ b }}'] } },
        requestOf('webhook', { data: { b: 2 } }),
      ),
      { payload: { a: [1, '2'] } },
    );
  });

  test('must fit its channel once it is rendered', () => {
    assert.deepEqual(paths(refused(() => render({ text: '' }), 'invalid_content')), ['text']);
    assert.deepEqual(paths(refused(() => render({ text: '{{ b }}' }), 'invalid_content')), [
      'text',
    ]);
    refused(() => renderer.renderInline({ text: 'a' }, requestOf('pigeon')), 'unknown_channel');
  });

  test('is refused when it is accepted, as far as that is certain', () => {
    const check = renderer.checkInline;
    check({ text: 'a' }, 'chat');
    check({ text: 'a {{ b }}' }, 'chat', { b: 'c' });
    check({ text: '{% if b %}{{ b }}{% endif %}' }, 'chat', { b: 'far too long to be sent' });
    const table: [Record<string, unknown>, Record<string, unknown>, string[]][] = [
      [{ text: '' }, {}, ['text']],
      [{ text: 'a!' }, {}, ['text']],
      [{ text: 'a {{ b' }, {}, ['text']],
      [{ text: '{% if %}', url: '{{' }, {}, ['text', 'url']],
      [{ text: 'a {{ b }}', extra: 1 }, {}, ['extra']],
      [{ text: 'a {% if b %}{% endif %}', url: 'nowhere' }, {}, ['url']],
      [{ text: '{{ b }}' }, {}, ['text']],
      [{ text: '{{ b }}' }, { b: 'far too long to be sent' }, ['text']],
    ];
    for (const [content, data, expected] of table) {
      const errors = refused(() => check(content, 'chat', data), 'invalid_content');
      assert.deepEqual(paths(errors), expected, JSON.stringify(content));
    }
    refused(() => check({ text: 'a' }, 'pigeon'), 'unknown_channel');
  });

  test('that a missing variable has emptied is refused with its name', () => {
    const url = 'https://example.com/{{ c }}';
    for (const [text, message] of [
      ['{{ a.b }}{{ d }} ', undefined],
      ['{{ a.b }}{{ d }}', 'must not be empty; the data has no a.b, d'],
      ['{% for i in (1..2) %}{{ a.b }}{% endfor %}', 'must not be empty; the data has no a.b'],
      ['{% if a.b %}{{ a.b }}{% endif %}', 'must not be empty'],
      ['{{ e }}', 'must not be empty'],
      ['{{ a.b }}far too long to be sent', 'must have at most 20 characters'],
    ] as const) {
      const send = () => render({ text, url }, { a: {}, e: '' });
      if (message === undefined) assert.doesNotThrow(send);
      else assert.deepEqual(refused(send, 'invalid_content'), [{ path: 'text', message }], text);
    }
    assert.deepEqual(
      refused(() => renderer.checkInline({ text: '{{ a.b }}' }, 'chat'), 'invalid_content'),
      [{ path: 'text', message: 'must not be empty; the data has no a.b' }],
    );
  });

  test('is not rendered with what takes long before it is delivered', () => {
    const slow = { text: '{{ b | slugify | size }}' };
    const data = { b: 'a b'.repeat(100_000) };
    assert.doesNotThrow(() => renderer.checkInline(slow, 'chat', data));
    assert.deepEqual(render(slow, data), { text: '300000' });
    assert.deepEqual(
      paths(
        refused(
          () => renderer.checkInline({ text: '{{ b }}!' }, 'chat', { b: 'c' }),
          'invalid_content',
        ),
      ),
      ['text'],
    );
  });

  test('has little markup, all channels together', () => {
    const of = (...texts: string[]) => {
      const count = renderer.countMarkup();
      for (const text of texts) count({ text });
    };
    of('x'.repeat(500_000), '{'.repeat(1_000_000).replaceAll('{', '{ '));
    of('{{ a }}'.repeat(250), '{{ a }}'.repeat(250));
    of(`{{ a${' '.repeat(39_900)} }}`);
    of(`{{ a${'|upcase'.repeat(1990)} }}`);
    for (const texts of [
      ['{{ a }}'.repeat(250), '{{ a }}'.repeat(251)],
      [`{{ a${' '.repeat(40_000)} }}`],
      [`{{ a${'|upcase'.repeat(1000)} }}`, `{{ a${'|upcase'.repeat(1000)} }}`],
    ]) {
      assert.deepEqual(paths(refused(() => of(...texts), 'invalid_content')), ['text']);
    }
    const count = renderer.countMarkup();
    const deep = { payload: { a: [1, { b: '{{ a }}'.repeat(501) }] } };
    assert.deepEqual(paths(refused(() => count(deep), 'invalid_content')), ['payload.a.1.b']);
  });

  test('is told apart by channel and content, in any number and size', () => {
    for (let i = 0; i < 5000; i++) {
      assert.deepEqual(render({ text: `${i} {{ b }}` }, { b: i }), { text: `${i} ${i}` });
    }
    const html = { subject: 'a', html: `{{ b }}${'x'.repeat(100_000)}` };
    for (const b of ['<', '>']) {
      const content = renderer.renderInline(html, requestOf('email', { data: { b } }));
      assert.equal(String(content['html']).length, 100_004);
    }
    const plain = { ...email, channel: 'plain', htmlFields: [] };
    const both = createRenderer({
      adapters: { get: (channel) => (channel === 'plain' ? plain : email) },
      clock: systemClock,
    });
    const short = { subject: 'a', html: '{{ b }}' };
    const htmlOf = (channel: string) =>
      both.renderInline(short, requestOf(channel, { data: { b: '<' } }))['html'];
    assert.deepEqual([htmlOf('email'), htmlOf('plain')], ['&lt;', '<']);
    const payload = { text: '{{ b }}' };
    const sent = renderer.renderInline({ payload }, requestOf('webhook', { data: { b: '1' } }));
    assert.deepEqual(sent, { payload: { text: '1' } });
    assert.deepEqual(render({ text: '{{ b }}' }, { b: '2' }), { text: '2' });
  });

  test('cannot reach anything but its data', () => {
    refused(
      () => render({ text: "{{constructor.constructor('return process')()}}" }),
      'invalid_content',
    );
    const probe = '[{{ __proto__ }}{{ a.constructor.name }}]';
    const data = JSON.parse('{"a":{},"__proto__":{"polluted":1}}') as Record<string, unknown>;
    render({ text: probe }, data);
    assert.equal(({} as Record<string, unknown>)['polluted'], undefined);
    assert.deepEqual(render({ text: '[{{ toString }}{{ a.constructor }}]' }, data), { text: '[]' });
  });
});
