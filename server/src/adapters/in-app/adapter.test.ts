import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isSafeLink } from '@tidings/contracts/link';
import { runAdapterConformance } from '../conformance.ts';
import adapter from './adapter.ts';
import { IN_APP_BYTES_LIMIT, inAppFromContent } from './content.ts';

const SAFE = [
  'https://example.com/a?b=c#d',
  'http://例子.中国/路',
  '/orders/42?tab=items',
  'orders/42',
  '#top',
  '?page=2',
  'myapp://order/42',
  'com.example.shop:open',
  'mailto:help@example.com',
  'tel:+861234',
  '{{ url }}',
  'https://example.com/javascript:alert(1)',
  '/javascript:alert(1)',
];

const UNSAFE = [
  'javascript:alert(1)',
  'JavaScript:alert(1)',
  ' javascript:alert(1)',
  '\u0000javascript:alert(1)',
  '\u0001\u001fjavascript:alert(1)',
  'java\nscript:alert(1)',
  'java\tscript\r:alert(1)',
  'javascript\u0085:alert(1)',
  '\u200bjavascript:alert(1)',
  'java\u00adscript:alert(1)',
  '\ufeffjavascript:alert(1)',
  '\u2028javascript:alert(1)',
  'data:text/html,<script>alert(1)</script>',
  'DATA:image/svg+xml;base64,PHN2Zz4=',
  'vbscript:msgbox(1)',
  'file:///etc/passwd',
  'blob:https://example.com/1',
  'filesystem:https://example.com/temporary/x',
  'view-source:javascript:alert(1)',
  'feed:javascript:alert(1)',
  'about:blank',
];

runAdapterConformance(adapter, {
  valid: [
    'user-42',
    '张伟明和李小红',
    ' leading and trailing ',
    'Ada@Example.com',
    '😀😀😀😀😀😀',
    '1',
  ],
  invalid: ['', 'a\nb', 'a\u0000', 'x'.repeat(129), '\u007f', 'a\u0085b', 'half \ud83d'],
  content: [
    { title: 'Shipped' },
    { text: '你好 🎉\nsecond line' },
    ...SAFE.map((url) => ({ title: 'T', url, imageUrl: url, actions: [{ label: 'Open', url }] })),
    { title: 'T', data: { order: { id: 42, lines: [1, null, 'x'] } } },
    { title: 'T', text: 'x'.repeat(IN_APP_BYTES_LIMIT - 23) },
  ],
  invalidContent: [
    { content: {}, path: 'title' },
    { content: { url: '/x' }, path: 'title' },
    ...UNSAFE.flatMap((url) => [
      { content: { title: 'T', url }, path: 'url' },
      { content: { title: 'T', imageUrl: url }, path: 'imageUrl' },
      {
        content: {
          title: 'T',
          actions: [
            { label: 'a', url: '/' },
            { label: 'b', url },
          ],
        },
        path: 'actions.1.url',
      },
    ]),
    { content: { title: 'T', text: 'x'.repeat(IN_APP_BYTES_LIMIT - 22) }, path: 'text' },
    { content: { title: 'T', text: '字'.repeat(30_000) }, path: 'text' },
    { content: { title: 'T', data: { blob: 'x'.repeat(70_000) } }, path: 'data' },
  ],
});

test('what a browser would run is unsafe however it is written', () => {
  for (const link of SAFE) assert.ok(isSafeLink(link), link);
  for (const link of UNSAFE) assert.ok(!isSafeLink(link), JSON.stringify(link));
});

test('whatever the browser’s own parser takes for a script, so does the check', () => {
  const noise = ['', ' ', '\t', '\n', '\r', '\u0000', '\u001f'];
  for (const before of noise) {
    for (const within of ['', '\t', '\n', '\r']) {
      const link = `${before}j${within}avascript:alert(1)`;
      const parsed = URL.parse(link, 'https://example.com');
      assert.equal(parsed?.protocol, 'javascript:', JSON.stringify(link));
      assert.ok(!isSafeLink(link), JSON.stringify(link));
    }
  }
});

test('neutral content is shown by its title and text, with the payload as data', () => {
  assert.deepEqual(
    inAppFromContent({
      title: 'Shipped',
      subject: 'Your order',
      text: 'Friday',
      markdown: '**Friday**',
      html: '<b>Friday</b>',
      url: '/orders/1',
      imageUrl: 'https://x.example/i.png',
      actions: [
        { label: 'Track', url: 'https://x.example/t' },
        { label: 'Hack', url: 'javascript:alert(1)' },
      ],
      payload: { order: 1 },
    }),
    {
      title: 'Shipped',
      text: 'Friday',
      url: '/orders/1',
      imageUrl: 'https://x.example/i.png',
      actions: [{ label: 'Track', url: 'https://x.example/t' }],
      data: { order: 1 },
    },
  );
  assert.deepEqual(inAppFromContent({ subject: 'Only', markdown: '*m* {{ a_b }}' }), {
    title: 'Only',
    text: '*m* {{ a_b }}',
  });
  assert.deepEqual(inAppFromContent({ title: 'T', url: 'data:text/html,x' }), { title: 'T' });
  assert.equal(inAppFromContent({ html: '<p>only</p>' }), undefined);
  assert.equal(inAppFromContent({ payload: { a: 1 } }), undefined);
  assert.equal(inAppFromContent({ title: 'T', text: 'x'.repeat(70_000) }), undefined);
});

test('an address is the user id, exactly', () => {
  for (const id of ['A', 'a', 'a ', ' a', 'Ä', '😀']) {
    assert.deepEqual(adapter.parseAddress(id), { ok: true, address: id, normalized: id });
  }
  assert.equal(adapter.defaultAddress, 'userId');
  assert.equal(adapter.maskAddress('employee-1042'), 'em***42');
  assert.equal(adapter.maskAddress('ada'), '***');
});
