import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { ConfigError, loadConfig } from './config.ts';
import { flagOf, type SchemaNode, Settings, settingKeys, variableOf } from './settings.ts';

function file(content: string): { path: string } & Disposable {
  const folder = mkdtempSync(join(tmpdir(), 'tidings-config-'));
  const path = join(folder, 'tidings.json');
  writeFileSync(path, content);
  return { path, [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }) };
}

const refuses = (environment: Record<string, string>, pattern: RegExp): void => {
  assert.throws(
    () => loadConfig({ environment }),
    (error: unknown) => error instanceof ConfigError && pattern.test(error.message),
  );
};

describe('configuration', () => {
  it('has a default or is optional, and is described, in every key', () => {
    for (const [key, node] of settingKeys(Settings as unknown as SchemaNode)) {
      assert.ok(node.description, `${key} has no description`);
    }
    const config = loadConfig({ environment: {} });
    assert.deepEqual([config.host, config.port, config.mode], ['127.0.0.1', 8484, 'embedded']);
    assert.equal(config.delivery.retryDelaysMs.length, 7);
  });

  it('takes every key from the environment under its own name', () => {
    const keys = [...settingKeys(Settings as unknown as SchemaNode).keys()];
    assert.equal(new Set(keys.map(variableOf)).size, keys.length);
    assert.equal(variableOf('delivery.retryDelaysMs'), 'TIDINGS_DELIVERY_RETRY_DELAYS_MS');
    assert.equal(flagOf('delivery.retryDelaysMs'), '--delivery.retry-delays-ms');
    const config = loadConfig({
      environment: {
        TIDINGS_PORT: '80',
        TIDINGS_DELIVERY_RETRY_DELAYS_MS: '1000, 2000',
        TIDINGS_IDEMPOTENCY_REQUIRED: 'true',
        TIDINGS_LOG_LEVEL: 'warn',
        TIDINGS_ACCOUNTS: '[{"channel":"email","provider":"smtp","config":{"host":"mail"}}]',
        TIDINGS_HTTP_TRUSTED_PROXIES: '10.0.0.1',
        PATH: '/bin',
      },
    });
    assert.equal(config.port, 80);
    assert.deepEqual(config.delivery.retryDelaysMs, [1000, 2000]);
    assert.equal(config.idempotency.required, true);
    assert.deepEqual(config.accounts, [
      { channel: 'email', provider: 'smtp', config: { host: 'mail' } },
    ]);
    assert.deepEqual(config.http.trustedProxies, ['10.0.0.1']);
  });

  it('lets flags win over the environment, that over the file, that over the defaults', () => {
    using settings = file('{"port": 1001, "host": "file", "log": {"level": "debug"}}');
    const sources = {
      environment: { TIDINGS_HOST: 'environment' },
      file: settings.path,
      flags: { 'log.level': 'error' },
    };
    const config = loadConfig(sources);
    assert.deepEqual([config.port, config.host, config.log.level], [1001, 'environment', 'error']);
  });

  it('takes an empty variable as not set, and no folder or host without a name', () => {
    const environment = { TIDINGS_PORT: '', TIDINGS_DATA_DIR: '', TIDINGS_EMAIL_SMTP_HOST: '' };
    const config = loadConfig({ environment });
    assert.deepEqual(config, loadConfig({ environment: {} }));
    assert.throws(
      () => loadConfig({ environment: {}, flags: { dataDir: '' } }),
      /dataDir .*--data-dir/,
    );
  });

  it('stops at an unknown key or a bad value, and names it', () => {
    refuses({ TIDINGS_PORT: 'eighty' }, /TIDINGS_PORT must be a number/);
    refuses({ TIDINGS_PORT: '70000' }, /port .*TIDINGS_PORT/);
    refuses({ TIDINGS_LOG_LEVEL: 'loud' }, /log\.level/);
    refuses(
      { TIDINGS_IDEMPOTENCY_REQUIRED: 'perhaps' },
      /TIDINGS_IDEMPOTENCY_REQUIRED must be true or false/,
    );
    refuses({ TIDINGS_ACCOUNTS: '[{' }, /TIDINGS_ACCOUNTS is not JSON/);
    refuses({ TIDINGS_BOOTSTRAP_KEY: 'short' }, /TIDINGS_BOOTSTRAP_KEY/);
    refuses({ TIDINGS_PUBLIC_URL: 'example.com' }, /TIDINGS_PUBLIC_URL/);
    refuses(
      { TIDINGS_DELIVERY_RESERVED_HIGH: '0.9', TIDINGS_DELIVERY_GUARANTEED_LOW: '0.5' },
      /add up to more than 1/,
    );
    using unknown = file('{"delivery": {"concurency": 3}}');
    assert.throws(
      () => loadConfig({ environment: {}, file: unknown.path }),
      /delivery\.concurency is not a setting/,
    );
    using broken = file('{');
    assert.throws(() => loadConfig({ environment: {}, file: broken.path }), /is not JSON/);
    using list = file('[]');
    assert.throws(() => loadConfig({ environment: {}, file: list.path }), /one JSON object/);
    assert.throws(
      () => loadConfig({ environment: {}, file: '/nowhere/tidings.json' }),
      /cannot be read/,
    );
    assert.throws(
      () => loadConfig({ environment: {}, flags: { nonsense: '1' } }),
      /--nonsense is not a setting/,
    );
  });

  it('names the variable or flag that a bad value came from, and none when it came from the file', () => {
    const message = (sources: Parameters<typeof loadConfig>[0]): string => {
      try {
        loadConfig(sources);
      } catch (error) {
        assert.ok(error instanceof ConfigError);
        return error.message;
      }
      assert.fail('was taken');
    };
    const environment = {};
    using port = file('{"port": 70000}');
    assert.equal(message({ environment, file: port.path }), 'port must be at most 65535');
    const flags = { port: '70000' };
    assert.equal(message({ environment, flags }), 'port must be at most 65535 (--port)');
    using accounts = file('{"accounts": [{"channel": "email"}]}');
    assert.equal(message({ environment, file: accounts.path }), 'accounts.0.provider is required');
    using unknown = file('{"accounts": [{"channel": "email", "provider": "smtp", "host": "a"}]}');
    assert.equal(message({ environment, file: unknown.path }), 'accounts.0.host is not a setting');
    using key = file('{"bootstrapKey": "short"}');
    assert.doesNotMatch(message({ environment, file: key.path }), /TIDINGS_/);
  });

  it('says that accounts are an array, and what is wrong in it', () => {
    refuses({ TIDINGS_ACCOUNTS: 'nojson' }, /^TIDINGS_ACCOUNTS must be a JSON array$/);
    refuses({ TIDINGS_ACCOUNTS: '{}' }, /^accounts must be an array \(TIDINGS_ACCOUNTS\)$/);
    refuses(
      { TIDINGS_ACCOUNTS: '[{"channel":"email"}]' },
      /^accounts\.0\.provider is required \(TIDINGS_ACCOUNTS\)$/,
    );
    refuses(
      { TIDINGS_ACCOUNTS: '[{"channel":"email","provider":"smtp","id":"a b"}]' },
      /^accounts\.0\.id must be 1 to 64 letters/,
    );
  });

  it('leaves what it does not know to the providers', () => {
    const config = loadConfig({
      environment: { TIDINGS_EMAIL_SMTP_HOST: 'mail', TIDINGS_URL: 'x', TIDINGS_API_KEY: 'y' },
    });
    assert.deepEqual(config.providerEnvironment, { TIDINGS_EMAIL_SMTP_HOST: 'mail' });
  });

  it('cannot be changed afterwards', () => {
    const config = loadConfig({ environment: {} });
    assert.throws(() => {
      (config.delivery as { concurrency: number }).concurrency = 1;
    }, TypeError);
  });
});
