/**
 * F1: the power fails at any moment under load. What a 202 promised is on the disk, and every file
 * is whole. Shown by replaying the log of the program's system calls, since a kill leaves the page
 * cache as it is and so cannot miss a sync.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { CUTS, SEED } from '../support/bounds.ts';
import { ClientLedger, emailBody } from '../support/client-ledger.ts';
import { type Acknowledged, chooseCuts, replay } from '../support/cut.ts';
import { Disk, seededRandom } from '../support/power-loss.ts';
import { PATIENT, startTidings } from '../support/start.ts';
import { acknowledgedIn, inspectImage } from '../support/stored.ts';
import { type Call, readSyscallLog, type Step, strace } from '../support/syscall-log.ts';
import { until } from '../support/within.ts';

/** The power fails for good after as many answers; what each cut has to look through grows with it. */
const ANSWERS = 800;
const LOAD_SECONDS_AT_MOST = 60;
const RATE_PER_SECOND = 400;
/** Images on which the program itself is started afterwards. */
const STARTED_IMAGES = 3;

test('F1: what was acknowledged is on the disk whenever the power fails', async (t) => {
  t.diagnostic(`seed ${SEED}`);
  const scratch = mkdtempSync(join(tmpdir(), 'tidings-f1-'));
  try {
    const folder = join(scratch, 'data');
    const log = join(scratch, 'syscalls');
    using client = await runUnderLoad(folder, log);
    const steps = readSyscallLog(log, Disk.follows(folder));
    const acknowledged = acknowledgedIn(steps);
    const syncs = steps.filter(({ phase, call }) => phase === 'end' && call.kind === 'sync').length;
    const wraps = steps.filter(({ phase, call }) => phase === 'end' && beginsLog(call)).length;
    t.diagnostic(
      `${steps.length} steps, ${syncs} syncs, ${wraps} beginnings of a write-ahead log, ${acknowledged.length} acknowledged, log of ${Math.round(statSync(log).size / 1e6)} MB`,
    );
    assertSameAnswers(acknowledged, client);

    const cuts = chooseCuts(steps, acknowledged, { count: CUTS, seed: SEED });
    const found = replay({
      ...{ steps, folder, acknowledged, cuts, seed: SEED },
      inspected: (path) => path.includes('.db'),
      inspect: inspectImage,
    });
    t.diagnostic(
      `${cuts.length} cuts, ${found.images} images: ${found.withLosses} with losses, ${found.withFaults} with faults`,
    );
    assert.equal(cuts.length, CUTS);
    assert.deepEqual(found.faults, []);
    assert.equal(found.withLosses, 0);

    await startOnImages({ steps, folder, scratch, cuts, acknowledged, client });
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
});

/** The header of the hot file's write-ahead log, written anew each time the log starts over. */
function beginsLog(call: Call): boolean {
  return call.kind === 'write' && call.path.endsWith('/messages.db-wal') && call.offset === 0;
}

/** The whole life of the program, from an empty folder to its death under load, in the log. */
async function runUnderLoad(dataDir: string, log: string): Promise<ClientLedger> {
  await using tidings = await startTidings({ dataDir, prefix: strace({ log }), env: PATIENT });
  const client = new ClientLedger({ tidings, name: 'f1', body: emailBody });
  const death = until('enough answers', () => client.of('acked').length >= ANSWERS, {
    seconds: LOAD_SECONDS_AT_MOST,
  }).then(() => tidings.kill());
  await client.sendUntil(death, { ratePerSecond: RATE_PER_SECOND });
  await death;
  return client;
}

/** The log and the clients saw the same answers: nothing is missing from what is judged. */
function assertSameAnswers(acknowledged: readonly Acknowledged[], client: ClientLedger): void {
  const logged = new Set(acknowledged.map(({ id }) => id));
  const seen = client.of('acked').map(({ notificationId }) => notificationId as string);
  assert.deepEqual(
    seen.filter((id) => !logged.has(id)),
    [],
    'answers that the log does not have',
  );
  // An answer that was leaving when the program died may not have arrived.
  const unseen = logged.size - seen.length;
  const unknown = client.of('unknown').length;
  assert.ok(unseen <= unknown, `${unseen} answers did not arrive, ${unknown} are missed`);
}

interface StartOnImages {
  steps: readonly Step[];
  folder: string;
  scratch: string;
  cuts: readonly number[];
  acknowledged: readonly Acknowledged[];
  client: ClientLedger;
}

/** The program itself goes on from what is left, and knows the keys it had answered. */
async function startOnImages({
  steps,
  folder,
  scratch,
  cuts,
  acknowledged,
  client,
}: StartOnImages): Promise<void> {
  const random = seededRandom(SEED);
  const late = cuts.filter((cut) => acknowledged.some(({ step }) => step < cut));
  for (let i = 0; i < STARTED_IMAGES; i++) {
    const cut = late[Math.floor(random() * late.length)] as number;
    const disk = new Disk(folder);
    for (const step of steps.slice(0, cut)) disk.apply(step);
    const dataDir = join(scratch, `image-${i}`);
    disk.writeImage(dataDir, seededRandom(SEED + cut));
    await using tidings = await startTidings({ dataDir, env: PATIENT });
    const known = new Set(acknowledged.filter(({ step }) => step < cut).map(({ id }) => id));
    const entry = client
      .of('acked')
      .findLast(({ notificationId }) => known.has(notificationId as string));
    assert.ok(entry);
    const again = await tidings.call('/v1/notifications', {
      headers: { 'idempotency-key': entry.key },
      body: emailBody(entry.key),
    });
    assert.equal(again.status, 202, again.text);
    assert.equal(again.json()['id'], entry.notificationId, `cut ${cut}: the key is known`);
    assert.equal(again.headers['idempotency-replayed'], 'true');
  }
}
