/** The API of notifications, called as a system that sends them would. */
import assert from 'node:assert/strict';
import type { Accepted, Notification, TimelineEvent } from '@tidings/contracts/notification';
import type { HttpAnswer } from './http-client.ts';
import type { Tidings } from './start.ts';

export const HELLO = { title: 'Hello', text: 'Your order has shipped.' };
export const ADA = { email: 'ada@example.com' };

export function inFuture(seconds: number): string {
  return new Date(Date.now() + seconds * 1000).toISOString();
}

/** @param service the one that runs when a call is made */
export function notificationApi(service: () => Tidings) {
  function post(
    body: unknown,
    { query = '', headers = {} }: { query?: string; headers?: Record<string, string> } = {},
  ): Promise<HttpAnswer> {
    return service().call(`/v1/notifications${query}`, { method: 'POST', body, headers });
  }

  return {
    post,

    async send(body: object): Promise<Accepted> {
      const answer = await post({ content: HELLO, to: ADA, ...body });
      assert.equal(answer.status, 202, answer.text);
      return answer.json<Accepted>();
    },

    async outcome(body: object): Promise<Notification> {
      const answer = await post({ content: HELLO, to: ADA, ...body }, { query: '?wait=20s' });
      assert.equal(answer.status, 200, answer.text);
      return answer.json<Notification>();
    },

    async timeline(id: string): Promise<TimelineEvent[]> {
      const answer = await service().call(`/v1/notifications/${id}/timeline`);
      return answer.json<{ items: TimelineEvent[] }>().items;
    },

    /** The body is refused like this, with the path among its faults. */
    async refused(body: unknown, status: number, code: string, path: string): Promise<void> {
      const answer = await post(body);
      const problem = answer.json<{
        code: string;
        errors?: { path: string }[];
        request_id: string;
      }>();
      assert.deepEqual([answer.status, problem.code], [status, code], answer.text);
      assert.match(String(answer.headers['content-type']), /^application\/problem\+json/);
      assert.ok(
        problem.errors?.some((error) => error.path === path),
        `${path} in ${answer.text}`,
      );
      assert.ok(problem.request_id);
    },
  };
}
