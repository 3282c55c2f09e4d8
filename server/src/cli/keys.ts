/** `tidings keys`: API keys. */
import type { ApiKey, CreatedApiKey } from '@tidings/contracts/application';
import { KEY_KINDS, SCOPES } from '@tidings/contracts/common';
import type { Command } from 'commander';
import { parseList } from './assignment.ts';
import type { Context } from './context.ts';
import { type Define, examples } from './define.ts';
import { EXIT, type ExitCode, usage } from './exit.ts';
import { type ListOptions, showList, withListOptions } from './list.ts';
import { localTime, parseMoment } from './moment.ts';

interface CreateOptions {
  name?: string;
  kind?: string;
  scopes?: string;
  expiresAt?: string;
  application?: string;
}

export function addKeys(program: Command, define: Define): void {
  const keys = program.command('keys').description('List, create and revoke API keys.');
  const list = withListOptions(keys.command('list').description('List API keys, newest first.'))
    .option('--application <key>', 'of another application; needs the admin scope')
    .addHelpText('after', examples('tidings keys list', 'tidings keys list --json --all'));
  define<ListOptions & { application?: string }>(list, (context, { options }) =>
    showKeys(context, options),
  );

  const create = keys
    .command('create')
    .description('Create an API key and print it, this once.')
    .option('--name <name>', 'what it is for')
    .option(
      '--kind <kind>',
      `${KEY_KINDS.join(' or ')}: messages of a test key are captured, never sent`,
    )
    .option('--scopes <list>', `of ${SCOPES.join(', ')}; unless given: send,read,manage`)
    .option('--expires-at <time>', 'RFC 3339 time, or +90d')
    .option('--application <key>', 'for another application; needs the admin scope')
    .addHelpText(
      'after',
      examples(
        'tidings keys create --name billing --scopes send',
        'tidings keys create --kind test --expires-at +30d --quiet > test.key',
      ),
    );
  define<CreateOptions>(create, (context, { options }) => createKey(context, options));

  const revoke = keys
    .command('revoke')
    .description('Revoke an API key; it stops working everywhere within seconds.')
    .argument('<id>', 'key_…, as "tidings keys list" shows it')
    .option('--application <key>', 'of another application; needs the admin scope')
    .option('-y, --yes', 'do not ask')
    .addHelpText('after', examples('tidings keys revoke key_00h4p8s3t6v'));
  define<{ application?: string; yes?: boolean }>(revoke, (context, { args: [id = ''], options }) =>
    revokeKey(context, id, options),
  );
}

function showKeys(
  context: Context,
  options: ListOptions & { application?: string },
): Promise<ExitCode> {
  return showList<ApiKey>(context, options, {
    path: '/v1/api-keys',
    query: { application: options.application },
    plural: 'API keys',
    headings: ['ID', 'NAME', 'KIND', 'SCOPES', 'BEGINS WITH', 'CREATED', 'STATE'],
    row: (key) => [
      key.id,
      key.name,
      key.kind,
      key.scopes.join(','),
      key.prefix,
      localTime(key.createdAt),
      stateOf(key),
    ],
  });
}

function stateOf({ revokedAt, expiresAt }: ApiKey): string {
  if (revokedAt !== null) return `revoked ${localTime(revokedAt)}`;
  if (expiresAt === null) return 'valid';
  return `${Date.parse(expiresAt) <= Date.now() ? 'expired' : 'valid until'} ${localTime(expiresAt)}`;
}

async function createKey(context: Context, options: CreateOptions): Promise<ExitCode> {
  const { name, kind, application } = options;
  if (kind !== undefined && !(KEY_KINDS as readonly string[]).includes(kind)) {
    throw usage(`--kind: must be one of ${KEY_KINDS.join(', ')}`);
  }
  const scopes = options.scopes === undefined ? undefined : parseList(options.scopes);
  const unknown = scopes?.find((scope) => !(SCOPES as readonly string[]).includes(scope));
  if (unknown !== undefined || scopes?.length === 0) {
    throw usage(
      `--scopes: ${unknown === undefined ? 'names none' : `there is no "${unknown}"`}`,
      `Scopes: ${SCOPES.join(', ')}`,
    );
  }
  const expiresAt =
    options.expiresAt === undefined
      ? undefined
      : parseMoment(options.expiresAt, '--expires-at', Date.now());
  const { body, text } = await context.api().post<CreatedApiKey>('/v1/api-keys', {
    body: { name, kind, scopes, expiresAt, application },
  });
  const { terminal } = context;
  if (context.json) await terminal.line(text);
  else if (terminal.quiet) await terminal.line(body.secret);
  else {
    await terminal.fields([
      ['id', body.id],
      ['secret', body.secret],
      ['application', body.application],
      ['name', body.name],
      ['kind', body.kind],
      ['scopes', body.scopes.join(', ')],
      ['expires', body.expiresAt && localTime(body.expiresAt)],
    ]);
    terminal.note('The secret is shown this once: keep it now.');
  }
  return EXIT.ok;
}

async function revokeKey(
  context: Context,
  id: string,
  { application, yes }: { application?: string; yes?: boolean },
): Promise<ExitCode> {
  const api = context.api();
  await context.confirm(`revoke the API key ${id}`, yes);
  await api.delete(`/v1/api-keys/${encodeURIComponent(id)}`, { query: { application } });
  context.terminal.note(`${id} is revoked.`);
  return EXIT.ok;
}
