/**
 * The in-app channel: what its items look like and who they go to. It stores nothing
 * (inbox-store.ts) and keeps no connection (inbox/).
 */
import { USER_ID_PATTERN } from '@tidings/contracts/common';
import { defineAdapter, type ParsedAddress } from '../adapter.ts';
import { InAppContent, inAppFromContent, validateInAppContent } from './content.ts';

// As JSON Schema reads it.
const USER_ID = new RegExp(USER_ID_PATTERN, 'u');
/** The upper control characters, which the pattern of user ids leaves open but no id needs. */
const UPPER_CONTROL = /[\u0080-\u009f]/;

export default defineAdapter<string>({
  channel: 'in_app',
  title: 'In-app inbox',
  contentSchema: InAppContent,
  htmlFields: [],
  parseAddress,
  maskAddress,
  defaultAddress: 'userId',
  needs: 'a title or a text',
  fromContent: inAppFromContent,
  validate: validateInAppContent,
  simulated: {
    delivered: 'simulate-delivered',
    temporaryFailure: 'simulate-temporary-failure',
    permanentFailure: 'simulate-permanent-failure',
  },
});

/** A user's id is taken as it is: case and spaces tell users apart. */
function parseAddress(text: string): ParsedAddress<string> {
  if (!USER_ID.test(text) || UPPER_CONTROL.test(text) || !text.isWellFormed()) {
    return {
      ok: false,
      message: 'must be the id of a user: 1 to 128 characters, no control characters',
    };
  }
  return { ok: true, address: text, normalized: text };
}

/** The first and last characters of longer ids; ids are often addresses or numbers of people. */
function maskAddress(text: string): string {
  const characters = [...text];
  if (characters.length < 6) return '***';
  return `${characters.slice(0, 2).join('')}***${characters.slice(-2).join('')}`;
}
