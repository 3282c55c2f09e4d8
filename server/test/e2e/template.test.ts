/** Templates and inline content on their way through the real program: holes, hostile content, deletions, waits. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Accepted, Notification } from '@tidings/contracts/notification';
import type { Problem } from '@tidings/contracts/problem';
import type { Template, TemplatePreview } from '@tidings/contracts/template';
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
  const textOf = async (id: string): Promise<string> => {
    const attempt = (await timeline(id)).findLast(({ type }) => type === 'attempt');
    assert.ok(attempt, id);
    return (attempt.detail as { captured: { content: { text: string } } }).captured.content.text;
  };

  it('while messages name it costs none of them its text', async (t) => {
    const accepted: { id: string; text: string }[] = [];
    let refusedAfter = 0;
    for (let round = 0; round < 20; round++) {
      const key = `gone-${round}`;
      await createTemplate(key, `Hi {{ name }} ${round}`);
      let isGone = false;
      const sender = async (): Promise<void> => {
        for (let last = false; !last; ) {
          // One more after the deletion, which must be refused.
          last = isGone;
          const body = { to: ADA, template: key, data: { name: 'Ada' }, channels: ['email'] };
          const answer = await post(body);
          if (answer.status === 202) {
            assert.ok(!last, 'accepted after the deletion was answered');
            accepted.push({ id: answer.json<Accepted>().id, text: `Hi Ada ${round}` });
            continue;
          }
          assert.equal(answer.status, 422, answer.text);
          assert.match(answer.text, /there is no published template/);
          refusedAfter += 1;
        }
      };
      const senders = [sender(), sender(), sender()];
      // Not before some are under way.
      const before = accepted.length;
      await until('messages', () => accepted.length > before + round, { everyMs: 1 });
      assert.equal((await remove(key)).status, 204);
      isGone = true;
      await Promise.all(senders);
      // Who makes it again meanwhile changes nothing about what was accepted.
      if (round % 2 === 0) await createTemplate(key, 'Another text');
    }
    for (const { id, text } of accepted) {
      const [message] = (await until('its end', () => ended(id))).messages;
      assert.deepEqual([message?.status, message?.reason], ['delivered', null]);
      assert.equal(await textOf(id), text);
    }
    t.diagnostic(`${accepted.length} accepted, ${refusedAfter} refused`);
    assert.ok(refusedAfter >= 20);
    assert.equal((await tidings.ledger()).pending, 0);
  });

  it('is unknown from then on, and its key is free for another one', async () => {
    await createTemplate('known', 'Old');
    const { id } = await outcome({ content: undefined, template: 'known' });
    assert.equal((await remove('known')).status, 204);
    assert.equal((await remove('known')).status, 404);
    const unknown = async (): Promise<void> => {
      for (const path of ['', '/versions', '/versions/1'])
        assert.equal((await tidings.call(`/v1/templates/known${path}`)).status, 404, path);
      const preview = { method: 'POST', body: {} };
      assert.equal((await tidings.call('/v1/templates/known/preview', preview)).status, 404);
      assert.ok(!(await tidings.call('/v1/templates?limit=100')).text.includes('"known"'));
    };
    await unknown();
    for (const template of ['known', { key: 'known', version: 1 }])
      await refused({ to: ADA, template }, 422, 'invalid_template', 'body.template');

    await createTemplate('known', 'New');
    const found = (await tidings.call('/v1/templates/known')).json<Template>();
    assert.deepEqual([found.publishedVersion, found.latestVersion], [2, 2]);
    assert.equal((await tidings.call('/v1/templates/known/versions/1')).status, 404);
    const resend = await tidings.call(`/v1/notifications/${id}/resend`, { method: 'POST' });
    const { code, detail, hint, errors } = resend.json<Problem>();
    assert.deepEqual([resend.status, code], [422, 'invalid_template'], resend.text);
    assert.equal(
      detail,
      'Version 1 of the template known, which it was sent with, has been deleted.',
    );
    assert.match(String(hint), /^Send a new notification/);
    assert.equal(errors, undefined, 'no field was sent');
    await refused(
      { to: ADA, template: { key: 'known', version: 1 } },
      ...([422, 'invalid_template', 'body.template'] as const),
    );
    const again = await outcome({ content: undefined, template: 'known' });
    assert.equal(await textOf(again.id), 'New');
    assert.equal(await textOf(id), 'Old');
  });

  it('still gives scheduled messages and redriven ones their text', async () => {
    await using receiver = await startProviderLedger();
    receiver.answer(() => ({ status: 400 }));
    const content = { webhook: { payload: { key: '{{ name }} 1' } } };
    const body = { key: 'later', content, publish: true };
    await tidings.call('/v1/templates', { body });
    const request = { to: { webhook: receiver.url }, content: undefined, template: 'later' };
    const data = { name: 'Ada' };
    const failed = await outcome({ ...request, data });
    assert.equal(failed.messages[0]?.status, 'failed');
    const scheduled = await send({ ...request, data, sendAt: inFuture(2) });
    assert.equal((await remove('later')).status, 204);
    const other = { webhook: { payload: { key: 'another text' } } };
    await tidings.call('/v1/templates', { body: { ...body, content: other } });

    receiver.answer(() => ({ status: 200 }));
    const redrive = { messages: [failed.messages[0]?.id] };
    const taken = await tidings.call('/v1/dead-letters/redrive', { body: redrive });
    assert.deepEqual([taken.status, taken.json()], [202, { taken: 1 }], taken.text);
    await until('both', () => receiver.delivered.get('Ada 1')?.length === 2);
    const { messages } = await until('the end', () => ended(scheduled.id));
    assert.equal(messages[0]?.status, 'delivered');
    assert.deepEqual([...receiver.delivered.keys()], ['Ada 1']);
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
        ['passed_over', 'webhook', 'provider_down'],
        ['attempt', 'in_app', undefined],
      ],
    );
    assert.equal(receiver.arrivals.length, 1);
  });
});
