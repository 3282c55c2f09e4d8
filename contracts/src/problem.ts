/** The error body of every answer outside 2xx: RFC 9457 with members of our own. */
import { type Static, Type } from './schema.ts';

export const ProblemError = Type.Object({
  path: Type.String({
    description: 'Where in the request: `body.to.email`, `query.limit`, `header.idempotency-key`.',
  }),
  message: Type.String(),
});
export type ProblemError = Static<typeof ProblemError>;

export const Problem = Type.Object(
  {
    type: Type.String({
      description: 'URI reference that names the kind of problem, the same on every host.',
    }),
    title: Type.String(),
    status: Type.Integer(),
    code: Type.String({ description: 'Stable, machine-readable code.' }),
    detail: Type.Optional(Type.String()),
    instance: Type.Optional(Type.String()),
    errors: Type.Optional(Type.Array(ProblemError)),
    hint: Type.Optional(Type.String()),
    request_id: Type.String(),
    doc_url: Type.String({ description: 'Where the code is explained; a whole URL.' }),
  },
  { $id: 'Problem', description: 'RFC 9457 problem details.' },
);
export type Problem = Static<typeof Problem>;
