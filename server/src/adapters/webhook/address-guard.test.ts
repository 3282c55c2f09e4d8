import assert from 'node:assert/strict';
import type { LookupAddress } from 'node:dns';
import { describe, test } from 'node:test';
import {
  type AddressGuard,
  AddressNotAllowedError,
  createAddressGuard,
  type ResolveAll,
} from './address-guard.ts';

const guard = createAddressGuard();

function refuses(subject: AddressGuard, url: string): string {
  const checked = subject.checkUrl(url);
  assert.ok(!checked.ok, `${url} is refused`);
  return checked.message;
}

function accepts(subject: AddressGuard, url: string): string {
  const checked = subject.checkUrl(url);
  assert.ok(checked.ok, `${url} is accepted, but ${checked.ok ? '' : checked.message}`);
  return checked.url.href;
}

describe('hosts that lead inside', () => {
  const hosts: Record<string, string[]> = {
    'loopback 127/8': ['127.0.0.1', '127.255.255.254', '127.0.0.53'],
    'private networks': [
      '10.0.0.1',
      '10.255.255.255',
      '172.16.0.1',
      '172.31.255.255',
      '192.168.1.1',
    ],
    'link-local and metadata': [
      '169.254.169.254',
      '169.254.170.2',
      '169.254.0.23',
      '169.254.42.42',
    ],
    'shared address space 100.64/10': ['100.64.0.1', '100.127.255.255', '100.100.100.200'],
    'Azure, which ipaddr.js takes for unicast': ['168.63.129.16'],
    'this host': ['0.0.0.0', '0.1.2.3', '[::]'],
    'special purpose': [
      '192.0.0.1',
      '192.0.0.192',
      '192.0.2.1',
      '192.88.99.1',
      '198.18.0.1',
      '198.51.100.1',
      '203.0.113.1',
      '192.31.196.1',
      '192.52.193.1',
      '192.175.48.1',
    ],
    'multicast, reserved, broadcast': [
      '224.0.0.1',
      '239.255.255.255',
      '240.0.0.1',
      '255.255.255.255',
    ],
    decimal: ['2130706433', '3232235777', '2852039166', '4294967295', '0'],
    octal: ['0177.0.0.1', '00000177.00.00.01', '017700000001', '0251.0376.0251.0376'],
    hexadecimal: ['0x7f000001', '0x7f.0x0.0x0.0x1', '0X7F.1', '0xA9FEA9FE', '0x'],
    short: ['127.1', '127.0.1', '10.1', '192.168.257', '169.16689662'],
    mixed: ['0x7f.1', '0177.0x0.1', '127.0.0x1', '0xa9.254.0251.0xfe'],
    'trailing dots': [
      '127.0.0.1.',
      '127.1.',
      '0x7f.1.',
      'localhost.',
      'example.com.',
      'example.com..',
    ],
    'circled, fullwidth and other digits': [
      '①②⑦.⓪.⓪.①',
      '⑩.⓪.⓪.①',
      '①⑥⑨.②⑤④.①⑥⑨.②⑤④',
      '１２７.0.0.1',
      '𝟙𝟚𝟟.𝟘.𝟘.𝟙',
      '127。0。0。1',
      '127．0．0．1',
      '127｡0｡0｡1',
      '０ｘ７ｆ．１',
      '²¹³0706433',
    ],
    'percent-encoded': ['%31%32%37.0.0.1', '127%2E0%2E0%2E1', '%6c%6f%63%61%6c%68%6f%73%74'],
    'IPv6 loopback and link-local': [
      '[::1]',
      '[0:0:0:0:0:0:0:1]',
      '[0000::0001]',
      '[fe80::1]',
      '[febf::1]',
    ],
    'IPv6 unique local and site-local': [
      '[fc00::1]',
      '[fd00:ec2::254]',
      '[fd20:ce::254]',
      '[fec0::1]',
    ],
    'IPv4-mapped': [
      '[::ffff:127.0.0.1]',
      '[::ffff:7f00:1]',
      '[::FFFF:169.254.169.254]',
      '[0:0:0:0:0:ffff:a00:1]',
      '[::ffff:8.8.8.8]',
    ],
    'IPv4-compatible and translated': ['[::127.0.0.1]', '[::a00:1]', '[::ffff:0:127.0.0.1]'],
    NAT64: ['[64:ff9b::127.0.0.1]', '[64:ff9b::a9fe:a9fe]', '[64:ff9b:1::1]'],
    '6to4': ['[2002:7f00:1::]', '[2002:a9fe:a9fe::1]', '[2002:808:808::1]'],
    Teredo: ['[2001::1]', '[2001:0:7f00:1::]', '[2001:0:4136:e378:8000:63bf:3fff:fdd2]'],
    ISATAP: ['[2600::5efe:10.0.0.1]', '[2600::200:5efe:127.0.0.1]'],
    'IPv6 special purpose': [
      '[2001:db8::1]',
      '[3fff::1]',
      '[2001:2::1]',
      '[2001:10::1]',
      '[2001:20::1]',
      '[100::1]',
      '[5f00::1]',
      '[ff02::1]',
      '[4000::1]',
      '[8000::1]',
    ],
    'names of the machine': [
      'localhost',
      'LOCALHOST',
      'foo.localhost',
      'a.b.localhost',
      'localhost.localdomain',
      'localhost6',
      'ip6-localhost',
      'ｌｏｃａｌｈｏｓｔ',
      'ⓛⓞⓒⓐⓛⓗⓞⓢⓣ',
      'lo\u00adcalhost',
      'ℒocalhost',
    ],
    'names of the network': [
      'printer.local',
      'db.internal',
      'x.localdomain',
      'nas.lan',
      'wiki.corp',
      'a.intranet',
      'router.home.arpa',
      'redis',
      'tidings_db',
    ],
    'names of metadata services': [
      'metadata.google.internal',
      'METADATA.GOOGLE.INTERNAL',
      'metadata',
      'metadata.goog',
      'instance-data',
      'metadata.tencentyun.com',
    ],
    'malformed names': [
      '1.2.3.4.5',
      '256.256.256.256',
      'a..b.com',
      '-a.com',
      `${'a'.repeat(64)}.com`,
    ],
    'zone identifiers': ['[fe80::1%lo]', '[::1%25lo]'],
  };
  for (const [kind, list] of Object.entries(hosts)) {
    test(kind, () => {
      for (const host of list) {
        for (const scheme of ['https', 'http']) {
          refuses(guard, `${scheme}://${host}/`);
          refuses(guard, `${scheme}://${host}:8443/path?query`);
          refuses(createAddressGuard({ allowHttp: true }), `${scheme}://${host}/`);
        }
      }
    });
  }

  test('what is not about the host', () => {
    const urls = [
      'http://example.com/',
      'https://user@example.com/',
      'https://user:password@example.com/',
      'https://:@example.com/',
      'https://@example.com/',
      'https://example.com@127.0.0.1/',
      'https://127.0.0.1@example.com/',
      'https://example.com/#fragment',
      'https://example.com/#',
      'https://example.com\\@127.0.0.1/',
      'https:\\\\example.com/',
      'https:example.com',
      'https:/example.com',
      'https:///example.com/',
      'https://',
      'https://?x',
      '//example.com/',
      'example.com',
      '/path',
      '',
      'ftp://example.com/',
      'file:///etc/passwd',
      'gopher://example.com:6379/_x',
      'javascript:alert(1)',
      'data:text/plain,x',
      'ws://example.com/',
      'unix:/var/run/docker.sock',
      ' https://example.com/',
      'https://example.com/ ',
      'https://exam\nple.com/',
      'ht\ttps://example.com/',
      'https://example.com/a b',
      'https://example.com/\0',
      'https://example.com/\u2028',
      'https://example.com:0/',
      'https://example.com:22/',
      'https://example.com:25/',
      'https://example.com:6667/',
      'https://example.com:65536/',
      'https://example.com:-1/',
      'https://example.com:80x/',
      `https://example.com/${'a'.repeat(2048)}`,
      // Longer than the limit only once it is spelled normally.
      `https://example.com/${'字'.repeat(300)}`,
    ];
    for (const url of urls) assert.notEqual(refuses(guard, url), '');
  });
});

