/**
 * F3: SIGKILL at the places where it hurts most: around the commit, before the answer, after the
 * claim, after the provider has taken the message. One message is under way at a time, so at most
 * one delivery is repeated per kill.
 */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { FAILPOINT_KILLS, SEED } from '../support/bounds.ts';
import { ClientLedger } from '../support/client-ledger.ts';
import { seededRandom } from '../support/power-loss.ts';
import { startProviderLedger, WEBHOOK_ENV, webhookBody } from '../support/provider-ledger.ts';
import { PATIENT, startTidings, type Tidings } from '../support/start.ts';
import { readStored, rowsByKey } from '../support/stored.ts';
import { assertKept, compare, describe, settle, type Verdict } from '../support/verdict.ts';
import { within } from '../support/within.ts';

/** Programs side by side: most of a kill's time is the next start, which one core does alone. */
const LANES = Math.min(2, FAILPOINT_KILLS);

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
/** From the answer that did not come to the end of the process. */
const END_SECONDS = 30;

const ENV = {
  ...PATIENT,
  ...WEBHOOK_ENV,
  TIDINGS_DELIVERY_CONCURRENCY: '4',
  TIDINGS_DELIVERY_RETRY_DELAYS_MS: Array(50).fill(100).join(),
};

test(`F3: ${FAILPOINT_KILLS} kills at failpoints lose nothing`, async (t) => {
  t.diagnostic(`seed ${SEED}`);
  const lanes = Array.from({ length: LANES }, (_, lane) =>
    killAndJudge(t, { lane, kills: Math.floor((FAILPOINT_KILLS + lane) / LANES) }),
  );
  // Each ends its own program, also when another one fails.
  for (const lane of await Promise.allSettled(lanes))
    if (lane.status === 'rejected') throw lane.reason;
});

async function killAndJudge(
  t: TestContext,
  { lane, kills }: { lane: number; kills: number },
): Promise<void> {
  const random = seededRandom(SEED + lane);
  await using provider = await startProviderLedger();
  await using tidings = await startTidings({ env: ENV });
  using client = new ClientLedger({
    tidings,
    name: `f3-${lane}`,
    path: '/v1/notifications?wait=10s',
    body: (key) => webhookBody(provider.url, key),
  });
  await tidings.stop();

  /** At how many kills each key was under way. */
  const interrupted = new Map<string, number>();
  for (let i = 0; i < kills; i++) {
    const name = NAMES[i % NAMES.length] as keyof typeof PLACES;
    const count = 1 + Math.floor(random() * PLACES[name]);
    await dieAt(tidings, client, `${name}=${count}`);
    const open = client.of('unknown');
    assert.ok(open.length <= 1, 'one message is under way at a time');
    for (const { key } of open) interrupted.set(key, (interrupted.get(key) ?? 0) + 1);
  }

  await tidings.restart({ env: ENV });
  await client.retryUnknown();
  const ledger = await settle(tidings);
  const verdict = compare(client, provider);
  t.diagnostic(`${kills} kills: ${describe(ledger, client, verdict)}`);
  assertKept(verdict);
  assert.equal(ledger.delivered, ledger.accepted, 'all of them have been delivered');
  assertFewRepeated(verdict, interrupted);
  // The place right after the provider repeats one each time; without any, nothing was tried.
  assert.ok(
    verdict.duplicated.length > 0 || kills < NAMES.length,
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
}

/** Only what was under way at a kill is delivered again, once for each kill. */
function assertFewRepeated(
  { duplicated }: Verdict,
  interrupted: ReadonlyMap<string, number>,
): void {
  assert.deepEqual(
    duplicated.filter(({ key, times }) => times - 1 > (interrupted.get(key) ?? 0)),
    [],
    'delivered more often than it was interrupted',
  );
}

/** Starts the program armed and sends, one message after the other, until it has killed itself. */
async function dieAt(tidings: Tidings, client: ClientLedger, failpoint: string): Promise<void> {
  try {
    await tidings.restart({ env: { ...ENV, TIDINGS_FAILPOINTS: failpoint } });
  } catch (error) {
    // A low count is reached while it starts.
    assert.match(String(error), /ended with SIGKILL instead of starting/);
    return;
  }
  // First what the kill before this one has left open.
  let { state } = await client.send(client.of('unknown')[0]?.key);
  for (let sent = 1; state === 'acked'; sent++) {
    assert.ok(sent < MOST_MESSAGES, `${failpoint} was never reached`);
    ({ state } = await client.send());
  }
  const exit = await within(END_SECONDS, `the end at ${failpoint}`, tidings.exited);
  assert.equal(exit.signal, 'SIGKILL', failpoint);
}
