/**
 * F2: SIGKILL at any moment under load. Nothing acknowledged is lost; what is delivered twice was
 * under way at a kill, and bears the same id.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KILLS, SEED } from '../support/bounds.ts';
import { ClientLedger } from '../support/client-ledger.ts';
import { seededRandom } from '../support/power-loss.ts';
import { startProviderLedger, WEBHOOK_ENV, webhookBody } from '../support/provider-ledger.ts';
import { PATIENT, startTidings, type Tidings } from '../support/start.ts';
import { readStored, rowsByKey } from '../support/stored.ts';
import { assertKept, compare, describe, settle } from '../support/verdict.ts';
import { delay } from '../support/within.ts';

const RATE_PER_SECOND = 2000;
/** Deliveries under way at once; as many may be repeated after a kill. */
const CONCURRENCY = 64;
const LONGEST_LIFE_MS = 700;
/** From the start of the process to taking requests, on average; other work on the machine delays single ones. */
const MEAN_READY_MS = 5000;

const ENV = {
  ...PATIENT,
  ...WEBHOOK_ENV,
  TIDINGS_DELIVERY_CONCURRENCY: String(CONCURRENCY),
  // A message that many kills interrupt shall still arrive: each costs it an attempt.
  TIDINGS_DELIVERY_RETRY_DELAYS_MS: Array(50).fill(100).join(),
};

test(`F2: ${KILLS} kills under load lose nothing`, async (t) => {
  t.diagnostic(`seed ${SEED}`);
  const random = seededRandom(SEED);
  await using provider = await startProviderLedger();
  await using tidings = await startTidings({ env: ENV });
  using client = new ClientLedger({
    tidings,
    name: 'f2',
    body: (key) => webhookBody(provider.url, key),
  });

  const readyMs: number[] = [];
  let down = false;
  const kills = (async () => {
    for (let i = 0; i < KILLS; i++) {
      await delay(random() * LONGEST_LIFE_MS);
      down = true;
      const { signal } = await tidings.kill();
      assert.equal(signal, 'SIGKILL');
      await tidings.restart();
      down = false;
      readyMs.push(tidings.readyMs);
    }
  })();
  await client.sendUntil(kills, { ratePerSecond: RATE_PER_SECOND, paused: () => down });
  await kills;
  const unknown = client.of('unknown').length;
  await client.retryUnknown();
  const ledger = await settle(tidings, 120);
  const verdict = compare(client, provider);
  readyMs.sort((a, b) => a - b);
  t.diagnostic(describe(ledger, client, verdict));
  t.diagnostic(
    `${KILLS} kills, ${unknown} answers never seen; ready again after ${Math.round(readyMs[KILLS >> 1] ?? 0)} ms (median), ${Math.round(readyMs.at(-1) ?? 0)} ms (longest)`,
  );

  assertKept(verdict);
  assert.equal(ledger.delivered, ledger.accepted, 'all of them have been delivered');
  const repeated = verdict.duplicated.reduce((sum, { times }) => sum + times - 1, 0);
  assert.ok(repeated <= KILLS * CONCURRENCY, `${repeated} deliveries were repeated`);
  const meanReadyMs = readyMs.reduce((sum, ms) => sum + ms, 0) / KILLS;
  assert.ok(meanReadyMs <= MEAN_READY_MS, `ready after ${Math.round(meanReadyMs)} ms`);
  await assertOneRowEach(tidings, client);
});

async function assertOneRowEach(tidings: Tidings, client: ClientLedger): Promise<void> {
  await tidings.kill();
  const stored = readStored(tidings.dataDir);
  assert.deepEqual(stored.faults, []);
  const rows = rowsByKey(stored);
  const wrong = client.of('acked').filter(({ key }) => rows.get(key) !== 1);
  assert.deepEqual(wrong, [], 'a key is one notification');
}
