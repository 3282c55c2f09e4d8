/**
 * Entry of a plug-in's thread: loads the plug-in's file, opens its accounts and makes the attempts it
 * is told to. It decides nothing about outcomes and never restarts anything: when it ends, the
 * engine's side (plug-in-worker.ts) knows from the marks what was begun and by whom it was ended.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { parentPort, workerData } from 'node:worker_threads';
import { systemClock } from '../clock.ts';
import { loadDefinition } from './catalog.ts';
import {
  BEGUN,
  BLAMED,
  type FromPlugIn,
  GIVEN_UP,
  type PlugInThreadData,
  type ToPlugIn,
  textOf,
} from './plug-in-protocol.ts';
import type { Outcome, ProviderAccount, ProviderDefinition, ProviderServices } from './provider.ts';

const engine = parentPort;
if (!engine) throw new Error('this file is the entry of a worker thread');
const data = workerData as PlugInThreadData;
const marks = new BigInt64Array(data.marks);

/** The attempt that code belongs to, also after its awaits and in its timers. */
const current = new AsyncLocalStorage<number>();
process.on('exit', blame);
process.on('uncaughtExceptionMonitor', blame);

const accounts = new Map<number, ProviderAccount>();
const underWay = new Map<number, { controller: AbortController; held: boolean }>();

const provider = (await loadDefinition(data.file)) as ProviderDefinition;
engine.on('message', receive);
say({ type: 'ready' });

function say(message: FromPlugIn): void {
  engine?.postMessage(message);
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
      say({ type: 'pong', ping: message.ping });
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
    say({ type: 'refused', account, text: textOf(error) });
  }
}

async function close(account: number): Promise<void> {
  try {
    await accounts.get(account)?.close?.();
  } catch {
    // It ends with its thread.
  }
  // What its attempts have come to by that is said first.
  await new Promise((resolve) => setImmediate(resolve));
  accounts.delete(account);
  say({ type: 'closed', account });
}

async function send(message: ToPlugIn & { type: 'send' }): Promise<void> {
  const { id, account, delivery } = message;
  Atomics.store(marks, BEGUN, BigInt(id));
  // In this order on both sides: either the engine sees that it was begun, or it is not begun.
  if (Atomics.load(marks, GIVEN_UP) !== 0n) return;
  const attempt = { controller: new AbortController(), held: message.held };
  underWay.set(id, attempt);
  Atomics.store(marks, BLAMED, BigInt(id));
  const answer = current.run(
    id,
    async (): Promise<Outcome> =>
      (accounts.get(account) as ProviderAccount).send(
        delivery,
        attempt.controller.signal,
        () => attempt.held,
      ),
  );
  Atomics.store(marks, BLAMED, 0n);
  try {
    say({ type: 'outcome', id, outcome: await answer });
  } catch (error) {
    say({ type: 'fault', id, text: textOf(error) });
  }
  underWay.delete(id);
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
  if (id !== undefined) Atomics.store(marks, BLAMED, BigInt(id));
}

const NO_SERVICES = new Proxy({} as ProviderServices, {
  get(_, name) {
    if (typeof name === 'symbol') return undefined;
    throw new Error(`services.${name} is for built-in channels: a plug-in has no services`);
  },
});
