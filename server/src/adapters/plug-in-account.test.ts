import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, describe, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { ManualClock } from '../../test/support/manual-clock.ts';
import { until, within } from '../../test/support/within.ts';
import { type Clock, systemClock } from '../clock.ts';
import { Account } from '../outbound/account.ts';
import { createAttempts, runAttempt } from '../outbound/attempt.ts';
import type { AdapterDefinition } from './adapter.ts';
import { type Catalog, loadCatalog } from './catalog.ts';
import { makeDelivery } from './conformance.ts';
import {
  type Delivery,
  type Outcome,
  type ProviderAccount,
  type ProviderDefinition,
  RESPONSE_LIMIT,
} from './provider.ts';

const PLUG_INS = join(import.meta.dirname, '../../test/support/plug-ins');
const LIMIT = { timeout: 60_000 };

// As the program sets it: processes start from compiled code.
const COMPILED = mkdtempSync(join(tmpdir(), 'tidings-compiled-'));
process.env['NODE_COMPILE_CACHE'] = COMPILED;
after(() => rmSync(COMPILED, { recursive: true, force: true }));

interface Sent {
  /** What the plug-in does; left out, it says which account it is. */
  do?: string;
  with?: string;
  /** Of the message. */
  id?: string;
  signal?: AbortSignal;
  isHeld?: () => boolean;
}

function deliveryOf({ do: what = '', with: argument = '', id = 'msg_1' }: Sent): Delivery<never> {
  const delivery = makeDelivery({ address: 'ada@example.com', content: { text: 'Hello' } });
  const metadata = { do: what, with: argument };
  return { ...delivery, messageId: id, idempotencyKey: id, metadata } as unknown as Delivery<never>;
}

/** A plug-in folder of its own, and accounts of the plug-in as the engine opens them. */
class PlugInUnderTest implements AsyncDisposable {
  readonly catalog: Catalog;
  readonly logged: { details: Record<string, unknown>; message: string }[];
  /** What the plug-in wrote to its output. */
  readonly printed: PlugInUnderTest['logged'];
  readonly #folder: string;
  readonly #clock: Clock;
  readonly #opened: { close?(): Promise<void> }[] = [];

  private constructor(
    folder: string,
    catalog: Catalog,
    { logged, printed }: Pick<PlugInUnderTest, 'logged' | 'printed'>,
    clock: Clock,
  ) {
    this.#folder = folder;
    this.catalog = catalog;
    this.logged = logged;
    this.printed = printed;
    this.#clock = clock;
  }

  static async load(clock: Clock = systemClock): Promise<PlugInUnderTest> {
    const folder = mkdtempSync(join(tmpdir(), 'tidings-plug-in-'));
    cpSync(PLUG_INS, folder, { recursive: true });
    const logged: PlugInUnderTest['logged'] = [];
    const printed: PlugInUnderTest['printed'] = [];
    const into =
      (lines: PlugInUnderTest['logged']) =>
      (details: unknown, message?: string): void =>
        void lines.push({ details: details as never, message: message ?? '' });
    const [error, print] = [into(logged), into(printed)];
    const catalog = await loadCatalog(folder, { error, warn: print, info: print } as never);
    return new PlugInUnderTest(folder, catalog, { logged, printed }, clock);
  }

  get definition(): ProviderDefinition {
    return this.catalog.provider('email', 'unruly') as ProviderDefinition;
  }

  get adapter(): AdapterDefinition {
    return this.catalog.adapter('email') as AdapterDefinition;
  }

