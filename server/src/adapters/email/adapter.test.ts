import { runAdapterConformance } from '../conformance.ts';
import adapter from './adapter.ts';

const base64 = (text: string) => Buffer.from(text).toString('base64');
const withAttachment = (attachment: object) => ({
  subject: 'Files',
  text: 'See above.',
  attachments: [{ filename: 'a.txt', contentBase64: base64('a'), ...attachment }],
});
const withHeader = (name: string) => ({ subject: 'Hi', text: 'Hi', headers: { [name]: 'x' } });

runAdapterConformance(adapter, {
  valid: ['ada@example.com', 'Ada.Lovelace+news@Mail.Example.CO.UK', 'ada@例子.中国', 'x@a-b.io'],
  invalid: ['', 'ada', 'ada@', '@example.com', 'ada@localhost', 'ada@example.com, b@example.com'],
  content: [
    { subject: 'Hi', text: 'Hello' },
    { subject: '你好', html: '<p>你好</p>', preheader: '问候' },
    { subject: 'Hi', text: 'Hi', from: { name: '张三', address: 'shop@example.com' } },
    { subject: 'Hi', text: 'Hi', headers: { 'X-Campaign': 'a b', References: '<a@example.com>' } },
    { subject: 'Hi', text: 'Hi', unsubscribeUrl: 'https://example.com/u/1?a=b' },
    { subject: 'a '.repeat(499), text: 'Hi', replyTo: 'help@example.com' },
    withAttachment({ filename: '发票 2026.pdf', contentType: 'application/pdf' }),
    withAttachment({ contentType: 'text/calendar; charset=utf-8; method=REQUEST' }),
    withAttachment({ contentId: 'logo@example.com', contentType: 'image/png' }),
  ],
  invalidContent: [
    { content: { subject: 'Hi' }, path: 'text' },
    { content: { subject: 'x'.repeat(998), text: 'Hi' }, path: 'subject' },
    { content: { subject: 'Hi', text: 'Hi', replyTo: 'a@x.io, b@y.io' }, path: 'replyTo' },
    {
      content: { subject: 'Hi', text: 'Hi', from: { address: '"CEO" <a@x.io>' } },
      path: 'from.address',
    },
    ...[
      'Bcc',
      'To',
      'From',
      'Sender',
      'Received',
      'DKIM-Signature',
      'List-Unsubscribe',
      'Date',
    ].map((name) => ({ content: withHeader(name), path: `headers.${name}` })),
    ...['X-SMTPAPI', 'X-MC-Subaccount', 'X-SES-Source-ARN', 'x-mailgun-recipient-variables'].map(
      (name) => ({ content: withHeader(name), path: `headers.${name}` }),
    ),
    ...[
      'http://example.com/u',
      'https://ada@example.com/',
      'https://:pw@example.com/',
      'https://example.com/\r\nBcc: e@x.io',
      'https://example.com/> <https://evil.example/',
      'javascript:alert(1)',
    ].map((unsubscribeUrl) => ({
      content: { subject: 'Hi', text: 'Hi', unsubscribeUrl },
      path: 'unsubscribeUrl',
    })),
    ...['../a', '/etc/passwd', 'a\\b', '..', 'a\0.txt', 'a\r\nb', 'exe.\u202egpj', ' a'].map(
      (filename) => ({ content: withAttachment({ filename }), path: 'attachments.0.filename' }),
    ),
    ...[
      'text',
      'text/',
      'text/plain\r\nBcc: e@x.io',
      'text/plain; name="a"',
      'multipart/mixed',
      'message/rfc822',
      'Message/Partial',
    ].map((contentType) => ({
      content: withAttachment({ contentType }),
      path: 'attachments.0.contentType',
    })),
    ...['a', 'a===', '=', 'YQ', 'YQ==\n', 'Y Q=', 'YQ=a', 'Y-_=', ''].map((contentBase64) => ({
      content: withAttachment({ contentBase64 }),
      path: 'attachments.0.contentBase64',
    })),
    ...['a b', '<a>', 'a@b@c', 'a\r\nb'].map((contentId) => ({
      content: withAttachment({ contentId }),
      path: 'attachments.0.contentId',
    })),
    {
      content: withAttachment({ contentBase64: 'A'.repeat(4 * Math.ceil((10 * 2 ** 20) / 3)) }),
      path: 'attachments',
    },
  ],
});
