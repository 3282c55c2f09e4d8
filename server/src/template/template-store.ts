/**
 * Port: templates, their versions, and categories. Writes are durable when they resolve; reads see
 * writes of the same process at once and those of others within 5 s. Keys are compared exactly:
 * case and spaces count. JSON comes back as it was given, whatever its keys.
 *
 * A version number stands for ever: a published version never changes, and no number of a key is
 * given twice, not even when the template is deleted and created again. So whoever holds a key and a
 * number of a published version (a message that is not due yet, a cache) gets that content or none.
 *
 * A deletion takes a template from everything but `published`: messages that name its versions are
 * still rendered, until `forget` removes them for good.
 *
 * What a template must be to be worth keeping is not known here; service.ts checks it.
 */
import type { Priority } from '@tidings/contracts/common';
import type { Category, Template, TemplateVersion } from '@tidings/contracts/template';

/** What describes a template, whatever its version. */
export interface TemplateProperties {
  name: string;
  description: string | null;
  category: string | null;
  priority: Priority | null;
}

export interface NewTemplateVersion {
  locale: string;
  content: TemplateVersion['content'];
  translations: TemplateVersion['translations'];
  variables: Record<string, unknown> | null;
  example: Record<string, unknown> | null;
}

export interface AddOptions {
  /** Publishes the version in the same write; a draft otherwise. */
  publish: boolean;
  /** ms since 1970. */
  at: number;
}

export interface TemplateStore {
  /**
   * Stores a template with its first version: number 1, or the next number when the key had a
   * template that was deleted. Of concurrent calls for one key one succeeds. @throws already_exists
   */
  create(
    applicationId: number,
    template: TemplateProperties & { key: string },
    version: NewTemplateVersion,
    options: AddOptions,
  ): Promise<Template>;

  get(applicationId: number, key: string): Promise<Template | undefined>;
  /** By key in the order of code points, after `after`. */
  list(applicationId: number, page: { limit: number; after: string | null }): Promise<Template[]>;
  /** Changes what is given and keeps the rest. undefined when there is no such template. */
  edit(
    applicationId: number,
    key: string,
    change: Partial<TemplateProperties>,
    at: number,
  ): Promise<Template | undefined>;
  /**
   * Takes a template away with all its versions: from now on only `published` knows them. Of
   * concurrent calls one succeeds. False when there was none.
   */
  delete(applicationId: number, key: string, at: number): Promise<boolean>;
  /** Deletions before `before` (ms since 1970) with something left to forget, by id, after `after`. */
  deletions(page: {
    before: number;
    after: number | null;
    limit: number;
  }): Promise<TemplateDeletion[]>;
  /**
   * Removes at most `limit` of the versions that went with a deletion, for good; those of a later
   * template of the key stay. True while some are left.
   */
  forget(deletion: number, limit: number): Promise<boolean>;

  /**
   * Adds the next version. Concurrent calls get different numbers, without gaps. undefined when
   * there is no such template.
   */
  addVersion(
    applicationId: number,
    key: string,
    version: NewTemplateVersion,
    options: AddOptions,
  ): Promise<TemplateVersion | undefined>;
  /**
   * Replaces a draft; undefined when there is no such version. @throws conflict when it is
   * published, also when a concurrent call publishes it first.
   */
  replaceDraft(
    applicationId: number,
    key: string,
    version: number,
    content: NewTemplateVersion,
    at: number,
  ): Promise<TemplateVersion | undefined>;
  version(
    applicationId: number,
    key: string,
    version: number,
  ): Promise<TemplateVersion | undefined>;
  /** Newest first, below `before`. None when there is no such template. */
  versions(
    applicationId: number,
    key: string,
    page: { limit: number; before: number | null },
  ): Promise<TemplateVersion[]>;
  /**
   * Makes a version the one that is used: publishes it when it is a draft, and goes back to it when
   * it was published before. Idempotent; `publishedAt` is that of the first time. undefined when
   * there is no such version.
   */
  publish(
    applicationId: number,
    key: string,
    version: number,
    at: number,
  ): Promise<Template | undefined>;

  /**
   * Hot: what new messages may name: the version that is used for a key now, or (with a number) that
   * version if it was ever published. undefined for drafts, deleted templates and everything unknown.
   * Synchronous and cached: while neither the version nor the template's category and priority
   * change, calls of this and of `published` return the same object, also across other writes,
   * unless memory ran short. Nobody changes that object.
   */
  usable(applicationId: number, key: string, version: number | null): PublishedTemplate | undefined;
  /**
   * Hot, for messages that were accepted: that version if it was ever published and is not forgotten,
   * also of a template that has been deleted. Cached like `usable`. Category and priority are those
   * of the key's newest template.
   */
  published(applicationId: number, key: string, version: number): PublishedTemplate | undefined;

  /** Creates or replaces a category. True when it is new. */
  putCategory(applicationId: number, category: Category): Promise<boolean>;
  /** Hot: synchronous and cached. Nobody changes the object. */
  category(applicationId: number, key: string): Category | undefined;
  /** By key in the order of code points, after `after`. */
  listCategories(
    applicationId: number,
    page: { limit: number; after: string | null },
  ): Promise<Category[]>;
  /** Templates that name the category keep its key. False when there was none. */
  deleteCategory(applicationId: number, key: string): Promise<boolean>;
}

export interface TemplateDeletion {
  /** Never given again. */
  id: number;
  applicationId: number;
  key: string;
  /** ms since 1970. */
  deletedAt: number;
}

/** One published version with what sending needs of its template. */
export interface PublishedTemplate {
  key: string;
  version: number;
  category: string | null;
  priority: Priority | null;
  locale: string;
  content: TemplateVersion['content'];
  translations: TemplateVersion['translations'];
  variables: Record<string, unknown> | null;
}
