/** What every engine of the notification store must do, as the port says it. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { EventStore } from '../analytics/event-store.ts';
import { AUTO, type Lane, type NotificationBody, writeBody } from './notification.ts';
import type {
  Claim,
  Completion,
  Edit,
  FoundPage,
  NewNotification,
  NotificationStore,
  QueueEntry,
} from './notification-store.ts';

export interface NotificationStoreBench extends AsyncDisposable {
  store: NotificationStore;
  events: EventStore;
}

const NOW = Date.UTC(2026, 5, 1, 12);
const LEASE = NOW + 300_000;
const APPLICATION = 7;
const OTHER = 8;

export function bodyOf(overrides: Partial<NotificationBody> = {}): NotificationBody {
  return {
    to: { email: 'ada@example.com' },
    template: null,
    content: { title: 'Hello', text: '你好 🎉' },
    data: {},
    category: null,
    priority: 'medium',
    metadata: {},
    collapseKey: null,
    createdAt: NOW,
    sendAt: null,
    expiresAt: null,
    resendOf: null,
    batch: null,
    test: false,
    routes: [['email']],
    ...overrides,
  };
}

function newNotification(
  overrides: Partial<NewNotification> = {},
  body: Partial<NotificationBody> = {},
): NewNotification {
  const whole = bodyOf(body);
  return {
    applicationId: APPLICATION,
    lane: 1,
    body: whole,
    text: writeBody(whole),
    leaseUntil: LEASE,
    claimUntil: null,
    idempotency: null,
    ...overrides,
  };
}

async function accept(
  store: NotificationStore,
  overrides: Partial<NewNotification> = {},
  body: Partial<NotificationBody> = {},
): Promise<number> {
  const result = await store.accept(newNotification(overrides, body));
  assert.equal(result.kind, 'accepted');
  return (result as { id: number }).id;
}

function completionOf(messageId: number, overrides: Partial<Completion> = {}): Completion {
  return {
    messageId,
    claim: 1,
    status: 'delivered',
    nextAt: null,
    attempt: 1,
    attemptsBefore: 0,
    step: 0,
    route: null,
    channel: 'email',
    provider: 'smtp',
    providerMessageId: 'p-1',
    reason: null,
    at: NOW + 10,
    ...overrides,
  };
}

function claimOf(messageId: number, claim = 0): Claim {
  return { messageId, claim, until: NOW + 60_000 };
}

const ALL = { until: NOW, leaseUntil: LEASE, limit: 1000, queuedOnly: false };

function idsOf(entries: QueueEntry[]): number[] {
  return entries.map(({ messageId }) => messageId);
}

export function runNotificationStoreConformance(
  name: string,
  open: () => Promise<NotificationStoreBench>,
): void {
  describe(`notification store: ${name}`, () => {
    describe('accept', () => {
      it('stores the body as it was given, with consecutive ids', async () => {
        await using bench = await open();
        const id = await accept(bench.store, {}, { routes: [['email'], ['in_app', 'email']] });
        const record = await bench.store.get(APPLICATION, id);
        assert.deepEqual(record?.body, bodyOf({ routes: [['email'], ['in_app', 'email']] }));
        assert.deepEqual(
          record?.messages.map((message) => [message.id, message.status, message.attempt]),
          [
            [id + 1, 'accepted', 0],
            [id + 2, 'accepted', 0],
          ],
        );
        assert.equal((await bench.store.getByMessage(APPLICATION, id + 2))?.id, id);
      });

      it('gives every one of many concurrent notifications an id of its own, growing', async () => {
        await using bench = await open();
        const ids = await Promise.all(Array.from({ length: 200 }, () => accept(bench.store)));
        assert.equal(new Set(ids).size, 200);
        assert.deepEqual(
          ids,
          [...ids].sort((a, b) => a - b),
        );
      });

      it('shows nothing of another application', async () => {
        await using bench = await open();
        const id = await accept(bench.store);
        assert.equal(await bench.store.get(OTHER, id), undefined);
        assert.equal(await bench.store.getByMessage(OTHER, id + 1), undefined);
        assert.equal((await bench.store.get(null, id))?.applicationId, APPLICATION);
        assert.deepEqual(
          await bench.store.search({ applicationId: OTHER, limit: 10, before: null }),
          [],
        );
      });

      it('stores once what comes a hundred times with one key', async () => {
        await using bench = await open();
        const idempotency = { keyDigest: 'k'.repeat(22), requestDigest: 'r'.repeat(22) };
        const results = await Promise.all(
          Array.from({ length: 100 }, () => bench.store.accept(newNotification({ idempotency }))),
        );
        const accepted = results.filter(({ kind }) => kind === 'accepted');
        assert.equal(accepted.length, 1);
        assert.equal(new Set(results.map((result) => (result as { id: number }).id)).size, 1);
        assert.equal((await bench.store.ledger(APPLICATION)).accepted, 1);
      });

      it('tells a key that was used for another request, and keeps keys apart by every character', async () => {
        await using bench = await open();
        const keyDigest = 'Kk'.repeat(11);
        await accept(bench.store, { idempotency: { keyDigest, requestDigest: 'a'.repeat(22) } });
        const other = await bench.store.accept(
          newNotification({ idempotency: { keyDigest, requestDigest: 'b'.repeat(22) } }),
        );
        assert.deepEqual(other, { kind: 'mismatch' });
        const different = await bench.store.accept(
          newNotification({
            idempotency: { keyDigest: 'kK'.repeat(11), requestDigest: 'a'.repeat(22) },
          }),
        );
        assert.equal(different.kind, 'accepted');
      });

      it('remembers thousands of keys', async () => {
        await using bench = await open();
        const keyed = (i: number): NewNotification =>
          newNotification({
            idempotency: { keyDigest: `key-${i}`.padEnd(22, '.'), requestDigest: 'r'.repeat(22) },
          });
        const count = 30_000;
        const first = await Promise.all(
          Array.from({ length: count }, (_, i) => bench.store.accept(keyed(i))),
        );
        const again = await Promise.all(
          Array.from({ length: count }, (_, i) => bench.store.accept(keyed(i))),
        );
        assert.ok(again.every(({ kind }) => kind === 'replayed'));
        assert.deepEqual(
          again.map((r) => (r as { id: number }).id),
          first.map((r) => (r as { id: number }).id),
        );
      });
    });

    describe('claim and complete', () => {
      it('gives a claim to one of many', async () => {
        await using bench = await open();
        const id = await accept(bench.store);
        const answers = await Promise.all(
          Array.from({ length: 20 }, () => bench.store.claim([claimOf(id + 1)])),
        );
        assert.equal(answers.flat().filter(Boolean).length, 1);
        const message = (await bench.store.get(APPLICATION, id))?.messages[0];
        assert.deepEqual([message?.status, message?.attempt, message?.claim], ['sending', 1, 1]);
      });

      it('answers each claim of a group in its place', async () => {
        await using bench = await open();
        const [a, b] = [await accept(bench.store), await accept(bench.store)];
        await bench.store.claim([claimOf(a + 1)]);
        assert.deepEqual(await bench.store.claim([claimOf(a + 1), claimOf(b + 1), claimOf(999)]), [
          false,
          true,
          false,
        ]);
      });

      it('stores an outcome of whoever holds the claim, and of nobody else', async () => {
        await using bench = await open();
        const id = await accept(bench.store);
        await bench.store.claim([claimOf(id + 1)]);
        // The first claimer stalled; the second one takes over with the fence it has seen.
        assert.deepEqual(await bench.store.claim([claimOf(id + 1, 1)]), [true]);
        assert.deepEqual(await bench.store.complete([completionOf(id + 1)]), [false]);
        assert.deepEqual(
          await bench.store.complete([completionOf(id + 1, { claim: 2, attempt: 2 })]),
          [true],
        );
        assert.deepEqual(
          await bench.store.complete([completionOf(id + 1, { claim: 2, status: 'failed' })]),
          [false],
        );
        const message = (await bench.store.get(APPLICATION, id))?.messages[0];
        assert.deepEqual(
          [
            message?.status,
            message?.attempt,
            message?.channel,
            message?.provider,
            message?.providerMessageId,
            message?.nextAt,
          ],
          ['delivered', 2, 'email', 'smtp', 'p-1', null],
        );
      });

      it('extends only a claim that is held', async () => {
        await using bench = await open();
        const id = await accept(bench.store);
        assert.deepEqual(await bench.store.extend([claimOf(id + 1, 1)]), [false]);
        await bench.store.claim([claimOf(id + 1)]);
        assert.deepEqual(
          await bench.store.extend([{ messageId: id + 1, claim: 1, until: NOW + 90_000 }]),
          [true],
        );
        assert.deepEqual(idsOf(await bench.store.takeDue(1, { ...ALL, until: NOW + 80_000 })), []);
      });

      it('stores a message as claimed when it is claimed with its acceptance', async () => {
        await using bench = await open();
        const id = await accept(bench.store, { claimUntil: NOW + 60_000, leaseUntil: NOW + 10 });
        const [message] = (await bench.store.get(APPLICATION, id))?.messages ?? [];
        assert.deepEqual([message?.status, message?.claim, message?.attempt], ['sending', 1, 1]);
        assert.deepEqual(await bench.store.claim([claimOf(id + 1)]), [false], 'nobody else has it');
        assert.deepEqual(await bench.store.cancel(id, NOW + 1), [], 'it may be on its way');
        assert.deepEqual(await bench.store.takeDue(1, { ...ALL, until: NOW + 59_999 }), []);
        assert.deepEqual(await bench.store.complete([completionOf(id + 1)]), [true]);
      });

      it('gives a message that was claimed with its acceptance back when its claim runs out', async () => {
        await using bench = await open();
        const id = await accept(bench.store, { claimUntil: NOW + 60_000, leaseUntil: NOW + 10 });
        const [entry] = await bench.store.takeDue(1, { ...ALL, until: NOW + 60_000 });
        assert.deepEqual(
          [entry?.messageId, entry?.suspect, entry?.claim, entry?.attempt, entry?.claimedUntil],
          [id + 1, true, 1, 1, null],
        );
      });

      it('claims nothing that has ended', async () => {
        await using bench = await open();
        const id = await accept(bench.store);
        await bench.store.claim([claimOf(id + 1)]);
        await bench.store.complete([completionOf(id + 1)]);
        assert.deepEqual(await bench.store.claim([claimOf(id + 1, 1)]), [false]);
      });
    });

    describe('what is due', () => {
      it('takes a scheduled message at its time, not before, and once', async () => {
        await using bench = await open();
        const id = await accept(bench.store, {}, { sendAt: NOW + 1000 });
        assert.deepEqual(await bench.store.takeDue(1, { ...ALL, until: NOW + 999 }), []);
        const [entry] = await bench.store.takeDue(1, { ...ALL, until: NOW + 1000 });
        assert.deepEqual(
          [entry?.messageId, entry?.claim, entry?.channel, entry?.suspect],
          [id + 1, 0, 'email', false],
        );
        assert.equal(entry?.body, writeBody(bodyOf({ sendAt: NOW + 1000 })));
        assert.deepEqual(await bench.store.takeDue(1, { ...ALL, until: NOW + 1000 }), []);
        assert.equal((await bench.store.get(APPLICATION, id))?.messages[0]?.status, 'accepted');
      });

      it('takes a retry at its time, with its attempts', async () => {
        await using bench = await open();
        const id = await accept(bench.store);
        await bench.store.claim([claimOf(id + 1)]);
        await bench.store.complete([
          completionOf(id + 1, { status: 'accepted', nextAt: NOW + 5000, reason: 'timeout' }),
        ]);
        assert.equal((await bench.store.get(APPLICATION, id))?.messages[0]?.status, 'accepted');
        assert.deepEqual(
          await bench.store.claim([claimOf(id + 1, 1)]),
          [false],
          'it waits for its time',
        );
        assert.deepEqual(await bench.store.takeDue(1, { ...ALL, until: NOW + 4999 }), []);
        const [entry] = await bench.store.takeDue(1, { ...ALL, until: NOW + 5000 });
        assert.deepEqual([entry?.messageId, entry?.attempt, entry?.claim], [id + 1, 1, 1]);
        assert.deepEqual(await bench.store.claim([claimOf(id + 1, 1)]), [true]);
      });

      it('gives back what was queued and never claimed when its lease is over, oldest first, by lane', async () => {
        await using bench = await open();
        const ids: number[] = [];
        for (let i = 0; i < 5; i++)
          ids.push(await accept(bench.store, { leaseUntil: LEASE + 5 - i }));
        await accept(bench.store, { lane: 0 }, { priority: 'high' });
        const taken = await bench.store.takeDue(1, {
          until: LEASE + 5,
          leaseUntil: LEASE * 2,
          limit: 3,
          queuedOnly: false,
        });
        assert.deepEqual(
          idsOf(taken),
          ids
            .slice(2)
            .reverse()
            .map((id) => id + 1),
        );
      });

      it('names a message whose claim ran out a suspect', async () => {
        await using bench = await open();
        const id = await accept(bench.store);
        await bench.store.claim([claimOf(id + 1)]);
        // A claim lasts at least as long as it asked for, and no longer than the lease beyond that.
        const early = await bench.store.takeDue(1, { ...ALL, until: NOW + 10 });
        assert.deepEqual(early, []);
        const [entry] = await bench.store.takeDue(1, { ...ALL, until: LEASE });
        assert.deepEqual(
          [entry?.messageId, entry?.suspect, entry?.claim, entry?.attempt],
          [id + 1, true, 1, 1],
        );
        assert.deepEqual(await bench.store.claim([claimOf(id + 1, 1)]), [true]);
      });

      it('lets no claim run out before its time, however short the lease was', async () => {
        await using bench = await open();
        const id = await accept(bench.store, { leaseUntil: NOW + 10 });
        await bench.store.claim([claimOf(id + 1)]);
        assert.deepEqual(await bench.store.takeDue(1, { ...ALL, until: NOW + 59_999 }), []);
        const taken = await bench.store.takeDue(1, { ...ALL, until: NOW + 60_000 });
        assert.deepEqual(idsOf(taken), [id + 1]);
      });

      it('finds, for a queue that lost some, only what lies in a queue', async () => {
        await using bench = await open();
        const queued = await accept(bench.store);
        await accept(bench.store, {}, { sendAt: NOW + 1000 });
        const claimed = await accept(bench.store);
        await bench.store.claim([claimOf(claimed + 1)]);
        const retried = await accept(bench.store);
        await bench.store.claim([claimOf(retried + 1)]);
        await bench.store.complete([
          completionOf(retried + 1, { status: 'accepted', nextAt: NOW + 10 }),
        ]);
        const entries = await bench.store.takeDue(1, {
          until: LEASE,
          leaseUntil: LEASE + 1,
          limit: 10,
          queuedOnly: true,
        });
        assert.deepEqual(idsOf(entries), [queued + 1]);
      });

      it('releases every claim at a start', async () => {
        await using bench = await open();
        const ids = [await accept(bench.store), await accept(bench.store)];
        await bench.store.claim(ids.map((id) => claimOf(id + 1)));
        assert.equal(await bench.store.releaseClaims(), 2);
        assert.deepEqual(
          idsOf(await bench.store.takeDue(1, ALL)).sort(),
          ids.map((id) => id + 1),
        );
        assert.equal(await bench.store.releaseClaims(), 2, 'still claimed until the next claim');
      });

      it('keeps a resolved route', async () => {
        await using bench = await open();
        const id = await accept(bench.store, {}, { routes: [[AUTO]] });
        await bench.store.claim([claimOf(id + 1)]);
        const route = ['in_app', 'email'];
        await bench.store.complete([
          completionOf(id + 1, {
            status: 'accepted',
            nextAt: NOW,
            route,
            step: 1,
            attemptsBefore: 1,
          }),
        ]);
        const [entry] = await bench.store.takeDue(1, ALL);
        assert.deepEqual(
          [entry?.route, entry?.step, entry?.channel, entry?.attemptsBefore],
          [route, 1, 'email', 1],
        );
      });
    });

    describe('edit, cancel, delete', () => {
      it('edits while every message is scheduled, and not after', async () => {
        await using bench = await open();
        const id = await accept(
          bench.store,
          {},
          { sendAt: NOW + 1000, routes: [['email'], ['in_app']] },
        );
        const body = bodyOf({
          sendAt: NOW + 9000,
          routes: [['email'], ['in_app']],
          priority: 'high',
        });
        const from = bodyOf({ sendAt: NOW + 1000, routes: [['email'], ['in_app']] });
        const changes = { priority: { from: 'medium', to: 'high' } };
        const change: Edit = { from, to: body, lane: 0, nextAt: NOW + 9000, at: NOW + 5, changes };
        assert.equal(await bench.store.edit(id, change), 'edited');
        assert.equal(await bench.store.edit(id, change), 'changed', 'by the edit before');
        const event = { at: NOW + 5, type: 'edited', detail: { changes } };
        assert.deepEqual(
          await bench.events.timeline(id + 1, id + 2),
          [id + 1, id + 2].map((messageId) => ({ messageId, ...event })),
          'with the edit and once, although it was tried again',
        );
        assert.deepEqual((await bench.store.get(APPLICATION, id))?.body, body);
        assert.deepEqual(
          await bench.store.takeDue(1, { ...ALL, until: NOW + 9000 }),
          [],
          'it has left its old lane',
        );
        assert.equal(
          (await bench.store.takeDue(0, { ...ALL, until: NOW + 9000, limit: 1 })).length,
          1,
        );
        const late: Edit = { ...change, from: body, to: bodyOf(), lane: 1, nextAt: NOW };
        assert.equal(await bench.store.edit(id, late), 'refused', 'one of them is due');
        assert.equal(await bench.store.edit(999, late), 'refused');
        assert.equal((await bench.events.timeline(id + 1, id + 2)).length, 2);
      });

      it('tells nothing of an edit that changed nothing', async () => {
        await using bench = await open();
        const id = await accept(bench.store, {}, { sendAt: NOW + 1000 });
        const from = bodyOf({ sendAt: NOW + 1000 });
        const edit: Edit = {
          from,
          to: from,
          lane: 1,
          nextAt: NOW + 1000,
          at: NOW + 5,
          changes: {},
        };
        assert.equal(await bench.store.edit(id, edit), 'edited');
        assert.deepEqual(await bench.events.timeline(id + 1, id + 1), []);
      });

      it('knows a key that was used, and by which request', async () => {
        await using bench = await open();
        const [key, other] = ['k'.repeat(22), 'o'.repeat(22)];
        const idempotency = { keyDigest: key, requestDigest: 'a'.repeat(22) };
        const find = (keyDigest: string, requestDigest: string) =>
          bench.store.findKey({ keyDigest, requestDigest }, NOW);
        assert.equal(await find(key, idempotency.requestDigest), undefined);
        const id = await accept(bench.store, { idempotency });
        const found = await find(key, idempotency.requestDigest);
        assert.deepEqual(found, { kind: 'replayed', id });
        assert.deepEqual(await find(key, 'b'.repeat(22)), { kind: 'mismatch' });
        assert.equal(await find(other, idempotency.requestDigest), undefined);
      });

      it('cancels what waits, and leaves what is claimed or has ended', async () => {
        await using bench = await open();
        const id = await accept(bench.store, {}, { routes: [['email'], ['in_app'], ['webhook']] });
        await bench.store.claim([claimOf(id + 2)]);
        assert.deepEqual(await bench.store.cancel(id, NOW + 1), [id + 1, id + 3]);
        assert.deepEqual(await bench.store.cancel(id, NOW + 1), []);
        assert.deepEqual(await bench.store.claim([claimOf(id + 1)]), [false]);
        assert.deepEqual(await bench.store.complete([completionOf(id + 2)]), [true]);
        const record = await bench.store.get(APPLICATION, id);
        assert.deepEqual(
          record?.messages.map(({ status }) => status),
          ['cancelled', 'delivered', 'cancelled'],
        );
        const event = { at: NOW + 1, type: 'cancelled', detail: { status: 'cancelled' } };
        assert.deepEqual(
          await bench.events.timeline(id + 1, id + 3),
          [id + 1, id + 3].map((messageId) => ({ messageId, ...event })),
          'with the cancellation and once',
        );
        assert.deepEqual(await bench.store.cancel(999, NOW), []);
      });

      it('cancels a retry that waits', async () => {
        await using bench = await open();
        const id = await accept(bench.store);
        await bench.store.claim([claimOf(id + 1)]);
        await bench.store.complete([
          completionOf(id + 1, { status: 'accepted', nextAt: NOW + 5000 }),
        ]);
        assert.deepEqual(await bench.store.cancel(id, NOW + 1), [id + 1]);
        assert.deepEqual(await bench.store.takeDue(1, { ...ALL, until: NOW + 6000 }), []);
      });

      it('deletes what has ended, with everything of it, and nothing else', async () => {
        await using bench = await open();
        const id = await accept(bench.store, {}, { routes: [['email'], ['in_app']] });
        const other = await accept(bench.store);
        assert.equal(await bench.store.delete(id), false);
        await bench.store.claim([claimOf(id + 1)]);
        await bench.store.complete([completionOf(id + 1)]);
        await bench.events.append([
          { messageId: id + 1, at: NOW, type: 'attempt', detail: { secret: 'x' } },
        ]);
        assert.equal(await bench.store.delete(id), false, 'the other message has not ended');
        await bench.store.cancel(id, NOW);
        assert.equal(await bench.store.delete(id), true);
        assert.equal(await bench.store.get(APPLICATION, id), undefined);
        assert.deepEqual(await bench.events.timeline(id + 1, id + 2), []);
        const found = await bench.store.search({
          applicationId: APPLICATION,
          limit: 10,
          before: null,
        });
        assert.deepEqual(
          found.map(({ key }) => key),
          [other + 1],
        );
        assert.equal(await bench.store.delete(id), true, 'a second time changes nothing');
        assert.deepEqual(
          await bench.store
            .ledger(APPLICATION)
            .then(({ accepted, pending }) => [accepted, pending]),
          [1, 1],
        );
      });
    });

    describe('prune', () => {
      it('removes what is old and has ended, page by page, and nothing else', async () => {
        await using bench = await open();
        const done: number[] = [];
        for (let i = 0; i < 5; i++) {
          const id = await accept(bench.store);
          await bench.store.cancel(id, NOW);
          done.push(id);
        }
        const waiting = await accept(bench.store);
        const young = await accept(bench.store, {}, { createdAt: NOW + 3_600_000 });
        await bench.store.cancel(young, NOW);
        let removed = 0;
        let after: number | null = 0;
        for (let pages = 0; after !== null && pages < 10; pages++) {
          const page: { removed: number; after: number | null } = await bench.store.prune({
            before: NOW + 60_000,
            after,
            limit: 2,
          });
          removed += page.removed;
          after = page.after;
        }
        assert.equal(removed, 5);
        assert.equal(await bench.store.get(null, done[0] as number), undefined);
        assert.ok(await bench.store.get(null, waiting));
        assert.ok(await bench.store.get(null, young));
        const found = await bench.store.search({ applicationId: null, limit: 10, before: null });
        assert.deepEqual(
          found.map(({ key }) => key),
          [young + 1, waiting + 1],
        );
        assert.equal((await bench.store.ledger(null)).balanced, true);
      });
    });

    describe('redrive', () => {
      async function fail(
        bench: NotificationStoreBench,
        applicationId = APPLICATION,
      ): Promise<number> {
        const id = await accept(bench.store, { applicationId });
        await bench.store.claim([claimOf(id + 1)]);
        await bench.store.complete([
          completionOf(id + 1, { status: 'failed', attempt: 8, reason: 'timeout' }),
        ]);
        return id + 1;
      }

      it('gives failed messages new attempts, spread in time', async () => {
        await using bench = await open();
        const ids = [await fail(bench), await fail(bench), await fail(bench)];
        const schedule = { startAt: NOW, intervalMs: 100, limit: 2 };
        assert.equal(await bench.store.redrive({ applicationId: APPLICATION }, schedule), 2);
        assert.equal((await bench.store.takeDue(1, { ...ALL, until: NOW })).length, 1);
        const [second] = await bench.store.takeDue(1, { ...ALL, until: NOW + 100 });
        assert.deepEqual([second?.attempt, second?.attemptsBefore, second?.step], [8, 8, 0]);
        assert.deepEqual(
          await bench.store.claim([claimOf(second?.messageId ?? 0, second?.claim)]),
          [true],
        );
        const statuses = await Promise.all(
          ids.map(async (id) => (await bench.store.getByMessage(null, id))?.messages[0]?.status),
        );
        assert.deepEqual(statuses.sort(), ['accepted', 'failed', 'sending'], 'the limit held');
        const told = await Promise.all(ids.map((id) => bench.events.timeline(id, id)));
        assert.deepEqual(
          told.flat().map(({ at, type }) => ({ at, type })),
          [1, 2].map(() => ({ at: NOW, type: 'redriven' })),
          'in the timeline of those that were taken',
        );
      });

      it('takes only failed messages, only of the application, only those named', async () => {
        await using bench = await open();
        const [mine, foreign] = [await fail(bench), await fail(bench, OTHER)];
        const pending = (await accept(bench.store)) + 1;
        const schedule = { startAt: NOW, intervalMs: 1, limit: 100 };
        const messageIds = [mine, foreign, pending, 12345];
        assert.equal(
          await bench.store.redrive({ applicationId: APPLICATION, messageIds }, schedule),
          1,
        );
        assert.equal(
          await bench.store.redrive({ applicationId: APPLICATION, messageIds }, schedule),
          0,
        );
        assert.equal(
          await bench.store.redrive({ applicationId: null }, schedule),
          1,
          'operators reach every application',
        );
      });
    });

    describe('search', () => {
      it('finds by every filter, newest first, page by page', async () => {
        await using bench = await open();
        const low: Lane = 2;
        const a = await accept(
          bench.store,
          {},
          { to: { userId: 'Ada', email: 'ada@example.com' }, category: 'News', batch: 'b1' },
        );
        const b = await accept(
          bench.store,
          { lane: low },
          {
            priority: 'low',
            to: { userId: 'ada' },
            template: { key: 'welcome', version: 3 },
            routes: [['in_app']],
            createdAt: NOW + 60_000,
          },
        );
        const c = await accept(bench.store, { applicationId: OTHER });
        await bench.store.claim([claimOf(a + 1)]);
        await bench.store.complete([
          completionOf(a + 1, { status: 'failed', reason: 'mailbox_full' }),
        ]);
        const find = async (filter: object): Promise<number[]> =>
          (
            await bench.store.search({
              applicationId: APPLICATION,
              limit: 10,
              before: null,
              ...filter,
            })
          ).map(({ key }) => key);
        assert.deepEqual(await find({}), [b + 1, a + 1]);
        assert.deepEqual(await find({ applicationId: null }), [c + 1, b + 1, a + 1]);
        assert.deepEqual(await find({ userId: 'Ada' }), [a + 1], 'ids differ by case');
        assert.deepEqual(await find({ status: 'failed' }), [a + 1]);
        assert.deepEqual(await find({ status: 'accepted' }), [b + 1]);
        assert.deepEqual(await find({ lane: low }), [b + 1]);
        assert.deepEqual(await find({ channel: 'in_app' }), [b + 1]);
        assert.deepEqual(await find({ template: 'welcome' }), [b + 1]);
        assert.deepEqual(await find({ category: 'News' }), [a + 1]);
        assert.deepEqual(await find({ category: 'news' }), []);
        assert.deepEqual(await find({ batch: 'b1' }), [a + 1]);
        assert.deepEqual(await find({ from: NOW + 60_000 }), [b + 1]);
        assert.deepEqual(await find({ to: NOW + 60_000 }), [a + 1]);
        assert.deepEqual(await find({ limit: 1 }), [b + 1]);
        assert.deepEqual(await find({ before: b + 1 }), [a + 1]);
        const [found] = await bench.store.search({
          applicationId: APPLICATION,
          status: 'failed',
          limit: 1,
          before: null,
        });
        assert.deepEqual(
          [found?.reason, found?.attempts, found?.user, found?.channel],
          ['mailbox_full', 1, 'Ada', 'email'],
        );
      });

      it('goes on page by page to the end, each with no more than was asked for', async () => {
        await using bench = await open();
        const ids: number[] = [];
        for (let i = 0; i < 7; i++) ids.unshift((await accept(bench.store)) + 1);
        const seen: number[] = [];
        let before: number | null = null;
        do {
          const page: FoundPage = await bench.store.page({
            applicationId: APPLICATION,
            limit: 3,
            before,
          });
          assert.ok(page.found.length <= 3);
          seen.push(...page.found.map(({ key }) => key));
          before = page.next;
        } while (before !== null);
        assert.deepEqual(seen, ids);
      });

      it('tells what test keys have sent from the rest, and so does the ledger', async () => {
        await using bench = await open();
        const live = await accept(bench.store);
        const test = await accept(bench.store, {}, { test: true });
        await accept(bench.store, { applicationId: OTHER }, { test: true });
        await bench.store.cancel(test, NOW);
        for (const [kind, id] of [
          ['live', live],
          ['test', test],
        ] as const) {
          const filter = { applicationId: APPLICATION, kind, limit: 10, before: null };
          const found = await bench.store.search(filter);
          assert.deepEqual(
            found.map(({ key }) => key),
            [id + 1],
          );
        }
        const books = async (applicationId: number | null, kind?: 'live' | 'test') => {
          const counted = await bench.store.ledger(applicationId, kind);
          assert.equal(counted.balanced, true);
          return [counted.accepted, counted.pending, counted.cancelled];
        };
        assert.deepEqual(await books(APPLICATION), [2, 1, 1]);
        assert.deepEqual(await books(APPLICATION, 'live'), [1, 1, 0]);
        assert.deepEqual(await books(APPLICATION, 'test'), [1, 0, 1]);
        assert.deepEqual(await books(null, 'test'), [2, 1, 1]);
      });

      it('binds what it is asked for, whatever it looks like', async () => {
        await using bench = await open();
        await accept(bench.store);
        for (const evil of ["' OR 1=1--", '"; DROP TABLE message', '%', '\\', 'ada@example.com']) {
          const filter = {
            userId: evil,
            template: evil,
            category: evil,
            batch: evil,
            channel: evil,
          };
          assert.deepEqual(
            await bench.store.search({
              applicationId: APPLICATION,
              limit: 10,
              before: null,
              ...filter,
            }),
            [],
          );
        }
      });

      it('follows a message through its life', async () => {
        await using bench = await open();
        const id = await accept(bench.store, {}, { sendAt: NOW + 1000 });
        const status = async (): Promise<string | undefined> =>
          (await bench.store.search({ applicationId: APPLICATION, limit: 1, before: null }))[0]
            ?.status;
        assert.equal(await status(), 'scheduled');
        await bench.store.cancel(id, NOW);
        assert.equal(await status(), 'cancelled');
      });
    });

    describe('ledger and backlog', () => {
      it('adds up, by application and over all', async () => {
        await using bench = await open();
        const ends = ['delivered', 'failed', 'expired', 'suppressed', 'cancelled'] as const;
        for (const status of ends) {
          const id = await accept(bench.store);
          await bench.store.claim([claimOf(id + 1)]);
          await bench.store.complete([completionOf(id + 1, { status })]);
        }
        await accept(bench.store, {}, { routes: [['email'], ['in_app']] });
        await accept(bench.store, {}, { sendAt: NOW + 1000 });
        await accept(bench.store, { applicationId: OTHER });
        const mine = await bench.store.ledger(APPLICATION);
        assert.deepEqual(mine, {
          accepted: 8,
          delivered: 1,
          failed: 1,
          expired: 1,
          suppressed: 1,
          cancelled: 1,
          pending: 3,
          balanced: true,
        });
        assert.equal((await bench.store.ledger(null)).accepted, 9);
        const backlog = await bench.store.backlog(NOW + 5000);
        assert.equal(
          backlog.reduce((sum, { pending }) => sum + pending, 0),
          4,
        );
      });
    });
  });
}
