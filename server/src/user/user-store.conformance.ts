/** What every engine of the user store must do, in the words of its port. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Preferences } from '@tidings/contracts/user';
import fc from 'fast-check';
import type { UserProfile, UserStore } from './user-store.ts';

type Opened = AsyncDisposable & { store: UserStore };

const APPLICATION = 1;
const OTHER = 2;
const AT = Date.UTC(2026, 10, 22, 8);
const NO_MAIL: Preferences = { channels: { email: false } };

/** Different texts that a careless collation takes for one another, and texts of several bytes. */
const ALIKE = [
  'a',
  'A',
  'a ',
  ' a',
  'á',
  'a\u0301',
  'ß',
  'ss',
  'ﬁ',
  'fi',
  '1',
  '01',
  '1.0',
  '%',
  '_',
  "' OR 1=1--",
  '用户',
  '👩‍👩‍👧',
  '👩',
  '𝒳'.repeat(128),
  '/../a',
  'constructor',
];

function profileOf(change: Partial<UserProfile> = {}): UserProfile {
  return {
    name: null,
    locale: null,
    timezone: null,
    addresses: [],
    groups: [],
    attributes: {},
    ...change,
  };
}

function byBytes(ids: readonly string[]): string[] {
  return [...ids].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
}

async function idsOf(
  store: UserStore,
  { group = null, applicationId = APPLICATION }: { group?: string | null; applicationId?: number },
): Promise<string[]> {
  const users = await store.list(applicationId, { limit: 200, after: null, group });
  return users.map(({ id }) => id);
}

export function runUserStoreConformance(name: string, open: () => Promise<Opened>): void {
  describe(`${name}: user store`, () => {
    aboutOneUser(open);
    aboutNames(open);
    aboutLists(open);
    aboutConcurrency(open);
  });
}

