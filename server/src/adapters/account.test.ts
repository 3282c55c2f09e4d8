import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { ConfigError } from '../config.ts';
import type { AccountSettings } from '../settings.ts';
import { resolveAccounts } from './account.ts';
import { type Catalog, loadCatalog } from './catalog.ts';

const FROM = { address: 'hello@example.com' };

describe('accounts', () => {
  let catalog: Catalog;
  before(async () => {
    catalog = await loadCatalog();
  });

  const resolve = (
    accounts: AccountSettings[],
    providerEnvironment: Record<string, string> = {},
    environment: Record<string, string> = {},
  ) => resolveAccounts({ accounts, providerEnvironment }, catalog, environment);

  const smtp = (config: Record<string, unknown>, id?: string): AccountSettings => ({
    ...(id === undefined ? {} : { id }),
    channel: 'email',
    provider: 'smtp',
    config,
  });

  function refuses(action: () => unknown, message: RegExp): void {
    assert.throws(action, (error: unknown) => {
      assert.ok(error instanceof ConfigError);
      assert.match(error.message, message);
      return true;
    });
  }

  it('are preferred as listed, before what variables name and what needs no configuration', () => {
    const accounts = resolve(
      [smtp({ host: 'b', from: FROM }, 'second'), smtp({ host: 'a', from: FROM }, 'first')],
      { TIDINGS_EMAIL_SMTP_HOST: 'c', TIDINGS_EMAIL_SMTP_FROM_ADDRESS: FROM.address },
    );
    const ids = accounts.get('email')?.map(({ id }) => id);
    assert.deepEqual(ids, ['second', 'first', 'email-smtp']);
    assert.deepEqual(
      accounts.get('webhook')?.map(({ id }) => id),
      ['webhook-http'],
    );
  });

  it('have secrets from variables and files, at any depth, and limits of their own', () => {
    const folder = mkdtempSync(join(tmpdir(), 'tidings-account-'));
    try {
      const file = join(folder, 'secret');
      writeFileSync(file, 'from a file\n');
      const config = {
        host: { env: 'MAIL_HOST' },
        from: { ...FROM, name: { file } },
      };
      const setting = { ...smtp(config), concurrency: 3, ratePerSecond: 2, timeoutMs: 5000 };
      const [account] = resolve([setting], {}, { MAIL_HOST: 'mail' }).get('email') ?? [];
      assert.equal(account?.config['host'], 'mail');
      assert.deepEqual(account?.config['from'], { ...FROM, name: 'from a file' });
      assert.deepEqual(account?.limits, { concurrency: 3, ratePerSecond: 2, timeoutMs: 5000 });
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it('name the key that is wrong, in plain words and without a variable that nobody used', () => {
    refuses(
      () => resolve([smtp({ host: 'a', from: FROM, fromAddress: 'b' })]),
      /^accounts email-smtp: fromAddress is not a setting of email\/smtp; there are: host, port, .*from\.address, .*\w$/,
    );
    refuses(
      () => resolve([smtp({ host: 'a', from: { ...FROM, secure: true } })]),
      /^accounts email-smtp: from\.secure is not a setting of email\/smtp; there are: host/,
    );
    refuses(() => resolve([smtp({ host: 'a' }, 'relay')]), /^accounts relay: from is required$/);
    refuses(
      () => resolve([smtp({ host: 'a', from: FROM, port: 70_000 })]),
      /^accounts email-smtp: port must be at most 65535$/,
    );
    refuses(
      () => resolve([smtp({ host: 'a', from: { address: 'nobody' } })]),
      /^accounts email-smtp: from\.address [^()]*$/,
    );
    refuses(
      () => resolve([smtp({ host: 'a', from: { address: { env: 'NOWHERE' } } })]),
      /^accounts email-smtp: from\.address refers to the variable NOWHERE, which is not set$/,
    );
    refuses(
      () => resolve([smtp({ host: 'a', from: FROM, password: { file: '/nowhere' } })]),
      /^accounts email-smtp: password refers to a file that cannot be read: /,
    );
  });

  it('name the variables when the values came from them', () => {
    const host = { TIDINGS_EMAIL_SMTP_HOST: 'a' };
    refuses(
      () => resolve([], host),
      /from is required \(TIDINGS_EMAIL_SMTP_FROM_ADDRESS, TIDINGS_EMAIL_SMTP_FROM_NAME\)$/,
    );
    const from = { ...host, TIDINGS_EMAIL_SMTP_FROM_ADDRESS: FROM.address };
    refuses(
      () => resolve([], { ...from, TIDINGS_EMAIL_SMTP_PORT: '70000' }),
      /port must be at most 65535 \(TIDINGS_EMAIL_SMTP_PORT\)$/,
    );
    refuses(
      () => resolve([], { ...from, TIDINGS_EMAIL_SMTP_PASSWORD: 'secret' }),
      /password .*\(TIDINGS_EMAIL_SMTP_PASSWORD\)$/,
    );
    refuses(() => resolve([], { TIDINGS_EMAIL_SMPT_HOST: 'a' }), /^TIDINGS_EMAIL_SMPT_HOST is not/);
  });

  it('have ids of their own, and providers that are there', () => {
    const twice = smtp({ host: 'a', from: FROM });
    refuses(() => resolve([twice, twice]), /^accounts email-smtp is defined twice/);
    refuses(
      () => resolve([{ channel: 'email', provider: 'pigeon' }]),
      /names the provider email\/pigeon; there are: .*email\/smtp/,
    );
  });
});
