/** `tidings templates`, `users` and `keys`. */
import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { after, describe, test } from 'node:test';
import type { ApiKey, CreatedApiKey } from '@tidings/contracts/application';
import type { Notification } from '@tidings/contracts/notification';
import type { Template } from '@tidings/contracts/template';
import type { User } from '@tidings/contracts/user';
import { until } from '../support/within.ts';
import { exited, jsonOf, linesOf, openFolder, run, serviceOfSuite } from './cli-process.ts';

const WELCOME = '{"email":{"subject":"Hi {{name}}","text":"Hello {{name}}"}}';

describe('tidings templates, users and keys', () => {
  const service = serviceOfSuite();
  const { cli } = service;

  const folder = openFolder();
  after(() => folder[Symbol.dispose]());

  test('templates: create, version, publish, preview, list, get', async () => {
    const created = await cli([
      'templates',
      'create',
      'welcome',
      '--content',
      WELCOME,
      '--example',
      'name=Ada',
      '--publish',
    ]);
    exited(created, 0);
    assert.match(created.out, /published +version 1/);
    exited(await cli(['templates', 'create', 'welcome', '--content', WELCOME]), 1);
    const file = folder.write(
      'v2.json',
      JSON.stringify({
        content: JSON.parse(WELCOME.replace('Hi', 'Hey')),
        example: { name: 'Ada' },
      }),
    );
    assert.match(
      (await cli(['templates', 'version', 'welcome', '--file', file])).out,
      /^version 2 \(draft\)\n$/,
    );
    const preview = await cli(['templates', 'preview', 'welcome@2', '--data', 'name=Bob']);
    exited(preview, 0);
    assert.match(preview.out, /subject: Hey Bob\n/);
    assert.match((await cli(['templates', 'publish', 'welcome@2'])).out, /version 2 is published/);
    assert.match(
      (await cli(['templates', 'list'])).out,
      /^KEY +NAME[^\n]*\nwelcome +welcome +2 +2/,
    );
    const list = jsonOf<{ items: Template[]; next: null }>(
      await cli(['templates', 'list', '--json']),
    );
    assert.deepEqual([list.items.map(({ key }) => key), list.next], [['welcome'], null]);
    assert.match(
      (await cli(['templates', 'get', 'welcome@1'])).out,
      /version +1 \(published\)[\s\S]+subject: Hi \{\{name\}\}/,
    );
    exited(await cli(['templates', 'get', 'nothing']), 3);
    exited(
      await cli([
        'send',
        '--to',
        'a@example.com',
        '--template',
        'welcome@1',
        '--data',
        'name=Ada',
        '--wait',
        '30s',
      ]),
      0,
    );
  });

  test('a template that is refused names the place', async () => {
    const refused = await cli([
      'templates',
      'create',
      'bad',
      '--content',
      '{"email":{"subject":"{{ unclosed","text":"x"}}',
    ]);
    exited(refused, 1);
    assert.match(refused.err, /body\.content\.email\.subject: /);
    const preview = await cli(['templates', 'preview', 'welcome', '--data', 'other=1']);
    exited(preview, 0);
    assert.equal(preview.err, 'not in the data: name\n', 'information, no warning');
    const quiet = await cli(['templates', 'preview', 'welcome', '--data', 'other=1', '--quiet']);
    assert.equal(quiet.err, '');
  });

  test('users: put, get, list, delete', async () => {
    const put = await cli([
      'users',
      'put',
      'u/1 ä',
      '--name',
      'Ada',
      '--email',
      'ada@example.com',
      '--address',
      'in_app:x',
      '--group',
      'staff',
      '--attribute',
      'plan:={"n":1}',
    ]);
    exited(put, 0);
    assert.match(put.err, /created/);
    const user = jsonOf<User>(await cli(['users', 'get', 'u/1 ä', '--json']));
    assert.deepEqual(
      user.addresses.map(({ channel, address }) => `${channel}:${address}`),
      ['email:ada@example.com', 'in_app:x'],
    );
    assert.deepEqual([user.groups, user.attributes], [['staff'], { plan: { n: 1 } }]);
    const copied = await cli(['users', 'put', 'copy', '--file', '-'], {
      stdin: JSON.stringify({ name: user.name, groups: user.groups }),
    });
    exited(copied, 0);
    assert.match((await cli(['users', 'list', '--group', 'staff'])).out, /copy[^\n]+\nu\/1 ä +Ada/);
    exited(await cli(['users', 'list', '--group', 'ghosts']), 3);
    exited(await cli(['users', 'delete', 'copy']), 2);
    exited(await cli(['users', 'delete', 'copy', '--yes']), 0);
    exited(await cli(['users', 'delete', 'copy', '--yes']), 3);
    exited(await cli(['users', 'get', 'copy']), 3);
  });

  test('users: a table is imported, exported and imported again', async () => {
    const rows = Array.from(
      { length: 450 },
      (_, i) => `m${String(i).padStart(3, '0')},=Name ${i},m${i}@example.com,g${i % 3} all`,
    );
    const table = folder.write(
      'users.csv',
      `id,name,email,groups\r\n${rows.join('\r\n')}\r\nbad,Bad,not an address,\r\n`,
    );
    const imported = await cli(['users', 'import', table]);
    exited(imported, 5);
    assert.match(imported.err, /users\.csv:452: .+addresses.+\n450 users imported, 1 refused/);
    const page = jsonOf<{ items: User[]; next: string | null }>(
      await cli(['users', 'list', '--group', 'all', '--limit', '201', '--json']),
    );
    assert.equal(page.items.length, 201);
    const rest = jsonOf<{ items: User[]; next: string | null }>(
      await cli([
        'users',
        'list',
        '--group',
        'all',
        '--limit',
        '1000',
        '--cursor',
        page.next as string,
        '--json',
      ]),
    );
    assert.deepEqual([rest.items.length, rest.next], [249, null]);
    const all = jsonOf<{ items: User[] }>(
      await cli(['users', 'list', '--group', 'all', '--all', '--json']),
    );
    assert.equal(new Set(all.items.map(({ id }) => id)).size, 450);

    const nobody = await cli(['users', 'import', folder.write('nobody.csv', 'name\nAda\nBob\n')]);
    exited(nobody, 1);
    assert.equal(nobody.err.match(/there is no column id; columns: name/g)?.length, 1);
    const one = await cli(['users', 'import', folder.write('one.csv', 'id,name\nm000,Name 0\n')]);
    exited(one, 0);
    assert.match(one.err, /^1 user imported$/m);

    const exported = folder.path('exported.csv');
    exited(await cli(['users', 'export', '--out', exported]), 0);
    assert.equal(statSync(exported).mode & 0o777, 0o600);
    const before = (await cli(['users', 'export'])).out;
    exited(await cli(['users', 'import', exported]), 0);
    const comparable = (text: string): object[] =>
      linesOf<User>(text).map(({ createdAt, updatedAt, ...user }) => user);
    assert.deepEqual(comparable((await cli(['users', 'export'])).out), comparable(before));
    exited(await cli(['users', 'import', '-', '--format', 'ndjson'], { stdin: before }), 0);
  });

  test('keys: create, use, list, revoke', async () => {
    const { tidings } = service;
    const key = jsonOf<CreatedApiKey>(
      await cli([
        'keys',
        'create',
        '--name',
        'ci',
        '--scopes',
        'send',
        '--kind',
        'test',
        '--expires-at',
        '+1h',
        '--json',
      ]),
    );
    const shown = await cli(['keys', 'create', '--name', 'shown']);
    assert.match(shown.out, /^secret +\S{20,}$/m, 'the word of the API');
    assert.doesNotMatch(shown.out, /^key /m);
    const secretOnly = await cli(['keys', 'create', '--quiet']);
    assert.match(secretOnly.out, /^\S{20,}\n$/);
    const keyFile = folder.write('key', `${key.secret}\n`);
    const own = (args: string[]) => run([...args, '--url', tidings.url, '--api-key-file', keyFile]);
    const sent = jsonOf<Notification>(
      await own(['send', '--to', 'a@example.com', 'x', '--wait', '30s', '--json']),
    );
    assert.equal(sent.test, true);
    const forbidden = await own(['users', 'list']);
    exited(forbidden, 4);
    assert.match(forbidden.err, /scope "read"/);
    const { items } = jsonOf<{ items: ApiKey[] }>(await cli(['keys', 'list', '--json']));
    assert.ok(items.some(({ id, name }) => id === key.id && name === 'ci'));
    assert.ok(!JSON.stringify(items).includes(key.secret));
    exited(await cli(['keys', 'revoke', key.id]), 2);
    exited(await cli(['keys', 'revoke', key.id, '--yes']), 0);
    exited(await cli(['keys', 'revoke', 'key_00000000001', '--yes']), 3);
    await until(
      'the end of the key',
      async () => (await own(['send', '--to', 'a@example.com', 'x'])).code === 4,
    );
    assert.match(
      (await cli(['keys', 'list'])).out,
      new RegExp(`${key.id} +ci +test +send .+revoked`),
    );
  });
});
