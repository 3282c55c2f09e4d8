/** Sends one notification, and waits for its outcome when that is asked. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Accepted, Notification } from '@tidings/contracts/notification';
import type { ApiAnswer, ApiClient } from './api-client.ts';
import type { BaseRequest } from './send-request.ts';

/** Longest that one request waits at the service. */
const LONGEST_WAIT_MS = 30_000;
const PAUSE_MS = 100;

/**
 * Sends, and waits for the outcome. Waiting on is the same request again: its idempotency key makes
 * it ask for what was stored the first time, and a key that may only send is enough.
 */
export async function post(
  api: ApiClient,
  body: BaseRequest,
  idempotencyKey: string,
  waitMs: number,
): Promise<ApiAnswer<Accepted | Notification>> {
  const path = '/v1/notifications';
  if (waitMs <= 0) return api.post<Accepted>(path, { body, idempotencyKey });
  const deadline = performance.now() + waitMs;
  for (;;) {
    const left = Math.max(1, Math.ceil(deadline - performance.now()));
    const part = Math.min(LONGEST_WAIT_MS, left);
    const answer = await api.post<Accepted | Notification>(path, {
      body,
      idempotencyKey,
      query: { wait: `${part}ms` },
      extraMs: part,
    });
    const late = performance.now() >= deadline;
    if (answer.status === 200 || late) return answer;
    // A service that answers early, since it is about to stop, is not asked again at once.
    await delay(Math.min(PAUSE_MS, Math.max(0, deadline - performance.now())));
  }
}
