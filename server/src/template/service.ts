/**
 * Templates and categories as callers deal with them, and the rendering that sending needs: the
 * one file of this room for others.
 *
 * A template has numbered versions. A version is a draft, which may be replaced, until it is
 * published; from then on it never changes. One published version is the one that is sent;
 * publishing an older one again goes back to it. What is saved was checked as far as that can be
 * done before rendering; publishing checks again and renders the example.
 */
import type {
  Category,
  CreateTemplate,
  CreateTemplateVersion,
  EditTemplate,
  PreviewTemplate,
  PutCategory,
  PutTemplateVersion,
  Template,
  TemplatePreview,
  TemplateVersion,
} from '@tidings/contracts/template';
import { DEFAULT_LOCALE } from '@tidings/contracts/template';
import type { Clock } from '../clock.ts';
import { invalid, notFound, ServiceError } from '../errors.ts';
import type { Channels } from './content-check.ts';
import { previewVersion } from './preview.ts';
import { createRenderer } from './renderer.ts';
import type { NewTemplateVersion, PublishedTemplate, TemplateStore } from './template-store.ts';
import { below, checkExample, checkVersion } from './version-check.ts';

export interface TemplateServiceOptions {
  store: TemplateStore;
  adapters: Channels;
  clock: Clock;
}

export type TemplateService = ReturnType<typeof createTemplateService>;

/** Versions that are read at once: one has up to VERSION_LIMITS.bytes. */
const VERSIONS_AT_ONCE = 10;
/** A page of versions ends after so many characters of JSON. */
const VERSIONS_LENGTH = 4 * 1024 * 1024;

