/** What every event store must do, written against the sentences of the port. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { EventStore, MessageEvent } from './event-store.ts';

const NOW = Date.UTC(2026, 5, 1);
/** Ids as large as real ones. */
const FIRST = 54_901_761_638_400;

export interface EventStoreBench extends AsyncDisposable {
  store: EventStore;
  /** Waits until reading shows what was written before the call. */
  shown(): Promise<void>;
}

function eventOf(messageId: number, overrides: Partial<MessageEvent> = {}): MessageEvent {
  return { messageId, at: NOW, type: 'attempt', detail: null, ...overrides };
}

export function runEventStoreConformance(name: string, open: () => Promise<EventStoreBench>): void {
  describe(`event store: ${name}`, () => {
    it('keeps an event as it was given', async () => {
      await using bench = await open();
      const detail = {
        channel: 'email',
        attempt: 3,
        share: 0.25,
        response: `250 你好 🎉 "quoted" \\ \n\t ${'x'.repeat(1000)}`,
        nothing: null,
        done: true,
        list: [{ a: 1 }, []],
        'a key with spaces ': '',
      };
      const events = [eventOf(FIRST, { detail }), eventOf(FIRST, { type: 'Attempt', at: NOW + 1 })];
      await bench.store.append(events);
      await bench.shown();
      assert.deepEqual(await bench.store.timeline(FIRST, FIRST), events);
    });

    it('shows the events of a range of messages, oldest first, and no others', async () => {
      await using bench = await open();
      const events = Array.from({ length: 40 }, (_, i) =>
        eventOf(FIRST + (i % 4), { at: NOW + i, type: `t${i}` }),
      );
      for (const event of events) await bench.store.append([event]);
      await bench.shown();
      const expected = events.filter(
        ({ messageId }) => messageId >= FIRST + 1 && messageId <= FIRST + 2,
      );
      assert.deepEqual(await bench.store.timeline(FIRST + 1, FIRST + 2), expected);
      assert.deepEqual(await bench.store.timeline(FIRST + 4, FIRST + 9), []);
    });

    it('keeps the order in which events of one call were given, whatever their times say', async () => {
      await using bench = await open();
      const events = ['accepted', 'routed', 'attempt', 'attempt'].map((type) =>
        eventOf(FIRST, { type }),
      );
      await bench.store.append(events);
      await bench.shown();
      const types = (await bench.store.timeline(FIRST, FIRST)).map(({ type }) => type);
      assert.deepEqual(types, ['accepted', 'routed', 'attempt', 'attempt']);
    });

    it('takes many at once from many, and none', async () => {
      await using bench = await open();
      await bench.store.append([]);
      await Promise.all(
        Array.from({ length: 50 }, (_, call) =>
          bench.store.append(
            Array.from({ length: 100 }, (_, i) => eventOf(FIRST + call, { at: NOW + i })),
          ),
        ),
      );
      await bench.shown();
      assert.equal((await bench.store.timeline(FIRST, FIRST + 49)).length, 5000);
      assert.equal((await bench.store.timeline(FIRST + 7, FIRST + 7)).length, 100);
    });

    it('takes an event again that was perhaps taken before', async () => {
      await using bench = await open();
      const event = eventOf(FIRST, { detail: { attempt: 1 } });
      await bench.store.append([event]);
      await bench.store.append([event]);
      await bench.shown();
      const found = await bench.store.timeline(FIRST, FIRST);
      assert.ok(found.length === 1 || found.length === 2, `${found.length} times`);
      for (const one of found) assert.deepEqual(one, event);
    });
  });
}
