/**
 * F20: a receiver that answers 503 to everything. A Retry-After is kept by all messages to it; without
 * one the breaker opens after a few failures. Nobody but the retry policy repeats anything, and when
 * the receiver is well again everything arrives.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Notification } from '@tidings/contracts/notification';
import { RETRY_AFTER_S } from '../support/bounds.ts';
import { ClientLedger } from '../support/client-ledger.ts';
import {
  type ProviderLedger,
  startProviderLedger,
  WEBHOOK_ENV,
  webhookBody,
} from '../support/provider-ledger.ts';
import { PATIENT, startTidings, type Tidings } from '../support/start.ts';
import { assertKept, compare, describe, settle } from '../support/verdict.ts';
import { delay, until } from '../support/within.ts';

/** Requests that may be on their way when the first 503 arrives. */
const CONNECTIONS = 10;
const MESSAGES = 300;
/** Failures that may pass before a breaker opens. */
const MOST_FAILURES = 20;
/** Requests that repeat an earlier one, as a share of all. */
const MOST_REPETITIONS = 0.1;
const PERIODS = { seconds: 60 + 5 * RETRY_AFTER_S };

const ENV = {
  ...PATIENT,
  ...WEBHOOK_ENV,
  TIDINGS_WEBHOOK_HTTP_MAX_CONNECTIONS_PER_HOST: String(CONNECTIONS),
  TIDINGS_DELIVERY_RETRY_DELAYS_MS: Array(20).fill(200).join(),
};

test('F20: no message goes to a receiver before its Retry-After has passed', async (t) => {
  await using provider = await startProviderLedger();
  await using tidings = await startTidings({ env: ENV });
  using client = clientOf(tidings, provider);
  provider.answer(() => ({ status: 503, headers: { 'retry-after': String(RETRY_AFTER_S) } }));

  // The first one finds out; the others come while the receiver has asked for rest.
  await client.send();
  await until('the first 503', () => provider.arrivals.length === 1);
  await Promise.all(Array.from({ length: MESSAGES }, () => client.send()));
  await until('three periods', () => provider.arrivals.length >= 3, PERIODS);
  assertNoneEarly(provider);

  provider.answer(() => ({ status: 200 }));
  await assertRecovered(tidings, client, provider, t.diagnostic.bind(t));
  assertFewRepetitions(provider);
});

test('F20: a burst stops at the first 503 with Retry-After', async (t) => {
  await using provider = await startProviderLedger();
  await using tidings = await startTidings({ env: ENV });
  using client = clientOf(tidings, provider);
  // Slow enough that the whole burst is waiting for a connection when the first answer is given.
  provider.answer(() => ({
    status: 503,
    headers: { 'retry-after': String(RETRY_AFTER_S) },
    after: delay(300),
  }));
  await Promise.all(Array.from({ length: MESSAGES }, () => client.send()));
  await until(
    'the second period',
    () => {
      const first = provider.arrivals[0]?.answeredAt ?? Number.POSITIVE_INFINITY;
      return provider.arrivals.some(({ at }) => at > first + RETRY_AFTER_S * 1000);
    },
    PERIODS,
  );
  const first = provider.arrivals[0]?.answeredAt ?? 0;
  const burst = provider.arrivals.filter(({ at }) => at < first + RETRY_AFTER_S * 1000);
  t.diagnostic(`${burst.length} of ${MESSAGES} were sent before the first Retry-After had passed`);
  assert.ok(burst.length <= MOST_FAILURES, `${burst.length} requests`);

  provider.answer(() => ({ status: 200 }));
  await assertRecovered(tidings, client, provider, t.diagnostic.bind(t));
  assertFewRepetitions(provider);
});

test('F20: without a Retry-After the breaker opens', async (t) => {
  await using provider = await startProviderLedger();
  await using tidings = await startTidings({ env: ENV });
  using client = clientOf(tidings, provider);
  provider.answer(() => ({ status: 503 }));
  // One after the other, so that each failure is known before the next request.
  for (let i = 0; i < 3 * MOST_FAILURES; i++) {
    const { notificationId } = await client.send();
    await until('the first attempt or a refusal to make one', async () => {
      const answer = await tidings.call(`/v1/notifications/${notificationId}`);
      const [message] = answer.json<Notification>().messages;
      return message?.attempts !== 0 || message?.reason === 'waiting_for_provider';
    });
  }
  t.diagnostic(`${provider.arrivals.length} requests for ${client.entries.size} messages`);
  assert.ok(provider.arrivals.length <= MOST_FAILURES, `${provider.arrivals.length} requests`);

  provider.answer(() => ({ status: 200 }));
  await assertRecovered(tidings, client, provider, t.diagnostic.bind(t));
});

function clientOf(tidings: Tidings, provider: ProviderLedger): ClientLedger {
  return new ClientLedger({ tidings, name: 'f20', body: (key) => webhookBody(provider.url, key) });
}

/** Repeating must not make the load of a receiver in need much larger. */
function assertFewRepetitions({ arrivals }: ProviderLedger): void {
  const first = new Set(arrivals.map(({ key }) => key)).size;
  const share = (arrivals.length - first) / arrivals.length;
  assert.ok(share <= MOST_REPETITIONS, `${arrivals.length - first} of ${arrivals.length} requests`);
}

/** By the receiver's own clock, from the moment it gave its answer out. */
function assertNoneEarly({ arrivals }: ProviderLedger): void {
  arrivals.forEach(({ at }, i) => {
    if (i === 0) return;
    const sinceAnswer = at - (arrivals[i - 1]?.answeredAt ?? 0);
    assert.ok(
      sinceAnswer >= RETRY_AFTER_S * 1000,
      `request ${i + 1} came ${Math.round(sinceAnswer)} ms after a Retry-After of ${RETRY_AFTER_S} s`,
    );
  });
}

async function assertRecovered(
  tidings: Tidings,
  client: ClientLedger,
  provider: ProviderLedger,
  tell: (text: string) => void,
): Promise<void> {
  const ledger = await settle(tidings, 120 + 5 * RETRY_AFTER_S);
  const verdict = compare(client, provider);
  tell(`${describe(ledger, client, verdict)} | ${provider.arrivals.length} requests`);
  assertKept(verdict);
  assert.deepEqual(verdict.duplicated, []);
  assert.equal(ledger.delivered, ledger.accepted);
  // A single layer retries: what the service counts is what arrived.
  let attempts = 0;
  for (const { notificationId } of client.of('acked')) {
    const answer = await tidings.call(`/v1/notifications/${notificationId}`);
    attempts += answer.json<Notification>().messages[0]?.attempts ?? 0;
  }
  assert.equal(attempts, provider.arrivals.length);
}
