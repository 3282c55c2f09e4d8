/**
 * F21: the receiver took the message, but its answer is lost on the way. The message goes out once
 * more, and both times under the same id, by which the receiver can tell.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ClientLedger } from '../support/client-ledger.ts';
import { startProviderLedger, WEBHOOK_ENV, webhookBody } from '../support/provider-ledger.ts';
import { SmtpTestServer } from '../support/smtp.ts';
import { PATIENT, startTidings } from '../support/start.ts';
import { type Loss, startTcpProxy } from '../support/tcp-proxy.ts';
import { assertKept, compare, describe, settle } from '../support/verdict.ts';

/** Fewer than open a breaker, which would only make the test longer. */
const MESSAGES = 8;

const ENV = { ...PATIENT, TIDINGS_DELIVERY_RETRY_DELAYS_MS: '200,200,200' };

for (const loss of ['reset', 'close', 'silence'] satisfies Loss[]) {
  test(`F21: webhooks whose answers end in ${loss}`, async (t) => {
    await using provider = await startProviderLedger();
    await using proxy = await startTcpProxy(provider.port);
    await using tidings = await startTidings({
      // The silence ends with the attempt's time.
      env: { ...ENV, ...WEBHOOK_ENV, TIDINGS_WEBHOOK_HTTP_TIMEOUT_MS: '1000' },
    });
    const url = `http://127.0.0.1:${proxy.port}/hook`;
    using client = new ClientLedger({ tidings, name: 'f21', body: (key) => webhookBody(url, key) });
    proxy.lose(...Array(MESSAGES).fill(loss));
    await Promise.all(Array.from({ length: MESSAGES }, () => client.send()));
    const ledger = await settle(tidings);

    const verdict = compare(client, provider);
    t.diagnostic(`${describe(ledger, client, verdict)} | ${proxy.lost} answers lost`);
    assert.equal(proxy.lost, MESSAGES);
    assertKept(verdict);
    assert.equal(ledger.delivered, MESSAGES);
    assert.equal(provider.arrivals.length, 2 * MESSAGES, 'one duplicate per answer that was lost');
    assert.ok(verdict.duplicated.every(({ times }) => times === 2));
  });
}

test('F21: a mail whose acceptance is lost is sent once more, with the same Message-ID', async () => {
  await using server = await SmtpTestServer.start();
  // Only the reply to the end of a message is one that may be lost.
  await using proxy = await startTcpProxy(server.port, () => server.messages.length > 0);
  await using tidings = await startTidings({
    env: {
      ...ENV,
      TIDINGS_EMAIL_SMTP_HOST: '127.0.0.1',
      TIDINGS_EMAIL_SMTP_PORT: String(proxy.port),
      TIDINGS_EMAIL_SMTP_FROM_ADDRESS: 'tidings@example.com',
    },
  });
  proxy.lose('reset');
  const answer = await tidings.call('/v1/notifications', {
    body: { to: { email: 'ada@example.com' }, content: { title: 'Hello', text: 'It works.' } },
  });
  assert.equal(answer.status, 202, answer.text);
  await server.until(({ messages }) => messages.length === 2);
  const ledger = await settle(tidings);
  assert.equal(ledger.delivered, 1);
  const ids = server.messages.map(
    ({ raw }) => /^Message-ID: (.*)\r$/im.exec(raw.toString('latin1'))?.[1],
  );
  assert.equal(server.messages.length, 2);
  assert.equal(ids[0], ids[1]);
  assert.match(
    String(ids[0]),
    new RegExp(String(answer.json<{ messages: [{ id: string }] }>().messages[0].id)),
  );
});
