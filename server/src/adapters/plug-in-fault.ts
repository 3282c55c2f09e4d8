/**
 * What a plug-in threw, in words: for the timeline one text, for the log of the service the stack as well.
 * Where Node refused something, its own words advise flags that nobody can give to a plug-in.
 */
import { textOf } from './plug-in-protocol.ts';

/** As `permission` of Node's ERR_ACCESS_DENIED; the other things are said as Node names them. */
const REFUSED: Readonly<Record<string, (resource: string) => string>> = {
  FileSystemRead: (path) =>
    `may not read ${path}: it may read its own folder and its packages only`,
  FileSystemWrite: (path) => `may not write ${path}: it may write no files`,
  ChildProcess: (program) => `may not start ${program}: it may start no programs`,
  WorkerThreads: () => 'may not start threads',
};

/** What Node refuses to a plug-in, and why. */
export function refusalOf(permission: string, resource: string): string {
  const what = REFUSED[permission]?.(resource || 'it') ?? `may not use ${permission || 'links'}`;
  return `a plug-in ${what}`;
}

/** An error may be anything, also something that throws when it is looked at. */
export function faultTextOf(error: unknown): string {
  try {
    const { code, permission, resource } = error as Record<string, unknown>;
    if (code === 'ERR_ACCESS_DENIED') return refusalOf(String(permission), String(resource));
  } catch {
    // It is read once more, and if need be given up.
  }
  return textOf(error);
}
