/** `tidings send`: one notification, or one for each of many recipients. */
import { randomUUID } from 'node:crypto';
import type { Command } from 'commander';
import type { ApiClient } from './api-client.ts';
import type { Context } from './context.ts';
import { collect, DEFAULT_CONCURRENCY, type Define, examples } from './define.ts';
import { withSubject } from './email-subject.ts';
import { EXIT, type ExitCode, usage } from './exit.ts';
import { parseDuration } from './moment.ts';
import { exitOfOutcome, showMessages } from './outcome.ts';
import { post } from './post-notification.ts';
import { parseRecipient } from './recipient.ts';
import { FORMATS } from './record-file.ts';
import { dryRunMany, sendMany } from './send-many.ts';
import { type BaseRequest, baseRequest, type SendOptions } from './send-request.ts';

export function addSend(program: Command, define: Define): void {
  const command = program
    .command('send')
    .description('Send a notification; the text is the argument, or comes from standard input.')
    .argument('[text]', 'the text; "-" reads standard input')
    .option(
      '-t, --to <recipient>',
      'user:42, ada@example.com, webhook:https://…, <channel>:<address> (repeatable)',
      collect,
    )
    .option(
      '--recipients <file>',
      'CSV or NDJSON file with one recipient per line; "-" is standard input',
    )
    .option('--format <format>', `format of the recipients: ${FORMATS.join(' or ')}`)
    .option('--channel <channel>', 'send over this channel; bare recipients are its addresses')
    .option('--channels <list>', 'a message over each of these channels: email,in_app')
    .option(
      '--route <list>',
      'one message; the next channel when the one before cannot: in_app,email',
    )
    .option('--title <text>')
    .option('--subject <text>', 'email subject; otherwise the title, or the first line of the text')
    .option('--html <html>', 'HTML, or @file')
    .option(
      '--markdown <markdown>',
      'Markdown, or @file; email shows it as it is written: see --html',
    )
    .option('--link <url>', 'where the notification leads')
    .option('--attach <file>', 'attachment (repeatable)', collect)
    .option('--content <json>', 'whole content as JSON, or @file.json')
    .option('--template <key[@version]>', 'template instead of a text')
    .option(
      '--data <value>',
      'for the template: key=text, key:=json, {…}, @file.json (repeatable)',
      collect,
    )
    .option('--priority <priority>', 'high, medium or low')
    .option('--category <category>', 'what recipients can opt out of')
    .option('--send-at <time>', 'RFC 3339 time, or +10m')
    .option('--expires-at <time>', 'RFC 3339 time, or +1h')
    .option('--collapse-key <key>', 'replaces an earlier notification with the same key')
    .option('--metadata <key=value>', 'label of your own (repeatable)', collect)
    .option('--idempotency-key <key>', 'sent at most once per key; made up unless given')
    .option('--wait <duration>', 'wait for the outcome: exit 0 delivered, 1 not, 6 not in time')
    .option('--concurrency <n>', 'requests at once, with many recipients', DEFAULT_CONCURRENCY)
    .option('--dry-run', 'print the request instead of sending it')
    .addHelpText(
      'after',
      examples(
        'tidings send --to ada@example.com --title "Hello" "It works."',
        'make test 2>&1 | tail | tidings send --to user:42 --title "Tests" --priority high',
        'tidings send --to user:42 --template order-shipped@3 --data order.id=7 --wait 10s',
        'tidings send --to webhook:https://hooks.example.com/a --content \'{"payload":{"n":1}}\'',
        'tidings send --recipients people.csv --template newsletter --send-at +1h',
      ),
    )
    .addHelpText('after', RECIPIENTS_HELP);
  define<SendOptions>(command, send);
}

const RECIPIENTS_HELP = `
Files of recipients:
  CSV columns: to, or userId, name, locale and channels such as email; data.<key>, metadata.<key>,
  idempotencyKey. NDJSON lines: a recipient, "ada@example.com", or {"to": …, "data": {…}}.
  Each line is sent with an idempotency key of its own, made from --idempotency-key and its number:
  repeating the command with the same key sends only what was not sent before.`;

async function send(
  context: Context,
  { args: [text], options }: { args: string[]; options: SendOptions },
): Promise<ExitCode> {
  const { to = [], recipients } = options;
  if (to.length === 0 && recipients === undefined) {
    throw usage(
      'nobody is named',
      'Add --to user:42, --to ada@example.com or --recipients people.csv.',
    );
  }
  if (options.format !== undefined && !FORMATS.includes(options.format)) {
    throw usage(`--format: must be one of ${FORMATS.join(', ')}`);
  }
  const waitMs = options.wait === undefined ? 0 : parseDuration(options.wait, '--wait');
  const key = options.idempotencyKey ?? randomUUID();
  if (!/^[\x21-\x7e]{1,200}$/.test(key)) {
    throw usage('--idempotency-key: must be 1 to 200 visible ASCII characters without spaces');
  }
  // A missing key or a wrong recipient is said before anybody types a text.
  const parsed = to.map((one) => parseRecipient(one, options.channel, '--to'));
  const api = options.dryRun ? undefined : context.api();
  const base = await baseRequest(context, options, text, Date.now());
  if (parsed.length === 1 && recipients === undefined) {
    const body = withSubject({ to: parsed[0], ...base });
    if (api === undefined) return printRequest(context, body, key);
    return sendOne(context, api, { body, key, waitMs });
  }
  const many = {
    to: parsed,
    recipients,
    format: options.format,
    channel: options.channel,
    base,
    key,
    waitMs,
    concurrency: options.concurrency,
  };
  return api === undefined ? dryRunMany(context, many, printRequest) : sendMany(context, api, many);
}

async function sendOne(
  context: Context,
  api: ApiClient,
  { body, key, waitMs }: { body: BaseRequest; key: string; waitMs: number },
): Promise<ExitCode> {
  const { terminal } = context;
  const answer = await post(api, body, key, waitMs);
  const { id, messages } = answer.body;
  const exit = exitOfOutcome(answer.body, waitMs > 0);
  if (context.json) await terminal.line(answer.text);
  else if (terminal.quiet) await terminal.line(id);
  else {
    await terminal.line(id);
    await showMessages(terminal, messages);
  }
  if (exit === EXIT.timeout) {
    terminal.note(`Not finished yet; it goes on by itself. See: tidings status ${id}`);
  }
  return exit;
}

/** The request, without the API key. */
async function printRequest(context: Context, body: BaseRequest, key: string): Promise<ExitCode> {
  const { terminal } = context;
  if (context.json) {
    await terminal.line(JSON.stringify(body));
  } else {
    await terminal.line(`POST ${context.url}/v1/notifications`);
    await terminal.line('Content-Type: application/json');
    await terminal.line(`Idempotency-Key: ${key}`);
    await terminal.line(`\n${JSON.stringify(body, null, 2)}`);
  }
  return EXIT.ok;
}