  /** What its processes find when they start. */
  set trouble(what: string) {
    writeFileSync(join(this.#folder, 'email/providers/trouble.txt'), what);
  }

  open(accountId = 'first', config: Record<string, unknown> = {}): ProviderAccount {
    const services = {} as never;
    const account = this.definition.create({ accountId, config, services, clock: this.#clock });
    this.#opened.push(account);
    return account;
  }

  /** With its places, limits and breaker. */
  openOutbound(): Account {
    const { definition: provider } = this;
    const account = new Account(
      { id: 'first', channel: 'email', provider, config: {}, limits: provider.limits },
      {} as never,
      this.#clock,
    );
    this.#opened.push(account);
    return account;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#opened.map((account) => account.close?.()));
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

function send(account: ProviderAccount, sent: Sent = {}): Promise<Outcome> {
  const { signal = new AbortController().signal, isHeld, do: what = '' } = sent;
  return within(20, `an outcome of "${what}"`, account.send(deliveryOf(sent), signal, isHeld));
}

async function processOf(account: ProviderAccount, id?: string): Promise<string | undefined> {
  const outcome = await send(account, { do: 'tells its process', id });
  return outcome.kind === 'sent' ? outcome.providerMessageId : undefined;
}

function assertCrashed(outcome: Outcome, cause: RegExp): void {
  assert.equal(outcome.kind, 'retry');
  assert.ok(outcome.kind === 'retry');
  const { reason, ambiguous, response } = outcome;
  assert.deepEqual([reason, ambiguous], ['crashed', true]);
  assert.match(response ?? '', cause);
}

describe('accounts of plug-ins', LIMIT, () => {
  test('are in another process, and their outcomes come as they are', async () => {
    await using plugIn = await PlugInUnderTest.load();
    const account = plugIn.open();
    assert.notEqual(await processOf(account), String(process.pid));
    assert.deepEqual(await send(account), { kind: 'sent', providerMessageId: 'first' });
    assert.deepEqual(await send(account, { do: 'says no' }), {
      kind: 'rejected',
      reason: 'mailbox_full',
      scope: 'recipient',
      response: '552 full',
    });
    assert.deepEqual(plugIn.logged, []);
  });

  test('may be written in plain JavaScript', async () => {
    await using plugIn = await PlugInUnderTest.load();
    const plain = plugIn.catalog.provider('email', 'plain') as ProviderDefinition;
    const account = plain.create({
      accountId: 'a',
      config: {},
      services: {} as never,
      clock: systemClock,
    });
    const outcome = await send(account, { id: 'msg_7' });
    assert.deepEqual(outcome, { kind: 'sent', providerMessageId: 'a/msg_7' });
    await account.close?.();
  });

  test('share a process, whose end concerns both, and are closed one by one', async () => {
    await using plugIn = await PlugInUnderTest.load();
    const [first, second] = [plugIn.open('first'), plugIn.open('second')];
    assert.equal(await processOf(first), await processOf(second));
    assertCrashed(await send(first, { do: 'exits' }), /ended its process/);
    assert.deepEqual(await send(second), { kind: 'sent', providerMessageId: 'second' });
    const left = send(first, { do: 'never ends' });
    await send(first);
    await first.close?.();
    assert.deepEqual(await left, { kind: 'retry', reason: 'closed', ambiguous: true });
    assert.deepEqual(await send(first), { kind: 'retry', reason: 'closed' });
    assert.deepEqual(await send(second), { kind: 'sent', providerMessageId: 'second' });
  });

  test('see nothing of the environment, and are refused services', async () => {
    process.env['TIDINGS_EMAIL_SECRET'] = 'geheim';
    await using plugIn = await PlugInUnderTest.load();
    const outcome = await send(plugIn.open(), { do: 'tells its environment' });
    delete process.env['TIDINGS_EMAIL_SECRET'];
    assert.deepEqual(outcome, { kind: 'sent', providerMessageId: '' });
    const refused = plugIn.open('second', { refuses: true });
    await assert.rejects(send(refused), /a plug-in has no services/);
    assert.equal(plugIn.logged.length, 1);
    const { plugIn: name, account, stack } = plugIn.logged[0]?.details ?? {};
    assert.deepEqual([name, account], ['email/unruly', 'second']);
    assert.match(String(stack), /has no services\n +at .*\n.* at .*unruly\.ts/);
  });

  test('have the local time of the service', async () => {
    const before = process.env['TZ'];
    process.env['TZ'] = 'Asia/Kathmandu';
    try {
      await using plugIn = await PlugInUnderTest.load();
      const outcome = await send(plugIn.open(), { do: 'tells the local time' });
      assert.equal(outcome.kind === 'sent' && outcome.providerMessageId, '-345');
    } finally {
      if (before === undefined) delete process.env['TZ'];
      else process.env['TZ'] = before;
    }
  });

  test('complete thousands of attempts', async () => {
    await using plugIn = await PlugInUnderTest.load();
    const account = plugIn.open();
    const ids = Array.from({ length: 5000 }, (_, i) => `msg_${i}`);
    const outcomes = await Promise.all(ids.map((id) => send(account, { id })));
    assert.equal(outcomes.filter(({ kind }) => kind === 'sent').length, ids.length);
    assert.deepEqual(plugIn.logged, []);
  });
});

describe('faults of a plug-in', LIMIT, () => {
  for (const [what, response] of [
    ['throws', /^a fault$/],
    ['throws at once', /^a fault before any promise$/],
    ['throws nothing', /^null$/],
    ['throws what cannot be read', /cannot be read/],
    ['answers nothing', /no outcome/],
    ['answers a function', /could not be cloned/],
  ] as const) {
    test(`an attempt that ${what} has a fault of the provider, and the process goes on`, async () => {
      await using plugIn = await PlugInUnderTest.load();
      const account = plugIn.openOutbound();
      const attempts = createAttempts(systemClock);
      const { adapter } = plugIn;
      const run = async (sent: Sent): Promise<Outcome> => {
        const delivery = deliveryOf(sent);
        const request = { adapter, address: 'ada@example.com', account, delivery };
        return (await runAttempt(attempts, request)).outcome;
      };
      const outcome = await run({ do: what });
      assert.equal(outcome.kind === 'retry' && outcome.reason, 'provider_fault');
      assert.match(outcome.response ?? '', response);
      assert.equal((await run({})).kind, 'sent');
      const causes = plugIn.logged.map(({ details }) => details['cause']);
      // What it returns is judged later, by whoever asked.
      assert.deepEqual(causes, what === 'answers nothing' ? [] : [outcome.response]);
    });
  }

  test('what it throws is in the log once a minute, with the stack and without secrets', async () => {
    const clock = new ManualClock();
    await using plugIn = await PlugInUnderTest.load(clock);
    const account = plugIn.open('first', { password: 'geheim"7' });
    const fault = { do: 'throws with a cause', with: 'geheim"7 of 1' };
    for (let i = 0; i < 3; i++)
      await assert.rejects(send(account, fault), /^Error: cannot send: geheim/);
    assert.equal(plugIn.logged.length, 1);
    const { stack, ...details } = plugIn.logged[0]?.details ?? {};
    assert.deepEqual(details, {
      plugIn: 'email/unruly',
      account: 'first',
      messageId: 'msg_1',
      cause: 'cannot send: *** of 1',
    });
    assert.match(String(stack), /^Error: cannot send: \*\*\* of 1\n +at .*unruly\.ts:\d+/);
    assert.match(String(stack), /\ncaused by: TypeError: the cause \*\*\* of 1\n +at /);
    for (let i = 2; i < 30; i++) await assert.rejects(send(account, { ...fault, with: `${i}` }));
    assert.equal(plugIn.logged.length, 10);
    clock.advance(60_000);
    await assert.rejects(send(account, fault));
    assert.equal(plugIn.logged.length, 11);
  });

  test('what it may not do is told in words that fit', async () => {
    await using plugIn = await PlugInUnderTest.load();
    const account = plugIn.open();
    const secret = join(tmpdir(), 'geheim.txt');
    for (const [what, expected] of [
      [
        'reads',
        `a plug-in may not read ${secret}: it may read its own folder and its packages only`,
      ],
      ['writes', `a plug-in may not write ${secret}: it may write no files`],
      ['starts', 'a plug-in may not start id: it may start no programs'],
      [
        'wraps',
        `not found: a plug-in may not read ${secret}: it may read its own folder and its packages only`,
      ],
    ] as const) {
      const sending = send(account, { do: `${what} and lets it be seen`, with: secret, id: what });
      await assert.rejects(sending, { message: expected });
      const stack = String(plugIn.logged.at(-1)?.details['stack']);
      assert.ok(stack.startsWith(`Error: ${expected}\n`), stack);
      assert.doesNotMatch(stack, /--allow/);
    }
  });

  test('a note is taken as it should be, shortened, or not at all', async () => {
    await using plugIn = await PlugInUnderTest.load();
    const account = plugIn.openOutbound();
    const attempts = createAttempts(systemClock);
    const noteOf = async (note: unknown): Promise<unknown> => {
      const delivery = deliveryOf({ do: 'answers a note', with: JSON.stringify(note) });
      const request = { adapter: plugIn.adapter, address: 'ada@example.com', account, delivery };
      const { outcome } = await runAttempt(attempts, request);
      assert.equal(outcome.kind, 'sent', 'what came of the attempt is not lost');
      return outcome.note;
    };
    const type = 'list_left';
    for (const note of [{ type }, { type, detail: { reason: 'asked', listId: 'a-1' } }])
      assert.deepEqual(await noteOf(note), note);
    assert.deepEqual(await noteOf({ type, detail: { a: 'x'.repeat(5000) }, more: 1 }), {
      type,
      detail: { a: 'x'.repeat(RESPONSE_LIMIT) },
    });
    const texts = (count: number) =>
      Object.fromEntries(Array.from('abcdefghijk'.slice(0, count), (name) => [name, 'x']));
    assert.deepEqual(await noteOf({ type, detail: texts(10) }), { type, detail: texts(10) });
    const details = [null, 'x', { a: 1 }, { a: { b: 'c' } }, { 'a b': 'c' }, texts(11), ['x']];
    const reserved = ['status', 'attempt', 'channel', 'provider', 'durationMs', '__proto__'];
    for (const detail of [...details, ...reserved.map((name) => JSON.parse(`{"${name}":"x"}`))])
      assert.equal(await noteOf({ type, detail }), undefined, JSON.stringify(detail));
    for (const bad of [
      null,
      'edited',
      'delivered',
      'passed_over',
      'a',
      'A_b',
      '',
      `a_${'b'.repeat(40)}`,
      7,
    ])
      assert.equal(await noteOf({ type: bad }), undefined, `${bad}`);
    for (const bad of [null, 'list_left', 7, []]) assert.equal(await noteOf(bad), undefined);
  });

  test('many attempts that each take a moment of the process are no silence', async () => {
    await using plugIn = await PlugInUnderTest.load();
    const account = plugIn.open();
    const what = 'works, then waits for the gate';
    await send(account);
    const working = Array.from({ length: 50 }, (_, i) =>
      send(account, { do: what, with: '20', id: `msg_${i}` }),
    );
    await send(account, { do: 'opens the gate', id: 'msg_gate' });
    for (const outcome of await Promise.all(working)) assert.equal(outcome.kind, 'sent');
    assert.deepEqual(plugIn.logged, []);
  });

  test('a first attempt may load what it needs', async () => {
    await using plugIn = await PlugInUnderTest.load();
    const account = plugIn.open();
    const first = await send(account, { do: 'blocks its process', with: '1000', id: 'msg_1' });
    assert.equal(first.kind, 'sent');
    const later = await send(account, { do: 'blocks its process', with: '1000', id: 'msg_2' });
    assertCrashed(later, /did not answer for 500 ms/);
  });

  test('a process that hangs is ended also when nobody waits for it any more', async () => {
    await using plugIn = await PlugInUnderTest.load();
    const account = plugIn.open();
    const controller = new AbortController();
    const { promise: handedOver, resolve } = Promise.withResolvers<void>();
    const isHeld = () => {
      resolve();
      return false;
    };
    const sending = send(account, { do: 'loops', signal: controller.signal, isHeld });
    await handedOver;
    controller.abort();
    assert.deepEqual(await sending, { kind: 'retry', reason: 'timeout', ambiguous: true });
    await until('the end of the process', () => plugIn.logged.length > 0);
  });

  test('an engine that is held up does not take its own silence for theirs', async () => {
    await using plugIn = await PlugInUnderTest.load();
    const account = plugIn.open();
    const waiting = send(account, { do: 'waits for the gate', id: 'msg_1' });
    await send(account);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1500);
    await send(account, { do: 'opens the gate', id: 'msg_2' });
    assert.equal((await waiting).kind, 'sent');
    assert.deepEqual(plugIn.logged, []);
  });

  test('a delivery that is no plain data has a fault of the provider', async () => {
    await using plugIn = await PlugInUnderTest.load();
    const account = plugIn.open();
    const delivery = { ...deliveryOf({}), address: () => {} } as unknown as Delivery<never>;
    const sending = account.send(delivery, new AbortController().signal);
    await assert.rejects(sending, /cannot be handed to a plug-in/);
    assert.equal((await send(account)).kind, 'sent');
  });

  for (const [what, cause] of [
    ['exits', /ended its process \(3\)/],
    ['exits later', /ended its process \(4\)/],
    ['throws from a timer', /crashed: nobody catches this/],
    ['rejects unseen', /crashed: nobody sees this/],
    ['loops', /did not answer/],
    ['loops later', /did not answer/],
    // Near the limit it may do nothing but collect.
    ['eats memory', /more than 256 MB of memory|did not answer/],
    ['eats buffers', /more than 512 MB of memory|did not answer/],
    ['asks for one huge array', /memory|did not answer|SIG/],
    ['aborts', /was ended by SIGABRT/],
    ['ends by a segmentation fault', /was ended by SIGSEGV/],
    ['kills itself', /was ended by SIGKILL/],
    ['says what is no message', /said what it should not/],
    ['says a huge word', /said what it should not: 2147483648 bytes at once/],
    ['floods the engine', /words without end that nobody asked for/],
  ] as const) {
    test(`an attempt that ${what} has crashed, and the next one is made`, async () => {
      await using plugIn = await PlugInUnderTest.load();
      const account = plugIn.open();
      const before = await processOf(account);
      assertCrashed(await send(account, { do: what, id: 'msg_bad' }), cause);
      const after = await processOf(account);
      assert.notEqual(after, before);
      // Its further attempts are made apart and end nothing that others are in.
      assertCrashed(await send(account, { do: what, id: 'msg_bad' }), cause);
      assert.equal(await processOf(account), after);
      assert.equal(plugIn.logged.length, 2);
      const [line] = plugIn.logged;
      assert.deepEqual(line?.details['accounts'], ['first']);
      assert.match(String(line?.details['cause']), cause);
    });
  }
});

describe('what a plug-in says unasked', LIMIT, () => {
  test('about attempts that are not there is not heeded', async () => {
    await using plugIn = await PlugInUnderTest.load();
    const account = plugIn.open();
    const waiting = send(account, { do: 'waits for the gate', id: 'msg_1' });
    assert.deepEqual(await send(account, { do: 'answers for others', id: 'msg_2' }), {
      kind: 'sent',
      providerMessageId: undefined,
    });
    await send(account, { do: 'opens the gate', id: 'msg_3' });
    assert.equal((await waiting).kind, 'sent');
    assert.deepEqual(plugIn.logged, []);
  });

  test('again about the same attempt is not heeded: the first word counts', async () => {
    await using plugIn = await PlugInUnderTest.load();
    const account = plugIn.open();
    const twice = { do: 'answers twice', with: '1', id: 'msg_1' };
    assert.deepEqual(await send(account, twice), { kind: 'sent', providerMessageId: 'said' });
    assert.equal((await send(account, { id: 'msg_2' })).kind, 'sent');
    assert.deepEqual(plugIn.logged, []);
  });

  test('at length is shortened, and is a fault beyond measure', async () => {
    await using plugIn = await PlugInUnderTest.load();
    const account = plugIn.open();
    const long = await send(account, { do: 'answers at length', id: 'msg_1' });
    assert.equal(long.kind, 'sent');
    assert.ok((long.response?.length ?? 0) >= RESPONSE_LIMIT);
    const beyond = send(account, { do: 'answers beyond measure', id: 'msg_2' });
    await assert.rejects(beyond, /an answer of \d+ bytes is more than the service takes/);
    assert.equal((await send(account, { id: 'msg_3' })).kind, 'sent');
    assert.equal(plugIn.logged.length, 1);
  });

  test('does not fill the memory of the service', async () => {
    await using plugIn = await PlugInUnderTest.load();
    const account = plugIn.open();
    const before = process.memoryUsage.rss();
    let most = before;
    const looking = systemClock.every(5, () => {
      most = Math.max(most, process.memoryUsage.rss());
    });
    for (const what of ['floods the engine', 'says a huge word', 'prints a lot'])
      await send(account, { do: what, id: what });
    looking.cancel();
    assert.ok(most - before < 100 * 1024 * 1024, `${(most - before) / 1024 / 1024} MB more`);
  });

  test('on its output is a line of the log, bounded and without secrets', async () => {
    await using plugIn = await PlugInUnderTest.load();
    const account = plugIn.open('first', { password: 'geheim"7' });
    const text = `${JSON.stringify({ auth: 'geheim"7' })} ${'x'.repeat(5000)}`;
    await send(account, { do: 'prints', with: text });
    await until('both lines', () => plugIn.printed.length === 2);
    const [line] = plugIn.printed;
    assert.equal(line?.details['plugIn'], 'email/unruly');
    assert.match(line?.message ?? '', /^\{"auth":"\*\*\*"\} x+$/);
    assert.equal(line?.message.length, 2000);
    assert.match(plugIn.printed[1]?.message ?? '', /^also \{"auth":"\*\*\*"\}/);
  });

  test('on its output without end is left out, and counted', async () => {
    await using plugIn = await PlugInUnderTest.load();
    const account = plugIn.open();
    await send(account, { do: 'prints a lot' });
    const counted = () =>
      plugIn.printed.filter(({ message }) => /more than is logged/.test(message));
    await until('the count', () => counted().length > 0);
    assert.ok(Number(counted()[0]?.details['lines']) > 0);
    assert.equal((await send(account)).kind, 'sent');
  });
});

describe('what is kept from a plug-in', LIMIT, () => {
  for (const [what, argument, expected] of [
    ['reads a file', '/etc/hostname', 'ERR_ACCESS_DENIED'],
    ['reads a file', `/proc/${process.pid}/environ`, 'ERR_ACCESS_DENIED'],
    ['reads a file', '/proc/self/environ', 'ERR_ACCESS_DENIED'],
    ['lists a folder', tmpdir(), 'ERR_ACCESS_DENIED'],
    ['lists a folder', 'email', 'done: providers'],
    ['writes a file', join(tmpdir(), 'tidings-not-there'), 'ERR_ACCESS_DENIED'],
    ['writes a file', join(COMPILED, 'not-there'), 'ERR_ACCESS_DENIED'],
    ['writes a file', 'email/not-there', 'ERR_ACCESS_DENIED'],
    ['starts a program', '', 'ERR_ACCESS_DENIED'],
    ['starts a thread', '', 'ERR_ACCESS_DENIED'],
    ['signals the service', '', 'a plug-in may not signal other processes'],
    ['signals it by another name', '', 'a plug-in may not signal other processes'],
    ['opens a database', '', 'ERR_UNKNOWN_BUILTIN_MODULE'],
  ] as const) {
    test(`it ${what} ${argument}: ${expected}`, async () => {
      await using plugIn = await PlugInUnderTest.load();
      const outcome = await send(plugIn.open(), { do: what, with: argument });
      assert.equal(outcome.kind === 'sent' && outcome.providerMessageId, expected);
    });
  }

  test('signals that end the service let it end what it has begun', async () => {
    await using plugIn = await PlugInUnderTest.load();
    const account = plugIn.open();
    const ending = send(account, { do: 'waits for the gate', id: 'msg_1' });
    await send(account, { do: 'ignores its end', id: 'msg_2' });
    await account.close?.();
    assert.equal((await ending).kind, 'sent');
    assert.deepEqual(plugIn.logged, []);
  });
});

describe('the first attempt of a process', LIMIT, () => {
  test('that holds it holds up nobody else: they are made in another one', async () => {
    await using plugIn = await PlugInUnderTest.load();
    const account = plugIn.open();
    const order: string[] = [];
    const note = (name: string) => (outcome: Outcome) => {
      order.push(`${name} ${outcome.kind}`);
    };
    const bad = send(account, { do: 'loops', id: 'msg_bad' }).then(note('bad'));
    const good = Array.from({ length: 20 }, (_, i) =>
      send(account, { id: `msg_${i}` }).then(note('good')),
    );
    await Promise.all([bad, ...good]);
    assert.deepEqual(order, [...good.map(() => 'good sent'), 'bad retry']);
    assert.equal(plugIn.logged.length, 1);
    assert.equal(plugIn.logged[0]?.details['underWay'], 1);
  });

  test('that takes its time in another place does not hold up the others either', async () => {
    await using plugIn = await PlugInUnderTest.load();
    const account = plugIn.open();
    const first = send(account, { do: 'waits for the gate', id: 'msg_1' });
    const others = Array.from({ length: 20 }, (_, i) => send(account, { id: `msg_other_${i}` }));
    for (const outcome of await Promise.all(others)) assert.equal(outcome.kind, 'sent');
    await send(account, { do: 'opens the gate', id: 'msg_gate' });
    assert.equal((await first).kind, 'sent');
    assert.deepEqual(plugIn.logged, []);
  });

  test('that comes to an end after all keeps its process, and the others go on there', async () => {
    await using plugIn = await PlugInUnderTest.load();
    const account = plugIn.open();
    const slow = Array.from({ length: 6 }, (_, i) =>
      send(account, { do: 'loads a library on first use', with: '900', id: `msg_${i}` }),
    );
    for (const outcome of await Promise.all(slow)) assert.equal(outcome.kind, 'sent');
    const ids = Array.from({ length: 20 }, (_, i) => processOf(account, `msg_next_${i}`));
    assert.equal(new Set(await Promise.all(ids)).size, 1);
    assert.deepEqual(plugIn.logged, []);
  });
});

describe('neighbours of a message that ends the process', LIMIT, () => {
  for (const what of ['exits', 'exits later', 'throws from a timer', 'rejects unseen', 'loops']) {
    test(`crash with one that ${what} once, and never again`, async () => {
      await using plugIn = await PlugInUnderTest.load();
      const account = plugIn.open();
      const neighbour = send(account, { do: 'waits for the gate', id: 'msg_good' });
      assertCrashed(await send(account, { do: what, id: 'msg_bad' }), /(?<!another message\))$/);
      assertCrashed(await neighbour, /\(with another message\)$/);
      const again = send(account, { do: 'waits for the gate', id: 'msg_good' });
      assertCrashed(await send(account, { do: what, id: 'msg_bad' }), /./);
      await send(account, { do: 'opens the gate', id: 'msg_other' });
      assert.equal((await again).kind, 'sent');
    });
  }

  test('what was not begun goes on in the next process, as if nothing had been', async () => {
    await using plugIn = await PlugInUnderTest.load();
    const account = plugIn.open();
    await send(account);
    const bad = send(account, { do: 'loops', id: 'msg_bad' });
    const after = Array.from({ length: 20 }, (_, i) => send(account, { id: `msg_${i}` }));
    assertCrashed(await bad, /did not answer/);
    for (const outcome of await Promise.all(after)) assert.equal(outcome.kind, 'sent');
  });

  test('where nobody knows who ended it, each that was begun is tried alone', async () => {
    await using plugIn = await PlugInUnderTest.load();
    const account = plugIn.open();
    const good = ['msg_1', 'msg_2', 'msg_3'];
    const first = good.map((id) => send(account, { do: 'waits for the gate', id }));
    first.push(send(account, { do: 'loops later', id: 'msg_bad' }));
    for (const outcome of await Promise.all(first)) assertCrashed(outcome, /did not answer/);
    const second = ['msg_1', 'msg_bad', 'msg_2', 'msg_3'].map((id) =>
      send(account, {
        do: id === 'msg_bad' ? 'loops later' : 'tells its process after a while',
        id,
      }),
    );
    const common = await processOf(account, 'msg_other');
    const [one, bad, two, three] = await Promise.all(second);
    assertCrashed(bad as Outcome, /did not answer/);
    const apart = [one, two, three].map((outcome) =>
      outcome?.kind === 'sent' ? outcome.providerMessageId : undefined,
    );
    assert.ok(!apart.includes(common) && !apart.includes(undefined), `${apart}`);
    // Who has come to an end is no suspect any more.
    assert.equal(await processOf(account, 'msg_1'), common);
  });

  test('one end is one failure for the breaker, however many were under way', async () => {
    await using plugIn = await PlugInUnderTest.load();
    const account = plugIn.openOutbound();
    const attempts = createAttempts(systemClock);
    const run = (sent: Sent) =>
      runAttempt(attempts, {
        adapter: plugIn.adapter,
        address: 'ada@example.com',
        account,
        delivery: deliveryOf(sent),
      });
    const all = Array.from({ length: 50 }, (_, i) =>
      run({ do: 'waits for the gate', id: `msg_${i}` }),
    );
    all.push(run({ do: 'exits', id: 'msg_bad' }));
    for (const { outcome } of await Promise.all(all)) assertCrashed(outcome, /ended its process/);
    assert.equal(account.state, 'closed');
    assert.equal((await run({ id: 'msg_next' })).outcome.kind, 'sent');
  });
});

describe('the time of an attempt', LIMIT, () => {
  const timedOut = () => new DOMException('the attempt took too long', 'TimeoutError');

  test('its end is told to the plug-in, with the reason', async () => {
    await using plugIn = await PlugInUnderTest.load();
    const account = plugIn.open();
    const controller = new AbortController();
    const sending = send(account, { do: 'waits for the signal', signal: controller.signal });
    await send(account);
    controller.abort(timedOut());
    const outcome = await sending;
    assert.equal(outcome.response, 'TimeoutError: the attempt took too long');
  });

  test('is not waited beyond for a plug-in that does not listen', async () => {
    await using plugIn = await PlugInUnderTest.load();
    const account = plugIn.open();
    const controller = new AbortController();
    const sending = send(account, { do: 'never ends', signal: controller.signal });
    await send(account);
    controller.abort(timedOut());
    assert.deepEqual(await sending, { kind: 'retry', reason: 'timeout', ambiguous: true });
  });

  test('is over before it began: the plug-in is not asked', async () => {
    await using plugIn = await PlugInUnderTest.load();
    const account = plugIn.open();
    const outcome = await send(account, { do: 'exits', signal: AbortSignal.abort() });
    assert.deepEqual(outcome, { kind: 'retry', reason: 'aborted' });
    assert.deepEqual(plugIn.logged, []);
  });

  test('who waits for a turn among suspects has not been tried', async () => {
    await using plugIn = await PlugInUnderTest.load();
    const account = plugIn.open();
    const ids = ['msg_1', 'msg_2', 'msg_3'];
    // The first attempt of a process has it for itself.
    await send(account);
    await Promise.all(ids.map((id) => send(account, { do: 'loops later', id })));
    const first = ['msg_1', 'msg_2'].map((id) => send(account, { do: 'never ends', id }));
    const controller = new AbortController();
    const waiting = send(account, { id: 'msg_3', signal: controller.signal });
    controller.abort(timedOut());
    const outcome = await waiting;
    assert.ok(outcome.kind === 'retry' && outcome.untried && outcome.holds === 'message');
    await account.close?.();
    for (const ended of await Promise.all(first)) assert.equal(ended.kind, 'retry');
  });

  test('whether its destination is held by now is told too', async () => {
    await using plugIn = await PlugInUnderTest.load();
    const account = plugIn.open();
    let held = false;
    const sending = send(account, { do: 'waits until it is held', isHeld: () => held });
    await send(account);
    held = true;
    const outcome = await sending;
    assert.ok(outcome.kind === 'retry' && outcome.untried);
  });
});

describe('a plug-in that does not start', LIMIT, () => {
  test('has the cause in each outcome, and goes on once it is well', async () => {
    await using plugIn = await PlugInUnderTest.load();
    plugIn.trouble = 'throws';
    const account = plugIn.open();
    for (let i = 0; i < 3; i++) {
      const outcome = await send(account);
      assert.ok(outcome.kind === 'retry');
      assert.deepEqual([outcome.reason, outcome.ambiguous], ['plug_in_not_started', undefined]);
      assert.match(outcome.response ?? '', /the plug-in is not well/);
    }
    assert.match(plugIn.logged[0]?.message ?? '', /does not start/);
    plugIn.trouble = 'none';
    assert.equal((await send(account)).kind, 'sent');
  });

  test('has a limit to its start', async () => {
    const clock = new ManualClock();
    await using plugIn = await PlugInUnderTest.load(clock);
    plugIn.trouble = 'hangs';
    const account = plugIn.open();
    const sending = send(account);
    clock.advance(5000);
    const outcome = await sending;
    assert.equal(outcome.kind === 'retry' && outcome.reason, 'plug_in_not_started');
    assert.match(outcome.response ?? '', /did not start within/);
  });

  for (const [trouble, cause] of [
    ['loops', /did not start within/],
    ['waits for nothing', /ended its process \(13\)/],
  ] as const) {
    test(`and ${trouble}: is ended, and its end is in the outcome`, async () => {
      const clock = new ManualClock();
      await using plugIn = await PlugInUnderTest.load(clock);
      plugIn.trouble = trouble;
      const sending = send(plugIn.open());
      if (trouble === 'loops') clock.advance(5000);
      assert.match((await sending).response ?? '', cause);
    });
  }

  test('is not waited for beyond the time of the attempt', async () => {
    const clock = new ManualClock();
    await using plugIn = await PlugInUnderTest.load(clock);
    plugIn.trouble = 'hangs';
    const controller = new AbortController();
    const sending = send(plugIn.open(), { signal: controller.signal });
    controller.abort();
    const outcome = await sending;
    assert.equal(outcome.kind === 'retry' && outcome.reason, 'plug_in_not_started');
    assert.match(outcome.response ?? '', /in the time of the attempt/);
  });

  test('ends by itself soon after each start: attempts come to an end, and starts are spread', async () => {
    await using plugIn = await PlugInUnderTest.load();
    plugIn.trouble = 'restless';
    const account = plugIn.open();
    await until('the first end', () => plugIn.logged.length > 0);
    for (let i = 0; i < 3; i++) {
      const outcome = await send(account, { do: 'never ends' });
      assert.ok(outcome.kind === 'retry');
      assert.ok(['crashed', 'plug_in_not_started'].includes(outcome.reason), outcome.reason);
    }
  });
});

describe('the end of a plug-in', LIMIT, () => {
  test('comes before its start, and twice', async () => {
    await using plugIn = await PlugInUnderTest.load();
    const account = plugIn.open();
    const sending = send(account);
    await Promise.all([account.close?.(), account.close?.()]);
    assert.deepEqual(await sending, { kind: 'retry', reason: 'closed' });
    const next = plugIn.open();
    assert.equal((await send(next)).kind, 'sent');
    assert.deepEqual(plugIn.logged, []);
  });

  test('lets it end what is under way, and tells the others that it was closed', async () => {
    await using plugIn = await PlugInUnderTest.load();
    const account = plugIn.open();
    const ending = send(account, { do: 'waits for the gate' });
    const never = send(account, { do: 'never ends' });
    await send(account);
    await account.close?.();
    assert.equal((await ending).kind, 'sent');
    assert.deepEqual(await never, { kind: 'retry', reason: 'closed', ambiguous: true });
  });

  test('is not held up by one that hangs', async () => {
    await using plugIn = await PlugInUnderTest.load();
    const account = plugIn.open();
    const hanging = send(account, { do: 'loops' });
    await account.close?.();
    assert.equal((await hanging).kind, 'retry');
  });

  test('leaves no process', async () => {
    await using plugIn = await PlugInUnderTest.load();
    const account = plugIn.open();
    const outcome = await send(account, { do: 'listens' });
    const port = Number(outcome.kind === 'sent' && outcome.providerMessageId);
    assert.equal(await canConnect(port), true);
    await account.close?.();
    assert.equal(await canConnect(port), false);
  });

  test('is not needed for the end of the process', () => {
    using program = new Program('console.log((await send()).kind);');
    const { status, stdout, stderr } = spawnSync(process.execPath, [program.file], {
      encoding: 'utf8',
      timeout: 20_000,
    });
    assert.deepEqual([status, stdout.trim()], [0, 'sent'], stderr);
  });

  for (const [state, act] of [
    ['waits', 'says so, then waits'],
    ['loops', 'says so, then loops'],
  ] as const) {
    test(`comes with a SIGKILL of the service, also while it ${state}`, async () => {
      using program = new Program(`
        console.log((await send('listens')).providerMessageId);
        send('${act}');
        await new Promise(() => setInterval(() => {}, 1000));
      `);
      const service = spawn(process.execPath, [program.file], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      try {
        const lines = createInterface(service.stdout)[Symbol.asyncIterator]();
        const port = Number((await within(20, 'the port', lines.next())).value);
        assert.equal((await within(20, 'the attempt', lines.next())).value, 'here');
        assert.equal(await canConnect(port), true);
        service.kill('SIGKILL');
        await once(service, 'exit');
        await until('the end of the plug-in', async () => !(await canConnect(port)));
      } finally {
        service.kill('SIGKILL');
      }
    });
  }

  test('comes with the thread that it was opened in', async () => {
    using program = new Program(`
      console.log((await send('listens')).providerMessageId);
      send('says so, then loops');
    `);
    const engine = new Worker(program.file, { stdout: true });
    const lines = createInterface(engine.stdout)[Symbol.asyncIterator]();
    const port = Number((await within(20, 'the port', lines.next())).value);
    assert.equal((await within(20, 'the attempt', lines.next())).value, 'here');
    await engine.terminate();
    await until('the end of the plug-in', async () => !(await canConnect(port)));
  });
});

/** A program in a file of its own that opens an account of the plug-in. */
class Program implements Disposable {
  readonly file: string;
  readonly #folder = mkdtempSync(join(tmpdir(), 'tidings-plug-in-'));

  constructor(body: string) {
    this.file = join(this.#folder, 'program.mjs');
    writeFileSync(
      this.file,
      `
        import { loadCatalog } from ${JSON.stringify(import.meta.resolve('./catalog.ts'))};
        import { systemClock as clock } from ${JSON.stringify(import.meta.resolve('../clock.ts'))};
        const log = { error() {}, warn() {}, info: (_, line) => console.log(line) };
        const provider = (await loadCatalog(${JSON.stringify(PLUG_INS)}, log)).provider('email', 'unruly');
        const account = provider.create({ accountId: 'a', config: {}, clock });
        const send = (what) =>
          account.send({ messageId: what, metadata: { do: what } }, new AbortController().signal);
        ${body}
      `,
    );
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

async function canConnect(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    return await new Promise((resolve) => {
      socket.once('connect', () => resolve(true));
      socket.once('error', () => resolve(false));
    });
  } finally {
    socket.destroy();
  }
}
