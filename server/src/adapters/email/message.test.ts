/** What reaches the wire: the raw message and the envelope as a real server received them. */
import assert from 'node:assert/strict';
import { createVerify, generateKeyPairSync, randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  type ReceivedMessage,
  readHeaders,
  readParts,
  SmtpTestServer,
} from '../../../test/support/smtp.ts';
import { systemClock } from '../../clock.ts';
import { makeDelivery } from '../conformance.ts';
import type { Delivery, Outcome, ProviderServices } from '../provider.ts';
import { type EmailAddress, parseEmailAddress } from './address.ts';
import smtp from './providers/smtp.ts';
import type { SmtpConfig } from './smtp-config.ts';

type Overrides = Partial<Delivery<EmailAddress>>;

function addressOf(text: string): EmailAddress {
  const parsed = parseEmailAddress(text);
  assert.ok(parsed.ok);
  return parsed.address;
}

async function startMail(overrides: Partial<SmtpConfig> = {}) {
  const server = await SmtpTestServer.start();
  const from = { address: 'shop@shop.example', name: 'Shop' };
  const config: SmtpConfig = { host: '127.0.0.1', port: server.port, from, ...overrides };
  const services = {} as ProviderServices;
  const account = smtp.create({ accountId: 'mail', config, services, clock: systemClock });
  const send = (delivery: Overrides): Promise<Outcome> =>
    account.send(
      makeDelivery({
        address: addressOf('ada@example.com'),
        content: { subject: 'Hello', text: 'Hello Ada' },
        ...delivery,
      }) as Delivery<never>,
      new AbortController().signal,
    );
  return {
    server,
    send,
    /** Sends and gives back what arrived. */
    async deliver(delivery: Overrides): Promise<ReceivedMessage> {
      const outcome = await send(delivery);
      assert.equal(outcome.kind, 'sent', JSON.stringify(outcome));
      const received = server.messages.at(-1);
      assert.ok(received);
      return received;
    },
    async [Symbol.asyncDispose]() {
      await account.close?.();
      await server[Symbol.asyncDispose]();
    },
  };
}

const header = ({ raw }: ReceivedMessage, name: string) => readHeaders(raw).get(name)?.[0];
const wireOf = (server: SmtpTestServer) => Buffer.concat(server.wire.flat()).toString('latin1');

const HEADERS = [
  'auto-submitted',
  'content-transfer-encoding',
  'content-type',
  'date',
  'from',
  'message-id',
  'mime-version',
  'subject',
  'to',
];

function assertOnlyToAda(server: SmtpTestServer, received: ReceivedMessage, more: string[] = []) {
  assert.deepEqual([...readHeaders(received.raw).keys()].sort(), [...HEADERS, ...more].sort());
  assert.deepEqual(received.to, ['ada@example.com']);
  assert.equal(received.from, 'shop@shop.example');
  const commands = wireOf(server).match(/^(?:MAIL FROM|RCPT TO):.*$/gm) ?? [];
  assert.equal(commands.length, 2 * server.messages.length, commands.join());
}

