import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { ServiceError } from '../errors.ts';
import { MAX_DEPTH, MOST_MEMBERS, parseStrictJson } from './json.ts';

function refused(text: string): ServiceError {
  try {
    parseStrictJson(text);
  } catch (error) {
    assert.ok(error instanceof ServiceError);
    assert.equal(error.code, 'invalid_json');
    return error;
  }
  throw new Error(`was taken: ${text.slice(0, 80)}`);
}

describe('strict JSON', () => {
  it('reads whatever JSON.parse reads and nobody can misread', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 5 }), (value) => {
        const text = JSON.stringify(value);
        const plain =
          text.isWellFormed() &&
          !/\\u0000|\\ud[89a-f]|"__proto__"|(?<![.0-9])[0-9]{16,}(?![.0-9e])/i.test(text) &&
          !JSON.stringify(value).includes('prototype');
        if (plain) assert.deepEqual(parseStrictJson(text), JSON.parse(text));
      }),
      { numRuns: 500 },
    );
  });

  it('reads colons, quotes and braces inside of strings', () => {
    const value = { a: 'x:"{[\\', 'b:"': ['\\"', '\\\\', ':'], c: { d: '}' } };
    assert.deepEqual(parseStrictJson(JSON.stringify(value, null, 2)), value);
  });

  it('refuses the same key twice, however it is written and wherever it stands', () => {
    for (const text of [
      '{"a":1,"a":2}',
      '{"a":1,"\\u0061":2}',
      '[{"x":{"y":1,"z":2,"y":3}}]',
      '{"to":{"email":"a"},"to":{"email":"b"}}',
    ]) {
      assert.match(refused(text).message, /twice/);
    }
  });

  it('refuses what would reach a prototype, and leaves none changed', () => {
    for (const text of [
      '{"__proto__":{"polluted":1}}',
      '{"a":{"__proto__":1}}',
      '{"constructor":{"prototype":{"polluted":1}}}',
      '[{"\\u005f_proto__":1}]',
    ]) {
      refused(text);
    }
    assert.equal(({} as { polluted?: unknown }).polluted, undefined);
    assert.deepEqual(parseStrictJson('{"constructor":"a word"}'), { constructor: 'a word' });
  });

  it('refuses more members, objects and lists than anybody sends', () => {
    const keys = (count: number) =>
      `{${Array.from({ length: count }, (_, i) => `"k${i}":1`).join(',')}}`;
    parseStrictJson(keys(MOST_MEMBERS - 1));
    const lists = `[${Array.from({ length: MOST_MEMBERS }, () => '{}').join(',')}]`;
    for (const text of [keys(MOST_MEMBERS), lists])
      assert.match(refused(text).message, /more than 20,000 members/);
    parseStrictJson(JSON.stringify(Array.from({ length: 5 * MOST_MEMBERS }, (_, i) => i)));
  });

  it('refuses nesting past the limit, also a hundred thousand levels, and takes the limit', () => {
    const nested = (levels: number): string => `${'['.repeat(levels)}${']'.repeat(levels)}`;
    parseStrictJson(nested(MAX_DEPTH));
    for (const levels of [MAX_DEPTH + 1, 100_000])
      assert.match(refused(nested(levels)).message, /nested/);
    assert.match(refused('{"a":'.repeat(100_000)).message, /nested/);
  });

  it('refuses half a surrogate pair and NUL, in values and in names', () => {
    for (const text of [
      '{"a":"\\ud83d"}',
      '{"a":["x\\udc00"]}',
      '{"\\ud83d":1}',
      '"\\ud83d"',
      '{"a":"\ud83d"}',
    ]) {
      assert.match(refused(text).message, /surrogate/);
    }
    for (const text of ['{"a":"x\\u0000"}', '{"x\\u0000":1}'])
      assert.match(refused(text).message, /NUL/);
    assert.deepEqual(parseStrictJson('{"a":"\\ud83d\\ude00"}'), { a: '😀' });
  });

  it('refuses integers that would lose digits, and keeps every other number', () => {
    for (const [text, path] of [
      ['{"data":{"id":9007199254740992}}', 'body.data.id'],
      ['{"data":{"id":-9007199254740993}}', 'body.data.id'],
      ['{"data":{"a":[1,{"b":12345678901234567890}]}}', 'body.data.a.1.b'],
      ['{"a":1,"b":9007199254740993,"c":"\\ud83d\\ude00"}', 'body.b'],
      [`{"a":${'9'.repeat(400)}}`, 'body.a'],
      ['{"a":[1e999]}', 'body.a.0'],
      ['{"proto":-1e999}', 'body.proto'],
      ['[9007199254740993]', 'body.0'],
    ] as const) {
      const error = refused(text);
      assert.deepEqual(
        error.errors?.map((fault) => fault.path),
        [path],
      );
      assert.match(error.message, /would lose digits|too large to be kept/);
    }
    for (const text of [
      '{"a":9007199254740991,"b":-9007199254740991}',
      '{"a":[1e300,-1.5e20,12345678901234567890.0]}',
      '{"a":"9007199254740993","b":0.12345678901234567890}',
      '{"a":{"proto":1e300}}',
    ]) {
      assert.deepEqual(parseStrictJson(text), JSON.parse(text));
    }
    // What was seen in one body is not held against the next.
    assert.throws(() => parseStrictJson('{"a":1e300,"a":1}'), /twice/);
    assert.deepEqual(parseStrictJson('{"a":1}'), { a: 1 });
  });

  it('refuses what is no JSON, with where', () => {
    for (const text of [
      '{',
      '{"a"}',
      '{"a":1,}',
      "{'a':1}",
      '{"a":"',
      '{"a":"\\',
      'nope',
      '1 2',
      '{"a":1}}',
    ])
      refused(text);
  });

  it('names the place', () => {
    assert.equal(refused('{"data":{"x":{"y":"\\u0000"}}}').errors?.[0]?.path, 'body.data.x.y');
  });
});
