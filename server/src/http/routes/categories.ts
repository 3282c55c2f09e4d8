/** Routes of categories: what recipients can opt out of, and what they cannot. */
import { closed, Key, PageQuery } from '@tidings/contracts/common';
import { type Static, Type } from '@tidings/contracts/schema';
import { CategoryPage, type PutCategory } from '@tidings/contracts/template';
import type { FastifyInstance } from 'fastify';
import type { TemplateService } from '../../template/service.ts';
import { callerOf } from '../auth.ts';
import { keyPageOf, readKeyCursor } from '../key-page.ts';
import { READ, refused, WRITE } from '../problem.ts';
import { described } from '../route.ts';
import { cursorOf, pageIn } from './query.ts';

const TAG = 'Categories';
const CategoryParams = Type.Object({ key: Key });
type CategoryParams = Static<typeof CategoryParams>;
const ListQuery = Type.Object(PageQuery, closed);
type ListQuery = { limit: number; cursor?: string };

export function categoryRoutes({
  templates,
}: {
  templates: TemplateService;
}): (app: FastifyInstance) => void {
  return (app) => {
    app.get<{ Querystring: ListQuery }>(
      '/v1/categories',
      described('read', {
        id: 'listCategories',
        tag: TAG,
        summary: 'List categories by key',
        querystring: ListQuery,
        response: { 200: CategoryPage, ...refused(READ) },
      }),
      async (request) => {
        const { limit, cursor } = request.query;
        const page = { limit: limit + 1, after: readKeyCursor(cursorOf('categories', cursor)) };
        const { applicationId } = callerOf(request);
        const found = await templates.listCategories(applicationId, page);
        return pageIn('categories', keyPageOf(found, limit));
      },
    );

    app.get<{ Params: CategoryParams }>(
      '/v1/categories/:key',
      described('read', {
        id: 'getCategory',
        tag: TAG,
        summary: 'Read a category',
        params: CategoryParams,
        response: { 200: Type.Ref('Category'), ...refused(READ, 404) },
      }),
      (request) => templates.getCategory(callerOf(request).applicationId, request.params.key),
    );

    app.put<{ Params: CategoryParams; Body: PutCategory }>(
      '/v1/categories/:key',
      described('manage', {
        id: 'putCategory',
        tag: TAG,
        summary: 'Create or replace a category',
        description:
          'Templates and notifications may name a category that is not described here: it is one that recipients can opt out of.',
        params: CategoryParams,
        body: Type.Ref('PutCategory'),
        response: { 200: Type.Ref('Category'), 201: Type.Ref('Category'), ...refused(WRITE) },
      }),
      async (request, reply) => {
        const { key } = request.params;
        const { applicationId } = callerOf(request);
        const { category, isNew } = await templates.putCategory(applicationId, key, request.body);
        if (isNew) reply.code(201).header('location', `/v1/categories/${key}`);
        return category;
      },
    );

    app.delete<{ Params: CategoryParams }>(
      '/v1/categories/:key',
      described('manage', {
        id: 'deleteCategory',
        tag: TAG,
        summary: 'Remove a category',
        description: 'Templates that name it keep its key; it can then be opted out of.',
        params: CategoryParams,
        response: { 204: Type.Null(), ...refused(WRITE, 404) },
      }),
      async (request, reply) => {
        await templates.deleteCategory(callerOf(request).applicationId, request.params.key);
        return reply.code(204).send();
      },
    );
  };
}
