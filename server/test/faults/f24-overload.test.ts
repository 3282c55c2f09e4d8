/**
 * F24: twice as many requests as the service can take, on a fixed schedule. It goes on accepting about
 * as many as at its best, says no to the rest with 503 at once, keeps its memory bounded, and keeps
 * every message it accepted.
 *
 * The generator runs on the same cores, so what is compared are neighbouring runs of a few seconds:
 * saturation, overload, saturation, overload. For the same reason a refusal is held against an
 * answer that costs next to nothing and was asked for at the same moment: how long the crowd and the
 * machine keep either waiting is reported, and what a refusal takes beyond that is judged.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type LoadJob, type LoadResult, startLoad } from '../../bench/load.ts';
import { ClientLedger, type Entry, emailBody } from '../support/client-ledger.ts';
import { HttpClient } from '../support/http-client.ts';
import { startTidings, type Tidings } from '../support/start.ts';
import { describe, settle } from '../support/verdict.ts';
import { delay } from '../support/within.ts';

const ROUNDS = 3;
const SATURATION_SECONDS = 4;
const OVERLOAD_SECONDS = 7;
/** As many clients wait at once; more than the service lets wait for a commit. */
const CONNECTIONS = 6000;
const GOODPUT = 0.9;
/** Requests of a client that looks at each answer, beside the crowd. */
const PROBE_MS = 25;
/** So many may be under way at once that none waits for a connection in its client. */
const PROBES = 2000;
const PATH_OF_LITTLE_COST = '/health/live';
/**
 * What a refusal may take longer than that: the median of the differences, because of two requests
 * on two connections of a crowd either may be read a good while before the other.
 */
const REFUSAL_MS = 100;
const TEST_SECONDS = 280;
/** What the memory may grow from the second overload to the last. */
const GROWTH = 1.3;

test('F24: at twice its capacity the service does what it can and refuses the rest', {
  timeout: TEST_SECONDS * 1000,
}, async (t) => {
  await using tidings = await startTidings({ env: { TIDINGS_LOG_LEVEL: 'error' } });
  using probe = new ClientLedger({ tidings, name: 'f24', body: emailBody, connections: PROBES });
  using beside = new HttpClient(PROBES);
  const pairs: Pair[] = [];
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
    pairs.push(...(await probeUntil(overload, () => sendPair(tidings, probe, beside))));
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
  const refusals = pairs.filter(({ entry }) => entry.state === 'refused');
  const longer = sorted(refusals.map(({ entry, besideMs }) => timeOf(entry) - besideMs));
  t.diagnostic(
    `refusals took p50 ${at(longer, 0.5)} ms, p90 ${at(longer, 0.9)} ms longer than ${PATH_OF_LITTLE_COST} beside them (p50 ${at(sorted(refusals.map(({ besideMs }) => besideMs)), 0.5)} ms)`,
  );
  const ledger = await settle(tidings, 120);
  t.diagnostic(describe(ledger, probe));

  const share = shares[ROUNDS >> 1] ?? 0;
  assert.ok(share >= GOODPUT, `goodput is ${share.toFixed(2)} of the peak`);
  assert.ok(
    answers.every(({ status }) => status === 202 || status === 503),
    'every probe is answered',
  );
  assert.ok(refusals.length > 0, 'there was an overload');
  assert.ok(at(longer, 0.5) <= REFUSAL_MS, `a refusal takes ${at(longer, 0.5)} ms`);
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

interface Pair {
  entry: Entry;
  /** What an answer of little cost took that was asked for at the same moment. */
  besideMs: number;
}

async function probeUntil(end: Promise<unknown>, send: () => Promise<Pair>): Promise<Pair[]> {
  let over = false;
  const finish = (): void => {
    over = true;
  };
  end.then(finish, finish);
  const pairs: Promise<Pair>[] = [];
  while (!over) {
    pairs.push(send());
    await delay(PROBE_MS);
  }
  return Promise.all(pairs);
}

async function sendPair({ url }: Tidings, probe: ClientLedger, beside: HttpClient): Promise<Pair> {
  const sentAt = performance.now();
  const timed = beside.call(`${url}${PATH_OF_LITTLE_COST}`).then(() => performance.now() - sentAt);
  const [entry, besideMs] = await Promise.all([probe.send(), timed]);
  return { entry, besideMs };
}

function timeOf({ sentAt, endedAt }: Entry): number {
  return endedAt - sentAt;
}

function sorted(numbers: readonly number[]): number[] {
  return [...numbers].sort((a, b) => a - b);
}

/** A quantile, rounded. */
function at(ascending: readonly number[], share: number): number {
  return Math.round(ascending[Math.floor(ascending.length * share)] ?? 0);
}

function describeProbes(entries: readonly Entry[]): string {
  const text = (name: string, state: Entry['state']): string => {
    const times = sorted(entries.filter((entry) => entry.state === state).map(timeOf));
    return `${name} ${times.length}: p50 ${at(times, 0.5)} ms, p99 ${at(times, 0.99)} ms`;
  };
  return `${text('accepted', 'acked')}; ${text('refused', 'refused')}`;
}

async function assertReadable(tidings: Tidings, probe: ClientLedger): Promise<void> {
  for (const { notificationId } of probe.of('acked').slice(0, 50)) {
    const answer = await tidings.call(`/v1/notifications/${notificationId}`);
    assert.equal(answer.status, 200, answer.text);
  }
}
