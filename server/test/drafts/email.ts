/** Email from the API to a real SMTP server and back: what arrives there, and what the API says of it. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { after, before, beforeEach, describe, it } from 'node:test';
import type { Message, Notification, TimelineEvent } from '@tidings/contracts/notification';
import { type ReceivedMessage, readHeaders, readParts, SmtpTestServer } from '../support/smtp.ts';
import { freePort, PATIENT, startTidings, type Tidings } from '../support/start.ts';
import { until, within } from '../support/within.ts';

const SENDER = 'orders@shop.example';
const ADA = 'ada@example.com';
const HELLO = { title: 'Hello', text: 'Your order has shipped.' };
const BODY_LIMIT = 1024 * 1024;

let smtp: SmtpTestServer;
let way: Way;
let tidings: Tidings;

before(async () => {
  smtp = await SmtpTestServer.start();
  way = await Way.to(smtp.port);
  tidings = await startTidings({
    env: {
      ...PATIENT,
      TIDINGS_EMAIL_SMTP_HOST: '127.0.0.1',
      TIDINGS_EMAIL_SMTP_PORT: String(way.port),
      TIDINGS_EMAIL_SMTP_FROM_ADDRESS: SENDER,
      TIDINGS_EMAIL_SMTP_FROM_NAME: '商店',
      // Enough that no message ends while a test looks at it.
      TIDINGS_DELIVERY_RETRY_DELAYS_MS: Array(100).fill(100).join(','),
    },
  });
});
after(async () => {
  await tidings?.[Symbol.asyncDispose]();
  await way?.[Symbol.asyncDispose]();
  await smtp?.[Symbol.asyncDispose]();
});
beforeEach(() => {
  smtp.script = {};
  smtp.messages.length = 0;
});

/** A way to the server that can be taken away: then there is nobody at the port. */
class Way implements AsyncDisposable {
  readonly port: number;
  readonly #target: number;
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;

  private constructor(port: number, target: number) {
    this.port = port;
    this.#target = target;
  }

  static async to(target: number): Promise<Way> {
    const way = new Way(await freePort(), target);
    await way.open();
    return way;
  }

