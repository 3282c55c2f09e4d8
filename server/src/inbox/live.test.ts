/** The hub and its connections, with a carrier that keeps what it is given. Sockets: routes/inbox*.test.ts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../../test/support/manual-clock.ts';
import { itemFor } from '../adapters/in-app/inbox-store.conformance.ts';
import { deliveredItem, type InboxEntry, type InboxOwner } from '../adapters/in-app/inbox-store.ts';
import { ServiceError } from '../errors.ts';
import type { LiveConnection, LiveSink } from './connection.ts';
import { InboxHub, type InboxHubOptions } from './live.ts';

const ADA = { applicationId: 1, userId: 'ada' };
const HOUR_MS = 3_600_000;

/** Keeps everything; `taking` false is a peer that does not read. */
class Carrier implements LiveSink {
  readonly encoding;
  readonly frames: string[] = [];
  taking = true;
  bufferedBytes = 0;
  heartbeats = 0;
  ended: string | undefined;
  retryAfterMs = 0;
  destroyed = false;

  constructor(encoding: 'sse' | 'json' = 'json') {
    this.encoding = encoding;
  }

  write(frame: string): void {
    this.frames.push(frame);
    if (!this.taking) this.bufferedBytes += frame.length;
  }
  drained = async () => {};
  heartbeat(): void {
    this.heartbeats++;
  }
  close(reason: string, retryAfterMs: number): void {
    this.ended = reason;
    this.retryAfterMs = retryAfterMs;
  }
  destroy(): void {
    this.destroyed = true;
  }

  /** `type@position` of each frame, `n` for the item of message n. */
  get log(): string[] {
    return this.frames.map((frame) => {
      const { type, position, data } = JSON.parse(frame);
      const at = position === undefined ? '' : `@${position.replace(/-0$/, '')}`;
      return type === 'item' ? `${Number(data.title.slice(8))}${at}` : `${type}${at}`;
    });
  }
}

const entry = (position: number, owner: InboxOwner = ADA, text = ''): InboxEntry => {
  const { content } = itemFor(owner, position);
  return {
    ...owner,
    position,
    item: deliveredItem(itemFor(owner, position, { content: { ...content, text } })),
  };
};

const COUNTS = { unseen: 0, unread: 0, total: 0 };
const goLive = (connection: LiveConnection, item: number, departure = 0) =>
  connection.goLive({ item, departure }, { resumed: true, counts: COUNTS });

function open(options: Omit<InboxHubOptions, 'clock'> = {}) {
  const clock = new ManualClock();
  const hub = new InboxHub({ clock, ...options });
  const connect = (
    sink = new Carrier(),
    owner: InboxOwner = ADA,
    expiresAt = clock.now() + HOUR_MS,
  ) => ({
    sink,
    connection: hub.connect(owner, sink, { expiresAt, generation: 0 }),
  });
  /** A connection that has caught up to `floor`. */
  const listen = (floor = 0, owner: InboxOwner = ADA, sink = new Carrier()) => {
    const connected = connect(sink, owner);
    assert.ok(goLive(connected.connection, floor));
    sink.frames.length = 0;
    return connected;
  };
  return { clock, hub, connect, listen };
}

const refusedWith = (code: string) => (error: unknown) =>
  error instanceof ServiceError && error.code === code;

test('an entry reaches every connection of its inbox and no other', () => {
  const { hub, listen } = open();
  const [first, second] = [listen(), listen()];
  const others = [
    { applicationId: 2, userId: 'ada' },
    { applicationId: 1, userId: 'Ada' },
    { applicationId: 1, userId: 'ada ' },
    { applicationId: 11, userId: 'ada' },
    { applicationId: 1, userId: '1 ada' },
  ].map((owner) => listen(0, owner));
  hub.publish(entry(1));
  assert.deepEqual(first.sink.log, ['1@1']);
  assert.deepEqual(second.sink.log, ['1@1']);
  for (const { sink } of others) assert.deepEqual(sink.log, []);
});

