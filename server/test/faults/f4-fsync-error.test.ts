/**
 * F4: the disk fails to sync. From the first error on nothing is acknowledged; the service says so,
 * goes on reading, and, when the disk works again, reopens what it no longer trusts. Whatever is
 * retried with its key becomes one notification. The log of the run is replayed as in F1, with what
 * Linux does after a failed sync: the pages count as clean and are never written.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { CUTS, SEED } from '../support/bounds.ts';
import { ClientLedger, type Entry, emailBody } from '../support/client-ledger.ts';
import { chooseCuts, replay } from '../support/cut.ts';
import { Disk } from '../support/power-loss.ts';
import { PATIENT, startTidings, type Tidings } from '../support/start.ts';
import { acknowledgedIn, inspectImage, readStored, rowsByKey } from '../support/stored.ts';
import { readSyscallLog, type Step, strace } from '../support/syscall-log.ts';
import { describe, settle } from '../support/verdict.ts';
import { until } from '../support/within.ts';

const RATE_PER_SECOND = 200;
const REFUSALS = 40;
/** strace counts the calls of each thread by itself: this is far behind what a start needs. */
const FIRST_FAILURE = 150;
/** A few attempts to reopen fail as well. */
const LAST_FAILURE = FIRST_FAILURE + 5;
const AFTERWARDS = 100;

test('F4: after a failed sync nothing is acknowledged, and nothing is lost', async (t) => {
  await inScratch(async (scratch) => {
    const dataDir = join(scratch, 'data');
    const log = join(scratch, 'syscalls');
    const inject = `fsync,fdatasync:error=EIO:when=${FIRST_FAILURE}+`;
    await using tidings = await startTidings({
      dataDir,
      prefix: strace({ log, inject }),
      env: PATIENT,
    });
    using client = new ClientLedger({ tidings, name: 'f4', body: emailBody });
    const broken = until('refusals', () => client.of('unknown').length >= REFUSALS);
    await client.sendUntil(broken, { ratePerSecond: RATE_PER_SECOND });
    await broken;
    await assertBroken(tidings, client);
    await tidings.kill();

    t.diagnostic(replayed(log, dataDir));
    await tidings.restart({ env: PATIENT });
    await assertOneRowEach(tidings, client);
    t.diagnostic(describe(await settle(tidings), client));
  });
});

test('F4: when syncs succeed again, so do writes, without a restart', async (t) => {
  await inScratch(async (scratch) => {
    const dataDir = join(scratch, 'data');
    const log = join(scratch, 'syscalls');
    const inject = `fsync,fdatasync:error=EIO:when=${FIRST_FAILURE}..${LAST_FAILURE}`;
    await using tidings = await startTidings({
      dataDir,
      prefix: strace({ log, inject }),
      env: PATIENT,
    });
    using client = new ClientLedger({ tidings, name: 'f4', body: emailBody });
    const recovered = until('writes after the failure', () => {
      const [first] = client.of('unknown');
      return (
        first &&
        client.of('acked').filter(({ sentAt }) => sentAt > first.endedAt).length > AFTERWARDS
      );
    });
    await client.sendUntil(recovered, { ratePerSecond: RATE_PER_SECOND });
    await recovered;
    await until('ready', async () => (await tidings.call('/health/ready')).status === 200);
    await tidings.kill();

    t.diagnostic(replayed(log, dataDir));
    await tidings.restart({ env: PATIENT });
    await assertOneRowEach(tidings, client);
    t.diagnostic(describe(await settle(tidings), client));
  });
});

async function inScratch(run: (scratch: string) => Promise<void>): Promise<void> {
  const scratch = mkdtempSync(join(tmpdir(), 'tidings-f4-'));
  try {
    await run(scratch);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** While no sync succeeds: no acknowledgement, 503 with a Retry-After, unready, but readable. */
async function assertBroken(tidings: Tidings, client: ClientLedger): Promise<void> {
  const entries = [...client.entries.values()];
  const failures = entries.filter(({ state }) => state !== 'acked');
  const firstError = Math.min(...failures.map(({ endedAt }) => endedAt));
  const later = entries.filter(({ state, sentAt }) => state === 'acked' && sentAt > firstError);
  assert.deepEqual(later, [], 'acknowledged after the first error');
  const shape = ({ status, code, retryAfter }: Entry): string =>
    `${status} ${code} ${Number(retryAfter) > 0}`;
  assert.deepEqual([...new Set(failures.map(shape))], ['503 store_unavailable true']);

  const ready = await tidings.call('/health/ready');
  assert.equal(ready.status, 503, ready.text);
  const refused = await tidings.call('/v1/notifications', { body: emailBody('without-key') });
  assert.equal(refused.status, 503, refused.text);
  assert.match(String(refused.headers['content-type']), /^application\/problem\+json/);
  const [kept] = client.of('acked');
  assert.equal((await tidings.call(`/v1/notifications/${kept?.notificationId}`)).status, 200);
  assert.equal((await tidings.call('/health/live')).status, 200);
}

/** Everything acknowledged is there; what is open becomes one notification when it is sent again. */
async function assertOneRowEach(tidings: Tidings, client: ClientLedger): Promise<void> {
  for (const { notificationId } of client.of('acked')) {
    const answer = await tidings.call(`/v1/notifications/${notificationId}`);
    assert.equal(answer.status, 200, `${notificationId} is lost`);
  }
  await client.retryUnknown();
  const stored = readStored(tidings.dataDir);
  assert.deepEqual(stored.faults, []);
  const rows = rowsByKey(stored);
  assert.deepEqual(
    client.of('acked').filter(({ key }) => rows.get(key) !== 1),
    [],
  );
}

/** The power goes at any moment of this run as well. */
function replayed(log: string, folder: string): string {
  const steps = readSyscallLog(log, Disk.follows(folder));
  const syncs = steps.flatMap(({ phase, call }) =>
    phase === 'end' && call.kind === 'sync' ? [call] : [],
  );
  const failed = syncs.filter((call) => call.failed).length;
  assert.ok(failed > 0, 'no sync has failed');
  const acknowledged = acknowledgedIn(steps);
  const cuts = chooseCuts(steps, acknowledged, { count: Math.ceil(CUTS / 5), seed: SEED });
  const writer = writerOf(steps);
  const forgets = (thread: number): boolean => thread === writer;
  const found = replay({
    steps,
    folder,
    acknowledged,
    cuts,
    seed: SEED,
    forgets,
    inspect: inspectImage,
  });
  assert.deepEqual({ losses: found.withLosses, faults: found.faults }, { losses: 0, faults: [] });
  return `seed ${SEED}: ${syncs.length} syncs, ${failed} failed; ${cuts.length} cuts, ${found.images} images, none with losses`;
}

/** The thread that syncs the log of messages.db most. */
function writerOf(steps: readonly Step[]): number {
  const counts = new Map<number, number>();
  for (const { phase, thread, call } of steps) {
    if (phase !== 'end' || call.kind !== 'sync' || !call.path.endsWith('/messages.db-wal'))
      continue;
    counts.set(thread, (counts.get(thread) ?? 0) + 1);
  }
  return [...counts].sort((a, b) => b[1] - a[1])[0]?.[0] as number;
}
