/**
 * How the process of a plug-in is started: with which Node, limits, files, environment and permissions.
 * The permissions keep a plug-in from reading and changing what is not its business by mistake; Node
 * itself says that they do not stop who means to (docs/decisions/012).
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { closeSync, openSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readablePaths } from './plug-in-files.ts';
import { MARK_BYTES, MARKS, textOf } from './plug-in-protocol.ts';

/** Of what JavaScript holds; buffers come on top of it. */
export const HEAP_LIMIT_MB = 256;
/** Of all of its memory: heap, buffers, code and Node itself. */
export const MEMORY_LIMIT_MB = 512;
/** What its process needs, and the plug-in does not see: compiled code to start from, the zone of local times, and what Windows needs for sockets. */
const ENVIRONMENT = ['NODE_COMPILE_CACHE', 'TZ', 'SystemRoot'];
const MAIN = fileURLToPath(new URL('./plug-in-main.ts', import.meta.url));
const TRIAL = fileURLToPath(new URL('./plug-in-trial-main.ts', import.meta.url));

export interface PlugInFile {
  file: string;
  /** All that are loaded of the same plug-in folder: what one of them may read, all may. */
  files: readonly string[];
}

export interface SpawnedPlugIn {
  child: ChildProcess;
  /** Of the file of marks; the caller closes it. */
  marks: number;
}

/** @throws Error when there is no place for the file of marks, or no process to be had */
export function spawnPlugIn({ file, files }: PlugInFile): SpawnedPlugIn {
  return start(folderOf(file), files, [MAIN, resolve(file)]);
}

/** A process that loads these files, all of one plug-in folder. @throws Error like `spawnPlugIn` */
export function spawnTrial(folder: string, files: readonly string[]): SpawnedPlugIn {
  return start(resolve(folder), files, [TRIAL, ...files.map((file) => resolve(file))]);
}

function start(folder: string, files: readonly string[], program: string[]): SpawnedPlugIn {
  const paths = files.map((file) => resolve(file));
  const marks = openMarks();
  try {
    const child = spawn(process.execPath, [...argumentsFor(folder, paths), ...program], {
      cwd: folder,
      env: environment(),
      stdio: ['ignore', 'pipe', 'pipe', 'pipe', 'pipe', 'pipe', marks],
      // Signals from a terminal are for the service, which then lets it end what it has begun.
      detached: true,
      windowsHide: true,
    });
    endFirst(child.pid);
    return { child, marks };
  } catch (error) {
    closeSync(marks);
    throw error;
  }
}

/** The plug-in folder: a provider's file is `<folder>/<channel>/providers/<name>`. */
export function folderOf(file: string): string {
  return dirname(dirname(dirname(resolve(file))));
}

/** A file without a name, which is gone with those that have it open. */
function openMarks(): number {
  const path = join(tmpdir(), `tidings-plug-in-${randomUUID()}`);
  let marks: number | undefined;
  try {
    marks = openSync(path, 'wx+', 0o600);
    unlinkSync(path);
    // So that there is a place for them also when the disk is full later.
    writeFileSync(marks, Buffer.alloc(MARKS * MARK_BYTES));
    return marks;
  } catch (error) {
    if (marks !== undefined) closeSync(marks);
    throw new Error(
      `${tmpdir()}: plug-ins need a file in the folder for temporary files (TMPDIR): ${textOf(error)}`,
      { cause: error },
    );
  }
}

function environment(): NodeJS.ProcessEnv {
  const names = ENVIRONMENT.filter((name) => process.env[name] !== undefined);
  return Object.fromEntries(names.map((name) => [name, process.env[name]]));
}

function argumentsFor(folder: string, files: readonly string[]): string[] {
  const compiled = process.env['NODE_COMPILE_CACHE'];
  return [
    `--max-old-space-size=${HEAP_LIMIT_MB}`,
    '--permission',
    // What it opens and writes is asked of no permission.
    '--no-experimental-sqlite',
    '--allow-net',
    // For the guard alone: given back before the plug-in is loaded, as is the next one.
    '--allow-worker',
    ...(compiled === undefined ? [] : [`--allow-fs-write=${resolve(compiled)}`]),
    ...readablePaths(folder, files).map((path) => `--allow-fs-read=${path}`),
    ...(compiled === undefined ? [] : [`--allow-fs-read=${resolve(compiled)}`]),
    // What the two flags above say at every start.
    '--disable-warning=ExperimentalWarning',
    '--disable-warning=SecurityWarning',
  ];
}

/** When the machine has no memory left, a plug-in is what Linux ends first. */
function endFirst(pid: number | undefined): void {
  if (process.platform !== 'linux' || pid === undefined) return;
  try {
    writeFileSync(`/proc/${pid}/oom_score_adj`, '1000');
  } catch {
    // It has ended already, or the system does not allow it.
  }
}
