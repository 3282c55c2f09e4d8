/** A channel of the fault tests: its address says what goes wrong. */
import { Type } from '@tidings/contracts/schema';
import { defineAdapter } from '../../../../src/adapters/adapter.ts';

export default defineAdapter<string>({
  channel: 'poison',
  title: 'Poison',
  contentSchema: Type.Object({ text: Type.String() }, { additionalProperties: false }),
  htmlFields: [],
  parseAddress: (text) => ({ ok: true, address: text, normalized: text }),
  maskAddress: (text) => text,
  defaultAddress: 'none',
  needs: 'a text',
  fromContent: ({ text }) => (text === undefined ? undefined : { text }),
  validate: () => [],
  simulated: {
    delivered: 's-delivered',
    temporaryFailure: 's-retry',
    permanentFailure: 's-failed',
  },
});
