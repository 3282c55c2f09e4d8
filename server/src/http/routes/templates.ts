/** Routes of templates, their versions, publishing and previews. */
import { closed, Key, PageQuery } from '@tidings/contracts/common';
import { type Static, Type } from '@tidings/contracts/schema';
import {
  type CreateTemplate,
  type CreateTemplateVersion,
  type EditTemplate,
  type PreviewTemplate,
  type PublishTemplate,
  type PutTemplateVersion,
  TemplatePage,
  TemplateVersionPage,
  VersionNumber,
} from '@tidings/contracts/template';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { TemplateService } from '../../template/service.ts';
import { callerOf } from '../auth.ts';
import { keyPageOf, readKeyCursor } from '../key-page.ts';
import { readCursor, writeCursor } from '../page.ts';
import { READ, refused, WRITE } from '../problem.ts';
import { described } from '../route.ts';
import { cursorOf, pageIn } from './query.ts';

const TAG = 'Templates';
const TemplateParams = Type.Object({ key: Key });
type TemplateParams = Static<typeof TemplateParams>;
const VersionParams = Type.Object({ key: Key, version: VersionNumber });
type VersionParams = Static<typeof VersionParams>;
const ListQuery = Type.Object(PageQuery, closed);
type ListQuery = { limit: number; cursor?: string };

export function templateRoutes({
  templates,
}: {
  templates: TemplateService;
}): (app: FastifyInstance) => void {
  return (app) => {
    addTemplates(app, templates);
    addVersions(app, templates);
    addPublishing(app, templates);
  };
}

function addTemplates(app: FastifyInstance, templates: TemplateService): void {
  app.get<{ Querystring: ListQuery }>(
    '/v1/templates',
    described('read', {
      id: 'listTemplates',
      tag: TAG,
      summary: 'List templates by key',
      querystring: ListQuery,
      response: { 200: TemplatePage, ...refused(READ) },
    }),
    async (request) => {
      const { limit, cursor } = request.query;
      const page = { limit: limit + 1, after: readKeyCursor(cursorOf('templates', cursor)) };
      const found = await templates.list(callerOf(request).applicationId, page);
      return pageIn('templates', keyPageOf(found, limit));
    },
  );

  app.post<{ Body: CreateTemplate }>(
    '/v1/templates',
    described('manage', {
      id: 'createTemplate',
      tag: TAG,
      summary: 'Create a template with its first version',
      description:
        'The version is a draft unless `publish` says otherwise. A string with `{{` or `{%` in it is checked for its syntax now, and for its pattern, format and length once it is rendered.',
      body: Type.Ref('CreateTemplate'),
      response: { 201: Type.Ref('Template'), ...refused(WRITE, 409, 422) },
    }),
    async (request, reply) => {
      const created = await templates.create(callerOf(request).applicationId, request.body);
      return reply.code(201).header('location', `/v1/templates/${created.key}`).send(created);
    },
  );

  app.get<{ Params: TemplateParams }>(
    '/v1/templates/:key',
    described('read', {
      id: 'getTemplate',
      tag: TAG,
      summary: 'Read a template',
      params: TemplateParams,
      response: { 200: Type.Ref('Template'), ...refused(READ, 404) },
    }),
    (request) => templates.get(callerOf(request).applicationId, request.params.key),
  );

  app.patch<{ Params: TemplateParams; Body: EditTemplate }>(
    '/v1/templates/:key',
    described('manage', {
      id: 'editTemplate',
      tag: TAG,
      summary: 'Change the name, description, category or priority of a template',
      description: 'They belong to the template, not to a version, and hold at once.',
      params: TemplateParams,
      body: Type.Ref('EditTemplate'),
      response: { 200: Type.Ref('Template'), ...refused(WRITE, 404) },
    }),
    (request) => templates.edit(callerOf(request).applicationId, request.params.key, request.body),
  );

  app.delete<{ Params: TemplateParams }>(
    '/v1/templates/:key',
    described('manage', {
      id: 'deleteTemplate',
      tag: TAG,
      summary: 'Remove a template with all its versions',
      description:
        'From then on its key is unknown to new notifications and free for another template. What was accepted before, scheduled or to be redriven, is still sent with the version it was accepted with; it cannot be resent, nor edited without giving it content.',
      params: TemplateParams,
      response: { 204: Type.Null(), ...refused(WRITE, 404) },
    }),
    async (request, reply) => {
      await templates.delete(callerOf(request).applicationId, request.params.key);
      return reply.code(204).send();
    },
  );
}

