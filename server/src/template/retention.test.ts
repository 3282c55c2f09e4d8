import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  emailTemplate,
  openTestTemplates,
  type TestTemplates,
} from '../../test/support/templates.ts';
import { until } from '../../test/support/within.ts';
import { systemClock } from '../clock.ts';
import { ServiceError } from '../errors.ts';
import { runLifecycleConformance } from '../lifecycle.conformance.ts';
import { createTemplateRetention, GRACE_MS, PASS_MS } from './retention.ts';

const ONE = 1;

runLifecycleConformance('template retention', () =>
  createTemplateRetention({
    store: { deletions: async () => [], forget: async () => false },
    isNamed: async () => false,
    clock: systemClock,
  }),
);

type IsNamed = (applicationId: number, key: string, to: number) => Promise<boolean>;

/** Runs over a real store until the test is done. */
async function retaining(opened: TestTemplates, isNamed: IsNamed) {
  const { store, clock } = opened;
  const retention = createTemplateRetention({ store, isNamed, clock });
  await retention.start();
  return {
    /** The passes that begin within so long have ended: the next one is waited for. */
    async pass(ms: number): Promise<void> {
      assert.equal(clock.timers, 1);
      clock.advance(ms);
      await until('the end of the pass', () => clock.timers === 1);
    },
    stop: () => retention.stop(),
    [Symbol.asyncDispose]: () => retention.stop(),
  };
}

async function deleted({ service }: TestTemplates, key: string, versions = 1): Promise<void> {
  await service.create(ONE, emailTemplate(key, { publish: true }));
  const { key: _, ...version } = emailTemplate(key, { publish: true });
  for (let i = 1; i < versions; i++) await service.addVersion(ONE, key, version);
  await service.delete(ONE, key);
}

describe('template retention', () => {
  it('removes versions once no message names them, however many they are', async () => {
    await using opened = openTestTemplates();
    const { store, clock } = opened;
    const named = new Set(['sent']);
    const asked: [application: number, key: string, to: number][] = [];
    await using retention = await retaining(opened, async (...question) => {
      asked.push(question);
      return named.has(question[1]);
    });
    await deleted(opened, 'sent');
    await deleted(opened, 'unused', 25);
    const deletedAt = clock.now();
    await retention.pass(PASS_MS);
    assert.deepEqual(
      asked,
      [],
      'a message that was accepted beside the deletion may be on its way',
    );
    assert.ok(store.published(ONE, 'unused', 1));

    await retention.pass(GRACE_MS);
    await retention.pass(PASS_MS);
    assert.deepEqual(
      new Set(asked.map(String)),
      new Set([`${ONE},sent,${deletedAt + GRACE_MS}`, `${ONE},unused,${deletedAt + GRACE_MS}`]),
    );
    for (const version of [1, 10, 11, 25])
      assert.equal(store.published(ONE, 'unused', version), undefined);
    assert.ok(store.published(ONE, 'sent', 1));

    named.clear();
    await retention.pass(PASS_MS);
    assert.equal(store.published(ONE, 'sent', 1), undefined);
    assert.deepEqual(await store.deletions({ before: clock.now(), after: null, limit: 9 }), []);
  });

  it('goes on past what has to stay, page by page', async () => {
    await using opened = openTestTemplates();
    const { store } = opened;
    for (let i = 0; i < 45; i++) await deleted(opened, `${i < 42 ? 'stays' : 'goes'}-${i}`);
    await using retention = await retaining(opened, async (_, key) => key.startsWith('stays'));
    await retention.pass(GRACE_MS);
    await retention.pass(PASS_MS);
    assert.ok(store.published(ONE, 'goes-42', 1), 'a page at a time');
    while (store.published(ONE, 'goes-44', 1)) await retention.pass(1000);
    assert.deepEqual(
      [41, 42, 43, 44].map((i) => !store.published(ONE, `${i < 42 ? 'stays' : 'goes'}-${i}`, 1)),
      [false, true, true, true],
    );
  });

  it('keeps everything while it cannot be known, and tries again', async () => {
    await using opened = openTestTemplates();
    const { store } = opened;
    let away = true;
    await using retention = await retaining(opened, async () => {
      if (away) throw new ServiceError('store_unavailable');
      return false;
    });
    await deleted(opened, 'a');
    await retention.pass(GRACE_MS);
    await retention.pass(PASS_MS);
    assert.ok(store.published(ONE, 'a', 1));
    away = false;
    await retention.pass(PASS_MS);
    assert.equal(store.published(ONE, 'a', 1), undefined);
  });

  it('leaves a later template of the key alone', async () => {
    await using opened = openTestTemplates();
    const { store, service } = opened;
    await using retention = await retaining(opened, async () => false);
    await deleted(opened, 'a');
    await service.create(ONE, emailTemplate('a', { publish: true }));
    await retention.pass(GRACE_MS);
    await retention.pass(PASS_MS);
    assert.equal(store.published(ONE, 'a', 1), undefined);
    assert.equal(service.resolve(ONE, { key: 'a', version: null }).version, 2);
  });

  it('begins nothing after it was stopped in the middle of a look', async () => {
    await using opened = openTestTemplates();
    const { store, clock } = opened;
    const look = Promise.withResolvers<boolean>();
    const looking = Promise.withResolvers<void>();
    await using retention = await retaining(opened, () => {
      looking.resolve();
      return look.promise;
    });
    await deleted(opened, 'a');
    await retention.pass(GRACE_MS);
    clock.advance(PASS_MS);
    await looking.promise;
    await retention.stop();
    look.resolve(false);
    await look.promise;
    await new Promise((resolve) => setImmediate(resolve));
    assert.ok(store.published(ONE, 'a', 1));
    assert.equal(clock.timers, 0);
  });
});
