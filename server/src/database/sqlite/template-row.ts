/** Rows of templates, versions and categories, and what they stand for. */
import type { Priority } from '@tidings/contracts/common';
import type { Category, Template, TemplateVersion } from '@tidings/contracts/template';
import type { NewTemplateVersion } from '../../template/template-store.ts';

export const TEMPLATE_COLUMNS =
  'key, name, description, category, priority, published_version, latest_version, created_at, updated_at';

export interface TemplateRow {
  key: string;
  name: string;
  description: string | null;
  category: string | null;
  priority: Priority | null;
  published_version: number | null;
  latest_version: number;
  created_at: number;
  updated_at: number;
}

export function templateOf(row: unknown): Template {
  const template = row as TemplateRow;
  return {
    key: template.key,
    name: template.name,
    description: template.description,
    category: template.category,
    priority: template.priority,
    publishedVersion: template.published_version,
    latestVersion: template.latest_version,
    createdAt: timestamp(template.created_at),
    updatedAt: timestamp(template.updated_at),
  };
}

export const VERSION_COLUMNS = 'version, locale, body, created_at, published_at';

export interface VersionRow {
  version: number;
  locale: string;
  body: string;
  created_at: number;
  published_at: number | null;
}

export function versionOf(row: unknown): TemplateVersion {
  const { version, locale, body, created_at, published_at } = row as VersionRow;
  return {
    version,
    status: published_at === null ? 'draft' : 'published',
    locale,
    ...readBody(body),
    createdAt: timestamp(created_at),
    publishedAt: published_at === null ? null : timestamp(published_at),
  };
}

type Body = Omit<NewTemplateVersion, 'locale'>;

/** Values of the columns `locale` and `body`. */
export type DraftColumns = [locale: string, body: string];

export function draftColumns(version: NewTemplateVersion): DraftColumns {
  const { locale, content, translations, variables, example } = version;
  return [locale, JSON.stringify({ content, translations, variables, example } satisfies Body)];
}

export function readBody(body: string): Body {
  const { content, translations, variables, example } = JSON.parse(body) as Body;
  return { content, translations, variables, example };
}

export const CATEGORY_COLUMNS = 'key, name, mandatory';

export function categoryOf(row: unknown): Category {
  const { key, name, mandatory } = row as { key: string; name: string | null; mandatory: number };
  return { key, ...(name === null ? {} : { name }), mandatory: mandatory === 1 };
}

function timestamp(at: number): string {
  return new Date(at).toISOString();
}
