/** Plug-ins where packages are links, the service's own among them: they are loaded, and read no more than that. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, test } from 'node:test';
import { readablePaths } from './plug-in-files.ts';

const REPOSITORY = join(import.meta.dirname, '../../..');

const PLUG_IN = `
  import { greeting } from 'greeting';
  export default {
    name: 'acme', title: 'Acme', documentation: '', secrets: [], automatic: false, capabilities: {},
    limits: { concurrency: 1, ratePerSecond: null, timeoutMs: 1000 },
    configSchema: { type: 'object', properties: {}, additionalProperties: false },
    create: () => ({ send: async () => ({ kind: 'sent', providerMessageId: greeting }) }),
  };
`;

const PROGRAM = `
  import { loadCatalog } from './server/src/adapters/catalog.ts';
  import { systemClock as clock } from './server/src/clock.ts';
  const told = (details, message) => console.log(JSON.stringify(details), message);
  try {
    const log = { error: told, warn: told, info: told };
    const provider = (await loadCatalog(process.argv[2], log)).provider('email', 'acme');
    const account = provider.create({ accountId: 'a', config: {}, clock });
    const { signal } = new AbortController();
    console.log((await account.send({ messageId: 'm', metadata: {} }, signal)).providerMessageId);
    await account.close();
  } catch (error) {
    console.log(error.message);
  }
`;

/** A copy of the service whose packages are a link to ours, and a plug-in folder whose packages are one too. */
class Linked implements Disposable {
  readonly path = realpathSync(mkdtempSync(join(tmpdir(), 'tidings-linked-')));
  readonly plugIns = join(this.path, 'plug-ins');

  constructor() {
    for (const folder of ['server/src', 'contracts']) {
      cpSync(join(REPOSITORY, folder), join(this.path, folder), {
        recursive: true,
        filter: (name) => !name.endsWith('.test.ts') && !name.endsWith('node_modules'),
      });
    }
    this.write('package.json', '{ "type": "module" }');
    this.write('program.mjs', PROGRAM);
    this.write('plug-ins/email/providers/acme.mjs', PLUG_IN);
    // As npm lays out workspaces: one that needs another one.
    const greeting = "import { word } from 'word'; export const greeting = `${word}!`;";
    this.write(
      'elsewhere/packages/greeting/package.json',
      '{ "type": "module", "exports": "./index.js" }',
    );
    this.write('elsewhere/packages/greeting/index.js', greeting);
    this.write(
      'elsewhere/packages/word/package.json',
      '{ "type": "module", "exports": "./index.js" }',
    );
    this.write('elsewhere/packages/word/index.js', "export const word = 'hello';");
    this.link('elsewhere/packages/greeting', 'elsewhere/node_modules/greeting');
    this.link('elsewhere/packages/word', 'elsewhere/node_modules/word');
    this.link('elsewhere/node_modules', 'plug-ins/node_modules');
    symlinkSync(join(REPOSITORY, 'node_modules'), join(this.path, 'node_modules'));
  }

  write(name: string, text: string): void {
    mkdirSync(dirname(join(this.path, name)), { recursive: true });
    writeFileSync(join(this.path, name), text);
  }

  link(target: string, name: string): void {
    mkdirSync(dirname(join(this.path, name)), { recursive: true });
    symlinkSync(join(this.path, target), join(this.path, name));
  }

