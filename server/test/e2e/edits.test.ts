/** Editing what is still scheduled: what can be changed and taken back, and what is remembered of it. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Accepted, Notification } from '@tidings/contracts/notification';
import type { HttpAnswer } from '../support/http-client.ts';
import { ADA, HELLO, inFuture, notificationApi } from '../support/notification-api.ts';
import { startTidings, type Tidings } from '../support/start.ts';
import { until } from '../support/within.ts';

let tidings: Tidings;
before(async () => {
  tidings = await startTidings({ env: { TIDINGS_DELIVERY_RETRY_DELAYS_MS: '50,50' } });
});
after(async () => {
  await tidings?.[Symbol.asyncDispose]();
});

const { post, send, outcome, timeline } = notificationApi(() => tidings);

describe('edits', () => {
  it('edits a scheduled notification, and none that has gone', async () => {
    const { id } = await send({ sendAt: inFuture(3600) });
    const edited = await tidings.call(`/v1/notifications/${id}`, {
      method: 'PATCH',
      body: {
        content: { title: 'New', text: 'text' },
        priority: 'high',
        sendAt: inFuture(7200),
        metadata: { a: 'b' },
      },
    });
    assert.equal(edited.status, 200, edited.text);
    const found = edited.json<Notification>();
    assert.deepEqual(
      [found.content, found.priority, found.metadata],
      [{ title: 'New', text: 'text' }, 'high', { a: 'b' }],
    );
    assert.ok((await timeline(id)).some(({ type }) => type === 'edited'));
    const gone = await outcome({});
    const late = await tidings.call(`/v1/notifications/${gone.id}`, {
      method: 'PATCH',
      body: { priority: 'low' },
    });
    assert.deepEqual([late.status, late.json()['code']], [409, 'conflict']);
    await tidings.call(`/v1/notifications/${id}/cancel`, { method: 'POST' });
  });

  it('takes back what null is written for, field by field', async () => {
    const { id } = await send({
      ...{ data: { a: 1 }, priority: 'high', category: 'c', metadata: { a: 'b' } },
      ...{ collapseKey: 'k', sendAt: inFuture(3600), expiresAt: inFuture(7200) },
    });
    const edit = (body: object): Promise<HttpAnswer> =>
      tidings.call(`/v1/notifications/${id}`, { method: 'PATCH', body });
    for (const [field, empty] of [
      ['data', {}],
      ['priority', 'medium'],
      ['category', null],
      ['metadata', {}],
      ['collapseKey', null],
      ['expiresAt', null],
    ] as const) {
      const answer = await edit({ [field]: null });
      assert.equal(answer.status, 200, answer.text);
      assert.deepEqual(answer.json()[field], empty, field);
      assert.notEqual(answer.json()['sendAt'], null, 'the rest stays');
    }
    for (const [body, message] of [
      [{ content: null }, 'body.content: must be an object'],
      [{ sendAt: 5 }, 'body.sendAt: must be a string or null'],
      [{ priority: 'urgent' }, 'body.priority: must be one of: high, medium, low'],
      [{ expiresAt: 'soon' }, 'body.expiresAt: must be a time with a zone'],
      [{}, 'body: must not be empty'],
    ] as const) {
      const answer = await edit(body);
      assert.equal(answer.status, 400, answer.text);
      assert.ok(answer.json<{ detail: string }>().detail.startsWith(message), answer.text);
    }
    const now = await edit({ sendAt: null });
    assert.deepEqual([now.status, now.json()['sendAt']], [200, null], now.text);
    await until('the message that is sent now', async () => {
      const answer = await tidings.call(`/v1/notifications/${id}`);
      return answer.json<Notification>().messages[0]?.status === 'delivered' || undefined;
    });
  });

  it("goes back to its template's category and priority", async () => {
    const content = { email: { subject: 'a', text: 'b' } };
    const made = await tidings.call('/v1/templates', {
      body: { key: 'taken-back', category: 'news', priority: 'low', content, publish: true },
    });
    assert.equal(made.status, 201, made.text);
    const request = { priority: 'high', category: 'c', sendAt: inFuture(3600) };
    const posted = await post({ to: ADA, template: 'taken-back', ...request });
    const path = `/v1/notifications/${posted.json<Accepted>().id}`;
    const body = { priority: null, category: null };
    const found = (await tidings.call(path, { method: 'PATCH', body })).json<Notification>();
    assert.deepEqual([found.priority, found.category], ['low', 'news']);
    await tidings.call(`${path}/cancel`, { method: 'POST' });
  });

  it('remembers what was accepted, and what each edit changed', async () => {
    const [first, second, third] = [inFuture(3600), inFuture(7200), inFuture(10_800)];
    const { id } = await send({ sendAt: first, priority: 'low' });
    const accepted = (await timeline(id))[0];
    assert.deepEqual(accepted?.detail, { priority: 'low', sendAt: first });
    const long = 'x'.repeat(5000);
    for (const body of [
      { sendAt: second, metadata: { a: 'b' } },
      { sendAt: second },
      { sendAt: third, priority: 'high', content: { title: 'New', text: long } },
      { content: HELLO },
    ]) {
      const answer = await tidings.call(`/v1/notifications/${id}`, { method: 'PATCH', body });
      assert.equal(answer.status, 200, answer.text);
    }
    const [beginning, ...edits] = await timeline(id);
    assert.deepEqual(beginning, accepted);
    assert.ok(edits.every(({ type, at }) => type === 'edited' && at >= (accepted?.at ?? '')));
    const length = JSON.stringify({ title: 'New', text: long }).length;
    assert.deepEqual(
      edits.map(({ detail }) => detail?.['changes']),
      [
        { sendAt: { from: first, to: second }, metadata: { from: {}, to: { a: 'b' } } },
        {
          sendAt: { from: second, to: third },
          priority: { from: 'low', to: 'high' },
          content: { from: HELLO, to: { length } },
        },
        { content: { from: { length }, to: HELLO } },
      ],
    );
    await tidings.call(`/v1/notifications/${id}`, { method: 'PATCH', body: { sendAt: null } });
    assert.deepEqual((await timeline(id))[0], accepted, 'still scheduled at first');
  });

  it('loses no edit that is made beside another', async () => {
    const { id } = await send({ sendAt: inFuture(3600) });
    const path = `/v1/notifications/${id}`;
    const edits = [{ metadata: { a: '1' } }, { collapseKey: 'k' }, { category: 'c' }];
    const answers = await Promise.all(
      edits.map((body) => tidings.call(path, { method: 'PATCH', body })),
    );
    const edited = (await tidings.call(path)).json<Record<string, unknown>>();
    for (const [i, { status }] of answers.entries()) {
      const [[field, value] = ['', '']] = Object.entries(edits[i] as object);
      if (status === 200) assert.deepEqual(edited[field], value, field);
      else assert.equal(status, 409);
    }
    assert.ok(answers.some(({ status }) => status === 200));
    await tidings.call(`${path}/cancel`, { method: 'POST' });
  });

  it('keep the version of a template that has been deleted, or take content instead of it', async () => {
    const content = { email: { subject: 'a', text: 'b' } };
    await tidings.call('/v1/templates', { body: { key: 'deleted', content, publish: true } });
    const posted = await post({ to: ADA, template: 'deleted', sendAt: inFuture(3600) });
    const path = `/v1/notifications/${posted.json<Accepted>().id}`;
    const removed = await tidings.call('/v1/templates/deleted', { method: 'DELETE' });
    assert.equal(removed.status, 204, removed.text);
    const edit = (body: object): Promise<HttpAnswer> =>
      tidings.call(path, { method: 'PATCH', body });
    const kept = await edit({ metadata: { a: 'c' } });
    assert.equal(kept.status, 200, kept.text);
    assert.deepEqual(kept.json<Notification>().template, { key: 'deleted', version: 1 });
    const edited = await edit({ metadata: { a: 'b' }, content: HELLO });
    assert.equal(edited.status, 200, edited.text);
    const { template, content: now } = edited.json<Notification>();
    assert.deepEqual([template, now], [null, HELLO]);
    await tidings.call(`${path}/cancel`, { method: 'POST' });
  });
});
