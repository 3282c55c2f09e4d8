/** Templates, their versions, and categories in the records file. */
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { Category, Template, TemplateVersion } from '@tidings/contracts/template';
import type {
  AddOptions,
  NewTemplateVersion,
  PublishedTemplate,
  TemplateDeletion,
  TemplateProperties,
  TemplateStore,
} from '../../template/template-store.ts';
import { alone, type OperationSet } from './group-writer.ts';
import { PublishedTemplates } from './published-templates.ts';
import type { RecordCacheGroup } from './record-cache.ts';
import {
  CATEGORY_COLUMNS,
  categoryOf,
  draftColumns,
  TEMPLATE_COLUMNS,
  templateOf,
  VERSION_COLUMNS,
  versionOf,
} from './template-row.ts';
import { categoryWrites, type TemplateName, templateWrites } from './template-writes.ts';
import type { WriteClient } from './write-client.ts';

export class SqliteTemplateStore implements TemplateStore {
  readonly #writer: WriteClient;
  readonly #cache: RecordCacheGroup;
  readonly #published: PublishedTemplates;
  readonly #category: (reference: string) => Category | undefined;
  readonly #get: StatementSync;
  readonly #list: StatementSync;
  readonly #version: StatementSync;
  readonly #versions: StatementSync;
  readonly #deletions: StatementSync;
  readonly #listCategories: StatementSync;

