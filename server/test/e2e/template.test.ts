/** Templates and inline content on their way through the real program: holes, hostile content, deletions, waits. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Accepted, Notification } from '@tidings/contracts/notification';
import type { TemplatePreview } from '@tidings/contracts/template';
import type { HttpAnswer } from '../support/http-client.ts';
import { ADA, inFuture, notificationApi } from '../support/notification-api.ts';
import { startProviderLedger, WEBHOOK_ENV } from '../support/provider-ledger.ts';
import { PATIENT, startTidings, type Tidings } from '../support/start.ts';
import { until } from '../support/within.ts';

let tidings: Tidings;
before(async () => {
  tidings = await startTidings({
    env: { ...PATIENT, ...WEBHOOK_ENV, TIDINGS_DELIVERY_RETRY_DELAYS_MS: '50' },
  });
});
after(async () => {
  await tidings?.[Symbol.asyncDispose]();
});

const { post, send, outcome, timeline, refused } = notificationApi(() => tidings);

async function createTemplate(key: string, text: string): Promise<void> {
  const content = { email: { subject: 'Hello', text } };
  const body = { key, content, publish: true };
  const answer = await tidings.call('/v1/templates', { method: 'POST', body });
  assert.equal(answer.status, 201, answer.text);
}

const remove = (key: string): Promise<HttpAnswer> =>
  tidings.call(`/v1/templates/${key}`, { method: 'DELETE' });

describe('variables that the data lacks', () => {
  const text = 'Hi {{ name }}! {% if order %}{{ order.id }}, {{ order.sum }}{% endif %}';

  it('are told by the timeline, for templates and for inline content', async () => {
    await createTemplate('holes', text);
    const requests = [
      { content: undefined, template: 'holes', data: { order: { id: 7 } } },
      { content: { title: 'Hi', text }, data: { order: { id: 7 } } },
    ];
    for (const request of requests) {
      const { id } = await outcome(request);
      const attempt = (await timeline(id)).find(({ type }) => type === 'attempt');
      assert.deepEqual(attempt?.detail?.['missingVariables'], ['name', 'order.sum']);
      assert.equal(attempt?.detail?.['outcome'], 'sent', 'the attempt has its own result');
    }
    const full = await outcome({ content: undefined, template: 'holes', data: { name: 'Ada' } });
    const attempt = (await timeline(full.id)).find(({ type }) => type === 'attempt');
    assert.equal(attempt?.detail?.['missingVariables'], undefined);
  });

  it('are listed by the preview', async () => {
    const body = { data: { order: {} } };
    const answer = await tidings.call('/v1/templates/holes/preview', { method: 'POST', body });
    assert.deepEqual(answer.json<TemplatePreview>().missing.sort(), [
      'name',
      'order.id',
      'order.sum',
    ]);
  });
});

describe('inline content with much markup', () => {
  it('is refused with the field and the limit, before it is parsed', async () => {
    const cases: [content: object, path: string][] = [
      [{ title: 'Hi', text: `{{ a${'|upcase'.repeat(3000)} }}` }, 'body.content.text'],
      [{ title: 'Hi', text: '{{a}}'.repeat(501) }, 'body.content.text'],
      [
        { title: `{{ a${' '.repeat(100)} }}`, text: `{{${' '.repeat(40_000)}}}` },
        'body.content.text',
      ],
      [
        { channels: { email: { subject: 'a', html: '{%'.repeat(400_000) } } },
        'body.content.channels.email.html',
      ],
    ];
    for (const [content, path] of cases)
      await refused({ to: ADA, channels: ['email'], content }, 400, 'invalid_content', path);
    // Compiled once for each channel that is named; of a profile's channels, by delivery, one at a time.
    const shared = { title: 'Hi', text: '{{ a }}'.repeat(300) };
    const ofAda = { to: { ...ADA, userId: 'ada' }, content: shared, data: { a: 'x' } };
    await refused(
      { ...ofAda, channels: ['email', 'in_app'] },
      400,
      'invalid_content',
      'body.content.text',
    );
    await send(ofAda);
    const forProfile = { to: { userId: 'ada' }, content: cases[0]?.[0] };
    await refused(forProfile, 400, 'invalid_content', 'body.content.text');
  });

  it('is delivered when it is within the limits, however dense', async () => {
    const text = `{{ a${'|append: "x"'.repeat(500)} }}`;
    const { messages } = await outcome({ content: { title: 'Hi', text }, data: { a: 'b' } });
    assert.equal(messages[0]?.status, 'delivered');
  });
});

describe('a template that is deleted', () => {
  it('while messages name it leaves none of them stuck, empty or unexplained', async (t) => {
    const accepted: Accepted[] = [];
    let refusedAfter = 0;
    let deleted = 0;
    for (let round = 0; round < 20; round++) {
      const key = `gone-${round}`;
      await createTemplate(key, 'Hi {{ name }}');
      let isGone = false;
      const removal = until('the deletion', async () => {
        isGone = (await remove(key)).status === 204;
        return isGone;
      });
      const sender = async (): Promise<void> => {
        for (let last = false; !last; ) {
          // One more after the deletion, which must be refused.
          last = isGone;
          const body = { to: ADA, template: key, data: { name: 'Ada' }, channels: ['email'] };
          const answer = await post(body);
          if (answer.status === 202) accepted.push(answer.json<Accepted>());
          else {
            assert.equal(answer.status, 422, answer.text);
            assert.match(answer.text, /there is no published template/);
            refusedAfter += 1;
          }
          // The deletion waits for a moment without open messages.
          await until(
            'the end',
            async () => answer.status !== 202 || ended(answer.json<Accepted>().id),
          );
        }
      };
      await Promise.all([removal, sender(), sender()]);
    }
    for (const { id } of accepted) {
      const found = await until('its end', () => ended(id));
      const [message] = found.messages;
      if (message?.status === 'delivered') {
        const attempt = (await timeline(id)).find(({ type }) => type === 'attempt');
        assert.ok(attempt);
        const { captured } = attempt.detail as { captured: { content: { text: string } } };
        assert.equal(captured.content.text, 'Hi Ada');
        continue;
      }
      deleted += 1;
      assert.deepEqual([message?.status, message?.reason], ['failed', 'template_deleted']);
      const last = (await timeline(id)).at(-1);
      assert.deepEqual([last?.type, last?.reason], ['failed', 'template_deleted']);
    }
    t.diagnostic(`${accepted.length} accepted, ${deleted} of them without a template`);
    assert.ok(accepted.length > 0 && refusedAfter > 0);
    const { pending } = await tidings.ledger();
    assert.equal(pending, 0);
  });

  it('is kept while a scheduled message names it', async () => {
    await createTemplate('kept', 'Hi');
    const { id } = await send({ content: undefined, template: 'kept', sendAt: inFuture(3600) });
    assert.equal((await remove('kept')).status, 409);
    await tidings.call(`/v1/notifications/${id}/cancel`, { method: 'POST' });
    await until('the deletion', async () => (await remove('kept')).status === 204);
  });
});

async function ended(id: string): Promise<Notification | undefined> {
  const found = (await tidings.call(`/v1/notifications/${id}`)).json<Notification>();
  const [message] = found.messages;
  return message && ['delivered', 'failed'].includes(message.status) ? found : undefined;
}

describe('a receiver that has asked for rest', () => {
  it('is waited for but a moment where another channel is left, and the timeline says so once', async () => {
    await using receiver = await startProviderLedger();
    receiver.answer(() => ({ status: 503, headers: { 'retry-after': '600' } }));
    const request = {
      to: { webhook: receiver.url, userId: 'ada' },
      content: {
        title: 'Hello',
        text: 'It works.',
        channels: { webhook: { payload: { key: 'a' } } },
      },
    };
    await send({ ...request, channels: ['webhook'] });
    await until('the refusal', () => receiver.arrivals.length === 1);
    const { id } = await send({ ...request, route: ['webhook', 'in_app'] });
    const event = await until('the wait', async () =>
      (await timeline(id)).find(({ type }) => type === 'waiting_for_provider'),
    );
    assert.equal(event.detail?.['nextChannel'], 'in_app');
    const { messages, createdAt } = (
      await tidings.call(`/v1/notifications/${id}`)
    ).json<Notification>();
    const giveUpAt = Date.parse(String(event.detail?.['until']));
    assert.equal(giveUpAt, Date.parse(createdAt) + 30_000);
    assert.ok(Date.parse(String(messages[0]?.nextAttemptAt)) <= giveUpAt);
    const sent = await until('the other channel', () => ended(id));
    assert.deepEqual(
      sent.messages.map(({ status, channel }) => [status, channel]),
      [['delivered', 'in_app']],
    );
    assert.deepEqual(
      (await timeline(id)).map(({ type, channel, reason }) => [type, channel, reason]),
      [
        ['accepted', undefined, undefined],
        ['waiting_for_provider', 'webhook', undefined],
        ['attempt', 'webhook', 'provider_down'],
        ['attempt', 'in_app', undefined],
      ],
    );
    assert.equal(receiver.arrivals.length, 1);
  });
});
