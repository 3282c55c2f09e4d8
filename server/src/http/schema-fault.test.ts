/** What people are told: no regular expression, no word of the validator, each fault once. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as application from '@tidings/contracts/application';
import * as common from '@tidings/contracts/common';
import * as content from '@tidings/contracts/content';
import * as inbox from '@tidings/contracts/inbox';
import * as notification from '@tidings/contracts/notification';
import * as problem from '@tidings/contracts/problem';
import { Type } from '@tidings/contracts/schema';
import {
  faultMessage,
  pathOfFault,
  type SchemaFault,
  tellingFaults,
} from '@tidings/contracts/schema-fault';
import * as template from '@tidings/contracts/template';
import * as user from '@tidings/contracts/user';
import * as webhookEndpoint from '@tidings/contracts/webhook-endpoint';
import { createAjv } from '../json-schema.ts';

const MODULES = [
  application,
  common,
  content,
  inbox,
  notification,
  problem,
  template,
  user,
  webhookEndpoint,
];

/** Every value of a keyword below a schema. */
function* valuesOf(keyword: string, schema: unknown): Generator<string> {
  if (typeof schema !== 'object' || schema === null) return;
  for (const [name, value] of Object.entries(schema)) {
    if (name === keyword && typeof value === 'string') yield value;
    if (keyword === 'pattern' && name === 'patternProperties') yield* Object.keys(value);
    yield* valuesOf(keyword, value);
  }
}

function told(schema: object, value: unknown): string[] {
  const validate = createAjv({ allErrors: true }).compile(schema);
  assert.equal(validate(value), false);
  return tellingFaults((validate.errors ?? []) as SchemaFault[]).map(
    (fault) => `${pathOfFault(fault).join('.')} ${faultMessage(fault)}`,
  );
}

