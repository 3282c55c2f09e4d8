/** What became of messages: in words, and as an exit code. */
import { FINAL_STATUSES, type MessageStatus } from '@tidings/contracts/common';
import type { Accepted, Message, Notification } from '@tidings/contracts/notification';
import { EXIT, type ExitCode, exitOf } from './exit.ts';
import type { Terminal } from './terminal.ts';

type AnyMessage = Accepted['messages'][number] | Message;

export function hasEnded(status: MessageStatus): boolean {
  return (FINAL_STATUSES as readonly string[]).includes(status);
}

/** @param waited whether anybody asked for the outcome */
export function exitOfOutcome({ messages }: Accepted | Notification, waited: boolean): ExitCode {
  if (!waited) return EXIT.ok;
  const statuses = messages.map(({ status }) => status);
  if (!statuses.every(hasEnded)) return EXIT.timeout;
  const succeeded = statuses.filter((status) => status === 'delivered').length;
  return exitOf({ succeeded, failed: statuses.length - succeeded });
}

export function routeOf(message: AnyMessage): string {
  if ('channel' in message && message.channel !== null) return message.channel;
  return message.route.join(' → ');
}

/** A line per message. */
export async function showMessages(
  terminal: Terminal,
  messages: readonly AnyMessage[],
): Promise<void> {
  await terminal.table(
    ['MESSAGE', 'CHANNEL', 'STATUS', 'ATTEMPTS', 'PROVIDER', 'REASON'],
    messages.map((message) => [
      message.id,
      routeOf(message),
      message.status,
      'attempts' in message ? String(message.attempts) : '',
      ('provider' in message && message.provider) || '',
      ('reason' in message && message.reason) || '',
    ]),
    { status: 2 },
  );
}
