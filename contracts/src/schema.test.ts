/** The builder says what TypeBox would have said. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import TypeBox from 'typebox';
import { Type } from './schema.ts';

const pattern = '^[a-z]+$';

/** Everything the contracts use, built by either. */
function schemas(T: typeof Type): Record<string, unknown> {
  return {
    text: T.String(),
    limited: T.String({ minLength: 1, maxLength: 10, pattern, description: 'A word.' }),
    integer: T.Integer({ minimum: 0, default: 3 }),
    number: T.Number({ exclusiveMinimum: 0 }),
    boolean: T.Boolean({ default: false }),
    nothing: T.Null(),
    literal: T.Literal('all'),
    one: T.Literal(1),
    choice: T.Enum(['a', 'b'], { description: 'One of two.' }),
    list: T.Array(T.String({ maxLength: 5 }), { maxItems: 3 }),
    either: T.Union([T.String(), T.Null()], { default: null }),
    reference: T.Ref('Notification'),
    anything: T.Unknown({ description: 'As it is.' }),
    map: T.Record(T.String(), T.Unknown()),
    named: T.Record(T.String({ pattern }), T.Boolean(), { maxProperties: 4 }),
    unsafe: T.Unsafe<string>({ type: 'string', format: 'email' }),
    object: T.Object(
      { id: T.String(), note: T.Optional(T.Union([T.String(), T.Null()], { description: 'x' })) },
      { additionalProperties: false, $id: 'Thing' },
    ),
    optional: T.Object({ a: T.Optional(T.Object({ b: T.Optional(T.Integer()) })) }),
    empty: T.Object({}),
  };
}

test('each builder gives the JSON Schema that TypeBox gives', () => {
  const ours = schemas(Type);
  for (const [name, theirs] of Object.entries(schemas(TypeBox as unknown as typeof Type))) {
    assert.deepEqual(
      JSON.parse(JSON.stringify(ours[name])),
      JSON.parse(JSON.stringify(theirs)),
      name,
    );
  }
});

test('making a schema optional leaves the schema itself as it was', () => {
  const text = Type.String();
  Type.Object({ a: Type.Optional(text) });
  assert.deepEqual(JSON.parse(JSON.stringify(Type.Object({ a: text }))), {
    type: 'object',
    required: ['a'],
    properties: { a: { type: 'string' } },
  });
});
