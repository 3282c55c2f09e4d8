/** What every way of passing hints must do, as the port says it. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Hints } from './hints.ts';

export interface HintsBench extends AsyncDisposable {
  /** Two ends, in different threads or nodes. */
  here: Hints;
  there: Hints;
}

function next(hints: Hints, topic: string): Promise<unknown> {
  return new Promise((resolve) => {
    const stop = hints.subscribe(topic, (payload) => {
      stop();
      resolve(payload);
    });
  });
}

export function runHintsConformance(name: string, open: () => Promise<HintsBench>): void {
  describe(`hints: ${name}`, () => {
    it('reach subscribers here and there', async () => {
      await using bench = await open();
      const both = Promise.all([next(bench.here, 'a'), next(bench.there, 'a')]);
      bench.here.publish('a', { n: 1, text: '你好' });
      assert.deepEqual(await both, [
        { n: 1, text: '你好' },
        { n: 1, text: '你好' },
      ]);
    });

    it('reach only the topic, and nobody who has left', async () => {
      await using bench = await open();
      const seen: string[] = [];
      bench.there.subscribe('a', () => seen.push('a'));
      const leave = bench.there.subscribe('b', () => seen.push('b'));
      leave();
      leave();
      const end = next(bench.there, 'end');
      for (const topic of ['A', 'a ', 'b', 'a', 'end']) bench.here.publish(topic, null);
      await end;
      assert.deepEqual(seen, ['a']);
    });

    it('keep the order of one publisher, and reach several subscribers of one topic', async () => {
      await using bench = await open();
      const seen: number[][] = [[], []];
      for (const list of seen)
        bench.there.subscribe('n', (payload) => list.push(payload as number));
      const end = next(bench.there, 'end');
      for (let i = 0; i < 1000; i++) bench.here.publish('n', i);
      bench.here.publish('end', null);
      await end;
      const all = Array.from({ length: 1000 }, (_, i) => i);
      assert.deepEqual(seen, [all, all]);
    });

    it('cost nothing when nobody listens', async () => {
      await using bench = await open();
      for (let i = 0; i < 10_000; i++) bench.here.publish(`nobody ${i}`, null);
      const end = next(bench.there, 'end');
      bench.here.publish('end', 1);
      assert.equal(await end, 1);
    });
  });
}
