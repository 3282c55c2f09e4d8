/**
 * Rendering for sending: which text a recipient gets, compiled once, filled in, and checked
 * against the channel. Synchronous, since it runs for each message; what it remembers is bounded.
 *
 * How templates are compiled and filled in is compile.ts and render.ts; which templates there
 * are, the store.
 */
import type { ChannelContent } from '@tidings/contracts/content';
import type { Clock } from '../clock.ts';
import { type FieldError, invalid, ServiceError } from '../errors.ts';
import { type CompiledContent, compileContent } from './compile.ts';
import {
  type ChannelDefinition,
  type Channels,
  checkRendered,
  checkUnrendered,
  hasMarkup,
  valueAt,
} from './content-check.ts';
import { isOutOfWork } from './fault.ts';
import { InlineCache } from './inline-cache.ts';
import { chooseLocale, dateLocale } from './locale.ts';
import { MarkupAllowance } from './markup.ts';
import { type RenderOptions, renderContent } from './render.ts';
import type { PublishedTemplate } from './template-store.ts';
import { knownTimezone } from './timezone.ts';
import { readsRoot } from './variables.ts';
import { compileVariablesSchema, type DataCheck } from './variables-schema.ts';

export interface RenderRequest {
  channel: string;
  data: Record<string, unknown>;
  /** What `now` means in the template, in ms since 1970. */
  now: number;
  /** The recipient's, as the profile has it; anything unknown counts as none. */
  locale?: string | null;
  /** The recipient's, as the profile has it; anything unknown counts as UTC. */
  timezone?: string | null;
  /** Told which variables the text has holes for, if there are any: at most 20 names of 100 characters. */
  onMissing?: (names: string[]) => void;
}

/**
 * Markup of the content that a notification brings along, all its channels together: what compiling
 * them takes of the thread that accepts it stays within 10 ms. A template may have more of it.
 */
export const INLINE_MARKUP = { count: 500, length: 40_000, terms: 4000 } as const;
/** Units of work for trying content with its data when it is accepted: 2 to 3 ms for each channel. */
const TRIAL_WORK = 5000;
const MARKUP_HINT =
  'Put it in a template: a published version may have more, and is compiled once.';

type Localized = Pick<PublishedTemplate, 'locale' | 'content' | 'translations'>;

/** The text of a channel for a locale: each channel falls back by itself. */
export function contentFor(
  version: Localized,
  channel: string,
  requested: string | null | undefined,
): { locale: string; content: ChannelContent } | undefined {
  const original = own(version.content, channel);
  if (original === undefined) return undefined;
  const locale = chooseLocale(
    requested,
    version.locale,
    (candidate) => own(own(version.translations, candidate), channel) !== undefined,
  );
  if (locale === version.locale) return { locale, content: original };
  return { locale, content: version.translations[locale]?.[channel] ?? original };
}

/** Names of channels and locales come from outside: `constructor` is neither. */
function own<T>(map: Record<string, T> | undefined, key: string): T | undefined {
  return map !== undefined && Object.hasOwn(map, key) ? map[key] : undefined;
}