test('public hosts are accepted in their normal spelling', () => {
  const urls: [string, string][] = [
    ['https://example.com', 'https://example.com/'],
    ['HTTPS://EXAMPLE.com:443/A?b=C', 'https://example.com/A?b=C'],
    ['https://bücher.example/ü', 'https://xn--bcher-kva.example/%C3%BC'],
    ['https://例え.jp/', 'https://xn--r8jz45g.jp/'],
    ['https://example.com:8443/x', 'https://example.com:8443/x'],
    ['https://example.com/a@b', 'https://example.com/a@b'],
    ['https://example.com?to=a@b', 'https://example.com/?to=a@b'],
    ['https://8.8.8.8/', 'https://8.8.8.8/'],
    ['https://0x08.8.8.8/', 'https://8.8.8.8/'],
    ['https://[2606:4700:4700::1111]/', 'https://[2606:4700:4700::1111]/'],
    ['https://local.example.com/', 'https://local.example.com/'],
    ['https://internal-tools.example.com/', 'https://internal-tools.example.com/'],
    ['https://a_b.example.com/', 'https://a_b.example.com/'],
    ['https://simulate.invalid/delivered', 'https://simulate.invalid/delivered'],
    // Judged by the addresses behind them when a connection is opened.
    ['https://127.0.0.1.nip.example/', 'https://127.0.0.1.nip.example/'],
  ];
  for (const [url, href] of urls) assert.equal(accepts(guard, url), href);
});

