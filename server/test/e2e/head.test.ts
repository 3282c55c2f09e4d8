/** HEAD (RFC 9110, 9.3.2): what GET would answer, without the body, on every path that GET has. */
import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import { openApiOf, operationsOf } from '../support/operations.ts';
import { PATIENT, startTidings, type Tidings } from '../support/start.ts';

let tidings: Tidings;
before(async () => {
  tidings = await startTidings({ env: PATIENT });
});
after(async () => {
  await tidings?.[Symbol.asyncDispose]();
});

/** Of what differs from one answer to the next. */
const OWN = new Set(['date', 'x-request-id', 'keep-alive', 'connection']);

/** Pages and probes that the document does not list. */
const HIDDEN = ['/', '/console', '/docs', '/docs/errors', '/openapi.json', '/health/live', '/nope'];

async function same(path: string, headers: Record<string, string>): Promise<number> {
  const got = await tidings.call(path, { headers });
  const head = await tidings.call(path, { method: 'HEAD', headers });
  assert.equal(head.status, got.status, `HEAD ${path}`);
  assert.equal(head.text, '', path);
  for (const name of Object.keys(got.headers)) {
    // An id of the request is in the body of a refusal, and may be one digit longer.
    if (OWN.has(name) || (name === 'content-length' && got.status >= 400)) continue;
    assert.equal(head.headers[name], got.headers[name], `${name} of ${path}`);
  }
  return got.status;
}

it('answers like GET on every path, to whoever may and to whoever may not', async () => {
  const operations = operationsOf(await openApiOf(tidings));
  assert.ok(operations.every(({ method }) => method.toUpperCase() !== 'HEAD'));
  const gets = operations.filter(({ id, method }) => method === 'GET' && id !== 'streamInbox');
  assert.ok(gets.length > 15, `${gets.length}`);
  const minted = await tidings.call('/v1/inbox/tokens', { body: { userId: 'ada' } });
  const { token } = minted.json<{ token: string }>();
  const statuses = new Set<number>();
  for (const { path, access } of gets) {
    const real = path.replace(/\{id\}/, 'msg_00000000000').replace(/\{[^}]+\}/g, '1');
    const key = access === 'user' ? token : tidings.key;
    statuses.add(await same(real, { authorization: `Bearer ${key}` }));
    if (access !== 'open') assert.equal(await same(real, { authorization: 'Bearer x' }), 401, path);
  }
  for (const path of HIDDEN) await same(path, {});
  assert.ok(statuses.has(200) && statuses.has(404), [...statuses].join());
});

it('opens no stream', async () => {
  const minted = await tidings.call('/v1/inbox/tokens', { body: { userId: 'ada' } });
  const authorization = `Bearer ${minted.json<{ token: string }>().token}`;
  const path = '/v1/inbox/stream';
  const { status, headers, text } = await tidings.call(path, {
    method: 'HEAD',
    headers: { authorization },
  });
  assert.deepEqual([status, headers['content-type'], text], [200, 'text/event-stream', '']);
});