function aboutOneUser(open: () => Promise<Opened>): void {
  test('a profile is stored whole and read as it was given', async () => {
    await using opened = await open();
    const { store } = opened;
    const profile = profileOf({
      name: 'Ada 👩‍💻',
      locale: 'zh-CN',
      timezone: 'Asia/Shanghai',
      addresses: [
        { channel: 'email', address: 'ada@example.com', label: 'work', verified: true },
        { channel: 'email', address: 'ada@example.org' },
      ],
      groups: ['staff', 'a-first'],
      attributes: { level: 3, tags: ['x', null], nested: { deep: { on: true } } },
    });
    const { user, created } = await store.put(APPLICATION, 'ada', profile, NO_MAIL, AT);
    const time = new Date(AT).toISOString();
    const expected = {
      id: 'ada',
      ...profile,
      preferences: NO_MAIL,
      createdAt: time,
      updatedAt: time,
    };
    assert.equal(created, true);
    assert.deepEqual(user, expected);
    assert.deepEqual(await store.get(APPLICATION, 'ada'), expected);
    assert.deepEqual(store.find(APPLICATION, 'ada'), expected);
  });

  test('a second put replaces all of the profile and keeps the time of creation', async () => {
    await using opened = await open();
    const { store } = opened;
    const full = profileOf({ name: 'Ada', groups: ['staff'], attributes: { a: 1 } });
    await store.put(APPLICATION, 'ada', full, null, AT);
    const { user, created } = await store.put(APPLICATION, 'ada', profileOf(), null, AT + 5000);
    assert.equal(created, false);
    assert.deepEqual(await store.get(APPLICATION, 'ada'), user);
    const { name, groups, attributes, createdAt, updatedAt } = user;
    assert.deepEqual({ name, groups, attributes }, { name: null, groups: [], attributes: {} });
    assert.equal(createdAt, new Date(AT).toISOString());
    assert.equal(updatedAt, new Date(AT + 5000).toISOString());
  });

  test('preferences are none at first, kept by a put without them and replaced by one with them', async () => {
    await using opened = await open();
    const { store } = opened;
    const put = (preferences: Preferences | null) =>
      store.put(APPLICATION, 'ada', profileOf(), preferences, AT);
    assert.deepEqual((await put(null)).user.preferences, {});
    assert.deepEqual((await put(NO_MAIL)).user.preferences, NO_MAIL);
    assert.deepEqual((await put(null)).user.preferences, NO_MAIL);
    assert.deepEqual((await put({})).user.preferences, {});
    assert.deepEqual(store.find(APPLICATION, 'ada')?.preferences, {});
  });

  test('putPreferences replaces the preferences only, and of a known user only', async () => {
    await using opened = await open();
    const { store } = opened;
    const profile = profileOf({ name: 'Ada', groups: ['staff'] });
    assert.equal(await store.putPreferences(APPLICATION, 'ada', NO_MAIL, AT), undefined);
    assert.equal(await store.get(APPLICATION, 'ada'), undefined);
    const { user } = await store.put(APPLICATION, 'ada', profile, { channels: { sms: false } }, AT);
    const changed = await store.putPreferences(APPLICATION, 'ada', NO_MAIL, AT + 1);
    const updatedAt = new Date(AT + 1).toISOString();
    assert.deepEqual(changed, { ...user, preferences: NO_MAIL, updatedAt });
    assert.deepEqual(await store.get(APPLICATION, 'ada'), changed);
    assert.deepEqual(await idsOf(store, { group: 'staff' }), ['ada']);
  });

  test('a removed user is gone from everywhere and leaves nothing to the next of its id', async () => {
    await using opened = await open();
    const { store } = opened;
    const profile = profileOf({ name: 'Ada', groups: ['staff'] });
    assert.equal(await store.delete(APPLICATION, 'ada'), false);
    await store.put(APPLICATION, 'ada', profile, NO_MAIL, AT);
    assert.equal(await store.delete(APPLICATION, 'ada'), true);
    assert.equal(await store.delete(APPLICATION, 'ada'), false);
    assert.equal(await store.get(APPLICATION, 'ada'), undefined);
    assert.equal(store.find(APPLICATION, 'ada'), undefined);
    assert.deepEqual(await idsOf(store, {}), []);
    assert.deepEqual(await idsOf(store, { group: 'staff' }), []);
    const { user, created } = await store.put(APPLICATION, 'ada', profileOf(), null, AT + 9);
    assert.equal(created, true);
    assert.deepEqual(user.preferences, {});
    assert.equal(user.createdAt, new Date(AT + 9).toISOString());
    assert.deepEqual(await idsOf(store, { group: 'staff' }), []);
  });

  test('find sees each write of this process at once, small profiles and large ones', async () => {
    await using opened = await open();
    const { store } = opened;
    const large = { text: '文'.repeat(10_000) };
    for (const attributes of [{}, large]) {
      assert.equal(store.find(APPLICATION, 'ada'), undefined);
      await store.put(APPLICATION, 'ada', profileOf({ name: 'one', attributes }), null, AT);
      assert.equal(store.find(APPLICATION, 'ada')?.name, 'one');
      await store.put(APPLICATION, 'ada', profileOf({ name: 'two', attributes }), null, AT);
      assert.equal(store.find(APPLICATION, 'ada')?.name, 'two');
      await store.putPreferences(APPLICATION, 'ada', NO_MAIL, AT);
      assert.deepEqual(store.find(APPLICATION, 'ada')?.preferences, NO_MAIL);
      assert.deepEqual(store.find(APPLICATION, 'ada'), await store.get(APPLICATION, 'ada'));
      await store.delete(APPLICATION, 'ada');
    }
    assert.equal(store.find(APPLICATION, 'ada'), undefined);
  });

  test('any JSON is kept in attributes', async () => {
    await using opened = await open();
    const { store } = opened;
    const name = fc
      .string({ unit: 'grapheme', minLength: 1 })
      .filter((text) => text !== '__proto__');
    const attributes = fc.dictionary(name, fc.jsonValue({ maxDepth: 4 }), {
      noNullPrototype: true,
    });
    const sample = fc.asyncProperty(attributes, async (given) => {
      // Through JSON once, as a request comes: it has no negative zero.
      const expected = JSON.parse(JSON.stringify(given)) as Record<string, unknown>;
      await store.put(APPLICATION, 'ada', profileOf({ attributes: given }), null, AT);
      assert.deepEqual((await store.get(APPLICATION, 'ada'))?.attributes, expected);
    });
    await fc.assert(sample, { numRuns: 100 });
  });
}

