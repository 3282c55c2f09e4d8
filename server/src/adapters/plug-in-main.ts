/**
 * Entry of a plug-in's process: loads the plug-in's file, opens its accounts and makes the attempts it
 * is told to. It decides nothing about outcomes and never restarts anything: when it ends, the
 * engine's side (plug-in-process.ts) knows from the marks what was begun and by whom it was ended.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { writeSync } from 'node:fs';
import { Socket } from 'node:net';
import { systemClock } from '../clock.ts';
import { loadDefinition } from './catalog.ts';
import { faultTextOf, stackOf } from './plug-in-fault.ts';
import { forbid, startGuard } from './plug-in-guard.ts';
import {
  BEGUN,
  BLAMED,
  FRAME_LIMIT,
  FROM_ENGINE,
  FrameReader,
  type FromPlugIn,
  frameOf,
  MARK_BYTES,
  MARKS_FILE,
  TO_ENGINE,
  type ToPlugIn,
} from './plug-in-protocol.ts';
import { MEMORY_LIMIT_MB } from './plug-in-spawn.ts';
import type { Outcome, ProviderAccount, ProviderDefinition, ProviderServices } from './provider.ts';

/** Of an answer that is too large with the vendor's whole words in it. */
const LONG_RESPONSE = 32 * 1024;

/** The attempt that code belongs to, also after its awaits and in its timers. */
const current = new AsyncLocalStorage<number>();
const accounts = new Map<number, ProviderAccount>();
const underWay = new Map<number, { controller: AbortController; held: boolean }>();
const marks = new BigInt64Array(2);
/** Said, and not yet written. */
let unwritten: Buffer[] = [];

startGuard(MEMORY_LIMIT_MB * 1024 * 1024);
forbid();
process.on('exit', () => {
  blame();
  write();
});
process.on('uncaughtExceptionMonitor', (error) => {
  blame();
  say({ type: 'crashed', text: faultTextOf(error) });
  write();
});
// The service ends it; who ends the service sends these to all that belong to it.
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.on(signal, () => {});

const provider = (await loadDefinition(process.argv[2] as string)) as ProviderDefinition;
const frames = new FrameReader();
new Socket({ fd: FROM_ENGINE, readable: true, writable: false })
  .on('data', (chunk: Buffer) => {
    for (const message of frames.read(chunk)) receive(message as ToPlugIn);
  })
  .on('error', () => {})
  .on('close', () => process.exit());
say({ type: 'ready' });

/** What is said in one go is written in one go. */
function say(message: FromPlugIn): void {
  const frame = frameOf(message);
  if (frame.length > FRAME_LIMIT)
    throw new Error(`an answer of ${frame.length} bytes is more than the service takes`);
  if (unwritten.push(frame) === 1) queueMicrotask(write);
}

/** Returns when the pipe has taken it, so that it is not lost by any end. Who floods the engine waits here. */
function write(): void {
  let rest = unwritten.length === 1 ? (unwritten[0] as Buffer) : Buffer.concat(unwritten);
  unwritten = [];
  while (rest.length > 0) rest = rest.subarray(writeSync(TO_ENGINE, rest));
}

function mark(position: typeof BEGUN | typeof BLAMED, count = 1): void {
  writeSync(MARKS_FILE, marks, position * MARK_BYTES, count * MARK_BYTES, position * MARK_BYTES);
}

function receive(message: ToPlugIn): void {
  switch (message.type) {
    case 'open':
      open(message);
      break;
    case 'close':
      void close(message.account);
      break;
    case 'send':
      void send(message);
      break;
    case 'abort':
      abort(message);
      break;
    case 'held':
      hold(message);
      break;
    case 'ping':
      // Not before what the attempts ahead of it do without waiting for anything.
      setImmediate(say, { type: 'pong', ping: message.ping } satisfies FromPlugIn);
  }
}

function open({ account, accountId, config }: ToPlugIn & { type: 'open' }): void {
  try {
    const opened = provider.create({
      accountId,
      config: config as never,
      services: NO_SERVICES,
      clock: systemClock,
    });
    accounts.set(account, opened);
  } catch (error) {
    accounts.set(account, { send: () => Promise.reject(error) });
    say({ type: 'refused', account, text: faultTextOf(error), stack: stackOf(error) });
  }
}

async function close(account: number): Promise<void> {
  try {
    await accounts.get(account)?.close?.();
  } catch {
    // It ends with its process.
  }
  // What its attempts have come to by that is said first.
  await new Promise((resolve) => setImmediate(resolve));
  accounts.delete(account);
  say({ type: 'closed', account });
}

async function send(message: ToPlugIn & { type: 'send' }): Promise<void> {
  const { id, account, delivery } = message;
  const attempt = { controller: new AbortController(), held: message.held };
  underWay.set(id, attempt);
  marks[BEGUN] = marks[BLAMED] = BigInt(id);
  mark(BEGUN, 2);
  const answer = current.run(
    id,
    async (): Promise<Outcome> =>
      (accounts.get(account) as ProviderAccount).send(
        delivery,
        attempt.controller.signal,
        () => attempt.held,
      ),
  );
  marks[BLAMED] = 0n;
  mark(BLAMED);
  try {
    sayOutcome(id, await answer);
  } catch (error) {
    say({ type: 'fault', id, text: faultTextOf(error), stack: stackOf(error) });
  }
  underWay.delete(id);
}

/** What came of an attempt is not lost because somebody told a long story about it. */
function sayOutcome(id: number, outcome: Outcome): void {
  const { response } = outcome ?? {};
  const short =
    typeof response === 'string' && response.length > LONG_RESPONSE
      ? { ...outcome, response: response.slice(0, LONG_RESPONSE) }
      : outcome;
  say({ type: 'outcome', id, outcome: short });
}

function abort({ id, name, message }: ToPlugIn & { type: 'abort' }): void {
  const attempt = underWay.get(id);
  underWay.delete(id);
  current.run(id, () => attempt?.controller.abort(new DOMException(message, name)));
}

function hold({ id, held }: ToPlugIn & { type: 'held' }): void {
  const attempt = underWay.get(id);
  if (attempt) attempt.held = held;
}

function blame(): void {
  const id = current.getStore();
  if (id === undefined) return;
  marks[BLAMED] = BigInt(id);
  mark(BLAMED);
}

const NO_SERVICES = new Proxy({} as ProviderServices, {
  get(_, name) {
    if (typeof name === 'symbol') return undefined;
    throw new Error(`services.${name} is for built-in channels: a plug-in has no services`);
  },
});
