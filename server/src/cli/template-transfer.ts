/**
 * Templates with all their versions, from one service to another. What is brought in is known again
 * by its content, so bringing it in twice changes nothing; numbers of versions may differ there.
 */
import { createHash } from 'node:crypto';
import type { Template, TemplateVersion } from '@tidings/contracts/template';
import type { ApiClient } from './api-client.ts';
import { ApiFailure } from './api-failure.ts';
import { RecordFault } from './bulk.ts';

/** One line of an export. Versions oldest first. */
export interface TemplateRecord {
  template: Template;
  versions: TemplateVersion[];
}

export type Change = 'created' | 'changed' | 'unchanged';

const pathOf = (key: string): string => `/v1/templates/${encodeURIComponent(key)}`;

export async function readTemplate(api: ApiClient, template: Template): Promise<TemplateRecord> {
  return { template, versions: await versionsOf(api, template.key) };
}

async function versionsOf(api: ApiClient, key: string): Promise<TemplateVersion[]> {
  const versions: TemplateVersion[] = [];
  for await (const { items } of api.pages<TemplateVersion>(`${pathOf(key)}/versions`)) {
    versions.push(...items);
  }
  return versions.reverse();
}

/** @throws RecordFault when it is not the line of an export */
export function templateRecordOf(value: unknown): TemplateRecord {
  const { template, versions } = (value ?? {}) as Partial<TemplateRecord>;
  if (typeof template?.key !== 'string' || !Array.isArray(versions) || versions.length === 0) {
    throw new RecordFault('is not a template as "tidings templates export" writes it');
  }
  return { template, versions: [...versions].sort((a, b) => a.version - b.version) };
}

export async function writeTemplate(api: ApiClient, record: TemplateRecord): Promise<Change> {
  const { template, versions } = record;
  const known = await find(api, template.key);
  if (known === undefined) {
    const [first] = versions as [TemplateVersion];
    await api.post<Template>('/v1/templates', {
      body: {
        ...propertiesOf(template),
        key: template.key,
        ...contentOf(first),
        publish: isPublished(first),
      },
    });
    await addMissing(api, record);
    return 'created';
  }
  const edited = await edit(api, known, template);
  const added = await addMissing(api, record);
  return edited || added ? 'changed' : 'unchanged';
}

async function find(api: ApiClient, key: string): Promise<Template | undefined> {
  try {
    return (await api.get<Template>(pathOf(key))).body;
  } catch (error) {
    if (error instanceof ApiFailure && error.status === 404) return undefined;
    throw error;
  }
}

async function edit(api: ApiClient, known: Template, wanted: Template): Promise<boolean> {
  const { name, description, category, priority } = wanted;
  const change = Object.fromEntries(
    Object.entries({ name, description, category, priority }).filter(
      ([field, value]) => known[field as keyof Template] !== value,
    ),
  );
  if (Object.keys(change).length === 0) return false;
  await api.patch(pathOf(known.key), { body: change });
  return true;
}

/**
 * Adds the versions the other side lacks, oldest first, and publishes the current one. Earlier ones
 * that were published are published on the way only if they are newer than what is published there:
 * nobody is ever sent an older text because of an import.
 */
async function addMissing(
  api: ApiClient,
  { template, versions }: TemplateRecord,
): Promise<boolean> {
  const { key } = template;
  const there = await versionsOf(api, key);
  const numbers = numbersByContent(there);
  const target = await find(api, key);
  const current = versions.findIndex(({ version }) => version === template.publishedVersion);
  const live = there.find(({ version }) => version === target?.publishedVersion);
  const liveAt = live === undefined ? -1 : lastIndexOfContent(versions, live);
  let changed = false;
  for (const [i, version] of versions.entries()) {
    const isNewer = (live === undefined || liveAt >= 0) && i > liveAt && i < current;
    const number = numbers.get(digestOf(version))?.shift();
    if (number === undefined) {
      const publish = i === current || (isNewer && isPublished(version));
      await api.post(`${pathOf(key)}/versions`, { body: { ...contentOf(version), publish } });
      changed = true;
    } else if (i === current && number !== target?.publishedVersion) {
      await api.post(`${pathOf(key)}/publish`, { body: { version: number } });
      changed = true;
    }
  }
  return changed;
}

/** Numbers of the versions with the same content, oldest first. */
function numbersByContent(versions: readonly TemplateVersion[]): Map<string, number[]> {
  const numbers = new Map<string, number[]>();
  for (const version of versions) {
    const digest = digestOf(version);
    numbers.set(digest, [...(numbers.get(digest) ?? []), version.version]);
  }
  return numbers;
}

function lastIndexOfContent(versions: readonly TemplateVersion[], wanted: TemplateVersion): number {
  const digest = digestOf(wanted);
  return versions.findLastIndex((version) => digestOf(version) === digest);
}

function isPublished({ status }: TemplateVersion): boolean {
  return status === 'published';
}

function propertiesOf({
  name,
  description,
  category,
  priority,
}: Template): Record<string, unknown> {
  const given = { name, description, category, priority };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== null));
}

function contentOf({ locale, content, translations, variables, example }: TemplateVersion) {
  return {
    locale,
    content,
    ...(Object.keys(translations).length > 0 ? { translations } : {}),
    ...(variables === null ? {} : { variables }),
    ...(example === null ? {} : { example }),
  };
}

function digestOf(version: TemplateVersion): string {
  return createHash('sha256')
    .update(canonical(contentOf(version)))
    .digest('hex');
}

/** JSON whose members stand in one order. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${members.map(([name, inner]) => `${JSON.stringify(name)}:${canonical(inner)}`).join(',')}}`;
}