  constructor(options: {
    database: DatabaseSync;
    writer: WriteClient;
    cache: RecordCacheGroup;
    /** Characters of published versions kept in memory. */
    cachedLength?: number;
  }) {
    const { database, writer, cache, cachedLength } = options;
    this.#writer = writer;
    this.#cache = cache;
    this.#published = new PublishedTemplates(database, cache, cachedLength);
    const category = database.prepare(
      `SELECT ${CATEGORY_COLUMNS} FROM category WHERE application_id = ? AND key = ?`,
    );
    this.#category = cache.cached((name: string) => {
      const colon = name.indexOf(':');
      const row = category.get(Number(name.slice(0, colon)), name.slice(colon + 1));
      return row && categoryOf(row);
    });
    const page = 'application_id = ?1 AND (?2 IS NULL OR key > ?2)';
    const present = 'FROM template WHERE application_id = ?1 AND key = ?2 AND deleted_at IS NULL';
    const version = `SELECT ${VERSION_COLUMNS} FROM template_version
      WHERE template_id = (SELECT id ${present}) AND version >= (SELECT first_version ${present})`;
    this.#get = database.prepare(`SELECT ${TEMPLATE_COLUMNS} ${present}`);
    this.#list = database.prepare(
      `SELECT ${TEMPLATE_COLUMNS} FROM template INDEXED BY template_present
       WHERE ${page} AND deleted_at IS NULL ORDER BY key LIMIT ?3`,
    );
    this.#version = database.prepare(`${version} AND version = ?3`);
    this.#versions = database.prepare(
      `${version} AND (?3 IS NULL OR version < ?3) ORDER BY version DESC LIMIT ?4`,
    );
    this.#deletions = database.prepare(
      `SELECT d.id, t.application_id AS applicationId, t.key, d.deleted_at AS deletedAt
       FROM template_deletion AS d JOIN template AS t ON t.id = d.template_id
       WHERE d.id > ?1 AND d.deleted_at < ?2 ORDER BY d.id LIMIT ?3`,
    );
    this.#listCategories = database.prepare(
      `SELECT ${CATEGORY_COLUMNS} FROM category WHERE ${page} ORDER BY key LIMIT ?3`,
    );
  }

  async create(
    applicationId: number,
    { key, ...properties }: TemplateProperties & { key: string },
    version: NewTemplateVersion,
    { publish, at }: AddOptions,
  ): Promise<Template> {
    const name: TemplateName = [applicationId, key];
    const draft = draftColumns(version);
    return templateOf(await this.#write('createTemplate', [name, properties, draft, publish, at]));
  }

  async get(applicationId: number, key: string): Promise<Template | undefined> {
    const row = this.#get.get(applicationId, key);
    return row && templateOf(row);
  }

  async list(
    applicationId: number,
    { limit, after }: { limit: number; after: string | null },
  ): Promise<Template[]> {
    return this.#list.all(applicationId, after, limit).map(templateOf);
  }

  async edit(
    applicationId: number,
    key: string,
    change: Partial<TemplateProperties>,
    at: number,
  ): Promise<Template | undefined> {
    const row = await this.#write('editTemplate', [[applicationId, key], change, at]);
    return row === null ? undefined : templateOf(row);
  }

  delete(applicationId: number, key: string, at: number): Promise<boolean> {
    return this.#write('deleteTemplate', [[applicationId, key], at]);
  }

  async deletions({
    before,
    after,
    limit,
  }: {
    before: number;
    after: number | null;
    limit: number;
  }): Promise<TemplateDeletion[]> {
    const rows = this.#deletions.all(after ?? 0, before, limit);
    return rows.map((row) => ({ ...row }) as unknown as TemplateDeletion);
  }

  forget(deletion: number, limit: number): Promise<boolean> {
    return this.#write('forgetTemplateVersions', [deletion, limit]);
  }

  async addVersion(
    applicationId: number,
    key: string,
    version: NewTemplateVersion,
    { publish, at }: AddOptions,
  ): Promise<TemplateVersion | undefined> {
    const name: TemplateName = [applicationId, key];
    const draft = draftColumns(version);
    const row = await this.#write('addTemplateVersion', [name, draft, publish, at]);
    return row === null ? undefined : versionOf(row);
  }

  async replaceDraft(
    applicationId: number,
    key: string,
    version: number,
    content: NewTemplateVersion,
    at: number,
  ): Promise<TemplateVersion | undefined> {
    const name: TemplateName = [applicationId, key];
    const draft = draftColumns(content);
    const row = await this.#write('replaceTemplateDraft', [name, version, draft, at]);
    return row === null ? undefined : versionOf(row);
  }

  async version(
    applicationId: number,
    key: string,
    version: number,
  ): Promise<TemplateVersion | undefined> {
    const row = this.#version.get(applicationId, key, version);
    return row && versionOf(row);
  }

  async versions(
    applicationId: number,
    key: string,
    { limit, before }: { limit: number; before: number | null },
  ): Promise<TemplateVersion[]> {
    return this.#versions.all(applicationId, key, before, limit).map(versionOf);
  }

  async publish(
    applicationId: number,
    key: string,
    version: number,
    at: number,
  ): Promise<Template | undefined> {
    const row = await this.#write('publishTemplate', [[applicationId, key], version, at]);
    return row === null ? undefined : templateOf(row);
  }

  usable(
    applicationId: number,
    key: string,
    version: number | null,
  ): PublishedTemplate | undefined {
    return this.#published.usable(applicationId, key, version);
  }

  published(applicationId: number, key: string, version: number): PublishedTemplate | undefined {
    return this.#published.get(applicationId, key, version);
  }

  putCategory(applicationId: number, { key, name, mandatory }: Category): Promise<boolean> {
    return this.#write('putCategory', [applicationId, key, name ?? null, mandatory ? 1 : 0]);
  }

  category(applicationId: number, key: string): Category | undefined {
    return this.#category(`${applicationId}:${key}`);
  }

  async listCategories(
    applicationId: number,
    { limit, after }: { limit: number; after: string | null },
  ): Promise<Category[]> {
    return this.#listCategories.all(applicationId, after, limit).map(categoryOf);
  }

  deleteCategory(applicationId: number, key: string): Promise<boolean> {
    return this.#write('deleteCategory', [applicationId, key]);
  }

  async #write<Result>(operation: string, argument: unknown): Promise<Result> {
    try {
      return await this.#writer.call<Result>(operation, argument);
    } finally {
      this.#cache.invalidate();
    }
  }
}

/** What runs inside the writer. Each operation may fail by itself: none is on the way of a message. */
export function templateOperations(database: DatabaseSync): OperationSet {
  const templates = templateWrites(database);
  const categories = categoryWrites(database);
  return {
    operations: Object.fromEntries(
      Object.entries({ ...templates, ...categories }).map(([name, run]) => [name, alone(run)]),
    ),
  };
}
