/** `tidings users`: who can be reached, where, and what they agreed to. */
import type { User } from '@tidings/contracts/user';
import type { Command } from 'commander';
import { parseData } from './assignment.ts';
import { bulk, concludeBulk } from './bulk.ts';
import type { Context } from './context.ts';
import {
  CONCURRENCY,
  collect,
  DEFAULT_CONCURRENCY,
  type Define,
  examples,
  integerOf,
} from './define.ts';
import { EXIT, type ExitCode, usage } from './exit.ts';
import { type ListOptions, showList, withListOptions } from './list.ts';
import { localTime } from './moment.ts';
import { openOutput } from './output-file.ts';
import { startProgress } from './progress.ts';
import { FORMATS, type Format, formatOf, openRecords } from './record-file.ts';
import { counted } from './table.ts';
import { readObject } from './template-options.ts';
import type { Terminal } from './terminal.ts';
import { userCsvHeading, userCsvLine, userRequest } from './user-row.ts';

export function addUsers(program: Command, define: Define): void {
  const users = program.command('users').description('List, change, import and export users.');
  addSingle(users, define);
  addPut(users, define);
  addFiles(users, define);
}

const pathOf = (id: string): string => `/v1/users/${encodeURIComponent(id)}`;

function addSingle(users: Command, define: Define): void {
  const list = withListOptions(users.command('list').description('List users by id.'))
    .option('--group <key>', 'members of this group')
    .addHelpText('after', examples('tidings users list --group staff --all'));
  define<ListOptions & { group?: string }>(list, (context, { options }) =>
    showList<User>(context, options, {
      path: '/v1/users',
      query: { group: options.group },
      plural: 'users',
      headings: ['ID', 'NAME', 'ADDRESSES', 'GROUPS', 'LOCALE', 'UPDATED'],
      row: (user) => [
        user.id,
        user.name ?? '',
        user.addresses.map(({ channel, address }) => `${channel}:${address}`).join(' '),
        user.groups.join(' '),
        user.locale ?? '',
        localTime(user.updatedAt),
      ],
    }),
  );

  const get = users.command('get').description('Show a user.').argument('<id>');
  define(get, async (context, { args: [id = ''] }) => {
    const { body, text } = await context.api().get<User>(pathOf(id));
    if (context.json) await context.terminal.line(text);
    else await showUser(context.terminal, body);
    return EXIT.ok;
  });

  const remove = users
    .command('delete')
    .description(
      'Remove a user with its groups, preferences and inbox; its inbox tokens and streams end.',
    )
    .argument('<id>')
    .option('-y, --yes', 'do not ask')
    .addHelpText('after', '\nMessages that were sent to it stay until their retention is over.');
  define<{ yes?: boolean }>(remove, async (context, { args: [id = ''], options }) => {
    const api = context.api();
    await context.confirm(`delete the user ${id}`, options.yes);
    await api.delete(pathOf(id));
    context.terminal.note(`${id} is deleted.`);
    return EXIT.ok;
  });
}

function showUser(terminal: Terminal, user: User): Promise<void> {
  const json = (value: object): string | null =>
    Object.keys(value).length === 0 ? null : JSON.stringify(value);
  return terminal.fields([
    ['id', user.id],
    ['name', user.name],
    ['locale', user.locale],
    ['timezone', user.timezone],
    ...user.addresses.map(
      ({ channel, address, label }) =>
        [channel, label ? `${address} (${label})` : address] as const,
    ),
    ['groups', user.groups.join(', ') || null],
    ['attributes', json(user.attributes)],
    ['preferences', json(user.preferences)],
    ['created', localTime(user.createdAt)],
    ['updated', localTime(user.updatedAt)],
  ]);
}

interface PutOptions {
  file?: string;
  name?: string;
  locale?: string;
  timezone?: string;
  email?: string;
  address?: string[];
  group?: string[];
  attribute?: string[];
}

function addPut(users: Command, define: Define): void {
  const put = users
    .command('put')
    .description(
      'Create a user, or replace its profile: what is left out is cleared, except preferences.',
    )
    .argument('<id>')
    .option('--file <file>', 'JSON object with the fields of the API; "-" is standard input')
    .option('--name <name>')
    .option('--locale <tag>')
    .option('--timezone <zone>', 'such as Asia/Shanghai')
    .option('--email <address>')
    .option('--address <channel:address>', 'where it is reached (repeatable)', collect)
    .option('--group <key>', 'a group it is in (repeatable)', collect)
    .option('--attribute <value>', 'key=text, key:=json, {…} (repeatable)', collect)
    .addHelpText(
      'after',
      examples(
        'tidings users put 42 --name Ada --email ada@example.com --group staff',
        "tidings users get 42 --json | jq '{name, addresses}' | tidings users put 43 --file -",
      ),
    );
  define<PutOptions>(put, async (context, { args: [id = ''], options }) => {
    const body = await profileOf(context, options);
    const answer = await context.api().put<User>(pathOf(id), { body });
    if (context.json) await context.terminal.line(answer.text);
    else {
      await showUser(context.terminal, answer.body);
      context.terminal.note(answer.status === 201 ? 'created' : 'replaced');
    }
    return EXIT.ok;
  });
}