describe('what an operator allows', () => {
  test('http', () => {
    const open = createAddressGuard({ allowHttp: true });
    accepts(open, 'http://example.com/');
    accepts(open, 'http://8.8.8.8:8080/');
    refuses(open, 'http://10.0.0.1/');
  });
  test('networks, by http as well', () => {
    const inside = createAddressGuard({ allowedNetworks: ['10.0.0.0/8', 'fd00:1::/32'] });
    accepts(inside, 'http://10.1.2.3:8080/');
    accepts(inside, 'https://10.1.2.3/');
    accepts(inside, 'http://167772161/');
    accepts(inside, 'http://[fd00:1::5]/');
    refuses(inside, 'http://8.8.8.8/');
    refuses(inside, 'https://192.168.0.1/');
    refuses(inside, 'https://[fd00:2::5]/');
    // Names inside are judged when they are resolved; http needs to be known to stay inside.
    accepts(inside, 'https://receiver.internal/');
    accepts(inside, 'https://receiver/');
    refuses(inside, 'http://receiver/');
    refuses(inside, 'https://localhost/');
  });
  test('the machine itself, also by name', () => {
    const own = createAddressGuard({ allowedNetworks: ['127.0.0.0/8'] });
    accepts(own, 'http://localhost:3000/');
    accepts(own, 'http://127.0.0.1:3000/');
    refuses(own, 'http://[::1]:3000/');
    accepts(createAddressGuard({ allowedNetworks: ['::1/128'] }), 'http://[::1]:3000/');
  });
  test('metadata services never', () => {
    const lax = createAddressGuard({ allowedNetworks: ['0.0.0.0/0', '::/0'], allowHttp: true });
    accepts(lax, 'http://192.168.0.1/');
    accepts(lax, 'http://[fd00::1]/');
    const hosts = [
      '169.254.169.254',
      '168.63.129.16',
      '100.100.100.200',
      '192.0.0.192',
      '0.0.0.0',
      '[fd00:ec2::254]',
      '[fd20:ce::254]',
      '[fe80::a9fe:a9fe]',
      '[::ffff:169.254.169.254]',
      '[::169.254.169.254]',
      '[::ffff:0:169.254.169.254]',
      '[64:ff9b::169.254.169.254]',
      '[2002:a9fe:a9fe::1]',
      '[2001:0:a9fe:a9fe::1]',
      // The client of a Teredo address is stored inverted.
      '[2001:0:808:808:0:0:5601:5601]',
      '[2600::5efe:169.254.169.254]',
      'metadata.google.internal',
      'metadata.goog',
    ];
    for (const host of hosts) refuses(lax, `http://${host}/`);
  });
  test('an IPv4 address inside an IPv6 one must be allowed as well', () => {
    const nat64 = createAddressGuard({ allowedNetworks: ['64:ff9b::/96'] });
    accepts(nat64, 'https://[64:ff9b::8.8.8.8]/');
    refuses(nat64, 'https://[64:ff9b::10.0.0.1]/');
  });
  test('what is denied wins', () => {
    const denying = createAddressGuard({
      allowedNetworks: ['10.0.0.0/8'],
      deniedNetworks: ['10.9.0.0/16', '8.8.0.0/16', '2606:4700::/32'],
    });
    accepts(denying, 'https://10.8.0.1/');
    refuses(denying, 'https://10.9.0.1/');
    refuses(denying, 'https://8.8.8.8/');
    refuses(denying, 'https://[2606:4700:4700::1111]/');
    accepts(denying, 'https://8.9.8.8/');
  });
  test('networks that cannot be read are named', () => {
    for (const network of [
      '10.0.0.0',
      '10.0.0.0/33',
      '010.0.0.0/8',
      '10/8',
      'fd00::/129',
      'x',
      '',
    ]) {
      assert.throws(
        () => createAddressGuard({ allowedNetworks: [network] }),
        (error: Error) =>
          error.message.includes('allowedNetworks') && error.message.includes(`"${network}"`),
      );
      assert.throws(() => createAddressGuard({ deniedNetworks: [network] }), /deniedNetworks/);
    }
  });
});

