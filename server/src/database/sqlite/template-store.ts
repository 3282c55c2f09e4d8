/** Templates, their versions, and categories in the records file. */
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { Category, Template, TemplateVersion } from '@tidings/contracts/template';
import { ServiceError } from '../../errors.ts';
import type {
  AddOptions,
  NewTemplateVersion,
  PublishedTemplate,
  TemplateProperties,
  TemplateStore,
} from '../../template/template-store.ts';
import { alone, type OperationSet } from './group-writer.ts';
import { PublishedTemplates } from './published-templates.ts';
import type { RecordCacheGroup } from './record-cache.ts';
import {
  CATEGORY_COLUMNS,
  categoryOf,
  type DraftColumns,
  draftColumns,
  TEMPLATE_COLUMNS,
  type TemplateRow,
  templateOf,
  VERSION_COLUMNS,
  type VersionRow,
  versionOf,
} from './template-row.ts';
import type { WriteClient } from './write-client.ts';

type TemplateName = [applicationId: number, key: string];

export class SqliteTemplateStore implements TemplateStore {
  readonly #writer: WriteClient;
  readonly #cache: RecordCacheGroup;
  readonly #published: PublishedTemplates;
  readonly #category: (reference: string) => Category | undefined;
  readonly #get: StatementSync;
  readonly #list: StatementSync;
  readonly #version: StatementSync;
  readonly #versions: StatementSync;
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
    const page = 'application_id = ?1 AND (?2 IS NULL OR key > ?2) ORDER BY key LIMIT ?3';
    const version = `SELECT ${VERSION_COLUMNS} FROM template_version WHERE template_id =
      (SELECT id FROM template WHERE application_id = ?1 AND key = ?2)`;
    this.#get = database.prepare(
      `SELECT ${TEMPLATE_COLUMNS} FROM template WHERE application_id = ? AND key = ?`,
    );
    this.#list = database.prepare(`SELECT ${TEMPLATE_COLUMNS} FROM template WHERE ${page}`);
    this.#version = database.prepare(`${version} AND version = ?3`);
    this.#versions = database.prepare(
      `${version} AND (?3 IS NULL OR version < ?3) ORDER BY version DESC LIMIT ?4`,
    );
    this.#listCategories = database.prepare(
      `SELECT ${CATEGORY_COLUMNS} FROM category WHERE ${page}`,
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

  delete(applicationId: number, key: string): Promise<boolean> {
    return this.#write('deleteTemplate', [applicationId, key]);
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

  published(
    applicationId: number,
    key: string,
    version: number | null,
  ): PublishedTemplate | undefined {
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

type FoundTemplate = TemplateRow & { id: number };

function templateWrites(database: DatabaseSync) {
  const find = database.prepare('SELECT * FROM template WHERE application_id = ? AND key = ?');
  const insert = database.prepare(
    `INSERT INTO template (application_id, key, name, description, category, priority,
       latest_version, created_at, updated_at)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1 + coalesce(
       (SELECT latest_version FROM template_deleted WHERE application_id = ?1 AND key = ?2), 0
     ), ?7, ?7) RETURNING *`,
  );
  const update = database.prepare(
    `UPDATE template SET name = ?, description = ?, category = ?, priority = ?, updated_at = ?
     WHERE id = ? RETURNING ${TEMPLATE_COLUMNS}`,
  );
  const touch = database.prepare('UPDATE template SET updated_at = ? WHERE id = ?');
  const number = database.prepare(
    `UPDATE template SET latest_version = latest_version + 1, updated_at = ? WHERE id = ?
     RETURNING latest_version`,
  );
  const insertVersion = database.prepare(
    `INSERT INTO template_version VALUES (?, ?, ?, ?, ?, NULL) RETURNING ${VERSION_COLUMNS}`,
  );
  const replace = database.prepare(
    `UPDATE template_version SET locale = ?, body = ?
     WHERE template_id = ? AND version = ? AND published_at IS NULL RETURNING ${VERSION_COLUMNS}`,
  );
  const findVersion = database.prepare(
    'SELECT 1 FROM template_version WHERE template_id = ? AND version = ?',
  );
  const publishVersion = database.prepare(
    `UPDATE template_version SET published_at = coalesce(published_at, ?)
     WHERE template_id = ? AND version = ? RETURNING ${VERSION_COLUMNS}`,
  );
  const use = database.prepare(
    `UPDATE template SET published_version = ?1,
       updated_at = CASE WHEN published_version IS ?1 THEN updated_at ELSE ?2 END
     WHERE id = ?3 RETURNING ${TEMPLATE_COLUMNS}`,
  );
  const bury = database.prepare(
    `INSERT OR REPLACE INTO template_deleted
     SELECT application_id, key, latest_version FROM template WHERE id = ?`,
  );
  const removeVersions = database.prepare('DELETE FROM template_version WHERE template_id = ?');
  const remove = database.prepare('DELETE FROM template WHERE id = ?');

  const found = (name: TemplateName) => find.get(...name) as FoundTemplate | undefined;
  const publish = (id: number, version: number, at: number) => {
    const row = publishVersion.get(at, id, version);
    return row === undefined ? null : { version: row, template: use.get(version, at, id) };
  };

  return {
    createTemplate([name, properties, draft, published, at]: [
      TemplateName,
      TemplateProperties,
      DraftColumns,
      boolean,
      number,
    ]) {
      const { name: title, description, category, priority } = properties;
      const row = insert.get(...name, title, description, category, priority, at);
      const { id, latest_version: version } = row as unknown as FoundTemplate;
      insertVersion.get(id, version, ...draft, at);
      return published ? publish(id, version, at)?.template : row;
    },
    editTemplate([name, change, at]: [TemplateName, Partial<TemplateProperties>, number]) {
      const row = found(name);
      if (row === undefined) return null;
      const { name: title, description, category, priority } = { ...row, ...change };
      return update.get(title, description, category, priority, at, row.id) ?? null;
    },
    deleteTemplate(name: TemplateName) {
      const row = found(name);
      if (row === undefined) return false;
      for (const statement of [bury, removeVersions, remove]) statement.run(row.id);
      return true;
    },
    addTemplateVersion([name, draft, published, at]: [
      TemplateName,
      DraftColumns,
      boolean,
      number,
    ]) {
      const id = found(name)?.id;
      if (id === undefined) return null;
      const { latest_version: version } = number.get(at, id) as { latest_version: number };
      const row = insertVersion.get(id, version, ...draft, at);
      return published ? publish(id, version, at)?.version : row;
    },
    replaceTemplateDraft([name, version, draft, at]: [TemplateName, number, DraftColumns, number]) {
      const id = found(name)?.id;
      if (id === undefined) return null;
      const row = replace.get(...draft, id, version) as VersionRow | undefined;
      if (row !== undefined) {
        touch.run(at, id);
        return row;
      }
      if (findVersion.get(id, version) === undefined) return null;
      throw new ServiceError('conflict', {
        detail: `Version ${version} is published, so it cannot be changed.`,
        hint: 'Add a new version.',
      });
    },
    publishTemplate([name, version, at]: [TemplateName, number, number]) {
      const id = found(name)?.id;
      return id === undefined ? null : (publish(id, version, at)?.template ?? null);
    },
  };
}

function categoryWrites(database: DatabaseSync) {
  const update = database.prepare(
    'UPDATE category SET name = ?3, mandatory = ?4 WHERE application_id = ?1 AND key = ?2',
  );
  const insert = database.prepare('INSERT INTO category VALUES (?, ?, ?, ?)');
  const remove = database.prepare('DELETE FROM category WHERE application_id = ? AND key = ?');
  return {
    putCategory(values: [number, string, string | null, number]) {
      if (update.run(...values).changes > 0) return false;
      insert.run(...values);
      return true;
    },
    deleteCategory: (name: TemplateName) => remove.run(...name).changes > 0,
  };
}
