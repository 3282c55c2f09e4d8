import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createHostLimit } from './host-limit.ts';

test('places are given in order, and a host has no more than its own', () => {
  const limit = createHostLimit(2);
  const granted: string[] = [];
  const take = (name: string, host = 'a') => limit.take(host, () => granted.push(name));
  const first = take('first');
  const second = take('second');
  take('third');
  const fourth = take('fourth');
  take('fifth');
  take('elsewhere', 'b');
  assert.deepEqual(granted, ['first', 'second', 'elsewhere']);
  // Who gives up waiting is left out; giving up twice gives nothing twice.
  fourth();
  fourth();
  first();
  first();
  assert.deepEqual(granted, ['first', 'second', 'elsewhere', 'third']);
  second();
  assert.deepEqual(granted, ['first', 'second', 'elsewhere', 'third', 'fifth']);
});

test('whatever the order of taking and leaving, all get in and none is too many', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 4 }), fc.array(fc.nat()), (max, steps) => {
      const limit = createHostLimit(max);
      const places: { inside: boolean; leave: () => void }[] = [];
      for (const step of steps) {
        if (step % 3 !== 0 && places.length > 0) {
          const [place] = places.splice(step % places.length, 1);
          if (place) place.inside = false;
          place?.leave();
        } else {
          const place = { inside: false, leave: () => {} };
          places.push(place);
          place.leave = limit.take('a', () => {
            place.inside = true;
          });
        }
        const inside = places.filter((place) => place.inside).length;
        assert.equal(inside, Math.min(max, places.length));
      }
    }),
  );
});
