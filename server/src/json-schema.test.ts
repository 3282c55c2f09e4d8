/** Ajv as this service uses it. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { checkOf, createAjv } from './json-schema.ts';

describe('maxLength', () => {
  it('counts code points, as JSON Schema says', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 20 }), fc.nat(20), (text, maxLength) => {
        const valid = createAjv({}).compile({ type: 'string', maxLength })(text);
        assert.equal(valid, [...text].length <= maxLength);
      }),
    );
  });

  it('says so like Ajv does', () => {
    const validate = createAjv({}).compile({ type: 'string', maxLength: 2 });
    assert.equal(validate('🎉🎉'), true);
    assert.equal(validate('abc'), false);
    const [error] = validate.errors ?? [];
    assert.deepEqual(
      [error?.keyword, error?.message, error?.params],
      ['maxLength', 'must NOT have more than 2 characters', { limit: 2 }],
    );
  });
});

describe('a check', () => {
  const check = checkOf<{ a: number }>({
    type: 'object',
    required: ['a'],
    properties: { a: { type: 'number' }, list: { type: 'array', items: { type: 'string' } } },
    additionalProperties: false,
  });

  it('takes what fits', () => {
    assert.equal(check.fits({ a: 1 }), true);
    assert.deepEqual(check.faults({ a: 1 }), []);
  });

  it('names each fault by its path', () => {
    const paths = (value: unknown): string[] => check.faults(value).map(({ path }) => path);
    assert.equal(check.fits({}), false);
    assert.deepEqual(paths({}), ['a']);
    assert.deepEqual(paths({ a: 1, b: 2 }), ['b']);
    assert.deepEqual(paths({ a: 'x', list: ['y', 1] }), ['a', 'list.1']);
    assert.deepEqual(paths(null), ['']);
  });
});