describe('email on the wire', { timeout: 60_000 }, () => {
  test('a plain message', async () => {
    await using mail = await startMail();
    const received = await mail.deliver({ recipient: { name: 'Ada Lovelace' } });
    assertOnlyToAda(mail.server, received);
    assert.deepEqual(
      ['from', 'to', 'subject', 'message-id', 'date', 'auto-submitted'].map((name) =>
        header(received, name),
      ),
      [
        'Shop <shop@shop.example>',
        'Ada Lovelace <ada@example.com>',
        'Hello',
        '<msg_00h4p8s3t6w@shop.example>',
        'Sun, 22 Nov 2026 08:00:00 +0000',
        'auto-generated',
      ],
    );
    assert.equal(readParts(received.raw)[0]?.body.toString(), 'Hello Ada\r\n');
  });

  test('line breaks in any value stay in that value', async () => {
    await using mail = await startMail();
    const evil = 'x\r\nBcc: evil@z.io\r\n\r\nbody\r\n.\r\nMAIL FROM:<a@b.io>';
    const received = await mail.deliver({
      recipient: { name: `Ada ${evil}` },
      content: { subject: evil, text: 'Hello', headers: { 'X-Tag': evil }, from: { name: evil } },
    });
    assertOnlyToAda(mail.server, received, ['x-tag']);
    const [subject = ''] = readHeaders(received.raw).get('subject') ?? [];
    assert.equal(subject, 'x Bcc: evil@z.io body . MAIL FROM:<a@b.io>');
    assert.equal(header(received, 'to')?.endsWith('<ada@example.com>'), true);
    assert.equal(header(received, 'from')?.endsWith('<shop@shop.example>'), true);
  });

  test('an address that did not come from the parser is not mailed', async () => {
    await using mail = await startMail();
    for (const address of [
      'b@y.io\r\nBcc: evil@z.io',
      'a@x.io, b@y.io',
      '"b@y.io"@z.io',
      'b@y.io>\r\nRCPT TO:<evil@z.io',
      'friends: a@x.io;',
    ]) {
      const forged = { address, localPart: 'b', domain: 'y.io' };
      assert.deepEqual(await mail.send({ address: forged }), {
        kind: 'rejected',
        reason: 'invalid_address',
        scope: 'recipient',
      });
    }
    assert.equal(wireOf(mail.server), '');
  });

  test('headers and addresses that validation refuses are refused here as well', async () => {
    await using mail = await startMail();
    const hostile: [content: object, reason: string][] = [
      [{ headers: { Bcc: 'evil@z.io' } }, 'header_not_allowed'],
      [{ headers: { 'X-Tag\r\nBcc': 'evil@z.io' } }, 'header_not_allowed'],
      [{ headers: { 'X-SMTPAPI': '{"to":["evil@z.io"]}' } }, 'header_not_allowed'],
      [{ unsubscribeUrl: 'https://x.io/>\r\nBcc: evil@z.io' }, 'invalid_unsubscribe_url'],
      [{ replyTo: 'a@x.io\r\nBcc: evil@z.io' }, 'invalid_reply_to'],
      [{ from: { address: 'boss@bank.example' } }, 'sender_not_allowed'],
      [{ from: { address: 'shop@shop.example, x@y.io' } }, 'sender_not_allowed'],
    ];
    for (const [content, reason] of hostile) {
      const outcome = await mail.send({ content: { subject: 'Hi', text: 'Hi', ...content } });
      assert.deepEqual(outcome, { kind: 'rejected', reason, scope: 'content' });
    }
    assert.equal(wireOf(mail.server), '');
  });

  test('no text whatever changes envelope or headers', async () => {
    await using mail = await startMail({ maxConnections: 1 });
    const piece = fc.oneof(
      fc.constantFrom('\r\n', '\n', '\r', '\0', '\r\n.\r\n', '\n.\n', '\r\n\r\n', '\t', ' '),
      fc.constantFrom(
        'Bcc: e@z.io',
        '<e@z.io>',
        '"',
        '\\',
        '(',
        ',',
        ';',
        ':',
        '=?utf-8?q?x?=',
        '，',
      ),
      fc.string({ unit: 'binary', maxLength: 20 }),
    );
    const hostile = fc
      .array(piece, { minLength: 1, maxLength: 12 })
      .map((pieces) => pieces.join(''));
    await fc.assert(
      fc.asyncProperty(hostile, hostile, hostile, async (subject, name, body) => {
        const content = { subject, text: body, html: body, headers: { 'X-Tag': name } };
        const received = await mail.deliver({
          content: { ...content, from: { name } },
          recipient: { name },
        });
        assert.deepEqual(received.to, ['ada@example.com']);
        const names = [...readHeaders(received.raw).keys()];
        const allowed = new Set([...HEADERS, 'x-tag']);
        assert.deepEqual(
          names.filter((each) => !allowed.has(each)),
          [],
        );
        assert.equal(
          header(received, 'to')?.endsWith('ada@example.com>') ||
            header(received, 'to') === 'ada@example.com',
          true,
        );
      }),
      { numRuns: 200 },
    );
    const commands = wireOf(mail.server).match(/^RCPT TO:.*$/gm) ?? [];
    assert.equal(commands.length, mail.server.messages.length);
  });

  test('UTF-8 in subject, names and text', async () => {
    await using mail = await startMail({
      from: { address: 'shop@例子.中国', name: '商店，有限公司' },
    });
    const subject = `您的订单已发货 🚚 ${'很长的主题'.repeat(60)}`;
    const received = await mail.deliver({
      address: addressOf('ada@例子.中国'),
      recipient: { name: '张三 "老张"' },
      content: { subject, text: '你好，世界 — ça va? 😀', html: '<p>你好</p>' },
    });
    assert.deepEqual(received.to.map(toAscii), ['ada@xn--fsqu00a.xn--fiqs8s']);
    assert.equal(header(received, 'subject'), subject);
    assert.equal(header(received, 'to'), '张三 "老张" <ada@xn--fsqu00a.xn--fiqs8s>');
    assert.equal(header(received, 'from'), '商店，有限公司 <shop@xn--fsqu00a.xn--fiqs8s>');
    const [text, html] = readParts(received.raw);
    assert.equal(text?.body.toString().trimEnd(), '你好，世界 — ça va? 😀');
    assert.equal(html?.body.toString().trimEnd(), '<p>你好</p>');
  });

  test('dots and long lines arrive as they were written', async () => {
    await using mail = await startMail({ maxConnections: 1 });
    for (const text of [
      '.',
      '..\r\n...\r\n.x\r\n.',
      'a\r\n.\r\nb\r\n.\r\n',
      `.${'y'.repeat(5000)}\r\n.${'字'.repeat(3000)}`,
      'x'.repeat(100_000),
      `${'word '.repeat(20_000)}end`,
    ]) {
      const received = await mail.deliver({ content: { subject: 'Dots', text, html: text } });
      for (const { body } of readParts(received.raw)) {
        assert.equal(body.toString().replace(/\r\n$/, ''), text.replace(/\r\n$/, ''));
      }
    }
  });

  test('no end of data can be smuggled in', async () => {
    await using mail = await startMail({ maxConnections: 1 });
    const evil = 'MAIL FROM:<a@b.io>\r\nRCPT TO:<evil@z.io>\r\nDATA\r\nowned';
    const ends = [
      '\r\n.\r\n',
      '\n.\n',
      '\r.\r',
      '\n.\r\n',
      '\r\n.\n',
      '\r.\r\n',
      '\r\n.\r',
      '\0.\r\n',
    ];
    for (const end of ends) {
      const text = `hello${end}${evil}${end}`;
      const received = await mail.deliver({ content: { subject: 'Hi', text, html: text } });
      assert.deepEqual(received.to, ['ada@example.com']);
    }
    assert.equal(mail.server.messages.length, ends.length);
  });

  test('attachments arrive byte for byte', async () => {
    await using mail = await startMail();
    const files: [filename: string, contentType: string | undefined, bytes: Buffer][] = [
      ['all.bin', undefined, Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))],
      ['报告 2026 "终".pdf', 'application/pdf', randomBytes(100_001)],
      ['dots.txt', 'text/plain', Buffer.from('.\r\n..\n.\r.\r\n\r\n.\r\n')],
      ['plain.csv', 'text/csv; charset=utf-8', Buffer.from('a,b\n\ufeff1,2\r3')],
      ['old.eml', undefined, Buffer.from('From: x@y.io\nBcc: e@z.io\n\n.\nhi')],
      ['no-newline', undefined, Buffer.from('x')],
    ];
    const received = await mail.deliver({
      content: {
        subject: 'Files',
        text: 'See above.',
        attachments: files.map(([filename, contentType, bytes]) => ({
          filename,
          contentType,
          contentBase64: bytes.toString('base64'),
        })),
      },
    });
    const [text, ...parts] = readParts(received.raw);
    assert.equal(text?.body.toString().trimEnd(), 'See above.');
    files.forEach(([filename, , bytes], index) => {
      assert.ok(parts[index]?.body.equals(bytes), filename);
    });
    const types = parts.map(({ headers }) => headers.get('content-type')?.[0]?.split(';')[0]);
    assert.deepEqual(types, [
      'application/octet-stream',
      'application/pdf',
      'text/plain',
      'text/csv',
      'application/octet-stream',
      'application/octet-stream',
    ]);
  });

  test('an image with a content id belongs to the HTML', async () => {
    await using mail = await startMail();
    const image = randomBytes(1000);
    const received = await mail.deliver({
      content: {
        subject: 'Logo',
        html: '<img src="cid:logo@shop">',
        attachments: [
          { filename: 'logo.png', contentId: 'logo@shop', contentBase64: image.toString('base64') },
        ],
      },
    });
    assert.match(header(received, 'content-type') ?? '', /^multipart\/related/);
    const part = readParts(received.raw)[1];
    assert.equal(part?.headers.get('content-id')?.[0], '<logo@shop>');
    assert.match(part?.headers.get('content-disposition')?.[0] ?? '', /^inline/);
    assert.ok(part?.body.equals(image));
  });

  test('sender, reply address and return path', async () => {
    await using mail = await startMail({
      allowedFrom: ['Shop.Example', 'news.example'],
      replyTo: 'help@shop.example',
      returnPath: 'bounce@mail.shop.example',
    });
    const received = await mail.deliver({
      content: { subject: 'Hi', text: 'Hi', from: { address: 'letter@News.example', name: 'N' } },
    });
    assert.equal(header(received, 'from'), 'N <letter@news.example>');
    assert.equal(header(received, 'reply-to'), 'help@shop.example');
    assert.equal(header(received, 'message-id'), '<msg_00h4p8s3t6w@news.example>');
    assert.equal(received.from, 'bounce+msg_00h4p8s3t6w@mail.shop.example');
    const other = await mail.deliver({
      content: { subject: 'Hi', text: 'Hi', replyTo: 'ada@shop.example' },
    });
    assert.equal(header(other, 'reply-to'), 'ada@shop.example');
  });

  test('the preheader is hidden in the body and is text', async () => {
    await using mail = await startMail();
    const received = await mail.deliver({
      content: { subject: 'Hi', html: '<html><body class="a">Hi', preheader: 'a <b> & c' },
    });
    assert.match(
      readParts(received.raw)[0]?.body.toString() ?? '',
      /^<html><body class="a"><div style="display:none;[^"]*">a &lt;b&gt; &amp; c<\/div>Hi/,
    );
  });

  test('one-click unsubscription is signed with the rest', async () => {
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    await using mail = await startMail({
      dkim: { domain: 'shop.example', selector: 's1' },
      dkimPrivateKey: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    });
    const received = await mail.deliver({
      content: {
        subject: '你好',
        text: 'Hi',
        unsubscribeUrl: `https://shop.example/u/${'a'.repeat(800)}`,
      },
    });
    assert.equal(
      header(received, 'list-unsubscribe'),
      `<https://shop.example/u/${'a'.repeat(800)}>`,
    );
    assert.equal(header(received, 'list-unsubscribe-post'), 'List-Unsubscribe=One-Click');

    const { tags, signed } = canonicalHeaders(received.raw);
    assert.equal(tags.get('d'), 'shop.example');
    assert.equal(tags.get('s'), 's1');
    const covered = tags.get('h')?.toLowerCase().split(':') ?? [];
    for (const name of ['from', 'to', 'subject', 'list-unsubscribe', 'list-unsubscribe-post']) {
      assert.ok(covered.includes(name), `${name} is signed`);
    }
    const signature = Buffer.from((tags.get('b') ?? '').replace(/\s/g, ''), 'base64');
    const verify = (text: string) =>
      createVerify('RSA-SHA256').update(text, 'latin1').verify(publicKey, signature);
    assert.ok(verify(signed));
    assert.ok(!verify(signed.replace('One-Click', 'Two-Click')));
  });
});