function aboutNames(open: () => Promise<Opened>): void {
  test('ids are compared exactly', async () => {
    await using opened = await open();
    const { store } = opened;
    for (const id of ALIKE) {
      const { created } = await store.put(APPLICATION, id, profileOf({ name: id }), null, AT);
      assert.equal(created, true, JSON.stringify(id));
    }
    for (const id of ALIKE) {
      assert.equal((await store.get(APPLICATION, id))?.name, id);
      assert.equal(store.find(APPLICATION, id)?.id, id);
    }
    assert.deepEqual(await idsOf(store, {}), byBytes(ALIKE));
    assert.equal(await store.delete(APPLICATION, 'a '), true);
    assert.deepEqual(await idsOf(store, {}), byBytes(ALIKE.filter((id) => id !== 'a ')));
  });

  test('groups are compared exactly', async () => {
    await using opened = await open();
    const { store } = opened;
    const groups = ['staff', 'Staff', 'staff.', 'staff:1', 'STAFF'];
    for (const group of groups) {
      await store.put(APPLICATION, `in ${group}`, profileOf({ groups: [group] }), null, AT);
    }
    for (const group of groups) assert.deepEqual(await idsOf(store, { group }), [`in ${group}`]);
    assert.deepEqual(await idsOf(store, { group: 'sta' }), []);
    assert.deepEqual(await idsOf(store, { group: 'staff%' }), []);
  });

  test('a user of another application is not there', async () => {
    await using opened = await open();
    const { store } = opened;
    const mine = profileOf({ name: 'mine', groups: ['staff'] });
    await store.put(APPLICATION, 'ada', mine, NO_MAIL, AT);
    assert.equal(await store.get(OTHER, 'ada'), undefined);
    assert.equal(store.find(OTHER, 'ada'), undefined);
    assert.equal(await store.putPreferences(OTHER, 'ada', {}, AT), undefined);
    assert.equal(await store.delete(OTHER, 'ada'), false);
    assert.deepEqual(await idsOf(store, { applicationId: OTHER, group: 'staff' }), []);
    const other = await store.put(OTHER, 'ada', profileOf({ name: 'other' }), null, AT);
    assert.equal(other.created, true);
    assert.deepEqual(other.user.preferences, {});
    assert.equal(await store.delete(OTHER, 'ada'), true);
    assert.equal(store.find(APPLICATION, 'ada')?.name, 'mine');
    assert.deepEqual(await idsOf(store, { group: 'staff' }), ['ada']);
  });
}

