import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { FieldError } from '../errors.ts';
import { ServiceError } from '../errors.ts';
import { SCHEMA_LIMITS } from './schema-reader.ts';
import { compileVariablesSchema } from './variables-schema.ts';

function faultsOf(schema: unknown): FieldError[] {
  try {
    compileVariablesSchema(schema);
  } catch (error) {
    assert.ok(error instanceof ServiceError, String(error));
    assert.equal(error.code, 'invalid_template');
    return error.errors ?? [];
  }
  return [];
}

const pathsOf = (schema: unknown) => faultsOf(schema).map(({ path }) => path);

describe('data', () => {
  const schema = {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    type: 'object',
    required: ['name', 'items'],
    additionalProperties: false,
    properties: {
      name: { type: 'string', minLength: 1, pattern: '^[^\\d]+$', default: 'nobody' },
      email: { format: 'email' },
      when: { type: 'string', format: 'date-time' },
      items: {
        type: 'array',
        maxItems: 3,
        uniqueItems: true,
        items: { $ref: '#/$defs/item' },
      },
      'a/b~c': { const: { kind: [1] } },
    },
    $defs: { item: { type: 'object', required: ['price'], properties: { price: { minimum: 0 } } } },
  };
  const check = compileVariablesSchema(schema);

  test('that fits has no faults, and stays as it is', () => {
    const data = {
      ...{ name: 'Ada', email: 'ada@example.org', when: '2026-11-22T08:00:00Z' },
      ...{ items: [{ price: 1 }, { price: 2, note: 'x' }], 'a/b~c': { kind: [1] } },
    };
    const before = JSON.stringify(data);
    assert.deepEqual(check(data), []);
    assert.equal(JSON.stringify(data), before);
  });

  test('that does not fit is told all its faults, with paths', () => {
    const faults = check({
      ...{ name: '42', email: 'ada', when: 'soon', extra: 1, 'a/b~c': { kind: [2] } },
      items: [{ price: -1 }, {}, { price: -1 }],
    });
    assert.deepEqual(Object.fromEntries(faults.map(({ path, message }) => [path, message])), {
      'data.extra': 'is not allowed',
      'data.name': 'must match pattern "^[^\\d]+$"',
      'data.email': 'must match format "email"',
      'data.when': 'must match format "date-time"',
      'data.items': 'must not have equal items',
      'data.items.0.price': 'must be >= 0',
      'data.items.1.price': 'is required',
      'data.items.2.price': 'must be >= 0',
      'data.a/b~c': 'must be equal to constant',
    });
    assert.deepEqual(check({ items: [] }), [{ path: 'data.name', message: 'is required' }]);
    assert.deepEqual(check(null), [{ path: 'data', message: 'must be object' }]);
  });

  test('is not helped by what its prototype has', () => {
    const required = compileVariablesSchema({ required: ['constructor', 'toString'] });
    assert.deepEqual(
      required({}).map(({ path }) => path),
      ['data.constructor', 'data.toString'],
    );
    const shaped = compileVariablesSchema({ properties: { valueOf: { type: 'number' } } });
    assert.deepEqual(shaped({}), []);
    assert.deepEqual(shaped(JSON.parse('{"__proto__":{"valueOf":"x"}}')), []);
  });

  test('with equal items in any order of keys is found out, and only then', () => {
    const unique = compileVariablesSchema({ uniqueItems: true });
    for (const equal of [
      '[{"a":1,"b":[2]},{"b":[2],"a":1}]',
      '[1,1.0]',
      '["a","a"]',
      '[null,null]',
    ]) {
      assert.equal(unique(JSON.parse(equal)).length, 1, equal);
    }
    for (const distinct of [
      '[{"a":1},[["a",1]]]',
      '[1,"1"]',
      '[{"a":1},{"a":2}]',
      '[[1],[[1]]]',
      '[0,false,null,""]',
    ]) {
      assert.deepEqual(unique(JSON.parse(distinct)), [], distinct);
    }
  });

  test('that is not from JSON is refused, and never called', () => {
    const any = compileVariablesSchema(true);
    const getter = Object.defineProperty({}, 'name', {
      get: () => assert.fail('called'),
      enumerable: true,
    });
    for (const data of [getter, { deep: [getter] }, new Map(), new (class Ada {})()]) {
      assert.deepEqual(any(data), [{ path: 'data', message: 'is not plain data' }]);
    }
    const constant = compileVariablesSchema({ const: { a: 1 } });
    assert.deepEqual(constant(JSON.parse('{"a":1,"valueOf":1}')), [
      { path: 'data', message: 'cannot be checked' },
    ]);
  });

  test('beyond the bounds is refused', () => {
    let deep: unknown = 1;
    for (let i = 0; i < 100; i++) deep = [deep];
    assert.match(String(compileVariablesSchema(true)(deep)[0]?.message), /nested deeper/);
    const choices = { items: { anyOf: Array.from({ length: 150 }, (_, i) => ({ const: i })) } };
    const many = compileVariablesSchema(choices);
    assert.deepEqual(many(new Array(100).fill(149)), []);
    assert.match(String(many(new Array(100_000).fill(149))[0]?.message), /too large/);
    const text = compileVariablesSchema({ allOf: new Array(200).fill({ minLength: 1 }) });
    assert.match(String(text('x'.repeat(1_000_000))[0]?.message), /too large/);
    assert.ok(many(new Array(1000).fill(-1)).length <= 20);
  });
});

