/**
 * Reads what strace wrote about a program: which files it wrote, synced, renamed, and what it
 * answered on its sockets, in the order in which calls began and ended.
 *
 * Calls of several threads interleave: a call that another one interrupts in the log has a line for
 * its beginning (`<unfinished ...>`) and one for its end (`<... resumed>`). A write may be on the disk
 * from its beginning on, and is covered only by a sync that begins after its end; hence two steps.
 */
import { accessSync, closeSync, constants, openSync, readSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Every call that changes files or talks to sockets, also those that the model refuses to follow. */
const TRACED = [
  ...['openat', 'open', 'creat', 'close', 'write', 'pwrite64', 'writev', 'pwritev', 'pwritev2'],
  ...['fsync', 'fdatasync', 'ftruncate', 'truncate', 'fallocate', 'sync_file_range'],
  ...['unlink', 'unlinkat', 'rename', 'renameat', 'renameat2', 'link', 'linkat', 'symlink'],
  ...[
    'sendto',
    'sendmsg',
    'sendmmsg',
    'sendfile',
    'copy_file_range',
    'splice',
    'dup',
    'dup2',
    'dup3',
  ],
];

/** Longer than what the program writes at once; a string that is cut off stops the reading. */
const STRING_LIMIT = 1_000_000;

export interface StraceOptions {
  log: string;
  /** Such as `fsync,fdatasync:error=EIO:when=20+`. */
  inject?: string;
}

/** The command line in front of the program's own. @throws with what to install when strace is missing */
export function strace({ log, inject }: StraceOptions): string[] {
  return [
    requireTool('strace', 'strace'),
    // All threads; only traced calls stop the program; paths and ports of file descriptors;
    // every byte in hex.
    ...['-f', '--seccomp-bpf', '-y', '-xx', '-s', String(STRING_LIMIT), '-o', log],
    ...['-e', `trace=${TRACED.join(',')}`],
    ...(inject === undefined ? [] : ['-e', `inject=${inject}`]),
  ];
}

/** The path of a program. A fault test without its tool is a failure, never skipped. */
export function requireTool(name: string, aptPackage: string): string {
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    try {
      accessSync(join(folder, name), constants.X_OK);
      return join(folder, name);
    } catch {
      // Not here.
    }
  }
  throw new Error(`${name} is missing; install it: apt-get install -y ${aptPackage}`);
}

export type Call =
  | { kind: 'open'; path: string; create: boolean; truncate: boolean; append: boolean; fd: number }
  | {
      kind: 'write';
      fd: number;
      path: string;
      offset: number | null;
      data: Buffer;
      written: number;
    }
  | { kind: 'sync'; fd: number; path: string; failed: boolean }
  | { kind: 'truncate'; fd: number; path: string; length: number; failed: boolean }
  | { kind: 'unlink'; path: string; failed: boolean }
  | { kind: 'rename'; from: string; to: string; failed: boolean }
  | { kind: 'close'; fd: number }
  /** A call of which nobody here knows what it does to a file. */
  | { kind: 'unknown'; line: string };

/** `end` is missing for calls during which the program died; results are set from there on. */
export interface Step {
  phase: 'begin' | 'end';
  thread: number;
  call: Call;
}

/**
 * @param follows whether a path is of interest; sockets (`socket:[…]`) are asked for as well
 * @throws when the log has a call on a followed file that the model does not know, or a cut-off string
 */
