// Holds every import against import-rules.mjs, and the whole against import cycles.
// `node scripts/check-imports.mjs [folder]`; part of `npm run lint`.

import { existsSync, readdirSync, readFileSync, realpathSync } from 'node:fs';
import { basename, dirname, join, posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  computedImports,
  eagerPackages,
  packageHomes,
  ports,
  rules,
  testFiles,
} from './import-rules.mjs';
import { readImports } from './read-imports.mjs';

const sourceFolders = ['contracts', 'server', 'scripts', 'dashboard', 'inbox', 'clients'];
const sourceFile = /\.(ts|tsx|mts|js|mjs|jsx)$/;
const skippedFolders = new Set(['node_modules', 'dist', 'build', 'results', 'public', 'data']);
// Only what runs in the server and in clients; a dashboard may have its own habits.
const barrelFree = /^(contracts|server)\//;
const rulesFile = 'scripts/import-rules.mjs';

/** @returns {string[]} one line per problem: file:line, what is wrong, what to do instead */
export function checkImports(root) {
  const files = sourceFolders.flatMap((folder) => listSources(root, folder)).sort();
  const problems = [];
  const edges = [];
  for (const file of files) {
    if (barrelFree.test(file) && /^index\./.test(basename(file))) {
      problems.push(
        `${file}:1: an index file hides which file is used. Name the file after what is in it and import it by name.`,
      );
    }
    let imports;
    try {
      imports = readImports(readFileSync(join(root, file), 'utf8'), { hasJsx: /x$/.test(file) });
    } catch (error) {
      problems.push(`${file}: the imports cannot be read: ${error.message}.`);
      continue;
    }
    const resolved = imports.map((entry) => ({
      ...entry,
      from: file,
      target: resolve(file, entry.specifier),
    }));
    if (isTest(file)) continue;
    edges.push(...resolved.filter(({ target }) => target?.file));
    problems.push(...checkFile(file, resolved));
  }
  problems.push(...findFileCycles(edges), ...findRoomCycles(edges));
  return problems;
}

function checkFile(file, imports) {
  const rule = ruleOf(file);
  if (!rule)
    return [`${file}:1: no rule says what this file may import. Add its room to ${rulesFile}.`];
  return imports.flatMap((entry) => {
    const objection = objectionTo(file, rule, entry);
    return objection ? [`${file}:${entry.line}: ${objection}`] : [];
  });
}

function objectionTo(file, rule, { specifier, kind, target }) {
  if (specifier === undefined) {
    if (matchesAny(computedImports, file)) return undefined;
    return `import() of a computed path. Write the path as a text, so that it can be seen who imports whom.`;
  }
  if (target.outside)
    return `${specifier} leaves the workspace by a relative path. Import it by the name of its package (@tidings/contracts/…).`;
  if (target.file) {
    if (isTest(target.file))
      return `${target.file} is test code. The program must not depend on tests: move what both need to a file of the program.`;
    if (rule.allows(target.file)) return undefined;
    return `${roomOf(file)} may not import ${target.file}. ${rule.instead} (${rulesFile})`;
  }
  return objectionToPackage(file, rule, { specifier, kind, name: target.package });
}

function objectionToPackage(file, rule, { specifier, kind, name }) {
  const isBuiltin = name.startsWith('node:');
  if (rule.packages && !rule.packages.includes(isBuiltin ? 'node:' : name)) {
    return `${roomOf(file)} may not import ${specifier}. ${rule.instead} (${rulesFile})`;
  }
  const home = packageHomes.find(({ packages }) => matchesAny(packages, name));
  if (home && !matchesAny(home.may, file)) {
    return `${specifier} may be imported in ${home.may.join(', ')} only. ${home.instead} (${rulesFile})`;
  }
  if (rule.lazy && kind === 'static' && !isBuiltin && !eagerPackages.includes(name)) {
    return `${specifier} is loaded at start-up for everyone, also where it is not configured. Use "import type" here and "await import('${specifier}')" on first use.`;
  }
  return undefined;
}

/** What a specifier names: a file of ours, a package, or a path out of its workspace. */
function resolve(file, specifier) {
  if (specifier === undefined) return undefined;
  if (!specifier.startsWith('.')) {
    const workspace = /^@tidings\/contracts\/(.+)$/.exec(specifier);
    if (workspace) return { file: `contracts/src/${workspace[1]}.ts` };
    if (specifier.startsWith('node:')) return { package: specifier };
    return {
      package: specifier
        .split('/')
        .slice(0, specifier.startsWith('@') ? 2 : 1)
        .join('/'),
    };
  }
  const target = posix.join(posix.dirname(file), specifier);
  return workspaceOf(target) === workspaceOf(file) ? { file: target } : { outside: true };
}

function workspaceOf(file) {
  return file.split('/')[0];
}

function roomOf(file) {
  const parts = file.split('/');
  if (parts[0] !== 'server' || parts.length === 3)
    return parts.length === 3 && parts[0] === 'server' ? parts[2] : parts[0];
  if (parts[2] === 'adapters' && parts.length > 4) return parts.slice(2, -1).join('/');
  return parts[2];
}

