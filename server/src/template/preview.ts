/** What a version looks like with some data: for the authors of templates, not for sending. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type {
  PreviewTemplate,
  TemplatePreview,
  TemplateVersion,
} from '@tidings/contracts/template';
import { type FieldError, invalid } from '../errors.ts';
import { type CompiledContent, compileContent } from './compile.ts';
import { type Channels, checkRendered } from './content-check.ts';
import { canonicalLocale, dateLocale } from './locale.ts';
import { renderContent } from './render.ts';
import { contentFor } from './renderer.ts';
import { missingVariables } from './variables.ts';
import { compileVariablesSchema } from './variables-schema.ts';
import { below, faultsIn } from './version-check.ts';

type Data = Record<string, unknown>;

/**
 * Renders a version with the data of the request, else its example. What the data lacks is told
 * in the answer.
 * @throws invalid_template when what is rendered does not fit its channel, with paths into the
 * version (`translations.de.email.subject`) and what the data lacks as the hint
 */
export async function previewVersion(
  version: TemplateVersion,
  request: PreviewTemplate,
  { adapters, now }: { adapters: Channels; now: number },
): Promise<TemplatePreview> {
  const locale = readLocale(request.locale) ?? version.locale;
  const data = request.data ?? version.example ?? {};
  const preview: TemplatePreview = {
    ...{ version: version.version, locale, locales: {}, channels: {} },
    ...{ missing: [], dataErrors: checkData(version.variables, data) },
  };
  const faults: FieldError[] = [];
  const missing = new Set<string>();
  for (const name of readChannels(version, request.channel)) {
    const { faults: found, ...shown } = previewChannel(version, name, {
      adapters,
      now,
      locale,
      data,
    });
    faults.push(...found);
    for (const variable of shown.missing) missing.add(variable);
    preview.locales[name] = shown.locale;
    preview.channels[name] = shown.content;
    // One content may take 100 ms: other work gets its turn.
    await nextTurn();
  }
  preview.missing = [...missing];
  if (faults.length === 0) return preview;
  const hint = missing.size === 0 ? undefined : `The data has no ${preview.missing.join(', ')}.`;
  throw invalid('invalid_template', faults, hint);
}

interface PreviewOptions {
  adapters: Channels;
  now: number;
  locale: string;
  data: Data;
}

function previewChannel(version: TemplateVersion, name: string, options: PreviewOptions) {
  const { adapters, now, locale: requested, data } = options;
  const channel = adapters.get(name);
  const chosen = contentFor(version, name, requested);
  if (channel === undefined || chosen === undefined) {
    // A channel can go with its plug-in while templates for it stay.
    const fault = { path: `content.${name}`, message: 'is not a channel' };
    return { locale: version.locale, content: {}, missing: [], faults: [fault] };
  }
  const { locale } = chosen;
  const path = locale === version.locale ? `content.${name}` : `translations.${locale}.${name}`;
  let compiled: CompiledContent | undefined;
  try {
    compiled = compileContent(chosen.content, channel);
    const content = renderContent(compiled, data, { now, locale: dateLocale(requested, locale) });
    const faults = below(path, checkRendered(channel, content));
    return { locale, content, missing: missingVariables(compiled, data), faults };
  } catch (error) {
    const missing = compiled === undefined ? [] : missingVariables(compiled, data);
    return { locale, content: {}, missing, faults: below(path, faultsIn(error)) };
  }
}

function readLocale(tag: string | undefined): string | undefined {
  if (tag === undefined) return undefined;
  const canonical = canonicalLocale(tag);
  if (canonical !== undefined) return canonical;
  throw invalid('invalid_request', [
    { path: 'body.locale', message: 'is not a language tag (BCP 47)' },
  ]);
}

function readChannels({ content }: TemplateVersion, channel: string | undefined): string[] {
  if (channel === undefined) return Object.keys(content);
  if (Object.hasOwn(content, channel)) return [channel];
  throw invalid('invalid_request', [
    { path: 'body.channel', message: 'is not a channel of this version' },
  ]);
}

function checkData(variables: Data | null, data: Data): FieldError[] {
  return variables === null ? [] : compileVariablesSchema(variables)(data);
}
