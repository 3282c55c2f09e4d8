/**
 * What a disk holds after a power loss at any moment of a program's life, rebuilt from the log of
 * its system calls. A kill cannot show this: the page cache outlives a process.
 *
 * The rules, on the safe side of what file systems with a journal promise:
 *  - A file holds for certain what was written before the last sync of it began that succeeded.
 *  - Later writes may be there or not, each page of 4 KiB by itself and, within a page, each sector
 *    of 512 bytes by itself.
 *  - After a sync that failed, what it should have written is no longer dirty (Linux marks such
 *    pages clean): no later sync writes it. Linux tells each descriptor of the file about it once;
 *    an injected error is told to one thread only, so a test may name the threads that count.
 *  - Names (created, renamed, removed) are kept in order. They are certain once the folder, or the
 *    file they were made for, has been synced; of the others any number of the first may be there.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { type Change, File } from './file-states.ts';
import type { Step } from './syscall-log.ts';

type Renaming =
  | { kind: 'create'; path: string; file: File }
  | { kind: 'unlink'; path: string }
  | { kind: 'rename'; from: string; to: string };

type Names = Map<string, File>;

function apply(names: Names, change: Renaming): void {
  if (change.kind === 'create') names.set(change.path, change.file);
  else if (change.kind === 'unlink') names.delete(change.path);
  else {
    const file = names.get(change.from);
    names.delete(change.from);
    if (file) names.set(change.to, file);
  }
}

interface OpenFile {
  /** undefined for a folder. */
  file: File | undefined;
  position: number;
  append: boolean;
}

interface Sync {
  changes: Set<Change>;
  /** How many renamings, from the first of all, are certain with it. */
  renamings: number;
}

/** A number in [0, 1), from a seed: a failing image can be made again. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Follows the steps of a log from an empty folder on. */
export class Disk {
  readonly #folder: string;
  /** As the program sees it, and as it is certain to be on the disk. */
  readonly #names: Names = new Map();
  readonly #durableNames: Names = new Map();
  /** Those that are not certain, and how many were certain before them. */
  #renamings: Renaming[] = [];
  #certainRenamings = 0;
  readonly #open = new Map<number, OpenFile>();
  readonly #writes = new Map<Step['call'], Change>();
  readonly #syncs = new Map<Step['call'], Sync>();

  readonly #forgets: (thread: number) => boolean;

  /** @param forgets whether a failed sync of this thread loses what it should have written */
  constructor(folder: string, forgets: (thread: number) => boolean = () => true) {
    this.#folder = folder;
    this.#forgets = forgets;
  }

  /** Whether the log has to have the calls on this path: everything that outlives the program. */
  static follows(folder: string): (path: string) => boolean {
    // The index beside the log (-shm) is rebuilt by whoever opens the file first; lock.db says
    // only who runs.
    return (path) =>
      path.startsWith('socket:') ||
      path === folder ||
      (path.startsWith(`${folder}/`) && !/-shm$|\/lock\.db(-journal)?$/.test(path));
  }

  /** Identifies what is certain: two moments with the same text have the same certain image. */
  get state(): string {
    return [...this.#durableNames]
      .map(([path, file]) => `${path}=${this.#idOf(file)}.${file.version}`)
      .join(' ');
  }

  readonly #ids = new Map<File, number>();

  #idOf(file: File): number {
    if (!this.#ids.has(file)) this.#ids.set(file, this.#ids.size);
    return this.#ids.get(file) as number;
  }

  apply({ phase, call, thread }: Step): void {
    const ended = phase === 'end';
    switch (call.kind) {
      case 'open':
        if (ended) this.#opened(call);
        break;
      case 'close':
        // Its number can be given out again from the beginning of the call on.
        if (!ended) this.#open.delete(call.fd);
        break;
      case 'write':
        if (!call.path.startsWith('socket:')) this.#write(phase, call);
        break;
      case 'truncate':
        this.#truncate(phase, call);
        break;
      case 'sync':
        this.#sync(phase, call, thread);
        break;
      case 'unlink':
        if (ended && !call.failed) this.#rename({ kind: 'unlink', path: call.path });
        break;
      case 'rename':
        if (ended && !call.failed) this.#rename({ kind: 'rename', from: call.from, to: call.to });
        break;
      case 'unknown':
        throw new Error(`the model of the disk does not know ${call.line}`);
    }
  }

  #opened({ path, fd, create, truncate, append }: Step['call'] & { kind: 'open' }): void {
    if (fd < 0) return;
    if (path === this.#folder)
      return void this.#open.set(fd, { file: undefined, position: 0, append: false });
    let file = this.#names.get(path);
    if (!file) {
      // A folder below; or a file that was there before the log began, which this model excludes.
      if (!create) return void this.#open.set(fd, { file: undefined, position: 0, append: false });
      file = new File();
      this.#rename({ kind: 'create', path, file });
    } else if (truncate) {
      file.pending.push({ offset: 0, data: undefined, done: true, forgotten: false });
    }
    this.#open.set(fd, { file, position: 0, append });
  }

  #fileOf(fd: number): OpenFile & { file: File } {
    const open = this.#open.get(fd);
    if (!open?.file) throw new Error(`file descriptor ${fd} is not known to the model of the disk`);
    return open as OpenFile & { file: File };
  }

