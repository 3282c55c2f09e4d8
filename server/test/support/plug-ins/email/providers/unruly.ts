/**
 * A plug-in that does to its process whatever the message asks for in `metadata.do`. A file `trouble.txt`
 * beside it makes it fail when it is loaded in a process of its own.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import { serialize } from 'node:v8';
import { Worker } from 'node:worker_threads';
import type {
  Delivery,
  Outcome,
  ProviderAccount,
  ProviderDefinition,
} from '../../../../../src/adapters/provider.ts';

const trouble = new URL('./trouble.txt', import.meta.url);
if (process.argv[1]?.endsWith('plug-in-main.ts') && existsSync(trouble)) {
  const what = readFileSync(trouble, 'utf8');
  if (what === 'throws') throw new Error('the plug-in is not well');
  if (what === 'hangs') await new Promise((resolve) => setTimeout(resolve, 2 ** 30));
  if (what === 'loops') for (;;);
  if (what === 'waits for nothing') await new Promise(() => {});
  if (what === 'restless') setTimeout(() => process.exit(7), 30);
}

const forever = new Promise<never>(() => {});
const sent = (providerMessageId?: string): Outcome => ({ kind: 'sent', providerMessageId });

/** Goes on only when an attempt of the same process opens it. */
let open = (): void => {};
let gate = new Promise<void>((resolve) => {
  open = resolve;
});

let loaded = false;

function blockFor(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

/** Writes to the engine what is none of its business: straight to the pipe. */
function say(message: unknown): void {
  const body = serialize(message);
  const header = Buffer.alloc(4);
  header.writeUInt32LE(body.length);
  write(Buffer.concat([header, body]));
}

function write(bytes: Buffer): void {
  for (let rest = bytes; rest.length > 0; ) rest = rest.subarray(writeSync(4, rest));
}

/** What came of a thing that it should not be able to do. */
function attempted(act: () => unknown): Outcome {
  try {
    return sent(`done: ${act()}`);
  } catch (error) {
    return sent((error as NodeJS.ErrnoException).code ?? (error as Error).message);
  }
}

type Act = (signal: AbortSignal, isHeld: () => boolean, argument: string) => Promise<Outcome>;

const ACTS: Record<string, Act> = {
  'tells its process': async () => sent(String(process.pid)),
  'tells its process after a while': async () => {
    await new Promise((resolve) => setTimeout(resolve, 50));
    return sent(String(process.pid));
  },
  'tells its environment': async () => sent(Object.keys(process.env).sort().join()),
  'tells the local time': async () => sent(String(new Date(2026, 0).getTimezoneOffset())),
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
  'throws with a cause': async (_signal, _isHeld, text) => {
    throw new Error(`cannot send: ${text}`, { cause: new TypeError(`the cause ${text}`) });
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
  'says so, then loops': async () => {
    console.log('here');
    for (;;);
  },
  'says so, then waits': async () => {
    console.log('here');
    return forever;
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
  'eats buffers': async () => {
    const eaten: Buffer[] = [];
    for (;;) {
      eaten.push(Buffer.alloc(2 ** 24, 1));
      await new Promise((resolve) => setImmediate(resolve));
    }
  },
  'asks for one huge array': async () => sent(String(new Array(2e8).fill(1).length)),
  'blocks its process': async (_signal, _isHeld, ms) => {
    blockFor(Number(ms));
    return sent();
  },
  'loads a library on first use': async (_signal, _isHeld, ms) => {
    if (!loaded) blockFor(Number(ms));
    loaded = true;
    return sent();
  },
  aborts: async () => process.abort(),
  'ends by a segmentation fault': async () => {
    process.kill(process.pid, 'SIGSEGV');
    return forever;
  },
  'kills itself': async () => {
    process.kill(process.pid, 'SIGKILL');
    return forever;
  },

  'floods the engine': async () => {
    for (;;) say({ type: 'pong', ping: 0 });
  },
  'answers for others': async () => {
    for (const id of [-1, 2 ** 40, 'x', null, {}]) say({ type: 'outcome', id, outcome: sent('x') });
    for (const message of [null, 7, [], {}, { type: 'ready' }, { type: 'closed', account: 9 }])
      say(message);
    return sent();
  },
  'answers twice': async (_signal, _isHeld, id) => {
    for (let i = 0; i < 2; i++) say({ type: 'outcome', id: Number(id), outcome: sent('said') });
    return sent('returned');
  },
  'says what is no message': async () => {
    write(Buffer.from([5, 0, 0, 0, 1, 2, 3, 4, 5]));
    return forever;
  },
  'says a huge word': async () => {
    const header = Buffer.alloc(4);
    header.writeUInt32LE(2 ** 31);
    write(header);
    for (;;) write(Buffer.alloc(2 ** 16));
  },
  'answers at length': async () => ({ kind: 'sent', response: 'x'.repeat(5e6) }),
  'answers beyond measure': async () => sent('x'.repeat(5e6)),

  'reads a file': async (_signal, _isHeld, path) => attempted(() => readFileSync(path, 'utf8')),
  'lists a folder': async (_signal, _isHeld, path) => attempted(() => readdirSync(path)),
  'writes a file': async (_signal, _isHeld, path) => attempted(() => writeFileSync(path, 'x')),
  'reads and lets it be seen': async (_signal, _isHeld, path) => sent(readFileSync(path, 'utf8')),
  'writes and lets it be seen': async (_signal, _isHeld, path) =>
    sent(`${writeFileSync(path, '')}`),
  'starts and lets it be seen': async () => sent(String(spawnSync('id').pid)),
  'wraps and lets it be seen': async (_signal, _isHeld, path) => {
    try {
      return sent(readFileSync(path, 'utf8'));
    } catch (cause) {
      throw new Error(`not found: ${(cause as Error).message}`, { cause });
    }
  },
  'starts a program': async () =>
    attempted(() => {
      const { error, stdout } = spawnSync('id', { encoding: 'utf8' });
      if (error) throw error;
      return stdout;
    }),
  'starts a thread': async () => attempted(() => new Worker('', { eval: true })),
  'signals the service': async () => attempted(() => process.kill(process.ppid, 'SIGTERM')),
  'signals it by another name': async () =>
    attempted(() =>
      (process as unknown as typeof process & { _kill(pid: number, signal: number): void })._kill(
        process.ppid,
        15,
      ),
    ),
  'opens a database': async () => attempted(() => createRequire(import.meta.url)('node:sqlite')),
  'ignores its end': async () => {
    process.emit('SIGTERM', 'SIGTERM');
    process.kill(process.pid, 'SIGTERM');
    return sent();
  },
  prints: async (_signal, _isHeld, text) => {
    console.log(text);
    console.error(`also ${text}`);
    return sent();
  },
  'prints a lot': async () => {
    for (let i = 0; i < 5000; i++) console.log(`line ${i} ${'x'.repeat(5000)}`.slice(0, 30 + i));
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
      password: { type: 'string', description: 'Kept out of the log.' },
      refuses: { type: 'boolean', description: 'Asks for a service when it is opened.' },
    },
    additionalProperties: false,
  },
  secrets: ['password'],
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
