import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseRetryAfter } from './retry-after.ts';

const NOW = Date.UTC(1994, 10, 6, 8, 49, 7);
const DAY_MS = 24 * 3_600_000;

test('seconds', () => {
  assert.equal(parseRetryAfter('120', NOW), 120_000);
  assert.equal(parseRetryAfter(' 0 ', NOW), 0);
});

test('the three forms of an HTTP date', () => {
  for (const date of [
    'Sun, 06 Nov 1994 08:49:37 GMT',
    'Sunday, 06-Nov-94 08:49:37 GMT',
    'Sun Nov  6 08:49:37 1994',
  ]) {
    assert.equal(parseRetryAfter(date, NOW), 30_000, date);
  }
});

test('a date that has passed means now', () => {
  assert.equal(parseRetryAfter('Sun, 06 Nov 1994 08:00:00 GMT', NOW), 0);
});

test('no more than a day', () => {
  assert.equal(parseRetryAfter('9999999999', NOW), DAY_MS);
  assert.equal(parseRetryAfter('Fri, 31 Dec 1999 23:59:59 GMT', NOW), DAY_MS);
});

test('what makes no sense is no answer', () => {
  for (const text of [
    '',
    'soon',
    '-1',
    '1.5',
    '1e3',
    '12345678901',
    '5 minutes',
    '0x10',
    '2026-01-01',
    'Sun, 99 Foo 1994 08:49:37 GMT',
  ]) {
    assert.equal(parseRetryAfter(text, NOW), undefined, text);
  }
  assert.equal(parseRetryAfter(undefined, NOW), undefined);
});

test('any text gives nothing or a time within the limit', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      const ms = parseRetryAfter(text, NOW) ?? 0;
      assert.ok(ms >= 0 && ms <= DAY_MS);
    }),
  );
});
