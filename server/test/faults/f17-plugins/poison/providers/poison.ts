/** Does to its process what the address says: everything a bad plug-in could. */
import { Type } from '@tidings/contracts/schema';
import {
  type Delivery,
  defineProvider,
  type Outcome,
} from '../../../../../src/adapters/provider.ts';

const POISONS: Record<string, () => Promise<Outcome>> = {
  ok: async () => ({ kind: 'sent' }),
  // As long as a vendor takes to answer: it may be under way when another one ends the process.
  waits: async () => {
    await new Promise((resolve) => setTimeout(resolve, 50));
    return { kind: 'sent' };
  },
  throws: async () => {
    throw new Error('a fault of the plug-in');
  },
  'throws-at-once': () => {
    throw new Error('a fault of the plug-in, before any promise');
  },
  garbage: async () => undefined as unknown as Outcome,
  'half-garbage': async () => ({ kind: 'retry', reason: 'later', retryAfterMs: Number.NaN }),
  exits: async () => process.exit(3),
  crashes: async () => {
    setImmediate(() => {
      throw new Error('nobody catches this');
    });
    return new Promise(() => {});
  },
  aborts: async () => process.abort(),
  'segmentation-fault': async () => {
    process.kill(process.pid, 'SIGSEGV');
    return new Promise(() => {});
  },
  loops: async () => {
    for (;;);
  },
  'loops-later': async () => {
    await null;
    for (;;);
  },
  'eats-memory': async () => {
    const eaten: number[][] = [];
    for (;;) eaten.push(new Array(10_000).fill(Math.random()));
  },
  'eats-buffers': async () => {
    const eaten: Buffer[] = [];
    for (;;) {
      eaten.push(Buffer.alloc(2 ** 24, 1));
      await new Promise((resolve) => setImmediate(resolve));
    }
  },
};

export default defineProvider({
  name: 'poison',
  title: 'Poison',
  documentation: 'https://example.com',
  configSchema: Type.Object({}, { additionalProperties: false }),
  secrets: [],
  automatic: true,
  capabilities: { receipts: false, idempotency: false },
  // So few places that one which is never given back is missed soon.
  limits: { concurrency: 2, ratePerSecond: null, timeoutMs: 5000 },
  // Each kind of fault is a destination of its own, so that no breaker hides one behind another.
  destination: (delivery: Delivery<never>) => String(delivery.address),
  create: () => ({
    send: (delivery: Delivery<never>) =>
      (POISONS[String(delivery.address)] as () => Promise<Outcome>)(),
  }),
});
