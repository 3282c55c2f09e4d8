import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { packCalls, unpackCalls } from './call-codec.ts';
import type { Call } from './group-writer.ts';

const value = fc.oneof(fc.integer(), fc.string(), fc.constant(null), fc.boolean());
const rows = fc
  .integer({ min: 0, max: 4 })
  .chain((width) => fc.array(fc.array(value, { minLength: width, maxLength: width })));
const argument = fc.oneof(
  value,
  fc.constant(undefined),
  fc.array(value),
  rows,
  fc.array(fc.array(value)),
  fc.array(fc.oneof(value, fc.array(value), fc.record({ a: value }, { noNullPrototype: true }))),
  fc.record({ list: fc.array(value) }, { noNullPrototype: true }),
);
const calls: fc.Arbitrary<Call[]> = fc.array(fc.tuple(fc.string(), argument));

test('calls are the same after crossing', () => {
  fc.assert(
    fc.property(calls, (given) => {
      assert.deepEqual(unpackCalls(structuredClone(packCalls(given))), given);
    }),
  );
});

test('rows cross without an array each', () => {
  const packed = packCalls([
    [
      'complete',
      [
        [1, 'a'],
        [2, 'b'],
      ],
    ],
    ['accept', [7, 'text', null]],
  ]);
  assert.ok(!packed.some(Array.isArray));
});
