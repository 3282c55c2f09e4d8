/** Whether the service takes and delivers messages, as it says itself. */
import type { ApiClient } from './api-client.ts';
import { ApiFailure } from './api-failure.ts';

export interface Ready {
  status: string;
  reasons?: string[];
  /** What does not work though it is ready. */
  degraded?: string[];
}

/** "Not ready" is an answer, though it comes as an error. */
export async function readReady(api: ApiClient): Promise<Ready> {
  try {
    const { body } = await api.get<Ready>('/health/ready', { retries: 0 });
    return body;
  } catch (error) {
    const answer =
      error instanceof ApiFailure ? (error.answer as Partial<Ready> | undefined) : undefined;
    if (typeof answer?.status === 'string') return answer as Ready;
    throw error;
  }
}
