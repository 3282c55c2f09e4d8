/** `tidings status` and `tidings tail`, also while the service is restarted, gone or silent. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import type { MessageSummary, Notification, TimelineEvent } from '@tidings/contracts/notification';
import { until } from '../support/within.ts';
import { Command, exited, jsonOf, linesOf, run, serviceOfSuite } from './cli-process.ts';

const FOUND: MessageSummary = {
  id: 'msg_00h4p8s3t6v',
  notificationId: 'ntf_00h4p8s3t6v',
  application: 'default',
  status: 'delivered',
  channel: 'email',
  priority: 'medium',
  user: null,
  recipient: 'a***@example.com',
  template: null,
  category: null,
  batch: null,
  reason: null,
  attempts: 1,
  test: false,
  createdAt: '2026-11-22T00:00:00.000Z',
  updatedAt: '2026-11-22T00:00:00.000Z',
};

describe('tidings status and tail', () => {
  const service = serviceOfSuite();
  const { cli } = service;

  before(async () => {
    for (const to of ['ada@example.com', 'permanent-failure@simulate.invalid', 'bob@example.com']) {
      await cli(['send', '--to', to, 'x', '--wait', '30s']);
    }
  });

  test('status of one notification: messages and timeline', async () => {
    const id = (
      await cli([
        'send',
        '--quiet',
        '--to',
        'ada@example.com',
        '--title',
        'Hi there',
        'x',
        '--wait',
        '30s',
      ])
    ).out.trim();
    const shown = await cli(['status', id]);
    exited(shown, 0);
    assert.match(shown.out, new RegExp(`^id +${id}\nto +ada@example\\.com\ntitle +Hi there`));
    assert.match(shown.out, /\d\d:\d\d:\d\d {2}accepted\n[\s\S]+attempt .+email\/capture/);
    const json = jsonOf<{ notification: Notification; timeline: { items: TimelineEvent[] } }>(
      await cli(['status', id, '--json']),
    );
    assert.equal(json.notification.id, id);
    assert.equal(json.timeline.items[0]?.type, 'accepted');
  });

  test('status of an edited notification: what each edit changed', async () => {
    const to = ['--to', 'ada@example.com', '--title', 'Hi', 'x'];
    const id = (await cli(['send', '--quiet', '--send-at', '+1h', ...to])).out.trim();
    const text = 'y'.repeat(100);
    const body = { priority: 'high', collapseKey: 'k', content: { title: 'Hi', text } };
    await service.tidings.call(`/v1/notifications/${id}`, { method: 'PATCH', body });
    const { out } = await cli(['status', id]);
    assert.match(out, /edited .+\n +priority: medium → high\n +collapseKey: – → k\n +content: /);
    assert.match(out, /content: \{"title":"Hi","text":"x"\} → \{"title":"Hi","text":"y{36,40}…\n/);
    exited(await cli(['status', id]), 0);
    await service.tidings.call(`/v1/notifications/${id}/cancel`, { method: 'POST' });
  });

  test('status of the service: readiness, lanes, ledger', async () => {
    const { tidings } = service;
    const shown = await cli(['status']);
    exited(shown, 0);
    assert.match(shown.out, / {2}ready\n\nLANE +WAITING +UNDER WAY\nhigh +\d+ +\d+/);
    assert.match(shown.out, /\naccepted +\d+\ndelivered +\d+/);
    const json = jsonOf<{ ready: { status: string }; ledger: { balanced: boolean } }>(
      await cli(['status', '--json']),
    );
    assert.equal(json.ready.status, 'ready');
    assert.equal(json.ledger.balanced, true);
    const open = await run(['status', '--url', tidings.url]);
    exited(open, 0);
    assert.match(open.err, /Without an API key/);
    exited(await cli(['status', '--api-key', 'wrong-key-0123456789']), 4);
  });

  test('tail shows what comes, each change of status, and ends cleanly at Ctrl-C', async () => {
    const { tidings } = service;
    const env = { TIDINGS_URL: tidings.url, TIDINGS_API_KEY: tidings.key };
    await using tail = new Command(['tail', '--json', '--lines', '1', '--interval', '100ms'], {
      env,
    });
    await tail.wrote('the line from before', (out) => out.includes('\n'));
    const id = (await cli(['send', '--quiet', '--to', 'tail@example.com', 'x'])).out.trim();
    await tail.wrote('the new message', (out) =>
      linesOfWhole(out).some((m) => m.notificationId === id && m.status === 'delivered'),
    );
    tail.child.kill('SIGINT');
    const ended = await tail.end();
    exited(ended, 0);
    const shown = linesOf<MessageSummary>(ended.out);
    const keys = shown.map(({ id: message, status }) => `${message} ${status}`);
    assert.equal(new Set(keys).size, keys.length, 'nothing is shown twice');
  });

  test('tail with filters, and without following', async () => {
    const failed = await cli([
      'tail',
      '--no-follow',
      '--status',
      'failed',
      '--lines',
      '500',
      '--json',
    ]);
    exited(failed, 0);
    const statuses = new Set(linesOf<MessageSummary>(failed.out).map(({ status }) => status));
    assert.deepEqual([...statuses], ['failed']);
    const some = await cli(['tail', '--no-follow', '--lines', '2']);
    exited(some, 0);
    assert.equal(some.out.trim().split('\n').length, 2);
    exited(await cli(['tail', '--no-follow', '--user', 'nobody']), 3);
  });

  test('what test keys have sent is shown and counted apart', async () => {
    const { tidings } = service;
    const { secret } = (
      await tidings.call('/v1/api-keys', { body: { kind: 'test', scopes: ['send', 'read'] } })
    ).json<{ secret: string }>();
    await cli(['send', '--to', 'ada@example.com', 'x', '--wait', '30s', '--api-key', secret]);
    for (const kind of ['test', 'live']) {
      const listed = await cli(['tail', '--no-follow', '--kind', kind, '--json']);
      exited(listed, 0);
      const tests = new Set(linesOf<MessageSummary>(listed.out).map((message) => message.test));
      assert.deepEqual([...tests], [kind === 'test']);
    }
    type Shown = { ledger: { accepted: number } };
    const counted = jsonOf<Shown>(await cli(['status', '--kind', 'test', '--json']));
    assert.equal(counted.ledger.accepted, 1);
    exited(await cli(['status', '--kind', 'both']), 2);
    exited(await cli(['tail', '--kind', 'both']), 2);
    exited(await cli(['status', 'ntf_00h4p8s3t6v', '--kind', 'test']), 2);
  });

  test('pages without a message are followed to the next one', async () => {
    // How soon a page ends without a message is the disk's to say, so what answers here is a stand-in.
    const asked: (string | null)[] = [];
    const pages = createServer(({ url = '' }, response) => {
      const cursor = new URL(url, 'http://x').searchParams.get('cursor');
      asked.push(cursor);
      const next = { messages: 'a', a: 'b', b: null }[cursor ?? 'messages'] ?? null;
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify({ items: cursor === 'b' ? [FOUND] : [], next }));
    }).listen(0, '127.0.0.1');
    await once(pages, 'listening');
    const url = `http://127.0.0.1:${(pages.address() as AddressInfo).port}`;
    try {
      const shown = await cli(['tail', '--no-follow', '--json', '--url', url]);
      exited(shown, 0);
      assert.deepEqual(linesOf<MessageSummary>(shown.out), [FOUND]);
      assert.deepEqual(asked, [null, 'a', 'b']);
    } finally {
      pages.closeAllConnections();
      pages.close();
    }
  });

  test('a reader that goes away ends it quietly', async () => {
    const { tidings } = service;
    const env = { TIDINGS_URL: tidings.url, TIDINGS_API_KEY: tidings.key };
    await using tail = new Command(['tail', '--json', '--interval', '100ms'], { env });
    await tail.wrote('a line', (out) => out.includes('\n'));
    tail.child.stdout?.destroy();
    await cli(['send', '--to', 'tail@example.com', 'x', '--wait', '30s']);
    const { code, err } = await tail.end();
    assert.equal(code, 141);
    assert.equal(err, '');
  });

  test('tail outlives a restart of the service', async () => {
    const { tidings } = service;
    const env = { TIDINGS_URL: tidings.url, TIDINGS_API_KEY: tidings.key };
    await using tail = new Command(
      ['tail', '--lines', '1', '--interval', '100ms', '--timeout', '1s'],
      { env },
    );
    await tail.wrote('the line from before', (out) => out.includes('\n'));
    await tidings.stop();
    await until('the remark', () => tail.err.includes('trying again'));
    await tidings.restart();
    const id = (await cli(['send', '--quiet', '--to', 'again@example.com', 'x'])).out.trim();
    await tail.wrote('the message after the restart', (out) => out.includes(id));
    await until('the second remark', () => tail.err.includes('connected again'));
    assert.match(tail.err, /cannot be reached[^\n]*; trying again\nconnected again\n/);
    tail.child.kill('SIGTERM');
    exited(await tail.end(), 0);
  });

  test('a dead service: exit 1, in words', async () => {
    const { tidings } = service;
    await tidings.stop();
    const { dataDir } = tidings;
    for (const args of [
      ['send', '--to', 'a@b.c', 'x'],
      ['status'],
      ['tail'],
      ['users', 'list'],
      ['export', '--out', join(dataDir, 'x')],
    ]) {
      const dead = await cli([...args, '--timeout', '300ms']);
      exited(dead, 1);
      assert.match(dead.err, /cannot be reached: the connection was refused/);
    }
  });

  test('a service that does not answer: exit 6', async () => {
    const silent = createServer(() => {}).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const url = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`;
    try {
      exited(await cli(['users', 'list', '--timeout', '300ms', '--url', url]), 6);
    } finally {
      silent.closeAllConnections();
      silent.close();
    }
  });
});

/** Whole lines only: the last one may still be on its way. */
function linesOfWhole(out: string): MessageSummary[] {
  return linesOf<MessageSummary>(out.slice(0, out.lastIndexOf('\n') + 1));
}
