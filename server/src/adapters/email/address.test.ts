import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import addressparser from 'nodemailer/lib/addressparser';
import { maskEmailAddress, parseEmailAddress } from './address.ts';

const local64 = 'l'.repeat(64);
const label63 = 'd'.repeat(63);
const domain189 = `${`${'d'.repeat(60)}.`.repeat(3)}dd.com`;

describe('email address', () => {
  const accepted: [text: string, normalized: string][] = [
    ['ada@example.com', 'ada@example.com'],
    ['Ada@EXAMPLE.Com', 'Ada@example.com'],
    ['a@b.co', 'a@b.co'],
    ['a.b.c@example.com', 'a.b.c@example.com'],
    ['ada+tag@example.com', 'ada+tag@example.com'],
    ["o'neil@example.ie", "o'neil@example.ie"],
    ["#$&'*+/?=^_`{|}~-@example.com", "#$&'*+/?=^_`{|}~-@example.com"],
    ['12345@qq.com', '12345@qq.com'],
    ['a@1.2.3.com', 'a@1.2.3.com'],
    ['a@x-1--2.example', 'a@x-1--2.example'],
    ['ada@例子.中国', 'ada@xn--fsqu00a.xn--fiqs8s'],
    ['ada@xn--fsqu00a.xn--fiqs8s', 'ada@xn--fsqu00a.xn--fiqs8s'],
    ['ada@XN--FSQU00A.XN--FIQS8S', 'ada@xn--fsqu00a.xn--fiqs8s'],
    ['ada@Bücher.DE', 'ada@xn--bcher-kva.de'],
    // The same letter composed and decomposed is one address.
    ['ada@b\u00fccher.de', 'ada@xn--bcher-kva.de'],
    ['ada@bu\u0308cher.de', 'ada@xn--bcher-kva.de'],
    ['ada@straße.de', 'ada@xn--strae-oqa.de'],
    [`${local64}@example.com`, `${local64}@example.com`],
    [`a@${label63}.com`, `a@${label63}.com`],
    [`${'l'.repeat(64)}@${domain189}`, `${'l'.repeat(64)}@${domain189}`],
    ['delivered@simulate.invalid', 'delivered@simulate.invalid'],
  ];
  for (const [text, normalized] of accepted) {
    test(`takes ${text.slice(0, 60)}`, () => {
      const parsed = parseEmailAddress(text);
      assert.ok(parsed.ok);
      assert.equal(parsed.normalized, normalized);
      assert.equal(parsed.address.address, normalized);
      assert.equal(`${parsed.address.localPart}@${parsed.address.domain}`, normalized);
    });
  }

  const refused: Record<string, string[]> = {
    'header injection': [
      'b@y.io\r\nBcc: evil@z.io',
      'b@y.io\nBcc: evil@z.io',
      'b@y.io\rBcc: evil@z.io',
      'b@y.io\r\n',
      '\r\nb@y.io',
      'b\r\n@y.io',
      'b@y\r\n.io',
      'b@y.io\0',
      'b\0@y.io',
      'b@y.io\u0085Bcc: e@z.io',
      'b@y.io\u2028Bcc: e@z.io',
      'b@y.io\u2029',
      'b@y.io\tx',
      'b@y.io\u000b',
      'b@y.io\u001b[2J',
      'b@y.io\u007f',
    ],
    'encoded line breaks': [
      'b%0d%0aBcc:evil@z.io',
      'b@y.io%0d%0aBcc:evil@z.io',
      'b%0d%0a@y.io',
      'b@y%0d%0a.io',
      'b@y.io&#13;&#10;',
      '=?utf-8?q?b=40y.io?=',
      '=?utf-8?q?b?=@y.io',
      '=?x?q?b=40z.io=3e=00?=a@y.io',
    ],
    'SMTP injection': [
      'b@y.io> SIZE=1',
      'b@y.io>\r\nRCPT TO:<evil@z.io',
      '<b@y.io> NOTIFY=NEVER',
      'b@y.io ORCPT=rfc822;x',
    ],
    lists: [
      'a@x.io, b@y.io',
      'a@x.io,b@y.io',
      'a@x.io;b@y.io',
      'a@x.io b@y.io',
      'a@x.io,',
      ',a@x.io',
      ';a@x.io',
      'a@x.io, ,',
    ],
    groups: ['friends:a@x.io,b@y.io;', 'undisclosed-recipients:;', 'g: a@x.io;', ':a@x.io'],
    'display names': [
      'Ada <a@x.io>',
      'x <a@b.io>',
      '<a@x.io>',
      'a@x.io <b@y.io>',
      '"a@x.io" <b@y.io>',
      '"Ada, Countess" <a@x.io>',
      'a@x.io (Ada)',
      '(comment)a@x.io',
      'a(comment)@x.io',
      'a@(comment)x.io',
      'a@x.io<script>',
    ],
    'quoted local parts': [
      '"a"@x.io',
      '"a b"@x.io',
      '"a@b"@x.io',
      '"a\\"b"@x.io',
      '"\r\nBcc: e@z.io"@x.io',
      '""@x.io',
      '"a".b@x.io',
      'a\\@b@x.io',
      'a\\ b@x.io',
    ],
    'several @': ['a@b@c.io', 'a@@b.io', '@a@b.io', 'a@b.io@', 'user@evil.io@good.io'],
    'source routes': [
      '@relay.io:a@x.io',
      '@a.io,@b.io:c@x.io',
      'a%x.io@relay.io',
      'relay!a@x.io',
      'relay.io!a@x.io',
    ],
    'addresses of machines': [
      'a@[127.0.0.1]',
      'a@[IPv6:::1]',
      'a@[x@evil.io]',
      'a@127.0.0.1',
      'a@127.1',
      'a@2130706433',
      'a@0x7f.0.0.1',
      'a@0x7f000001',
      'a@1.2.3.0x4',
      'a@::1',
      'a@x.io:25',
      'a@localhost',
      'root@intranet',
      'a@169.254.169.254',
    ],
    dots: [
      '.a@x.io',
      'a.@x.io',
      'a..b@x.io',
      'a@.x.io',
      'a@x.io.',
      'a@x..io',
      'a@.',
      '.@x.io',
      'a@x.',
      '..@..',
    ],
    'bad domains': [
      'a@-x.io',
      'a@x-.io',
      'a@x.-io',
      'a@x.i',
      'a@x.1',
      'a@x_y.io',
      'a@x/y.io',
      'a@x.io/y',
      'a@x.io?y',
      'a@x.io#y',
      'a@x%2eio',
      'a@ex%61mple.com',
      'a@x\\y.io',
      'a@x.io|',
      'a@*.io',
      'a@xn--.com',
      'a@xn--zzzzzzzz.com',
      'a@xn--example.com',
      'a@例子.中国/x',
      'a@例子.中国:25',
      'a@%e4%be%8b.中国',
      'a@-例.com',
      'a@例-.com',
      'a@例..com',
    ],
    'other things': [
      '',
      ' ',
      '@',
      'a',
      'a@',
      '@x.io',
      'mailto:a@x.io',
      'MAILTO:a@x.io?bcc=e@z.io',
      'smtp:a@x.io',
      'https://a@x.io',
      ' a@x.io',
      'a@x.io ',
      'a @x.io',
      'a@ x.io',
      'a@x .io',
      '-oQ/tmp@x.io',
      '-a@x.io',
      '{{ user.email }}',
      "' OR 1=1--@x.io",
      'a@x.io\u00a0',
    ],
    'look-alikes': [
      'a＠x.io', // fullwidth @
      'a﹫x.io', // small @
      'ａ@x.io', // fullwidth letter in front
      'a@ｘ.io', // and behind: maps to a domain that was not written
      'a@x。io', // ideographic full stop
      'a@x．io',
      'a@x｡io',
      'a@x․io', // one dot leader
      'a@①.com',
      'a@ﬁsh.com', // ligature
      'a@𝐱.com', // mathematical bold
      'a@x\u2024io',
      'a@x∕y.io', // division slash
      'a@😀.com',
      'a＜b@x.io',
      'b@y.io，c@z.io', // fullwidth comma
    ],
    invisible: [
      'a\u200b@x.io',
      'a@x\u200b.io',
      'a@x\u00ad.io', // soft hyphen: domainToASCII drops it
      'a@x\ufeff.io',
      '\ufeffa@x.io',
      'a@x\u2060.io',
      'a@x\ufe0f.io', // variation selector
      'a@\u3164.com', // Hangul filler, a letter by category
      'a@x\u115f.com',
      '\u202ea@x.io', // right-to-left override
      'a@x\u202e.io',
      'a@\u2066x.io',
      'a@x\u034f.io',
    ],
    'local parts that are not ASCII': [
      '用户@example.com',
      'é@example.com',
      'а@example.com',
      '😀@x.io',
    ],
    'lone surrogates': ['\ud800@x.io', 'a@\ud800.io', 'a@例\udc00.io'],
    'too long': [
      `${local64}l@example.com`,
      `a@d${label63}.com`,
      `${local64}@${domain189}d`,
      `a@${'d.'.repeat(127)}com`,
      `${'a'.repeat(100_000)}@x.io`,
      `a@${'例'.repeat(60)}.com`,
      '@'.repeat(254),
    ],
  };
  for (const [kind, texts] of Object.entries(refused)) {
    test(`refuses ${kind}`, () => {
      for (const text of texts) {
        const parsed = parseEmailAddress(text);
        assert.ok(!parsed.ok, JSON.stringify(text));
        assert.match(parsed.message, /^The email address .+\.$/);
      }
    });
  }

  test('says what is wrong', () => {
    const fault = (text: string) => {
      const parsed = parseEmailAddress(text);
      return parsed.ok ? '' : parsed.message;
    };
    assert.match(fault('Ada<a@x.io>'), /display name/);
    assert.match(fault('a@x.io,b@y.io'), /list/);
    assert.match(fault('a@b@c.io'), /more than one @/);
    assert.match(fault('用户@例子.中国'), /other than ASCII before the @/);
    assert.match(fault('a@[10.0.0.1]'), /IP address/);
    assert.match(fault('a@x.io\r\n'), /control/);
  });

  test('whatever is accepted reads as exactly itself in a header', () => {
    const atext = fc.stringMatching(/^[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~@ "(),:;<>[\]\\-]{1,12}$/);
    const domain = fc.oneof(fc.domain(), fc.stringMatching(/^[a-z0-9.@[\]-]{1,12}$/));
    let taken = 0;
    fc.assert(
      fc.property(atext, domain, (localPart, host) => {
        const parsed = parseEmailAddress(`${localPart}@${host}`);
        if (!parsed.ok) return;
        taken += 1;
        assert.deepEqual(addressparser(parsed.normalized), [
          { address: parsed.normalized, name: '' },
        ]);
      }),
      { numRuns: 2000 },
    );
    assert.ok(taken > 100, `${taken} accepted`);
  });

  test('hides who it is', () => {
    assert.equal(maskEmailAddress('ada@example.com'), 'a***@example.com');
    assert.equal(maskEmailAddress('ada@例子.中国'), 'a***@xn--fsqu00a.xn--fiqs8s');
    assert.equal(maskEmailAddress('a@example.com'), '***@example.com');
    assert.equal(maskEmailAddress('Ada <ada@example.com>'), '***');
    assert.equal(maskEmailAddress(''), '***');
  });
});
