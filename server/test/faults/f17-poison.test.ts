/**
 * F17: a message that makes its provider, a plug-in, throw, end its process, crash it, loop for ever or
 * eat all memory. It ends as a dead letter after its attempts, of which each crash is one; its
 * neighbours arrive, none of them more than a second later than undisturbed, and the API answers all
 * the time (F7).
 *
 * The row asks for a time, so this test judges one: the longest way from acceptance to the end, of
 * neighbours on the same channel and on another one, against the longest of the same traffic without
 * any poison just before, or just after where the poison comes first.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import type { MessageSummary, Notification } from '@tidings/contracts/notification';
import { ClientLedger, type Entry, emailBody } from '../support/client-ledger.ts';
import { PATIENT, startTidings, type Tidings } from '../support/start.ts';
import { assertBalanced, describe } from '../support/verdict.ts';
import { delay, until } from '../support/within.ts';

const ENV = {
  ...PATIENT,
  TIDINGS_PLUGINS: join(import.meta.dirname, 'f17-plugins'),
  TIDINGS_DELIVERY_RETRY_DELAYS_MS: '3000,50',
};
const ATTEMPTS = 3;
const RATE_PER_SECOND = 20;
/** Of the same traffic without poison, and after the last one has ended. */
const CALM_MS = 1000;
const LONGEST_DELAY_MS = 1000;
const TEST_SECONDS = 90;

/** What the poisons do, how many messages of each are sent, and the reason in the dead letter. */
const CASES = [
  {
    name: 'fails',
    poisons: ['throws', 'throws-at-once', 'garbage', 'half-garbage'],
    // More than the account has places: one that is never given back is missed.
    count: 3,
    reason: 'provider_fault',
  },
  { name: 'ends its process', poisons: ['exits'], count: 3, reason: 'crashed' },
  { name: 'crashes', poisons: ['crashes'], count: 3, reason: 'crashed' },
  {
    name: 'crashes in native code',
    poisons: ['aborts', 'segmentation-fault'],
    count: 2,
    reason: 'crashed',
  },
  { name: 'loops for ever', poisons: ['loops'], count: 1, reason: 'crashed' },
  { name: 'loops after a wait', poisons: ['loops-later'], count: 1, reason: 'crashed' },
  { name: 'eats all memory', poisons: ['eats-memory'], count: 1, reason: 'crashed' },
  { name: 'eats memory as buffers', poisons: ['eats-buffers'], count: 1, reason: 'crashed' },
  {
    name: 'loops for ever with the first message of all',
    poisons: ['loops'],
    count: 1,
    reason: 'crashed',
    first: true,
  },
];

for (const { name, poisons, count, reason, first = false } of CASES) {
  test(`F17: a provider that ${name}`, { timeout: TEST_SECONDS * 1000 }, async (t) => {
    await using tidings = await startTidings({ env: ENV });
    using traffic = new Traffic(tidings);

    const poisoned: string[] = [];
    const poison = async (): Promise<void> => {
      for (const what of poisons) {
        for (let i = 0; i < count; i++) poisoned.push(await send(tidings, what));
      }
    };
    // The first messages after a start take longer than any later one.
    if (first) await poison();
    else await traffic.during(delay(CALM_MS));
    const before = first ? undefined : await traffic.during(delay(CALM_MS));
    const disturbed = await traffic.during(
      (async () => {
        if (!first) await poison();
        await until('the end of the poison', () => allEnded(tidings, poisoned), {
          seconds: TEST_SECONDS / 2,
          everyMs: 100,
        });
        await delay(CALM_MS);
      })(),
    );
    const undisturbed = before ?? (await traffic.during(delay(CALM_MS)));

    for (const id of poisoned) {
      const [message] = (await read(tidings, id)).messages;
      assert.deepEqual(
        [message?.status, message?.reason, message?.attempts],
        ['failed', reason, ATTEMPTS],
      );
    }
    assert.deepEqual(await deadLetters(tidings), new Set(poisoned));
    const ledger = await tidings.ledger();
    const ways = `longest way beside ${undisturbed.beside} → ${disturbed.beside} ms, elsewhere ${undisturbed.elsewhere} → ${disturbed.elsewhere} ms, of an answer ${undisturbed.answer} → ${disturbed.answer} ms`;
    t.diagnostic(`${describe(ledger)} | ${ways}`);
    assert.ok(disturbed.beside - undisturbed.beside <= LONGEST_DELAY_MS, ways);
    assert.ok(disturbed.elsewhere - undisturbed.elsewhere <= LONGEST_DELAY_MS, ways);
    assertBalanced(ledger);
    assert.equal(ledger.failed, poisoned.length);
    assert.deepEqual(await tidings.stop(), { code: 0, signal: null });
  });
}

