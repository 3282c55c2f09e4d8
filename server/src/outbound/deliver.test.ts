import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../../test/support/manual-clock.ts';
import { openTestTemplates } from '../../test/support/templates.ts';
import type { AccountDefinition } from '../adapters/account.ts';
import { captureProvider } from '../adapters/capture.ts';
import { loadCatalog } from '../adapters/catalog.ts';
import type { Outcome } from '../adapters/provider.ts';
import { type NotificationBody, writeBody } from '../notification/notification.ts';
import { bodyOf } from '../notification/notification-store.conformance.ts';
import { entriesOf } from '../notification/queue-entry.ts';
import { Account } from './account.ts';
import { createAttempts } from './attempt.ts';
import { createDeliver } from './deliver.ts';
import { STEP_ON_MS } from './retry.ts';

const HOUR_MS = 3_600_000;
const NOW = Date.UTC(2026, 10, 22);
const DOWN: Outcome = { kind: 'retry', reason: 'down', retryAfterMs: 2 * HOUR_MS };

/** Delivery by the real channels; the vendor of every channel answers as told. */
async function open() {
  const clock = new ManualClock(NOW);
  const templates = openTestTemplates();
  const accounts = new Map<string, Account>();
  const vendor: { answer: Outcome; asked: string[] } = { answer: DOWN, asked: [] };
  const accountFor = (channel: string): Account => {
    const send = async (): Promise<Outcome> => {
      vendor.asked.push(channel);
      return channel === 'email' ? vendor.answer : { kind: 'sent' };
    };
    const provider = { ...captureProvider, create: () => ({ send }) };
    const { limits } = provider;
    const definition: AccountDefinition = { id: channel, channel, provider, config: {}, limits };
    const account = accounts.get(channel) ?? new Account(definition, {} as never, clock);
    accounts.set(channel, account);
    return account;
  };
  const catalog = await loadCatalog();
  const deliver = createDeliver({
    adapters: catalog,
    templates: templates.serviceWith({ get: catalog.adapter }),
    findUser: () => undefined,
    findTemplate: () => undefined,
    isMandatory: () => false,
    accountFor,
    attempts: createAttempts(clock),
    policyFor: () => ({ delaysMs: [4 * HOUR_MS], jitter: 0 }),
    defaultOrder: ['email'],
    began() {},
    clock,
  });
  let id = 0;
  /** What becomes of a message with that route at its next look. */
  const entryOf = (route: string[], request: Partial<NotificationBody> = {}) => {
    const to = { email: 'ada@example.com', userId: 'ada' };
    const body = bodyOf({ to, createdAt: clock.now(), routes: [route], ...request });
    id += 2;
    const accepted = { id, applicationId: 1, body, text: writeBody(body) };
    const [entry] = entriesOf({
      ...accepted,
      watched: false,
      claimedUntil: null,
      defaultOrder: [],
    });
    assert.ok(entry);
    return entry;
  };
  return {
    clock,
    vendor,
    deliver,
    entryOf,
    [Symbol.asyncDispose]: () => templates[Symbol.asyncDispose](),
  };
}

test('a message waits for a vendor that is left alone, and goes when it is back', async () => {
  await using bench = await open();
  const { clock, vendor, deliver, entryOf } = bench;
  await deliver(entryOf(['email']));
  const waiting = entryOf(['email']);
  const { completion, events } = await deliver(waiting);
  assert.deepEqual(
    [completion.status, completion.reason, completion.attempt, completion.step],
    ['accepted', 'waiting_for_provider', 0, 0],
  );
  assert.equal(completion.nextAt, NOW + 2 * HOUR_MS);
  assert.deepEqual(vendor.asked, ['email']);
  const until = new Date(NOW + 4 * HOUR_MS).toISOString();
  assert.deepEqual(
    events.map(({ type, detail }) => [type, detail]),
    [['waiting_for_provider', { channel: 'email', provider: 'email', until }]],
  );
  assert.deepEqual((await deliver(waiting)).events, [], 'it is said once');
  clock.advance(2 * HOUR_MS);
  vendor.answer = { kind: 'sent' };
  assert.equal((await deliver(waiting)).completion.status, 'delivered');
});

