/**
 * The client's ledger against the provider's, in the classes that Jepsen uses for queues:
 *
 *   lost        acknowledged, but never delivered                        must be none
 *   unexpected  delivered, though never sent or refused for certain      must be none
 *   split       one key became more than one message                     must be none
 *   recovered   no answer was seen, but it was delivered                 allowed
 *   duplicated  delivered more than once under one message id            bounded by each test
 *
 * Beside it the service's own books, which must balance.
 */
import assert from 'node:assert/strict';
import type { Ledger } from '@tidings/contracts/notification';
import type { ClientLedger, EntryState } from './client-ledger.ts';
import type { ProviderLedger } from './provider-ledger.ts';
import type { Tidings } from './start.ts';
import { until } from './within.ts';

export interface Verdict {
  lost: string[];
  unexpected: string[];
  split: string[];
  recovered: string[];
  /** Deliveries beyond the first, over all keys. */
  duplicated: { key: string; times: number }[];
}

export function compare(client: ClientLedger, provider: ProviderLedger): Verdict {
  const verdict: Verdict = { lost: [], unexpected: [], split: [], recovered: [], duplicated: [] };
  for (const { key, state, messageId } of client.entries.values()) {
    const deliveries = provider.delivered.get(key) ?? [];
    if (state === 'acked' && deliveries.length === 0) verdict.lost.push(key);
    if (state === 'refused' && deliveries.length > 0) verdict.unexpected.push(key);
    if (state === 'unknown' && deliveries.length > 0) verdict.recovered.push(key);
    if (deliveries.length > 1) verdict.duplicated.push({ key, times: deliveries.length });
    const ids = new Set(deliveries.map((delivery) => delivery.messageId));
    if (messageId !== undefined && deliveries.length > 0) ids.add(messageId);
    if (ids.size > 1) verdict.split.push(key);
  }
  for (const key of provider.delivered.keys()) {
    if (!client.entries.has(key)) verdict.unexpected.push(key);
  }
  return verdict;
}

/** None lost, none unexpected, none split. */
export function assertKept(verdict: Verdict): void {
  const { lost, unexpected, split } = verdict;
  assert.deepEqual({ lost, unexpected, split }, { lost: [], unexpected: [], split: [] });
}

/** Waits until nothing is pending, and checks the service's own books. */
export async function settle(tidings: Tidings, seconds = 60): Promise<Ledger> {
  const ledger = await until(
    'the end of all messages',
    async () => {
      const now = await tidings.ledger();
      return now.pending === 0 ? now : undefined;
    },
    { seconds, everyMs: 100 },
  );
  assertBalanced(ledger);
  return ledger;
}

export function assertBalanced(ledger: Ledger): void {
  const { accepted, delivered, failed, expired, suppressed, cancelled, pending, balanced } = ledger;
  const sum = delivered + failed + expired + suppressed + cancelled + pending;
  assert.equal(sum, accepted, `the books do not balance: ${JSON.stringify(ledger)}`);
  assert.equal(balanced, true);
}

/** One line for the report of a test. */
export function describe(ledger: Ledger, client?: ClientLedger, verdict?: Verdict): string {
  const parts = Object.entries(ledger).filter(([name]) => name !== 'balanced');
  const text = [parts.map(([name, count]) => `${name} ${count}`).join(', ')];
  if (client) {
    const count = (state: EntryState): number => client.of(state).length;
    text.push(
      `client: acked ${count('acked')}, refused ${count('refused')}, unknown ${count('unknown')}`,
    );
  }
  if (verdict) {
    text.push(
      Object.entries(verdict)
        .map(([name, keys]) => `${name} ${keys.length}`)
        .join(', '),
    );
  }
  return text.join(' | ');
}
