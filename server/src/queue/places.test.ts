import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { giveBackPlace, PlaceOffer, takePlace } from './places.ts';

const CHANNELS = ['email', 'in_app'];

function opened(lanes: [number, number, number], perChannel = 100): PlaceOffer {
  const places = new PlaceOffer(CHANNELS, 1000);
  places.offer({ lanes, channel: () => perChannel });
  return places;
}

function takeAll(places: PlaceOffer, lane: 0 | 1 | 2, channel = 'email'): number {
  let taken = 0;
  while (takePlace(places.shared, lane, channel)) taken++;
  return taken;
}

describe('places', () => {
  it('are as many as were offered, by lane', () => {
    const places = opened([1, 2, 0]);
    assert.deepEqual([takeAll(places, 0), takeAll(places, 1), takeAll(places, 2)], [1, 2, 0]);
    assert.deepEqual([...places.expected().lanes], [1, 2, 0]);
    assert.equal(places.expected().channel('email'), 3);
  });

  it('are as many as the channel has, and a lane loses none to a channel without', () => {
    const places = opened([0, 5, 0], 2);
    assert.equal(takeAll(places, 1, 'email'), 2);
    assert.equal(takeAll(places, 1, 'in_app'), 2);
    assert.equal(takePlace(places.shared, 1, 'unknown'), false);
    assert.equal(places.expected().lanes[1], 4);
  });

  it('can be given back', () => {
    const places = opened([0, 1, 0]);
    assert.ok(takePlace(places.shared, 1, 'email'));
    giveBackPlace(places.shared, 1, 'email');
    assert.equal(places.expected().lanes[1], 0);
    assert.equal(takeAll(places, 1), 1);
  });

  it('are replaced by each offer; what was taken stays taken until it is filled', () => {
    const places = opened([0, 5, 0]);
    assert.ok(takePlace(places.shared, 1, 'email'));
    places.offer({ lanes: [0, 0, 0], channel: () => 0 });
    assert.equal(takeAll(places, 1), 0);
    assert.equal(places.expected().lanes[1], 1);
    places.filled(1, 'email');
    assert.equal(places.expected().lanes[1], 0);
    assert.equal(places.expected().channel('email'), 0);
  });

  it('go on when their counters overflow', () => {
    const places = opened([0, 0, 0]);
    places.shared.counters.fill(2 ** 31 - 2);
    places.offer({ lanes: [0, 4, 0], channel: () => 4 });
    assert.equal(takeAll(places, 1), 4);
  });

  it('never come to more than were offered when threads meet', () => {
    const places = opened([0, 1, 0]);
    // The other thread has taken one and not yet seen that there is none left.
    Atomics.add(places.shared.counters, 1 * 2 + 1, 1);
    assert.equal(takePlace(places.shared, 1, 'email'), false);
  });
});
