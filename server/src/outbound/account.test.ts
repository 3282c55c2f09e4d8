import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../../test/support/manual-clock.ts';
import { captureProvider } from '../adapters/capture.ts';
import type { Delivery } from '../adapters/provider.ts';
import { Account } from './account.ts';

const DELIVERY = {} as Delivery;

test('an account that is left alone lets one message after another look for another way', async () => {
  const clock = new ManualClock();
  const { limits } = captureProvider;
  const definition = {
    id: 'test',
    channel: 'email',
    provider: captureProvider,
    config: {},
    limits,
  };
  const account = new Account(definition, {} as never, clock);
  const before = account.capacity();
  assert.ok(before > 1);
  for (let i = 0; account.state === 'closed'; i++) {
    assert.ok(i < 100, 'the breaker opens');
    assert.equal(account.begin(DELIVERY), 0);
    account.finish(DELIVERY, { kind: 'retry', reason: 'unavailable' });
  }
  assert.deepEqual([account.state, account.capacity()], ['open', 1]);
  assert.ok(account.begin(DELIVERY) > 0, 'nothing is sent');
  clock.advance(account.heldMs(DELIVERY));
  assert.deepEqual([account.state, account.begin(DELIVERY)], ['half_open', 0]);
  account.finish(DELIVERY, { kind: 'sent' });
  assert.deepEqual([account.state, account.capacity()], ['closed', before]);
});
