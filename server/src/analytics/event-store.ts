/**
 * Port: every event of every message, for timelines and later for reports.
 *
 * `append` is durable when it resolves and may be repeated after `unavailable`; an event that is
 * then stored twice is the price (it is named by message, type and time, so readers can tell).
 * Reading may lag behind writing by the engine's stated staleness. An absent event store never
 * stops delivery: the tracker buffers.
 */
export interface MessageEvent {
  messageId: number;
  /** ms since 1970. */
  at: number;
  /** `attempt`, `suppressed`, `expired`, `cancelled`, `edited`, `redriven` … (contracts/timeline.ts) */
  type: string;
  /** What is shown of it: channel, provider, attempt, status, reason, response, durationMs … */
  detail: Record<string, unknown> | null;
}

export interface EventStore {
  append(events: readonly MessageEvent[]): Promise<void>;
  /** Events of messages `first` to `last`, oldest first. */
  timeline(first: number, last: number): Promise<MessageEvent[]>;
}
