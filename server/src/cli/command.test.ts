/** The command line itself, in this process and without a service: help, usage, options, terminals. */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable, Writable } from 'node:stream';
import { describe, test } from 'node:test';
import { runCommand } from './command.ts';
import { startProgress } from './progress.ts';
import { type Streams, Terminal } from './terminal.ts';

class Text extends Writable {
  text = '';
  isTTY = false;
  columns = 80;

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString();
    done();
  }
}

interface Run {
  code: number;
  out: string;
  err: string;
}

interface RunOptions {
  stdin?: string;
  environment?: Record<string, string>;
  /** Which streams are terminals. */
  terminal?: ('stdin' | 'stdout' | 'stderr')[];
}

function streamsOf({
  stdin = '',
  environment = {},
  terminal = [],
}: RunOptions): Streams & { stdout: Text; stderr: Text } {
  const input = Object.assign(Readable.from([Buffer.from(stdin)]), {
    isTTY: terminal.includes('stdin'),
  });
  const stdout = new Text();
  const stderr = new Text();
  stdout.isTTY = terminal.includes('stdout');
  stderr.isTTY = terminal.includes('stderr');
  return { stdin: input, stdout, stderr, environment };
}

async function run(argv: string[], options: RunOptions = {}): Promise<Run> {
  const streams = streamsOf(options);
  const code = await runCommand(argv, streams);
  return { code, out: streams.stdout.text, err: streams.stderr.text };
}

const COMMANDS = [
  ['start'],
  ['send'],
  ['status'],
  ['tail'],
  ['doctor'],
  ['migrate'],
  ['export'],
  ['import'],
  ...['list', 'get', 'create', 'version', 'publish', 'preview', 'export', 'import'].map((name) => [
    'templates',
    name,
  ]),
  ...['list', 'get', 'put', 'delete', 'import', 'export'].map((name) => ['users', name]),
  ...['list', 'create', 'revoke'].map((name) => ['keys', name]),
];

describe('help', () => {
  test('of the whole names every command and every exit code', async () => {
    for (const argv of [['--help'], ['-h'], ['help']]) {
      const { code, out, err } = await run(argv);
      assert.equal(code, 0);
      assert.equal(err, '');
      for (const [name] of COMMANDS) assert.match(out, new RegExp(`^  ${name}\\b`, 'm'));
      assert.match(out, /Exit codes:\n {2}0 done {3}1 failed/);
    }
  });

  for (const words of COMMANDS) {
    test(`of ${words.join(' ')}`, async () => {
      const { code, out } = await run([...words, '--help']);
      assert.equal(code, 0);
      assert.match(out, new RegExp(`^Usage: tidings ${words.join(' ')}`));
      assert.match(out, /Global Options:[\s\S]+--api-key-file/);
    });
  }

  test('of commands with options has examples', async () => {
    for (const words of [
      ['send'],
      ['tail'],
      ['users', 'import'],
      ['templates', 'preview'],
      ['keys', 'create'],
    ]) {
      assert.match((await run(['help', ...words.slice(0, 1)])).out, /Usage/);
      assert.match((await run([...words, '--help'])).out, /Examples:\n {2}\$ /);
    }
  });

  test('of send names only channels that there are', async () => {
    const { out } = await run(['send', '--help']);
    const lists = out.match(/\b[a-z_]+(,[a-z_]+)+\b/g) ?? [];
    assert.deepEqual(lists, ['email,in_app', 'in_app,email']);
    for (const channel of lists.flatMap((list) => list.split(','))) {
      const adapter = `../adapters/${channel.replaceAll('_', '-')}/adapter.ts`;
      assert.ok(existsSync(new URL(adapter, import.meta.url)), channel);
    }
  });

  test('of start lists every setting with its variable', async () => {
    const { out } = await run(['start', '--help']);
    assert.match(out, /--delivery\.retry-delays-ms, TIDINGS_DELIVERY_RETRY_DELAYS_MS/);
    assert.doesNotMatch(out, /--[\w.-]*[A-Z]/);
    assert.match(out, /--port, TIDINGS_PORT\n.+\(8484\)/);
  });

  test('the version', async () => {
    for (const option of ['--version', '-V']) {
      const { code, out } = await run([option]);
      assert.equal(code, 0);
      assert.match(out, /^\d+\.\d+\.\d+\n$/);
    }
  });
});

