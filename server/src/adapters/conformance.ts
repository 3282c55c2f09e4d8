/**
 * What every adapter and every provider must hold to, as tests. An adapter's test calls
 * `runAdapterConformance` with its definition and examples; a provider's test calls
 * `runProviderConformance` with its definition and a local server that plays the vendor.
 *
 * A bug found in one provider that another could have belongs into the table here.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { ChannelContent, Content } from '@tidings/contracts/content';
import type { Static, TSchema } from '@tidings/contracts/schema';
import fc from 'fast-check';
import { systemClock } from '../clock.ts';
import { checkOf } from '../json-schema.ts';
import type { AdapterDefinition } from './adapter.ts';
import {
  type Delivery,
  type Outcome,
  type ProviderAccount,
  type ProviderDefinition,
  type ProviderServices,
  RESPONSE_LIMIT,
} from './provider.ts';

/** A condition that never ends is a failure, not a wait: nothing here is slow by design. */
const TEST_TIMEOUT = { timeout: 30_000 };

const CONTROL = /\p{Cc}/u;
const CONTROL_CHARACTERS = ['\0', '\t', '\n', '\r', '\r\n', '\u001b', '\u007f', '\u0085', '\u009f'];

export interface AdapterExamples {
  valid: readonly string[];
  invalid: readonly string[];
  content: readonly ChannelContent[];
  /** Content that fits the schema, and the path of the fault that `validate` must report. */
  invalidContent: readonly { content: ChannelContent; path: string }[];
}

export function runAdapterConformance<Address>(
  adapter: AdapterDefinition<Address>,
  examples: AdapterExamples,
): void {
  describe(`adapter ${adapter.channel} conforms`, TEST_TIMEOUT, () => {
    test('its content is a closed object whose properties are described', () => {
      assertDescribed(adapter.contentSchema);
      for (const field of adapter.htmlFields) {
        assert.ok(field in propertiesOf(adapter.contentSchema), `htmlFields names ${field}`);
      }
    });
    test('content is checked by schema and limits', () => {
      for (const content of examples.content) assertAccepted(adapter, content);
      for (const { content, path } of examples.invalidContent) {
        assert.ok(checkOf(adapter.contentSchema).fits(content), `${path}: fits the schema`);
        const paths = adapter.validate(content).map((error) => error.path);
        assert.ok(paths.includes(path), `${path} expected, got ${paths}`);
      }
    });
    test('neutral content becomes content of the channel', () => {
      fc.assert(
        fc.property(neutralContent, (neutral) => {
          const content = adapter.fromContent(neutral);
          if (content !== undefined) assertAccepted(adapter, content);
        }),
      );
    });
    runAddressConformance(adapter, examples);
  });
}

function runAddressConformance<Address>(
  adapter: AdapterDefinition<Address>,
  { valid, invalid }: AdapterExamples,
): void {
  test('addresses have one normal spelling, and masking hides them', () => {
    for (const text of valid) {
      const normalized = normalize(adapter, text);
      assert.equal(normalize(adapter, normalized), normalized);
      for (const spelling of [text, normalized]) {
        const masked = adapter.maskAddress(spelling);
        assert.ok(masked !== '' && !masked.includes(spelling), `${masked} hides ${spelling}`);
      }
    }
  });
  test('what is not an address is refused with a reason', () => {
    for (const text of invalid) {
      const parsed = adapter.parseAddress(text);
      assert.ok(!parsed.ok, `${JSON.stringify(text)} is refused`);
      assert.notEqual(parsed.message, '');
    }
  });
  test('no address with a control character is accepted', () => {
    const control = fc.constantFrom(...CONTROL_CHARACTERS);
    const spoiled = fc
      .tuple(fc.constantFrom(...valid), fc.nat(), control, fc.constantFrom('', 'Bcc: x', ...valid))
      .map(([text, position, character, more]) => {
        const at = position % (text.length + 1);
        return text.slice(0, at) + character + more + text.slice(at);
      });
    fc.assert(fc.property(spoiled, (text) => !adapter.parseAddress(text).ok));
  });
  test('any text at all is parsed and masked without an error', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        adapter.maskAddress(text);
        const parsed = adapter.parseAddress(text);
        if (!parsed.ok) return;
        assert.ok(!CONTROL.test(text));
        assert.equal(normalize(adapter, parsed.normalized), parsed.normalized);
      }),
    );
  });
  test('simulated addresses are three different ones in normal spelling', () => {
    const addresses = Object.values(adapter.simulated);
    assert.equal(new Set(addresses).size, 3);
    for (const address of addresses) assert.equal(normalize(adapter, address), address);
  });
}

