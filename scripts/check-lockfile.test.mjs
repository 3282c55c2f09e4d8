import assert from 'node:assert/strict';
import { mkdir, mkdtempDisposable, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { checkSupplyChain } from './check-lockfile.mjs';

const integrity = `sha512-${'A'.repeat(86)}==`;

/** A checkout that passes; each test breaks one thing in it. */
function sample() {
  return {
    npmrc: 'ignore-scripts=true\nomit-lockfile-registry-resolved=true\n',
    manifest: { workspaces: ['part'], dependencies: { a: '1.0.0' } },
    part: { dependencies: { b: '2.0.0-rc.1' } },
    packages: {
      '': { dependencies: { a: '1.0.0' } },
      part: { dependencies: { b: '2.0.0-rc.1' } },
      'node_modules/part': { resolved: 'part', link: true },
      'node_modules/a': { version: '1.0.0', integrity, dependencies: { b: '^1.0.0', c: '1' } },
      'node_modules/a/node_modules/b': { version: '1.2.0', integrity },
      'node_modules/b': { version: '2.0.0-rc.1', integrity },
      'node_modules/c': { version: '1.0.0', integrity },
    },
  };
}

async function check(change) {
  const checkout = sample();
  change(checkout);
  await using folder = await mkdtempDisposable(join(tmpdir(), 'tidings-lockfile-'));
  const write = (name, value) => writeFile(join(folder.path, name), JSON.stringify(value));
  await mkdir(join(folder.path, 'part'));
  await write('package.json', checkout.manifest);
  await write('part/package.json', checkout.part);
  await write('package-lock.json', { lockfileVersion: 3, packages: checkout.packages });
  await writeFile(join(folder.path, '.npmrc'), checkout.npmrc);
  return checkSupplyChain(folder.path);
}

test('what is pinned and hashed passes', async () => {
  assert.deepEqual(await check(() => {}), []);
});

describe('refused is', () => {
  const a = (checkout) => checkout.packages['node_modules/a'];
  const cases = {
    'an entry without integrity': [(c) => delete a(c).integrity, /node_modules\/a has no sha512/],
    'an entry with a weaker hash': [
      (c) => Object.assign(a(c), { integrity: 'sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk=' }),
      /node_modules\/a has no sha512/,
    ],
    'a git dependency': [
      (c) => Object.assign(a(c), { resolved: 'git+ssh://host.example/a.git#abc' }),
      /node_modules\/a comes from git\+ssh:,/,
    ],
    'a tarball from anywhere': [
      (c) => Object.assign(a(c), { resolved: 'https://user:secret@host.example/a.tgz' }),
      /node_modules\/a comes from https:,/,
    ],
    'a folder outside the workspaces': [
      (c) => Object.assign(c.packages['node_modules/part'], { resolved: '../elsewhere' }),
      /link to \.\.\/elsewhere, which is no workspace/,
    ],
    'a range of versions': [
      (c) => {
        c.manifest.dependencies.a = '^1.0.0';
        c.packages[''].dependencies.a = '^1.0.0';
      },
      /^package\.json: dependencies a is "\^1\.0\.0"/,
    ],
    'a range in a workspace': [
      (c) => {
        c.part.dependencies.b = 'latest';
        c.packages.part.dependencies.b = 'latest';
      },
      /^part\/package\.json: dependencies b is "latest"/,
    ],
    'a range in an override': [
      (c) => Object.assign(c.manifest, { overrides: { a: { b: '~1.2.0' } } }),
      /overrides b is "~1\.2\.0"/,
    ],
    'a dependency that is not locked': [
      (c) => Object.assign(c.part.dependencies, { d: '1.0.0' }),
      /part\/package\.json: dependencies differ from package-lock\.json/,
    ],
    'a lockfile that lacks a part of what it locks': [
      (c) => delete c.packages['node_modules/c'],
      /node_modules\/a needs c, which the lockfile does not have/,
    ],
    'running scripts of packages': [
      (c) => Object.assign(c, { npmrc: '# ignore-scripts=true\n' }),
      /\.npmrc: ignore-scripts is not true/,
    ],
    'a setting of one machine': [
      (c) => Object.assign(c, { npmrc: `${c.npmrc}@scope:registry = https://host.example/\n` }),
      /\.npmrc: @scope:registry belongs to a machine/,
    ],
  };
  for (const [name, [change, expected]] of Object.entries(cases)) {
    test(name, async () => {
      const problems = await check(change);
      assert.equal(problems.length, 1, problems.join('\n'));
      assert.match(problems[0], expected);
      assert.doesNotMatch(problems[0], /secret/);
    });
  }
});
