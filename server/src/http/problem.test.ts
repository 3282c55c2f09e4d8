/** What a refusal looks like: where its code is explained, whatever the request called the host. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import type { Problem } from '@tidings/contracts/problem';
import { openTestApp, type TestApp } from '../../test/support/records-app.ts';
import { ServiceError } from '../errors.ts';
import { problemOf, QuickRefusal } from './problem.ts';

const PATH = '/docs/errors#';

async function refusal(
  { app }: TestApp,
  headers: Record<string, string>,
  url = '/v1/users',
): Promise<Problem> {
  return (await app.inject({ url, headers })).json<Problem>();
}

test('the code is explained under the name by which the host was asked', async () => {
  await using api = await openTestApp();
  for (const host of [
    'tidings.example',
    'tidings.example:8484',
    '127.0.0.1:8484',
    '[::1]:8484',
    'localhost',
    'xn--bcher-kva.example',
  ]) {
    const { doc_url, type } = await refusal(api, { host });
    assert.equal(doc_url, `http://${host}${PATH}unauthorized`);
    assert.equal(type, `${PATH}unauthorized`, 'the kind is the same everywhere');
  }
  const unknown = await refusal(api, { host: 'tidings.example' }, '/nowhere');
  assert.equal(unknown.doc_url, `http://tidings.example${PATH}not_found`);
});

test('a host that is none leads nowhere', async () => {
  await using api = await openTestApp();
  for (const host of [
    'a b',
    'user@evil.example',
    'evil.example/path',
    'evil.example#',
    'evil.example?x',
    '"><script>',
    'evil.example:99999999',
    '.',
    '-',
    '[x]',
    `${'a'.repeat(254)}`,
  ]) {
    const { doc_url } = await refusal(api, { host });
    assert.match(doc_url, /^\/docs\/errors#[a-z_]+$/, host);
  }
  const forwarded = { 'x-forwarded-host': 'evil.example', 'x-forwarded-proto': 'javascript' };
  const { doc_url } = await refusal(api, { host: 'tidings.example', ...forwarded });
  assert.equal(doc_url, `http://tidings.example${PATH}unauthorized`);
});

test('what the operator says goes before what the request says', async () => {
  await using api = await openTestApp();
  api.app.publicUrl = 'https://tidings.example/notify';
  for (const url of ['/v1/users', '/nowhere']) {
    const { doc_url } = await refusal(api, { host: 'inside:8484' }, url);
    assert.match(doc_url, /^https:\/\/tidings\.example\/notify\/docs\/errors#/);
  }
});

test('a refusal that is made once is still right for each host', async () => {
  const error = new ServiceError('overloaded', { retryAfterMs: 1000 });
  for (const publicUrl of [undefined, 'https://tidings.example']) {
    const quick = new QuickRefusal(publicUrl);
    const server = createServer((_request, response) => quick.send(response, error, 'req_1'));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    try {
      const { port } = server.address() as AddressInfo;
      for (const host of ['127.0.0.1', 'localhost', 'localhost']) {
        const answer = await fetch(`http://${host}:${port}/`);
        const site = publicUrl ?? `http://${host}:${port}`;
        assert.deepEqual(await answer.json(), problemOf(error, 'req_1', 503, site));
        assert.deepEqual([answer.status, answer.headers.get('retry-after')], [503, '1']);
      }
    } finally {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    }
  }
});
