/**
 * Numbers of a query are written in digits. Queries are all text, and what turns them into the numbers
 * of their schema would also take `0x10`, `1e1` and ` 5`, which others read differently or not at all.
 */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { invalid } from '../errors.ts';

const DIGITS = /^-?[0-9]+$/;

/** For all routes that are added after it. */
export function plainNumbers(app: FastifyInstance): void {
  app.addHook('onRoute', (route) => {
    const names = integersOf(route.schema?.querystring);
    if (names.length === 0) return;
    const check = async ({ query }: FastifyRequest): Promise<void> => {
      const errors = names
        .filter((name) => !isPlain((query as Record<string, unknown>)[name]))
        .map((name) => ({ path: `query.${name}`, message: 'must be a whole number in digits' }));
      if (errors.length > 0) throw invalid('invalid_request', errors);
    };
    route.preValidation = [...[route.preValidation ?? []].flat(), check];
  });
}

/** What is there more than once is the schema's to refuse. */
function isPlain(value: unknown): boolean {
  return typeof value !== 'string' || DIGITS.test(value);
}

function integersOf(querystring: unknown): string[] {
  const { properties = {} } = (querystring ?? {}) as { properties?: Record<string, object> };
  return Object.entries(properties)
    .filter(([, schema]) => (schema as { type?: unknown }).type === 'integer')
    .map(([name]) => name);
}