  #write(phase: Step['phase'], call: Step['call'] & { kind: 'write' }): void {
    const open = this.#fileOf(call.fd);
    if (phase === 'begin') {
      if (open.append) throw new Error('the model of the disk does not know O_APPEND');
      const offset = call.offset ?? open.position;
      const change: Change = { offset, data: call.data, done: false, forgotten: false };
      open.file.pending.push(change);
      this.#writes.set(call, change);
      return;
    }
    const change = this.#writes.get(call) as Change;
    this.#writes.delete(call);
    change.done = true;
    change.data = call.data.subarray(0, call.written);
    if (call.offset === null) open.position += call.written;
  }

  #truncate(phase: Step['phase'], call: Step['call'] & { kind: 'truncate' }): void {
    if (phase === 'begin' || call.failed) return;
    const { file } = this.#fileOf(call.fd);
    file.pending.push({ offset: call.length, data: undefined, done: true, forgotten: false });
  }

  #sync(phase: Step['phase'], call: Step['call'] & { kind: 'sync' }, thread: number): void {
    const open = this.#open.get(call.fd);
    if (!open) throw new Error(`the model of the disk does not know the synced ${call.path}`);
    const { file } = open;
    if (phase === 'begin') {
      const changes = file?.pending.filter(({ done, forgotten }) => done && !forgotten) ?? [];
      const made = file ? this.#lastRenamingOf(file) + 1 : this.#renamings.length;
      this.#syncs.set(call, {
        changes: new Set(changes),
        renamings: this.#certainRenamings + made,
      });
      return;
    }
    const { changes, renamings } = this.#syncs.get(call) as Sync;
    this.#syncs.delete(call);
    if (call.failed) {
      if (!this.#forgets(thread)) return;
      // Lengths and names belong to the journal, which writes them another time.
      for (const change of changes) change.forgotten = change.data !== undefined;
      return;
    }
    file?.commit(changes);
    const certain = this.#renamings.splice(0, Math.max(0, renamings - this.#certainRenamings));
    for (const renaming of certain) apply(this.#durableNames, renaming);
    this.#certainRenamings += certain.length;
  }

  #lastRenamingOf(file: File): number {
    return this.#renamings.findLastIndex(
      (renaming) =>
        (renaming.kind === 'create' && renaming.file === file) ||
        (renaming.kind === 'rename' && this.#names.get(renaming.to) === file),
    );
  }

  #rename(renaming: Renaming): void {
    apply(this.#names, renaming);
    this.#renamings.push(renaming);
  }

  /**
   * Writes the files as a power loss at this moment would leave them. Without `random` everything
   * that is not certain is gone; with it, some of it is there. `wanted` leaves out files, by their
   * paths within the folder.
   */
  writeImage(
    target: string,
    random?: () => number,
    wanted: (path: string) => boolean = () => true,
  ): void {
    const names = new Map(this.#durableNames);
    if (random) {
      const kept = Math.floor(random() * (this.#renamings.length + 1));
      for (const renaming of this.#renamings.slice(0, kept)) apply(names, renaming);
    }
    for (const [path, file] of names) {
      const name = relative(this.#folder, path);
      if (!wanted(name)) continue;
      const to = join(target, name);
      mkdirSync(dirname(to), { recursive: true });
      writeFileSync(to, random ? file.torn(random) : file.durable);
    }
  }
}
