/** Standard input as one text, for what is not read as a stream. */
import type { Readable } from 'node:stream';
import { usage } from './exit.ts';

/** More than the service takes in one request by default. */
const LIMIT_BYTES = 4 * 1024 * 1024;

/** @throws CommandFailure when it is longer than the service would take */
export async function readAll(stdin: Readable, limitBytes = LIMIT_BYTES): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of stdin) {
    chunks.push(chunk as Buffer);
    length += (chunk as Buffer).length;
    if (length > limitBytes) {
      throw usage(`standard input is longer than ${limitBytes / 1024 / 1024} MiB`);
    }
  }
  return Buffer.concat(chunks).toString('utf8');
}
