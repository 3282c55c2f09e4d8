/** Lists of a channel that is gone: on a real store, with the channels that there are. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openNotificationStore } from '../../test/support/notification-store.ts';
import { openTestTemplates } from '../../test/support/templates.ts';
import { loadCatalog } from '../adapters/catalog.ts';
import type { Caller } from '../application/application-store.ts';
import { MemoryHints } from '../cache/memory.ts';
import { systemClock } from '../clock.ts';
import { createDispatcher } from '../dispatch/dispatcher.ts';
import { MemoryQueue } from '../queue/memory.ts';
import { writeBody } from './notification.ts';
import { bodyOf } from './notification-store.conformance.ts';
import { createNotificationService } from './service.ts';

const OWNER: Caller = {
  applicationId: 1,
  application: 'a',
  keyId: 1,
  kind: 'live',
  scopes: ['read'],
};
const OTHER: Caller = { ...OWNER, applicationId: 2, application: 'b' };
const OPERATOR: Caller = { ...OTHER, scopes: ['admin'] };

async function open() {
  const bench = openNotificationStore();
  const templates = openTestTemplates();
  const catalog = await loadCatalog();
  const { store } = bench;
  const service = createNotificationService({
    ...bench,
    templates: templates.service,
    adapters: catalog,
    dispatcher: createDispatcher(new MemoryQueue({ channels: [], claimMs: 1000 })),
    hints: new MemoryHints(),
    clock: systemClock,
    leaseMs: 1000,
    defaultOrder: [],
  });
  return {
    service,
    catalog,
    /** Accepted while the channel was there. */
    async accept(channel: string): Promise<void> {
      const createdAt = Date.now();
      const body = bodyOf({ createdAt, to: { [channel]: '0042@loft' }, routes: [[channel]] });
      const text = writeBody(body);
      const queued = { lane: 1, leaseUntil: createdAt + 1000, claimUntil: null } as const;
      await store.accept({ ...queued, applicationId: 1, body, text, idempotency: null });
    },
    async [Symbol.asyncDispose]() {
      await templates[Symbol.asyncDispose]();
      await bench[Symbol.asyncDispose]();
    },
  };
}

test('a channel that has gone is known to whoever has sent by it', async () => {
  await using bench = await open();
  const { service, catalog } = bench;
  const listed = async (caller: Caller, more: object = {}) => {
    const { applicationId } = caller;
    const filter = { applicationId, channel: 'pigeon', limit: 10, before: null, ...more };
    return (await service.list(caller, filter)).found.map(({ recipient }) => recipient);
  };
  const unknown = {
    code: 'unknown_channel',
    errors: [
      {
        path: 'query.channel',
        message: `is not a channel; channels: ${catalog.channels().join(', ')}`,
      },
    ],
  };
  await assert.rejects(listed(OWNER), unknown);
  await bench.accept('pigeon');
  assert.deepEqual(await listed(OWNER), ['***'], 'what an address shows only its channel knows');
  assert.deepEqual(await listed(OWNER, { status: 'failed' }), [], 'known, though none is found');
  assert.deepEqual(await listed(OPERATOR, { applicationId: null }), ['***']);
  assert.deepEqual(await listed(OPERATOR), [], 'known, though not of that application');
  await assert.rejects(listed(OTHER), unknown);
});
