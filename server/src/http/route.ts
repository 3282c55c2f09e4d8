/** What every route of the API has in common. */
import type { Scope } from '@tidings/contracts/common';
import { type TSchema, Type } from '@tidings/contracts/schema';

const PROBLEM = {
  description: 'Problem details (RFC 9457)',
  content: { 'application/problem+json': { schema: Type.Ref('Problem') } },
};

/** A parameter that nobody reads was meant for something. */
const NO_QUERY = Type.Object({}, { additionalProperties: false });

/** Options of a route: who may call it and how it is documented. */
export function described(
  scope: Scope,
  operation: {
    id: string;
    tag: string;
    summary: string;
    description?: string;
    params?: TSchema;
    querystring?: TSchema;
    headers?: TSchema;
    body?: TSchema;
    response: Record<number, unknown>;
  },
) {
  const { id, tag, response, ...rest } = operation;
  return {
    config: { scope },
    schema: {
      operationId: id,
      tags: [tag],
      security: [{ apiKey: [] }],
      querystring: NO_QUERY,
      ...rest,
      response: { ...response, '4xx': PROBLEM, '5xx': PROBLEM },
    },
  };
}
