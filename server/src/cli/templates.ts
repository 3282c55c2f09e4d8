/** `tidings templates`: what notifications look like. */
import type { Template, TemplatePreview, TemplateVersion } from '@tidings/contracts/template';
import type { Command } from 'commander';
import { parseData } from './assignment.ts';
import type { Context } from './context.ts';
import { collect, type Define, examples } from './define.ts';
import { EXIT, type ExitCode } from './exit.ts';
import { type ListOptions, showList, withListOptions } from './list.ts';
import { localTime } from './moment.ts';
import { templateReference } from './send-request.ts';
import { printable, printableLines } from './table.ts';
import { addTemplateFiles } from './template-files.ts';
import {
  type TemplateOptions,
  type VersionOptions,
  versionBody,
  withVersionOptions,
} from './template-options.ts';
import type { Terminal } from './terminal.ts';

export function addTemplates(program: Command, define: Define): void {
  const templates = program
    .command('templates')
    .description('List, write, publish, preview and copy templates.');
  addReading(templates, define);
  addWriting(templates, define);
  addPreview(templates, define);
  addTemplateFiles(templates, define);
}

const pathOf = (key: string): string => `/v1/templates/${encodeURIComponent(key)}`;

/** `key` or `key@version`, as everywhere on the command line. */
function referenceOf(text: string): { key: string; version: number | undefined } {
  const reference = templateReference(text);
  return typeof reference === 'string' ? { key: reference, version: undefined } : reference;
}

function addReading(templates: Command, define: Define): void {
  const list = withListOptions(templates.command('list').description('List templates by key.'));
  define<ListOptions>(list, (context, { options }) =>
    showList<Template>(context, options, {
      path: '/v1/templates',
      plural: 'templates',
      headings: ['KEY', 'NAME', 'PUBLISHED', 'LATEST', 'CATEGORY', 'PRIORITY', 'UPDATED'],
      row: (template) => [
        template.key,
        template.name,
        template.publishedVersion === null ? '-' : String(template.publishedVersion),
        String(template.latestVersion),
        template.category ?? '',
        template.priority ?? '',
        localTime(template.updatedAt),
      ],
    }),
  );

  const get = templates
    .command('get')
    .description('Show a template with its newest version, or with the one named.')
    .argument('<key[@version]>', 'with --json, the template, or the version itself')
    .addHelpText('after', examples('tidings templates get order-shipped@3'));
  define(get, (context, { args: [text = ''] }) => getTemplate(context, referenceOf(text)));
}

async function getTemplate(
  context: Context,
  { key, version: named }: { key: string; version: number | undefined },
): Promise<ExitCode> {
  const api = context.api();
  const { terminal, json } = context;
  if (json) {
    const path = named === undefined ? pathOf(key) : `${pathOf(key)}/versions/${named}`;
    await terminal.line((await api.get(path)).text);
    return EXIT.ok;
  }
  const { body: template } = await api.get<Template>(pathOf(key));
  const version = named ?? template.latestVersion;
  const { body } = await api.get<TemplateVersion>(`${pathOf(key)}/versions/${version}`);
  await showTemplate(terminal, template);
  await terminal.line();
  await terminal.fields([
    ['version', `${body.version} (${body.status})`],
    ['locale', body.locale],
    ['translations', Object.keys(body.translations).join(', ') || null],
    ['created', localTime(body.createdAt)],
  ]);
  await showContents(terminal, body.content);
  return EXIT.ok;
}

function showTemplate(terminal: Terminal, template: Template): Promise<void> {
  return terminal.fields([
    ['key', template.key],
    ['name', template.name],
    ['description', template.description],
    ['category', template.category],
    ['priority', template.priority],
    [
      'published',
      template.publishedVersion === null ? 'nothing yet' : `version ${template.publishedVersion}`,
    ],
    ['latest', `version ${template.latestVersion}`],
    ['updated', localTime(template.updatedAt)],
  ]);
}