function aboutLists(open: () => Promise<Opened>): void {
  test('a list goes by id, after a given one, up to the limit', async () => {
    await using opened = await open();
    const { store } = opened;
    const ids = ['b', 'a', 'd', 'c', 'Z', '用'];
    for (const id of ids) {
      const groups = id === 'c' || id === 'a' ? ['few'] : [];
      await store.put(APPLICATION, id, profileOf({ groups }), null, AT);
    }
    const list = async (limit: number, after: string | null, group: string | null = null) =>
      (await store.list(APPLICATION, { limit, after, group })).map(({ id }) => id);
    assert.deepEqual(await list(3, null), ['Z', 'a', 'b']);
    assert.deepEqual(await list(3, 'b'), ['c', 'd', '用']);
    assert.deepEqual(await list(3, 'bb'), ['c', 'd', '用']);
    assert.deepEqual(await list(3, '用'), []);
    assert.deepEqual(await list(1, null, 'few'), ['a']);
    assert.deepEqual(await list(1, 'a', 'few'), ['c']);
    assert.deepEqual(await list(1, 'c', 'few'), []);
    const [user] = await store.list(APPLICATION, { limit: 1, after: 'b', group: 'few' });
    assert.deepEqual(user, await store.get(APPLICATION, 'c'));
  });

  test('membership follows the profile', async () => {
    await using opened = await open();
    const { store } = opened;
    const put = (groups: string[]) =>
      store.put(APPLICATION, 'ada', profileOf({ groups }), null, AT);
    const memberships = async () => {
      const found = [];
      for (const group of ['a', 'b', 'c']) {
        if ((await idsOf(store, { group })).includes('ada')) found.push(group);
      }
      return found;
    };
    for (const groups of [['a', 'b'], ['b', 'c'], ['b', 'c'], [], ['c']]) {
      await put(groups);
      assert.deepEqual(await memberships(), groups);
    }
  });

  test('a walk meets everybody who was there exactly once while users come and go', async () => {
    await using opened = await open();
    const { store } = opened;
    const name = (i: number) => `user-${String(i).padStart(4, '0')}`;
    const there = Array.from({ length: 100 }, (_, i) => name(i * 10));
    const profile = profileOf({ groups: ['all'] });
    await Promise.all(there.map((id) => store.put(APPLICATION, id, profile, null, AT)));
    for (const group of [null, 'all']) {
      const met: string[] = [];
      let after: string | null = null;
      for (let page = 0; ; page++) {
        const users = await store.list(APPLICATION, { limit: 7, after, group });
        met.push(...users.map(({ id }) => id));
        const last = users.at(-1);
        if (!last) break;
        after = last.id;
        const brief = `${name(999 - page)}-brief`;
        const comers = [name(page * 70 + 3), brief, `a-${page}`];
        await Promise.all(comers.map((id) => store.put(APPLICATION, id, profile, null, AT)));
        await store.delete(APPLICATION, brief);
      }
      assert.deepEqual(
        met.filter((id) => there.includes(id)),
        there,
      );
      assert.equal(new Set(met).size, met.length);
    }
  });
}

function aboutConcurrency(open: () => Promise<Opened>): void {
  test('of 100 concurrent puts of one user one creates, and one is what is left', async () => {
    await using opened = await open();
    const { store } = opened;
    const results = await Promise.all(
      Array.from({ length: 100 }, (_, i) => {
        const groups = [`g${i}`, `half-${i % 2}`];
        const profile = profileOf({ name: `name ${i}`, groups, attributes: { i } });
        return store.put(APPLICATION, 'ada', profile, { channels: { email: i % 2 === 0 } }, AT + i);
      }),
    );
    assert.equal(results.filter(({ created }) => created).length, 1);
    const left = await store.get(APPLICATION, 'ada');
    assert.ok(left);
    assert.ok(results.some(({ user }) => JSON.stringify(user) === JSON.stringify(left)));
    for (let i = 0; i < 100; i++) {
      const expected: string[] = left.groups.includes(`g${i}`) ? ['ada'] : [];
      assert.deepEqual(await idsOf(store, { group: `g${i}` }), expected);
    }
    const halves = ['half-0', 'half-1'].filter((group) => left.groups.includes(group));
    assert.deepEqual(await idsOf(store, { group: halves[0] as string }), ['ada']);
  });

  test('concurrent writes of a profile and of its preferences keep both', async () => {
    await using opened = await open();
    const { store } = opened;
    await store.put(APPLICATION, 'ada', profileOf(), null, AT);
    await Promise.all([
      store.put(APPLICATION, 'ada', profileOf({ name: 'Ada' }), null, AT),
      store.putPreferences(APPLICATION, 'ada', NO_MAIL, AT),
      store.put(APPLICATION, 'ada', profileOf({ name: 'Ada' }), null, AT),
    ]);
    const user = await store.get(APPLICATION, 'ada');
    assert.deepEqual([user?.name, user?.preferences], ['Ada', NO_MAIL]);
  });
}
