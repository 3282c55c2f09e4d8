/**
 * Which files the process of a plug-in may read: the plug-in folder, our own sources, and the packages
 * that either finds; each by the path it is named by and by the one it has without links.
 */
import {
  type Dirent,
  existsSync,
  lstatSync,
  readdirSync,
  readlinkSync,
  realpathSync,
} from 'node:fs';
import { dirname, join, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

const SOURCES = fileURLToPath(new URL('..', import.meta.url));
const CONTRACTS = resolve(SOURCES, '../../contracts');

/** @param files of the plug-in folder; each, and the folders it is in, may be links */
export function readablePaths(folder: string, files: readonly string[]): string[] {
  const places = [...ownPlaces(folder, files), SOURCES, CONTRACTS];
  const readable = new Set<string>();
  const looked = new Set<string>();
  // It grows: what a folder of packages links to may need packages of its own.
  for (const place of places) {
    for (const path of pathsOf(place)) {
      readable.add(path);
      for (const at of upwards(path)) {
        if (looked.has(at)) continue;
        looked.add(at);
        for (const manifest of pathsOf(join(at, 'package.json'))) readable.add(manifest);
        for (const packages of stepsOf(join(at, 'node_modules'))) readable.add(packages);
        places.push(...linkedFrom(join(at, 'node_modules')));
      }
    }
  }
  return [...readable];
}

/**
 * Node looks at the name of a file only, and not at where a link leads: so that nothing else can be read
 * through one, the plug-in folder has none that leads out of it, but for packages and definition files.
 * @throws Error that names such a link
 */
export function checkLinks(folder: string, files: readonly string[]): void {
  const readable = readablePaths(folder, files);
  const places = new Set(ownPlaces(folder, files).flatMap((place) => pathsOf(place).slice(-1)));
  // It grows: what is in it, however deep, comes after it.
  for (const place of places) {
    for (const entry of entriesOf(place)) {
      const path = join(place, entry.name);
      if (entry.name === 'node_modules') continue;
      if (entry.isDirectory()) places.add(path);
      if (!entry.isSymbolicLink()) continue;
      const [target] = pathsOf(path).slice(1);
      if (target === undefined || readable.some((allowed) => isWithin(target, allowed))) continue;
      throw new Error(`${path}: it is a link out of the plug-in folder, to ${target}`);
    }
  }
}

/** What belongs to the plug-in folder: itself, and where its channels and definition files are. */
function ownPlaces(folder: string, files: readonly string[]): string[] {
  const places = [folder];
  for (const file of files) {
    places.push(dirname(dirname(file)), dirname(file), file);
    // What it imports from beside it is looked for there.
    for (const beside of pathsOf(file)
      .slice(1)
      .map((real) => dirname(real)))
      if (!isWithin(realpathSync(SOURCES), beside)) places.push(beside);
  }
  return places;
}

/** None when it is a file, or cannot be read: then neither can a plug-in. */
function entriesOf(folder: string): Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true });
  } catch {
    return [];
  }
}

/** Also what is between the two when a link leads to a link: Node looks at each. */
function stepsOf(path: string): string[] {
  const steps = pathsOf(path);
  for (let at = path; steps.length > 0 && lstatSync(at).isSymbolicLink(); ) {
    at = resolve(dirname(at), readlinkSync(at));
    steps.push(at);
  }
  return steps;
}

/** None when there is nothing. */
function pathsOf(path: string): string[] {
  return existsSync(path) ? [...new Set([path, realpathSync(path)])] : [];
}

function upwards(path: string): string[] {
  const above = dirname(path);
  return above === path ? [path] : [path, ...upwards(above)];
}

/** Packages that are links to somewhere else, as those of workspaces are. */
function linkedFrom(packages: string, real = pathsOf(packages).at(-1)): string[] {
  if (real === undefined) return [];
  return readdirSync(real, { withFileTypes: true }).flatMap((entry) => {
    const path = join(real, entry.name);
    if (entry.name.startsWith('@') && entry.isDirectory()) return linkedFrom(path);
    if (!entry.isSymbolicLink()) return [];
    const [target] = pathsOf(path).slice(1);
    if (target === undefined || isWithin(target, real)) return [];
    // The whole of what we are a part of is not for plug-ins: keys and databases may be in it.
    return isWithin(realpathSync(SOURCES), target) ? [] : [target];
  });
}

function isWithin(path: string, folder: string): boolean {
  return `${path}${sep}`.startsWith(folder.endsWith(sep) ? folder : folder + sep);
}
