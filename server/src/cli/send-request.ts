/** The request of `send`, from its options. Nothing is sent here. */
import { basename } from 'node:path';
import { PRIORITIES } from '@tidings/contracts/common';
import {
  parseData,
  parseJsonObject,
  parseList,
  parseTexts,
  readOptionBytes,
  textOrFile,
} from './assignment.ts';
import type { Context } from './context.ts';
import { usage } from './exit.ts';
import { parseMoment } from './moment.ts';
import { readAll } from './standard-input.ts';

export interface SendOptions {
  to?: string[];
  recipients?: string;
  format?: 'ndjson' | 'csv';
  channel?: string;
  channels?: string;
  route?: string;
  title?: string;
  subject?: string;
  html?: string;
  markdown?: string;
  link?: string;
  attach?: string[];
  content?: string;
  template?: string;
  data?: string[];
  priority?: string;
  category?: string;
  sendAt?: string;
  expiresAt?: string;
  collapseKey?: string;
  metadata?: string[];
  idempotencyKey?: string;
  concurrency: string;
  wait?: string;
  dryRun?: boolean;
}

/** The body of `POST /v1/notifications` without its recipient. */
export type BaseRequest = Record<string, unknown>;

/** Text of a message: more than any channel takes. */
const LONGEST_TEXT = 1024 * 1024;

export async function baseRequest(
  context: Context,
  options: SendOptions,
  text: string | undefined,
  now: number,
): Promise<BaseRequest> {
  const { priority, category, collapseKey } = options;
  if (priority !== undefined && !(PRIORITIES as readonly string[]).includes(priority)) {
    throw usage(`--priority: must be one of ${PRIORITIES.join(', ')}`);
  }
  const request: BaseRequest = {
    ...(await subjectMatter(context, options, text)),
    ...routing(options),
    data: options.data && parseData(options.data),
    priority,
    category,
    sendAt:
      options.sendAt === undefined ? undefined : parseMoment(options.sendAt, '--send-at', now),
    expiresAt:
      options.expiresAt === undefined
        ? undefined
        : parseMoment(options.expiresAt, '--expires-at', now),
    metadata: options.metadata && parseTexts(options.metadata, '--metadata'),
    collapseKey,
  };
  return Object.fromEntries(Object.entries(request).filter(([, value]) => value !== undefined));
}

/** Either a template or content. */
async function subjectMatter(
  context: Context,
  options: SendOptions,
  text: string | undefined,
): Promise<BaseRequest> {
  if (options.template === undefined) return { content: await content(context, options, text) };
  const given = (
    ['title', 'subject', 'html', 'markdown', 'link', 'attach', 'content'] as const
  ).find((name) => options[name] !== undefined);
  if (given !== undefined) throw usage(`--${given} and --template cannot be given together`);
  if (text !== undefined) {
    throw usage(
      `the text "${text}" and --template cannot be given together`,
      'Values go into --data key=value.',
    );
  }
  return { template: templateReference(options.template) };
}

/** `key` or `key@version` */
export function templateReference(text: string): string | { key: string; version: number } {
  const at = text.lastIndexOf('@');
  if (at < 0) return text;
  const version = text.slice(at + 1);
  if (!/^[1-9]\d{0,8}$/.test(version) || at === 0) {
    throw usage(`"${text}" is neither the key of a template nor key@version`);
  }
  return { key: text.slice(0, at), version: Number(version) };
}

async function content(
  context: Context,
  options: SendOptions,
  text: string | undefined,
): Promise<BaseRequest> {
  const body = await bodyText(context, options, text);
  const fields: BaseRequest = {
    title: options.title,
    subject: options.subject,
    text: body,
    html: options.html && textOrFile(options.html, '--html'),
    markdown: options.markdown && textOrFile(options.markdown, '--markdown'),
    url: options.link,
    attachments: options.attach?.map(attachment),
  };
  const base = options.content === undefined ? {} : parseJsonObject(options.content, '--content');
  const given = Object.entries(fields).filter(([, value]) => value !== undefined);
  const whole = { ...base, ...Object.fromEntries(given) };
  if (Object.keys(whole).length === 0) {
    throw usage(
      'there is nothing to send',
      'Give a text, write it to standard input, or name a --title, --content or --template.',
    );
  }
  return whole;
}

function attachment(path: string): Record<string, string> {
  return {
    filename: basename(path),
    contentBase64: readOptionBytes(path, '--attach').toString('base64'),
  };
}

/** The argument; `-` is standard input, as is no argument where something is piped in. */
async function bodyText(
  context: Context,
  options: SendOptions,
  text: string | undefined,
): Promise<string | undefined> {
  if (text !== undefined && text !== '-') return text;
  // A list of recipients from standard input leaves nothing there for the text.
  const taken = options.recipients === '-';
  if (text === '-') {
    if (taken) throw usage('standard input cannot be both the text and the recipients');
  } else if (taken || hasBody(options) || !context.interactive) {
    return undefined;
  }
  const { stdin } = context.terminal.streams;
  if (stdin.isTTY) {
    if (options.title !== undefined && text !== '-') return undefined;
    if (!context.terminal.canAsk) return undefined;
    context.terminal.note('Write the text; an empty line with Ctrl-D ends it.');
  }
  // Without the line break that commands put after their last line.
  const read = (await readAll(stdin, LONGEST_TEXT)).replace(/\r?\n$/, '');
  return read === '' ? undefined : read;
}

function hasBody({ content, html, markdown }: SendOptions): boolean {
  return content !== undefined || html !== undefined || markdown !== undefined;
}

function routing({ channel, channels, route }: SendOptions): BaseRequest {
  const given = [
    channel !== undefined && '--channel',
    channels !== undefined && '--channels',
    route !== undefined && '--route',
  ].filter(Boolean);
  if (given.length > 1) throw usage(`${given.join(' and ')} cannot be given together`);
  if (channel !== undefined) return { channels: [channel] };
  if (channels !== undefined) return { channels: listOf(channels, '--channels') };
  return route === undefined ? {} : { route: listOf(route, '--route') };
}

function listOf(text: string, name: string): string[] {
  const list = parseList(text);
  if (list.length === 0) throw usage(`${name}: names no channel`);
  return list;
}
