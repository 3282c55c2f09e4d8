/**
 * F25: SIGTERM under load, and a start on the same port and data. Whoever was not served is served
 * when it asks once more; deliveries under way are finished, so that none is repeated; the process
 * ends with 0.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ClientLedger } from '../support/client-ledger.ts';
import { startProviderLedger, WEBHOOK_ENV, webhookBody } from '../support/provider-ledger.ts';
import { PATIENT, startTidings } from '../support/start.ts';
import { assertKept, compare, describe, settle } from '../support/verdict.ts';
import { delay } from '../support/within.ts';

const RESTARTS = 5;
const RATE_PER_SECOND = 200;
const LIFE_MS = 1500;
const LONGEST_DRAIN_MS = 30_000;
/** Slow enough that deliveries are under way whenever the signal comes. */
const ANSWER_MS = 100;

test(`F25: ${RESTARTS} restarts under load: every client is served at its second try`, async (t) => {
  await using provider = await startProviderLedger();
  provider.answer(() => ({ status: 200, after: delay(ANSWER_MS) }));
  await using tidings = await startTidings({ env: { ...PATIENT, ...WEBHOOK_ENV } });
  using client = new ClientLedger({
    tidings,
    name: 'f25',
    body: (key) => webhookBody(provider.url, key),
  });

  let second = 0;
  const drainMs: number[] = [];
  const restarts = (async () => {
    for (let i = 0; i < RESTARTS; i++) {
      await delay(LIFE_MS);
      const at = performance.now();
      const exit = await tidings.stop('SIGTERM');
      drainMs.push(Math.round(performance.now() - at));
      assert.deepEqual(exit, { code: 0, signal: null });
      await tidings.restart();
      // Each of those that failed asks once more, now that somebody is there again.
      const failed = [...client.of('refused'), ...client.of('unknown')].filter(
        ({ sends }) => sends === 1,
      );
      second += failed.length;
      await Promise.all(failed.map(({ key }) => client.send(key)));
    }
  })();
  await client.sendUntil(restarts, { ratePerSecond: RATE_PER_SECOND });
  await restarts;

  const errors = [...client.entries.values()].filter(({ state }) => state !== 'acked');
  const ledger = await settle(tidings);
  const verdict = compare(client, provider);
  t.diagnostic(describe(ledger, client, verdict));
  t.diagnostic(`${second} second tries; ended within ${drainMs.join(', ')} ms`);
  assert.deepEqual(errors, []);
  assert.ok(Math.max(...drainMs) <= LONGEST_DRAIN_MS, `it took ${drainMs.join(', ')} ms to end`);
  assert.ok(second > 0, 'no request met a restart');
  assertKept(verdict);
  assert.deepEqual(verdict.duplicated, [], 'what was under way has been finished');
  assert.equal(ledger.delivered, ledger.accepted);
});
