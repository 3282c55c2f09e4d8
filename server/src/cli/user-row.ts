/** A user as a line of a file, and back. */
import { CHANNEL_PATTERN } from '@tidings/contracts/common';
import type { User } from '@tidings/contracts/user';
import { parseData } from './assignment.ts';
import { RecordFault } from './bulk.ts';
import { csvLine } from './csv.ts';
import { CommandFailure } from './exit.ts';

/** Columns of a CSV export. What is no plain text stands there as JSON. */
const COLUMNS = [
  'id',
  'name',
  'locale',
  'timezone',
  'groups',
  'addresses',
  'attributes',
  'preferences',
] as const;
/** Written by the service itself. */
const NOT_SET = new Set(['id', 'createdAt', 'updatedAt']);
const CHANNEL = new RegExp(CHANNEL_PATTERN);
const FIELDS = new Set<string>([...COLUMNS, ...NOT_SET]);

export const userCsvHeading = csvLine(COLUMNS);

export function userCsvLine(user: User): string {
  return csvLine(
    COLUMNS.map((column) => {
      const value = user[column];
      if (value === null) return '';
      if (typeof value === 'string') return value;
      if (column === 'groups') return user.groups.join(' ');
      return Object.keys(value).length === 0 ? '' : JSON.stringify(value);
    }),
  );
}

export interface UserRequest {
  id: string;
  /** Of `PUT /v1/users/:id`. */
  body: Record<string, unknown>;
}

/**
 * From an object of an NDJSON export, or from a row of a CSV file, in which everything is text and
 * a column may also be named after a channel (`email`) or an attribute (`attributes.plan`).
 * @throws RecordFault
 */
export function userRequest(value: unknown): UserRequest {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) {
    throw new RecordFault('is not a user');
  }
  const { id, ...fields } = value as Record<string, unknown>;
  if (typeof id !== 'string' || id === '') throw new RecordFault('id: must be a text');
  const body: Record<string, unknown> = {};
  const addresses: { channel: string; address: unknown }[] = [];
  for (const [name, field] of Object.entries(fields)) {
    if (field === null || NOT_SET.has(name)) continue;
    if (name.startsWith('attributes.')) {
      addAttribute(body, name.slice('attributes.'.length), field);
    } else if (!FIELDS.has(name) && CHANNEL.test(name)) {
      addresses.push({ channel: name, address: field });
    } else body[name] = typeof field === 'string' ? fromText(name, field) : field;
  }
  if (addresses.length > 0) {
    const listed = Array.isArray(body['addresses']) ? (body['addresses'] as unknown[]) : [];
    body['addresses'] = [...listed, ...addresses];
  }
  return { id, body };
}

function fromText(name: string, text: string): unknown {
  if (name === 'groups' && !text.trimStart().startsWith('[')) {
    return text.split(/[\s;,]+/).filter((group) => group !== '');
  }
  if (
    name !== 'groups' &&
    name !== 'addresses' &&
    name !== 'attributes' &&
    name !== 'preferences'
  ) {
    return text;
  }
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new RecordFault(`${name}: is not JSON: ${(error as Error).message}`);
  }
}

function addAttribute(body: Record<string, unknown>, path: string, value: unknown): void {
  const before = (body['attributes'] ?? {}) as Record<string, unknown>;
  try {
    body['attributes'] = parseData(
      [JSON.stringify(before), `${path}:=${JSON.stringify(value)}`],
      'attributes',
    );
  } catch (error) {
    if (error instanceof CommandFailure) throw new RecordFault(error.message);
    throw error;
  }
}
