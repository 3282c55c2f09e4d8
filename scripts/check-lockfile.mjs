// What is installed must be exactly what was reviewed: holds package-lock.json, the package.json
// files and .npmrc against the rules of the supply chain. Part of `npm run lint`.

import { existsSync, readFileSync, realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const exactVersion = /^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$/;
// Peers of a published package are a range by nature and install nothing here.
const dependencyKinds = ['dependencies', 'devDependencies', 'optionalDependencies'];

/** @returns {string[]} one line per problem: file, what is wrong, what to do instead */
export function checkSupplyChain(root) {
  const lockfile = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));
  const packages = lockfile.packages ?? {};
  const workspaces = Object.keys(packages).filter((path) => !path.includes('node_modules/'));
  return [
    ...(lockfile.lockfileVersion === 3
      ? []
      : ['package-lock.json: lockfileVersion is not 3. Write it with npm 9 or newer.']),
    ...Object.entries(packages).flatMap(([path, entry]) =>
      workspaces.includes(path) ? [] : checkLockEntry(path, entry, workspaces),
    ),
    ...Object.entries(packages).flatMap(([path, entry]) => findMissing(path, entry, packages)),
    ...workspaces.flatMap((path) => checkManifest(root, path, packages[path])),
    ...checkNpmrc(root),
  ];
}

function checkLockEntry(path, entry, workspaces) {
  if (entry.link) {
    if (workspaces.includes(entry.resolved)) return [];
    return [`package-lock.json: ${path} is a link to ${entry.resolved}, which is no workspace.`];
  }
  const problems = [];
  // A package of the registry has no `resolved` here (.npmrc omits it, so that a mirror serves as
  // well): what still names a place comes from elsewhere.
  if (entry.resolved !== undefined) {
    problems.push(
      `package-lock.json: ${path} comes from ${schemeOf(entry.resolved)}, not from the registry. Depend on a published version; if it is one, write the lockfile again with the .npmrc of this folder.`,
    );
  }
  if (!/^sha512-[A-Za-z0-9+/]{86}==$/.test(entry.integrity ?? '')) {
    problems.push(
      `package-lock.json: ${path} has no sha512 integrity, so nothing proves that it is what was reviewed. Remove its entry and run "npm install".`,
    );
  }
  return problems;
}

/**
 * npm drops what it cannot fetch from an optional dependency without a word, and its `npm ci` then
 * refuses the lockfile on every other machine.
 */
function findMissing(path, entry, packages) {
  const wanted = { ...entry.dependencies, ...entry.optionalDependencies };
  const missing = Object.keys(wanted).filter((name) => !isLocked(path, name, packages));
  if (missing.length === 0) return [];
  return [
    `package-lock.json: ${path || 'package.json'} needs ${missing.join(', ')}, which the lockfile does not have, so "npm ci" fails on a fresh clone. Use a version of which the registry has every part, and write the lockfile without node_modules (npm install --package-lock-only).`,
  ];
}

/** Looks where Node would: in the package's own node_modules, then outwards. */
function isLocked(path, name, packages) {
  for (let folder = path; ; folder = folder.slice(0, Math.max(0, folder.lastIndexOf('/')))) {
    if (`${folder && `${folder}/`}node_modules/${name}` in packages) return true;
    if (folder === '') return false;
  }
}

/** Which kind of place, without the place: it may hold a host or a token. */
function schemeOf(resolved) {
  return /^[a-z+]+:/.exec(resolved)?.[0] ?? 'a path';
}

function checkManifest(root, workspace, locked) {
  const file = join(workspace, 'package.json').replaceAll('\\', '/');
  if (!existsSync(join(root, file))) {
    return [`${file}: missing, yet package-lock.json has it as a workspace. Run "npm install".`];
  }
  const manifest = JSON.parse(readFileSync(join(root, file), 'utf8'));
  const problems = [];
  for (const kind of dependencyKinds) {
    const wanted = manifest[kind] ?? {};
    for (const [name, version] of Object.entries(wanted)) {
      if (!exactVersion.test(version)) {
        problems.push(
          `${file}: ${kind} ${name} is "${version}". Write one exact version, as in "1.2.3".`,
        );
      }
    }
    if (!haveSameEntries(wanted, locked[kind] ?? {})) {
      problems.push(`${file}: ${kind} differ from package-lock.json. Run "npm install".`);
    }
  }
  for (const [name, version] of Object.entries(flattenOverrides(manifest.overrides ?? {}))) {
    if (!exactVersion.test(version)) {
      problems.push(`${file}: overrides ${name} is "${version}". Write one exact version.`);
    }
  }
  return problems;
}

function haveSameEntries(a, b) {
  const names = new Set([...Object.keys(a), ...Object.keys(b)]);
  return [...names].every((name) => a[name] === b[name]);
}

function flattenOverrides(overrides) {
  return Object.fromEntries(
    Object.entries(overrides).flatMap(([name, value]) =>
      typeof value === 'string' ? [[name, value]] : Object.entries(flattenOverrides(value)),
    ),
  );
}

function checkNpmrc(root) {
  const file = join(root, '.npmrc');
  const lines = existsSync(file) ? readFileSync(file, 'utf8').split('\n') : [];
  const settings = new Map(
    lines.filter((line) => /^[^#;].*=/.test(line)).map((line) => line.split(/\s*=\s*/, 2)),
  );
  const problems = [];
  if (settings.get('ignore-scripts') !== 'true') {
    problems.push(
      '.npmrc: ignore-scripts is not true, so any package may run code while it is installed.',
    );
  }
  for (const name of settings.keys()) {
    if (/registry$|proxy$|^cafile$|_auth|_password|token/i.test(name)) {
      problems.push(
        `.npmrc: ${name} belongs to a machine or a person. Move it to the .npmrc of the user.`,
      );
    }
  }
  return problems;
}

if (realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const root = process.argv[2] ?? dirname(dirname(fileURLToPath(import.meta.url)));
  const problems = checkSupplyChain(root);
  for (const problem of problems) console.error(problem);
  if (problems.length > 0) {
    console.error(
      `\ncheck-lockfile: ${problems.length} problem${problems.length === 1 ? '' : 's'}`,
    );
    process.exitCode = 1;
  } else {
    console.log('check-lockfile: every package is pinned and has its sha512');
  }
}
