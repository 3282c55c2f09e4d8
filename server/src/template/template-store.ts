/**
 * Port: templates, their versions, and categories. Writes are durable when they resolve; reads see
 * writes of the same process at once and those of others within 5 s. A published version never
 * changes, so it may be cached for ever.
 */
import type { Category, Template, TemplateVersion } from '@tidings/contracts/template';
import type { Priority } from '@tidings/contracts/common';

export interface NewTemplateVersion {
  locale: string;
  content: TemplateVersion['content'];
  translations: TemplateVersion['translations'];
  variables: Record<string, unknown> | null;
  example: Record<string, unknown> | null;
}

export interface TemplateStore {
  /** Stores a template with its version 1, a draft. @throws already_exists */
  create(
    applicationId: number,
    template: { key: string; name: string; description: string | null; category: string | null; priority: Priority | null },
    version: NewTemplateVersion,
    at: number,
  ): Promise<Template>;

  get(applicationId: number, key: string): Promise<Template | undefined>;
  /** By key, after `after`. */
  list(applicationId: number, page: { limit: number; after: string | null }): Promise<Template[]>;
  /** undefined when there is no such template. */
  edit(
    applicationId: number,
    key: string,
    change: { name?: string; description?: string | null; category?: string | null; priority?: Priority | null },
    at: number,
  ): Promise<Template | undefined>;
  /** Removes a template with all its versions. Messages keep what they were sent with. False when there was none. */
  delete(applicationId: number, key: string): Promise<boolean>;

  /** Adds the next version, a draft. Concurrent calls get different numbers. undefined when there is no such template. */
  addVersion(applicationId: number, key: string, version: NewTemplateVersion, at: number): Promise<TemplateVersion | undefined>;
  /** Replaces a draft; undefined when there is no such version; @throws conflict when it is published. */
  replaceDraft(
    applicationId: number,
    key: string,
    version: number,
    content: NewTemplateVersion,
  ): Promise<TemplateVersion | undefined>;
  version(applicationId: number, key: string, version: number): Promise<TemplateVersion | undefined>;
  /** Newest first, below `before`. */
  versions(applicationId: number, key: string, page: { limit: number; before: number | null }): Promise<TemplateVersion[]>;
  /**
   * Makes a version the one that is used: publishes it when it is a draft, and goes back to it when it
   * was published before. Idempotent. undefined when there is no such version.
   */
  publish(applicationId: number, key: string, version: number, at: number): Promise<Template | undefined>;

  /** Hot: the version that is used for a key now, or a named published one; cached. */
  published(applicationId: number, key: string, version: number | null): PublishedTemplate | undefined;

  putCategory(applicationId: number, category: Category): Promise<void>;
  /** Hot: cached. */
  category(applicationId: number, key: string): Category | undefined;
  listCategories(applicationId: number, page: { limit: number; after: string | null }): Promise<Category[]>;
  deleteCategory(applicationId: number, key: string): Promise<boolean>;
}

/** One published version with what sending needs of its template. The same object as long as it is cached. */
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
