import assert from 'node:assert/strict';
import { mkdir, mkdtempDisposable, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, test } from 'node:test';
import { checkImports } from './check-imports.mjs';
import { readImports } from './read-imports.mjs';

/** What is wrong in a checkout of these files, paths relative to server/src unless they say more. */
async function check(files) {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'tidings-imports-'));
  for (const [name, text] of Object.entries(files)) {
    const inServer = !/^(server|contracts|scripts|dashboard|clients)\//.test(name);
    const file = join(folder.path, inServer ? `server/src/${name}` : name);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, text);
  }
  return checkImports(folder.path);
}

const fine = {
  'errors.ts': '',
  'clock.ts': "import { randomBytes } from 'node:crypto';",
  'notification/notification-store.ts': "import type { X } from '@tidings/contracts/notification';",
  'notification/service.ts':
    "import { send } from '../dispatch/dispatcher.ts';\nimport { problem } from '../errors.ts';\nimport type { Store } from './notification-store.ts';",
  'dispatch/dispatcher.ts': "import type { Queue } from '../queue/queue.ts';",
  'queue/queue.ts': '',
  'queue/memory.ts': "import type { Queue } from './queue.ts';",
  'database/sqlite/notification-store.ts':
    "import type { Store } from '../../notification/notification-store.ts';\nimport { open } from './connection.ts';",
  'database/sqlite/connection.ts': "import { DatabaseSync } from 'node:sqlite';",
  'adapters/catalog.ts': 'const definition = await import(path);',
  'adapters/provider.ts': '',
  'adapters/email/message.ts': '',
  'adapters/email/providers/smtp.ts':
    "import Type from 'typebox';\nimport { defineProvider } from '../../provider.ts';\nimport { build } from '../message.ts';\nconst mailer = await import('nodemailer');",
  'http/routes/notifications.ts': "import { accept } from '../../notification/service.ts';",
  'assemble/api.ts':
    "import { openStore } from '../database/sqlite/notification-store.ts';\nimport { accept } from '../notification/service.ts';",
  'main.ts': "import { assemble } from './assemble/api.ts';",
  'server/test/e2e/start.test.ts': "import { assemble } from '../../src/assemble/api.ts';",
  'contracts/src/notification.ts': "import Type from 'typebox';\nimport { X } from './common.ts';",
  'scripts/launch.mjs': "import { join } from 'node:path';",
};

test('the rooms as the design has them pass', async () => {
  assert.deepEqual(await check(fine), []);
});

describe('a planted violation is found', () => {
  const cases = [
    [
      'a route reaches into the database',
      'http/routes/x.ts',
      '../../database/sqlite/connection.ts',
    ],
    ['a route speaks to the queue', 'http/routes/x.ts', '../../queue/queue.ts'],
    ['a route calls a provider', 'http/routes/x.ts', '../../adapters/email/providers/smtp.ts'],
    ['an engine uses a service', 'database/sqlite/x.ts', '../../notification/service.ts'],
    ['an engine uses another engine', 'database/mysql/x.ts', '../sqlite/connection.ts'],
    ['a queue uses another queue', 'queue/rocketmq.ts', './memory.ts'],
    ['a room goes the wrong way', 'user/service.ts', '../notification/service.ts'],
    ["a room uses another room's inside", 'notification/x.ts', '../dispatch/scheduler.ts'],
    ['a room names an engine', 'notification/x.ts', '../database/sqlite/connection.ts'],
    ['a provider uses the catalogue', 'adapters/sms/providers/x.ts', '../../catalog.ts'],
    ['a provider uses another channel', 'adapters/sms/providers/x.ts', '../../email/message.ts'],
    ['a channel names its provider', 'adapters/email/adapter.ts', './providers/smtp.ts'],
    ['a port uses a service', 'notification/notification-store.ts', './service.ts'],
    ['a room assembles', 'outbound/processor.ts', '../assemble/api.ts'],
    ['the command line opens a store', 'cli/doctor.ts', '../database/sqlite/connection.ts'],
    ['contracts use the server', 'contracts/src/x.ts', '@tidings/server/errors'],
    ['contracts use Node', 'contracts/src/x.ts', 'node:crypto'],
    ['the launcher uses a package', 'scripts/launch.mjs', 'commander'],
    ['a room opens SQLite', 'user/service.ts', 'node:sqlite'],
    ['a room serves HTTP', 'user/service.ts', 'fastify'],
    ['a provider loads its vendor at start-up', 'adapters/sms/providers/x.ts', 'vendor'],
    ['the program uses test code', 'notification/x.ts', './service.test.ts'],
    ['the program uses a conformance suite', 'queue/memory.ts', './conformance.ts'],
    ['a relative path leaves the workspace', 'user/service.ts', '../../../contracts/src/user.ts'],
    ['a file stands in no room', 'leftover.ts', './errors.ts'],
    ['a client uses the server', 'clients/typescript/src/x.ts', '../../../server/src/errors.ts'],
  ];
  for (const [name, file, specifier] of cases) {
    test(name, async () => {
      const planted = `\n\nimport { something } from '${specifier}';\n`;
      const problems = await check({ ...fine, [file]: planted });
      assert.equal(problems.length, 1, problems.join('\n'));
      const where =
        file.includes('/src/') || file.startsWith('scripts/') ? file : `server/src/${file}`;
      assert.match(problems[0], new RegExp(`^${where}:(1|3): .+\\. .+`));
    });
  }
});

