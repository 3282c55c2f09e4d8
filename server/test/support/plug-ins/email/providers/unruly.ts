/**
 * A plug-in that does to its thread whatever the message asks for in `metadata.do`. A file `trouble.txt`
 * beside it makes it fail when it is loaded in a thread of its own.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { isMainThread, threadId } from 'node:worker_threads';
import type {
  Delivery,
  Outcome,
  ProviderAccount,
  ProviderDefinition,
} from '../../../../../src/adapters/provider.ts';

const trouble = new URL('./trouble.txt', import.meta.url);
if (!isMainThread && existsSync(trouble)) {
  const what = readFileSync(trouble, 'utf8');
  if (what === 'throws') throw new Error('the plug-in is not well');
  if (what === 'hangs') await new Promise((resolve) => setTimeout(resolve, 2 ** 30));
  if (what === 'restless') setTimeout(() => process.exit(7), 30);
}

const forever = new Promise<never>(() => {});
const sent = (providerMessageId?: string): Outcome => ({ kind: 'sent', providerMessageId });

/** Goes on only when an attempt of the same thread opens it. */
let open = (): void => {};
let gate = new Promise<void>((resolve) => {
  open = resolve;
});

function blockFor(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

type Act = (signal: AbortSignal, isHeld: () => boolean, argument: string) => Promise<Outcome>;

const ACTS: Record<string, Act> = {
  'tells its thread': async () => sent(String(threadId)),
  'tells its thread after a while': async () => {
    await new Promise((resolve) => setTimeout(resolve, 50));
    return sent(String(threadId));
  },
  'tells its environment': async () => sent(Object.keys(process.env).sort().join()),
  'says no': async () => ({
    kind: 'rejected',
    reason: 'mailbox_full',
    scope: 'recipient',
    response: '552 full',
  }),
  'waits for the gate': async () => {
    await gate;
    return sent();
  },
  'works, then waits for the gate': async (_signal, _isHeld, ms) => {
    blockFor(Number(ms));
    await gate;
    return sent();
  },
  'opens the gate': async () => {
    open();
    gate = new Promise((resolve) => {
      open = resolve;
    });
    return sent();
  },
  'waits for the signal': (signal) =>
    new Promise((resolve) => {
      signal.addEventListener('abort', () =>
        resolve({ kind: 'retry', reason: 'timeout', response: String(signal.reason) }),
      );
    }),
  'never ends': () => forever,
  'waits until it is held': async (_signal, isHeld) => {
    while (!isHeld()) await new Promise((resolve) => setTimeout(resolve, 5));
    return { kind: 'retry', reason: 'waiting_for_provider', holds: 'message', untried: true };
  },
  listens: async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return sent(String((server.address() as { port: number }).port));
  },

  throws: async () => {
    throw new Error('a fault');
  },
  'throws at once': () => {
    throw new Error('a fault before any promise');
  },
  'throws nothing': () => Promise.reject(null),
  'throws what cannot be read': () =>
    Promise.reject({
      get message() {
        throw new Error('no');
      },
    }),
  'answers nothing': async () => undefined as unknown as Outcome,
  'answers a function': async () => ({ kind: 'sent', response: () => {} }) as unknown as Outcome,

  'answers a note': async (_signal, _isHeld, note) => ({ kind: 'sent', note: JSON.parse(note) }),

  exits: async () => process.exit(3),
  'exits later': async () => {
    await new Promise((resolve) => setTimeout(resolve, 5));
    process.exit(4);
  },
  'throws from a timer': () => {
    setTimeout(() => {
      throw new Error('nobody catches this');
    }, 1);
    return forever;
  },
  'rejects unseen': () => {
    void Promise.reject(new Error('nobody sees this'));
    return forever;
  },
  loops: async () => {
    for (;;);
  },
  'loops later': async () => {
    await null;
    for (;;);
  },
  'eats memory': async () => {
    const eaten: number[][] = [];
    for (;;) {
      eaten.push(new Array(10_000).fill(Math.random()));
      // It answers all the while.
      await new Promise((resolve) => setImmediate(resolve));
    }
  },
  'blocks its thread': async (_signal, _isHeld, seconds) => {
    spawnSync('sleep', [seconds]);
    return sent();
  },
};

function openAccount(accountId: string): ProviderAccount {
  return {
    send(delivery: Delivery<never>, signal, isHeld = () => false) {
      const { do: what = '', with: argument = '' } = delivery.metadata;
      const act = ACTS[what];
      return act ? act(signal, isHeld, argument) : Promise.resolve(sent(accountId));
    },
    async close() {
      open();
    },
  };
}

const definition: ProviderDefinition = {
  name: 'unruly',
  title: 'Unruly',
  documentation: 'https://example.com',
  configSchema: {
    type: 'object',
    properties: {
      refuses: { type: 'boolean', description: 'Asks for a service when it is opened.' },
    },
    additionalProperties: false,
  },
  secrets: [],
  automatic: false,
  capabilities: { receipts: false, idempotency: true },
  limits: { concurrency: 200, ratePerSecond: null, timeoutMs: 5000 },
  create({ accountId, config, services }) {
    const { refuses } = config as { refuses?: boolean };
    if (refuses) void services.inbox;
    return openAccount(accountId);
  },
};

export default definition;
