import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { openNotificationStore } from '../../../test/support/notification-store.ts';
import { type NotificationBody, writeBody } from '../../notification/notification.ts';

const NOW = Date.UTC(2026, 10, 22, 12);

/** What lists show of a message before anything has been tried. */
async function shown(change: Partial<NotificationBody>) {
  await using bench = openNotificationStore();
  const body: NotificationBody = {
    to: { email: 'ada@example.com' },
    template: null,
    content: { title: 'Hello' },
    data: {},
    category: null,
    priority: 'medium',
    metadata: {},
    collapseKey: null,
    createdAt: NOW,
    sendAt: null,
    expiresAt: null,
    resendOf: null,
    batch: null,
    test: false,
    routes: [['email']],
    ...change,
  };
  await bench.store.accept({
    applicationId: 1,
    lane: 1,
    body,
    text: writeBody(body),
    leaseUntil: NOW + 1000,
    claimUntil: null,
    idempotency: null,
  });
  const found = await bench.store.search({ applicationId: 1, limit: 10, before: null });
  return found.map(({ channel, recipient, user }) => [channel, recipient, user]);
}

describe('index of messages', () => {
  it('names the first channel of each route, and where it leads', async () => {
    const to = { email: 'ada@example.com', webhook: 'https://example.com/"\'$.x' };
    assert.deepEqual(await shown({ to, routes: [['webhook', 'email'], ['email']] }), [
      ['email', to.email, null],
      ['webhook', to.webhook, null],
    ]);
  });

  it('names the channel of the only address of somebody without a profile', async () => {
    const to = { name: 'Ada', locale: 'de', email: 'ada@example.com' };
    assert.deepEqual(await shown({ to, routes: [['auto']] }), [['email', to.email, null]]);
  });

  it('names no channel where preferences will decide', async () => {
    const to = { userId: '0042', email: 'ada@example.com' };
    assert.deepEqual(await shown({ to, routes: [['auto']] }), [[null, null, '0042']]);
  });

  it('keeps what looks like a number, a truth or nothing as the text it is', async () => {
    for (const userId of ['1e3', 'true', 'null', '{"a":1}', '你好 🎉', "'; DROP TABLE x;--"]) {
      assert.deepEqual(await shown({ to: { userId }, routes: [['in_app']] }), [
        ['in_app', null, userId],
      ]);
    }
  });
});
