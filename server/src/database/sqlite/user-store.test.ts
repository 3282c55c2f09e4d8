/** The user store on SQLite: the suite of its port, and what only this engine has. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openTestRecords } from '../../../test/support/records.ts';
import { runUserStoreConformance } from '../../user/user-store.conformance.ts';
import type { UserProfile } from '../../user/user-store.ts';

const APPLICATION = 1;
const EMPTY: UserProfile = {
  name: null,
  locale: null,
  timezone: null,
  addresses: [],
  groups: [],
  attributes: {},
};

runUserStoreConformance('SQLite', async () => {
  const records = openTestRecords();
  return {
    store: records.users,
    [Symbol.asyncDispose]: () => records[Symbol.asyncDispose](),
  };
});

test('find is remembered: the same object until something is written', async () => {
  await using records = openTestRecords();
  const { users } = records;
  await users.put(APPLICATION, 'ada', EMPTY, null, 0);
  const first = users.find(APPLICATION, 'ada');
  assert.equal(users.find(APPLICATION, 'ada'), first);
  await users.put(APPLICATION, 'bob', EMPTY, null, 0);
  assert.notEqual(users.find(APPLICATION, 'ada'), first);
});

test('what get returns is the callers own copy', async () => {
  await using records = openTestRecords();
  const { users } = records;
  await users.put(APPLICATION, 'ada', { ...EMPTY, groups: ['staff'] }, null, 0);
  users.find(APPLICATION, 'ada');
  (await users.get(APPLICATION, 'ada'))?.groups.push('changed');
  assert.deepEqual(users.find(APPLICATION, 'ada')?.groups, ['staff']);
});

test('a change through another thread is seen by find within 5 s', async () => {
  await using records = openTestRecords();
  const { users, clock } = records;
  const other = records.another().users;
  await users.put(APPLICATION, 'ada', { ...EMPTY, name: 'one' }, null, 0);
  assert.equal(other.find(APPLICATION, 'ada')?.name, 'one');
  assert.equal(other.find(APPLICATION, 'bob'), undefined);
  await users.put(APPLICATION, 'ada', { ...EMPTY, name: 'two' }, null, 0);
  await users.put(APPLICATION, 'bob', EMPTY, null, 0);
  assert.equal(other.find(APPLICATION, 'ada')?.name, 'one', 'it is cached, or this tests nothing');
  clock.advance(5000);
  assert.equal(other.find(APPLICATION, 'ada')?.name, 'two');
  assert.equal(other.find(APPLICATION, 'bob')?.id, 'bob');
});

test('an id that looks like a part of a cache key is kept apart', async () => {
  await using records = openTestRecords();
  const { users } = records;
  await users.put(1, '2:ada', { ...EMPTY, name: 'of 1' }, null, 0);
  await users.put(12, 'ada', { ...EMPTY, name: 'of 12' }, null, 0);
  await users.put(1, ':ada', { ...EMPTY, name: 'colon' }, null, 0);
  assert.equal(users.find(1, '2:ada')?.name, 'of 1');
  assert.equal(users.find(12, 'ada')?.name, 'of 12');
  assert.equal(users.find(1, ':ada')?.name, 'colon');
  assert.equal(users.find(1, 'ada'), undefined);
});

test('membership is kept in rows, which the search of messages by group joins', async () => {
  await using records = openTestRecords();
  const { users, file } = records;
  await users.put(1, 'ada', { ...EMPTY, groups: ['staff', 'few'] }, null, 0);
  await users.put(2, 'bob', { ...EMPTY, groups: ['staff'] }, null, 0);
  const rows = file
    .reader()
    .prepare('SELECT application_id, user_id FROM user_group WHERE group_key = ?')
    .all('staff');
  assert.deepEqual(
    rows.map((row) => ({ ...row })),
    [
      { application_id: 1, user_id: 'ada' },
      { application_id: 2, user_id: 'bob' },
    ],
  );
});
