/** `tidings export`: everything an application has in the service, into a folder. */
import { type FileHandle, open } from 'node:fs/promises';
import type { Whoami } from '@tidings/contracts/application';
import type { Ledger } from '@tidings/contracts/notification';
import type { Template } from '@tidings/contracts/template';
import type { Command } from 'commander';
import type { ApiClient } from './api-client.ts';
import {
  type Archive,
  inspectFile,
  openForExport,
  PARTS,
  type Part,
  type PartName,
  partsOf,
} from './archive.ts';
import type { Context } from './context.ts';
import { type Define, examples } from './define.ts';
import { CommandFailure, EXIT, type ExitCode } from './exit.ts';
import { parseMoment } from './moment.ts';
import { startProgress } from './progress.ts';
import { counted } from './table.ts';
import { readTemplate } from './template-transfer.ts';

interface ExportOptions {
  out?: string;
  only?: string;
  from?: string;
  to?: string;
}

export function addExport(program: Command, define: Define): void {
  const command = program
    .command('export')
    .description(
      'Write templates, categories, users, webhook endpoints and the message history into a folder.',
    )
    .requiredOption('--out <folder>', 'a new or empty folder; or one of an export to go on with')
    .option('--only <list>', `of ${PARTS.join(', ')}`)
    .option('--from <time>', 'messages from this RFC 3339 time on')
    .option('--to <time>', 'messages before this time')
    .addHelpText(
      'after',
      examples(
        'tidings export --out backup',
        'tidings export --out history --only messages --from 2026-11-01T00:00:00Z',
      ),
    )
    .addHelpText('after', HELP);
  define<ExportOptions>(command, (context, { options }) => exportAll(context, options));
}

const HELP = `
One NDJSON file per kind, and manifest.json with counts and checksums. An export that was interrupted
goes on where it stopped when the command is repeated. Secrets of webhook endpoints and API keys are
not in it; addresses in the message history are partly masked, as they are in every list.`;

/** Cursor lists; the history is that of the key's own application also when the key may see all. */
const PATHS: Record<PartName, string> = {
  categories: '/v1/categories',
  templates: '/v1/templates',
  users: '/v1/users',
  'webhook-endpoints': '/v1/webhook-endpoints',
  messages: '/v1/notifications',
};

async function exportAll(
  context: Context,
  { out = '', only, from, to }: ExportOptions,
): Promise<ExitCode> {
  const parts = partsOf(only);
  // Not +10m or ago: it would be another time when the export goes on.
  const time = (text: string | undefined, name: string): string | null =>
    text === undefined ? null : parseMoment(text.replace(/^\+/, 'x'), name, 0);
  const period = { from: time(from, '--from'), to: time(to, '--to') };
  const api = context.api();
  const { body: caller } = await api.get<Whoami>('/v1/whoami');
  const { application } = caller;
  const { archive, resumed } = openForExport(out, {
    source: { url: api.url, application },
    ...period,
    parts,
  });
  if (resumed) context.terminal.note(`going on with the export of ${archive.manifest.startedAt}`);
  // Counted first: everything accepted by now must be among the messages.
  const counted = isComparable(caller, archive) ? await accepted(api) : undefined;
  for (const [name, part] of Object.entries(archive.manifest.parts) as [PartName, Part][]) {
    if (!part.done) await exportPart(context, api, archive, name, part);
  }
  await verify(archive);
  if (counted !== undefined) await compare(api, archive, counted);
  archive.manifest.completedAt = new Date().toISOString();
  archive.save();
  await conclude(context, archive);
  return EXIT.ok;
}

async function exportPart(
  context: Context,
  api: ApiClient,
  archive: Archive,
  name: PartName,
  part: Part,
): Promise<void> {
  const { source, from, to } = archive.manifest;
  const path = archive.pathOf(name);
  const query =
    name === 'messages'
      ? { application: source.application, from: from ?? undefined, to: to ?? undefined }
      : {};
  const progress = startProgress(context.terminal, `exporting ${name}`);
  progress.update(part.records);
  const file = await open(path, part.bytes === 0 ? 'w' : 'r+', 0o600).catch((error: Error) => {
    throw new CommandFailure(EXIT.failed, `${path} cannot be written: ${error.message}`);
  });
  try {
    await file.truncate(part.bytes);
    // Templates come with all their versions: smaller pages lose less when it is interrupted.
    const pageSize = name === 'templates' ? 20 : 200;
    const pages = api.pages<object>(PATHS[name], {
      query,
      pageSize,
      from: part.cursor ?? undefined,
    });
    for await (const { items, next } of pages) {
      const records =
        name === 'templates'
          ? await Promise.all(items.map((item) => readTemplate(api, item as Template)))
          : items;
      const lines = Buffer.from(records.map((record) => `${JSON.stringify(record)}\n`).join(''));
      await writeAll(file, lines, part.bytes);
      part.bytes += lines.length;
      part.records += items.length;
      part.cursor = next;
      part.done = next === null;
      await file.datasync();
      archive.save();
      progress.update(part.records);
    }
  } finally {
    progress.stop();
    await file.close();
  }
}

async function writeAll(file: FileHandle, bytes: Buffer, position: number): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    at += (await file.write(bytes, at, bytes.length - at, position + at)).bytesWritten;
  }
}

/** Reads every file again. @throws CommandFailure when one is not what was written */
async function verify(archive: Archive): Promise<void> {
  for (const [name, part] of Object.entries(archive.manifest.parts) as [PartName, Part][]) {
    const path = archive.pathOf(name);
    const { records, bytes, sha256 } = await inspectFile(path);
    if (records !== part.records || bytes !== part.bytes) {
      throw new CommandFailure(
        EXIT.failed,
        `${path} has ${counted(records, 'line')} (${counted(bytes, 'byte')}), but ${part.records} (${part.bytes}) were written`,
      );
    }
    part.sha256 = sha256;
  }
}

/** Keys that see all applications have a ledger of all, which says nothing about one. */
function isComparable({ scopes }: Whoami, { manifest }: Archive): boolean {
  const whole = manifest.from === null && manifest.to === null;
  return whole && manifest.parts.messages !== undefined && !scopes.includes('admin');
}

async function accepted(api: ApiClient): Promise<number> {
  return (await api.get<Ledger>('/v1/ledger')).body.accepted;
}

/** Messages may have been deleted meanwhile, which the ledger then no longer counts either. */
async function compare(api: ApiClient, { manifest }: Archive, before: number): Promise<void> {
  const least = Math.min(before, await accepted(api));
  const records = manifest.parts.messages?.records ?? 0;
  if (records < least) {
    throw new CommandFailure(
      EXIT.failed,
      `the ledger counts ${least} messages, but the list gave only ${records}`,
      ['Repeat the export into another folder; if it stays so, run "tidings doctor --ledger".'],
    );
  }
}

async function conclude({ terminal, json }: Context, { folder, manifest }: Archive): Promise<void> {
  if (json) return terminal.line(JSON.stringify(manifest));
  await terminal.table(
    ['FILE', 'RECORDS', 'BYTES'],
    Object.entries(manifest.parts).map(([name, part]) => [
      `${name}.ndjson`,
      String(part.records),
      String(part.bytes),
    ]),
  );
  terminal.note(`The export in ${folder} is complete and was read again.`);
}