test('every pattern and format of the contracts is said in words', () => {
  for (const keyword of ['pattern', 'format']) {
    const all = new Set(MODULES.flatMap((module) => [...valuesOf(keyword, module)]));
    // What a record of any names is made of.
    all.delete('^.*$');
    assert.ok(all.size > 0);
    for (const value of all) {
      const fault = { keyword, params: { [keyword]: value }, instancePath: '', schemaPath: '' };
      const message = faultMessage(fault);
      assert.match(message, /^must be [a-z0-9]/, value);
      assert.doesNotMatch(message, /a valid|[\^$[\\]/, value);
    }
  }
});

test('a pattern that nobody explained is not shown either', () => {
  assert.deepEqual(told({ type: 'string', pattern: '^[ab]+$' }, 'c'), [
    ' does not have the form that is needed',
  ]);
});

test('each rule has its words', () => {
  const rules: [object, unknown, string][] = [
    [Type.String(), 1, 'must be a string'],
    [Type.Integer(), 1.5, 'must be a whole number'],
    [Type.Number(), '1', 'must be a number'],
    [Type.Boolean(), 1, 'must be true or false'],
    [Type.Object({}), [], 'must be an object'],
    [Type.Array(Type.Null()), {}, 'must be an array'],
    [{ type: ['string', 'null'] }, 1, 'must be a string or null'],
    [Type.Enum(['a', 'b']), 'c', 'must be one of: a, b'],
    [{ const: 'all' }, 'none', 'must be "all"'],
    [Type.String({ minLength: 1 }), '', 'must not be empty'],
    [Type.String({ minLength: 3 }), 'ab', 'must have at least 3 characters'],
    [Type.String({ maxLength: 1 }), 'ab', 'must have at most 1 character'],
    [common.Timestamp, 'now', 'must be a time with a zone, such as 2026-12-24T08:00:00Z'],
    [{ type: 'string', format: 'ipv4' }, 'x', 'must be a valid ipv4'],
    [Type.Integer({ minimum: 1 }), 0, 'must be at least 1'],
    [Type.Integer({ maximum: 200 }), 201, 'must be at most 200'],
    [Type.Number({ exclusiveMinimum: 0 }), 0, 'must be more than 0'],
    [{ type: 'number', exclusiveMaximum: 1 }, 1, 'must be less than 1'],
    [{ type: 'number', multipleOf: 5 }, 6, 'must be a multiple of 5'],
    [Type.Array(Type.String(), { minItems: 1 }), [], 'must not be empty'],
    [Type.Array(Type.String(), { minItems: 2 }), ['a'], 'must have at least 2 items'],
    [Type.Array(Type.String(), { maxItems: 1 }), ['a', 'b'], 'must have at most 1 item'],
    [
      Type.Array(Type.String(), { uniqueItems: true }),
      ['a', 'a'],
      'must not have the same item twice',
    ],
    [{ type: 'object', minProperties: 1 }, {}, 'must not be empty'],
    [{ type: 'object', minProperties: 2 }, { a: 1 }, 'must have at least 2 properties'],
    [{ type: 'object', maxProperties: 1 }, { a: 1, b: 2 }, 'must have at most 1 property'],
    [{ not: {} }, 1, 'must NOT be valid'],
  ];
  for (const [schema, value, message] of rules)
    assert.deepEqual(told(schema, value), [` ${message}`]);
});

test('the path leads to the field, also to one that is missing or too much', () => {
  const schema = Type.Object({ a: Type.Object({ 'x/y': Type.String() }, common.closed) });
  assert.deepEqual(told(schema, {}), ['a is required']);
  assert.deepEqual(told(schema, { a: { 'x/y': 1 } }), ['a.x/y must be a string']);
  assert.deepEqual(told(schema, { a: { 'x/y': '', '~z': 1 } }), ['a.~z is not a known property']);
});

test('a name that is not acceptable is reported once, with the rule it breaks', () => {
  assert.deepEqual(told(common.Metadata, { ['n'.repeat(101)]: 'a', '': 'b' }), [
    `${'n'.repeat(101)} is not an acceptable name: must have at most 100 characters`,
    ' is not an acceptable name: must not be empty',
  ]);
  assert.deepEqual(told({ propertyNames: false }, { a: 1 }), [
    'a is not an acceptable name: boolean schema is false',
  ]);
});

test('of alternatives, the one that was meant is spoken of', () => {
  const either = Type.Union([common.Key, Type.Object({ key: common.Key }, common.closed)]);
  const key = faultMessage({
    ...{ keyword: 'pattern', params: { pattern: common.KEY_PATTERN } },
    ...{ instancePath: '', schemaPath: '' },
  });
  assert.deepEqual(told(either, 'a b'), [` ${key}`]);
  assert.deepEqual(told(either, { key: 'a b', version: 0 }), [
    'version is not a known property',
    `key ${key}`,
  ]);
  assert.deepEqual(told(either, 5), [' must be a string or an object']);
  const nullable = Type.Union([common.Timestamp, Type.Null()]);
  assert.match(told(nullable, 'now').join(), /^ must be a time with a zone/);
  assert.deepEqual(told(nullable, 5), [' must be a string or null']);
  const ids = Type.Union([Type.Array(Type.String(), { minItems: 1 }), Type.Literal('all')]);
  assert.deepEqual(told(ids, []), [' must not be empty']);
  assert.deepEqual(told(ids, 'none'), [' must be "all"']);
  const shapes = Type.Union([Type.Object({ a: Type.Null() }), Type.Object({ b: Type.Null() })]);
  assert.deepEqual(told(shapes, {}), [' does not have any of the allowed forms']);
  const nested = Type.Union([Type.Object({ in: nullable }, common.closed), Type.Null()]);
  assert.deepEqual(told(nested, { in: 5 }), ['in must be a string or null']);
});

test('a body with a hundred thousand faults is told about like any other', () => {
  const ids = Type.Union([Type.Array(Type.String()), Type.Literal('all')]);
  const many = Array.from({ length: 100_000 }, () => 1);
  assert.equal(told(ids, many)[0], '0 must be a string');
  const names = Object.fromEntries(many.map((_, i) => [`${i}`.padStart(101, 'x'), '']));
  assert.match(told(common.Metadata, names).join('\n'), /must have at most 100 characters/);
});