export function readSyscallLog(log: string, follows: (path: string) => boolean): Step[] {
  const steps: Step[] = [];
  const unfinished = new Map<number, Call | undefined>();
  for (const line of linesOf(log)) {
    const [, thread, text] = /^(\d+) +(.*)$/s.exec(line) ?? [];
    if (thread === undefined || text === undefined)
      throw new Error(`not a line of strace: ${line.slice(0, 200)}`);
    if (text.startsWith('+++') || text.startsWith('---')) continue;
    const id = Number(thread);
    const begin = (call: Call | undefined): void => {
      if (call) steps.push({ phase: 'begin', thread: id, call });
    };
    const end = (call: Call | undefined, result: string): void => {
      // "?" is the result of a call that the program's death has cut off.
      if (!call || result === '?') return;
      setResult(call, result);
      steps.push({ phase: 'end', thread: id, call });
    };
    const resumed = /^<\.\.\. (\w+) resumed>/.exec(text);
    if (resumed) {
      if (!unfinished.has(id))
        throw new Error(`resumed without a beginning: ${line.slice(0, 200)}`);
      end(unfinished.get(id), resultOf(text));
      unfinished.delete(id);
      continue;
    }
    const [, name, rest] = /^(\w+)\((.*)$/s.exec(text) ?? [];
    if (name === undefined || rest === undefined)
      throw new Error(`not a call: ${line.slice(0, 200)}`);
    const call = parseCall(name, rest, follows);
    begin(call);
    if (rest.endsWith('<unfinished ...>')) unfinished.set(id, call);
    else end(call, resultOf(rest));
  }
  return steps;
}

/** A result with the path of a file descriptor, or with the words of an error. */
const RESULT_LENGTH = 5000;

function resultOf(text: string): string {
  const result = /\)\s+= (-?\d+|\?)[^"]*$/.exec(text.slice(-RESULT_LENGTH))?.[1];
  if (result === undefined) throw new Error(`no result: ${text.slice(-200)}`);
  return result;
}

function setResult(call: Call, result: string): void {
  const number = Number.parseInt(result, 10);
  const failed = !(number >= 0);
  if (call.kind === 'open') call.fd = failed ? -1 : number;
  else if (call.kind === 'write') call.written = failed ? 0 : number;
  else if ('failed' in call) call.failed = failed;
}

const FD = /^(\d+)<([^>]*)>(?:\(deleted\))?/;

function parseCall(
  name: string,
  text: string,
  follows: (path: string) => boolean,
): Call | undefined {
  if (name === 'close') return { kind: 'close', fd: Number.parseInt(text, 10) };
  const [head, fdText, pathText] = FD.exec(text) ?? [];
  const fd = Number(fdText);
  const path = pathText === undefined ? '' : plain(pathText);
  const ofFd = head !== undefined && follows(path);
  const args = head === undefined ? text : text.slice(head.length);
  switch (name) {
    case 'openat':
    case 'open':
      return parseOpen(text, follows);
    case 'write':
    case 'pwrite64':
    case 'writev':
    case 'pwritev':
    case 'sendto':
    case 'sendmsg':
      return ofFd ? parseWrite(name, { fd, path, args }) : undefined;
    case 'fsync':
    case 'fdatasync':
      return ofFd ? { kind: 'sync', fd, path, failed: true } : undefined;
    case 'ftruncate':
      return ofFd
        ? { kind: 'truncate', fd, path, length: Number(/^, (\d+)/.exec(args)?.[1]), failed: true }
        : undefined;
    case 'unlink':
    case 'unlinkat': {
      const [target] = stringsOf(text).map(String);
      return target !== undefined && follows(target)
        ? { kind: 'unlink', path: target, failed: true }
        : undefined;
    }
    case 'rename':
    case 'renameat':
    case 'renameat2': {
      const [from, to] = stringsOf(text).map(String) as [string, string];
      return follows(from) || follows(to) ? { kind: 'rename', from, to, failed: true } : undefined;
    }
    default: {
      const named =
        ofFd || stringsOf(text.slice(0, 10_000)).some((value) => follows(String(value)));
      return named ? { kind: 'unknown', line: `${name}(${text.slice(0, 200)}` } : undefined;
    }
  }
}

function parseOpen(text: string, follows: (path: string) => boolean): Call | undefined {
  const [path] = stringsOf(text).map(String);
  if (path === undefined || !follows(path)) return undefined;
  const flags = /", ([A-Z_|]+)/.exec(text)?.[1]?.split('|') ?? [];
  return {
    kind: 'open',
    path,
    create: flags.includes('O_CREAT'),
    truncate: flags.includes('O_TRUNC'),
    append: flags.includes('O_APPEND'),
    fd: -1,
  };
}

function parseWrite(
  name: string,
  { fd, path, args }: { fd: number; path: string; args: string },
): Call {
  const data = Buffer.concat(stringsOf(args));
  // The numbers behind the bytes: the length, and where it is positioned, the offset.
  const numbers = /(?:, (\d+))?(?:, (\d+))?(?: <unfinished \.\.\.>)?(?:\)\s+= .*)?$/.exec(args);
  const positioned = name.startsWith('pwrite');
  const offset = positioned ? Number(numbers?.[2]) : null;
  if (Number.isNaN(offset)) throw new Error(`no offset: ${args.slice(-200)}`);
  return { kind: 'write', fd, path, offset, data, written: 0 };
}

