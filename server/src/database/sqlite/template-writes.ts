/**
 * What the writer does to templates, their versions and categories, each inside a transaction.
 *
 * A key has one row for ever. A deletion marks it, and the versions up to then are out of reach except
 * for delivery; a template that is made with the key again begins behind them (`first_version`).
 */
import type { DatabaseSync } from 'node:sqlite';
import { ServiceError } from '../../errors.ts';
import type { TemplateProperties } from '../../template/template-store.ts';
import {
  type DraftColumns,
  TEMPLATE_COLUMNS,
  type TemplateRow,
  VERSION_COLUMNS,
  type VersionRow,
} from './template-row.ts';

export type TemplateName = [applicationId: number, key: string];

type FoundTemplate = TemplateRow & {
  id: number;
  first_version: number;
  deleted_at: number | null;
};

export function templateWrites(database: DatabaseSync) {
  const find = database.prepare('SELECT * FROM template WHERE application_id = ? AND key = ?');
  const update = database.prepare(
    `UPDATE template SET name = ?, description = ?, category = ?, priority = ?, updated_at = ?
     WHERE id = ? RETURNING ${TEMPLATE_COLUMNS}`,
  );
  const mark = database.prepare('UPDATE template SET deleted_at = ? WHERE id = ?');
  const noteDeletion = database.prepare(
    `INSERT INTO template_deletion (template_id, first_version, last_version, deleted_at)
     VALUES (?, ?, ?, ?)`,
  );

  const keyRow = (name: TemplateName) => find.get(...name) as FoundTemplate | undefined;
  /** The template of a key, if there is one now; with a number, if that is not of a deleted one. */
  function present(name: TemplateName, version = Infinity): FoundTemplate | undefined {
    const row = keyRow(name);
    return row && row.deleted_at === null && version >= row.first_version ? row : undefined;
  }

  return {
    createTemplate: createTemplate(database, keyRow),
    editTemplate([name, change, at]: [TemplateName, Partial<TemplateProperties>, number]) {
      const row = present(name);
      if (row === undefined) return null;
      const { name: title, description, category, priority } = { ...row, ...change };
      return update.get(title, description, category, priority, at, row.id) ?? null;
    },
    deleteTemplate([name, at]: [TemplateName, number]) {
      const row = present(name);
      if (row === undefined) return false;
      mark.run(at, row.id);
      noteDeletion.run(row.id, row.first_version, row.latest_version, at);
      return true;
    },
    ...versionWrites(database, present),
    forgetTemplateVersions: forgetVersions(database),
  };
}

function createTemplate(
  database: DatabaseSync,
  keyRow: (name: TemplateName) => FoundTemplate | undefined,
) {
  const insert = database.prepare(
    `INSERT INTO template (application_id, key, name, description, category, priority,
       latest_version, created_at, updated_at)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, ?7, ?7) RETURNING *`,
  );
  const revive = database.prepare(
    `UPDATE template SET name = ?2, description = ?3, category = ?4, priority = ?5,
       published_version = NULL, first_version = latest_version + 1,
       latest_version = latest_version + 1, created_at = ?6, updated_at = ?6, deleted_at = NULL
     WHERE id = ?1 RETURNING *`,
  );
  const add = adding(database);
  return ([name, properties, draft, publish, at]: [
    TemplateName,
    TemplateProperties,
    DraftColumns,
    boolean,
    number,
  ]) => {
    const earlier = keyRow(name);
    if (earlier?.deleted_at === null) throw new ServiceError('already_exists');
    const { name: title, description, category, priority } = properties;
    const columns = [title, description, category, priority, at] as const;
    const row = earlier ? revive.get(earlier.id, ...columns) : insert.get(...name, ...columns);
    const { id, latest_version: version } = row as unknown as FoundTemplate;
    return add(id, version, { draft, publish, at }).template ?? row;
  };
}

