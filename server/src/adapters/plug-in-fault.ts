/**
 * What a plug-in threw, in words: for the timeline one text, for the log of the service the stack as well.
 * Where Node refused something, its own words advise flags that nobody can give to a plug-in.
 */

import { withoutSecrets } from '../secret-text.ts';
import type { PlugInOutputOptions } from './plug-in-output.ts';
import { textOf } from './plug-in-protocol.ts';

/** Before secrets are masked, which may not be cut in two where it is shown. */
const LONGEST_STACK = 8000;
const LONGEST_LOGGED_STACK = 4000;
/** An error that has another one as its cause, which may have one again. */
const MOST_CAUSES = 3;
/** The same text is logged once in this time. */
const REPEAT_MS = 60_000;
/** Different texts in that time: some name a message or a number in each. */
const MOST_TEXTS = 10;

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
  return inOwnWords(textOf(error), error);
}

/** Where it was thrown, and what it was caused by. Undefined for what is no error. */
export function stackOf(error: unknown): string | undefined {
  try {
    const stacks = causesOf(error).map(({ stack }) => stack);
    return inOwnWords(stacks.join('\ncaused by: '), error).slice(0, LONGEST_STACK) || undefined;
  } catch {
    return undefined;
  }
}

function inOwnWords(text: string, error: unknown): string {
  try {
    return causesOf(error).reduce((told, at) => {
      const { code, permission, resource } = at as NodeJS.ErrnoException & Record<string, unknown>;
      if (code !== 'ERR_ACCESS_DENIED') return told;
      return told.replaceAll(at.message, () => refusalOf(String(permission), String(resource)));
    }, text);
  } catch {
    return text;
  }
}

/** The error itself, then what it came from. */
function causesOf(error: unknown): Error[] {
  const causes: Error[] = [];
  for (let at = error; at instanceof Error && causes.length <= MOST_CAUSES; at = at.cause)
    causes.push(at);
  return causes;
}

export interface PlugInFault {
  accountId: string | undefined;
  messageId?: string;
  text: string;
  /** As the process of the plug-in tells it: it may be anything. */
  stack: unknown;
}

/** The faults of one plug-in as lines of the service's log. */
export class PlugInFaults {
  readonly #options: PlugInOutputOptions;
  /** By text, when it was logged; the oldest stand first. */
  readonly #said = new Map<string, number>();

  constructor(options: PlugInOutputOptions) {
    this.#options = options;
  }

  /** Its attempts will throw the same, which is not said again at once. */
  refused(fault: PlugInFault): void {
    this.#said.delete(fault.text);
    this.#said.set(fault.text, this.#options.clock.monotonic());
    this.#log(fault, 'a plug-in does not open its account');
  }

  /** The same text, and many texts, are logged once in a while only. */
  threw(fault: PlugInFault): void {
    const now = this.#options.clock.monotonic();
    for (const [text, at] of this.#said) {
      if (now - at < REPEAT_MS) break;
      this.#said.delete(text);
    }
    if (this.#said.has(fault.text) || this.#said.size >= MOST_TEXTS) return;
    this.#said.set(fault.text, now);
    this.#log(fault, 'a plug-in threw; the same fault is not logged again for a minute');
  }

  #log({ accountId, messageId, text, stack }: PlugInFault, message: string): void {
    const { name, log, secrets } = this.#options;
    const hidden = secrets();
    const where =
      typeof stack === 'string'
        ? withoutSecrets(stack, hidden).slice(0, LONGEST_LOGGED_STACK)
        : undefined;
    const cause = withoutSecrets(text, hidden);
    log?.error({ plugIn: name, account: accountId, messageId, cause, stack: where }, message);
  }
}
