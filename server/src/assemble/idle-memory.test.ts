import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { cachedDataVersionTag, getHeapStatistics } from 'node:v8';
import { ManualClock } from '../../test/support/manual-clock.ts';
import { releaseMemory, whenIdle } from './idle-memory.ts';

const MIB = 1024 * 1024;
const VERSION_TAG = cachedDataVersionTag();

describe('the first rest', () => {
  const WORK = 0.9;
  const LITTLE = 0.1;
  const IDLE = 0.01;

  /** Number of the look at which it is called, and how often, when each look finds this much work. */
  function looksUntilRest(shares: readonly number[]): { look: number | undefined; calls: number } {
    const clock = new ManualClock();
    let look = 0;
    const calls: number[] = [];
    whenIdle(
      clock,
      () => shares[look++] ?? assert.fail('it looks on'),
      () => calls.push(look),
    );
    clock.advance(10_000);
    return { look: calls[0], calls: calls.length };
  }

  test('is three looks without work, and ends the looking', () => {
    assert.deepEqual(looksUntilRest([IDLE, IDLE, IDLE]), { look: 3, calls: 1 });
  });

  test('is not a pause between requests', () => {
    const shares = [WORK, IDLE, IDLE, LITTLE, IDLE, IDLE, WORK, IDLE, IDLE, IDLE];
    assert.deepEqual(looksUntilRest(shares), { look: 10, calls: 1 });
  });
});

describe('what is given back', () => {
  /** Survives a few collections of the young generation, which grows by that, and is then dropped. */
  function work(): void {
    for (let round = 0; round < 4; round++) {
      const kept: object[] = [];
      for (let i = 0; i < 200_000; i++) kept.push({ i, text: `${i}` });
    }
  }

  function heap(): { total: number; used: number } {
    const { total_heap_size: total, used_heap_size: used } = getHeapStatistics();
    return { total: total / MIB, used: used / MIB };
  }

  test('is the room that the heap took for its work', () => {
    work();
    const before = heap();
    releaseMemory();
    const after = heap();
    assert.ok(before.total - after.total > 8, `${before.total} → ${after.total} MiB`);
    assert.ok(after.total - after.used < 4, `${after.total} MiB for ${after.used}`);
  });

  test('is asked for without leaving a flag that compiled code would not fit', () => {
    releaseMemory();
    assert.equal(cachedDataVersionTag(), VERSION_TAG);
  });

  test('is nothing where collecting so much would hold up the thread', () => {
    const large = Array.from({ length: 3_000_000 }, (_, i) => ({ i }));
    work();
    const before = heap();
    assert.ok(before.used > 64, `${before.used} MiB`);
    releaseMemory();
    assert.ok(heap().used >= before.used, `${before.used} → ${heap().used} MiB`);
    assert.equal(large.length, 3_000_000);
  });
});