test('the same entry is written as text once for all connections of one kind', () => {
  const { hub, listen } = open();
  const sinks = [listen(), listen()].map(({ sink }) => sink);
  const streams = [new Carrier('sse'), new Carrier('sse')];
  for (const sink of streams) listen(0, ADA, sink);
  let written = 0;
  const told = entry(1);
  const toJSON = () => {
    written++;
    return { title: 'Message 1' };
  };
  Object.defineProperty(told.item, 'toJSON', { value: toJSON });
  hub.publish(told);
  assert.equal(written, 1);
  assert.deepEqual(
    streams.map(({ frames }) => frames),
    [
      ['id: 1-0\nevent: item\ndata: {"title":"Message 1"}\n\n'],
      ['id: 1-0\nevent: item\ndata: {"title":"Message 1"}\n\n'],
    ],
  );
  assert.equal(
    sinks[0]?.frames[0],
    '{"type":"item","position":"1-0","data":{"title":"Message 1"}}',
  );
});

test('what comes while a connection catches up follows what it read, without a repeat', () => {
  const { hub, connect } = open();
  const { sink, connection } = connect();
  for (const position of [4, 5, 6, 7]) hub.publish(entry(position));
  assert.deepEqual(sink.log, []);
  for (const position of [2, 3, 4, 5])
    connection.replay(entry(position), { item: position, departure: 0 });
  assert.ok(goLive(connection, 5));
  hub.publish(entry(8));
  assert.deepEqual(sink.log, [
    '2@2',
    '3@3',
    '4@4',
    '5@5',
    'ready@5',
    'counts',
    '6@6',
    '7@7',
    '8@8',
  ]);
});

test('when too much comes while it catches up, it is told to read again', () => {
  const { hub, connect } = open({ maxBufferedBytes: 10_000 });
  const { sink, connection } = connect();
  for (let position = 1; position <= 40; position++)
    hub.publish(entry(position, ADA, 'x'.repeat(500)));
  assert.ok(connection.open);
  assert.equal(goLive(connection, 0), false);
  assert.deepEqual(sink.log, []);
  for (let position = 1; position <= 40; position++)
    connection.replay(entry(position), { item: position, departure: 0 });
  hub.publish(entry(41));
  assert.ok(goLive(connection, 40));
  assert.deepEqual(sink.log.slice(-3), ['ready@40', 'counts', '41@41']);
});

test('a repeated delivery is not told twice; a late one is told without a position', () => {
  const { hub, listen } = open();
  const { sink } = listen(2);
  for (const position of [3, 5, 3, 5, 4, 4, 6, 2]) hub.publish(entry(position));
  assert.deepEqual(sink.log, ['3@3', '5@5', '4', '6@6'], '4 came late, 2 was there before');
  const streams = listen(6, ADA, new Carrier('sse'));
  hub.publish(entry(8));
  hub.publish(entry(7));
  assert.deepEqual(
    streams.sink.frames.map((frame) => frame.split('\n')[0]),
    ['id: 8-0', 'event: item'],
  );
});

test('a mark reaches all connections at once, those that catch up as well, and moves nobody on', () => {
  const { hub, listen, connect } = open();
  const live = listen();
  const catching = connect();
  const counts = { unseen: 0, unread: 0, total: 3 };
  hub.publish({ ...ADA, action: 'read', items: 'all', category: null, at: 0, counts });
  hub.publish({ ...ADA, action: 'archive', items: ['msg_1'], category: 'x', at: 1000, counts });
  for (const { sink } of [live, catching]) {
    assert.deepEqual(
      sink.frames.map((frame) => JSON.parse(frame)),
      [
        {
          type: 'marked',
          data: {
            action: 'read',
            items: 'all',
            category: null,
            at: '1970-01-01T00:00:00.000Z',
            replacedBy: null,
          },
        },
        { type: 'counts', data: counts },
        {
          type: 'marked',
          data: {
            action: 'archive',
            items: ['msg_1'],
            category: 'x',
            at: '1970-01-01T00:00:01.000Z',
            replacedBy: null,
          },
        },
      ],
    );
  }
});

test('a connection that does not read is closed at its bound; the others get everything', () => {
  const { hub, listen } = open({ maxBufferedBytes: 5_000 });
  const slow = listen();
  slow.sink.taking = false;
  const fast = listen();
  for (let position = 1; position <= 50; position++)
    hub.publish(entry(position, ADA, 'x'.repeat(500)));
  assert.equal(slow.sink.ended, 'slow_reader');
  assert.ok(slow.sink.bufferedBytes < 6_000);
  assert.equal(fast.sink.frames.length, 50);
  assert.equal(hub.connections, 1);
});