function toAscii(address: string): string {
  return addressOf(address).address;
}

/** RFC 6376, 3.4.2 and 3.7: the signed headers in relaxed form, and the tags of the signature. */
function canonicalHeaders(raw: Buffer): { tags: Map<string, string>; signed: string } {
  const [head = ''] = raw.toString('latin1').split('\r\n\r\n', 1);
  const fields = head.split(/\r\n(?![ \t])/).map((field) => {
    const colon = field.indexOf(':');
    const value = field
      .slice(colon + 1)
      .replace(/\r\n/g, '')
      .replace(/[ \t]+/g, ' ')
      .trim();
    return { name: field.slice(0, colon).toLowerCase(), value };
  });
  const find = (name: string) => fields.findLast((field) => field.name === name)?.value ?? '';
  const signature = find('dkim-signature');
  const tags = new Map(
    signature.split(';').map((tag) => {
      const [name = '', ...value] = tag.split('=');
      return [name.trim(), value.join('=').trim()];
    }),
  );
  const covered = (tags.get('h') ?? '').split(':').map((name) => name.trim().toLowerCase());
  const lines = covered.map((name) => `${name}:${find(name)}\r\n`);
  return {
    tags,
    signed: `${lines.join('')}dkim-signature:${signature.replace(/(\bb=).*$/, '$1')}`,
  };
}
