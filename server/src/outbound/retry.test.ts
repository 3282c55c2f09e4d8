import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { Outcome } from '../adapters/provider.ts';
import {
  type AttemptState,
  decide,
  maxAttempts,
  nextChannel,
  STEP_ON_MS,
  waitsUntil,
} from './retry.ts';

const policy = { delaysMs: [5_000, 60_000, 600_000], jitter: 0.2 };
const NOW = 1_000_000;
const context = { now: NOW, random: 0, receipts: false };
const first: AttemptState = { attempt: 1, attemptsBefore: 0, step: 0, steps: 1, expiresAt: null };
const retry: Outcome = { kind: 'retry', reason: 'timeout' };

describe('retry', () => {
  it('ends a message that was sent as delivered, unless a receipt is to come', () => {
    const sent: Outcome = { kind: 'sent' };
    assert.equal(decide(sent, first, policy, context).status, 'delivered');
    assert.equal(decide(sent, first, policy, { ...context, receipts: true }).status, 'sent');
  });

  it('waits longer after each attempt, by the schedule and the jitter', () => {
    assert.equal(decide(retry, first, policy, context).nextAt, NOW + 5_000);
    assert.equal(decide(retry, { ...first, attempt: 2 }, policy, context).nextAt, NOW + 60_000);
    assert.equal(decide(retry, first, policy, { ...context, random: 0.5 }).nextAt, NOW + 5_500);
  });

  it('never comes back before the time a vendor asked for', () => {
    const asked: Outcome = { kind: 'retry', reason: 'limited', retryAfterMs: 120_000 };
    assert.equal(decide(asked, first, policy, context).nextAt, NOW + 120_000);
    const short: Outcome = { kind: 'retry', reason: 'limited', retryAfterMs: 1 };
    assert.equal(decide(short, first, policy, context).nextAt, NOW + 5_000);
  });

  it('does not make a message wait for what another one did', () => {
    const beside: Outcome = { kind: 'retry', reason: 'crashed', soon: true };
    assert.equal(decide(beside, first, policy, context).nextAt, NOW + 100);
    assert.equal(decide(beside, { ...first, attempt: 3 }, policy, context).nextAt, NOW + 100);
    const last = { ...first, attempt: maxAttempts(policy) };
    assert.equal(decide(beside, last, policy, context).status, 'failed');
    const quick = { ...policy, delaysMs: [10] };
    assert.equal(decide(beside, first, quick, context).nextAt, NOW + 10);
  });

  it('waits for a vendor that is left alone as long as the attempts would have taken', () => {
    const long = { delaysMs: [3_600_000, 7_200_000], jitter: 0 };
    const hours = (state: Partial<AttemptState> = {}, of = long) =>
      (waitsUntil({ ...first, ...state }, of, NOW) - NOW) / 3_600_000;
    assert.deepEqual([hours(), hours({ step: 1, steps: 2 })], [3, 6]);
    assert.equal(hours({}, policy), 1);
    assert.equal(hours({ attemptsBefore: 4 }), Number.POSITIVE_INFINITY, 'driven again');
  });

  it('waits but a moment where another channel is left', () => {
    const wait = (state: Partial<AttemptState>, of: Parameters<typeof waitsUntil>[1] = policy) =>
      waitsUntil({ ...first, ...state }, of, NOW) - NOW;
    assert.deepEqual(
      [wait({ steps: 2 }), wait({ step: 1, steps: 3 })],
      [STEP_ON_MS, 2 * STEP_ON_MS],
    );
    assert.equal(wait({ steps: 2 }, { ...policy, stepOnMs: 5 }), 5);
    assert.equal(wait({ step: 1, steps: 2 }, { ...policy, stepOnMs: 5 }), 2 * 3_600_000);
  });

  it('fails after the last attempt, with the reason of that attempt', () => {
    const last = decide(retry, { ...first, attempt: maxAttempts(policy) }, policy, context);
    assert.deepEqual([last.status, last.nextAt, last.reason], ['failed', null, 'timeout']);
  });

  it('goes on with the next channel, with all its attempts', () => {
    const state = { ...first, attempt: maxAttempts(policy), steps: 2 };
    const next = decide(retry, state, policy, context);
    assert.deepEqual(
      [next.status, next.step, next.nextAt, next.attemptsBefore],
      ['accepted', 1, NOW, 4],
    );
    const again = decide(
      retry,
      { ...state, attempt: 5, attemptsBefore: 4, step: 1 },
      policy,
      context,
    );
    assert.equal(again.nextAt, NOW + 5_000);
  });

  it('does not try again what was refused for good', () => {
    for (const scope of ['recipient', 'content'] as const) {
      const refused: Outcome = { kind: 'rejected', reason: 'no_such_user', scope };
      assert.equal(decide(refused, first, policy, context).status, 'failed');
      assert.equal(decide(refused, { ...first, steps: 2 }, policy, context).step, 1);
    }
  });

  it('keeps trying while an operator may mend the configuration', () => {
    const refused: Outcome = { kind: 'rejected', reason: 'bad_password', scope: 'config' };
    assert.equal(decide(refused, first, policy, context).nextAt, NOW + 5_000);
  });

  it('looks again no later than the message expires', () => {
    const decision = decide(retry, { ...first, expiresAt: NOW + 1_000 }, policy, context);
    assert.deepEqual([decision.status, decision.nextAt], ['accepted', NOW + 1_000]);
  });

  it('always either ends or moves on in time', () => {
    const outcomes = fc.constantFrom<Outcome>(
      { kind: 'sent' },
      retry,
      { kind: 'retry', reason: 'r', retryAfterMs: 99 },
      { kind: 'rejected', reason: 'r', scope: 'recipient' },
      { kind: 'rejected', reason: 'r', scope: 'config' },
    );
    fc.assert(
      fc.property(
        outcomes,
        fc.nat(20),
        fc.nat(20),
        fc.nat(4),
        fc.integer({ min: 1, max: 5 }),
        fc.double({ min: 0, max: 0.999, noNaN: true }),
        (outcome, made, before, step, steps, random) => {
          const state = {
            attempt: before + made + 1,
            attemptsBefore: before,
            step: Math.min(step, steps - 1),
            steps,
            expiresAt: null,
          };
          const decision = decide(outcome, state, policy, { now: NOW, random, receipts: false });
          if (decision.status === 'accepted') {
            assert.ok(decision.nextAt !== null && decision.nextAt >= NOW);
            assert.ok(
              decision.step > state.step || decision.nextAt > NOW,
              'the same channel is not tried again at once',
            );
          } else {
            assert.equal(decision.nextAt, null);
          }
        },
      ),
    );
  });

  it('ends a route by its last channel', () => {
    assert.equal(nextChannel({ ...first, step: 1, steps: 2 }, 'x', NOW).status, 'failed');
  });
});
