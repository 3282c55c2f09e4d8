// Brings node_modules in step with package-lock.json, with nothing but Node >= 20 and its npm.
// It runs before anything is installed, so it uses Node's own modules only.
//
// "In step" is decided cheaply: a stamp inside node_modules names the sha256 of the lockfile it was
// made from. Without a fitting stamp, npm's own record of what it installed is compared with the
// lockfile, so that a person's `npm ci` or `npm install` is accepted and not done again.

import { createHash } from 'node:crypto';
import { accessSync, constants, existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, sep } from 'node:path';
import { exitCodeOf, runChild } from './child.mjs';
import { withInstallLock } from './install-lock.mjs';
import { LaunchError } from './launch-error.mjs';

const stampName = '.tidings-stamp';
const installCommand = 'npm ci --ignore-scripts';

/**
 * Installs when needed; a no-op of a few milliseconds otherwise. `dev` says whether the task needs
 * the development dependencies too (a production image has none and still starts).
 */
export async function provision(root, { dev }) {
  if (isInStep(root, { dev })) return;
  try {
    accessSync(root, constants.W_OK);
    await withInstallLock(
      join(root, '.tidings-install.lock'),
      async (nameWorker) => {
        // Whoever held the lock before us may have done the work.
        if (isInStep(root, { dev })) return;
        await install(root, { dev, nameWorker });
      },
      {
        onWait: ({ pid }) =>
          say(`waiting for another process (pid ${pid ?? 'unknown'}) that is installing here`),
      },
    );
  } catch (error) {
    throw explainWriteFailure(error, root);
  }
}

/** True when what is installed is what the lockfile asks for. */
export function isInStep(root, { dev }) {
  const lockfile = readLockfile(root);
  const installed = installedMark(root);
  if (installed === undefined) return false;
  const wanted = { lockfile: createHash('sha256').update(lockfile).digest('hex'), installed };

  const stamp = readJson(join(root, 'node_modules', stampName));
  if (
    stamp?.lockfile === wanted.lockfile &&
    stamp.installed === wanted.installed &&
    (stamp.dev || !dev)
  )
    return true;

  const record = readJson(join(root, 'node_modules', '.package-lock.json'));
  if (!record || !matchesLockfile(JSON.parse(lockfile), record, { dev })) return false;
  writeStamp(root, { ...wanted, dev });
  return true;
}

/**
 * Compares the lockfile with npm's record of an installation. A missing package is fine when it is
 * optional (another platform's, or left out on purpose) or a development one that is not needed.
 */
export function matchesLockfile(lockfile, record, { dev }) {
  const wanted = lockfile.packages ?? {};
  const present = record.packages ?? {};
  for (const [path, entry] of Object.entries(wanted)) {
    if (path === '') continue;
    const found = present[path];
    if (found === undefined) {
      const mayMiss = entry.optional || (!dev && (entry.dev || entry.devOptional));
      if (!mayMiss) return false;
    } else if (found.version !== entry.version || found.integrity !== entry.integrity) {
      return false;
    }
  }
  // A package the lockfile no longer knows could hide a missing dependency.
  return Object.keys(present).every((path) => path in wanted);
}

/** npm rewrites its record on every change, so a stamp older than the record proves nothing. */
function installedMark(root) {
  try {
    const { mtimeMs, size } = statSync(join(root, 'node_modules', '.package-lock.json'));
    return `${size} ${mtimeMs}`;
  } catch {
    return undefined;
  }
}

function writeStamp(root, stamp) {
  try {
    writeFileSync(join(root, 'node_modules', stampName), `${JSON.stringify(stamp)}\n`);
  } catch {
    // A read-only installation is fine as it is; the comparison is only repeated at each start.
  }
}

async function install(root, { dev, nameWorker }) {
  if (
    process.platform === 'win32' &&
    process.execPath.startsWith(join(root, 'node_modules') + sep)
  ) {
    // Windows does not let npm replace the node.exe that is running this very line.
    throw new LaunchError(
      `the dependencies have changed. Run "${installCommand}" in ${root}, then start again.`,
    );
  }
  const first = !existsSync(join(root, 'node_modules'));
  say(
    first
      ? 'first start of this checkout: installing the locked dependencies and the pinned Node (needs the network once)'
      : 'node_modules is not what package-lock.json asks for: installing the locked dependencies again',
  );
  const startedAt = Date.now();
  const npm = findNpm();
  // `--include` outweighs an `omit` of the person's npm configuration or of NODE_ENV=production.
  // Packages that ask for a newer Node than the launcher's are fine: the pinned one runs them.
  const args = ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--include=optional'];
  args.push('--no-engine-strict', '--loglevel=error');
  if (dev) args.push('--include=dev');

  const stillWorking = setInterval(() => say(`still installing (${seconds(startedAt)} s)`), 15_000);
  const result = await runChild(npm.file, [...npm.args, ...args], {
    cwd: root,
    shell: npm.shell,
    toStderr: true,
    onStart: nameWorker,
    // It may be deep in unpacking; what is half done is done anew by the next start.
    killAfterMs: 3_000,
  });
  clearInterval(stillWorking);
  if (result.error?.code === 'ENOENT') {
    throw new LaunchError(
      'npm was not found. Install Node 20 or newer together with its npm, then start again.',
    );
  }
  if (result.error) throw result.error;
  if (result.interrupted) {
    const message = 'the installation was interrupted; the next start begins it anew.';
    throw new LaunchError(message, exitCodeOf(result.interrupted));
  }
  if (result.exitCode !== 0) throw new LaunchError(explainNpmFailure(result.tail, root));
  if (!isInStep(root, { dev })) {
    throw new LaunchError(
      `npm ended without an error, yet node_modules is not what package-lock.json asks for. Delete ${join(root, 'node_modules')} and start again.`,
    );
  }
  say(`dependencies are in place (${seconds(startedAt)} s)`);
}