test('a type counts as an import too', async () => {
  const problems = await check({
    ...fine,
    'http/app.ts': "import type { Engine } from '../database/sqlite/connection.ts';",
  });
  assert.match(problems.join('\n'), /^server\/src\/http\/app\.ts:1: http may not import/);
});

test('a vendor may be named as a type or loaded on first use', async () => {
  const problems = await check({
    ...fine,
    'adapters/sms/providers/x.ts':
      "import type { Client } from 'vendor';\nconst vendor = () => import('vendor');",
  });
  assert.deepEqual(problems, []);
});

test('a computed import is refused outside the catalogue', async () => {
  const problems = await check({ ...fine, 'outbound/deliver.ts': 'await import(`./${name}.ts`);' });
  assert.match(problems.join('\n'), /outbound\/deliver\.ts:1: import\(\) of a computed path/);
});

test('an index file is refused', async () => {
  const problems = await check({ ...fine, 'user/index.ts': '' });
  assert.match(problems.join('\n'), /user\/index\.ts:1: an index file/);
});

test('files that load each other are found, with the way round', async () => {
  const problems = await check({
    ...fine,
    'user/a.ts': "import { b } from './b.ts';",
    'user/b.ts': "import { c } from './c.ts';",
    'user/c.ts': "import type { a } from './a.ts';\nimport { b } from './b.ts';",
  });
  assert.equal(problems.length, 1, problems.join('\n'));
  assert.match(problems[0], /user\/b\.ts → server\/src\/user\/c\.ts → server\/src\/user\/b\.ts/);
});

test('rooms that know each other are found, also when only types are known', async () => {
  // The table objects as well here; the cycle is found from what is imported, whatever it allows.
  const problems = await check({
    ...fine,
    'database/sqlite/x.ts': "import type { Y } from '../../queue/helper.ts';",
    'queue/helper.ts': "import type { X } from '../database/sqlite/x.ts';",
  });
  assert.match(problems.join('\n'), /rooms import each other: /);
});

test('imports are told from everything that looks like one', () => {
  const text = [
    "import a, { type B } from 'one'; // import x from 'no'",
    "import type { C } from 'two';",
    "import 'three';",
    "export { a } from 'four'; export * as all from 'five'; export type { C } from 'six';",
    "const text = 'import x from \\'no\\'', half = 4 / 2, match = /import x from 'no'/;",
    "const nested = `import x from 'no' ${`${{ a: 1 }.a} import('no')`} import('no')`;",
    "/* import x from 'no' */ export { a }; const from = 'no';",
    "await import('seven'); await import(`eight`); await import(`./${a}.ts`);",
    "object.import('no'); import.meta.url; class D { import() {} }",
    "import type from 'nine'; import type E, { f } from 'ten';",
    'import {',
    '  g,',
    "} from 'eleven';",
  ].join('\n');
  assert.deepEqual(
    readImports(text).map(({ specifier, kind, line }) => `${line} ${specifier} ${kind}`),
    [
      '1 one static',
      '2 two type',
      '3 three static',
      '4 four static',
      '4 five static',
      '4 six type',
      '8 seven dynamic',
      '8 eight dynamic',
      '8 undefined dynamic',
      '10 nine static',
      '10 ten type',
      '11 eleven static',
    ],
  );
});

test('a text that cannot be read to its end is an error, not an empty list', () => {
  assert.throws(() => readImports("const a = `never closed;\nimport x from 'hidden';"), /line 1/);
});