describe('a wrong command line ends with 2', () => {
  const cases: [string, string[], RegExp][] = [
    ['an unknown command', ['sned'], /unknown command 'sned'\n\(Did you mean send\?\)/],
    ['an unknown sub-command', ['users', 'lst'], /unknown command 'lst'\n\(Did you mean list\?\)/],
    [
      'an unknown option',
      ['send', '--titel', 'x'],
      /unknown option '--titel'\n\(Did you mean --title\?\)/,
    ],
    [
      'an unknown global option',
      ['--jsn', 'status'],
      /unknown option '--jsn'\n\(Did you mean --json\?\)/,
    ],
    ['no command', [], /Usage: tidings/],
    ['no sub-command', ['users'], /Usage: tidings users/],
    ['a missing argument', ['users', 'get'], /missing required argument 'id'/],
    ['a missing option', ['export'], /required option '--out <folder>' not specified/],
    ['an option without its value', ['send', '--to'], /argument missing/],
    ['too many arguments', ['users', 'get', 'a', 'b'], /too many arguments/],
    ['nobody to send to', ['send', 'text'], /nobody is named/],
    [
      'a recipient that does not say how',
      ['send', '--to', 'Bob', 'text'],
      /--to: "Bob" does not say how/,
    ],
    ['nothing to send', ['send', '--to', 'user:1', '--dry-run'], /there is nothing to send/],
    [
      'a wrong priority',
      ['send', '--to', 'user:1', '--priority', 'urgent', '--dry-run', 'x'],
      /--priority: must be one of high, medium, low/,
    ],
    [
      'a time without a zone',
      ['send', '--to', 'user:1', '--send-at', '2026-12-24T08:00', '--dry-run', 'x'],
      /--send-at: .+ is not a time with a zone/,
    ],
    [
      'a text beside a template',
      ['send', '--to', 'user:1', '--template', 't', '--dry-run', 'x'],
      /cannot be given together/,
    ],
    [
      'a title beside a template',
      ['send', '--to', 'user:1', '--template', 't', '--title', 'x', '--dry-run'],
      /--title and --template/,
    ],
    [
      'two kinds of routing',
      ['send', '--to', 'user:1', '--route', 'a', '--channels', 'b', '--dry-run', 'x'],
      /--channels and --route/,
    ],
    [
      'an empty route',
      ['send', '--to', 'user:1', '--route', ',', '--dry-run', 'x'],
      /--route: names no channel/,
    ],
    [
      'data that is none',
      ['send', '--to', 'user:1', '--template', 't', '--data', 'x', '--dry-run'],
      /--data: "x" is none of/,
    ],
    [
      'an attachment that is not there',
      ['send', '--to', 'user:1', '--attach', '/does/not/exist', '--dry-run', 'x'],
      /--attach: \/does\/not\/exist cannot be read/,
    ],
    [
      'a wrong wait',
      ['send', '--to', 'user:1', '--wait', '5', 'x'],
      /--wait: "5" is not a duration/,
    ],
    ['a wrong time limit', ['status', '--timeout', 'x'], /--timeout: "x" is not a duration/],
    [
      'a key that cannot be one',
      ['send', '--to', 'user:1', '--idempotency-key', 'a b', '--dry-run', 'x'],
      /--idempotency-key/,
    ],
    [
      'a list that is not there',
      ['send', '--recipients', '/does/not/exist.csv', '--dry-run', 'x'],
      /exist\.csv cannot be read/,
    ],
    [
      'an unknown format',
      ['send', '--recipients', 'x', '--format', 'xml', '--dry-run', 'x'],
      /--format: must be one of/,
    ],
    ['a URL that is none', ['status', '--url', 'nonsense'], /"nonsense" is not a URL/],
    ['a URL of another kind', ['status', '--url', 'ftp://x'], /must begin with http/],
    ['a URL with a password', ['status', '--url', 'http://u:p@x'], /must not have a user name/],
    ['something that is no notification', ['status', 'msg_1'], /is not the id of a notification/],
    ['a wait for nothing', ['status', '--wait', '5s'], /--wait needs the id/],
    ['a wrong status', ['tail', '--status', 'done'], /--status: must be one of scheduled/],
    ['a wrong number', ['tail', '--lines', '-1'], /--lines: must be a whole number/],
    ['an unknown scope', ['keys', 'create', '--scopes', 'send,fly'], /--scopes: there is no "fly"/],
    [
      'an unknown kind of key',
      ['keys', 'create', '--kind', 'dead'],
      /--kind: must be one of live, test/,
    ],
    ['a template without content', ['templates', 'create', 'x'], /there is no content/],
    ['a version that is none', ['templates', 'get', 'x@y'], /key@version/],
    [
      'an address without a channel',
      ['users', 'put', '1', '--address', 'x'],
      /--address: "x" is not channel:address/,
    ],
    [
      'an unknown part',
      ['export', '--out', 'x', '--only', 'users,dogs'],
      /--only: there is no "dogs"/,
    ],
    ['a time that would move', ['export', '--out', 'x', '--from', '+1h'], /--from/],
    ['all and a cursor', ['users', 'list', '--all', '--cursor', 'x'], /--all and --cursor/],
    ['start in the wrong place', ['--json', 'start'], /start comes first/],
    [
      'two keys',
      ['users', 'list', '--api-key', 'a', '--api-key-file', 'b'],
      /cannot be given together/,
    ],
    [
      'a key file that is not there',
      ['users', 'list', '--api-key-file', '/does/not/exist'],
      /--api-key-file: .+ cannot be read/,
    ],
    [
      'a deletion nobody can confirm',
      ['users', 'delete', '1', '--api-key', 'k'],
      /nobody can be asked; add --yes/,
    ],
  ];
  for (const [name, argv, pattern] of cases) {
    test(name, async () => {
      const { code, out, err } = await run(argv);
      assert.equal(code, 2, err);
      assert.match(err, pattern);
      assert.doesNotMatch(err, /\n\s+at |node:internal/, 'a stack trace is shown');
      assert.equal(out, '');
    });
  }
});

