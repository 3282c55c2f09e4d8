/** Options that describe a template or a version of one, as the body of a request. */
import { PRIORITIES } from '@tidings/contracts/common';
import type { Command } from 'commander';
import { jsonObjectOf, parseData, parseJsonObject } from './assignment.ts';
import type { Context } from './context.ts';
import { collect } from './define.ts';
import { usage } from './exit.ts';
import { readAll } from './standard-input.ts';

export interface VersionOptions {
  file?: string;
  content?: string;
  locale?: string;
  variables?: string;
  example?: string[];
  publish?: boolean;
}

export interface TemplateOptions extends VersionOptions {
  name?: string;
  description?: string;
  category?: string;
  priority?: string;
}

export function withVersionOptions(command: Command): Command {
  return command
    .option('--file <file>', 'JSON object with the fields of the API; "-" is standard input')
    .option(
      '--content <json>',
      'content per channel: {"email":{"subject":"…","text":"…"}}, or @file.json',
    )
    .option('--locale <tag>', 'language of the content')
    .option('--variables <json>', 'JSON Schema of the data, or @file.json')
    .option(
      '--example <value>',
      'example data: key=text, key:=json, {…}, @file.json (repeatable)',
      collect,
    )
    .option('--publish', 'publish it at once');
}

/** The fields of the file, and the options over them. */
export async function versionBody(
  context: Context,
  options: TemplateOptions,
): Promise<Record<string, unknown>> {
  const {
    file,
    content,
    locale,
    variables,
    example,
    publish,
    name,
    description,
    category,
    priority,
  } = options;
  if (priority !== undefined && !(PRIORITIES as readonly string[]).includes(priority)) {
    throw usage(`--priority: must be one of ${PRIORITIES.join(', ')}`);
  }
  const given = {
    name,
    description,
    category,
    priority,
    locale,
    content: content && parseJsonObject(content, '--content'),
    variables: variables && parseJsonObject(variables, '--variables'),
    example: example && parseData(example, '--example'),
    publish,
  };
  const body: Record<string, unknown> = {
    ...(file === undefined ? {} : await readObject(context, file)),
    ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)),
  };
  if (body['content'] === undefined) {
    throw usage(
      'there is no content',
      'Give --content \'{"email":{"subject":"…","text":"…"}}\' or --file template.json.',
    );
  }
  return body;
}

/** One JSON object, over as many lines as it likes. */
export async function readObject(context: Context, path: string): Promise<Record<string, unknown>> {
  if (path !== '-') return parseJsonObject(`@${path}`, '--file');
  return jsonObjectOf(await readAll(context.terminal.streams.stdin), '--file -');
}