test('a message waits no longer than its attempts would have taken', async () => {
  await using bench = await open();
  const { clock, vendor, deliver, entryOf } = bench;
  const alone = entryOf(['email']);
  const drivenAgain = { ...alone, attempt: 2, attemptsBefore: 2 };
  clock.advance(3 * HOUR_MS);
  await deliver(entryOf(['email']));
  assert.equal((await deliver(alone)).completion.status, 'accepted', 'not yet');
  clock.advance(1.5 * HOUR_MS);

  const { completion, events } = await deliver(alone);
  assert.deepEqual(
    [completion.status, completion.reason, completion.attempt, completion.nextAt],
    ['failed', 'provider_down', 0, null],
  );
  const [channel, provider, reason] = ['email', 'email', 'provider_down'];
  assert.deepEqual(
    events.map(({ type, detail }) => [type, detail]),
    [
      ['passed_over', { channel, provider, reason }],
      ['failed', { status: 'failed', reason }],
    ],
    'no attempt is told of',
  );

  assert.equal((await deliver(drivenAgain)).completion.status, 'accepted');
  assert.deepEqual(vendor.asked, ['email'], 'the vendor is left alone');
});

test('a message with a further channel waits a moment, then goes out on that one', async () => {
  await using bench = await open();
  const { clock, vendor, deliver, entryOf } = bench;
  await deliver(entryOf(['email']));
  const entry = entryOf(['email', 'in_app']);
  const until = clock.now() + STEP_ON_MS;
  const first = await deliver(entry);
  const { completion } = first;
  assert.deepEqual([completion.status, completion.step, completion.nextAt], ['accepted', 0, until]);
  assert.deepEqual(
    first.events.map(({ type, detail }) => [type, detail?.['nextChannel']]),
    [['waiting_for_provider', 'in_app']],
  );
  assert.equal(first.events[0]?.detail?.['until'], new Date(until).toISOString());
  clock.advance(STEP_ON_MS);

  const stepped = await deliver({ ...entry, claim: 1 });
  const { step, attemptsBefore, reason, nextAt } = stepped.completion;
  assert.deepEqual([step, reason, nextAt], [1, 'provider_down', clock.now()]);
  assert.deepEqual(
    stepped.events.map(({ type, detail }) => [type, detail]),
    [['passed_over', { channel: 'email', provider: 'email', reason: 'provider_down' }]],
  );
  const onNext = await deliver({ ...entry, claim: 2, step, attemptsBefore });
  assert.equal(onNext.completion.status, 'delivered');
  assert.deepEqual(vendor.asked, ['email', 'in_app'], 'the vendor is left alone');
});

test('a late message with a further channel gets no second attempt on one that is down', async () => {
  await using bench = await open();
  const { clock, deliver, entryOf } = bench;
  const late = entryOf(['email', 'in_app']);
  const last = entryOf(['email']);
  clock.advance(STEP_ON_MS);
  const { completion, events } = await deliver(late);
  assert.deepEqual(
    [completion.status, completion.step, completion.reason, completion.attempt],
    ['accepted', 1, 'down', 1],
  );
  assert.deepEqual(
    events.map(({ type, detail }) => [type, detail?.['outcome'], detail?.['reason']]),
    [['attempt', 'retry', 'down']],
  );
  clock.advance(2 * HOUR_MS);
  const retried = (await deliver(last)).completion;
  assert.deepEqual([retried.status, retried.step], ['accepted', 0]);
  assert.ok((retried.nextAt ?? 0) > clock.now(), 'the last channel is tried again');
});

test('the timeline tells which variables the data lacked', async () => {
  await using bench = await open();
  const { vendor, deliver, entryOf } = bench;
  vendor.answer = { kind: 'sent' };
  const eventsOf = async (text: string, data: Record<string, unknown>) => {
    const { events } = await deliver(entryOf(['email'], { content: { title: 'Hi', text }, data }));
    return events.map(({ type, detail }) => [type, detail?.['missingVariables']]);
  };
  const text = 'Hi {{ name }}, {{ order.id }}, {{ note | default: "none" }}, {{ user.userId }}';
  assert.deepEqual(await eventsOf(text, { order: {} }), [['attempt', ['name', 'order.id']]]);
  assert.deepEqual(await eventsOf(text, { name: 'Ada', order: { id: 1 } }), [
    ['attempt', undefined],
  ]);
  assert.deepEqual(await eventsOf('{{ name }}', {}), [
    ['passed_over', ['name']],
    ['failed', undefined],
  ]);
});