describe('API keys', () => {
  test('without one it ends with 4', async () => {
    const { code, err } = await run(['users', 'list']);
    assert.equal(code, 4);
    assert.match(err, /there is no API key\n.+TIDINGS_API_KEY/);
  });

  test('what cannot be a key ends with 4, and is not repeated', async () => {
    const key = 'secret key\nwith breaks';
    const { code, out, err } = await run(['users', 'list'], {
      environment: { TIDINGS_API_KEY: key },
    });
    assert.equal(code, 4);
    assert.match(err, /TIDINGS_API_KEY: is not an API key/);
    assert.doesNotMatch(out + err, /secret/);
  });

  test('a key of a file may end in a line break; an empty variable is none', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'tidings-cli-'));
    try {
      const path = join(folder, 'key');
      writeFileSync(path, 'file-key\n');
      const url = ['--url', 'http://127.0.0.1:1', '--timeout', '1ms'];
      assert.notEqual((await run(['users', 'list', '--api-key-file', path, ...url])).code, 4);
      assert.equal(
        (await run(['users', 'list', ...url], { environment: { TIDINGS_API_KEY: '' } })).code,
        4,
      );
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe('send --dry-run', () => {
  const json = async (argv: string[], options?: RunOptions): Promise<unknown> => {
    const { code, out, err } = await run(['send', '--dry-run', '--json', ...argv], options);
    assert.equal(code, 0, err);
    return JSON.parse(out);
  };

  test('shows the whole request, without needing a key', async () => {
    const { code, out } = await run([
      'send',
      '--dry-run',
      '--to',
      'ada@example.com',
      '--title',
      'Hi',
      'Text',
      '--idempotency-key',
      'k1',
      '--url',
      'http://host:1/base/',
    ]);
    assert.equal(code, 0);
    assert.equal(
      out,
      'POST http://host:1/base/v1/notifications\nContent-Type: application/json\nIdempotency-Key: k1\n\n' +
        '{\n  "to": {\n    "email": "ada@example.com"\n  },\n  "content": {\n    "title": "Hi",\n    "text": "Text"\n  }\n}\n',
    );
  });

  test('an API key does not show', async () => {
    const { out, err } = await run([
      'send',
      '--dry-run',
      '--to',
      'user:1',
      'x',
      '--api-key',
      'very-secret',
    ]);
    assert.doesNotMatch(out + err, /very-secret/);
  });

  test('every option lands in its place', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'tidings-cli-'));
    try {
      const file = join(folder, 'a.txt');
      writeFileSync(file, 'file');
      const request = await json([
        '--to',
        'user:1',
        'text',
        '--title',
        'T',
        '--subject',
        'S',
        '--html',
        `@${file}`,
        '--markdown',
        '*m*',
        '--link',
        'https://x.y',
        '--attach',
        file,
        '--content',
        '{"payload":{"a":1},"title":"overridden"}',
        '--channels',
        'email,in_app',
        '--priority',
        'high',
        '--category',
        'c',
        '--send-at',
        '2026-12-24T08:00:00Z',
        '--expires-at',
        '2026-12-25T08:00:00Z',
        '--collapse-key',
        'ck',
        '--metadata',
        'a=b',
        '--metadata',
        'c=d',
      ]);
      assert.deepEqual(request, {
        to: { userId: '1' },
        content: {
          payload: { a: 1 },
          title: 'T',
          subject: 'S',
          text: 'text',
          html: 'file',
          markdown: '*m*',
          url: 'https://x.y',
          attachments: [{ filename: 'a.txt', contentBase64: 'ZmlsZQ==' }],
        },
        channels: ['email', 'in_app'],
        priority: 'high',
        category: 'c',
        sendAt: '2026-12-24T08:00:00Z',
        expiresAt: '2026-12-25T08:00:00Z',
        collapseKey: 'ck',
        metadata: { a: 'b', c: 'd' },
      });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test('a template with its version and data', async () => {
    const request = await json([
      '--to',
      'user:1',
      '--template',
      'a@3',
      '--data',
      'x=1',
      '--data',
      'y.z:=2',
      '--route',
      'in_app,email',
    ]);
    assert.deepEqual(request, {
      to: { userId: '1' },
      template: { key: 'a', version: 3 },
      data: { x: '1', y: { z: 2 } },
      route: ['in_app', 'email'],
    });
  });

  test('--channel is the channel of a bare address, and the one that is used', async () => {
    assert.deepEqual(await json(['--to', '+49170', '--channel', 'sms', 'x']), {
      to: { sms: '+49170' },
      content: { text: 'x' },
      channels: ['sms'],
    });
  });

  test('an email without a title is called by the first line of its text', async () => {
    const of = async (argv: string[], options?: RunOptions) =>
      ((await json(argv, options)) as { content: { subject?: string } }).content.subject;
    const to = ['--to', 'a@b.c'];
    assert.equal(await of(to, { stdin: '\n  Disk\t full\u0007 \nmore\n' }), 'Disk full');
    assert.equal(await of([...to, 'x'.repeat(100)]), `${'x'.repeat(77)}…`);
    for (const argv of [
      [...to, '--title', 'T', 'x'],
      [...to, '--html', '<p>x'],
      [...to, '--channels', 'in_app', 'x'],
      ['--to', 'user:1', 'x'],
      ['--to', 'webhook:https://x.y', 'x'],
    ]) {
      assert.equal(await of(argv), undefined);
    }
    const listed = await run(
      ['send', '--dry-run', '--json', '--recipients', '-', '--to', 'a@b.c', 'Hi'],
      {
        stdin: '{"email":"c@d.e"}\n{"userId":"1"}\n',
      },
    );
    const subjects = listed.out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line).content.subject);
    assert.deepEqual(subjects, ['Hi', 'Hi', undefined]);
  });

  test('the text comes from standard input, without its last line break', async () => {
    const { content } = (await json(['--to', 'user:1'], { stdin: 'a\nb\n' })) as {
      content: unknown;
    };
    assert.deepEqual(content, { text: 'a\nb' });
  });

  test('an empty standard input leaves the title', async () => {
    const { content } = (await json(['--to', 'user:1', '--title', 'T'])) as { content: unknown };
    assert.deepEqual(content, { title: 'T' });
  });

  test('--no-input reads nothing unless "-" says so', async () => {
    const options = { stdin: 'piped' };
    const without = await json(['--to', 'user:1', '--title', 'T', '--no-input'], options);
    assert.deepEqual((without as { content: unknown }).content, { title: 'T' });
    const asked = await json(['--to', 'user:1', '--title', 'T', '--no-input', '-'], options);
    assert.deepEqual((asked as { content: unknown }).content, { title: 'T', text: 'piped' });
  });

  test('many recipients: a request each, faults by line, and 5 in the end', async () => {
    const stdin = 'email,data.n\na@b.c,1\n,2\nc@d.e,3\n';
    const { code, out, err } = await run(
      [
        'send',
        '--dry-run',
        '--json',
        '--recipients',
        '-',
        '--format',
        'csv',
        '--template',
        't',
        '--to',
        'user:1',
      ],
      { stdin },
    );
    assert.equal(code, 5);
    assert.deepEqual(
      out
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line)),
      [
        { to: { userId: '1' }, template: 't' },
        { to: { email: 'a@b.c' }, template: 't', data: { n: '1' } },
        { to: { email: 'c@d.e' }, template: 't', data: { n: '3' } },
      ],
    );
    assert.match(err, /^tidings: standard input:3: names nobody\n$/);
  });

  test('nobody at all is 3', async () => {
    const { code } = await run(['send', '--dry-run', '--recipients', '-', '--template', 't']);
    assert.equal(code, 3);
  });
});

