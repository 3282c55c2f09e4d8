/** `tidings send`: one recipient and many, every exit code, connections that are cut. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Notification } from '@tidings/contracts/notification';
import { exited, jsonOf, linesOf, openFolder, serviceOfSuite, startProxy } from './cli-process.ts';

describe('tidings send', () => {
  const service = serviceOfSuite();
  const { cli } = service;

  test('send prints the id and goes on by itself; --wait tells the outcome', async () => {
    const sent = await cli(['send', '--to', 'ada@example.com', '--title', 'Hello', 'It works.']);
    exited(sent, 0);
    assert.match(sent.out, /^ntf_\w{11}\nMESSAGE +CHANNEL +STATUS/);
    const waited = await cli(['send', '--to', 'ada@example.com', 'It works.', '--wait', '30s']);
    exited(waited, 0);
    assert.match(waited.out, /msg_\w{11} +email +delivered +1 +capture/);
    assert.match(
      (await cli(['send', '--quiet', '--to', 'a@example.com', 'x'])).out,
      /^ntf_\w{11}\n$/,
    );
  });

  test('the text comes through a pipe, --json is the answer of the API', async () => {
    const answer = jsonOf<Notification>(
      await cli(['send', '--to', 'ada@example.com', '--title', 'Disk', '--json', '--wait', '30s'], {
        stdin: 'Filesystem\n/dev/sda 李\n',
      }),
    );
    assert.deepEqual(answer.content, { title: 'Disk', text: 'Filesystem\n/dev/sda 李' });
    assert.deepEqual(
      answer.messages.map(({ status }) => status),
      ['delivered'],
    );
  });

  test('exit 1: it failed, or was refused, and why', async () => {
    const failed = await cli([
      'send',
      '--to',
      'permanent-failure@simulate.invalid',
      'x',
      '--wait',
      '30s',
    ]);
    exited(failed, 1);
    assert.match(failed.out, /failed .+simulated_permanent_failure/);
    const refused = await cli(['send', '--to', 'email:nonsense', 'x']);
    exited(refused, 1);
    assert.match(
      refused.err,
      /^tidings: The recipient cannot be used\n {2}body\.to\.email: .+\n {2}Request: req_\w+ \(4\d\d invalid_recipient\)\n$/,
    );
    assert.equal(refused.out, '');
  });

  test('exit 2: wrong usage, with the nearest command', async () => {
    const wrong = await cli(['sned']);
    exited(wrong, 2);
    assert.match(wrong.err, /Did you mean send\?/);
  });

  test('help and version are answers, wherever they are asked for', async () => {
    for (const args of [['--help'], ['-h'], ['help'], ['send', '--help'], ['start', '--help']]) {
      const { code, out } = await cli(args);
      assert.deepEqual([code, /Usage: tidings/.test(out)], [0, true], args.join(' '));
    }
    const { code, out } = await cli(['--version']);
    assert.deepEqual([code, /^\d+\.\d+\.\d+\n$/.test(out)], [0, true], out);
    exited(await cli([]), 2);
    exited(await cli(['--json', 'status', 'ntf_00000000001']), 3);
  });

  test('exit 3: nothing of that id', async () => {
    exited(await cli(['status', 'ntf_00000000001']), 3);
  });

  test('exit 4: a wrong key, which is not shown', async () => {
    for (const args of [
      ['send', '--to', 'a@b.c', 'x'],
      ['tail'],
      ['users', 'list'],
      ['keys', 'list'],
      ['templates', 'export'],
    ]) {
      const refused = await cli(args, { env: { TIDINGS_API_KEY: 'wrong-key-0123456789' } });
      exited(refused, 4);
      assert.doesNotMatch(refused.out + refused.err, /wrong-key/);
    }
  });

  test('exit 5: one of two channels', async () => {
    const to = JSON.stringify({ userId: 'u1', email: 'permanent-failure@simulate.invalid' });
    const partly = await cli([
      'send',
      '--to',
      to,
      '--channels',
      'email,in_app',
      '--title',
      'T',
      'x',
      '--wait',
      '30s',
    ]);
    exited(partly, 5);
    assert.match(partly.out, /email +failed/);
    assert.match(partly.out, /in_app +delivered/);
  });

  test('exit 6: not finished in time', async () => {
    const waiting = await cli([
      'send',
      '--to',
      'temporary-failure@simulate.invalid',
      'x',
      '--wait',
      '200ms',
    ]);
    exited(waiting, 6);
    assert.match(waiting.err, /tidings status ntf_/);
    const id = waiting.out.split('\n')[0] as string;
    exited(await cli(['status', id, '--wait', '200ms']), 6);
    const later = await cli([
      'send',
      '--to',
      'a@example.com',
      'x',
      '--send-at',
      '+1h',
      '--wait',
      '200ms',
    ]);
    exited(later, 6);
    assert.match(later.out, /scheduled/);
  });

  test('a cut connection is tried again, and nothing is sent twice', async () => {
    const { tidings } = service;
    await using proxy = await startProxy(tidings.url);
    let cuts = 0;
    proxy.rule = () => (cuts++ < 2 ? 'after' : 'pass');
    const before = await tidings.ledger();
    const sent = await cli(['send', '--to', 'ada@example.com', 'once'], {
      env: { TIDINGS_URL: proxy.url },
    });
    exited(sent, 0);
    assert.equal(cuts, 3);
    assert.equal((await tidings.ledger()).accepted, before.accepted + 1);
  });

  test('a list of recipients: a request each, faults by line, repeatable', async () => {
    const { tidings } = service;
    using folder = openFolder();
    const list = folder.write(
      'people.csv',
      'email,metadata.n\na@example.com,1\nnonsense,2\nb@example.com,3\n"c@example.com",4\n',
    );
    const args = ['send', '--recipients', list, '--title', 'T', 'x', '--idempotency-key', 'run-1'];
    const before = await tidings.ledger();
    const first = await cli(args);
    exited(first, 5);
    assert.match(first.err, /people\.csv:3: .+body\.to\.email: /);
    assert.match(first.err, /3 accepted, 1 failed/);
    const sent = first.out
      .trim()
      .split('\n')
      .map((line) => line.split('\t'));
    assert.deepEqual(sent.map(([, to]) => to).sort(), [
      'a@example.com',
      'b@example.com',
      'c@example.com',
    ]);
    const again = await cli([...args, '--json']);
    exited(again, 5);
    const answers = linesOf<{ line: number; status: number; body: { id: string; code?: string } }>(
      again.out,
    );
    assert.deepEqual(
      answers.map(({ line, status }) => `${line} ${Math.floor(status / 100)}`).sort(),
      ['2 2', '3 4', '4 2', '5 2'],
    );
    assert.deepEqual(
      answers
        .filter(({ status }) => status < 300)
        .map(({ body }) => body.id)
        .sort(),
      sent.map(([id]) => id).sort(),
    );
    assert.equal((await tidings.ledger()).accepted, before.accepted + 3);
  });

  test('a list through a pipe, and repeated --to, with outcomes', async () => {
    const stdin = '"delivered@simulate.invalid"\n{"to":"permanent-failure@simulate.invalid"}\n';
    const listed = await cli(['send', '--recipients', '-', 'x', '--wait', '30s'], { stdin });
    exited(listed, 5);
    assert.match(listed.err, /1 delivered, 1 failed/);
    const repeated = await cli([
      'send',
      '--to',
      'a@example.com',
      '--to',
      'b@example.com',
      'x',
      '--wait',
      '30s',
    ]);
    exited(repeated, 0);
    assert.equal(repeated.out.match(/\tdelivered$/gm)?.length, 2);
    const none = await cli(['send', '--recipients', '-', 'x'], { stdin: '\n' });
    exited(none, 3);
  });

  test('a list stops where nothing more can be sent, and says how to go on', async () => {
    const { tidings } = service;
    await using proxy = await startProxy(tidings.url);
    let passed = 0;
    proxy.rule = () => (passed++ < 5 ? 'pass' : 'before');
    const stdin = Array.from({ length: 40 }, (_, i) => `{"email":"p${i}@example.com"}`).join('\n');
    const args = [
      'send',
      '--recipients',
      '-',
      'x',
      '--concurrency',
      '2',
      '--idempotency-key',
      'run-2',
      '--timeout',
      '2s',
    ];
    const before = await tidings.ledger();
    const stopped = await cli(args, { stdin, env: { TIDINGS_URL: proxy.url } });
    exited(stopped, 5);
    assert.match(stopped.err, /stopped: .+cannot be reached[\s\S]+--idempotency-key run-2/);
    exited(await cli(args, { stdin }), 0);
    assert.equal((await tidings.ledger()).accepted, before.accepted + 40);
  });

  test('--dry-run sends nothing', async () => {
    const { tidings } = service;
    const before = await tidings.ledger();
    const shown = await cli(['send', '--dry-run', '--to', 'a@example.com', 'x']);
    exited(shown, 0);
    assert.match(shown.out, /^POST http:[^\n]+\/v1\/notifications\n/);
    assert.doesNotMatch(shown.out, new RegExp(tidings.key));
    assert.equal((await tidings.ledger()).accepted, before.accepted);
  });
});
