import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, test } from 'node:test';
import { loadCatalog } from './catalog.ts';
import smtp from './email/providers/smtp.ts';
import { tryLoading } from './plug-in-trial.ts';

const PROVIDER = `{
  name: 'acme', title: 'Acme', documentation: 'https://acme.example', configSchema: {}, secrets: [],
  automatic: false, capabilities: {}, limits: {}, create: () => { throw new Error('created here'); },
  destination: () => 'here',
}`;
const ADAPTER = `{ channel: 'pigeon', contentSchema: {}, parseAddress: () => {} }`;

/** A plug-in folder with these files. */
function pluginFolder(files: Record<string, string>): Disposable & { path: string } {
  const path = mkdtempSync(join(tmpdir(), 'tidings-catalog-'));
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(path, name)), { recursive: true });
    writeFileSync(join(path, name), text);
  }
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true }) };
}

describe('the catalogue', () => {
  test('finds channels and providers of its own as they are written', async () => {
    const catalog = await loadCatalog();
    assert.equal(catalog.provider('email', 'smtp'), smtp);
    assert.ok(catalog.channels().includes('in_app'));
    assert.equal(catalog.provider('email', 'acme'), undefined);
    assert.deepEqual(catalog.providers('pigeon'), []);
  });

  test('adds channels and providers of the plug-in folder, in any of the ways to write them', async () => {
    using folder = pluginFolder({
      'email/providers/acme.mjs': `export default ${PROVIDER}`,
      'pigeon/adapter.ts': `const adapter: object = ${ADAPTER}; export default adapter;`,
      'pigeon/providers/acme.ts': `const provider: object = ${PROVIDER}; export default provider;`,
      'pigeon/providers/acme.test.ts': 'throw new Error("a test");',
      'pigeon/providers/notes.txt': 'no definition',
    });
    const catalog = await loadCatalog(folder.path);
    assert.equal(catalog.adapter('pigeon')?.channel, 'pigeon');
    assert.deepEqual(
      catalog.providers('pigeon').map(({ name }) => name),
      ['acme'],
    );
    // What the engine asks at once stays here; what a plug-in does with messages does not.
    const provider = catalog.provider('email', 'acme');
    assert.equal(provider?.destination?.({} as never), 'here');
    assert.doesNotMatch(String(provider?.create), /created here/);
    assert.equal(catalog.provider('email', 'smtp'), smtp);
  });

  test('does not load a file that loops', async () => {
    using folder = pluginFolder({ 'email/providers/a.mjs': 'console.log("#7"); for (;;);' });
    const file = join(folder.path, 'email/providers/a.mjs');
    await assert.rejects(tryLoading(folder.path, [file], 1000), /it is not loaded within 1 s/);
  });

  const faulty: [string, Record<string, string>, RegExp][] = [
    ['cannot be read', { 'email/providers/a.mjs': 'export default {' }, /a\.mjs: /],
    [
      'ends the process when it is loaded',
      { 'email/providers/a.mjs': 'process.exit(3)' },
      /a\.mjs: it ends its process when it is loaded \(3\)/,
    ],
    [
      'ends it with the code of success',
      { 'email/providers/a.mjs': 'process.exit()', 'email/providers/b.mjs': '' },
      /a\.mjs: it ends its process when it is loaded \(0\)/,
    ],
    [
      'crashes it when it is loaded',
      { 'email/providers/a.mjs': 'process.abort()' },
      /a\.mjs: it ends its process when it is loaded \(SIGABRT\)/,
    ],
    [
      'waits for ever',
      { 'email/providers/a.mjs': 'await new Promise(() => {});' },
      /a\.mjs: it waits for something that never comes/,
    ],
    ['exports nothing', { 'email/providers/a.mjs': 'export const x = 1' }, /a\.mjs has no default/],
    ['exports something else', { 'email/providers/a.mjs': 'export default {}' }, /a\.mjs does not/],
    [
      'takes a name twice',
      { 'email/providers/a.mjs': `export default ${PROVIDER.replace('acme', 'smtp')}` },
      /a\.mjs: email has a provider smtp already/,
    ],
    [
      'takes a channel twice',
      { 'email/adapter.mjs': `export default ${ADAPTER.replace('pigeon', 'email')}` },
      /the channel email exists already/,
    ],
    [
      'is in a folder of another name',
      { 'dove/adapter.mjs': `export default ${ADAPTER}` },
      /must be named like its folder, "dove"/,
    ],
    [
      'is no adapter',
      { 'dove/adapter.mjs': "export default { channel: 'dove' }" },
      /does not export an adapter/,
    ],
    [
      'has no channel',
      { 'dove/providers/a.mjs': `export default ${PROVIDER}` },
      /for the channel dove, but no adapter\.ts/,
    ],
  ];
  for (const [what, files, message] of faulty) {
    test(`names a file that ${what}`, async () => {
      using folder = pluginFolder(files);
      await assert.rejects(loadCatalog(folder.path), message);
    });
  }
});
