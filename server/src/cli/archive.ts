/**
 * A folder with what an application has in the service, as NDJSON files and a manifest that says
 * how far each is. The manifest is written after the lines it counts: whatever stands behind them
 * in a file is from an attempt that was cut off, and is cut off as well.
 */
import { createHash } from 'node:crypto';
import {
  createReadStream,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { CommandFailure, EXIT, usage } from './exit.ts';

export const PARTS = ['categories', 'templates', 'users', 'webhook-endpoints', 'messages'] as const;
export type PartName = (typeof PARTS)[number];

export interface Part {
  records: number;
  bytes: number;
  /** Where to go on; null before the first page and after the last. */
  cursor: string | null;
  done: boolean;
  /** Of the whole file, once it is done. */
  sha256: string | null;
}

export interface Manifest {
  format: 'tidings-export';
  formatVersion: 1;
  source: { url: string; application: string };
  /** Of the message history, RFC 3339. */
  from: string | null;
  to: string | null;
  startedAt: string;
  completedAt: string | null;
  parts: Partial<Record<PartName, Part>>;
}

const MANIFEST = 'manifest.json';

export class Archive {
  readonly folder: string;
  readonly manifest: Manifest;

  constructor(folder: string, manifest: Manifest) {
    this.folder = folder;
    this.manifest = manifest;
  }

  pathOf(part: PartName): string {
    return join(this.folder, `${part}.ndjson`);
  }

  /** Replaces the manifest at once, so that it is never half written. */
  save(): void {
    const path = join(this.folder, MANIFEST);
    const text = `${JSON.stringify(this.manifest, null, 2)}\n`;
    try {
      writeFileSync(`${path}.part`, text, { mode: 0o600, flush: true });
      renameSync(`${path}.part`, path);
    } catch (error) {
      throw new CommandFailure(
        EXIT.failed,
        `${path} cannot be written: ${(error as Error).message}`,
      );
    }
  }
}

/** Opens an export that was begun and not finished, or begins one in an empty folder. */
export function openForExport(
  folder: string,
  wanted: Pick<Manifest, 'source' | 'from' | 'to'> & { parts: readonly PartName[] },
): { archive: Archive; resumed: boolean } {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw usage(`--out: ${folder} cannot be made: ${(error as Error).message}`);
  }
  const known = existsSync(join(folder, MANIFEST)) ? readManifest(folder) : undefined;
  if (known) {
    checkSame(folder, known, wanted);
    return { archive: new Archive(folder, known), resumed: true };
  }
  if (readdirSync(folder).length > 0) throw usage(`--out: ${folder} is not empty`);
  const part = (): Part => ({ records: 0, bytes: 0, cursor: null, done: false, sha256: null });
  const archive = new Archive(folder, {
    format: 'tidings-export',
    formatVersion: 1,
    source: wanted.source,
    from: wanted.from,
    to: wanted.to,
    startedAt: new Date().toISOString(),
    completedAt: null,
    parts: Object.fromEntries(wanted.parts.map((name) => [name, part()])),
  });
  archive.save();
  return { archive, resumed: false };
}

function checkSame(
  folder: string,
  known: Manifest,
  wanted: Pick<Manifest, 'source' | 'from' | 'to'> & { parts: readonly PartName[] },
): void {
  if (known.completedAt !== null)
    throw usage(`--out: ${folder} holds an export that is complete`, 'Choose another folder.');
  const same =
    known.source.application === wanted.source.application &&
    known.source.url === wanted.source.url &&
    known.from === wanted.from &&
    known.to === wanted.to &&
    Object.keys(known.parts).join() === wanted.parts.join();
  if (!same) {
    throw usage(
      `--out: ${folder} holds the beginning of another export`,
      `It is of the application ${known.source.application} at ${known.source.url}, begun ${known.startedAt}.`,
      'Go on with the same options, or choose another folder.',
    );
  }
}

/** @throws CommandFailure when there is no complete export */
export function openForImport(folder: string): Archive {
  if (!existsSync(join(folder, MANIFEST))) {
    throw new CommandFailure(EXIT.nothing, `${folder} holds no export: there is no ${MANIFEST}`);
  }
  const manifest = readManifest(folder);
  if (manifest.completedAt === null) {
    throw new CommandFailure(EXIT.failed, `the export in ${folder} is not complete`, [
      `Finish it first: tidings export --out ${folder}`,
    ]);
  }
  return new Archive(folder, manifest);
}

function readManifest(folder: string): Manifest {
  const path = join(folder, MANIFEST);
  let manifest: Partial<Manifest> | null;
  try {
    manifest = JSON.parse(readFileSync(path, 'utf8')) as Partial<Manifest> | null;
  } catch (error) {
    throw new CommandFailure(EXIT.failed, `${path} cannot be read: ${(error as Error).message}`);
  }
  if (manifest?.format !== 'tidings-export' || typeof manifest.parts !== 'object') {
    throw new CommandFailure(EXIT.failed, `${path} is not the manifest of an export`);
  }
  if (manifest.formatVersion !== 1) {
    throw new CommandFailure(EXIT.failed, `${path} was written by a newer version of Tidings`);
  }
  return manifest as Manifest;
}

/** What is really in a file. */
export async function inspectFile(
  path: string,
): Promise<{ records: number; bytes: number; sha256: string }> {
  const hash = createHash('sha256');
  let records = 0;
  let bytes = 0;
  try {
    // A pipe or device may never end, or never begin.
    if (!statSync(path).isFile()) throw new Error('it is no regular file');
    for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
      hash.update(chunk);
      bytes += chunk.length;
      for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, at + 1)) records++;
    }
  } catch (error) {
    throw new CommandFailure(EXIT.failed, `${path} cannot be read: ${(error as Error).message}`);
  }
  return { records, bytes, sha256: hash.digest('hex') };
}

/** Names of parts, as `--only` lists them. */
export function partsOf(text: string | undefined, all: readonly PartName[] = PARTS): PartName[] {
  if (text === undefined) return [...all];
  const names = text.split(',').map((name) => name.trim());
  const unknown = names.find((name) => !(all as readonly string[]).includes(name));
  if (unknown !== undefined)
    throw usage(`--only: there is no "${unknown}"`, `There are: ${all.join(', ')}`);
  return all.filter((name) => names.includes(name));
}
