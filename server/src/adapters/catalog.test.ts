import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, test } from 'node:test';
import { definitionFilesIn, loadCatalog } from './catalog.ts';
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

/** The most telling error of a folder. */
async function faultOf(path: string): Promise<string> {
  let message = 'none';
  await loadCatalog(path).catch((error: Error) => {
    message = error.message;
  });
  return message.replace(tmpdir(), '');
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
    const loops = 'for (let i = 0; i < 1000; i++) console.log("#7"); for (;;);';
    using folder = pluginFolder({ 'email/providers/a.mjs': loops });
    const file = join(folder.path, 'email/providers/a.mjs');
    await assert.rejects(tryLoading(folder.path, [file], 3000), {
      message: `${file}: it is not loaded within 3 s`,
    });
  });

  test('does not load a file that leaves its process no end', async () => {
    const stays = `process.on('exit', () => { for (;;); }); export default ${PROVIDER}`;
    using folder = pluginFolder({ 'email/providers/a.mjs': stays });
    const file = join(folder.path, 'email/providers/a.mjs');
    await assert.rejects(tryLoading(folder.path, [file], 3000), {
      message: `${folder.path}: its files are loaded, but do not let their process end as it should`,
    });
  });

  test('tells apart what a plug-in writes and what the trial says, wherever it writes it', async () => {
    const forges = `import fs from 'node:fs'; import { syncBuiltinESMExports } from 'node:module';
      for (const said of ['#1', '1', 'undefined 1'])
        for (const file of [1, 3, 4, 6]) try { fs.writeSync(file, '\\n' + said + '\\n'); } catch {}
      const { writeSync } = fs;
      fs.writeSync = (file, text) => writeSync(file, text.replace(/\\d+\\n$/, '2\\n'));
      syncBuiltinESMExports();`;
    const endings = [
      'process.exit(0);',
      'setImmediate(process.exit, 0); await new Promise(() => {});',
    ];
    for (const ending of endings) {
      using folder = pluginFolder({
        'email/providers/a.mjs': `${forges} export default ${PROVIDER}`,
        'email/providers/b.mjs': ending,
      });
      const [a, b] = ['a', 'b'].map((name) => join(folder.path, `email/providers/${name}.mjs`));
      const files = [a as string, b as string];
      await assert.rejects(tryLoading(folder.path, files), {
        message: `${b}: it ends its process when it is loaded (0)`,
      });
      await assert.rejects(tryLoading(folder.path, files.slice(1)), {
        message: `${b}: it ends its process when it is loaded (0)`,
      });
    }
  });

  test('does not load a plug-in where there is no place for its temporary file', async () => {
    using folder = pluginFolder({ 'email/providers/a.mjs': `export default ${PROVIDER}` });
    const nowhere = join(folder.path, 'nowhere');
    const before = process.env['TMPDIR'];
    process.env['TMPDIR'] = nowhere;
    try {
      await assert.rejects(loadCatalog(folder.path), ({ message }: Error) => {
        assert.ok(
          message.startsWith(`${nowhere}: plug-ins need a file in the folder for`),
          message,
        );
        assert.match(message, /\(TMPDIR\): ENOENT: /);
        return true;
      });
    } finally {
      if (before === undefined) delete process.env['TMPDIR'];
      else process.env['TMPDIR'] = before;
    }
  });

  const faulty: [string, Record<string, string>, RegExp][] = [
    ['cannot be read', { 'email/providers/a.mjs': 'export default {' }, /a\.mjs: /],
    [
      'ends the process when it is loaded',
      { 'email/providers/a.mjs': 'process.exit(3)' },
      /a\.mjs: it ends its process when it is loaded \(3\)/,
    ],
    [
      'says why it ends the process',
      { 'email/providers/a.mjs': 'console.error("no licence\\n"); process.exit(3)' },
      /a\.mjs: it ends its process when it is loaded \(3\): no licence$/,
    ],
    [
      'ends it with the code of success',
      { 'email/providers/a.mjs': 'process.exit()', 'email/providers/b.mjs': '' },
      /a\.mjs: it ends its process when it is loaded \(0\)/,
    ],
    [
      'prints what the trial would say and ends it',
      { 'email/providers/a.mjs': "console.log('#1'); process.exit(0)" },
      /a\.mjs: it ends its process when it is loaded \(0\)$/,
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

describe('a plug-in folder that cannot be read as it should be', () => {
  test('is not there, or is a file: the path and the reason are in one line', async () => {
    using folder = pluginFolder({ file: '' });
    const nothing = join(folder.path, 'nothing');
    assert.equal(
      await faultOf(nothing),
      `${nothing}: there is no such folder (TIDINGS_PLUGINS)`.replace(tmpdir(), ''),
    );
    assert.match(
      await faultOf(join(folder.path, 'file')),
      /\/file: it is no folder \(TIDINGS_PLUGINS\)$/,
    );
  });

  test('has folders and links where files should be', async () => {
    for (const name of ['email/providers/x.ts', 'email/adapter.mjs']) {
      using folder = pluginFolder({ [`${name}/inside.txt`]: '' });
      const expected = `${folder.path}/${name}: it is a folder, where a file is expected`;
      assert.equal(await faultOf(folder.path), expected.replace(tmpdir(), ''));
    }
    for (const name of ['email', 'email/providers', 'email/providers/x.ts', 'email/adapter.ts']) {
      for (const [target, what] of [
        ['nowhere', 'it is a link to nothing'],
        [name.split('/').at(-1) as string, 'it is a link that leads back to itself'],
      ] as const) {
        using folder = pluginFolder({});
        mkdirSync(dirname(join(folder.path, name)), { recursive: true });
        symlinkSync(target, join(folder.path, name));
        const expected = `${folder.path}/${name}: ${what}`;
        assert.equal(await faultOf(folder.path), expected.replace(tmpdir(), ''));
      }
    }
  });

  test('has a file that the service may not read', () => {
    using folder = pluginFolder({ 'email/providers/x.ts': '' });
    const file = join(folder.path, 'email/providers/x.ts');
    chmodSync(folder.path, 0o755);
    chmodSync(file, 0);
    using _ = withoutPrivileges();
    assert.throws(() => definitionFilesIn(folder.path), {
      message: `${file}: the service is not allowed to read it`,
    });
  });

  test('has a file where the folder of providers should be', async () => {
    using folder = pluginFolder({ 'email/providers': '' });
    assert.match(await faultOf(folder.path), /email\/providers: it is no folder$/);
  });

  test('has other things beside its channels, which are left alone', async () => {
    using folder = pluginFolder({
      'README.md': '',
      'node_modules/providers/x.mjs': 'throw 1',
      'notes/a.txt': '',
    });
    await loadCatalog(folder.path);
  });
});

/** Who is root may read everything. */
function withoutPrivileges(): Disposable {
  const id = process.geteuid?.();
  if (id === 0) process.seteuid?.(65_534);
  return { [Symbol.dispose]: () => void (id === 0 && process.seteuid?.(0)) };
}
