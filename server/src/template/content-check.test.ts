import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ChannelContent } from '@tidings/contracts/content';
import { Type } from '@tidings/contracts/schema';
import { chat } from '../../test/support/templates.ts';
import email from '../adapters/email/adapter.ts';
import { checkRendered, checkUnrendered, hasMarkup } from './content-check.ts';

const paths = (faults: { path: string }[]) => faults.map(({ path }) => path).sort();

test('finds templates at any depth', () => {
  for (const value of ['{{ a }}', '{% if a %}', 'x {{', { a: [{ b: '{%' }] }]) {
    assert.equal(hasMarkup(value), true, JSON.stringify(value));
  }
  for (const value of ['', '{ {', '{a}', '}}', '%}', 1, null, undefined, { '{{': 1 }, [['x']]]) {
    assert.equal(hasMarkup(value), false, JSON.stringify(value));
  }
});

test('rendered content must fit in every way, and all faults are told', () => {
  assert.deepEqual(checkRendered(chat, { text: 'hello' }), []);
  const table: [ChannelContent, string[]][] = [
    [{}, ['text']],
    [{ text: '' }, ['text']],
    [{ text: 'x'.repeat(21) }, ['text']],
    [{ text: 1, extra: 1 }, ['extra', 'text']],
    [{ text: 'a', url: 'nowhere', level: 'x', badge: '1' }, ['badge', 'level', 'url']],
    [{ text: 'a', mode: 'x' }, ['mode']],
    [
      {
        text: 'a',
        blocks: [
          { kind: 'text', text: 'a' },
          { kind: 'link', href: 'http' },
        ],
      },
      ['blocks.1'],
    ],
    [{ text: 'a!' }, ['text']],
    [{ text: 'see' }, ['url']],
  ];
  for (const [content, expected] of table) {
    assert.deepEqual(paths(checkRendered(chat, content)), expected, JSON.stringify(content));
  }
  const [fault] = checkRendered(chat, { text: 'a', mode: 'x' });
  assert.equal(fault?.message, 'must be one of: plain, rich');
});

test('a template is exempt from what is meant for the text it becomes', () => {
  const fine: ChannelContent[] = [
    { text: '{{ text }}' },
    { text: `{% if a %}${'x'.repeat(100)}{% endif %}` },
    { text: 'a', url: '{{ url }}' },
    { text: 'a', level: '{{ level }}', mode: 'r{{ rest }}' },
    { text: 'a', blocks: [{ kind: 'link', href: '{{ url }}' }] },
    { text: 'a', blocks: [{ kind: '{{ kind }}', text: 'a' }] },
    { text: '{{ text }}!' },
  ];
  for (const content of fine) {
    assert.deepEqual(checkUnrendered(chat, content), [], JSON.stringify(content));
  }
});

test('everything else holds before rendering too', () => {
  const table: [ChannelContent, string[]][] = [
    [{ url: '{{ url }}' }, ['text']],
    [{ text: '{{ a }}', extra: '{{ a }}' }, ['extra']],
    [{ text: '{{ a }}', url: 'nowhere' }, ['url']],
    [{ text: '{{ a }}', badge: '{{ a }}' }, ['badge']],
    [{ text: ['{{ a }}'] }, ['text']],
    [{ text: '{{ a }}', level: 'x' }, ['level']],
    [{ text: '{{ a }}', blocks: [{ kind: 'link' }] }, ['blocks.0']],
    [
      { text: '{{ a }}', blocks: [1, 2, 3, 4].map(() => ({ kind: 'text', text: 'a' })) },
      ['blocks'],
    ],
    [{ text: 'a!', url: '{{ url }}' }, ['text']],
  ];
  for (const [content, expected] of table) {
    assert.deepEqual(paths(checkUnrendered(chat, content)), expected, JSON.stringify(content));
  }
});

test('holds for the email channel', () => {
  const templates = { subject: 'Hi {{ name }}', text: '{{ a }}', replyTo: '{{ owner }}' };
  assert.deepEqual(checkUnrendered(email, templates), []);
  assert.deepEqual(
    checkUnrendered(email, { ...templates, headers: { 'X-Order': '{{ id }}' } }),
    [],
  );
  assert.deepEqual(paths(checkUnrendered(email, { subject: '{{ a }}' })), ['text']);
  assert.deepEqual(paths(checkUnrendered(email, { ...templates, headers: { Bcc: 'a' } })), [
    'headers.Bcc',
  ]);
  assert.deepEqual(paths(checkUnrendered(email, { ...templates, replyTo: 'nobody' })), ['replyTo']);
  assert.deepEqual(paths(checkRendered(email, templates)), ['replyTo']);
  const lines = { subject: 'a\r\nBcc: evil@example.com', text: 'a' };
  assert.deepEqual(paths(checkRendered(email, lines)), ['subject']);
  assert.deepEqual(paths(checkUnrendered(email, { ...lines, text: '{{ a }}' })), ['subject']);
});

test('conditions on values wait for the values', () => {
  const conditional = {
    ...chat,
    contentSchema: Type.Unsafe({
      type: 'object',
      properties: {
        kind: { oneOf: [{ const: 'a' }, { type: 'string', pattern: '^b' }] },
        text: { type: ['string', 'null'], minLength: 3 },
      },
      if: { properties: { kind: { const: 'a' } } },
      else: { required: ['other'] },
      not: { required: ['never'] },
    }),
    validate: () => [],
  };
  assert.deepEqual(checkUnrendered(conditional, { kind: '{{ kind }}' }), []);
  assert.deepEqual(paths(checkRendered(conditional, { kind: 'a' })), []);
  assert.deepEqual(paths(checkRendered(conditional, { kind: 'b' })), ['other']);
  assert.deepEqual(paths(checkUnrendered(conditional, { kind: 'c', text: 'ab' })), [
    'kind',
    'text',
  ]);
});
