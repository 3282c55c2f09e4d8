/**
 * Loads the files of the plug-in folder once in a process of their own before the service loads them: one
 * that loops, waits for ever or ends its process when it is loaded would take the service with it, which
 * could not even say which file it was. It has the rights that a plug-in has: a
 * provider that needs more to be loaded would fail with every message.
 */
import type { ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { closeSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Duplex, Readable } from 'node:stream';
import { refusalOf } from './plug-in-fault.ts';
import { FROM_ENGINE, TO_ENGINE } from './plug-in-protocol.ts';
import { folderOf, spawnTrial } from './plug-in-spawn.ts';

/** For all files together, with all that they import. */
const LIMIT_MS = 10_000;
/** A stack and what came before it. */
const LAST_CHARACTERS = 8000;
/** It becomes a part of one line. */
const LONGEST_CAUSE = 500;

/**
 * @param folder the plug-in folder that the files are in
 * @throws Error that names the file, or what else is in the way
 */
export async function tryLoading(
  folder: string,
  files: readonly string[],
  limitMs = LIMIT_MS,
): Promise<void> {
  if (files.length === 0) return;
  const { child: trial, marks } = spawnTrial(folder, files);
  const report = reportOf(trial);
  trial.stdout?.resume();
  const complained = lastOf(trial.stderr);
  let late = false;
  const limit = setTimeout(() => {
    late = true;
    trial.kill('SIGKILL');
  }, limitMs);
  const [code, signal] = (await once(trial, 'close').finally(() => {
    clearTimeout(limit);
    closeSync(marks);
  })) as [number | null, NodeJS.Signals | null];
  // Adapters are only used by the service itself, which may more than a plug-in.
  for (const [number, fault] of report.faults)
    if (folderOf(files[number] ?? '') === resolve(folder)) throw new Error(fault);
  const { reached } = report;
  // Who ends it with the code of success has not let it come to its end.
  if (code === 0 && reached === files.length) return;
  const cause = causeIn(complained());
  if (reached === undefined) {
    const how = late
      ? `no file was begun within ${limitMs / 1000} s`
      : `it ended (${signal ?? code})`;
    throw new Error(`the process that tries plug-ins did not start: ${cause ?? how}`);
  }
  const file = files[reached];
  if (file === undefined)
    throw new Error(
      `${folder}: its files are loaded, but do not let their process end as it should`,
    );
  const what = late ? `it is not loaded within ${limitMs / 1000} s` : endOf(code, signal, cause);
  throw new Error(`${file}: ${what}`);
}

interface Report {
  /** The number of the file that was begun last; how many there are when all have been loaded. */
  reached: number | undefined;
  /** By the number of the file. */
  faults: Map<number, string>;
}

/** What plug-in-trial-main.ts says, and nobody else: only it knows the word. */
function reportOf(trial: ChildProcess): Report {
  const report: Report = { reached: undefined, faults: new Map() };
  const word = randomUUID();
  const line = new RegExp(`^${word} (\\d+)(?: (.*))?$`);
  const [toTrial, fromTrial] = [FROM_ENGINE, TO_ENGINE].map((at) => trial.stdio[at] as Duplex);
  // Its end is seen by that of the process.
  toTrial?.on('error', () => {}).end(word);
  let rest = '';
  fromTrial?.setEncoding('utf8').on('data', (more: string) => {
    const lines = (rest + more).split('\n');
    rest = (lines.pop() ?? '').slice(-LAST_CHARACTERS);
    for (const [, number, fault] of lines.flatMap((text) => [line.exec(text) ?? []])) {
      if (number === undefined) continue;
      report.reached = Number(number);
      if (fault !== undefined) report.faults.set(report.reached, fault);
    }
  });
  return report;
}

/** The end of what comes out of a pipe, as far as it has come. */
function lastOf(pipe: Readable | null): () => string {
  let text = '';
  pipe?.setEncoding('utf8').on('data', (more: string) => {
    text = (text + more).slice(-LAST_CHARACTERS);
  });
  return () => text;
}

/** Of what Node or the plug-in wrote before the end: the error, where there is one, or the last line. */
function causeIn(complaint: string): string | undefined {
  const lines = complaint
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !/^Node\.js v\d/.test(line));
  const error = lines.findLast((line) => /^(Uncaught )?\w*(Error|Exception)\b[^:]*: /.test(line));
  const [permission, resource] = ['permission', 'resource'].map(
    (name) => new RegExp(`^\\s*${name}: '(.*)',?$`, 'm').exec(complaint)?.[1],
  );
  const text = permission && resource ? refusalOf(permission, resource) : (error ?? lines.at(-1));
  return text?.slice(0, LONGEST_CAUSE);
}

function endOf(code: number | null, signal: NodeJS.Signals | null, cause?: string): string {
  if (code === UNSETTLED) return 'it waits for something that never comes when it is loaded';
  const what = `it ends its process when it is loaded (${signal ?? code})`;
  // Before a signal come pages of native frames.
  return cause === undefined || signal !== null ? what : `${what}: ${cause}`;
}

/** How Node ends when a top-level await can come to no end. */
const UNSETTLED = 13;
