/**
 * F17: a message that makes its provider throw, end its thread, crash it or loop for ever. It ends as
 * a dead letter after its attempts, of which each crash is one; its neighbours arrive, and the API
 * answers all the time.
 *
 * What only fails holds up nobody for more than a second. What ends the thread holds up all that the
 * thread delivers until it has started anew; how long that was is reported and not judged.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import type { MessageSummary, Notification } from '@tidings/contracts/notification';
import { ClientLedger, emailBody } from '../support/client-ledger.ts';
import { PATIENT, startTidings, type Tidings } from '../support/start.ts';
import { assertBalanced, describe } from '../support/verdict.ts';
import { until } from '../support/within.ts';

const ENV = {
  ...PATIENT,
  TIDINGS_PLUGINS: join(import.meta.dirname, 'f17-plugins'),
  TIDINGS_DELIVERY_RETRY_DELAYS_MS: '50,50',
};
const ATTEMPTS = 3;
/** Neighbours on the poisoned channel, before and after the poison, and on another one all along. */
const NEIGHBOURS = 10;
const RATE_PER_SECOND = 20;
const LONGEST_DELAY_MS = 1000;
const TEST_SECONDS = 90;

const CRASHED = 'crashed';
/**
 * What the poisons do, how many messages of each are sent (more than the account has places, but each
 * end of the thread costs seconds), and what they end with: a thread that died says nothing.
 */
const CASES = [
  {
    name: 'fails',
    poisons: ['throws', 'throws-at-once', 'garbage', 'half-garbage'],
    count: 3,
    reason: 'provider_fault',
  },
  { name: 'ends its thread', poisons: ['exits'], count: 2, reason: CRASHED },
  { name: 'crashes its thread', poisons: ['crashes'], count: 1, reason: CRASHED },
  { name: 'loops for ever', poisons: ['loops'], count: 1, reason: CRASHED },
];

for (const { name, poisons, count, reason } of CASES) {
  test(`F17: a provider that ${name}`, { timeout: TEST_SECONDS * 1000 }, async (t) => {
    await using tidings = await startTidings({ env: ENV });
    using others = new ClientLedger({ tidings, name: 'other', body: emailBody });

    const poisoned: string[] = [];
    const neighbours: string[] = [];
    const add = async (to: string, list: string[]): Promise<void> =>
      void list.push(await send(tidings, to));
    for (let i = 0; i < NEIGHBOURS; i++) await add('ok', neighbours);
    for (const poison of poisons) for (let i = 0; i < count; i++) await add(poison, poisoned);
    for (let i = 0; i < NEIGHBOURS; i++) await add('ok', neighbours);

    const ended = until(
      'the end of all messages',
      () => allEnded(tidings, [...poisoned, ...neighbours]),
      { seconds: TEST_SECONDS / 2, everyMs: 200 },
    );
    await others.sendUntil(ended, { ratePerSecond: RATE_PER_SECOND });
    await ended;

    for (const id of poisoned) {
      const [message] = (await read(tidings, id)).messages;
      assert.deepEqual([message?.status, message?.reason], ['failed', reason]);
      // A crash by one of the others costs an attempt too.
      const most = reason === CRASHED ? ATTEMPTS + count - 1 : ATTEMPTS;
      const attempts = message?.attempts ?? 0;
      assert.ok(attempts >= ATTEMPTS && attempts <= most, `${attempts} attempts`);
    }
    for (const id of neighbours) {
      const [message] = (await read(tidings, id)).messages;
      const timeline = await tidings.call(`/v1/notifications/${id}/timeline`);
      assert.equal(
        message?.status,
        'delivered',
        `a neighbour: ${JSON.stringify(message)} ${timeline.text}`,
      );
    }
    const unanswered = [...others.entries.values()].filter(({ state }) => state !== 'acked');
    assert.deepEqual(unanswered, [], 'the API answers all the time');
    assert.deepEqual(await deadLetters(tidings), new Set(poisoned));

    const ledger = await until('the end of the others', async () => {
      const now = await tidings.ledger();
      return now.pending === 0 && now;
    });
    const elsewhere = others.of('acked').map(({ notificationId }) => String(notificationId));
    const ways = [await longestWay(tidings, neighbours), await longestWay(tidings, elsewhere)];
    t.diagnostic(`${describe(ledger, others)} | longest way of a neighbour ${ways.join(', ')} ms`);
    if (reason !== CRASHED) assert.ok(Math.max(...ways) <= LONGEST_DELAY_MS, `${ways} ms`);
    assertBalanced(ledger);
    assert.equal(ledger.failed, poisoned.length);
    // The thread goes on: the channel is as good as before.
    const [message] = (await waitFor(tidings, await send(tidings, 'ok'))).messages;
    assert.equal(message?.status, 'delivered');
  });
}

async function send(tidings: Tidings, to: string): Promise<string> {
  const answer = await tidings.call('/v1/notifications', {
    body: { to: { poison: to }, channels: ['poison'], content: { text: 'Hello' } },
  });
  assert.equal(answer.status, 202, answer.text);
  return String(answer.json()['id']);
}

async function read(tidings: Tidings, id: string): Promise<Notification> {
  const answer = await tidings.call(`/v1/notifications/${id}`);
  assert.equal(answer.status, 200, answer.text);
  return answer.json<Notification>();
}

/** ms from acceptance to the end. */
async function longestWay(tidings: Tidings, ids: readonly string[]): Promise<number> {
  const ways: number[] = [];
  for (const id of ids) {
    const { createdAt, messages } = await read(tidings, id);
    ways.push(Date.parse(messages[0]?.updatedAt ?? '') - Date.parse(createdAt));
  }
  return Math.max(...ways);
}

function hasEnded({ messages }: Notification): boolean {
  return messages.every(({ status }) => status === 'delivered' || status === 'failed');
}

async function allEnded(tidings: Tidings, ids: readonly string[]): Promise<boolean> {
  for (const id of ids) if (!hasEnded(await read(tidings, id))) return false;
  return true;
}

async function waitFor(tidings: Tidings, id: string): Promise<Notification> {
  return until('the end of a message', async () => {
    const notification = await read(tidings, id);
    return hasEnded(notification) && notification;
  });
}

async function deadLetters(tidings: Tidings): Promise<Set<string>> {
  const answer = await tidings.call('/v1/dead-letters');
  assert.equal(answer.status, 200, answer.text);
  const { items } = answer.json<{ items: MessageSummary[] }>();
  return new Set(items.map(({ notificationId }) => notificationId));
}