function assertAccepted<Address>(adapter: AdapterDefinition<Address>, content: ChannelContent) {
  assert.ok(checkOf(adapter.contentSchema).fits(content), JSON.stringify(content));
  assert.deepEqual(adapter.validate(content), []);
}

function normalize<Address>(adapter: AdapterDefinition<Address>, text: string): string {
  const parsed = adapter.parseAddress(text);
  assert.ok(parsed.ok, `${JSON.stringify(text)} is accepted`);
  return parsed.normalized;
}

const line = fc
  .string({ unit: 'grapheme', minLength: 1, maxLength: 80 })
  .filter((text) => !/[\p{Cc}\u2028\u2029]/u.test(text));
const text = fc.string({ unit: 'binary', minLength: 1, maxLength: 500 });
const link = fc.oneof(
  fc.webUrl({ withQueryParameters: true }),
  fc.constantFrom(
    'app://order/1',
    'javascript:alert(1)',
    'https://x.example/{{ id }}',
    '{{ url }}',
  ),
  line,
);
const optional = { requiredKeys: [] };

/** Neutral content as the contracts allow it, at its largest as well. */
const neutralContent: fc.Arbitrary<Content> = fc.record(
  {
    title: line,
    subject: line,
    text: fc.oneof(text, fc.constant('字'.repeat(100_000))),
    html: fc.oneof(text, fc.constant('<p>&</p>'.repeat(62_500))),
    markdown: text,
    url: fc.oneof(link, fc.constant(`https://x.example/?${'&'.repeat(2029)}`)),
    imageUrl: link,
    actions: fc.array(fc.record({ label: line, url: link }), { maxLength: 5 }),
    attachments: fc.array(
      fc.record({
        filename: fc.constantFrom('a.txt', '报告.pdf'),
        contentBase64: fc.base64String({ minLength: 4 }),
      }),
      { maxLength: 3 },
    ),
    payload: fc.dictionary(fc.string(), fc.string()),
  },
  optional,
);

/** What the vendor does with the next requests, until told otherwise. */
export const CONDITIONS = [
  'ok',
  'temporary',
  'permanent',
  'config',
  /** Takes the request and never answers. */
  'hang',
  /** Breaks the connection before it has the request. */
  'reset-before',
  /** Takes the request, then breaks the connection instead of answering. */
  'reset-after',
  /** Takes the request and answers without ever coming to an end. */
  'slow-drip',
  /** Answers in another protocol or format. */
  'garbage',
] as const;
export type Condition = (typeof CONDITIONS)[number];

/**
 * A local server that plays the vendor. Answers to `temporary`, `permanent` and `config` repeat the
 * credentials of the request and are longer than RESPONSE_LIMIT, as careless vendors' are.
 */
export interface Vendor extends AsyncDisposable {
  script: Condition;
  /** Requests read to their end, oldest first, with the idempotency key each one carried. */
  requests(): readonly { idempotencyKey: string | undefined }[];
  /** Resolves once a request is held by `hang` or `slow-drip`. */
  holding(): Promise<void>;
  /** Resolves once no client is connected. */
  idle(): Promise<void>;
}

export interface Expectation {
  kinds: readonly Outcome['kind'][];
  scopes?: readonly ('recipient' | 'content' | 'config')[];
  ambiguous?: boolean;
}

