import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ManualClock } from '../../../test/support/manual-clock.ts';
import { openNotificationStore } from '../../../test/support/notification-store.ts';
import { type NotificationBody, writeBody } from '../../notification/notification.ts';
import { bodyOf } from '../../notification/notification-store.conformance.ts';

const NOW = Date.UTC(2026, 10, 22, 12);

/** What lists show of a message before anything has been tried. */
async function shown(change: Partial<NotificationBody>) {
  await using bench = openNotificationStore();
  const body = bodyOf({ createdAt: NOW, ...change });
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

/** Channel and recipient in lists once a message, listed before, was tried on a channel. */
async function shownAfter(change: Partial<NotificationBody>, channel: string | null) {
  await using bench = openNotificationStore();
  const body = bodyOf({ createdAt: NOW, ...change });
  const accepted = await bench.store.accept({
    applicationId: 1,
    lane: 1,
    body,
    text: writeBody(body),
    leaseUntil: NOW + 1000,
    claimUntil: null,
    idempotency: null,
  });
  const messageId = (accepted as { id: number }).id + 1;
  const filter = { applicationId: 1, limit: 10, before: null };
  // So that the message is in the index already, and is changed there.
  assert.equal((await bench.store.search(filter)).length, 1);
  await bench.store.claim([{ messageId, claim: 0, until: NOW + 1000 }]);
  await bench.store.complete([
    {
      messageId,
      claim: 1,
      status: 'delivered',
      nextAt: null,
      attempt: 1,
      attemptsBefore: 0,
      step: 0,
      route: null,
      channel,
      provider: null,
      providerMessageId: null,
      reason: null,
      at: NOW,
    },
  ]);
  await bench.events.append([{ messageId, at: NOW, type: 'attempt', detail: {} }]);
  const [row] = await bench.store.search(filter);
  assert.equal(row?.status, 'delivered');
  return [row.channel, row.recipient];
}

describe('what is removed', () => {
  it('leaves a mark for those who follow, which goes a day later', async () => {
    const clock = new ManualClock(NOW);
    await using bench = openNotificationStore(clock);
    const marks = (): number =>
      Number(
        bench.database.prepare("SELECT count(*) AS n FROM event WHERE type = '~'").get()?.['n'],
      );
    const text = writeBody(bodyOf({ createdAt: NOW }));
    const idempotency = null;
    for (let i = 0; i < 3; i++) {
      const accepted = await bench.store.accept({
        applicationId: 1,
        lane: 1,
        body: bodyOf({ createdAt: NOW }),
        text,
        leaseUntil: NOW + 1000,
        claimUntil: null,
        idempotency,
      });
      const { id } = accepted as { id: number };
      await bench.store.cancel(id, clock.now());
      assert.equal(await bench.store.delete(id), true);
    }
    const before = marks();
    assert.ok(before >= 3);
    await bench.store.prune({ before: 0, after: 0, limit: 10 });
    assert.equal(marks(), before, 'somebody may not have looked');
    clock.advance(25 * 3_600_000);
    await bench.store.prune({ before: 0, after: 0, limit: 10 });
    assert.equal(marks(), 1, 'the newest keeps its number');
  });
});

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

  it('names the address on the channel that was tried last, or none', async () => {
    const [userId, email, webhook] = ['0042', 'ada@example.com', 'https://example.com/a'];
    const ordered = { to: { userId, email, webhook }, routes: [['email', 'webhook', 'in_app']] };
    assert.deepEqual(await shownAfter(ordered, 'email'), ['email', email]);
    assert.deepEqual(await shownAfter(ordered, 'webhook'), ['webhook', webhook]);
    assert.deepEqual(await shownAfter(ordered, 'in_app'), ['in_app', null]);
    const byPreference = { to: { userId, email }, routes: [['auto']] };
    assert.deepEqual(await shownAfter(byPreference, 'email'), ['email', email]);
    assert.deepEqual(await shownAfter(byPreference, 'in_app'), ['in_app', null]);
    assert.deepEqual(await shownAfter(ordered, null), ['email', email], 'none was tried');
  });

  it('keeps what looks like a number, a truth or nothing as the text it is', async () => {
    for (const userId of ['1e3', 'true', 'null', '{"a":1}', '你好 🎉', "'; DROP TABLE x;--"]) {
      assert.deepEqual(await shown({ to: { userId }, routes: [['in_app']] }), [
        ['in_app', null, userId],
      ]);
    }
  });
});
