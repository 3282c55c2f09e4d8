import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { firstIdAt, formatId, IdSequence, parseId, timeOfId } from './id.ts';

const NOW = Date.UTC(2026, 10, 22, 6, 0, 1, 234);

describe('ids', () => {
  it('only ever grow, also when the clock goes back, and never meet', () => {
    let now = NOW;
    const ids = new IdSequence(() => now);
    let last = 0;
    for (const step of [0, 5000, -3_600_000, 0, 1, -1, 7_200_000]) {
      now += step;
      for (let i = 0; i < 100; i++) {
        const first = ids.take(3);
        assert.ok(first > last);
        last = first + 2;
      }
    }
  });

  it('go on after the greatest one in the store', () => {
    const ahead = firstIdAt(NOW + 60_000);
    assert.equal(new IdSequence(() => NOW, ahead).take(), ahead + 1);
  });

  it('tell the second they were made in', () => {
    const id = new IdSequence(() => NOW).take();
    assert.equal(timeOfId(id), Math.floor(NOW / 1000) * 1000);
    assert.ok(firstIdAt(NOW) <= id && id < firstIdAt(NOW + 1000));
  });

  it('are the same after being written and read, and sort like their numbers', () => {
    const id = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
    fc.assert(
      fc.property(id, id, (a, b) => {
        assert.equal(parseId('msg', formatId('msg', a)), a);
        assert.equal(
          Math.sign(a - b),
          formatId('msg', a) < formatId('msg', b) ? -1 : a === b ? 0 : 1,
        );
      }),
    );
  });

  it('are read from nothing else', () => {
    for (const text of [
      '',
      'msg_',
      'ntf_00000000000',
      'msg_0000000000',
      'msg_000000000000',
      'msg_0000000000I',
      'msg_0000000000u',
      'MSG_00000000000',
      ' msg_0000000000',
      'msg_zzzzzzzzzzz',
    ]) {
      assert.equal(parseId('msg', text), undefined, text);
    }
  });
});
