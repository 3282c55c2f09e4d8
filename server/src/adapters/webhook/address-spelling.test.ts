/** The guard against random spellings, with ipaddr.js on the plain address as the judge. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import ipaddr from 'ipaddr.js';
import { createAddressGuard } from './address-guard.ts';

const guard = createAddressGuard();

describe('any spelling is judged like the address it means', () => {
  const DIGITS: Record<string, string> = {
    ascii: '0123456789',
    full: '０１２３４５６７８９',
    circled: '⓪①②③④⑤⑥⑦⑧⑨',
    bold: '𝟎𝟏𝟐𝟑𝟒𝟓𝟔𝟕𝟖𝟗',
  };
  const redraw = (text: string, style: string) => {
    const digits = [...(DIGITS[style] ?? '')];
    return text.replace(/[0-9]/g, (digit) => digits[Number(digit)] ?? digit);
  };
  const spellNumber = (value: number, radix: number, zeros: number) => {
    if (radix === 16) return `0x${'0'.repeat(zeros)}${value.toString(16)}`;
    return radix === 8 ? `0${'0'.repeat(zeros)}${value.toString(8)}` : String(value);
  };
  const inside = fc.constantFrom(
    0x7f000001,
    0xa9fea9fe,
    0x0a000001,
    0xc0a80101,
    0xa83f8110,
    0x64400001,
    0,
    0xffffffff,
  );
  const ipv4 = fc
    .record({
      value: fc.oneof(inside, fc.integer({ min: 0, max: 0xffffffff })),
      parts: fc.integer({ min: 1, max: 4 }),
      radixes: fc.array(fc.constantFrom(8, 10, 16), { minLength: 4, maxLength: 4 }),
      zeros: fc.integer({ min: 0, max: 3 }),
      style: fc.constantFrom(...Object.keys(DIGITS)),
      dot: fc.constantFrom('.', '。', '．', '｡', '%2e'),
      end: fc.constantFrom('', '.'),
    })
    .map(({ value, parts, radixes, zeros, style, dot, end }) => {
      const octets = [24, 16, 8, 0].map((shift) => (value >>> shift) & 0xff);
      const head = octets.slice(0, parts - 1);
      const rest = octets.slice(parts - 1).reduce((sum, octet) => sum * 256 + octet, 0);
      const numbers = [...head, rest].map((number, i) =>
        spellNumber(number, radixes[i] ?? 10, zeros),
      );
      return { octets, host: numbers.map((number) => redraw(number, style)).join(dot) + end };
    });

  test('IPv4', () => {
    let refused = 0;
    fc.assert(
      fc.property(ipv4, ({ octets, host }) => {
        const address = new ipaddr.IPv4(octets);
        const expected = address.range() === 'unicast' && address.toString() !== '168.63.129.16';
        const checked = guard.checkUrl(`https://${host}/`);
        assert.equal(checked.ok, expected, `${host} is ${address}`);
        assert.equal(guard.refusalOf(address.toString()) === undefined, expected);
        if (checked.ok) assert.equal(checked.url.hostname, address.toString());
        else refused++;
      }),
      { numRuns: 30000 },
    );
    assert.ok(refused > 500, 'both kinds were tried');
  });

  const group = fc.integer({ min: 0, max: 0xffff });
  const prefix = fc.constantFrom<number[]>(
    [],
    [0x2606, 0x4700],
    [0x2a00],
    [0x2002],
    [0x2001, 0],
    [0x2001, 0xdb8],
    [0x64, 0xff9b, 0, 0, 0, 0],
    [0, 0, 0, 0, 0, 0xffff],
    [0, 0, 0, 0, 0, 0],
    [0xfe80],
    [0xfd00],
    [0x2600, 0, 0, 0, 0, 0x5efe],
  );
  const ipv6 = fc
    .record({
      groups: fc.tuple(prefix, fc.array(group, { minLength: 8, maxLength: 8 })),
      upper: fc.boolean(),
      zeros: fc.boolean(),
      dotted: fc.boolean(),
      compressed: fc.boolean(),
    })
    .map(({ groups: [start, rest], upper, zeros, dotted, compressed }) => {
      const parts = [...start, ...rest].slice(0, 8);
      const texts = parts.map((part) => part.toString(16).padStart(zeros ? 4 : 1, '0'));
      if (dotted) {
        const [high = 0, low = 0] = parts.slice(6);
        texts.splice(6, 2, [high >> 8, high & 0xff, low >> 8, low & 0xff].join('.'));
      }
      const full = texts.join(':');
      const short = compressed
        ? full.replace(/^(0+:){2,}|(:0+){2,}(?=:)/, (run) => (run.startsWith(':') ? ':' : '::'))
        : full;
      return { parts, host: upper ? short.toUpperCase() : short };
    });

  test('IPv6', () => {
    let accepted = 0;
    fc.assert(
      fc.property(ipv6, ({ parts, host }) => {
        const address = new ipaddr.IPv6(parts);
        const [first = 0] = parts;
        const isatap = ((parts[4] ?? 0) & 0xfdff) === 0 && parts[5] === 0x5efe;
        const inner = ipaddr.IPv4.parse(
          [6, 7].flatMap((i) => [(parts[i] ?? 0) >> 8, (parts[i] ?? 0) & 0xff]).join('.'),
        );
        const hidden =
          isatap && (inner.range() !== 'unicast' || inner.toString() === '168.63.129.16');
        const global = first >= 0x2000 && first <= 0x3fff;
        const expected = global && address.range() === 'unicast' && !hidden;
        assert.equal(guard.checkUrl(`https://[${host}]/`).ok, expected, `${host} is ${address}`);
        assert.equal(guard.refusalOf(address.toString()) === undefined, expected);
        if (expected) accepted++;
      }),
      { numRuns: 30000 },
    );
    assert.ok(accepted > 200, 'both kinds were tried');
  });

  // Any UTF-16, also halves of pairs.
  const anyText = fc
    .array(fc.integer({ min: 0, max: 0xffff }))
    .map((units) => String.fromCharCode(...units));

  const likely = fc
    .array(fc.constantFrom(...'abcx01289.-_:/@%[]?#\\~é①。', 'xn--', '127.0.0.1', '.com'))
    .map((parts) => parts.join(''));

  test('any text at all is checked without an error', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          anyText,
          likely.map((text) => `https://${text}`),
        ),
        (text) => {
          const checked = guard.checkUrl(text);
          if (checked.ok) assert.ok(guard.checkUrl(checked.url.href).ok);
        },
      ),
      { numRuns: 3000 },
    );
  });
});