test('a user and a thread have only so many connections', () => {
  const { hub, connect } = open({ maxConnections: 5, maxConnectionsPerUser: 3 });
  const mine = [connect(), connect(), connect()];
  assert.throws(() => connect(), refusedWith('limited'));
  const bob = { applicationId: 1, userId: 'bob' };
  connect(new Carrier(), bob);
  connect(new Carrier(), bob);
  assert.throws(
    () => connect(new Carrier(), { applicationId: 1, userId: 'eve' }),
    refusedWith('overloaded'),
  );
  mine[0]?.connection.gone();
  assert.equal(hub.connections, 4);
  connect();
});

test('heartbeats go to every connection once in 15 s, and not to all in one turn', () => {
  const { clock, connect } = open({ maxConnectionsPerUser: 1000 });
  const sinks = Array.from({ length: 300 }, () => connect().sink);
  let most = 0;
  for (let turn = 0; turn < 150; turn++) {
    const before = sinks.reduce((sum, { heartbeats }) => sum + heartbeats, 0);
    clock.advance(100);
    most = Math.max(most, sinks.reduce((sum, { heartbeats }) => sum + heartbeats, 0) - before);
  }
  assert.ok(sinks.every(({ heartbeats }) => heartbeats === 1));
  assert.equal(most, 2);
});

test('a connection ends with its token: nothing is sent after that, and an idle one is closed soon', () => {
  const { clock, hub, connect } = open();
  const busy = connect(new Carrier(), ADA, clock.now() + 50);
  const idle = connect(new Carrier(), { applicationId: 1, userId: 'bob' }, clock.now() + 50);
  for (const { connection, sink } of [busy, idle]) {
    goLive(connection, 0);
    sink.frames.length = 0;
  }
  clock.advance(49);
  hub.publish(entry(1));
  clock.advance(1);
  hub.publish(entry(2));
  assert.deepEqual(busy.sink.log, ['1@1']);
  assert.equal(busy.sink.ended, 'token_expired');
  clock.advance(15_000);
  assert.equal(idle.sink.ended, 'token_expired');
  assert.equal(hub.connections, 0);
});

test('what was closed and does not go is ended by force', () => {
  const { clock, connect } = open();
  const { sink, connection } = connect();
  connection.close('unavailable');
  connection.close('unavailable');
  assert.equal(sink.destroyed, false);
  clock.advance(5_000);
  assert.ok(sink.destroyed);
});

test('a stop sends everybody away, spread over up to 30 s, and waits until all are gone', async () => {
  const { clock, hub, connect } = open({ maxConnectionsPerUser: 20_000 });
  const connected = Array.from({ length: 10_000 }, () => connect());
  let at = 0;
  clock.random = () => (at++ % 1000) / 1000;
  let stopped = false;
  const stopping = hub.stop().then(() => {
    stopped = true;
  });
  assert.throws(() => connect(), refusedWith('shutting_down'));
  const times = connected.map(({ sink }) => sink.retryAfterMs);
  assert.ok(connected.every(({ sink }) => sink.ended === 'shutting_down'));
  assert.equal(Math.max(...times), 29_970);
  for (let second = 0; second < 30; second++) {
    const coming = times.filter((time) => time >= second * 1000 && time < (second + 1) * 1000);
    assert.ok(coming.length > 250 && coming.length < 420, `${coming.length} in second ${second}`);
  }
  for (const { connection } of connected.slice(1)) connection.gone();
  await Promise.resolve();
  assert.equal(stopped, false);
  connected[0]?.connection.gone();
  await stopping;
  assert.equal(clock.timers, 0);
  await hub.stop();
});

test('a few connections come back soon, and the hub without any holds no timer', () => {
  const { clock, hub, connect } = open();
  clock.randomValue = 0.999;
  const { connection } = connect();
  assert.ok(hub.reconnectDelayMs() <= 2_000);
  assert.equal(clock.timers, 1);
  connection.gone();
  connection.gone();
  assert.equal(hub.connections, 0);
  assert.equal(clock.timers, 0);
});

test('an entry that nobody here listens to is dropped without being written as text', () => {
  const { hub, listen } = open();
  listen(0, { applicationId: 1, userId: 'bob' });
  const told = entry(1);
  Object.defineProperty(told.item, 'toJSON', {
    value: () => {
      throw new Error('written');
    },
  });
  hub.publish(told);
});