function addVersions(app: FastifyInstance, templates: TemplateService): void {
  app.get<{ Params: TemplateParams; Querystring: ListQuery }>(
    '/v1/templates/:key/versions',
    described('read', {
      id: 'listTemplateVersions',
      tag: TAG,
      summary: 'List the versions of a template, newest first',
      description: 'A page of large versions may be shorter than its limit; `next` tells.',
      params: TemplateParams,
      querystring: ListQuery,
      response: { 200: TemplateVersionPage, ...refused(READ, 404) },
    }),
    async (request) => {
      const { limit, cursor } = request.query;
      const page = { limit, before: readCursor(cursorOf('versions', cursor)) };
      const { applicationId } = callerOf(request);
      const { items, more } = await templates.versions(applicationId, request.params.key, page);
      const last = items.at(-1);
      const next = more && last ? writeCursor(last.version) : null;
      return pageIn('versions', { items, next });
    },
  );

  app.post<{ Params: TemplateParams; Body: CreateTemplateVersion }>(
    '/v1/templates/:key/versions',
    described('manage', {
      id: 'createTemplateVersion',
      tag: TAG,
      summary: 'Add a version to a template',
      params: TemplateParams,
      body: Type.Ref('CreateTemplateVersion'),
      response: { 201: Type.Ref('TemplateVersion'), ...refused(WRITE, 404, 422) },
    }),
    async (request, reply) => {
      const { key } = request.params;
      const added = await templates.addVersion(callerOf(request).applicationId, key, request.body);
      const location = `/v1/templates/${key}/versions/${added.version}`;
      return reply.code(201).header('location', location).send(added);
    },
  );

  app.get<{ Params: VersionParams }>(
    '/v1/templates/:key/versions/:version',
    described('read', {
      id: 'getTemplateVersion',
      tag: TAG,
      summary: 'Read a version of a template',
      params: VersionParams,
      response: { 200: Type.Ref('TemplateVersion'), ...refused(READ, 404) },
    }),
    (request) => {
      const { key, version } = request.params;
      return templates.version(callerOf(request).applicationId, key, version);
    },
  );

  app.put<{ Params: VersionParams; Body: PutTemplateVersion }>(
    '/v1/templates/:key/versions/:version',
    described('manage', {
      id: 'putTemplateVersion',
      tag: TAG,
      summary: 'Replace a draft',
      description: 'A published version never changes: 409.',
      params: VersionParams,
      body: Type.Ref('PutTemplateVersion'),
      response: { 200: Type.Ref('TemplateVersion'), ...refused(WRITE, 404, 409, 422) },
    }),
    (request) => {
      const { key, version } = request.params;
      const { applicationId } = callerOf(request);
      return templates.replaceDraft(applicationId, key, version, request.body);
    },
  );
}

function addPublishing(app: FastifyInstance, templates: TemplateService): void {
  app.post<{ Params: TemplateParams; Body: PublishTemplate }>(
    '/v1/templates/:key/publish',
    {
      ...described('manage', {
        id: 'publishTemplate',
        tag: TAG,
        summary: 'Publish a version, or go back to one',
        description: 'The example of the version is rendered, and has to fit its channels.',
        params: TemplateParams,
        body: Type.Ref('PublishTemplate'),
        response: { 200: Type.Ref('Template'), ...refused(WRITE, 404, 422) },
      }),
      preValidation: withoutBody,
    },
    (request) => {
      const { applicationId } = callerOf(request);
      return templates.publish(applicationId, request.params.key, request.body.version);
    },
  );

  app.post<{ Params: TemplateParams; Body: PreviewTemplate }>(
    '/v1/templates/:key/preview',
    {
      ...described('read', {
        id: 'previewTemplate',
        tag: TAG,
        summary: 'Render a version without sending it',
        description:
          'With the data given, else the example of the version. What does not fit its channel once it is rendered is answered with 422 and paths into the version.',
        params: TemplateParams,
        body: Type.Ref('PreviewTemplate'),
        response: { 200: Type.Ref('TemplatePreview'), ...refused(WRITE, 404, 422) },
      }),
      preValidation: withoutBody,
    },
    (request) =>
      templates.preview(callerOf(request).applicationId, request.params.key, request.body),
  );
}

/** A request without a body means one in which nothing is named. */
async function withoutBody(request: FastifyRequest): Promise<void> {
  if (request.body === undefined) request.body = {};
}