describe('patterns', () => {
  const email = compileVariablesSchema({ items: { pattern: '^\\w+@\\w+\\.\\w+$' } });

  test('that can take too long are refused with their place', () => {
    assert.deepEqual(pathsOf({ properties: { a: { anyOf: [{ pattern: '(a+)+$' }] } } }), [
      'variables.properties.a.anyOf.0.pattern',
    ]);
    assert.deepEqual(pathsOf({ patternProperties: { '(a+)+$': true } }), [
      'variables.patternProperties.(a+)+$',
    ]);
    assert.deepEqual(pathsOf({ pattern: '(' }), ['variables.pattern']);
  });

  test('are matched against as much text as is safe', () => {
    assert.deepEqual(email(['ada@example.org', 'x'.repeat(60)]), [
      { path: 'data.1', message: 'must match pattern "^\\w+@\\w+\\.\\w+$"' },
    ]);
    const tooLong = [{ path: 'data', message: 'has texts too long for the patterns' }];
    assert.deepEqual(email(['x'.repeat(1000)]), tooLong);
    // What one check may take is shared by all its texts, and full again for the next check.
    const names = (count: number) => new Array(count).fill('ada.lovelace@example.org');
    assert.deepEqual(email(new Array(50).fill('ada@example.org')), []);
    assert.deepEqual(email(new Array(5000).fill('ada@example.org')), tooLong);
    assert.deepEqual(email(new Array(50).fill('ada@example.org')), []);
    assert.equal(email(names(2)).length, 2);
  });

  test('with the same beginning are not taken for one another', () => {
    const check = compileVariablesSchema({
      properties: { a: { pattern: '^a$' }, b: { pattern: '^b$' } },
      patternProperties: { '^c': { const: 'c' } },
    });
    assert.deepEqual(check({ a: 'a', b: 'b', c1: 'c', d: 'd' }), []);
    assert.deepEqual(
      check({ a: 'b', b: 'a', c1: 'd' })
        .map(({ path }) => path)
        .sort(),
      [...['data.a', 'data.b', 'data.c1']],
    );
  });
});

