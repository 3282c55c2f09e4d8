/** `tidings export` and `import`: interrupted, repeated, damaged. */
import assert from 'node:assert/strict';
import { readFileSync, rmSync, statSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { MessageSummary } from '@tidings/contracts/notification';
import type { Template } from '@tidings/contracts/template';
import type { User } from '@tidings/contracts/user';
import { startTidings } from '../support/start.ts';
import {
  type Cli,
  cliOf,
  exited,
  jsonOf,
  linesOf,
  openFolder,
  serviceOfSuite,
  startProxy,
} from './cli-process.ts';

const WELCOME = '{"email":{"subject":"Hi {{name}}","text":"Hello {{name}}"}}';

describe('tidings export and import', () => {
  const service = serviceOfSuite();
  const { cli } = service;

  const folder = openFolder();
  after(() => folder[Symbol.dispose]());

  before(async () => {
    const content = ['--content', WELCOME, '--example', 'name=Ada'];
    exited(await cli(['templates', 'create', 'welcome', ...content, '--publish']), 0);
    const second = ['--content', WELCOME.replace('Hi', 'Hey'), '--publish'];
    exited(await cli(['templates', 'version', 'welcome', ...second]), 0);
    const users = Array.from({ length: 451 }, (_, i) => ({
      id: `m${i}`,
      name: `Name ${i}`,
      addresses: [{ channel: 'email', address: `m${i}@example.com` }],
      preferences: { channels: { in_app: i % 2 === 0 } },
    }));
    const stdin = users.map((user) => JSON.stringify(user)).join('\n');
    exited(await cli(['users', 'import', '-'], { stdin }), 0);
  });

  const backup = folder.path('backup');
  test('export: interrupted by the network, it goes on where it stopped', async () => {
    const { tidings } = service;
    await tidings.call('/v1/categories/news', {
      method: 'PUT',
      body: { name: 'News', mandatory: false },
    });
    const endpoint = { url: 'https://hooks.example.com/a', description: 'first' };
    await tidings.call('/v1/webhook-endpoints', { body: endpoint });
    const stdin = Array.from({ length: 450 }, (_, i) => `{"email":"x${i}@example.com"}`).join('\n');
    exited(await cli(['send', '--recipients', '-', 'x', '--quiet'], { stdin }), 0);

    await using proxy = await startProxy(tidings.url);
    let pages = 0;
    proxy.rule = ({ url = '' }) =>
      url.startsWith('/v1/notifications?') && ++pages > 2 ? 'before' : 'pass';
    const through = { env: { TIDINGS_URL: proxy.url } };
    const cut = await cli(['export', '--out', backup, '--timeout', '2s'], through);
    exited(cut, 1);
    const manifest = () => JSON.parse(readFileSync(join(backup, 'manifest.json'), 'utf8'));
    assert.equal(manifest().parts.messages.records, 400);
    assert.equal(manifest().completedAt, null);
    exited(await cli(['import', '--in', backup]), 1);
    // What a kill in the middle of a write would leave.
    writeFileSync(join(backup, 'messages.ndjson'), '{"half":'.padEnd(500_000, 'x'), { flag: 'a' });

    exited(await cli(['export', '--out', backup], { env: { TIDINGS_URL: tidings.url } }), 2);
    exited(await cli(['export', '--out', backup, '--only', 'users'], through), 2);
    proxy.rule = () => 'pass';
    const whole = await cli(['export', '--out', backup], through);
    exited(whole, 0);
    assert.match(whole.err, /going on with the export of/);
    const messages = linesOf<MessageSummary>(readFileSync(join(backup, 'messages.ndjson'), 'utf8'));
    const { accepted } = await tidings.ledger();
    assert.equal(new Set(messages.map(({ id }) => id)).size, accepted);
    assert.equal(messages.length, accepted);
    assert.equal(manifest().parts.messages.records, accepted);
    assert.ok(!readFileSync(join(backup, 'webhook-endpoints.ndjson'), 'utf8').includes('whsec_'));
    assert.equal(statSync(join(backup, 'users.ndjson')).mode & 0o777, 0o600);
    exited(await cli(['export', '--out', backup], through), 2);
    exited(await cli(['export', '--out', folder.path('.')], through), 2);
  });

  test('import: into another service, and again without any change', async () => {
    await using other = await startTidings();
    const there = cliOf(other);
    const first = await there(['import', '--in', backup]);
    exited(first, 0);
    assert.match(first.out, /^whe_\w+ {2}https:\/\/hooks\.example\.com\/a {2}whsec_\S+$/m);
    assert.match(first.out, /users +451 +451 +0/);
    const stateOf = async (cliThere: Cli) => ({
      users: linesOf<User>((await cliThere(['users', 'export'])).out).map(
        ({ createdAt, updatedAt, ...user }) => user,
      ),
      templates: linesOf<{
        template: Template;
        versions: { version: number; content: unknown; status: string }[];
      }>((await cliThere(['templates', 'export'])).out).map(
        ({ template: { key, publishedVersion, latestVersion, name }, versions }) => ({
          key,
          publishedVersion,
          latestVersion,
          name,
          versions: versions.map(({ version, content, status }) => ({ version, content, status })),
        }),
      ),
    });
    const state = await stateOf(there);
    assert.deepEqual(state, await stateOf(cli));
    const again = await there(['import', '--in', backup, '--json']);
    assert.deepEqual(
      jsonOf<{ parts: { name: string; refused: number }[] }>(again).parts.map(
        ({ name, refused }) => [name, refused],
      ),
      [
        ['categories', 0],
        ['templates', 0],
        ['users', 0],
        ['webhook-endpoints', 0],
      ],
    );
    assert.deepEqual(await stateOf(there), state);
    const endpoints = (await other.call('/v1/webhook-endpoints')).json<{
      items: { url: string; description: string }[];
    }>();
    assert.deepEqual(
      endpoints.items.map(({ url, description }) => [url, description]),
      [['https://hooks.example.com/a', 'first']],
    );
    const categories = (await other.call('/v1/categories')).json<{ items: unknown[] }>();
    assert.deepEqual(categories.items, [{ key: 'news', name: 'News', mandatory: false }]);
  });

  test('templates go from file to service, and an older text is never live', async () => {
    const file = folder.path('templates.ndjson');
    exited(await cli(['templates', 'export', '--out', file]), 0);
    const unchanged = await cli(['templates', 'import', file]);
    exited(unchanged, 0);
    assert.match(unchanged.err, /0 created, 0 changed, 1 unchanged/);
    exited(
      await cli([
        'templates',
        'version',
        'welcome',
        '--content',
        WELCOME.replace('Hi', 'Newest'),
        '--publish',
      ]),
      0,
    );
    const back = await cli(['templates', 'import', '-'], { stdin: readFileSync(file, 'utf8') });
    assert.match(back.err, /0 created, 1 changed/);
    const template = jsonOf<Template>(await cli(['templates', 'get', 'welcome', '--json']));
    assert.deepEqual([template.publishedVersion, template.latestVersion], [2, 3]);
    const wrong = await cli(['templates', 'import', '-'], { stdin: '{"no":"template"}\n' });
    exited(wrong, 1);
    assert.match(wrong.err, /standard input:1: is not a template/);
  });

  test('a damaged or missing export is not brought in', async () => {
    exited(await cli(['import', '--in', folder.path('nowhere')]), 3);
    const users = join(backup, 'users.ndjson');
    truncateSync(users, statSync(users).size - 10);
    const damaged = await cli(['import', '--in', backup]);
    exited(damaged, 1);
    assert.match(damaged.err, /users\.ndjson is not the file that was exported/);
    rmSync(users);
    symlinkSync('/dev/zero', users);
    const endless = await cli(['import', '--in', backup]);
    exited(endless, 1);
    assert.match(endless.err, /users\.ndjson cannot be read: it is no regular file/);
  });
});