export function createTemplateService({ store, adapters, clock }: TemplateServiceOptions) {
  /** @throws invalid_template with the path of each fault below `prefix` */
  async function check(
    version: NewTemplateVersion,
    { prefix, publish }: { prefix: string; publish: boolean },
  ): Promise<void> {
    const faults = checkVersion(version, adapters);
    if (publish && faults.length === 0) {
      faults.push(...(await checkExample(version, adapters, clock.now())));
    }
    if (faults.length > 0) throw invalid('invalid_template', below(prefix, faults));
  }

  async function get(applicationId: number, key: string): Promise<Template> {
    return (await store.get(applicationId, key)) ?? missing('template', key);
  }

  async function version(applicationId: number, key: string, number: number) {
    return (
      (await store.version(applicationId, key, number)) ??
      missing(`version ${number} of the template`, key)
    );
  }

  async function newest(applicationId: number, key: string, number: number | undefined) {
    const { latestVersion } = await get(applicationId, key);
    return version(applicationId, key, number ?? latestVersion);
  }

  return {
    ...createRenderer({ adapters, clock }),

    /** @throws invalid_template (paths `body.…`), already_exists */
    async create(applicationId: number, request: CreateTemplate): Promise<Template> {
      const { key, publish = false } = request;
      const draft = draftOf(request);
      await check(draft, { prefix: 'body', publish });
      const template = {
        key,
        name: request.name ?? key,
        description: request.description ?? null,
        category: request.category ?? null,
        priority: request.priority ?? null,
      };
      try {
        return await store.create(applicationId, template, draft, { publish, at: clock.now() });
      } catch (error) {
        if (!(error instanceof ServiceError) || error.code !== 'already_exists') throw error;
        throw new ServiceError('already_exists', {
          detail: `There is a template ${key} already.`,
          errors: [{ path: 'body.key', message: 'is taken' }],
        });
      }
    },

    /** @throws not_found, as everything does that names a template */
    get,

    list(applicationId: number, page: { limit: number; after: string | null }) {
      return store.list(applicationId, page);
    },

    async edit(applicationId: number, key: string, change: EditTemplate): Promise<Template> {
      const edited = await store.edit(applicationId, key, change, clock.now());
      return edited ?? missing('template', key);
    },

    /** What was accepted with a version of it is still sent: see `published` of the port, and retention.ts. */
    async delete(applicationId: number, key: string): Promise<void> {
      if (!(await store.delete(applicationId, key, clock.now()))) missing('template', key);
    },

    /** @throws invalid_template with paths `body.…` */
    async addVersion(
      applicationId: number,
      key: string,
      request: CreateTemplateVersion,
    ): Promise<TemplateVersion> {
      await get(applicationId, key);
      const { publish = false } = request;
      const draft = draftOf(request);
      await check(draft, { prefix: 'body', publish });
      const options = { publish, at: clock.now() };
      const added = await store.addVersion(applicationId, key, draft, options);
      return added ?? missing('template', key);
    },

    /** @throws invalid_template with paths `body.…`; conflict when the version is published */
    async replaceDraft(
      applicationId: number,
      key: string,
      number: number,
      request: PutTemplateVersion,
    ): Promise<TemplateVersion> {
      await version(applicationId, key, number);
      const draft = draftOf(request);
      await check(draft, { prefix: 'body', publish: false });
      const replaced = await store.replaceDraft(applicationId, key, number, draft, clock.now());
      return replaced ?? missing(`version ${number} of the template`, key);
    },

    version,

    /** Newest first. A page holds fewer than its limit when versions are large; `more` tells. */
    async versions(
      applicationId: number,
      key: string,
      { limit, before }: { limit: number; before: number | null },
    ): Promise<{ items: TemplateVersion[]; more: boolean }> {
      await get(applicationId, key);
      const items: TemplateVersion[] = [];
      let length = 0;
      for (;;) {
        const next = items.at(-1)?.version ?? before;
        const page = { limit: VERSIONS_AT_ONCE, before: next };
        const group = await store.versions(applicationId, key, page);
        for (const item of group) {
          if (items.length === limit || length > VERSIONS_LENGTH) return { items, more: true };
          items.push(item);
          length += JSON.stringify(item).length;
        }
        if (group.length < VERSIONS_AT_ONCE) return { items, more: false };
      }
    },

    /**
     * Publishes a version, or goes back to one: the newest unless one is named. Idempotent.
     * @throws invalid_template with paths into the version (`content.email.subject`)
     */
    async publish(applicationId: number, key: string, number?: number): Promise<Template> {
      const chosen = await newest(applicationId, key, number);
      await check(chosen, { prefix: '', publish: true });
      const published = await store.publish(applicationId, key, chosen.version, clock.now());
      return published ?? missing(`version ${chosen.version} of the template`, key);
    },

    /** @throws invalid_template with paths into the version when it cannot be rendered to content that fits */
    async preview(
      applicationId: number,
      key: string,
      request: PreviewTemplate,
    ): Promise<TemplatePreview> {
      const chosen = await newest(applicationId, key, request.version);
      return previewVersion(chosen, request, { adapters, now: clock.now() });
    },

    /**
     * Hot: what a new message is accepted with: the version that is sent, or a published one that is
     * named. The same object as long as it stays in memory. @throws invalid_template with the path `body.template`
     * @param asked.isKept it was accepted with that version before, so the template may have been deleted since
     */
    resolve(
      applicationId: number,
      asked: { key: string; version: number | null; isKept?: boolean },
    ): PublishedTemplate {
      const { key, version: number, isKept = false } = asked;
      const template =
        isKept && number !== null
          ? store.published(applicationId, key, number)
          : store.usable(applicationId, key, number);
      if (template) return template;
      const what = number === null ? `template ${key}` : `version ${number} of a template ${key}`;
      throw invalid('invalid_template', [
        { path: 'body.template', message: `there is no published ${what}` },
      ]);
    },

    async putCategory(applicationId: number, key: string, { name, mandatory }: PutCategory) {
      const category: Category = {
        key,
        ...(name === undefined ? {} : { name }),
        mandatory: mandatory ?? false,
      };
      return { category, isNew: await store.putCategory(applicationId, category) };
    },

    async getCategory(applicationId: number, key: string): Promise<Category> {
      return store.category(applicationId, key) ?? missing('category', key);
    },

    /** Hot: undefined for a category nobody has described, which is an ordinary one. */
    category(applicationId: number, key: string): Category | undefined {
      return store.category(applicationId, key);
    },

    listCategories(applicationId: number, page: { limit: number; after: string | null }) {
      return store.listCategories(applicationId, page);
    },

    async deleteCategory(applicationId: number, key: string): Promise<void> {
      if (!(await store.deleteCategory(applicationId, key))) missing('category', key);
    },
  };
}

function draftOf(request: PutTemplateVersion): NewTemplateVersion {
  return {
    locale: request.locale ?? DEFAULT_LOCALE,
    content: request.content,
    translations: request.translations ?? {},
    variables: request.variables ?? null,
    example: request.example ?? null,
  };
}

function missing(what: string, key: string): never {
  throw notFound(`${what} ${key}`);
}
