import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { adapters } from '../../test/support/templates.ts';
import type { NewTemplateVersion } from './template-store.ts';
import { below, checkExample, checkVersion } from './version-check.ts';

const text = fc.oneof(
  fc.string({ unit: 'grapheme' }),
  fc.constantFrom('{{ a }}', '{{ a.b | date: "%x" }}', '{% for i in a %}{{ i }}{% endfor %}'),
  fc
    .array(fc.constantFrom('{{', '}}', '{%', '%}', ' a ', '| upcase', 'if', '"'))
    .map((all) => all.join('')),
);
const value = fc.oneof(text, fc.jsonValue() as fc.Arbitrary<unknown>);
const name = fc.oneof(
  fc.constantFrom('subject', 'text', 'html', 'replyTo', 'headers', 'attachments', 'url', 'blocks'),
  fc.constantFrom('level', 'badge', 'payload', '__proto__', 'constructor'),
);
const content = fc.dictionary(name, value, { maxKeys: 5 });
const contents = fc.dictionary(fc.constantFrom('email', 'chat', 'webhook', 'constructor'), content);
const object = fc.dictionary(fc.string(), fc.jsonValue() as fc.Arbitrary<unknown>);
const version: fc.Arbitrary<NewTemplateVersion> = fc.record({
  locale: fc.constantFrom('en', 'zh-CN', 'zh_CN', ''),
  content: contents,
  translations: fc.dictionary(fc.constantFrom('de', 'en', 'x', 'constructor'), contents),
  variables: fc.option(object),
  example: fc.option(object),
});

test('whatever is given, faults are told and nothing is thrown', async () => {
  await fc.assert(
    fc.asyncProperty(version, async (given) => {
      const before = JSON.stringify(given);
      const faults = checkVersion(given, adapters);
      if (faults.length === 0) faults.push(...(await checkExample(given, adapters, 0)));
      for (const { path, message } of faults) {
        assert.equal(typeof path, 'string');
        assert.ok(message.length > 0 && message.length < 1000, message);
      }
      assert.equal(JSON.stringify(given), before, 'it was changed');
    }),
    { numRuns: 500 },
  );
});

test('faults of a part become faults of the whole', () => {
  const faults = [
    { path: '', message: 'a' },
    { path: 'b.c', message: 'd' },
  ];
  assert.deepEqual(below('', faults), faults);
  assert.deepEqual(below('body', faults), [
    { path: 'body', message: 'a' },
    { path: 'body.b.c', message: 'd' },
  ]);
});