describe('addresses of connections', () => {
  test('are judged like those of URLs', () => {
    for (const address of [
      '127.0.0.1',
      '::1',
      '::ffff:10.0.0.1',
      'fe80::1%eth0',
      '0.0.0.0',
      'nonsense',
      '',
    ]) {
      assert.notEqual(guard.refusalOf(address), undefined, address);
    }
    for (const address of ['8.8.8.8', '2606:4700:4700::1111']) {
      assert.equal(guard.refusalOf(address), undefined, address);
    }
  });
});

describe('resolved names', () => {
  const answering =
    (...answers: string[][]): ResolveAll =>
    (_hostname, _options, callback) => {
      const addresses = (answers.length > 1 ? answers.shift() : answers[0]) ?? [];
      callback(
        null,
        addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
      );
    };
  const resolve = (
    subject: AddressGuard,
    options: { all?: boolean; family?: number } = { all: true },
  ) =>
    new Promise<string[]>((done, fail) => {
      subject.lookup('hooks.example.com', options, (error, address) => {
        if (error) return fail(error);
        done(
          Array.isArray(address) ? address.map((entry: LookupAddress) => entry.address) : [address],
        );
      });
    });

  test('lose every answer that is not allowed', async () => {
    const lookup = answering([
      '10.0.0.1',
      '8.8.8.8',
      '::1',
      '2606:4700:4700::1111',
      '169.254.169.254',
    ]);
    const subject = createAddressGuard({ lookup });
    assert.deepEqual(await resolve(subject), ['8.8.8.8', '2606:4700:4700::1111']);
    assert.deepEqual(await resolve(subject, {}), ['8.8.8.8']);
  });
  test('are refused when nothing is left, without a word about the address', async () => {
    for (const answers of [['127.0.0.1'], ['10.0.0.1', '::1'], ['::ffff:8.8.8.8'], []]) {
      const subject = createAddressGuard({ lookup: answering(answers) });
      await assert.rejects(resolve(subject), (error: Error) => {
        assert.ok(error instanceof AddressNotAllowedError);
        return answers.every((address) => !error.message.includes(address));
      });
    }
  });
  test('are judged anew each time (DNS rebinding)', async () => {
    const subject = createAddressGuard({ lookup: answering(['8.8.8.8'], ['127.0.0.1']) });
    assert.deepEqual(await resolve(subject), ['8.8.8.8']);
    await assert.rejects(resolve(subject), AddressNotAllowedError);
    await assert.rejects(resolve(subject, {}), AddressNotAllowedError);
  });
  test('that do not resolve keep the error of the resolver', async () => {
    const failing: ResolveAll = (_hostname, _options, callback) =>
      callback(Object.assign(new Error('no such name'), { code: 'ENOTFOUND' }), []);
    await assert.rejects(resolve(createAddressGuard({ lookup: failing })), { code: 'ENOTFOUND' });
  });
  test('are asked of the system by default', async () => {
    await assert.rejects(
      new Promise((done, fail) => {
        guard.lookup('localhost', { all: true }, (error, address) =>
          error ? fail(error) : done(address),
        );
      }),
      AddressNotAllowedError,
    );
  });
});
