/**
 * F24: twice as many requests as the service can take, on a fixed schedule. It goes on accepting about
 * as many as at its best, says no to the rest with 503 and sooner than it says yes, keeps its memory
 * bounded, and keeps every message it accepted.
 *
 * The generator runs on the same cores, so what is compared are neighbouring runs of a few seconds:
 * saturation, overload, saturation, overload.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type LoadJob, type LoadResult, startLoad } from '../../bench/load.ts';
import { ClientLedger, type Entry, emailBody } from '../support/client-ledger.ts';
import { startTidings, type Tidings } from '../support/start.ts';
import { describe, settle } from '../support/verdict.ts';

const ROUNDS = 3;
const SATURATION_SECONDS = 4;
const OVERLOAD_SECONDS = 7;
/** As many clients wait at once; more than the service lets wait for a commit. */
const CONNECTIONS = 6000;
const GOODPUT = 0.9;
/** Requests of a client that looks at each answer, beside the crowd. */
const PROBES_PER_SECOND = 40;
/** What the memory may grow from the second overload to the last. */
const GROWTH = 1.3;

test('F24: at twice its capacity the service does what it can and refuses the rest', async (t) => {
  await using tidings = await startTidings({ env: { TIDINGS_LOG_LEVEL: 'error' } });
  using probe = new ClientLedger({ tidings, name: 'f24', body: emailBody });
  let sent = 0;
  let accepted = 0;
  const run = async (job: Partial<LoadJob>): Promise<LoadResult> => {
    const result = await startLoad({ ...jobOf(tidings), ...job, firstNumber: sent });
    sent += result.sent;
    accepted += result.accepted;
    return result;
  };

  await run({ mode: 'closed', seconds: 2 });
  const rounds: { peak: number; goodput: number; resident: number; refused: number }[] = [];
  for (let i = 0; i < ROUNDS; i++) {
    const saturated = await run({ mode: 'closed', seconds: SATURATION_SECONDS });
    const peak = saturated.acceptedPerSecond;
    const overload = run({
      mode: 'open',
      ratePerSecond: Math.round(2 * peak),
      connections: CONNECTIONS,
      warmupSeconds: 1,
      seconds: OVERLOAD_SECONDS,
    });
    await probe.sendUntil(overload, { ratePerSecond: PROBES_PER_SECOND });
    const { acceptedPerSecond: goodput, statuses, failures } = await overload;
    const resident = Math.round(tidings.residentBytes() / 1e6);
    rounds.push({
      peak: Math.round(peak),
      goodput: Math.round(goodput),
      resident,
      refused: statuses['503'] ?? 0,
    });
    t.diagnostic(
      `${JSON.stringify(rounds.at(-1))} ${JSON.stringify(statuses)} ${JSON.stringify(failures)}`,
    );
    const others = Object.keys(statuses).filter((status) => status !== '202' && status !== '503');
    assert.deepEqual(others, [], 'an answer is a yes or a 503');
  }

  const shares = rounds.map(({ peak, goodput }) => goodput / peak).sort((a, b) => a - b);
  const answers = [...probe.entries.values()];
  t.diagnostic(
    `goodput/peak ${shares.map((share) => share.toFixed(2)).join(', ')}; probes ${describeProbes(answers)}`,
  );
  const ledger = await settle(tidings, 240);
  t.diagnostic(describe(ledger, probe));

  const share = shares[ROUNDS >> 1] ?? 0;
  assert.ok(share >= GOODPUT, `goodput is ${share.toFixed(2)} of the peak`);
  assert.ok(
    answers.every(({ status }) => status === 202 || status === 503),
    'every probe is answered',
  );
  const [, second, last] = rounds.map(({ resident }) => resident) as [number, number, number];
  assert.ok(last <= second * GROWTH, `resident memory grew from ${second} to ${last} MB`);
  const acknowledged = accepted + probe.of('acked').length;
  assert.ok(
    ledger.accepted >= acknowledged,
    `${acknowledged} acknowledged, ${ledger.accepted} kept`,
  );
  assert.equal(ledger.delivered, ledger.accepted);
  await assertReadable(tidings, probe);
});

function jobOf({ port, key }: Tidings): LoadJob {
  return {
    host: '127.0.0.1',
    port,
    mode: 'closed',
    connections: 64,
    warmupSeconds: 0,
    seconds: SATURATION_SECONDS,
    graceSeconds: 5,
    timeoutMs: 30_000,
    pollMs: 0,
    requests: [
      {
        method: 'POST',
        path: '/v1/notifications',
        headers: { authorization: `Bearer ${key}`, 'idempotency-key': 'f24-load-<<key>>' },
        body: JSON.stringify({
          to: { email: 'user<<user>>@example.com' },
          channels: ['email'],
          content: { title: 'Hello', text: 'This is <<n>>' },
        }),
      },
    ],
    firstNumber: 0,
    users: 100_000,
  };
}

function describeProbes(entries: readonly Entry[]): string {
  const times = (state: Entry['state']): number[] =>
    entries
      .filter((entry) => entry.state === state)
      .map(({ sentAt, endedAt }) => endedAt - sentAt)
      .sort((a, b) => a - b);
  const text = (name: string, sorted: number[]): string =>
    `${name} ${sorted.length}: p50 ${Math.round(sorted[sorted.length >> 1] ?? 0)} ms, p99 ${Math.round(sorted[Math.floor(sorted.length * 0.99)] ?? 0)} ms`;
  return `${text('accepted', times('acked'))}; ${text('refused', times('refused'))}`;
}

async function assertReadable(tidings: Tidings, probe: ClientLedger): Promise<void> {
  for (const { notificationId } of probe.of('acked').slice(0, 50)) {
    const answer = await tidings.call(`/v1/notifications/${notificationId}`);
    assert.equal(answer.status, 200, answer.text);
  }
}
