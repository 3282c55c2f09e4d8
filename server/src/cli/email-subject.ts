/** What an email without a title is called: `df -h | tidings send --to ops@example.com` has to work. */
import type { BaseRequest } from './send-request.ts';

const LONGEST = 78;

/** The request, with the first line of its text as the subject where a bare email address needs one. */
export function withSubject(request: BaseRequest): BaseRequest {
  const { to, content, channels, route } = request;
  const fields = content as Record<string, unknown> | undefined;
  const named = (channels ?? route) as string[] | undefined;
  const isEmail = (to as Record<string, unknown>)['email'] !== undefined;
  if (!isEmail || (named && !named.includes('email'))) return request;
  const text = fields?.['text'] ?? fields?.['markdown'];
  if (typeof text !== 'string') return request;
  if (fields?.['title'] !== undefined || fields?.['subject'] !== undefined) return request;
  const subject = firstLine(text);
  return subject === '' ? request : { ...request, content: { subject, ...fields } };
}

function firstLine(text: string): string {
  const line = text.trimStart().split(/[\r\n]/, 1)[0] ?? '';
  const plain = line.replace(/[\p{Cc}\s]+/gu, ' ').trim();
  const characters = [...plain];
  return characters.length <= LONGEST ? plain : `${characters.slice(0, LONGEST - 1).join('')}…`;
}
