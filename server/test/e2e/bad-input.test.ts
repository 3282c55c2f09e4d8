/** Notifications that cannot be: each fault is named by its field, in words, and nothing is stored. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Notification } from '@tidings/contracts/notification';
import { ADA, HELLO, inFuture, notificationApi } from '../support/notification-api.ts';
import { startTidings, type Tidings } from '../support/start.ts';

let tidings: Tidings;
before(async () => {
  tidings = await startTidings({ env: { TIDINGS_DELIVERY_RETRY_DELAYS_MS: '50,50' } });
});
after(async () => {
  await tidings?.[Symbol.asyncDispose]();
});

const { post, refused } = notificationApi(() => tidings);

describe('bad input', () => {
  it('names every field', async () => {
    const cases: [unknown, number, string, string][] = [
      [{ content: HELLO }, 400, 'invalid_request', 'body.to'],
      [{ to: {}, content: HELLO }, 400, 'invalid_request', 'body.to'],
      [{ to: { name: 'Ada' }, content: HELLO }, 400, 'invalid_recipient', 'body.to'],
      [
        { to: { emial: 'ada@example.com' }, content: HELLO },
        400,
        'invalid_recipient',
        'body.to.emial',
      ],
      [{ to: ADA }, 400, 'invalid_request', 'body'],
      [{ to: ADA, content: HELLO, template: 'a' }, 400, 'invalid_request', 'body'],
      [{ to: ADA, template: 'none' }, 422, 'invalid_template', 'body.template'],
      [{ to: ADA, content: {} }, 400, 'invalid_request', 'body.content'],
      [{ to: ADA, content: { body: 'x' } }, 400, 'invalid_request', 'body.content.body'],
      [
        { to: ADA, content: HELLO, channels: ['pigeon'] },
        400,
        'unknown_channel',
        'body.channels.0',
      ],
      [{ to: ADA, content: HELLO, channels: [] }, 400, 'invalid_request', 'body.channels'],
      [
        { to: ADA, content: HELLO, channels: ['email'], route: ['email'] },
        400,
        'invalid_request',
        'body.route',
      ],
      [
        { to: ADA, content: HELLO, channels: ['in_app'] },
        400,
        'invalid_recipient',
        'body.to.in_app',
      ],
      [{ to: ADA, content: HELLO, priority: 'urgent' }, 400, 'invalid_request', 'body.priority'],
      [{ to: ADA, content: HELLO, sendAt: 'tomorrow' }, 400, 'invalid_request', 'body.sendAt'],
      [
        { to: ADA, content: HELLO, sendAt: inFuture(400 * 86_400) },
        400,
        'invalid_time',
        'body.sendAt',
      ],
      [{ to: ADA, content: HELLO, expiresAt: inFuture(-1) }, 400, 'invalid_time', 'body.expiresAt'],
      [
        { to: ADA, content: HELLO, sendAt: inFuture(60), expiresAt: inFuture(30) },
        400,
        'invalid_time',
        'body.expiresAt',
      ],
      [{ to: ADA, content: HELLO, metadata: { a: 1 } }, 400, 'invalid_request', 'body.metadata.a'],
      [
        { to: ADA, content: HELLO, tenantId: 'x', status: 'sent' },
        400,
        'invalid_request',
        'body.tenantId',
      ],
      [{ to: ADA, content: HELLO, applicationId: 2 }, 400, 'invalid_request', 'body.applicationId'],
      [
        { to: ADA, content: { title: 'x\r\nBcc: evil@example.com', text: 'y' } },
        400,
        'invalid_content',
        'body.content.title',
      ],
      [
        { to: { ...ADA, name: 'x\r\nBcc: evil@example.com' }, content: HELLO },
        400,
        'invalid_recipient',
        'body.to.name',
      ],
      [[], 400, 'invalid_request', 'body'],
      ['text', 400, 'invalid_request', 'body'],
    ];
    for (const [body, status, code, path] of cases) await refused(body, status, code, path);
  });

  it('refuses to wait longer than it can, and takes a number alone as seconds', async () => {
    const body = { to: ADA, content: HELLO };
    for (const wait of ['31', '31s', '30001ms', '5000']) {
      const answer = await post(body, { query: `?wait=${wait}` });
      assert.equal(answer.status, 400, wait);
      assert.deepEqual(answer.json<{ errors: object[] }>().errors, [
        {
          path: 'query.wait',
          message: 'must be at most 30s (a number without a unit is seconds)',
        },
      ]);
    }
    for (const wait of ['30', '30s', '30000ms'])
      assert.equal((await post(body, { query: `?wait=${wait}` })).status, 200, wait);
  });

  it('says once what is wrong with a field, however many channels use it', async () => {
    const answer = await post({ to: ADA, content: { title: '{{ x | upcas }}' } });
    assert.equal(answer.status, 400);
    const { errors, detail } = answer.json<{ errors: { path: string }[]; detail: string }>();
    assert.deepEqual(
      errors.map(({ path }) => path),
      ['body.content.title'],
      answer.text,
    );
    assert.equal(detail.split('body.content.title').length, 2, detail);
  });

  it('names the variables for lack of which a text is empty', async () => {
    const answer = await post({ to: ADA, content: { title: 'Hello', text: '{{ a.b }}' } });
    const message = 'must not be empty; the data has no a.b';
    assert.deepEqual(answer.json<{ errors: object[] }>().errors, [
      { path: 'body.content.text', message },
    ]);
  });

  it('refuses links that run code, whichever channel they are for', async () => {
    const url = 'javascript:alert(1)';
    const links: [object, string][] = [
      [{ url }, 'url'],
      [{ url: ' \tJava\nScript:{{ code }}' }, 'url'],
      [{ imageUrl: 'data:text/html,<script>' }, 'imageUrl'],
      [
        {
          actions: [
            { label: 'a', url: '/a' },
            { label: 'b', url },
          ],
        },
        'actions.1.url',
      ],
    ];
    const recipients = [
      { to: ADA },
      { to: { userId: 'user-42' }, channels: ['in_app'] },
      { to: { webhook: 'https://simulate.invalid/delivered' } },
    ];
    for (const [link, path] of links) {
      for (const recipient of recipients) {
        const body = { ...recipient, content: { ...HELLO, ...link } };
        await refused(body, 400, 'invalid_content', `body.content.${path}`);
      }
    }
    const taken = { url: '{{ link }}', actions: [{ label: 'Open', url: '/orders/{{ id }}' }] };
    const data = { link: 'https://example.com', id: 42 };
    const answer = await post({ to: ADA, content: { ...HELLO, ...taken }, data });
    assert.equal(answer.status, 202, answer.text);
  });

  it('takes null for what an answer shows as null', async () => {
    const nothing = { category: null, sendAt: null, expiresAt: null, collapseKey: null };
    const answer = await post({ to: ADA, content: HELLO, ...nothing }, { query: '?wait=20s' });
    assert.equal(answer.status, 200, answer.text);
    const { category, sendAt, expiresAt, collapseKey } = answer.json<Notification>();
    assert.deepEqual({ category, sendAt, expiresAt, collapseKey }, nothing);
    await refused(
      { to: ADA, content: HELLO, priority: null },
      400,
      'invalid_request',
      'body.priority',
    );
  });

  it('says in words what is asked for, and shows no regular expression', async () => {
    const long = 'x'.repeat(101);
    const answers = [
      await post({ to: ADA, content: HELLO }, { query: '?wait=abc' }),
      await tidings.call('/v1/notifications?user=%00&category=a%20b&sort=id&limit=0'),
      await tidings.call('/v1/notifications/order-42'),
      await tidings.call('/v1/webhook-endpoints/x/rotate-secret', { body: { secret: '' } }),
      await tidings.call('/v1/inbox/stream', { headers: { 'last-event-id': 'x' } }),
      await post({
        to: { userId: 'a\nb', email: '', locale: 'English' },
        content: { title: '', actions: [{ label: 'a' }] },
        channels: ['E-Mail'],
        template: 'a b',
        metadata: { [long]: 'a', b: 'x'.repeat(501) },
        sendAt: 'tomorrow',
        collapseKey: 5,
      }),
    ];
    const messages = answers.flatMap((answer) => {
      assert.doesNotMatch(answer.text, /pattern|must NOT|>=|\^\[|format "|schema in/, answer.text);
      const { errors = [] } = answer.json<{ errors?: { path: string; message: string }[] }>();
      return errors.map(({ path, message }) => `${path} ${message}`);
    });
    const key =
      'must be 1 to 100 letters, digits, dots, colons, hyphens or underscores, the first a letter or digit';
    const id = 'must be 1 to 128 visible characters, not only spaces, and not "." or ".."';
    assert.deepEqual(messages, [
      'query.wait must be a time such as 5s or 500ms',
      'query.sort is not a parameter of this request',
      'query.limit must be at least 1',
      `query.user ${id}`,
      `query.category ${key}`,
      'path.id must be the id of a notification or message, such as ntf_00h4p8s3t6v',
      'body.secret must be "whsec_" followed by 24 to 64 bytes in base64',
      'header.last-event-id must be the position of an event, as it was given',
      `body.to.userId ${id}`,
      'body.to.locale must be a language tag such as en or zh-CN',
      'body.to.email must not be empty',
      `body.template ${key}`,
      'body.content.title must not be empty',
      'body.content.actions.0.url is required',
      'body.channels.0 must be the name of a channel, such as email or in_app',
      'body.sendAt must be a time with a zone, such as 2026-12-24T08:00:00Z',
      `body.metadata.${long} is not an acceptable name: must have at most 100 characters`,
      'body.metadata.b must have at most 500 characters',
      'body.collapseKey must be a string or null',
    ]);
  });

  it('refuses addresses that are more than one', async () => {
    for (const email of [
      'b@y.io\r\nBcc: evil@z.io',
      'a@x.io, b@y.io',
      'a@x.io;b@y.io',
      'group: a@x.io;',
      '"a b"@x.io',
      'Ada <a@x.io>',
      'a@x@y.io',
      'a',
      '@x.io',
      'a@[127.0.0.1]',
      'a@x.io\u0000',
    ]) {
      const answer = await post({ to: { email }, content: HELLO });
      assert.equal(answer.status, 400, email);
    }
  });

  it('stores nothing of what it refuses', async () => {
    const before = await tidings.ledger();
    await post({ to: ADA, content: HELLO, channels: ['email', 'pigeon'] });
    await post({ to: { ...ADA, pigeon: 'x' }, content: HELLO });
    assert.equal((await tidings.ledger()).accepted, before.accepted);
  });
});
