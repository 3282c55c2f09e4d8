/**
 * Port: hints between threads and nodes: "something you may be waiting for has happened". Never
 * truth: a hint may be lost or repeated, and whoever acts on one reads the store.
 */
export interface Hints {
  publish(topic: string, payload: unknown): void;
  /** Calls back for each hint of the topic until the returned function is called. */
  subscribe(topic: string, callback: (payload: unknown) => void): () => void;
}

/** The message has ended, or its state is worth another look. */
export function messageTopic(messageId: number): string {
  return `m${messageId}`;
}

/** Something became durable in somebody's inbox; the payload is the entry. */
export const INBOX_TOPIC = 'inbox';
