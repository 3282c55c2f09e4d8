/**
 * F5: the disk fills up. Writes are refused with 503 `store_full` and nothing of them is kept, reads
 * go on; when there is space again, so do writes, without a restart.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { ClientLedger, type Entry, emailBody } from '../support/client-ledger.ts';
import { smallDisk } from '../support/small-disk.ts';
import { PATIENT, startTidings, type Tidings } from '../support/start.ts';
import { readStored, rowsByKey } from '../support/stored.ts';
import { assertBalanced, describe, settle } from '../support/verdict.ts';
import { until } from '../support/within.ts';

const MIB = 1024 * 1024;
const SIZE = 12 * MIB;
/** What becomes free again. */
const BALLAST = 6 * MIB;
const RATE_PER_SECOND = 300;
/** Refusals to see before space is made: the state has to last, not to flicker. */
const REFUSALS = 50;
const AFTERWARDS = 200;

test('F5: a full disk refuses writes, keeps reads, and goes on when there is space', async (t) => {
  using disk = smallDisk({ sizeBytes: SIZE, ballastBytes: BALLAST });
  await using tidings = await startTidings({
    dataDir: disk.dataDir,
    prefix: disk.prefix,
    env: PATIENT,
  });
  using client = new ClientLedger({ tidings, name: 'f5', body: bulkyBody });

  const full = until('50 refusals in a row', () => lastRefused(client) >= REFUSALS, {
    seconds: 120,
  });
  await client.sendUntil(full, { ratePerSecond: RATE_PER_SECOND, maxInFlight: 16 });
  await full;
  t.diagnostic(
    `full with ${disk.freeBytes(tidings)} bytes free: ${describe(await tidings.ledger(), client)}`,
  );
  assertRefusals(client);
  await assertReads(tidings, client);
  const unready = await tidings.call('/health/ready');
  assert.deepEqual(
    [unready.status, unready.json()['reasons']],
    [503, ['the disk of the store is full']],
  );

  const before = client.of('acked').length;
  disk.removeBallast(tidings);
  const resumed = until(
    'writes after space was made',
    () => client.of('acked').length >= before + AFTERWARDS,
  );
  await client.sendUntil(resumed, { ratePerSecond: RATE_PER_SECOND, maxInFlight: 16 });
  await resumed;
  await until('ready', async () => (await tidings.call('/health/ready')).status === 200);

  await client.retryUnknown();
  const ledger = await settle(tidings);
  t.diagnostic(describe(ledger, client));
  assert.equal(ledger.delivered, ledger.accepted);
  assert.equal(ledger.accepted, client.of('acked').length, 'as many rows as acknowledgements');
  const copy = mkdtempSync(join(tmpdir(), 'tidings-f5-'));
  try {
    disk.copyTo(copy, tidings);
    const stored = readStored(copy);
    assert.deepEqual(stored.faults, []);
    assert.equal(stored.notifications.length, ledger.accepted);
    const rows = rowsByKey(stored);
    assert.deepEqual(
      client.of('acked').filter(({ key }) => rows.get(key) !== 1),
      [],
    );
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
});

/** Large enough that the disk is full after some hundred. */
function bulkyBody(key: string): Record<string, unknown> {
  return { ...emailBody(key), data: { filler: 'x'.repeat(4000) } };
}

function lastRefused(client: ClientLedger): number {
  const ended = [...client.entries.values()].filter(({ endedAt }) => endedAt > 0);
  ended.sort((a, b) => b.endedAt - a.endedAt);
  const acked = ended.findIndex(({ state }) => state === 'acked');
  return acked < 0 ? ended.length : acked;
}

function assertRefusals(client: ClientLedger): void {
  const refused = [...client.entries.values()].filter(({ state }) => state !== 'acked');
  const shape = ({ status, code, retryAfter }: Entry): string =>
    `${status} ${code} ${Number(retryAfter) > 0}`;
  assert.deepEqual([...new Set(refused.map(shape))], ['503 store_full true']);
}

async function assertReads(tidings: Tidings, client: ClientLedger): Promise<void> {
  for (const { notificationId } of client.of('acked').slice(-5)) {
    const answer = await tidings.call(`/v1/notifications/${notificationId}`);
    assert.equal(answer.status, 200, answer.text);
  }
  const list = await tidings.call('/v1/notifications?limit=5');
  assert.equal(list.status, 200, list.text);
  assertBalanced(await tidings.ledger());
  assert.equal((await tidings.call('/health/live')).status, 200);
}
