/**
 * Whether a version of a template is worth keeping, and worth publishing. All faults are found at
 * once, so that an author mends them in one go; paths are relative to the version
 * (`translations.de.email.subject`).
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { ChannelContent } from '@tidings/contracts/content';
import { type FieldError, ServiceError } from '../errors.ts';
import { compileContent } from './compile.ts';
import {
  type ChannelDefinition,
  type Channels,
  checkRendered,
  checkUnrendered,
  hasMarkup,
} from './content-check.ts';
import { canonicalLocale } from './locale.ts';
import { MarkupAllowance } from './markup.ts';
import { renderContent } from './render.ts';
import type { NewTemplateVersion } from './template-store.ts';
import { compileVariablesSchema } from './variables-schema.ts';

export const VERSION_LIMITS = {
  /** Bytes of JSON, all locales, variables and example included. */
  bytes: 2 * 1024 * 1024,
  /** Contents: channels times locales. */
  contents: 300,
  /** Of all contents together (see COMPILE_LIMITS): compiling the whole stays near 100 ms. */
  markup: { count: 10_000, length: 500_000, terms: 60_000 },
} as const;

/** More faults than this help nobody. */
const MAX_FAULTS = 50;

/** Faults of a version as it is saved, with templates in its strings. None when it may be kept. */
export function checkVersion(version: NewTemplateVersion, channels: Channels): FieldError[] {
  const excess = findExcess(version);
  if (excess !== undefined) return [excess];
  const faults = [...checkLocales(version), ...checkVariables(version)];
  for (const { path, name, content } of contentsOf(version)) {
    if (faults.length >= MAX_FAULTS) break;
    const channel = channels.get(name);
    if (channel === undefined) faults.push({ path, message: 'is not a channel' });
    else faults.push(...below(path, checkContent(channel, content)));
  }
  return faults.slice(0, MAX_FAULTS);
}

function findExcess(version: NewTemplateVersion): FieldError | undefined {
  const { locale, ...rest } = version;
  const text = JSON.stringify(rest);
  if (Buffer.byteLength(text) > VERSION_LIMITS.bytes) {
    return { path: '', message: `is larger than ${VERSION_LIMITS.bytes} bytes` };
  }
  if (contentsOf(version).length > VERSION_LIMITS.contents) {
    return { path: 'translations', message: `make more than ${VERSION_LIMITS.contents} contents` };
  }
  const allowance = new MarkupAllowance(VERSION_LIMITS.markup);
  return allowance.charge({ content: version.content, translations: version.translations });
}

interface PlacedContent {
  path: string;
  name: string;
  locale: string;
  content: ChannelContent;
}

function contentsOf({ locale, content, translations }: NewTemplateVersion): PlacedContent[] {
  const place = (path: string, of: string, contents: Record<string, ChannelContent>) =>
    Object.entries(contents).map(([name, content]) => {
      return { path: `${path}.${name}`, name, locale: of, content };
    });
  return [
    ...place('content', locale, content),
    ...Object.entries(translations).flatMap(([of, contents]) =>
      place(`translations.${of}`, of, contents),
    ),
  ];
}

function checkLocales({ locale, content, translations }: NewTemplateVersion): FieldError[] {
  const faults = checkLocale('locale', locale);
  for (const [translated, contents] of Object.entries(translations)) {
    const path = `translations.${translated}`;
    faults.push(...checkLocale(path, translated));
    if (translated === locale) {
      faults.push({ path, message: 'is the locale of the content itself' });
    }
    for (const name of Object.keys(contents)) {
      if (Object.hasOwn(content, name)) continue;
      faults.push({
        path: `${path}.${name}`,
        message: `translates what is not in content.${name}`,
      });
    }
  }
  return faults;
}

function checkLocale(path: string, tag: string): FieldError[] {
  const canonical = canonicalLocale(tag);
  if (canonical === undefined) return [{ path, message: 'is not a language tag (BCP 47)' }];
  return canonical === tag ? [] : [{ path, message: `is written ${canonical}` }];
}

function checkVariables({ variables, example }: NewTemplateVersion): FieldError[] {
  if (variables === null) return [];
  try {
    const faults = compileVariablesSchema(variables)(example ?? {});
    // `data` is where the data is in a notification; here it is the example.
    return example === null
      ? []
      : faults.map(({ path, message }) => ({ path: path.replace(/^data/, 'example'), message }));
  } catch (error) {
    return faultsIn(error);
  }
}

function checkContent(channel: ChannelDefinition, content: ChannelContent): FieldError[] {
  const check = hasMarkup(content) ? checkUnrendered : checkRendered;
  return [...checkSyntax(channel, content), ...check(channel, content)];
}

function checkSyntax(channel: ChannelDefinition, content: ChannelContent): FieldError[] {
  try {
    compileContent(content, channel);
    return [];
  } catch (error) {
    return faultsIn(error);
  }
}

/**
 * Faults that show when the example is rendered. One content may take 100 ms, so other work gets
 * its turn between them. None when there is no example.
 */
export async function checkExample(
  version: NewTemplateVersion,
  channels: Channels,
  now: number,
): Promise<FieldError[]> {
  if (version.example === null) return [];
  const faults: FieldError[] = [];
  for (const { path, name, locale, content } of contentsOf(version)) {
    const channel = channels.get(name);
    if (channel === undefined || !hasMarkup(content)) continue;
    faults.push(
      ...renderExample(channel, content, version.example, { now, locale }).map((fault) => ({
        path: `${path}.${fault.path}`,
        message: `${fault.message} (with the example)`,
      })),
    );
    if (faults.length >= MAX_FAULTS) break;
    await nextTurn();
  }
  return faults.slice(0, MAX_FAULTS);
}

function renderExample(
  channel: ChannelDefinition,
  content: ChannelContent,
  example: Record<string, unknown>,
  options: { now: number; locale: string },
): FieldError[] {
  try {
    return checkRendered(
      channel,
      renderContent(compileContent(content, channel), example, options),
    );
  } catch (error) {
    return faultsIn(error);
  }
}

/** The faults that an error names; anything else goes on. */
export function faultsIn(error: unknown): FieldError[] {
  if (error instanceof ServiceError && error.errors) return error.errors;
  throw error;
}

/** Faults of a part as faults of the whole; a fault of the part itself has an empty path. */
export function below(path: string, faults: readonly FieldError[]): FieldError[] {
  if (path === '') return [...faults];
  return faults.map((fault) => ({
    path: fault.path === '' ? path : `${path}.${fault.path}`,
    message: fault.message,
  }));
}