  run(): string {
    const { stdout, stderr } = spawnSync(process.execPath, ['program.mjs', this.plugIns], {
      cwd: this.path,
      encoding: 'utf8',
      timeout: 30_000,
    });
    return (stdout + stderr).trim();
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

describe('where packages are links', { timeout: 60_000 }, () => {
  test('plug-ins are loaded and find them', () => {
    using linked = new Linked();
    assert.equal(linked.run(), 'hello!');
  });

  test('plug-ins are loaded also where a link leads to a link', () => {
    using linked = new Linked();
    rmSync(join(linked.path, 'node_modules'));
    symlinkSync(join(REPOSITORY, 'node_modules'), join(linked.path, 'elsewhere/ours'));
    linked.link('elsewhere/ours', 'node_modules');
    assert.equal(linked.run(), 'hello!');
  });

  test('a plug-in that is a link itself finds what is beside it', () => {
    using linked = new Linked();
    rmSync(join(linked.plugIns, 'email'), { recursive: true });
    linked.write('elsewhere/mine/providers/acme.mjs', `import '../more.mjs'; ${PLUG_IN}`);
    linked.write('elsewhere/mine/more.mjs', '');
    linked.link('elsewhere/mine', 'plug-ins/email');
    assert.equal(linked.run(), 'hello!');
  });

  test('a file that is a link itself finds what is beside the one it leads to', () => {
    using linked = new Linked();
    rmSync(join(linked.plugIns, 'email/providers/acme.mjs'));
    linked.write('elsewhere/mine/acme.mjs', `import './more.mjs'; ${PLUG_IN}`);
    linked.write('elsewhere/mine/more.mjs', '');
    linked.link('elsewhere/mine/acme.mjs', 'plug-ins/email/providers/acme.mjs');
    assert.equal(linked.run(), 'hello!');
  });

  test('a file that needs what plug-ins may not read to be loaded stops the start', () => {
    using linked = new Linked();
    linked.write('secret.mjs', '');
    linked.write('plug-ins/email/providers/acme.mjs', `import '../../../secret.mjs'; ${PLUG_IN}`);
    const { path, plugIns } = linked;
    const what = `a plug-in may not read ${path}/secret.mjs: it may read its own folder and its packages only`;
    assert.equal(linked.run(), `${plugIns}/email/providers/acme.mjs: ${what}`);
  });

  test('another link out of the plug-in folder stops the start, wherever it is', () => {
    for (const name of ['link', 'email/link', 'email/providers/link', 'email/a/b/link']) {
      using linked = new Linked();
      linked.write('master.key', '');
      linked.link('master.key', `plug-ins/${name}`);
      const { path, plugIns } = linked;
      const what = `it is a link out of the plug-in folder, to ${path}/master.key`;
      assert.equal(linked.run(), `${plugIns}/${name}: ${what}`);
    }
  });

  test('so does one in a folder that belongs to it by a link', () => {
    using linked = new Linked();
    rmSync(join(linked.plugIns, 'email'), { recursive: true });
    linked.write('elsewhere/mine/providers/acme.mjs', PLUG_IN);
    linked.link('elsewhere/mine', 'plug-ins/email');
    linked.link('.', 'elsewhere/mine/all');
    assert.match(
      linked.run(),
      /\/elsewhere\/mine\/all: it is a link out of the plug-in folder, to /,
    );
  });

  test('links within the plug-in folder, to packages, and to nothing are left alone', () => {
    using linked = new Linked();
    linked.link('plug-ins/email/providers/acme.mjs', 'plug-ins/email/same.mjs');
    linked.link('plug-ins', 'plug-ins/email/all');
    linked.link('elsewhere/packages/greeting', 'plug-ins/email/greeting');
    linked.link('nowhere', 'plug-ins/email/nothing');
    assert.equal(linked.run(), 'hello!');
  });

  test('a process that ends before it has begun a file is no fault of the folder', () => {
    using linked = new Linked();
    linked.write(
      'server/src/adapters/plug-in-guard.ts',
      "export const forbid = 0, startGuard = 0; throw new Error('no place for a thread');",
    );
    const said = linked.run();
    assert.match(said, /^the process that tries plug-ins did not start: .*no place for a thread$/);
    assert.doesNotMatch(said, new RegExp(linked.plugIns));
  });

  test('what such a process was not allowed to read is named', () => {
    using linked = new Linked();
    linked.write('secret.txt', '');
    linked.write(
      'server/src/adapters/plug-in-guard.ts',
      `import { readFileSync } from 'node:fs';
       export const forbid = 0, startGuard = () => readFileSync('${linked.path}/secret.txt');`,
    );
    assert.match(linked.run(), /did not start: a plug-in may not read \S+secret\.txt: it may read/);
  });

  test('the folder that the service is a part of is not readable as a whole', () => {
    using linked = new Linked();
    linked.link('server', 'plug-ins/email/node_modules/server');
    linked.link('.', 'plug-ins/email/node_modules/all');
    const program = `
      import { readablePaths } from './server/src/adapters/plug-in-files.ts';
      const folder = process.argv[2];
      console.log(JSON.stringify(readablePaths(folder, [folder + '/email/providers/acme.mjs'])));
    `;
    linked.write('program.mjs', program);
    const paths = JSON.parse(linked.run()) as string[];
    assert.ok(paths.includes(join(linked.path, 'server/src/')));
    assert.ok(paths.includes(realpathSync(join(REPOSITORY, 'contracts'))));
    for (const path of ['server', '.']) assert.ok(!paths.includes(join(linked.path, path)), path);
  });

  test('what is not there, or leads nowhere, is left out', () => {
    using linked = new Linked();
    linked.link('nowhere', 'plug-ins/node_modules/broken');
    const paths = readablePaths(linked.plugIns, [join(linked.plugIns, 'email/providers/b.mjs')]);
    assert.ok(paths.includes(join(linked.path, 'elsewhere/packages/word')));
    assert.ok(paths.every((path) => realpathSync(path)));
  });
});