  async open(): Promise<void> {
    this.#server = createServer((socket) => {
      const onward = connect(this.#target, '127.0.0.1');
      for (const [one, other] of [
        [socket, onward],
        [onward, socket],
      ] as const) {
        this.#sockets.add(one);
        one
          .on('error', () => {})
          .on('close', () => {
            this.#sockets.delete(one);
            other.destroy();
          });
        one.pipe(other);
      }
    });
    this.#server.listen(this.port, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server?.close();
    if (this.#server) await once(this.#server, 'close');
    this.#server = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

async function send(body: object, service = tidings): Promise<Notification> {
  const request = { to: { email: ADA }, content: HELLO, ...body };
  const answer = await service.call('/v1/notifications?wait=30s', { body: request });
  assert.equal(answer.status, 200, answer.text);
  return answer.json<Notification>();
}

/** Without waiting for the outcome. */
async function accept(body: object, service = tidings): Promise<string> {
  const request = { to: { email: ADA }, content: HELLO, ...body };
  const answer = await service.call('/v1/notifications', { body: request });
  assert.equal(answer.status, 202, answer.text);
  return answer.json<{ id: string }>().id;
}

async function read(id: string): Promise<Message> {
  const found = (await tidings.call(`/v1/notifications/${id}`)).json<Notification>();
  return found.messages[0] as Message;
}

async function attemptsOf(id: string): Promise<TimelineEvent[]> {
  const answer = await tidings.call(`/v1/notifications/${id}/timeline`);
  return answer.json<{ items: TimelineEvent[] }>().items.filter(({ type }) => type === 'attempt');
}

function only(): ReceivedMessage {
  assert.equal(smtp.messages.length, 1);
  return smtp.messages[0] as ReceivedMessage;
}

function header(message: ReceivedMessage, name: string): string | undefined {
  const values = readHeaders(message.raw).get(name);
  assert.ok(values === undefined || values.length === 1, `${name} ${values}`);
  return values?.[0];
}

/** Everything clients have said to the server so far. */
function wire(): string {
  return smtp.wire.map((chunks) => Buffer.concat(chunks).toString('latin1')).join('\n');
}

async function putUser(id: string, body: object): Promise<void> {
  const answer = await tidings.call(`/v1/users/${id}`, { method: 'PUT', body });
  assert.ok(answer.status < 300, answer.text);
}

describe('what arrives', () => {
  it('text, html and a file as large as fits', async () => {
    const content = {
      title: 'Invoice 42',
      text: 'Dear Ada,\n.\nit is attached. 你好 🎉\n',
      html: `<p>Dear Ada,</p>${'<p>it is attached. 你好 🎉</p>'.repeat(40)}`,
      attachments: [{ filename: 'invoice.pdf', contentType: 'application/pdf', contentBase64: '' }],
    };
    const request = { to: { email: ADA }, content };
    const room = BODY_LIMIT - Buffer.byteLength(JSON.stringify(request));
    const file = randomBytes(Math.floor(room / 4) * 3);
    (content.attachments[0] as { contentBase64: string }).contentBase64 = file.toString('base64');
    const size = Buffer.byteLength(JSON.stringify(request));
    assert.ok(size > BODY_LIMIT - 4 && size <= BODY_LIMIT);
    const { messages } = await send(request);
    assert.deepEqual(
      messages.map(({ status, provider, attempts }) => [status, provider, attempts]),
      [['delivered', 'email-smtp', 1]],
    );

    const message = only();
    assert.deepEqual([message.from, message.to], [SENDER, [ADA]]);
    assert.equal(header(message, 'subject'), 'Invoice 42');
    assert.equal(header(message, 'from'), `商店 <${SENDER}>`);
    assert.equal(header(message, 'message-id'), `<${messages[0]?.id}@shop.example>`);
    assert.equal(header(message, 'auto-submitted'), 'auto-generated');
    const [text, html, attachment] = readParts(message.raw);
    assert.equal(text?.body.toString().replaceAll('\r\n', '\n').trimEnd(), content.text.trimEnd());
    assert.equal(html?.body.toString().trimEnd(), content.html);
    assert.match(attachment?.headers.get('content-type')?.[0] ?? '', /^application\/pdf/);
    assert.match(attachment?.headers.get('content-disposition')?.[0] ?? '', /invoice\.pdf/);
    const digest = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
    assert.equal(digest(attachment?.body ?? Buffer.alloc(0)), digest(file));
  });

  it('a template in the language of the recipient', async () => {
    const template = {
      key: 'order-shipped',
      content: { email: { subject: 'Order {{ n }}', text: 'Dear {{ name }}' } },
      translations: {
        'zh-CN': {
          email: {
            subject: '您的订单 {{ n }} 已发货',
            text: '尊敬的{{ name }}，您好！',
            html: '<p>尊敬的{{ name }}，您好！</p>',
          },
        },
      },
      example: { n: 1, name: 'Ada' },
      publish: true,
    };
    const created = await tidings.call('/v1/templates', { body: template });
    assert.equal(created.status, 201, created.text);
    await putUser('li', {
      name: '李雷',
      locale: 'zh-CN',
      addresses: [{ channel: 'email', address: 'li@example.cn' }],
    });
    const data = { n: 7, name: '<李 & 雷>' };
    const { messages } = await send({
      to: { userId: 'li' },
      content: undefined,
      template: 'order-shipped',
      data,
      channels: ['email'],
    });
    assert.equal(messages[0]?.status, 'delivered');
    const message = only();
    assert.deepEqual(message.to, ['li@example.cn']);
    assert.equal(header(message, 'subject'), '您的订单 7 已发货');
    assert.equal(header(message, 'to'), '李雷 <li@example.cn>');
    const [text, html] = readParts(message.raw).map(({ body }) => body.toString().trimEnd());
    assert.equal(text, '尊敬的<李 & 雷>，您好！');
    assert.equal(html, '<p>尊敬的&lt;李 &amp; 雷&gt;，您好！</p>');
  });

  it('unsubscription by one click, as RFC 8058 wants it', async () => {
    const url = 'https://shop.example/u/4f2c?list=news';
    await send({
      content: { channels: { email: { subject: 'News', text: 'x', unsubscribeUrl: url } } },
    });
    const message = only();
    assert.equal(header(message, 'list-unsubscribe'), `<${url}>`);
    assert.equal(header(message, 'list-unsubscribe-post'), 'List-Unsubscribe=One-Click');
    await send({});
    assert.equal(header(smtp.messages[1] as ReceivedMessage, 'list-unsubscribe'), undefined);
  });

  it('over connections that are used again', async () => {
    const before = smtp.wire.length;
    await Promise.all(
      Array.from({ length: 40 }, (_, i) => send({ to: { email: `u${i}@example.com` } })),
    );
    assert.equal(smtp.messages.length, 40);
    assert.equal(new Set(smtp.messages.map(({ to }) => to[0])).size, 40);
    assert.ok(smtp.wire.length - before <= 5, `${smtp.wire.length - before} new connections`);
    assert.ok(new Set(smtp.messages.map(({ connection }) => connection)).size <= 5);
    assert.ok(smtp.openConnections <= 5);
  });
});

describe('what the server says', () => {
  it('a mailbox that is not there fails at once', async () => {
    smtp.script = { recipients: { [ADA]: '550 5.1.1 No such user here' } };
    const { id, messages } = await send({});
    assert.deepEqual(
      messages.map(({ status, reason, attempts }) => [status, reason, attempts]),
      [['failed', 'unknown_mailbox', 1]],
    );
    const [attempt] = await attemptsOf(id);
    assert.match(attempt?.response ?? '', /^550 5\.1\.1 No such user here/);
    assert.equal(smtp.messages.length, 0);
    const letters = (await tidings.call('/v1/dead-letters?channel=email')).json<{
      items: { notificationId: string; reason: string; recipient: string }[];
    }>().items;
    const letter = letters.find(({ notificationId }) => notificationId === id);
    assert.equal(letter?.reason, 'unknown_mailbox');
    assert.ok(!letter?.recipient.includes('ada@'), 'a list shows no whole address');
  });

  it('a message that is refused for its content fails at once', async () => {
    smtp.script = { message: '554 5.7.1 Rejected as spam' };
    const { messages } = await send({});
    assert.deepEqual([messages[0]?.status, messages[0]?.attempts], ['failed', 1]);
  });

  it('for a while not is not for ever', async () => {
    smtp.script = { recipients: { [ADA]: '451 4.3.0 Try again later' } };
    const id = await accept({});
    await until('the second attempt', async () => (await attemptsOf(id)).length >= 2);
    assert.equal(smtp.messages.length, 0);
    smtp.script = {};
    await until('the delivery', async () => (await read(id)).status === 'delivered');
    const attempts = await attemptsOf(id);
    assert.ok(attempts.length >= 3);
    assert.deepEqual(
      attempts.map(({ attempt }) => attempt),
      attempts.map((_, i) => i + 1),
    );
    for (const { reason, response } of attempts.slice(0, -1)) {
      assert.equal(reason, 'temporary_failure');
      assert.match(response ?? '', /^451 4\.3\.0/);
    }
    only();
  });

  it('another recipient is not held up by it', async () => {
    smtp.script = { recipients: { [ADA]: '451 4.2.1 Busy' } };
    const waiting = await accept({});
    await until('a refusal', async () => (await attemptsOf(waiting)).length > 0);
    const { messages } = await send({ to: { email: 'grace@example.com' } });
    assert.equal(messages[0]?.status, 'delivered');
    smtp.script = {};
    await until('the delivery', async () => (await read(waiting)).status === 'delivered');
  });

  it('nobody at the port: it waits until somebody is', async () => {
    await way.close();
    const id = await accept({});
    const attempt = await until('an attempt', async () => (await attemptsOf(id))[0]);
    await way.open();
    assert.ok(
      ['connection_refused', 'connection_lost'].includes(attempt?.reason ?? ''),
      JSON.stringify(attempt),
    );
    await until('the delivery', async () => (await read(id)).status === 'delivered');
    only();
  });

  it('nothing after the final dot: the same message again, with the same id', async () => {
    smtp.script = { message: 'drop' };
    const id = await accept({});
    await within(
      30,
      'the first copy',
      smtp.until(({ messages }) => messages.length >= 1),
    );
    smtp.script = {};
    await until('the delivery', async () => (await read(id)).status === 'delivered');
    assert.ok(smtp.messages.length >= 2);
    const ids = smtp.messages.map((message) => header(message, 'message-id'));
    assert.equal(new Set(ids).size, 1);
    assert.equal(ids[0], `<${(await read(id)).id}@shop.example>`);
    const [first] = smtp.messages;
    for (const { raw, to } of smtp.messages) {
      assert.deepEqual(to, [ADA]);
      assert.equal(
        readParts(raw)[0]?.body.toString(),
        readParts(first?.raw as Buffer)[0]?.body.toString(),
      );
    }
    const attempts = await attemptsOf(id);
    assert.equal(attempts[0]?.detail?.['ambiguous'], true, 'it may have been delivered');
  });
});

describe('what people chose', () => {
  const address = (name: string) => [{ channel: 'email', address: `${name}@example.com` }];

  it('no email is no email, unless it must be', async () => {
    await putUser('opted-out', {
      addresses: address('out'),
      preferences: {
        categories: { news: { enabled: false }, alerts: { channels: { email: false } } },
      },
    });
    await tidings.call('/v1/categories/legal', { method: 'PUT', body: { mandatory: true } });
    const to = { userId: 'opted-out' };
    for (const category of ['news', 'alerts']) {
      const { id, messages } = await send({ to, category, channels: ['email'] });
      assert.deepEqual([messages[0]?.status, messages[0]?.reason], ['suppressed', 'opted_out']);
      assert.equal(messages[0]?.attempts, 0);
      const timeline = (await tidings.call(`/v1/notifications/${id}/timeline`)).text;
      assert.match(timeline, /"rule"/);
    }
    assert.equal(smtp.messages.length, 0);
    await tidings.call('/v1/users/opted-out/preferences', {
      method: 'PUT',
      body: { channels: { email: false } },
    });
    assert.equal((await send({ to, channels: ['email'] })).messages[0]?.status, 'suppressed');
    const must = await send({ to, category: 'legal', channels: ['email'] });
    assert.equal(must.messages[0]?.status, 'delivered');
    assert.deepEqual(only().to, ['out@example.com']);
  });

  it('their order of channels is the order', async () => {
    for (const [name, route] of [
      ['inbox-first', ['in_app', 'email']],
      ['email-first', ['email', 'in_app']],
    ] as const) {
      await putUser(name, { addresses: address(name), preferences: { route } });
      const { messages } = await send({ to: { userId: name } });
      assert.deepEqual([messages[0]?.status, messages[0]?.channel], ['delivered', route[0]]);
    }
    assert.deepEqual(only().to, ['email-first@example.com']);
    smtp.script = { recipient: '550 5.1.1 No such user' };
    const { messages } = await send({ to: { userId: 'email-first' } });
    assert.deepEqual([messages[0]?.status, messages[0]?.channel], ['delivered', 'in_app']);
  });
});

describe('what a text cannot do', () => {
  const EVIL = 'x\r\nBcc: evil@z.example\r\nX-Evil: 1\r\n\r\nbody';

  const NAMES = [
    EVIL,
    'x\nBcc: evil@z.example',
    'x\rBcc: evil@z.example',
    '\u2028Bcc: a@z.example',
  ];
  const email = { subject: 'Hi', text: 'Hi {{ name }}', html: '<p>{{ name }}</p>' };
  /** Only in a body is it text like any other. */
  const HEADERS: object[] = [
    { subject: 'Hi {{ name }}' },
    { headers: { 'X-Order': '{{ name }}' } },
    { from: { name: '{{ name }}' } },
    { from: { address: '{{ name }}' } },
    { preheader: '{{ name }}' },
    { replyTo: 'a@example.com{{ name }}' },
    { unsubscribeUrl: 'https://a.example/{{ name }}' },
    { attachments: [{ filename: '{{ name }}', contentBase64: 'aGk=' }] },
    { attachments: [{ filename: 'a', contentBase64: 'aGk=', contentType: 'text/{{ name }}' }] },
    { attachments: [{ filename: 'a', contentBase64: 'aGk=', contentId: '{{ name }}' }] },
  ];

  it('add a header or a recipient', async () => {
    let delivered = 0;
    /** Refused when it is sent, or failed when it is rendered, or harmless. */
    const attempt = async (body: object): Promise<void> => {
      const answer = await tidings.call('/v1/notifications?wait=30s', {
        body: { to: { email: ADA }, channels: ['email'], ...body },
      });
      assert.ok([200, 400, 422].includes(answer.status), answer.text);
      if (answer.status !== 200) return;
      const [message] = answer.json<Notification>().messages;
      assert.ok(['delivered', 'failed'].includes(message?.status ?? ''), answer.text);
      if (message?.status === 'delivered') delivered++;
    };
    for (const [i, header] of [{}, ...HEADERS].entries()) {
      const content = { ...email, ...header };
      const template = { key: `evil-${i}`, content: { email: content }, publish: true };
      const created = await tidings.call('/v1/templates', { body: template });
      assert.ok([201, 400, 422].includes(created.status), created.text);
      for (const name of NAMES) {
        await attempt({ content: { channels: { email: content } }, data: { name } });
        if (created.status === 201) await attempt({ template: `evil-${i}`, data: { name } });
      }
    }
    assert.equal(smtp.messages.length, delivered);
    assert.ok(delivered >= 2 * NAMES.length, 'in a body it is harmless');
    for (const { raw, to } of smtp.messages) {
      assert.deepEqual(to, [ADA]);
      const headers = readHeaders(raw);
      assert.ok(!headers.has('bcc') && !headers.has('x-evil'), raw.toString().slice(0, 800));
    }
    assert.doesNotMatch(wire(), /RCPT TO:<[^>]*z\.example/i);
  });

  it('be two addresses', async () => {
    for (const email of [
      'b@y.io\r\nBcc: evil@z.example',
      'a@x.io, evil@z.example',
      'a@x.io>\r\nRCPT TO:<evil@z.example',
    ]) {
      const answer = await tidings.call('/v1/notifications', {
        body: { to: { email }, content: HELLO },
      });
      assert.equal(answer.status, 400, answer.text);
      const put = await tidings.call('/v1/users/evil', {
        method: 'PUT',
        body: { addresses: [{ channel: 'email', address: email }] },
      });
      assert.equal(put.status, 400, put.text);
    }
    const named = await tidings.call('/v1/users/evil', { method: 'PUT', body: { name: EVIL } });
    assert.equal(named.status, 400);
    assert.equal(smtp.messages.length, 0);
    assert.doesNotMatch(wire(), /RCPT TO:<[^>]*z\.example/i);
  });

  it('end the message early', async () => {
    const text =
      'before\r\n.\r\nMAIL FROM:<evil@z.example>\r\nRCPT TO:<ada@example.com>\r\nDATA\r\nafter\r\n.\r\n';
    await send({ content: { title: 'dots', text } });
    const [part] = readParts(only().raw);
    const body = part?.body.toString().replaceAll('\r\n', '\n').trimEnd();
    assert.equal(body, text.replaceAll('\r\n', '\n').trimEnd());
  });
});

describe('an account with a rate', () => {
  const RATE = 20;
  const COUNT = 60;
  /** What may pile up is a fifth of a second's worth (outbound/account.ts). */
  const BURST = RATE * 0.2;

  it('is kept to, as the server counts', async () => {
    await using server = await SmtpTestServer.start();
    const account = {
      channel: 'email',
      provider: 'smtp',
      id: 'slow-relay',
      config: { host: '127.0.0.1', port: server.port, from: { address: SENDER } },
      ratePerSecond: RATE,
    };
    await using limited = await startTidings({
      env: { ...PATIENT, TIDINGS_ACCOUNTS: JSON.stringify([account]) },
    });
    const arrivals: number[] = [];
    const all = server.until(({ messages }) => {
      while (arrivals.length < messages.length) arrivals.push(performance.now());
      return arrivals.length >= COUNT;
    });
    const sent = await Promise.all(
      Array.from({ length: COUNT }, (_, i) =>
        accept({ to: { email: `r${i}@example.com` } }, limited),
      ),
    );
    await within(50, 'all emails', all);
    // A busy machine can only spread them further; no two moments are closer than the rate allows.
    // What was begun in time may arrive a little late, and then closer to what follows.
    const late = RATE * 0.25;
    for (let from = 0; from < COUNT; from++) {
      for (let to = from + 1; to < COUNT; to++) {
        const seconds = ((arrivals[to] as number) - (arrivals[from] as number)) / 1000;
        const count = to - from;
        assert.ok(
          count <= seconds * RATE + BURST + late,
          `${count} within ${seconds.toFixed(2)} s, ${from} to ${to}`,
        );
      }
    }
    const elapsed = ((arrivals.at(-1) as number) - (arrivals[0] as number)) / 1000;
    assert.ok(elapsed >= ((COUNT - BURST) / RATE) * 0.9, `${elapsed} s for all`);
    await until('all to be delivered', async () => (await limited.ledger()).delivered === COUNT);
    const found = await limited.call(`/v1/notifications/${sent[0]}`);
    assert.equal(found.json<Notification>().messages[0]?.provider, 'slow-relay');
    assert.equal((await limited.ledger()).failed, 0);
  });
});
