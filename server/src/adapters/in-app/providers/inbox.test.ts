import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '../../../clock.ts';
import { formatId } from '../../../id.ts';
import { openTestInbox, type TestInbox } from '../../../inbox/conformance-setup.ts';
import type { Delivery, Outcome, ProviderServices } from '../../provider.ts';
import type { InboxEntry, InboxMark } from '../inbox-store.ts';
import provider from './inbox.ts';

const ADA = { applicationId: 7, userId: 'ada' };
const LIST = { state: 'all', category: null, limit: 50, cursor: null } as const;

function delivery(n: number, more: Partial<Delivery<string>> = {}): Delivery<string> {
  const messageId = formatId('msg', n);
  return {
    messageId,
    notificationId: formatId('ntf', n - 1),
    applicationId: ADA.applicationId,
    attempt: 1,
    idempotencyKey: messageId,
    address: ADA.userId,
    content: { title: `Message ${n}` },
    recipient: { userId: ADA.userId },
    priority: 'medium',
    category: null,
    collapseKey: null,
    metadata: {},
    createdAt: 0,
    expiresAt: null,
    ...more,
  };
}

function openAccount(inbox: TestInbox) {
  const published: (InboxEntry | InboxMark)[] = [];
  const services = {
    inbox: inbox.store,
    inboxLive: { publish: (entry: InboxEntry) => published.push(entry) },
  };
  const account = provider.create({
    accountId: 'in_app-inbox',
    config: {},
    services: services as unknown as ProviderServices,
    clock: systemClock,
  });
  const send = (
    message: Delivery<string>,
    signal = new AbortController().signal,
  ): Promise<Outcome> => account.send(message as Delivery<never>, signal);
  return { send, published };
}

test('a message is sent when it is stored, and told to live connections after that', async () => {
  await using inbox = await openTestInbox();
  const { send, published } = openAccount(inbox);
  const outcome = await send(
    delivery(1, {
      content: {
        title: 'Shipped',
        text: 'Friday',
        url: '/o/1',
        imageUrl: '/i.png',
        actions: [{ label: 'Track', url: '/t' }],
        data: { order: 1 },
      },
      category: 'orders',
      collapseKey: 'o1',
    }),
  );
  const entries = await inbox.store.since(ADA, 0, 10);
  assert.deepEqual(outcome, { kind: 'sent', providerMessageId: String(entries[0]?.position) });
  assert.deepEqual(published, entries);
  const { createdAt, ...item } = entries[0]?.item ?? { createdAt: '' };
  assert.deepEqual(item, {
    id: formatId('msg', 1),
    title: 'Shipped',
    text: 'Friday',
    url: '/o/1',
    imageUrl: '/i.png',
    actions: [{ label: 'Track', url: '/t' }],
    data: { order: 1 },
    category: 'orders',
    collapseKey: 'o1',
    seenAt: null,
    readAt: null,
    archivedAt: null,
  });
  assert.ok(!Number.isNaN(Date.parse(createdAt)));
});

test('what the content leaves out is null', async () => {
  await using inbox = await openTestInbox();
  const { send } = openAccount(inbox);
  await send(delivery(1, { content: { text: 'x' } }));
  const [item] = (await inbox.store.list(ADA, LIST)).items;
  assert.deepEqual(
    {
      title: item?.title,
      url: item?.url,
      imageUrl: item?.imageUrl,
      actions: item?.actions,
      data: item?.data,
    },
    { title: null, url: null, imageUrl: null, actions: [], data: {} },
  );
});

test('further attempts of one message are one item and one position', async () => {
  await using inbox = await openTestInbox();
  const { send, published } = openAccount(inbox);
  const first = await send(delivery(1));
  await send(delivery(2));
  const again = await send(delivery(1, { attempt: 2, content: { title: 'Rendered anew' } }));
  assert.deepEqual(again, first);
  assert.deepEqual(
    (await inbox.store.list(ADA, LIST)).items.map(({ title }) => title),
    ['Message 2', 'Message 1'],
  );
  assert.deepEqual(
    published.map((entry) => 'position' in entry && entry.position),
    [1, 2, 1],
  );
});

test('while the store takes nothing, the message is tried again and nobody is told', async () => {
  await using inbox = await openTestInbox();
  const { send, published } = openAccount(inbox);
  inbox.fill(true);
  const long = delivery(1, { content: { text: 'x'.repeat(60_000) } });
  assert.deepEqual(await send(long), { kind: 'retry', reason: 'store_full', retryAfterMs: 5000 });
  assert.deepEqual(published, []);
  inbox.fill(false);
  assert.equal((await send(long)).kind, 'sent');
  assert.equal(published.length, 1);
});

test('an attempt that was given up before it began stores nothing', async () => {
  await using inbox = await openTestInbox();
  const { send, published } = openAccount(inbox);
  assert.deepEqual(await send(delivery(1), AbortSignal.abort()), {
    kind: 'retry',
    reason: 'aborted',
  });
  assert.deepEqual(published, []);
  assert.equal((await inbox.store.counts(ADA)).total, 0);
});

test('a fault of ours is thrown, not taken for the store’s', async () => {
  await using inbox = await openTestInbox();
  const { send } = openAccount(inbox);
  await assert.rejects(send(delivery(1, { messageId: 'nonsense' })));
});

test('many sends of one turn share a commit', async () => {
  await using inbox = await openTestInbox();
  const { send } = openAccount(inbox);
  const version = () =>
    inbox.messages.prepare('PRAGMA data_version').get()?.['data_version'] as number;
  const before = version();
  const outcomes = await Promise.all(Array.from({ length: 300 }, (_, i) => send(delivery(i + 1))));
  assert.ok(outcomes.every(({ kind }) => kind === 'sent'));
  assert.equal((await inbox.store.counts(ADA)).total, 300);
  assert.equal(version(), before + 1);
});
