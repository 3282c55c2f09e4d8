/** Routes of users: their profiles, groups and preferences. */

import { Type } from '@tidings/contracts/schema';
import {
  ListUsersQuery,
  type Preferences,
  type PutUser,
  UserPage,
  UserParams,
} from '@tidings/contracts/user';
import type { FastifyInstance } from 'fastify';
import { invalid } from '../../errors.ts';
import type { UserService } from '../../user/service.ts';
import { callerOf } from '../auth.ts';
import { READ, refused, WRITE } from '../problem.ts';
import { described } from '../route.ts';
import { cursorOf, pageIn } from './query.ts';

const TAG = 'Users';

type Params = { userId: string };

export function userRoutes({ users }: { users: UserService }): (app: FastifyInstance) => void {
  return (app) => {
    addProfiles(app, users);
    addPreferences(app, users);
  };
}

function addProfiles(app: FastifyInstance, users: UserService): void {
  app.put<{ Params: Params; Body: PutUser }>(
    '/v1/users/:userId',
    described('manage', {
      id: 'putUser',
      tag: TAG,
      summary: 'Create a user or replace its profile',
      params: UserParams,
      body: Type.Ref('PutUser'),
      response: { 200: Type.Ref('User'), 201: Type.Ref('User'), ...refused(WRITE) },
    }),
    async (request, reply) => {
      const { userId } = request.params;
      const { user, created } = await users.put(callerOf(request), userId, request.body);
      return reply.code(created ? 201 : 200).send(user);
    },
  );

  app.get<{ Params: Params }>(
    '/v1/users/:userId',
    described('read', {
      id: 'getUser',
      tag: TAG,
      summary: 'Read a user',
      params: UserParams,
      response: { 200: Type.Ref('User'), ...refused(READ, 404) },
    }),
    (request) => users.get(callerOf(request), request.params.userId),
  );

  app.delete<{ Params: Params }>(
    '/v1/users/:userId',
    described('manage', {
      id: 'deleteUser',
      tag: TAG,
      summary: 'Remove a user with its groups, preferences and inbox',
      description:
        'The profile goes at once, with its addresses, attributes and what the user refused. The inbox is emptied, its tokens are refused from then on and its open streams end (`user_removed`, code 4410 of a WebSocket). What was sent stays: notifications with their recipient, content and timeline, each until its retention (`retention.messagesMs`, 90 days) is over. What is still to be sent goes on as to somebody unknown: to the addresses it names, and to the inbox.',
      params: UserParams,
      response: { 204: Type.Null(), ...refused(WRITE, 404) },
    }),
    async (request, reply) => {
      await users.delete(callerOf(request), request.params.userId);
      return reply.code(204).send();
    },
  );

  app.get<{ Querystring: ListUsersQuery & { limit: number } }>(
    '/v1/users',
    described('read', {
      id: 'listUsers',
      tag: TAG,
      summary: 'List users by id, all or those of a group',
      querystring: ListUsersQuery,
      response: { 200: UserPage, ...refused(READ) },
    }),
    async (request) => {
      const { limit, cursor, group = null } = request.query;
      const page = { limit: limit + 1, after: readIdCursor(cursorOf('users', cursor)), group };
      return pageIn('users', pageOf(await users.list(callerOf(request), page), limit));
    },
  );
}

function addPreferences(app: FastifyInstance, users: UserService): void {
  app.get<{ Params: Params }>(
    '/v1/users/:userId/preferences',
    described('read', {
      id: 'getPreferences',
      tag: TAG,
      summary: 'Read what a user agreed to',
      params: UserParams,
      response: { 200: Type.Ref('Preferences'), ...refused(READ, 404) },
    }),
    async (request) => (await users.get(callerOf(request), request.params.userId)).preferences,
  );

  app.put<{ Params: Params; Body: Preferences }>(
    '/v1/users/:userId/preferences',
    described('manage', {
      id: 'putPreferences',
      tag: TAG,
      summary: 'Replace what a user agreed to',
      params: UserParams,
      body: Type.Ref('Preferences'),
      response: { 200: Type.Ref('Preferences'), ...refused(WRITE, 404) },
    }),
    async (request) => {
      const { userId } = request.params;
      return (await users.putPreferences(callerOf(request), userId, request.body)).preferences;
    },
  );
}

/** The list goes by id, so its cursor is the id of the last user, opaque to callers. */
function readIdCursor(cursor: string | undefined): string | null {
  if (cursor === undefined) return null;
  const id = Buffer.from(cursor, 'base64url').toString('utf8');
  if (id === '' || writeIdCursor(id) !== cursor) {
    throw invalid('invalid_request', [
      { path: 'query.cursor', message: 'is not a cursor of this list' },
    ]);
  }
  return id;
}

function writeIdCursor(id: string): string {
  return Buffer.from(id, 'utf8').toString('base64url');
}

/** A page from one more user than was asked for. */
function pageOf<User extends { id: string }>(
  users: readonly User[],
  limit: number,
): { items: User[]; next: string | null } {
  const items = users.slice(0, limit);
  const last = items.at(-1);
  return { items, next: users.length > limit && last ? writeIdCursor(last.id) : null };
}