const EXPECTED: Readonly<Record<Condition, Expectation>> = {
  ok: { kinds: ['sent'] },
  temporary: { kinds: ['retry'], ambiguous: false },
  permanent: { kinds: ['rejected'], scopes: ['recipient', 'content'] },
  config: { kinds: ['rejected'], scopes: ['config'] },
  hang: { kinds: ['retry'], ambiguous: true },
  'reset-before': { kinds: ['retry'], ambiguous: false },
  'reset-after': { kinds: ['retry'], ambiguous: true },
  'slow-drip': { kinds: ['retry'], ambiguous: true },
  garbage: { kinds: ['retry', 'rejected'] },
};

export interface ProviderHarness<Config> {
  startVendor(): Promise<Vendor>;
  /** With a value for each secret, and for one connection at a time where that can be set. */
  makeConfig(vendor: Vendor): Config;
  makeDelivery(overrides?: Partial<Delivery>): Delivery;
  services?: Partial<ProviderServices>;
  /** Where the vendor's protocol leaves no other meaning than the table's. */
  expected?: Partial<Record<Condition, Expectation>>;
  skip?: readonly { condition: Condition; reason: string }[];
}

/** A delivery as outbound would hand it over, for the tests of providers. */
export function makeDelivery<Address>(
  delivery: Pick<Delivery<Address>, 'address' | 'content'> & Partial<Delivery<Address>>,
): Delivery<Address> {
  return {
    messageId: 'msg_00h4p8s3t6w',
    notificationId: 'ntf_00h4p8s3t6v',
    applicationId: 1,
    attempt: 1,
    idempotencyKey: 'msg_00h4p8s3t6w',
    recipient: { name: 'Ada' },
    priority: 'medium',
    category: null,
    collapseKey: null,
    metadata: {},
    createdAt: Date.UTC(2026, 10, 22, 8),
    expiresAt: null,
    ...delivery,
  };
}

export function runProviderConformance<ConfigSchema extends TSchema>(
  provider: ProviderDefinition<ConfigSchema>,
  harness: ProviderHarness<Static<ConfigSchema>>,
): void {
  const begin = async () => {
    const vendor = await harness.startVendor();
    const config = harness.makeConfig(vendor);
    const account = openAccount(provider, config, harness.services);
    return { vendor, account, secrets: secretsOf(provider, config) };
  };

  describe(`provider ${provider.name} conforms`, TEST_TIMEOUT, () => {
    test('its configuration is a closed object whose properties are described', async () => {
      assertDescribed(provider.configSchema);
      for (const secret of provider.secrets) {
        assert.ok(secret in propertiesOf(provider.configSchema), `secrets names ${secret}`);
      }
      if (provider.automatic) assert.ok(checkOf(provider.configSchema).fits({}));
      await using vendor = await harness.startVendor();
      assert.ok(checkOf(provider.configSchema).fits(harness.makeConfig(vendor)));
    });

    for (const condition of CONDITIONS) {
      const skipped = harness.skip?.find((entry) => entry.condition === condition);
      const expected = harness.expected?.[condition] ?? EXPECTED[condition];
      test(`vendor: ${condition}`, { skip: skipped?.reason ?? false }, async () => {
        const { vendor: started, account, secrets } = await begin();
        await using vendor = started;
        vendor.script = condition;
        const outcome = await sendUnder(condition, vendor, account, harness.makeDelivery());
        assertOutcome(outcome, expected, secrets);
        // Whatever happened, the account works on: nothing of the attempt is left in its way.
        vendor.script = 'ok';
        const next = await account.send(deliver(harness), new AbortController().signal);
        assertOutcome(next, EXPECTED.ok, secrets);
        await account.close?.();
        await vendor.idle();
      });
    }

    test('every attempt carries the same idempotency key', async () => {
      const { vendor: started, account } = await begin();
      await using vendor = started;
      for (const attempt of [1, 2]) {
        const delivery = harness.makeDelivery({ attempt });
        await account.send(delivery as Delivery<never>, new AbortController().signal);
      }
      const [first, second] = vendor.requests();
      assert.notEqual(first?.idempotencyKey, undefined);
      assert.equal(second?.idempotencyKey, first?.idempotencyKey);
      await account.close?.();
    });

    test('an attempt that was given up before it began asks the vendor nothing', async () => {
      const { vendor: started, account, secrets } = await begin();
      await using vendor = started;
      const outcome = await account.send(deliver(harness), AbortSignal.abort());
      assertOutcome(outcome, { kinds: ['retry'], ambiguous: false }, secrets);
      assert.equal(vendor.requests().length, 0);
      await account.close?.();
    });

    test('it can be closed before it is used, while in use, and twice', async () => {
      const unused = await begin();
      await using _vendor = unused.vendor;
      await unused.account.close?.();
      const { vendor: started, account, secrets } = await begin();
      await using vendor = started;
      vendor.script = 'hang';
      const sending = account.send(deliver(harness), new AbortController().signal);
      await Promise.race([vendor.holding(), sending]);
      await Promise.all([account.close?.(), account.close?.()]);
      await account.close?.();
      if (account.close) assertOutcome(await sending, { kinds: ['retry'] }, secrets);
      await vendor.idle();
    });
  });
}

