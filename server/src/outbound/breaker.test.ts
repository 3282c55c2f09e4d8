import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ManualClock } from '../../test/support/manual-clock.ts';
import { Breaker } from './breaker.ts';

function broken(clock: ManualClock): Breaker {
  const breaker = new Breaker(clock);
  while (breaker.state === 'closed') {
    assert.equal(breaker.tryStart(), 0);
    breaker.failed(undefined);
  }
  return breaker;
}

describe('circuit breaker', () => {
  it('opens within twenty failures in a row, and not while successes come between', () => {
    const clock = new ManualClock();
    const breaker = new Breaker(clock);
    for (let i = 0; i < 100; i++) {
      breaker.failed(undefined);
      if (i % 5 === 0) breaker.succeeded();
    }
    assert.equal(breaker.state, 'closed');
    let failures = 0;
    for (; breaker.state === 'closed'; failures++) breaker.failed(undefined);
    assert.ok(failures <= 20);
  });

  it('lets one attempt through when its time is over, and closes when that succeeds', () => {
    const clock = new ManualClock();
    const breaker = broken(clock);
    const wait = breaker.tryStart();
    assert.ok(wait > 0);
    clock.advance(wait);
    assert.equal(breaker.state, 'half_open');
    assert.equal(breaker.tryStart(), 0);
    assert.ok(breaker.tryStart() > 0, 'a second one waits for the first');
    breaker.succeeded();
    assert.equal(breaker.state, 'closed');
    assert.ok(breaker.idle);
  });

  it('stays open for longer each time the one attempt fails', () => {
    const clock = new ManualClock();
    const breaker = broken(clock);
    let last = breaker.tryStart();
    const waits: number[] = [];
    for (let i = 0; i < 8; i++) {
      clock.advance(last);
      assert.equal(breaker.tryStart(), 0);
      breaker.failed(undefined);
      last = breaker.tryStart();
      waits.push(last);
    }
    assert.deepEqual(
      waits,
      [...waits].sort((a, b) => a - b),
    );
    assert.ok((waits.at(-1) as number) <= 150_000, 'but not for ever');
  });

  it('opens at once until the time a vendor asked for', () => {
    const clock = new ManualClock();
    const breaker = new Breaker(clock);
    breaker.failed(120_000);
    assert.equal(breaker.tryStart(), 120_000);
    clock.advance(119_999);
    assert.equal(breaker.tryStart(), 1);
    clock.advance(1);
    assert.equal(breaker.tryStart(), 0);
  });

  it('gives the place back when an attempt says nothing about the destination', () => {
    const clock = new ManualClock();
    const breaker = broken(clock);
    clock.advance(breaker.tryStart());
    assert.equal(breaker.tryStart(), 0);
    breaker.undecided();
    assert.equal(breaker.tryStart(), 0);
  });
});
