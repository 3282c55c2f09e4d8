/** Preferences: every combination of entries, with names that no entry has as well. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Preferences } from '@tidings/contracts/user';
import fc from 'fast-check';
import { allows } from './preference.ts';

/** Names that every object inherits are as good as any other. */
const CATEGORIES = ['marketing', 'orders', 'constructor', 'toString', 'a.b:c'];
const CHANNELS = ['email', 'sms', 'constructor', 'valueof'];

const answer = fc.option(fc.boolean(), { nil: undefined });
const choices = fc.dictionary(fc.constantFrom(...CHANNELS), fc.boolean(), {
  noNullPrototype: true,
});
const entry = fc.record({ enabled: fc.boolean(), channels: choices }, { requiredKeys: [] });
const anyPreferences: fc.Arbitrary<Preferences> = fc.record(
  {
    channels: choices,
    categories: fc.dictionary(fc.constantFrom(...CATEGORIES), entry, { noNullPrototype: true }),
  },
  { requiredKeys: [] },
);
const question = fc.record({
  channel: fc.constantFrom(...CHANNELS),
  category: fc.constantFrom(null, ...CATEGORIES),
  mandatory: fc.constant(false),
});

test('the most specific entry decides, in all combinations of the three', () => {
  const states = [undefined, true, false];
  for (const both of states) {
    for (const category of states) {
      for (const channel of states) {
        const preferences: Preferences = {
          ...(channel === undefined ? {} : { channels: { email: channel } }),
          categories: {
            marketing: {
              ...(category === undefined ? {} : { enabled: category }),
              ...(both === undefined ? {} : { channels: { email: both } }),
            },
          },
        };
        const { allowed, rule } = allows(preferences, {
          channel: 'email',
          category: 'marketing',
          mandatory: false,
        });
        assert.equal(allowed, both ?? category ?? channel ?? true);
        const expected =
          both !== undefined
            ? `categories.marketing.channels.email=${both}`
            : category !== undefined
              ? `categories.marketing.enabled=${category}`
              : channel !== undefined
                ? `channels.email=${channel}`
                : 'default';
        assert.equal(rule, expected);
      }
    }
  }
});

test('entries of other categories and channels decide nothing', () => {
  fc.assert(
    fc.property(anyPreferences, question, (preferences, asked) => {
      const { channel, category } = asked;
      const entries = Object.entries(preferences.categories ?? {});
      const own = entries.filter(([name]) => name === category);
      const onlyChannel = (given: Record<string, boolean> | undefined) =>
        Object.fromEntries(Object.entries(given ?? {}).filter(([name]) => name === channel));
      const reduced: Preferences = {
        channels: onlyChannel(preferences.channels),
        categories: Object.fromEntries(
          own.map(([name, value]) => [name, { ...value, channels: onlyChannel(value.channels) }]),
        ),
      };
      assert.deepEqual(allows(preferences, asked), allows(reduced, asked));
    }),
  );
});

test('the rule that is named is an entry of the preferences with that answer', () => {
  fc.assert(
    fc.property(anyPreferences, question, (preferences, asked) => {
      const { allowed, rule } = allows(preferences, asked);
      const { channel, category } = asked;
      const rules = new Map<string, boolean>([['default', true]]);
      for (const [name, value] of Object.entries(preferences.channels ?? {})) {
        rules.set(`channels.${name}=${value}`, value);
      }
      for (const [name, value] of Object.entries(preferences.categories ?? {})) {
        if (value.enabled !== undefined) {
          rules.set(`categories.${name}.enabled=${value.enabled}`, value.enabled);
        }
        for (const [inner, choice] of Object.entries(value.channels ?? {})) {
          rules.set(`categories.${name}.channels.${inner}=${choice}`, choice);
        }
      }
      assert.equal(rules.get(rule), allowed);
      if (rule.includes('channels.')) assert.ok(rule.includes(`channels.${channel}=`));
      if (rule.startsWith('categories.')) assert.ok(rule.startsWith(`categories.${category}.`));
    }),
  );
});

test('a mandatory category is allowed whatever the preferences say', () => {
  fc.assert(
    fc.property(anyPreferences, question, (preferences, asked) => {
      const decision = allows(preferences, { ...asked, mandatory: true });
      assert.deepEqual(decision, { allowed: true, rule: 'mandatory' });
    }),
  );
});

test('somebody without preferences is asked nothing', () => {
  const asked = { channel: 'email', category: 'marketing', mandatory: false };
  assert.deepEqual(allows(undefined, asked), { allowed: true, rule: 'default' });
  assert.deepEqual(allows({}, asked), { allowed: true, rule: 'default' });
});

test('without a category only the channel counts', () => {
  fc.assert(
    fc.property(answer, answer, (email, enabled) => {
      const preferences: Preferences = {
        channels: email === undefined ? {} : { email },
        categories: { null: enabled === undefined ? {} : { enabled } },
      };
      const asked = { channel: 'email', category: null, mandatory: false };
      assert.equal(allows(preferences, asked).allowed, email ?? true);
    }),
  );
});