function openAccount<ConfigSchema extends TSchema>(
  provider: ProviderDefinition<ConfigSchema>,
  config: Static<ConfigSchema>,
  services: Partial<ProviderServices> = {},
): ProviderAccount {
  // A provider that uses a service its harness did not give fails on it, which is the point.
  const given = services as ProviderServices;
  return provider.create({ accountId: 'account', config, services: given, clock: systemClock });
}

function deliver(harness: Pick<ProviderHarness<never>, 'makeDelivery'>): Delivery<never> {
  return harness.makeDelivery() as Delivery<never>;
}

/** One attempt, given up as soon as the vendor holds it. */
async function sendUnder(
  condition: Condition,
  vendor: Vendor,
  account: ProviderAccount,
  delivery: Delivery,
): Promise<Outcome> {
  const controller = new AbortController();
  const sending = account.send(delivery as Delivery<never>, controller.signal);
  if (condition === 'hang' || condition === 'slow-drip') {
    await Promise.race([vendor.holding(), sending]);
    controller.abort(new DOMException('The attempt took too long.', 'TimeoutError'));
  }
  return sending;
}

function assertOutcome(outcome: Outcome, expected: Expectation, secrets: readonly string[]): void {
  const shown = JSON.stringify(outcome);
  assert.ok(expected.kinds.includes(outcome.kind), `${expected.kinds} expected, got ${shown}`);
  for (const secret of secrets) assert.ok(!shown.includes(secret), `${shown} shows a secret`);
  assert.ok((outcome.response ?? '').length <= RESPONSE_LIMIT);
  if (outcome.kind === 'sent') return;
  assert.match(outcome.reason, /^[a-z0-9_]{1,40}$/);
  if (outcome.kind === 'rejected' && expected.scopes) {
    assert.ok(expected.scopes.includes(outcome.scope), `${expected.scopes} expected, got ${shown}`);
  }
  if (outcome.kind === 'retry' && expected.ambiguous !== undefined) {
    assert.equal(outcome.ambiguous ?? false, expected.ambiguous, shown);
  }
}

interface ObjectSchema {
  type?: string;
  additionalProperties?: unknown;
  properties?: Record<string, { description?: string }>;
}

function propertiesOf(schema: TSchema): Record<string, { description?: string }> {
  return (schema as ObjectSchema).properties ?? {};
}

function assertDescribed(schema: TSchema): void {
  const { type, additionalProperties } = schema as ObjectSchema;
  assert.equal(type, 'object');
  assert.equal(additionalProperties, false, 'closed');
  for (const [name, property] of Object.entries(propertiesOf(schema))) {
    assert.ok(property.description, `${name} is described`);
  }
}

/** The secrets of a configuration, also as they would stand in a header or in base64. */
function secretsOf(provider: ProviderDefinition, config: unknown): string[] {
  const values = config as Record<string, unknown>;
  return provider.secrets
    .map((name) => values[name])
    .filter((value) => typeof value === 'string')
    .flatMap((secret) => [
      secret,
      Buffer.from(secret).toString('base64'),
      encodeURIComponent(secret),
    ]);
}