/**
 * npm as a script run by a Node we know is the way that works on every system; a bare `npm` needs a
 * shell on Windows, where it is a .cmd file.
 */
export function findNpm({
  env = process.env,
  execPath = process.execPath,
  platform = process.platform,
} = {}) {
  const inModules = (file) => file.includes(`${sep}node_modules${sep}node-`);
  const node =
    env.npm_node_execpath && !inModules(env.npm_node_execpath) ? env.npm_node_execpath : execPath;
  const bin = dirname(node);
  const candidates = [
    // Under yarn or pnpm this variable names their script, which has no `ci`.
    /^npm-cli\.c?js$/.test(basename(env.npm_execpath ?? '')) ? env.npm_execpath : undefined,
    join(bin, 'node_modules', 'npm', 'bin', 'npm-cli.js'),
    join(bin, '..', 'lib', 'node_modules', 'npm', 'bin', 'npm-cli.js'),
  ];
  const script = candidates.find((file) => file && existsSync(file));
  if (script) return { file: existsSync(node) ? node : execPath, args: [script], shell: false };
  return { file: 'npm', args: [], shell: platform === 'win32' };
}

const npmFailures = [
  [
    /\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ERR_SOCKET_TIMEOUT|EIDLETIMEOUT|FETCH_ERROR|ENOTCACHED)\b/,
    'the npm registry could not be reached. Check the network, or the proxy and registry settings of npm (npm config list), then start again; nothing is half done.',
  ],
  [
    /\b(UNABLE_TO_\w+|SELF_SIGNED_\w+|DEPTH_ZERO_SELF_SIGNED_CERT|CERT_\w+|ERR_TLS_\w+)\b/,
    'the certificate of the npm registry is not trusted here. Give npm your certificate authority (npm config set cafile <file>, or NODE_EXTRA_CA_CERTS), then start again.',
  ],
  [
    /\bE(401|403|NEEDAUTH)\b/,
    'the npm registry refused the request. Check the login npm uses for it (npm config list), then start again.',
  ],
  [
    /\b(E404|ETARGET)\b/,
    'the npm registry in use does not have a locked package. Use a registry or mirror that is complete and up to date.',
  ],
  [
    /\bEINTEGRITY\b/,
    'a downloaded package is not the one package-lock.json names. Do not go on: run "npm cache clean --force" and try again, and if it stays, distrust the registry or mirror in use.',
  ],
  [
    /\bENOSPC\b/,
    'the disk is full. Tidings needs about 600 MB for its dependencies; free some space, then start again.',
  ],
  [
    /\bEUSAGE\b/,
    'package.json and package-lock.json disagree. Run "npm install" and commit the lockfile.',
  ],
  [
    /\b(EACCES|EPERM|EROFS)\b/,
    'npm was not allowed to write. Make this folder and the npm cache (npm config get cache) writable for this user, then start again.',
  ],
];

/** Says what to do about a failed npm run, from the last part of what it printed. */
export function explainNpmFailure(output, root) {
  for (const [pattern, advice] of npmFailures) {
    const found = pattern.exec(output);
    if (found) return `${advice} (npm said ${found[0]})`;
  }
  return `npm could not install the dependencies; its own words are above. Repeat it by hand with "${installCommand}" in ${root}.`;
}

function seconds(startedAt) {
  return Math.round((Date.now() - startedAt) / 1000);
}

/** An error of the file system about the folder itself, in words; any other error as it is. */
export function explainWriteFailure(error, root) {
  if (!['EACCES', 'EPERM', 'EROFS'].includes(error.code)) return error;
  return new LaunchError(
    `the dependencies have to be installed, and ${root} cannot be written. ` +
      `Make it writable for this user, or run "${installCommand}" there as the user who owns it.`,
  );
}

function readLockfile(root) {
  try {
    return readFileSync(join(root, 'package-lock.json'));
  } catch (error) {
    if (error.code !== 'ENOENT') throw error;
    throw new LaunchError(
      `${join(root, 'package-lock.json')} is missing: this is not a complete checkout of Tidings.`,
    );
  }
}

function readJson(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return undefined;
  }
}

// On stderr, so that `tidings ... --json` leaves stdout to the data.
function say(message) {
  process.stderr.write(`tidings: ${message}\n`);
}