/** A new version of a template's row, published if so wished. */
function adding(database: DatabaseSync) {
  const insert = database.prepare(
    `INSERT INTO template_version VALUES (?, ?, ?, ?, ?, NULL) RETURNING ${VERSION_COLUMNS}`,
  );
  const publishVersion = publishing(database);
  return (
    id: number,
    version: number,
    { draft, publish, at }: { draft: DraftColumns; publish: boolean; at: number },
  ): { version: unknown; template?: unknown } => {
    const row = insert.get(id, version, ...draft, at);
    return (publish ? publishVersion(id, version, at) : undefined) ?? { version: row };
  };
}

function publishing(database: DatabaseSync) {
  const publish = database.prepare(
    `UPDATE template_version SET published_at = coalesce(published_at, ?)
     WHERE template_id = ? AND version = ? RETURNING ${VERSION_COLUMNS}`,
  );
  const use = database.prepare(
    `UPDATE template SET published_version = ?1,
       updated_at = CASE WHEN published_version IS ?1 THEN updated_at ELSE ?2 END
     WHERE id = ?3 RETURNING ${TEMPLATE_COLUMNS}`,
  );
  return (id: number, version: number, at: number) => {
    const row = publish.get(at, id, version);
    return row && { version: row, template: use.get(version, at, id) };
  };
}

function versionWrites(
  database: DatabaseSync,
  present: (name: TemplateName, version?: number) => FoundTemplate | undefined,
) {
  const touch = database.prepare('UPDATE template SET updated_at = ? WHERE id = ?');
  const number = database.prepare(
    `UPDATE template SET latest_version = latest_version + 1, updated_at = ? WHERE id = ?
     RETURNING latest_version`,
  );
  const replace = database.prepare(
    `UPDATE template_version SET locale = ?, body = ?
     WHERE template_id = ? AND version = ? AND published_at IS NULL RETURNING ${VERSION_COLUMNS}`,
  );
  const find = database.prepare(
    'SELECT 1 FROM template_version WHERE template_id = ? AND version = ?',
  );
  const add = adding(database);
  const publishVersion = publishing(database);
  return {
    addTemplateVersion([name, draft, publish, at]: [TemplateName, DraftColumns, boolean, number]) {
      const id = present(name)?.id;
      if (id === undefined) return null;
      const { latest_version: version } = number.get(at, id) as { latest_version: number };
      return add(id, version, { draft, publish, at }).version;
    },
    replaceTemplateDraft([name, version, draft, at]: [TemplateName, number, DraftColumns, number]) {
      const id = present(name, version)?.id;
      if (id === undefined) return null;
      const row = replace.get(...draft, id, version) as VersionRow | undefined;
      if (row !== undefined) {
        touch.run(at, id);
        return row;
      }
      if (find.get(id, version) === undefined) return null;
      throw new ServiceError('conflict', {
        detail: `Version ${version} is published, so it cannot be changed.`,
        hint: 'Add a new version.',
      });
    },
    publishTemplate([name, version, at]: [TemplateName, number, number]) {
      const id = present(name, version)?.id;
      return id === undefined ? null : (publishVersion(id, version, at)?.template ?? null);
    },
  };
}

/** A few at a time: each may be large, and others wait for the transaction. True while some are left. */
function forgetVersions(database: DatabaseSync) {
  const find = database.prepare('SELECT * FROM template_deletion WHERE id = ?');
  const remove = database.prepare(
    `DELETE FROM template_version WHERE template_id = ?1 AND version IN (
       SELECT version FROM template_version
       WHERE template_id = ?1 AND version BETWEEN ?2 AND ?3 LIMIT ?4)`,
  );
  const removeDeletion = database.prepare('DELETE FROM template_deletion WHERE id = ?');
  return ([id, limit]: [deletion: number, limit: number]): boolean => {
    const row = find.get(id);
    if (row === undefined) return false;
    const { template_id, first_version, last_version } = row as Record<string, number>;
    const { changes } = remove.run(
      ...([template_id, first_version, last_version, limit] as number[]),
    );
    if (Number(changes) === limit) return true;
    removeDeletion.run(id);
    return false;
  };
}

export function categoryWrites(database: DatabaseSync) {
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