// Cycles. Between files only what is loaded counts (types are gone at run time); between rooms
// everything does, since a room that knows another's types depends on it, except the shared
// vocabulary, which lies below all of them.

function findFileCycles(edges) {
  const loaded = edges.filter(
    ({ kind, from, target }) => kind === 'static' && from !== target.file,
  );
  return findCycles(
    loaded.map(({ from, line, target }) => ({ from, to: target.file, at: `${from}:${line}` })),
  ).map(
    (cycle) =>
      `${cycle[0].at}: an import cycle: ${describe(cycle)}. Move what both need to a file of its own, or pass it as an argument.`,
  );
}

function findRoomCycles(edges) {
  const between = edges.flatMap(({ from, line, target }) => {
    const [a, b] = [folderRoom(from), folderRoom(target.file)];
    const counts = a && b && a !== b && !matchesAny(ports, target.file);
    return counts ? [{ from: a, to: b, at: `${from}:${line}` }] : [];
  });
  return findCycles(between).map(
    (cycle) =>
      `${cycle[0].at}: rooms import each other: ${describe(cycle)}. Rooms know each other one way only: turn one direction into a port or an argument.`,
  );
}

/** Only folders are rooms here: main, assemble and the base files join or serve all of them. */
function folderRoom(file) {
  return /^server\/src\/([^/]+)\//.exec(file)?.[1];
}

function describe(cycle) {
  return [
    ...cycle.map(({ from, at }) => (at.startsWith(`${from}:`) ? from : `${from} (${at})`)),
    cycle[0].from,
  ].join(' → ');
}

/** One shortest cycle through each node that lies on one and on none found before. */
function findCycles(edges) {
  const outgoing = Map.groupBy(edges, ({ from }) => from);
  const covered = new Set();
  const cycles = [];
  for (const start of outgoing.keys()) {
    if (covered.has(start)) continue;
    const cycle = shortestWayBack(start, outgoing);
    if (!cycle) continue;
    for (const { from } of cycle) covered.add(from);
    cycles.push(cycle);
  }
  return cycles;
}

function shortestWayBack(start, outgoing) {
  const reached = new Map();
  let frontier = [start];
  while (frontier.length > 0) {
    const next = [];
    for (const node of frontier) {
      for (const edge of outgoing.get(node) ?? []) {
        if (edge.to === start) return pathTo(node, edge, reached, start);
        if (reached.has(edge.to)) continue;
        reached.set(edge.to, edge);
        next.push(edge.to);
      }
    }
    frontier = next;
  }
  return undefined;
}

function pathTo(node, lastEdge, reached, start) {
  const path = [lastEdge];
  for (let at = node; at !== start; at = path[0].from) path.unshift(reached.get(at));
  return path;
}

// Patterns of the rules.

function ruleOf(file) {
  for (const rule of rules) {
    for (const pattern of [rule.from].flat()) {
      const match = expressionOf(pattern).exec(file);
      if (match) return bindRule(rule, match.groups ?? {});
    }
  }
  return undefined;
}

function bindRule(rule, names) {
  const may = rule.may.map((pattern) =>
    pattern.replace(/:(\w+)/g, (whole, name) => names[name] ?? whole),
  );
  return { ...rule, allows: (target) => matchesAny(may, target) };
}

/** True when a pattern fits and none that begins with `!` does. */
function matchesAny(patterns, text) {
  const fits = (pattern) => expressionOf(pattern).test(text);
  const [denied, allowed] = [
    patterns.filter((p) => p.startsWith('!')),
    patterns.filter((p) => !p.startsWith('!')),
  ];
  return allowed.some(fits) && !denied.some((pattern) => fits(pattern.slice(1)));
}

const expressions = new Map();

function expressionOf(pattern) {
  let expression = expressions.get(pattern);
  if (!expression) {
    const source = pattern.replace(
      /\*\*\/|\*\*|\*|\{|\}|,|(?<=\/):(\w+)|[.+?^$()|[\]\\]/g,
      (part, name) => {
        if (name) return `(?<${name}>[^/]+)`;
        return (
          { '**/': '(?:.*/)?', '**': '.*', '*': '[^/]*', '{': '(?:', '}': ')', ',': '|' }[part] ??
          `\\${part}`
        );
      },
    );
    expression = new RegExp(`^${source}$`);
    expressions.set(pattern, expression);
  }
  return expression;
}

function isTest(file) {
  return matchesAny(testFiles, file);
}

function listSources(root, folder) {
  if (!existsSync(join(root, folder))) return [];
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) return skippedFolders.has(entry.name) ? [] : listSources(root, path);
    return sourceFile.test(entry.name) && !entry.name.endsWith('.d.ts') ? [path] : [];
  });
}

if (realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const root = process.argv[2] ?? dirname(dirname(fileURLToPath(import.meta.url)));
  const problems = checkImports(root);
  for (const problem of problems) console.error(problem);
  if (problems.length > 0) {
    console.error(`\ncheck-imports: ${problems.length} problem${problems.length === 1 ? '' : 's'}`);
    process.exitCode = 1;
  } else {
    console.log('check-imports: every import goes where the rooms allow it');
  }
}
