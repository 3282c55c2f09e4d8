import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempDisposable, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

const reporter = new URL('./reporter.mjs', import.meta.url).href;

/** Runs the given test files in a runner of their own. */
async function run(files, options = []) {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'tidings-reporter-'));
  for (const [name, text] of Object.entries(files)) {
    await writeFile(join(folder.path, name), `import { suite, test } from 'node:test';\n${text}`);
  }
  const env = { ...process.env };
  // Else the inner runner takes itself for a part of this one.
  delete env.NODE_TEST_CONTEXT;
  const args = ['--test', `--test-reporter=${reporter}`, ...options, '*.test.mjs'];
  // Awaited here: the folder goes when this function returns.
  return await new Promise((resolve) => {
    execFile(process.execPath, args, { cwd: folder.path, env }, (error, stdout) => {
      resolve({ code: error?.code ?? 0, lines: stdout.trim().split('\n'), stdout });
    });
  });
}

test("a run that passed ends in the counts of Node's own summary", async () => {
  const { code, lines } = await run({ 'a.test.mjs': "test('fine', () => {});" });
  assert.equal(code, 0);
  assert.deepEqual(
    lines.slice(-8).map((line) => line.replace(/[\d.]+$/, 'N')),
    ['tests', 'suites', 'pass', 'fail', 'cancelled', 'skipped', 'todo', 'duration_ms'].map(
      (name) => `# ${name} N`,
    ),
  );
  assert.ok(lines.includes('# pass 1'));
});

test('a failed test fails the run', async () => {
  const { code, lines } = await run({
    'a.test.mjs': "test('fine', () => {}); test('not', () => { throw new Error('broken'); });",
  });
  assert.equal(code, 1);
  assert.ok(lines.includes('# fail 1'));
});

test('what was skipped or left for later is named and fails the run', async () => {
  const cases = {
    "test('one', { skip: 'no tool' }, () => {});": /not accepted: skipped: one \(no tool\) at .*:3/,
    "test('two', (t) => t.skip());": /not accepted: skipped: two/,
    "suite.skip('three', () => { test('inner', () => {}); });": /not accepted: skipped: three/,
    "test('four', { todo: true }, () => {});": /not accepted: todo: four/,
  };
  for (const [text, expected] of Object.entries(cases)) {
    const { code, stdout } = await run({ 'a.test.mjs': `test('fine', () => {});\n${text}` });
    assert.equal(code, 1, text);
    assert.match(stdout, expected);
  }
});

test('a run without tests fails, also when it is one file of several that has none', async () => {
  const none = await run({});
  assert.equal(none.code, 1);
  assert.match(none.stdout, /not accepted: no test ran/);

  const files = { 'a.test.mjs': "test('fine', () => {});", 'b.test.mjs': '' };
  const empty = await run(files);
  assert.equal(empty.code, 1);
  assert.match(empty.stdout, /not accepted: no test in .*b\.test\.mjs/);

  const filtered = await run(files, ['--test-name-pattern=fine']);
  assert.equal(filtered.code, 0, filtered.stdout);
});