export function createRenderer({ adapters, clock }: { adapters: Channels; clock: Clock }) {
  const dataChecks = new WeakMap<PublishedTemplate, DataCheck>();
  const compiled = new WeakMap<PublishedTemplate, Map<string, CompiledContent>>();
  const inline = new InlineCache();

  function channelOf(name: string): ChannelDefinition {
    const channel = adapters.get(name);
    if (channel) return channel;
    throw invalid('unknown_channel', [{ path: 'channel', message: `${name} is not a channel` }]);
  }

  function compiledTemplate(
    template: PublishedTemplate,
    channel: ChannelDefinition,
    { locale, content }: { locale: string; content: ChannelContent },
  ): CompiledContent {
    let ofTemplate = compiled.get(template);
    if (ofTemplate === undefined) {
      ofTemplate = new Map();
      compiled.set(template, ofTemplate);
    }
    const name = `${channel.channel} ${locale}`;
    let known = ofTemplate.get(name);
    if (known === undefined) {
      known = compileContent(content, channel);
      ofTemplate.set(name, known);
    }
    return known;
  }

  function compiledInline(channel: ChannelDefinition, content: ChannelContent): CompiledContent {
    return inline.get(channel.channel, content, () => {
      try {
        return compileContent(content, channel);
      } catch (error) {
        // The same fault, but the caller has sent content and knows of no template.
        if (error instanceof ServiceError && error.errors) {
          throw invalid('invalid_content', error.errors);
        }
        throw error;
      }
    });
  }

  function fillIn(
    channel: ChannelDefinition,
    source: CompiledContent,
    { data, now, timezone, onMissing }: RenderRequest,
    locale?: string,
  ): ChannelContent {
    const options = { now, locale, timezone: knownTimezone(timezone), onMissing };
    return acceptedOf(channel, source, data, options);
  }

  /** What takes long is not refused by this: delivery has more time. */
  function tryOut(
    channel: ChannelDefinition,
    source: CompiledContent,
    data: Record<string, unknown>,
  ): void {
    try {
      acceptedOf(channel, source, data, { now: clock.now(), work: TRIAL_WORK });
    } catch (error) {
      if (!isOutOfWork((error as Error).cause)) throw error;
    }
  }

  return {
    /**
     * Checks a notification's data against the schema of its template.
     * @throws invalid_data with paths `body.data.…`
     */
    checkData(template: PublishedTemplate, data: Record<string, unknown>): void {
      if (template.variables === null) return;
      let check = dataChecks.get(template);
      if (check === undefined) {
        check = compileVariablesSchema(template.variables);
        dataChecks.set(template, check);
      }
      const faults = check(data);
      if (faults.length === 0) return;
      throw invalid(
        'invalid_data',
        faults.map(({ path, message }) => ({ path: `body.${path}`, message })),
      );
    },

    channelsOf(template: PublishedTemplate): string[] {
      return Object.keys(template.content);
    },

    /**
     * The content of one message. @throws invalid_content (it does not fit the channel once it is
     * rendered) or invalid_data (it cannot be rendered with this data), with paths relative to the
     * content; invalid_template when it has nothing for the channel; unknown_channel.
     */
    render(template: PublishedTemplate, request: RenderRequest): ChannelContent {
      const channel = channelOf(request.channel);
      const chosen = contentFor(template, channel.channel, request.locale);
      if (chosen === undefined) {
        const message = `the template ${template.key} has no content for ${channel.channel}`;
        throw invalid('invalid_template', [{ path: 'channel', message }]);
      }
      const locale = dateLocale(request.locale, chosen.locale);
      return fillIn(channel, compiledTemplate(template, channel, chosen), request, locale);
    },

    /**
     * Content given with a notification. It is a template where it has `{{` or `{%` in it, and
     * taken as it is otherwise (the same object then). @throws as `render` does
     */
    renderInline(content: ChannelContent, request: RenderRequest): ChannelContent {
      const channel = channelOf(request.channel);
      if (!hasMarkup(content)) return accepted(channel, content);
      const locale = request.locale ?? undefined;
      return fillIn(channel, compiledInline(channel, content), request, locale);
    },

    /**
     * Refuses content given with a notification when it is accepted, as far as is certain and
     * cheap: content without markup entirely; templates of text and outputs are rendered with the
     * data as far as that takes little; templates with tags are only compiled, because loops can take
     * 100 ms and belong in delivery. What compiling takes, `countMarkup` has bounded before.
     * @throws invalid_content or invalid_data with paths relative to the content
     */
    checkInline(content: ChannelContent, name: string, data: Record<string, unknown> = {}): void {
      const channel = channelOf(name);
      if (!hasMarkup(content)) {
        accepted(channel, content);
        return;
      }
      const source = compiledInline(channel, content);
      refuse(checkUnrendered(channel, content));
      if (source.texts.some(({ kind }) => kind !== 'parts')) return;
      // Who it is for is known when it is sent.
      if (!Object.hasOwn(data, 'user') && readsRoot(source, 'user')) return;
      tryOut(channel, source, data);
    },

    hasMarkup,

    /**
     * Counts the markup of the contents of one notification, one call for each channel.
     * @throws invalid_content with the path of the string that is too much
     */
    countMarkup(): (content: ChannelContent) => void {
      const allowance = new MarkupAllowance(INLINE_MARKUP);
      return (content) => {
        const fault = allowance.charge(content);
        if (fault) throw invalid('invalid_content', [fault], MARKUP_HINT);
      };
    },
  };
}

function accepted(channel: ChannelDefinition, content: ChannelContent): ChannelContent {
  refuse(checkRendered(channel, content));
  return content;
}

/** Rendered content that fits its channel. @throws as `render` does */
function acceptedOf(
  channel: ChannelDefinition,
  source: CompiledContent,
  data: Record<string, unknown>,
  options: RenderOptions,
): ChannelContent {
  const content = renderContent(source, data, options);
  const faults = checkRendered(channel, content);
  refuse(
    faults.map(({ path, message }) => {
      const missing = emptiedBy({ source, content, path }, data, options);
      return { path, message: missing ? `${message}; the data has no ${missing}` : message };
    }),
  );
  return content;
}

/** The variables for lack of which a text is empty: seen by rendering that text again, alone. */
function emptiedBy(
  { source, content, path }: { source: CompiledContent; content: ChannelContent; path: string },
  data: Record<string, unknown>,
  options: RenderOptions,
): string | undefined {
  const text = source.texts.find((each) => each.path === path);
  const value = valueAt(content, path);
  if (text === undefined || typeof value !== 'string' || value.trim() !== '') return undefined;
  let missing: string | undefined;
  const onMissing = (names: string[]): void => {
    missing = names.join(', ');
  };
  renderContent({ root: text, texts: [text] }, data, { ...options, onMissing });
  return missing;
}

function refuse(faults: FieldError[]): void {
  if (faults.length > 0) throw invalid('invalid_content', faults);
}
