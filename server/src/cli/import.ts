/** `tidings import`: brings an export into a service. Repeating it changes nothing more. */
import type { Category } from '@tidings/contracts/template';
import type {
  WebhookEndpoint,
  WebhookEndpointWithSecret,
} from '@tidings/contracts/webhook-endpoint';
import type { Command } from 'commander';
import type { ApiClient } from './api-client.ts';
import {
  type Archive,
  inspectFile,
  openForImport,
  PARTS,
  type Part,
  type PartName,
  partsOf,
} from './archive.ts';
import { type BulkResult, bulk, RecordFault } from './bulk.ts';
import type { Context } from './context.ts';
import { CONCURRENCY, DEFAULT_CONCURRENCY, type Define, examples, integerOf } from './define.ts';
import { CommandFailure, EXIT, type ExitCode, exitOf } from './exit.ts';
import { openRecords } from './record-file.ts';
import { counted } from './table.ts';
import { templateRecordOf, writeTemplate } from './template-transfer.ts';
import { userRequest } from './user-row.ts';

/** What was sent stays history: it is not sent again. */
const IMPORTED = PARTS.filter((name) => name !== 'messages');

interface ImportOptions {
  in?: string;
  only?: string;
  concurrency: string;
}

export function addImport(program: Command, define: Define): void {
  const command = program
    .command('import')
    .description(
      'Bring an export into the service: categories, templates, users and webhook endpoints.',
    )
    .requiredOption('--in <folder>', 'folder of a complete export')
    .option('--only <list>', `of ${IMPORTED.join(', ')}`)
    .option('--concurrency <n>', 'requests at once', DEFAULT_CONCURRENCY)
    .addHelpText(
      'after',
      examples('tidings import --in backup', 'tidings import --in backup --only users'),
    )
    .addHelpText('after', HELP);
  define<ImportOptions>(command, (context, { options }) => importAll(context, options));
}

const HELP = `
What is there already is left as it is or brought to what the export says; repeating an import that
was interrupted is safe. New webhook endpoints get new secrets, which are printed once, on stdout.
The message history is not brought in.`;

interface PartResult extends BulkResult {
  name: PartName;
  records: number;
}

async function importAll(
  context: Context,
  { in: folder = '', only, concurrency }: ImportOptions,
): Promise<ExitCode> {
  const wanted = partsOf(only, IMPORTED);
  const most = integerOf(concurrency, '--concurrency', CONCURRENCY);
  const archive = openForImport(folder);
  const parts = wanted.flatMap((name) => {
    const part = archive.manifest.parts[name];
    return part ? [{ name, part }] : [];
  });
  const api = context.api();
  for (const { name, part } of parts) await check(archive, name, part);
  const results: PartResult[] = [];
  for (const { name, part } of parts) {
    const list = openRecords(archive.pathOf(name), 'ndjson', context.terminal.streams.stdin);
    const { work, width } = await worker(context, api, name, most);
    const result = await bulk(context, list, {
      label: `importing ${name}`,
      concurrency: width,
      work,
    });
    results.push({ ...result, name, records: part.records });
    if (result.stopped) break;
  }
  return conclude(context, results);
}

/** @throws CommandFailure when a file is not the one that was exported */
async function check(archive: Archive, name: PartName, part: Part): Promise<void> {
  const path = archive.pathOf(name);
  const { records, sha256 } = await inspectFile(path);
  if (records === part.records && sha256 === part.sha256) return;
  throw new CommandFailure(
    EXIT.failed,
    `${path} is not the file that was exported: it was changed or cut off`,
    [`It has ${counted(records, 'record')}; the manifest counts ${part.records}.`],
  );
}

type Worker = { work: (value: unknown) => Promise<void>; width: number };

async function worker(
  context: Context,
  api: ApiClient,
  name: PartName,
  most: number,
): Promise<Worker> {
  switch (name) {
    case 'categories':
      return { width: most, work: (value) => putCategory(api, value) };
    case 'templates':
      return {
        // A template is several requests that build on each other.
        width: 1,
        async work(value) {
          await writeTemplate(api, templateRecordOf(value));
        },
      };
    case 'users':
      return {
        width: most,
        async work(value) {
          const { id, body } = userRequest(value);
          await api.put(`/v1/users/${encodeURIComponent(id)}`, { body });
        },
      };
    default:
      return { width: 1, work: await endpointWriter(context, api) };
  }
}

async function putCategory(api: ApiClient, value: unknown): Promise<void> {
  const { key, name, mandatory } = (value ?? {}) as Partial<Category>;
  if (typeof key !== 'string') throw new RecordFault('is not a category');
  await api.put(`/v1/categories/${encodeURIComponent(key)}`, { body: { name, mandatory } });
}

/** Endpoints are known again by their URL; their ids and secrets are new. */
async function endpointWriter(context: Context, api: ApiClient): Promise<Worker['work']> {
  const path = '/v1/webhook-endpoints';
  const known = new Map<string, WebhookEndpoint>();
  for await (const { items } of api.pages<WebhookEndpoint>(path)) {
    for (const endpoint of items) known.set(endpoint.url, endpoint);
  }
  return async (value) => {
    const { url, description, enabled } = (value ?? {}) as Partial<WebhookEndpoint>;
    if (typeof url !== 'string') throw new RecordFault('is not a webhook endpoint');
    let endpoint = known.get(url);
    if (endpoint === undefined) {
      const { body, text } = await api.post<WebhookEndpointWithSecret>(path, {
        body: { url, ...(description ? { description } : {}) },
      });
      // At once: nobody can read the secret again.
      await context.terminal.line(context.json ? text : `${body.id}  ${body.url}  ${body.secret}`);
      endpoint = body;
      known.set(url, endpoint);
    }
    const change = {
      ...(endpoint.description === (description ?? null)
        ? {}
        : { description: description ?? null }),
      ...(enabled === undefined || endpoint.enabled === enabled ? {} : { enabled }),
    };
    if (Object.keys(change).length > 0) await api.patch(`${path}/${endpoint.id}`, { body: change });
  };
}

async function conclude(
  { terminal, json }: Context,
  results: readonly PartResult[],
): Promise<ExitCode> {
  const counts = results.map(({ name, records, succeeded, failed }) => ({
    name,
    records,
    imported: succeeded,
    refused: failed,
  }));
  if (json) await terminal.line(JSON.stringify({ parts: counts }));
  else {
    await terminal.table(
      ['PART', 'RECORDS', 'IMPORTED', 'REFUSED'],
      counts.map(({ name, ...numbers }) => [name, ...Object.values(numbers).map(String)]),
    );
  }
  const succeeded = results.reduce((sum, result) => sum + result.succeeded, 0);
  const failed = results.reduce((sum, result) => sum + result.failed, 0);
  const stopped = results.find((result) => result.stopped)?.stopped;
  if (stopped) {
    terminal.error(`stopped: ${stopped.message}`, [
      ...stopped.notes,
      'Repeat the command to go on.',
    ]);
    return stopped.exitCode !== EXIT.unauthorized && succeeded > 0
      ? EXIT.partial
      : stopped.exitCode;
  }
  const lost = results.find((result) => result.succeeded + result.failed !== result.records);
  if (lost) {
    terminal.error(`of ${lost.records} ${lost.name}, ${lost.succeeded + lost.failed} were tried`);
    return EXIT.failed;
  }
  // An export of nothing is brought in completely.
  return succeeded + failed === 0 ? EXIT.ok : exitOf({ succeeded, failed });
}