describe('terminals', () => {
  const colour = '\u001b[';

  test('colours on a terminal only, and not with NO_COLOR', async () => {
    const argv = ['send', '--to', 'Bob', 'x'];
    assert.ok((await run(argv, { terminal: ['stderr'] })).err.includes(colour));
    assert.ok(!(await run(argv)).err.includes(colour));
    const quietly: RunOptions = { terminal: ['stderr'], environment: { NO_COLOR: '1' } };
    assert.ok(!(await run(argv, quietly)).err.includes(colour));
    const dumb: RunOptions = { terminal: ['stderr'], environment: { TERM: 'dumb' } };
    assert.ok(!(await run(argv, dumb)).err.includes(colour));
  });

  test('a person is asked, and may say no', async () => {
    const url = ['--url', 'http://127.0.0.1:1', '--timeout', '1ms', '--api-key', 'k'];
    const options: RunOptions = { terminal: ['stdin', 'stderr'], stdin: 'n\n' };
    const { code, err } = await run(['users', 'delete', '1', ...url], options);
    assert.equal(code, 1);
    assert.match(err, /delete the user 1 \[y\/N\] /);
    assert.match(err, /nothing was done/);
    const { err: refused, code: usage } = await run(
      ['users', 'delete', '1', '--no-input', ...url],
      options,
    );
    assert.equal(usage, 2);
    assert.match(refused, /add --yes/);
  });

  test('a progress bar is on a terminal only, and lines appear above it', async () => {
    const streams = streamsOf({ terminal: ['stderr', 'stdout'] });
    const terminal = new Terminal(streams, { quiet: false, interactive: false });
    const progress = startProgress(terminal, 'working', 10);
    progress.update(5, 3);
    terminal.note('remark');
    await terminal.line('data');
    progress.stop();
    assert.match(streams.stderr.text, /working \[=+-+\] 50% 3/);
    assert.ok(streams.stderr.text.includes('\r\u001b[Kremark\n'));
    assert.equal(streams.stdout.text, 'data\n');
    // Going back to where the cursor was would write over the lines above.
    assert.ok(!streams.stderr.text.includes('\u001b8'));
    for (const options of [{ terminal: [] }, { terminal: ['stderr' as const] }]) {
      const others = streamsOf(options);
      const silent = new Terminal(others, {
        quiet: options.terminal.length > 0,
        interactive: false,
      });
      const none = startProgress(silent, 'working', 10);
      none.update(5);
      none.stop();
      assert.equal(others.stderr.text, '');
    }
  });

  test('--quiet keeps remarks back, not errors', () => {
    const streams = streamsOf({});
    const terminal = new Terminal(streams, { quiet: true, interactive: false });
    terminal.note('remark');
    terminal.error('fault', ['why\u001b[2J']);
    assert.equal(streams.stderr.text, 'tidings: fault\n  why\\x1b[2J\n');
  });

  test('a reader that is slow holds the writer back', async () => {
    const taken: string[] = [];
    let release: (() => void) | undefined;
    const slow = new Writable({
      highWaterMark: 1,
      write(chunk, _encoding, done) {
        taken.push(String(chunk));
        release = done;
      },
    });
    const terminal = new Terminal(
      { ...streamsOf({}), stdout: slow },
      { quiet: false, interactive: false },
    );
    let written = false;
    const writing = terminal.write('long').then(() => {
      written = true;
    });
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(written, false);
    release?.();
    await writing;
    assert.deepEqual(taken, ['long']);
  });
});