describe('a schema', () => {
  test('that is none is refused with its place', () => {
    assert.deepEqual(faultsOf('text'), [
      { path: 'variables', message: 'must be a schema: an object or a boolean' },
    ]);
    assert.deepEqual(pathsOf({ properties: { a: 5 } }), ['variables.properties.a']);
    assert.ok(
      pathsOf({ properties: { a: { type: 'objet' } } }).includes('variables.properties.a.type'),
    );
    assert.deepEqual(pathsOf({ minLength: 'x' }), ['variables.minLength']);
    assert.deepEqual(pathsOf({ properties: { a: { format: 'regex' } } }), [
      'variables.properties.a.format',
    ]);
    assert.deepEqual(pathsOf({ $schema: 'http://json-schema.org/draft-04/schema#' }), [
      'variables.$schema',
    ]);
  });

  test('may use words of schemas as names of properties', () => {
    const names = ['$ref', '$id', 'pattern', 'format', 'items', 'id', '$schema', '$defs'];
    const properties = Object.fromEntries(names.map((name) => [name, { type: 'string' }]));
    const check = compileVariablesSchema({ properties, required: names, enum: undefined });
    assert.deepEqual(check(Object.fromEntries(names.map((name) => [name, 'x']))), []);
    assert.deepEqual(faultsOf({ const: { $ref: 'http://example.org', pattern: '(a+)+' } }), []);
  });

  test('may refer to its own definitions only, and not in circles', () => {
    for (const $ref of [
      'http://example.org/a',
      '#',
      '#/$defs/none',
      '#/properties/a',
      'other',
      5,
    ]) {
      assert.deepEqual(pathsOf({ properties: { a: true, b: { $ref } }, $defs: {} }), [
        'variables.properties.b.$ref',
      ]);
    }
    const circle = { a: { items: { $ref: '#/$defs/b' } }, b: { items: { $ref: '#/$defs/a' } } };
    assert.match(
      faultsOf({ $ref: '#/$defs/a', $defs: circle })
        .map(({ message }) => message)
        .join(),
      /leads back/,
    );
    for (const keyword of ['$id', '$anchor', '$dynamicRef', '$async']) {
      assert.deepEqual(pathsOf({ not: { [keyword]: 'x' } }), [`variables.not.${keyword}`], keyword);
    }
  });

  test('is bounded in size, depth, and once its references are replaced', () => {
    const wide = (count: number) => ({ enum: Array.from({ length: count }, (_, i) => i) });
    assert.deepEqual(faultsOf(wide(SCHEMA_LIMITS.size - 2)), []);
    assert.match(String(faultsOf(wide(SCHEMA_LIMITS.size))[0]?.message), /more than 1000/);
    const deep = (levels: number): object => (levels === 0 ? {} : { not: deep(levels - 1) });
    assert.deepEqual(faultsOf(deep(20)), []);
    assert.match(String(faultsOf(deep(100))[0]?.message), /nested deeper/);
    assert.match(String(faultsOf(deep(5000))[0]?.message), /nested deeper/);
    const doubling = (levels: number) => {
      const $defs: Record<string, object> = { d0: { type: 'string' } };
      for (let i = 1; i <= levels; i++) {
        $defs[`d${i}`] = { allOf: [{ $ref: `#/$defs/d${i - 1}` }, { $ref: `#/$defs/d${i - 1}` }] };
      }
      return { $ref: `#/$defs/d${levels}`, $defs };
    };
    assert.deepEqual(compileVariablesSchema(doubling(8))('text'), []);
    assert.match(String(faultsOf(doubling(30))[0]?.message), /too large once/);
  });

  test('is compiled anew each time, whatever was compiled before', () => {
    const schema = { type: 'string', $defs: { a: { const: 1 } } };
    compileVariablesSchema(schema);
    assert.equal(compileVariablesSchema(schema)(1).length, 1);
    schema.type = 'number';
    assert.deepEqual(compileVariablesSchema(schema)(1), []);
    assert.deepEqual(
      compileVariablesSchema({ $ref: '#/$defs/a', $defs: { a: { const: 2 } } })(2),
      [],
    );
  });
});
