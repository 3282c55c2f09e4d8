/**
 * Published versions in memory, for accepting and sending: which version a key stands for comes from
 * the cache of rows; what is in it is read once.
 *
 * The cache of rows forgets everything with any write to the file. Versions are kept apart from it,
 * since they never change and compiled templates hang on their objects.
 */
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { PublishedTemplate } from '../../template/template-store.ts';
import type { RecordCacheGroup } from './record-cache.ts';
import { readBody } from './template-row.ts';

/** Characters of JSON kept by default. Past it, what was read longest ago goes. */
const LENGTH_LIMIT = 64 * 1024 * 1024;

type Reference = Pick<PublishedTemplate, 'version' | 'category' | 'priority'>;

export class PublishedTemplates {
  readonly #usable: (name: string) => Reference | undefined;
  readonly #any: (name: string) => Reference | undefined;
  readonly #body: StatementSync;
  /** By application, number and key, which name a version for ever (see the port). */
  readonly #loaded = new Map<string, { template: PublishedTemplate; length: number }>();
  readonly #lengthLimit: number;
  #length = 0;

  constructor(database: DatabaseSync, cache: RecordCacheGroup, lengthLimit = LENGTH_LIMIT) {
    this.#lengthLimit = lengthLimit;
    const join = `FROM template AS t JOIN template_version AS v ON v.template_id = t.id
      WHERE t.application_id = ?1 AND t.key = ?2 AND v.published_at IS NOT NULL`;
    const reference = `SELECT v.version, t.category, t.priority ${join}
      AND v.version = coalesce(?3, t.published_version)`;
    const cached = (sql: string) => {
      const statement = database.prepare(sql);
      return cache.cached((name: string) => {
        const [applicationId, version, key] = splitName(name);
        return statement.get(applicationId, key, version) as Reference | undefined;
      });
    };
    this.#usable = cached(`${reference} AND t.deleted_at IS NULL AND v.version >= t.first_version`);
    this.#any = cached(reference);
    this.#body = database.prepare(`SELECT v.locale, v.body ${join} AND v.version = ?3`);
  }

  /** What new messages may name. */
  usable(
    applicationId: number,
    key: string,
    version: number | null,
  ): PublishedTemplate | undefined {
    return this.#find(applicationId, key, this.#usable(nameOf(applicationId, version, key)));
  }

  /** What was accepted may name, of a deleted template too. */
  get(applicationId: number, key: string, version: number): PublishedTemplate | undefined {
    return this.#find(applicationId, key, this.#any(nameOf(applicationId, version, key)));
  }

  #find(
    applicationId: number,
    key: string,
    reference: Reference | undefined,
  ): PublishedTemplate | undefined {
    if (reference === undefined) return undefined;
    const name = nameOf(applicationId, reference.version, key);
    const known = this.#loaded.get(name);
    if (known === undefined) return this.#load(name, reference);
    const { template, length } = known;
    const { category, priority } = reference;
    if (template.category === category && template.priority === priority) return template;
    const changed = { ...template, category, priority };
    this.#loaded.set(name, { template: changed, length });
    return changed;
  }

  #load(name: string, { version, category, priority }: Reference): PublishedTemplate | undefined {
    const [applicationId, , key] = splitName(name);
    const row = this.#body.get(applicationId, key, version);
    if (row === undefined) return undefined;
    const { locale, body } = row as { locale: string; body: string };
    const { content, translations, variables } = readBody(body);
    const template: PublishedTemplate = {
      ...{ key, version, category, priority },
      ...{ locale, content, translations, variables },
    };
    this.#keep(name, template, body.length);
    return template;
  }

  #keep(name: string, template: PublishedTemplate, length: number): void {
    this.#loaded.set(name, { template, length });
    this.#length += length;
    for (const [oldest, entry] of this.#loaded) {
      if (this.#length <= this.#lengthLimit || oldest === name) return;
      this.#loaded.delete(oldest);
      this.#length -= entry.length;
    }
  }
}

function nameOf(applicationId: number, version: number | null, key: string): string {
  return `${applicationId}:${version ?? ''}:${key}`;
}

function splitName(name: string): [applicationId: number, version: number | null, key: string] {
  const first = name.indexOf(':');
  const second = name.indexOf(':', first + 1);
  const version = name.slice(first + 1, second);
  return [
    Number(name.slice(0, first)),
    version === '' ? null : Number(version),
    name.slice(second + 1),
  ];
}
