/** How often one remote address may try. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../../test/support/manual-clock.ts';
import { AttemptLimiter } from './attempt-limiter.ts';

function limiter(change: { limit?: number; capacity?: number } = {}) {
  const clock = new ManualClock();
  const options = { clock, limit: 3, windowMs: 60_000, capacity: 100, ...change };
  return { clock, limiter: new AttemptLimiter(options) };
}

test('an address has so many attempts, and new ones when its window has ended', () => {
  const { clock, limiter: attempts } = limiter();
  for (let i = 0; i < 3; i++) assert.equal(attempts.take('192.0.2.1'), undefined);
  clock.advance(20_000);
  assert.equal(attempts.take('192.0.2.1'), 40_000);
  assert.equal(attempts.take('192.0.2.2'), undefined);
  clock.advance(39_999);
  assert.equal(attempts.take('192.0.2.1'), 1);
  clock.advance(1);
  for (let i = 0; i < 3; i++) assert.equal(attempts.take('192.0.2.1'), undefined);
  assert.equal(attempts.take('192.0.2.1'), 60_000);
});

test('the addresses of one IPv6 network share their attempts, and IPv4 in IPv6 is IPv4', () => {
  const { limiter: attempts } = limiter({ limit: 1 });
  assert.equal(attempts.take('2001:db8:1:2::1'), undefined);
  assert.ok(attempts.take('2001:db8:1:2:ffff::9'));
  assert.equal(attempts.take('2001:db8:1:3::1'), undefined);
  assert.equal(attempts.take('192.0.2.1'), undefined);
  assert.ok(attempts.take('::ffff:192.0.2.1'));
  assert.equal(attempts.take('not an address'), undefined);
  assert.ok(attempts.take('not an address'));
});

test('memory is bounded: past the capacity the first is forgotten', () => {
  const { limiter: attempts } = limiter({ limit: 1, capacity: 3 });
  for (const address of ['192.0.2.1', '192.0.2.2', '192.0.2.3', '192.0.2.4']) {
    assert.equal(attempts.take(address), undefined);
  }
  assert.ok(attempts.take('192.0.2.4'));
  assert.ok(attempts.take('192.0.2.2'));
  assert.equal(attempts.take('192.0.2.1'), undefined);
});