async function profileOf(context: Context, options: PutOptions): Promise<Record<string, unknown>> {
  const { file, name, locale, timezone, email, address = [], group, attribute } = options;
  const addresses = address.map((text) => {
    const at = text.indexOf(':');
    if (at < 1) throw usage(`--address: "${text}" is not channel:address`);
    return { channel: text.slice(0, at), address: text.slice(at + 1) };
  });
  if (email !== undefined) addresses.unshift({ channel: 'email', address: email });
  const given = {
    name,
    locale,
    timezone,
    groups: group,
    addresses: addresses.length > 0 ? addresses : undefined,
    attributes: attribute && parseData(attribute, '--attribute'),
  };
  return {
    ...(file === undefined ? {} : await readObject(context, file)),
    ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)),
  };
}

function addFiles(users: Command, define: Define): void {
  const importing = users
    .command('import')
    .description('Create or replace users from a CSV or NDJSON file, several at a time.')
    .argument('<file>', '"-" is standard input')
    .option('--format <format>', FORMATS.join(' or '))
    .option('--concurrency <n>', 'requests at once', DEFAULT_CONCURRENCY)
    .addHelpText(
      'after',
      examples('tidings users import people.csv', 'zcat users.ndjson.gz | tidings users import -'),
    )
    .addHelpText('after', COLUMNS_HELP);
  define<{ format?: string; concurrency: string }>(
    importing,
    async (context, { args: [file = ''], options }) => {
      const concurrency = integerOf(options.concurrency, '--concurrency', CONCURRENCY);
      const api = context.api();
      const { stdin } = context.terminal.streams;
      const list = openRecords(file, formatOption(options.format), stdin, { needed: 'id' });
      const result = await bulk(context, list, {
        label: 'importing users',
        concurrency,
        async work(value) {
          const { id, body } = userRequest(value);
          await api.put(pathOf(id), { body });
        },
      });
      return concludeBulk(context, result, 'user');
    },
  );

  const exporting = users
    .command('export')
    .description('Write all users as NDJSON or CSV.')
    .option('--out <file>', 'to this file instead of standard output')
    .option(
      '--format <format>',
      `${FORMATS.join(' or ')}; told by the name of the file unless given`,
    )
    .option('--group <key>', 'members of this group')
    .addHelpText(
      'after',
      examples('tidings users export --out users.csv', 'tidings users export | jq -r .id'),
    );
  define<{ out?: string; format?: string; group?: string }>(exporting, (context, { options }) =>
    exportUsers(context, options),
  );
}

const COLUMNS_HELP = `
CSV columns: id, name, locale, timezone, groups (separated by spaces), a column per channel such as
email, attributes.<key>; or addresses, attributes and preferences as JSON, as the export writes them.`;

function formatOption(text: string | undefined): Format | undefined {
  if (text === undefined || FORMATS.includes(text as Format)) return text as Format | undefined;
  throw usage(`--format: must be one of ${FORMATS.join(', ')}`);
}

async function exportUsers(
  context: Context,
  { out, format: given, group }: { out?: string; format?: string; group?: string },
): Promise<ExitCode> {
  const format = formatOption(given) ?? formatOf(out ?? '-');
  const api = context.api();
  await using output = await openOutput(context, out);
  const progress = startProgress(context.terminal, 'exporting users');
  let count = 0;
  try {
    if (format === 'csv') await output.write(userCsvHeading);
    for await (const { items } of api.pages<User>('/v1/users', { query: { group } })) {
      const lines = items.map((user) =>
        format === 'csv' ? userCsvLine(user) : `${JSON.stringify(user)}\n`,
      );
      await output.write(lines.join(''));
      count += items.length;
      progress.update(count);
    }
  } finally {
    progress.stop();
  }
  await output.finish();
  context.terminal.note(`${counted(count, 'user')} exported`);
  return count === 0 && group !== undefined ? EXIT.nothing : EXIT.ok;
}
