/** A user who is removed: the inbox is empty, what was let into it is refused, open streams end. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import {
  bearer,
  type InboxApp,
  openInboxApp,
  SocketClient,
  StreamClient,
} from '../../inbox/conformance-app.ts';

const STREAM = '/v1/inbox/stream';

function putUser(api: InboxApp, id = 'ada') {
  return fetch(`${api.url}/v1/users/${id}`, {
    method: 'PUT',
    headers: { ...bearer(api.apiKey), 'content-type': 'application/json' },
    body: '{}',
  });
}

async function removeUser(api: InboxApp, id = 'ada'): Promise<number> {
  const answer = await fetch(`${api.url}/v1/users/${id}`, {
    method: 'DELETE',
    headers: bearer(api.apiKey),
  });
  return answer.status;
}

async function mint(api: InboxApp): Promise<string> {
  const answer = await fetch(`${api.url}/v1/inbox/tokens`, {
    method: 'POST',
    headers: { ...bearer(api.apiKey), 'content-type': 'application/json' },
    body: JSON.stringify({ userId: 'ada' }),
  });
  return ((await answer.json()) as { token: string }).token;
}

const statusOf = async (api: InboxApp, token: string, path = '/v1/inbox', method = 'GET') =>
  (await fetch(api.url + path, { method, headers: bearer(token) })).status;

test('its tokens, tickets and open connections end, those of others do not', async () => {
  await using api = await openInboxApp();
  await putUser(api);
  await api.deliver(1);
  const token = await mint(api);
  const answer = await fetch(`${api.url}/v1/inbox/tickets`, {
    method: 'POST',
    headers: bearer(token),
  });
  const { ticket } = (await answer.json()) as { ticket: string };
  using stream = await StreamClient.open(api, STREAM, bearer(token));
  using socket = await SocketClient.open(api, token);
  using other = await SocketClient.open(api, await api.token({ ...api.ada, userId: 'bob' }));
  for (const client of [stream, socket, other]) await client.until('counts');
  assert.equal(await removeUser(api), 204);

  assert.equal(await statusOf(api, token), 401);
  assert.equal(await statusOf(api, token, '/v1/inbox/counts'), 401);
  assert.equal(await statusOf(api, token, '/v1/inbox/tickets', 'POST'), 401);
  assert.equal(await statusOf(api, token, STREAM), 401);
  assert.equal((await fetch(`${api.url}${STREAM}?ticket=${ticket}`)).status, 401);
  using late = await SocketClient.open(api, token);
  assert.equal((await late.closed).code, 4401);

  // The hub looks ten times a second.
  api.clock.advance(100);
  await stream.ended;
  // No time to come back after: every token of theirs is refused.
  assert.deepEqual(stream.all.at(-1)?.data, { reason: 'user_removed' });
  assert.equal(stream.text.match(/^retry: /gm)?.length, 1, 'the one of its beginning');
  const { code, reason } = await socket.closed;
  assert.equal(code, 4410);
  assert.equal(reason, 'user_removed');
  assert.deepEqual(socket.all.at(-1)?.data, { reason: 'user_removed' });
  other.send({ type: 'ping', id: 1 });
  assert.deepEqual((await other.nextOf('pong')).data, { id: 1 });
});

test('a socket can do nothing more with the inbox before it is closed', async () => {
  await using api = await openInboxApp();
  await putUser(api);
  using socket = await SocketClient.open(api, await mint(api));
  await socket.until('counts');
  await removeUser(api);
  socket.send({ type: 'mark', id: 1, action: 'read', items: 'all' });
  assert.equal((await socket.closed).code, 4401);
  assert.equal(
    socket.all.some(({ type }) => type === 'result'),
    false,
  );
});

test('who comes again under the same id has an empty inbox, and tokens and streams of their own', async () => {
  await using api = await openInboxApp();
  await putUser(api);
  for (let n = 1; n <= 3; n++) await api.deliver(n);
  const before = await mint(api);
  using old = await StreamClient.open(api, STREAM, bearer(before));
  await old.until('counts');
  await removeUser(api);
  assert.equal((await putUser(api)).status, 201);
  const token = await mint(api);
  using fresh = await StreamClient.open(api, STREAM, { ...bearer(token), 'last-event-id': '0' });
  const [ready, counts] = await fresh.until('counts');
  assert.equal(ready?.type, 'ready', 'nothing of before is sent');
  assert.deepEqual(counts?.data, { unseen: 0, unread: 0, total: 0 });
  api.clock.advance(100);
  await old.ended;
  await api.deliver(4);
  assert.equal((await fresh.nextOf('item')).data.title, 'Message 4');
  assert.equal(await statusOf(api, before), 401);
  assert.equal(await statusOf(api, token), 200);
});

test('a connection whose token was looked at just before the removal ends as well', async () => {
  await using api = await openInboxApp();
  await putUser(api);
  const session = await api.tokens.verify(await mint(api));
  await removeUser(api);
  api.clock.advance(100);
  const token = (await api.tokens.mint({ ...session, expiresInSeconds: 60 })).token;
  using socket = new SocketClient(api);
  await once(socket.socket, 'open');
  const generation = api.inbox.store.generation.bind(api.inbox.store);
  let looks = 0;
  api.inbox.store.generation = (owner) => (looks++ === 0 ? Promise.resolve(0) : generation(owner));
  socket.send({ type: 'auth', token });
  assert.equal((await socket.closed).code, 4410);
});

test('while the inbox cannot be emptied the user stays, and another call removes it', async () => {
  await using api = await openInboxApp();
  await putUser(api);
  await api.deliver(1);
  const token = await mint(api);
  api.inbox.following = false;
  assert.equal(await removeUser(api), 503);
  const answer = await fetch(`${api.url}/v1/users/ada`, { headers: bearer(api.apiKey) });
  assert.equal(answer.status, 200);
  assert.equal(await statusOf(api, token), 401, 'tokens end first of all');
  api.inbox.following = true;
  assert.equal(await removeUser(api), 204);
  assert.equal(await removeUser(api), 404);
});

test('an unknown user is not removed, and an inbox without a user stays', async () => {
  await using api = await openInboxApp();
  await api.deliver(1);
  const token = await mint(api);
  assert.equal(await removeUser(api), 404);
  assert.equal(await statusOf(api, token), 200);
  assert.equal((await api.inbox.store.counts(api.ada)).total, 1);
});