/** The longest of each, in ms: of a message from acceptance to its end, of a request to its answer. */
interface Ways {
  beside: number;
  elsewhere: number;
  answer: number;
}

/** Neighbours: a steady stream on the poisoned channel, quick ones and slow ones, and on another one. */
class Traffic implements Disposable {
  readonly #tidings: Tidings;
  readonly #streams: { beside: ClientLedger; elsewhere: ClientLedger };

  constructor(tidings: Tidings) {
    this.#tidings = tidings;
    let number = 0;
    const beside = (): unknown => poisonBody(number++ % 2 === 0 ? 'ok' : 'waits');
    this.#streams = {
      beside: new ClientLedger({ tidings, name: 'beside', body: beside }),
      elsewhere: new ClientLedger({ tidings, name: 'elsewhere', body: emailBody }),
    };
  }

  /** Sends until the promise resolves; every request is acknowledged and every message delivered. */
  async during(end: Promise<unknown>): Promise<Ways> {
    const streams = Object.values(this.#streams);
    const known = new Set(streams.flatMap((stream) => [...stream.entries.keys()]));
    await Promise.all(
      streams.map((stream) => stream.sendUntil(end, { ratePerSecond: RATE_PER_SECOND })),
    );
    await end;
    const [beside, elsewhere] = streams.map((stream) =>
      [...stream.entries.values()].filter(({ key }) => !known.has(key)),
    ) as [Entry[], Entry[]];
    const sent = [...beside, ...elsewhere];
    assert.deepEqual(
      sent.filter(({ state }) => state !== 'acked'),
      [],
      'the API answers all the time',
    );
    return {
      beside: await this.#longestWay(beside),
      elsewhere: await this.#longestWay(elsewhere),
      answer: Math.round(Math.max(...sent.map(({ sentAt, endedAt }) => endedAt - sentAt))),
    };
  }

  async #longestWay(entries: readonly Entry[]): Promise<number> {
    const ids = entries.map(({ notificationId }) => String(notificationId));
    await until('the end of all neighbours', () => allEnded(this.#tidings, ids), {
      seconds: TEST_SECONDS / 2,
      everyMs: 100,
    });
    const ways: number[] = [];
    for (const id of ids) {
      const { createdAt, messages } = await read(this.#tidings, id);
      const [message] = messages;
      if (message?.status !== 'delivered') {
        const { text } = await this.#tidings.call(`/v1/notifications/${id}/timeline`);
        assert.fail(`a neighbour was not delivered: ${text}`);
      }
      ways.push(Date.parse(message.updatedAt) - Date.parse(createdAt));
    }
    return Math.max(...ways);
  }

  [Symbol.dispose](): void {
    for (const stream of Object.values(this.#streams)) stream[Symbol.dispose]();
  }
}

function poisonBody(to: string): unknown {
  return { to: { poison: to }, channels: ['poison'], content: { text: 'Hello' } };
}

async function send(tidings: Tidings, to: string): Promise<string> {
  const answer = await tidings.call('/v1/notifications', { body: poisonBody(to) });
  assert.equal(answer.status, 202, answer.text);
  return String(answer.json()['id']);
}

async function read(tidings: Tidings, id: string): Promise<Notification> {
  const answer = await tidings.call(`/v1/notifications/${id}`);
  assert.equal(answer.status, 200, answer.text);
  return answer.json<Notification>();
}

async function allEnded(tidings: Tidings, ids: readonly string[]): Promise<boolean> {
  for (const id of ids) {
    const { messages } = await read(tidings, id);
    if (messages.some(({ status }) => status !== 'delivered' && status !== 'failed')) return false;
  }
  return true;
}

async function deadLetters(tidings: Tidings): Promise<Set<string>> {
  const answer = await tidings.call('/v1/dead-letters');
  assert.equal(answer.status, 200, answer.text);
  const { items } = answer.json<{ items: MessageSummary[] }>();
  return new Set(items.map(({ notificationId }) => notificationId));
}
