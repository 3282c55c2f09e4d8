/** Settings of the HTTP provider. Networks are judged by address-guard.ts. */
import { type Static, Type } from '@tidings/contracts/schema';

const DAY_MS = 24 * 3_600_000;
/** Standard Webhooks advises 15 to 30 s for one attempt. */
export const TIMEOUT_MS = 15_000;
export const LONGEST_TIMEOUT_MS = 30_000;
export const DISABLE_AFTER_MS = 5 * DAY_MS;
export const CONNECTIONS_PER_HOST = 50;

const Network = Type.String({ maxLength: 64 });

export const HttpConfig = Type.Object(
  {
    timeoutMs: Type.Optional(
      Type.Integer({
        minimum: 100,
        maximum: LONGEST_TIMEOUT_MS,
        default: TIMEOUT_MS,
        description:
          'Longest time of one attempt, from resolving the name to the end of the answer.',
      }),
    ),
    allowedNetworks: Type.Optional(
      Type.Array(Network, {
        default: [],
        description:
          'Networks such as 10.0.0.0/8 that may be reached although they are not public, by http too.',
      }),
    ),
    deniedNetworks: Type.Optional(
      Type.Array(Network, {
        default: [],
        description: 'Networks that may not be reached, whatever else allows them.',
      }),
    ),
    allowHttp: Type.Optional(
      Type.Boolean({ default: false, description: 'Whether any endpoint may be reached by http.' }),
    ),
    disableAfterMs: Type.Optional(
      Type.Integer({
        minimum: 60_000,
        default: DISABLE_AFTER_MS,
        description: 'An endpoint that failed for so long without one success is switched off.',
      }),
    ),
    maxConnectionsPerHost: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 1000,
        default: CONNECTIONS_PER_HOST,
        description: 'Connections to one host and port at once; further requests wait for one.',
      }),
    ),
  },
  { additionalProperties: false },
);
export type HttpConfig = Static<typeof HttpConfig>;
