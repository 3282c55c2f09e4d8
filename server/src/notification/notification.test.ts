/** How bodies are kept. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type NotificationBody, readBody, writeBody } from './notification.ts';
import { bodyOf } from './notification-store.conformance.ts';

const text = fc.string({ unit: 'binary', maxLength: 20 });
const orNull = <Value>(values: fc.Arbitrary<Value>) => fc.option(values, { nil: null });
const time = fc.nat(4_000_000_000_000);

const bodies: fc.Arbitrary<NotificationBody> = fc.record(
  {
    to: fc.dictionary(text, text, { noNullPrototype: true }),
    template: orNull(fc.record({ key: text, version: fc.nat() }, { noNullPrototype: true })),
    content: orNull(fc.constantFrom({ title: 'Hello' }, { text: '你好 🎉', channels: {} })),
    data: fc.dictionary(
      fc.string({ maxLength: 5 }).filter((key) => key !== '__proto__'),
      text,
      {
        noNullPrototype: true,
        maxKeys: 3,
      },
    ),
    category: orNull(text),
    priority: fc.constantFrom('high', 'medium', 'low'),
    metadata: fc.constantFrom<Record<string, string>>({}, { order: '42' }),
    collapseKey: orNull(text),
    createdAt: time,
    sendAt: orNull(time),
    expiresAt: orNull(time),
    resendOf: orNull(time),
    batch: orNull(text),
    test: fc.boolean(),
    routes: fc.array(fc.array(text, { minLength: 1, maxLength: 3 }), {
      minLength: 1,
      maxLength: 3,
    }),
  },
  { noNullPrototype: true },
);

test('a body is read as it was written', () => {
  fc.assert(
    fc.property(bodies, (body) => {
      if (Object.hasOwn(body.to, '__proto__')) return;
      assert.deepEqual(readBody(writeBody(body)), body);
    }),
  );
});

test('a body with every field written out is read the same', () => {
  fc.assert(
    fc.property(bodies, (body) => {
      if (Object.hasOwn(body.to, '__proto__')) return;
      assert.deepEqual(readBody(JSON.stringify(body)), body);
    }),
  );
});

test('what says nothing is not written', () => {
  const written = writeBody(
    bodyOf({ content: { title: 'Hello' }, createdAt: 1, routes: [['auto']] }),
  );
  assert.deepEqual(JSON.parse(written), {
    to: { email: 'ada@example.com' },
    content: { title: 'Hello' },
    priority: 'medium',
    createdAt: 1,
    routes: [['auto']],
  });
});
