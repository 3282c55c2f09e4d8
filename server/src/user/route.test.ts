/** The route of a message whose caller named no channel. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Preferences, User } from '@tidings/contracts/user';
import fc from 'fast-check';
import { allows } from './preference.ts';
import { type RouteQuestion, resolveRoute } from './route.ts';

const CHANNELS = ['in_app', 'push', 'email', 'sms', 'webhook', 'constructor'];

function userWith(preferences: Preferences): User {
  return {
    id: 'ada',
    name: null,
    locale: null,
    timezone: null,
    addresses: [],
    groups: [],
    attributes: {},
    preferences,
    createdAt: '2026-11-22T08:00:00.000Z',
    updatedAt: '2026-11-22T08:00:00.000Z',
  };
}

function ask(change: Partial<RouteQuestion>) {
  return resolveRoute({
    user: userWith({}),
    to: {},
    available: ['email', 'sms'],
    reachable: (channel) => `address of ${channel}`,
    category: null,
    mandatory: false,
    defaultOrder: ['email', 'sms'],
    ...change,
  });
}

const someChannels = fc.uniqueArray(fc.constantFrom(...CHANNELS));
const choices = fc.dictionary(fc.constantFrom(...CHANNELS), fc.boolean(), {
  noNullPrototype: true,
});
const question: fc.Arbitrary<RouteQuestion> = fc
  .record({
    known: fc.boolean(),
    route: someChannels,
    channels: choices,
    inCategory: choices,
    inline: someChannels,
    available: someChannels,
    reachable: someChannels,
    mandatory: fc.boolean(),
    defaultOrder: someChannels,
  })
  .map(({ known, route, channels, inCategory, inline, reachable, ...rest }) => ({
    ...rest,
    category: 'marketing',
    user: known
      ? userWith({ route, channels, categories: { marketing: { channels: inCategory } } })
      : undefined,
    to: Object.fromEntries(inline.map((channel) => [channel, `inline ${channel}`])),
    reachable: (channel) => (reachable.includes(channel) ? `address of ${channel}` : undefined),
  }));

test('the users order comes first, then the operators', () => {
  const { route, left } = ask({
    user: userWith({ route: ['sms', 'in_app'] }),
    available: ['email', 'sms', 'in_app', 'push'],
    defaultOrder: ['push', 'in_app', 'email'],
  });
  assert.deepEqual(route, ['sms', 'in_app', 'push', 'email']);
  assert.deepEqual(left, []);
});

test('what is left out is named with its reason', () => {
  const { route, left } = ask({
    user: userWith({ route: ['push', 'webhook'], channels: { sms: false } }),
    available: ['email', 'sms', 'in_app', 'webhook'],
    defaultOrder: ['sms', 'email', 'qq'],
    reachable: (channel) => (channel === 'webhook' ? undefined : 'somewhere'),
  });
  assert.deepEqual(route, ['email']);
  assert.deepEqual(left, [
    { channel: 'push', reason: 'no_content' },
    { channel: 'webhook', reason: 'no_address' },
    { channel: 'sms', reason: 'opted_out', rule: 'channels.sms=false' },
    { channel: 'qq', reason: 'no_content' },
    { channel: 'in_app', reason: 'not_in_order' },
  ]);
});

test('a channel is missed only when its content is all it lacks', () => {
  const asked = { available: [], defaultOrder: ['email'] };
  assert.equal(ask(asked).missed, true);
  assert.equal(ask({ ...asked, reachable: () => undefined }).missed, false);
  assert.equal(ask({ ...asked, user: userWith({ channels: { email: false } }) }).missed, false);
  assert.equal(ask({ ...asked, available: ['email'] }).missed, false);
  assert.deepEqual(ask(asked).left, [{ channel: 'email', reason: 'no_content' }]);
});

test('a refusal is named before a missing address', () => {
  const { left } = ask({
    user: userWith({ categories: { marketing: { enabled: false } } }),
    category: 'marketing',
    available: ['email'],
    reachable: () => undefined,
  });
  const rule = 'categories.marketing.enabled=false';
  assert.deepEqual(left, [{ channel: 'email', reason: 'opted_out', rule }]);
});

test('a channel with an inline address is used although no order names it, after all others', () => {
  const { route } = ask({
    to: { userId: 'ada', name: 'Ada', webhook: 'https://example.com/hook' },
    available: ['webhook', 'email'],
    defaultOrder: ['email'],
  });
  assert.deepEqual(route, ['email', 'webhook']);
});

test('an empty address is none', () => {
  const { route, left } = ask({ available: ['email'], reachable: () => '' });
  assert.deepEqual(route, []);
  assert.deepEqual(left, [{ channel: 'email', reason: 'no_address' }]);
});

test('never a channel without content, address or consent, and never one twice', () => {
  fc.assert(
    fc.property(question, (asked) => {
      const { route } = resolveRoute(asked);
      assert.equal(new Set(route).size, route.length);
      for (const channel of route) {
        assert.ok(asked.available.includes(channel));
        assert.ok(asked.reachable(channel));
        const { category, mandatory } = asked;
        assert.ok(allows(asked.user?.preferences, { channel, category, mandatory }).allowed);
      }
    }),
  );
});

test('every channel of the content is either in the route or left out with a reason', () => {
  fc.assert(
    fc.property(question, (asked) => {
      const { route, left } = resolveRoute(asked);
      const named = [...route, ...left.map(({ channel }) => channel)];
      assert.equal(new Set(named).size, named.length);
      for (const channel of asked.available) assert.ok(named.includes(channel), channel);
      for (const { channel, reason, rule } of left) {
        assert.equal(reason === 'no_content', !asked.available.includes(channel));
        assert.equal(rule !== undefined, reason === 'opted_out');
      }
    }),
  );
});

test('the order is that of the user and the operator, whatever else changes', () => {
  fc.assert(
    fc.property(question, (asked) => {
      const order = [
        ...new Set([
          ...(asked.user?.preferences.route ?? []),
          ...asked.defaultOrder,
          ...Object.keys(asked.to),
        ]),
      ];
      const { route } = resolveRoute(asked);
      assert.deepEqual(
        route,
        order.filter((channel) => route.includes(channel)),
      );
      assert.deepEqual(resolveRoute(asked), resolveRoute(asked));
    }),
  );
});

test('a mandatory category leaves nothing out because of preferences', () => {
  fc.assert(
    fc.property(question, (asked) => {
      const { left } = resolveRoute({ ...asked, mandatory: true });
      assert.ok(left.every(({ reason }) => reason !== 'opted_out'));
    }),
  );
});