/** Every quoted string, decoded. */
function stringsOf(text: string): Buffer[] {
  const found: Buffer[] = [];
  for (let from = text.indexOf('"'); from >= 0; ) {
    const to = text.indexOf('"', from + 1);
    if (to < 0 || text.startsWith('...', to + 1)) throw new Error('strace has cut off a string');
    found.push(bytes(text.slice(from + 1, to)));
    from = text.indexOf('"', to + 1);
  }
  return found;
}

function bytes(hex: string): Buffer {
  return Buffer.from(hex.replaceAll('\\x', ''), 'hex');
}

/** Paths of file descriptors are in hex, the words around them are not. */
function plain(text: string): string {
  return text.startsWith('\\x') ? bytes(text).toString('utf8') : text;
}

const CHUNK = 4 * 1024 * 1024;

/** Logs are larger than a string can be. */
function* linesOf(path: string): Generator<string> {
  const file = openSync(path, 'r');
  try {
    const chunk = Buffer.allocUnsafe(CHUNK);
    let rest = '';
    for (let size = readSync(file, chunk); size > 0; size = readSync(file, chunk)) {
      const parts = (rest + chunk.toString('latin1', 0, size)).split('\n');
      rest = parts.pop() as string;
      yield* parts;
    }
  } finally {
    closeSync(file);
  }
}

export interface Answered {
  /** Index of the step at which its last byte began to leave. */
  step: number;
  status: number;
  body: string;
}

/**
 * The HTTP answers that the program gave, in order. Last come those during which it died: they may
 * have left although their call never ended.
 */
export function answersOf(steps: readonly Step[]): Answered[] {
  const begun = new Map<Call, number>();
  const streams = new Map<string, Buffer>();
  const answers: Answered[] = [];
  const take = (call: Call & { kind: 'write' }, data: Buffer): void => {
    const stream = Buffer.concat([streams.get(call.path) ?? Buffer.alloc(0), data]);
    const { found, rest } = takeAnswers(stream);
    streams.set(call.path, rest);
    for (const answer of found) answers.push({ ...answer, step: begun.get(call) as number });
  };
  for (const [i, { phase, call }] of steps.entries()) {
    if (call.kind !== 'write' || !call.path.startsWith('socket:')) continue;
    if (phase === 'begin') {
      begun.set(call, i);
    } else {
      take(call, call.data.subarray(0, call.written));
      begun.delete(call);
    }
  }
  for (const call of begun.keys()) if (call.kind === 'write') take(call, call.data);
  return answers;
}

function takeAnswers(stream: Buffer): { found: Omit<Answered, 'step'>[]; rest: Buffer } {
  const found: Omit<Answered, 'step'>[] = [];
  let rest = stream;
  // What begins otherwise is a request of the program's own.
  while (rest.subarray(0, 9).toString('latin1') === 'HTTP/1.1 ') {
    const headEnd = rest.indexOf('\r\n\r\n');
    if (headEnd < 0) break;
    const head = rest.subarray(0, headEnd).toString('latin1');
    const length = Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0);
    const end = headEnd + 4 + length;
    if (rest.length < end) break;
    const body = rest.subarray(headEnd + 4, end).toString('utf8');
    found.push({ status: Number(head.slice(9, 12)), body });
    rest = rest.subarray(end);
  }
  const mayBecomeOne = 'HTTP/1.1 '.startsWith(rest.subarray(0, 9).toString('latin1'));
  return { found, rest: mayBecomeOne ? rest : Buffer.alloc(0) };
}