/** Contents per channel, each field under its name. */
async function showContents(
  terminal: Terminal,
  contents: Record<string, Record<string, unknown>>,
): Promise<void> {
  for (const [channel, content] of Object.entries(contents)) {
    await terminal.line(`\n${terminal.colour('bold', printable(channel))}`);
    for (const [name, value] of Object.entries(content)) {
      const text = typeof value === 'string' ? value : JSON.stringify(value);
      const lines = printableLines(text).split('\n');
      const indented =
        lines.length === 1 ? ` ${text}` : lines.map((line) => `\n    ${line}`).join('');
      await terminal.line(
        `  ${terminal.colour('dim', `${printable(name)}:`)}${lines.length === 1 ? ` ${lines[0]}` : indented}`,
      );
    }
  }
}

function addWriting(templates: Command, define: Define): void {
  const create = withVersionOptions(
    templates
      .command('create')
      .description('Create a template with its first version.')
      .argument('<key>'),
  )
    .option('--name <name>')
    .option('--description <text>')
    .option('--category <key>', 'what recipients can opt out of')
    .option('--priority <priority>', 'high, medium or low')
    .addHelpText(
      'after',
      examples(
        'tidings templates create welcome --file welcome.json --publish',
        'tidings templates create ping --content \'{"email":{"subject":"Hi {{name}}","text":"Hi"}}\' --example name=Ada',
      ),
    );
  define<TemplateOptions>(create, async (context, { args: [key], options }) => {
    const body = await versionBody(context, options);
    const answer = await context.api().post<Template>('/v1/templates', { body: { ...body, key } });
    if (context.json) await context.terminal.line(answer.text);
    else await showTemplate(context.terminal, answer.body);
    return EXIT.ok;
  });

  const version = withVersionOptions(
    templates.command('version').description('Add a version to a template.').argument('<key>'),
  ).addHelpText(
    'after',
    examples('tidings templates version welcome --file welcome.json --publish'),
  );
  define<VersionOptions>(version, async (context, { args: [key = ''], options }) => {
    const body = await versionBody(context, options);
    const answer = await context.api().post<TemplateVersion>(`${pathOf(key)}/versions`, { body });
    const { version: number, status } = answer.body;
    await context.terminal.line(context.json ? answer.text : `version ${number} (${status})`);
    return EXIT.ok;
  });

  const publish = templates
    .command('publish')
    .description('Publish the newest version, or the one named: also to go back to an earlier one.')
    .argument('<key[@version]>')
    .addHelpText('after', examples('tidings templates publish welcome@2'));
  define(publish, async (context, { args: [text = ''] }) => {
    const { key, version } = referenceOf(text);
    const body = { version };
    const answer = await context.api().post<Template>(`${pathOf(key)}/publish`, { body });
    const published = `version ${answer.body.publishedVersion} is published`;
    await context.terminal.line(context.json ? answer.text : published);
    return EXIT.ok;
  });
}

interface PreviewOptions {
  channel?: string;
  locale?: string;
  data?: string[];
}

function addPreview(templates: Command, define: Define): void {
  const preview = templates
    .command('preview')
    .description('Render a template without sending it; exit 1 when this data would be refused.')
    .argument('<key[@version]>', 'the newest version unless one is named')
    .option('--channel <channel>', 'this channel only')
    .option('--locale <tag>', 'for a reader of this language')
    .option(
      '--data <value>',
      'key=text, key:=json, {…}, @file.json (repeatable); the example otherwise',
      collect,
    )
    .addHelpText(
      'after',
      examples('tidings templates preview order-shipped --data order.id=7 --channel email'),
    );
  define<PreviewOptions>(preview, async (context, { args: [text = ''], options }) => {
    const { key, version } = referenceOf(text);
    const { channel, locale, data } = options;
    const body = {
      version,
      channel,
      locale,
      data: data && parseData(data),
    };
    const answer = await context.api().post<TemplatePreview>(`${pathOf(key)}/preview`, { body });
    const { terminal } = context;
    if (context.json) await terminal.line(answer.text);
    else {
      const { version, locale: shown, channels } = answer.body;
      await terminal.fields([
        ['version', String(version)],
        ['locale', shown],
      ]);
      await showContents(terminal, channels);
    }
    const { missing, dataErrors } = answer.body;
    // No warning: the template may have a word of its own for these (the filter `default`).
    if (missing.length > 0) terminal.note(`not in the data: ${missing.join(', ')}`);
    if (dataErrors.length === 0) return EXIT.ok;
    terminal.error(
      'a notification with this data would be refused',
      dataErrors.map(({ path, message }) => `${path}: ${message}`),
    );
    return EXIT.failed;
  });
}
