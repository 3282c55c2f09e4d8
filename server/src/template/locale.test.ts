import assert from 'node:assert/strict';
import { test } from 'node:test';
import { canonicalLocale, chooseLocale, dateLocale, localeCandidates } from './locale.ts';
import { knownTimezone } from './timezone.ts';

test('reads language tags in their canonical spelling', () => {
  assert.equal(canonicalLocale('zh-hant-tw'), 'zh-Hant-TW');
  assert.equal(canonicalLocale('EN'), 'en');
  assert.equal(canonicalLocale('iw'), 'he');
  for (const tag of ['', 'zh_CN', 'a', 'en-', '-en', 'en-US\n', 'x'.repeat(40), '订单']) {
    assert.equal(canonicalLocale(tag), undefined, tag);
  }
});

test('goes from the exact tag to language and script, then to the language', () => {
  const table: [string, string[]][] = [
    ['zh-Hant-TW', ['zh-Hant-TW', 'zh-TW', 'zh-Hant', 'zh']],
    ['zh-TW', ['zh-TW', 'zh-Hant-TW', 'zh-Hant', 'zh']],
    ['zh-CN', ['zh-CN', 'zh-Hans-CN', 'zh-Hans', 'zh']],
    ['en-gb', ['en-GB', 'en-Latn-GB', 'en-Latn', 'en']],
    ['sr-Latn-RS', ['sr-Latn-RS', 'sr-Latn', 'sr']],
    ['de-CH-1996', ['de-CH-1996', 'de-CH', 'de-Latn-CH', 'de-Latn', 'de']],
    ['und', ['und']],
    ['tlh', ['tlh']],
    ['no tag', []],
  ];
  for (const [tag, expected] of table) assert.deepEqual(localeCandidates(tag), expected, tag);
});

test('chooses the best locale that is there', () => {
  const choose = (requested: string | null, ...there: string[]) =>
    chooseLocale(requested, 'en', (locale) => there.includes(locale));
  assert.equal(choose('de-AT', 'de', 'de-AT', 'fr'), 'de-AT');
  assert.equal(choose('de-AT', 'de', 'fr'), 'de');
  assert.equal(choose('de', 'de-DE'), 'de-DE');
  assert.equal(choose('zh-TW', 'zh', 'zh-Hant'), 'zh-Hant');
  assert.equal(choose('zh-HK', 'zh-TW', 'zh-CN'), 'en');
  assert.equal(choose('en-GB', 'de'), 'en');
  assert.equal(choose('fr', 'de'), 'en');
  assert.equal(choose(null, 'de'), 'en');
  assert.equal(choose('no tag', 'de'), 'en');
  assert.equal(
    chooseLocale('zh-CN', 'zh-CN', () => true),
    'zh-CN',
  );
  assert.equal(
    chooseLocale('zh-Hans-CN', 'zh-CN', (locale) => locale === 'zh'),
    'zh-CN',
  );
});

test('writes dates in the language of the text', () => {
  assert.equal(dateLocale('en-GB', 'en'), 'en-GB');
  assert.equal(dateLocale('en-GB', 'en-US'), 'en-GB');
  assert.equal(dateLocale('fr-FR', 'en'), 'en');
  assert.equal(dateLocale('no tag', 'en'), 'en');
  assert.equal(dateLocale(null, 'de'), 'de');
});

test('takes time zones that exist and nothing else', () => {
  for (const zone of ['Asia/Shanghai', 'UTC', 'America/Argentina/Ushuaia', '+08:00']) {
    assert.equal(knownTimezone(zone), zone);
    assert.equal(knownTimezone(zone), zone);
  }
  for (const zone of ['', 'Mars/Olympus', 'Asia/Shanghai\n', 'constructor', null, undefined]) {
    assert.equal(knownTimezone(zone), undefined, String(zone));
  }
});
