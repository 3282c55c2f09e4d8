import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { runAdapterConformance } from '../conformance.ts';
import adapter from './adapter.ts';
import { PAYLOAD_LIMIT_BYTES } from './content.ts';

runAdapterConformance(adapter, {
  valid: [
    'https://hooks.example.com/tidings/a?key=secret',
    'HTTP://Hooks.Example.com:80/x',
    'https://bücher.example/ü',
    'whe_00h4p8s3t6v',
    'https://127.0.0.1/x',
  ],
  invalid: [
    '',
    'hooks.example.com/x',
    'ftp://example.com/',
    'https://user@example.com/',
    'https://example.com/#fragment',
    'https://exa mple.com/',
    'https:example.com',
    'whe_',
    'whe_00h4p8s3t6',
    'whe_00h4p8s3t6vv',
    'whe_00h4p8s3t6u',
    'WHE_00h4p8s3t6v',
    'msg_00h4p8s3t6v',
    'mailto:ada@example.com',
  ],
  content: [
    { payload: {} },
    { payload: { order: { id: 7, items: ['{{ name }}'] }, ok: true, none: null } },
    { payload: { text: 'a'.repeat(PAYLOAD_LIMIT_BYTES - 11) } },
  ],
  invalidContent: [
    { content: { payload: { text: 'a'.repeat(PAYLOAD_LIMIT_BYTES - 10) } }, path: 'payload' },
    // 3 bytes each in UTF-8.
    { content: { payload: { text: '字'.repeat(PAYLOAD_LIMIT_BYTES / 3) } }, path: 'payload' },
  ],
});

describe('addresses', () => {
  test('an endpoint or a URL in its normal spelling', () => {
    const endpoint = adapter.parseAddress('whe_00h4p8s3t6v');
    assert.ok(endpoint.ok && 'endpointId' in endpoint.address);
    const url = adapter.parseAddress('HTTPS://Hooks.Example.com:443/A');
    assert.deepEqual(url, {
      ok: true,
      address: { url: 'https://hooks.example.com/A' },
      normalized: 'https://hooks.example.com/A',
    });
  });

  test('are masked to scheme and host', () => {
    assert.equal(
      adapter.maskAddress('https://hooks.example.com:8443/T1/B2/secret?key=x'),
      'https://hooks.example.com:8443',
    );
    assert.equal(adapter.maskAddress('whe_00h4p8s3t6v'), 'whe_***t6v');
    assert.equal(adapter.maskAddress('nonsense'), '***');
  });
});

describe('neutral content', () => {
  test('the payload is sent as it is', () => {
    const payload = { a: { b: ['{{ c }}'] } };
    assert.deepEqual(adapter.fromContent({ title: 'T', text: 'X', payload }), { payload });
    assert.deepEqual(adapter.fromContent({ payload: {} }), { payload: {} });
  });

  test('without one, what it says to a person', () => {
    const actions = [{ label: 'Open', url: 'https://example.com/' }];
    const shown = {
      title: 'T',
      text: 'X',
      markdown: '*X*',
      url: 'https://e.example/',
      imageUrl: 'https://e.example/i',
      actions,
    };
    assert.deepEqual(adapter.fromContent({ ...shown, subject: 'S', html: '<p>X</p>' }), {
      payload: shown,
    });
    assert.deepEqual(adapter.fromContent({ subject: 'S' }), { payload: { title: 'S' } });
  });

  test('nothing of it, or too much, is no webhook', () => {
    assert.equal(adapter.fromContent({ html: '<p>X</p>' }), undefined);
    assert.equal(adapter.fromContent({ text: '字'.repeat(100_000) }), undefined);
  });
});
