// What `npm start`, `npm test` and the `tidings` command have in common: provide the dependencies,
// pick a Node that is new enough, run something with it in our place. Runs on Node >= 20 before
// anything is installed, so here and in what is imported here: Node's own modules only.

import { spawnSync } from 'node:child_process';
import { accessSync, chmodSync, constants, existsSync, readFileSync, realpathSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runChild } from './child.mjs';
import { LaunchError } from './launch-error.mjs';
import { provision } from './provision.mjs';

/** The folder of the checkout. */
export const root = dirname(dirname(fileURLToPath(import.meta.url)));

// The first version that runs the .ts files as they are and has all the server uses.
const oldestNodeMajor = 26;
const oldestLauncherMajor = 20;

/**
 * Provides what is needed, then runs each command line (arguments of Node) one after the other and
 * exits with the first code that is not 0.
 */
export async function launch(commandLines, { dev, cwd }) {
  // Node keeps compiled code, and TypeScript with its types stripped, from one start to the next.
  process.env.NODE_COMPILE_CACHE ??= join(root, 'node_modules', '.cache', 'tidings');
  try {
    if (major(process.versions.node) < oldestLauncherMajor) {
      throw new LaunchError(
        `Node ${oldestLauncherMajor} or newer is needed to start; this is ${process.version}.`,
      );
    }
    await provision(root, { dev });
    const node = pickNode();
    let exitCode = 0;
    for (const commandLine of commandLines) {
      const result = await runChild(node, commandLine, { cwd });
      if (result.error) throw cannotRun(node, result.error);
      exitCode ||= result.exitCode;
      if (result.interrupted) break;
    }
    process.exitCode = exitCode;
  } catch (error) {
    if (!(error instanceof LaunchError)) throw error;
    process.stderr.write(`tidings: ${error.message}\n`);
    process.exitCode = error.exitCode;
  }
}

/**
 * The Node to run Tidings with: our own when it is new enough, else the pinned one that npm
 * installed for this platform, else a new enough one on the PATH.
 */
export function pickNode({
  folder = root,
  version = process.versions.node,
  execPath = process.execPath,
  platform = process.platform,
  arch = process.arch,
  path = process.env.PATH ?? process.env.Path ?? '',
} = {}) {
  // npm puts the pinned Node first on the PATH of its scripts; an installation may just have
  // replaced the file we run from.
  if (major(version) >= oldestNodeMajor && existsSync(execPath)) return execPath;

  const name = `node-${platform === 'win32' ? 'win' : platform}-${arch}`;
  const program = platform === 'win32' ? 'node.exe' : 'node';
  const pinned = join(folder, 'node_modules', name, 'bin', program);
  if (existsSync(pinned)) {
    makeExecutable(pinned);
    return pinned;
  }
  return findOnPath(path, program, execPath) ?? nothingFits(folder, name, version);
}

function findOnPath(path, program, execPath) {
  for (const folder of path.split(delimiter).filter(Boolean)) {
    const file = join(folder, program);
    // Our own Node is known to be too old; asking it again costs a process start.
    if (!existsSync(file) || realpathSync(file) === execPath) continue;
    const answer = spawnSync(file, ['--version'], { encoding: 'utf8', timeout: 5_000 });
    if (major((answer.stdout ?? '').replace(/^v/, '')) >= oldestNodeMajor) return file;
  }
  return undefined;
}

/** Some mirrors and caches repack npm packages without the execute permission. */
function makeExecutable(file) {
  try {
    accessSync(file, constants.X_OK);
  } catch {
    try {
      chmodSync(file, 0o755);
    } catch {
      throw new LaunchError(
        `${file} is not executable and its mode cannot be changed. Run "chmod +x" on it.`,
      );
    }
  }
}

function nothingFits(folder, name, version) {
  const needed = `Tidings needs Node ${oldestNodeMajor} or newer to run (this is ${version}).`;
  const { optionalDependencies = {} } = JSON.parse(
    readFileSync(join(folder, 'package.json'), 'utf8'),
  );
  if (name in optionalDependencies) {
    throw new LaunchError(
      `${needed} It comes with the optional dependency ${name}, and optional dependencies were left out of this installation ` +
        '(npm ci --omit=optional, or "omit" in the npm configuration). ' +
        `Run "npm ci --ignore-scripts --include=optional", or put a Node ${oldestNodeMajor} or newer on the PATH.`,
    );
  }
  throw new LaunchError(
    `${needed} There is no pinned Node for this platform (${name.slice('node-'.length)}): put a Node ${oldestNodeMajor} or newer on the PATH.`,
  );
}

function cannotRun(node, error) {
  // ENOENT for a file that exists: the program loader it asks for is missing.
  const why =
    error.code === 'ENOENT' && existsSync(node)
      ? 'this system lacks the C library it is made for (the pinned Node needs glibc; Alpine has musl)'
      : `the system refuses it (${error.code})`;
  return new LaunchError(
    `${node} cannot be started: ${why}. Put a Node ${oldestNodeMajor} or newer on the PATH.`,
  );
}

function major(version) {
  return Number.parseInt(version, 10) || 0;
}
