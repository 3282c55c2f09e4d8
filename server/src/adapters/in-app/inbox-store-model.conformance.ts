/** Random histories against the simplest inbox there is: a list in memory. Part of the suite of the port. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { INBOX_ACTIONS, INBOX_STATES, type InboxItem } from '@tidings/contracts/inbox';
import fc from 'fast-check';
import { formatId } from '../../id.ts';
import {
  deliveredItem,
  type InboxChange,
  type InboxOwner,
  type InboxStore,
  type NewInboxItem,
} from './inbox-store.ts';

const OWNERS: readonly InboxOwner[] = [
  { applicationId: 1, userId: 'ada' },
  { applicationId: 1, userId: 'Ada' },
  { applicationId: 2, userId: 'ada' },
];
const MESSAGES = 8;

type Step =
  | { kind: 'deliver'; item: NewInboxItem }
  | { kind: 'mark'; owner: InboxOwner; change: InboxChange };

interface Stored {
  owner: InboxOwner;
  item: InboxItem;
}

const owner = fc.constantFrom(...OWNERS);
const messageId = fc.integer({ min: 1, max: MESSAGES }).map((n) => formatId('msg', n));
const category = fc.constantFrom(null, 'a', 'b');

const deliver = fc
  .record({ owner, messageId, category, collapseKey: fc.constantFrom(null, null, 'k', 'K') })
  .map(({ owner: { applicationId, userId }, ...rest }): Step => {
    const content = { title: 'T', text: null, url: null, imageUrl: null, actions: [], data: {} };
    return { kind: 'deliver', item: { applicationId, userId, content, at: 0, ...rest } };
  });

const mark = fc
  .record({
    owner,
    action: fc.constantFrom(...INBOX_ACTIONS),
    items: fc.oneof(
      fc.constant('all' as const),
      fc.array(messageId, { maxLength: 4, size: 'max' }),
    ),
    category,
  })
  .map(
    ({ owner: marked, ...change }): Step => ({
      kind: 'mark',
      owner: marked,
      change: { ...change, at: 0 },
    }),
  );

/** Fixed, so that a failure is the same for everybody; raise the runs to look further. */
const RUNS = { numRuns: 40, seed: 20_261_122 };

export function runInboxStoreModel(
  open: () => Promise<AsyncDisposable & { store: InboxStore }>,
): void {
  test('random histories end as they do in memory', async () => {
    const steps = fc.array(fc.oneof({ weight: 2, arbitrary: deliver }, mark), {
      maxLength: 40,
      size: 'max',
    });
    await fc.assert(
      fc.asyncProperty(steps, async (history) => {
        await using opened = await open();
        const model: Stored[] = [];
        for (const [i, step] of history.entries()) {
          const at = 1000 * (i + 1);
          if (step.kind === 'deliver') {
            const item = { ...step.item, at };
            await opened.store.deliver(item);
            deliverTo(model, item);
          } else {
            const change = { ...step.change, at };
            const changed = await opened.store.mark(step.owner, change);
            assert.equal(changed, markIn(model, step.owner, change));
          }
        }
        await assertSame(opened.store, model);
      }),
      RUNS,
    );
  });
}

function deliverTo(model: Stored[], item: NewInboxItem): void {
  if (model.some((stored) => stored.item.id === item.messageId)) return;
  const { applicationId, userId, collapseKey, at } = item;
  const time = new Date(at).toISOString();
  for (const stored of of(model, item)) {
    if (collapseKey !== null && stored.item.collapseKey === collapseKey) {
      stored.item.archivedAt ??= time;
    }
  }
  model.push({ owner: { applicationId, userId }, item: deliveredItem(item) });
}

function markIn(model: Stored[], marked: InboxOwner, change: InboxChange): number {
  const { action, items, category: only, at } = change;
  const time = new Date(at).toISOString();
  let changed = 0;
  for (const { item } of of(model, marked)) {
    const named =
      items === 'all'
        ? item.archivedAt === null && (only === null || item.category === only)
        : items.includes(item.id);
    if (!named) continue;
    const before = JSON.stringify(item);
    if (action === 'seen' || action === 'read') item.seenAt ??= time;
    if (action === 'read') item.readAt ??= time;
    if (action === 'unread') item.readAt = null;
    if (action === 'archive') item.archivedAt ??= time;
    if (action === 'unarchive') item.archivedAt = null;
    if (JSON.stringify(item) !== before) changed++;
  }
  return changed;
}

async function assertSame(store: InboxStore, model: Stored[]): Promise<void> {
  for (const inbox of OWNERS) {
    const mine = of(model, inbox).map(({ item }) => item);
    const entries = await store.since(inbox, 0, 100);
    assert.deepEqual(
      entries.map(({ item }) => item),
      mine,
    );
    const open = mine.filter(({ archivedAt }) => archivedAt === null);
    assert.deepEqual(await store.counts(inbox), {
      unseen: open.filter(({ seenAt }) => seenAt === null).length,
      unread: open.filter(({ readAt }) => readAt === null).length,
      total: open.length,
    });
    for (const state of INBOX_STATES) {
      const expected = mine.filter((item) => shows(state, item)).reverse();
      assert.deepEqual(await listAll(store, inbox, state), expected, state);
    }
  }
}

async function listAll(store: InboxStore, inbox: InboxOwner, state: (typeof INBOX_STATES)[number]) {
  const items: InboxItem[] = [];
  let cursor: string | null = null;
  do {
    const page = await store.list(inbox, { state, category: null, limit: 3, cursor });
    items.push(...page.items);
    cursor = page.next;
  } while (cursor !== null);
  return items;
}

function shows(state: (typeof INBOX_STATES)[number], item: InboxItem): boolean {
  if (state === 'archived') return item.archivedAt !== null;
  if (item.archivedAt !== null) return false;
  return state === 'all' || (state === 'unread' ? item.readAt : item.seenAt) === null;
}

function of(model: Stored[], { applicationId, userId }: InboxOwner): Stored[] {
  return model.filter(
    (stored) => stored.owner.applicationId === applicationId && stored.owner.userId === userId,
  );
}
