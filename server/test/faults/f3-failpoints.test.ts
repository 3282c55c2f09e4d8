/**
 * F3: SIGKILL at the places where it hurts most: around the commit, before the answer, after the
 * claim, after the provider has taken the message. One message is under way at a time, so at most
 * one delivery is repeated per kill.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FAILPOINT_KILLS, SEED } from '../support/bounds.ts';
import { ClientLedger } from '../support/client-ledger.ts';
import { seededRandom } from '../support/power-loss.ts';
import { startProviderLedger, WEBHOOK_ENV, webhookBody } from '../support/provider-ledger.ts';
import { PATIENT, startTidings, type Tidings } from '../support/start.ts';
import { readStored, rowsByKey } from '../support/stored.ts';
import { assertKept, compare, describe, settle } from '../support/verdict.ts';

/** How often each place is passed per message, so that the kills fall within the first twenty or so. */
const PLACES = {
  'before-commit': 80,
  'after-commit': 80,
  'before-202': 20,
  'after-claim': 20,
  'after-provider': 20,
} as const;
const NAMES = Object.keys(PLACES) as (keyof typeof PLACES)[];
/** Far more messages than any of the counts above needs. */
const MOST_MESSAGES = 200;

const ENV = {
  ...PATIENT,
  ...WEBHOOK_ENV,
  TIDINGS_DELIVERY_CONCURRENCY: '4',
  TIDINGS_DELIVERY_RETRY_DELAYS_MS: Array(50).fill(100).join(),
};

test(`F3: ${FAILPOINT_KILLS} kills at failpoints lose nothing`, async (t) => {
  t.diagnostic(`seed ${SEED}`);
  const random = seededRandom(SEED);
  await using provider = await startProviderLedger();
  await using tidings = await startTidings({ env: ENV });
  using client = new ClientLedger({
    tidings,
    name: 'f3',
    path: '/v1/notifications?wait=10s',
    body: (key) => webhookBody(provider.url, key),
  });
  await tidings.stop();

  for (let i = 0; i < FAILPOINT_KILLS; i++) {
    const name = NAMES[i % NAMES.length] as keyof typeof PLACES;
    const count = 1 + Math.floor(random() * PLACES[name]);
    await dieAt(tidings, client, `${name}=${count}`);
  }

  await tidings.restart({ env: ENV });
  await client.retryUnknown();
  const ledger = await settle(tidings);
  const verdict = compare(client, provider);
  t.diagnostic(describe(ledger, client, verdict));
  assertKept(verdict);
  assert.equal(ledger.delivered, ledger.accepted, 'all of them have been delivered');
  const repeated = verdict.duplicated.reduce((sum, { times }) => sum + times - 1, 0);
  assert.ok(
    repeated <= FAILPOINT_KILLS,
    `${repeated} deliveries were repeated in ${FAILPOINT_KILLS} kills`,
  );
  // The place right after the provider repeats one each time; without any, nothing was tried.
  assert.ok(
    repeated > 0 || FAILPOINT_KILLS < NAMES.length,
    'no kill hit between provider and store',
  );
  await tidings.kill();
  const stored = readStored(tidings.dataDir);
  assert.deepEqual(stored.faults, []);
  const rows = rowsByKey(stored);
  assert.deepEqual(
    client.of('acked').filter(({ key }) => rows.get(key) !== 1),
    [],
  );
});

/** Starts the program armed and sends, one message after the other, until it has killed itself. */
async function dieAt(tidings: Tidings, client: ClientLedger, failpoint: string): Promise<void> {
  try {
    await tidings.restart({ env: { ...ENV, TIDINGS_FAILPOINTS: failpoint } });
  } catch (error) {
    // A low count is reached while it starts.
    assert.match(String(error), /ended with SIGKILL instead of starting/);
    return;
  }
  const { exited } = tidings;
  let exit: Awaited<typeof exited> | undefined;
  exited.then(
    (end) => {
      exit = end;
    },
    () => {},
  );
  // First what the kill before this one has left open.
  const open = client.of('unknown').map(({ key }) => key);
  for (let sent = 0; exit === undefined; sent++) {
    assert.ok(sent < MOST_MESSAGES, `${failpoint} was never reached`);
    await Promise.race([client.send(open.pop()), exited]);
  }
  assert.equal(exit.signal, 'SIGKILL', failpoint);
  await client.idle();
}
