import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { contentFields } from '@tidings/contracts/content';
import { Liquid } from 'liquidjs';
import { emailFromContent } from './neutral-content.ts';

const url = 'https://shop.example/o/1?a=b&c=d';
const actions = [{ label: 'Track <it>', url: 'https://shop.example/t' }];

describe('neutral content as email', () => {
  test('the subject is the subject, else the title; without either there is no email', () => {
    assert.deepEqual(emailFromContent({ title: 'T', subject: 'S', text: 'x' }), {
      subject: 'S',
      text: 'x',
    });
    assert.deepEqual(emailFromContent({ title: 'T', text: 'x' }), { subject: 'T', text: 'x' });
    assert.equal(emailFromContent({ text: 'x' }), undefined);
    assert.equal(emailFromContent({ payload: { a: 1 } }), undefined);
  });

  test('the body is text, else markdown, else the title, beside html', () => {
    assert.deepEqual(emailFromContent({ title: 'T', text: 'x', markdown: '*x*', html: '<p>x' }), {
      subject: 'T',
      text: 'x',
      html: '<p>x',
    });
    assert.equal(emailFromContent({ title: 'T', html: '<p>x' })?.['text'], undefined);
    assert.equal(emailFromContent({ title: 'T', payload: {} })?.['text'], 'T');
  });

  test('Markdown is mailed as it is written, which its description says', () => {
    const markdown = '**Friday** [here](https://shop.example)\n\n- <b>a</b>';
    assert.deepEqual(emailFromContent({ title: 'T', markdown }), { subject: 'T', text: markdown });
    assert.match(JSON.stringify(contentFields.markdown), /not made into HTML/);
  });

  test('links follow the body unless they are in it', () => {
    const email = emailFromContent({
      title: 'T',
      text: 'Shipped.',
      html: '<body><p>Shipped.</p></body>',
      url,
      actions,
    });
    assert.equal(email?.['text'], `Shipped.\n\n${url}\n\nTrack <it>: https://shop.example/t`);
    assert.equal(
      email?.['html'],
      '<body><p>Shipped.</p>' +
        '<p><a href="https://shop.example/o/1?a=b&amp;c=d">https://shop.example/o/1?a=b&amp;c=d</a></p>' +
        '<p><a href="https://shop.example/t">Track &lt;it&gt;</a></p></body>',
    );
    const named = emailFromContent({ title: 'T', text: `See ${url}`, url });
    assert.equal(named?.['text'], `See ${url}`);
  });

  test('a link that runs code is left out, an app link is text', () => {
    for (const bad of [
      'javascript:alert(1)',
      ' JavaScript:alert(1)',
      'data:text/html,x',
      'vbscript:x',
    ]) {
      assert.deepEqual(emailFromContent({ title: 'T', text: 'x', html: '<p>x', url: bad }), {
        subject: 'T',
        text: 'x',
        html: '<p>x',
      });
    }
    const app = emailFromContent({ title: 'T', text: 'x', html: '<p>x', url: 'shop://o/1' });
    assert.equal(app?.['text'], 'x\n\nshop://o/1');
    assert.equal(app?.['html'], '<p>x');
  });

  // Content may be rendered before it becomes an email, or afterwards; the two tests are one each.
  test('no rendered value breaks out of a link', () => {
    const evil = '"><script>alert(1)</script>';
    for (const bad of [
      evil,
      `https://x.example/${evil}`,
      `https://x.example/{{${evil}}}`,
      'https://x.example/"onmouseover="alert(1)',
      "https://x.example/'onmouseover='alert(1)",
      'https://x.example/ onmouseover=alert(1)',
      'javascript:alert(1)//https://x.example/',
    ]) {
      const content = { title: 'T', html: '<p>x</p>', url: bad, actions: [{ label: evil, url }] };
      assertHarmless(emailFromContent(content)?.['html']);
    }
  });

  test('no value breaks out of a link when the email is rendered', () => {
    const liquid = new Liquid({ outputEscape: 'escape' });
    const data = { evil: '"><script>alert(1)</script>', scheme: 'javascript:alert(1)//' };
    for (const template of [
      'https://x.example/{{ evil }}',
      'https://x.example/{{ evil | upcase }}?a=b&c=d',
      '{{ scheme }}https://x.example/',
      '{{ scheme }}',
    ]) {
      const actions = [{ label: 'See {{ evil }}', url: template }];
      const email = emailFromContent({ title: 'T', html: '<p>x</p>', url: template, actions });
      assertHarmless(liquid.parseAndRenderSync(String(email?.['html']), data));
    }
  });
});

function assertHarmless(html: unknown): void {
  assert.ok(typeof html === 'string');
  for (const [tag] of html.matchAll(/<[^/][^>]*>?/g)) {
    assert.match(tag, /^(?:<p>|<a href="https:\/\/[^"<>]*">)$/);
  }
}
