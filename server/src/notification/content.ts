/** Which content a channel of a request gets, and whether each channel that is named has one and an address. */
import type { ChannelContent, Content } from '@tidings/contracts/content';
import { isSafeLink, UNSAFE_LINK } from '@tidings/contracts/link';
import type { CreateNotification } from '@tidings/contracts/notification';
import { type AdapterDefinition, channelContentOf } from '../adapters/adapter.ts';
import { type FieldError, invalid, ServiceError } from '../errors.ts';
import type { TemplateService } from '../template/service.ts';
import type { PublishedTemplate } from '../template/template-store.ts';
import { AUTO } from './notification.ts';
import { type Adapters, checkContentChannels } from './validation.ts';

export interface ContentCheck {
  request: CreateNotification;
  routes: string[][];
  to: Record<string, string>;
  template: PublishedTemplate | undefined;
  templates: TemplateService;
  adapters: Adapters;
}

/** @throws invalid_content or invalid_recipient with the path of each fault */
export function checkContent(check: ContentCheck): void {
  const { request, routes, to, template, adapters } = check;
  if (request.content) {
    checkContentChannels(request.content, adapters);
    checkLinks(request.content);
  }
  const named = routes.flat().filter((channel) => channel !== AUTO);
  if (named.length > 0) checkMarkup(check, request.content, named);
  const field = request.channels ? 'channels' : 'route';
  for (const [i, channel] of named.entries()) {
    const adapter = adapters.adapter(channel) as AdapterDefinition;
    checkReachable(to, adapter, `body.to.${channel}`);
    if (template) {
      if (template.content[channel] === undefined) {
        throw invalid('invalid_content', [
          {
            path: `body.${field}.${i}`,
            message: `the template ${template.key} has no content for ${channel}`,
          },
        ]);
      }
    } else if (request.content) {
      checkInline(check, request.content, adapter, `body.${field}.${i}`);
    }
  }
  if (named.length === 0) checkAutomatic(check);
}

/** Channels leave such links out, which their sender should learn now. */
function checkLinks({ url, imageUrl, actions = [] }: Content): void {
  const links: [path: string, link: string | undefined][] = [
    ['url', url],
    ['imageUrl', imageUrl],
    ...actions.map((action, i): [string, string] => [`actions.${i}.url`, action.url]),
  ];
  const errors = links.flatMap(([path, link]) =>
    link === undefined || isSafeLink(link)
      ? []
      : [{ path: `body.content.${path}`, message: UNSAFE_LINK }],
  );
  if (errors.length > 0) throw invalid('invalid_content', errors);
}

/** A named channel needs an address now, unless a profile may have one. */
function checkReachable(
  to: Record<string, string>,
  adapter: AdapterDefinition,
  path: string,
): void {
  if (to[adapter.channel] !== undefined || to['userId'] !== undefined) return;
  throw invalid('invalid_recipient', [
    { path, message: `is needed to reach somebody by ${adapter.channel} (or a userId)` },
  ]);
}

/**
 * Before anything is compiled: how much markup there is on the channels that are compiled now, together,
 * and on those that delivery compiles, one at a time.
 */
function checkMarkup(
  { templates, adapters }: ContentCheck,
  content: Content | undefined,
  together: readonly string[],
  alone: readonly string[] = [],
): void {
  if (content === undefined || !templates.hasMarkup(content)) return;
  const countTogether = templates.countMarkup();
  for (const channel of new Set([...together, ...alone])) {
    const count = together.includes(channel) ? countTogether : templates.countMarkup();
    const adapter = adapters.adapter(channel) as AdapterDefinition;
    const inline = channelContentOf(content, adapter);
    if (inline !== undefined) whereSent(content, adapter, inline, () => count(inline));
  }
}

function checkInline(
  { templates, request }: ContentCheck,
  content: Content,
  adapter: AdapterDefinition,
  path: string,
): void {
  const inline = channelContentOf(content, adapter);
  if (inline === undefined) {
    throw invalid('invalid_content', [
      {
        path,
        message: `the content has nothing that ${adapter.channel} can show: it needs ${adapter.needs}`,
      },
    ]);
  }
  whereSent(content, adapter, inline, () =>
    templates.checkInline(inline, adapter.channel, request.data ?? {}),
  );
}

/** Runs a check of one channel's content; the paths of its faults become those of the request. */
function whereSent(
  content: Content,
  adapter: AdapterDefinition,
  inline: ChannelContent,
  check: () => void,
): void {
  const own = content.channels?.[adapter.channel];
  const base = own ? `body.content.channels.${adapter.channel}` : 'body.content';
  try {
    check();
  } catch (error) {
    if (!(error instanceof ServiceError) || !error.errors) throw error;
    throw invalid(
      error.code,
      error.errors.map(({ path, message }): FieldError => {
        const at = own ? path : sentAs(path, inline, content);
        return { path: at ? `${base}.${at}` : base, message };
      }),
      error.hint,
    );
  }
}

/** A field of a channel as its caller sent it: an email's subject may be the title of the content. */
function sentAs(path: string, inline: ChannelContent, content: Content): string {
  const [field = '', ...rest] = path.split('.');
  if (Object.hasOwn(content, field)) return path;
  const value = (inline as Record<string, unknown>)[field];
  const sent = Object.entries(content).find(([, each]) => each === value && value !== undefined);
  return sent ? [sent[0], ...rest].join('.') : path;
}

/** What each channel of this recipient would need: "; email needs a title or a subject". */
function needsOf({ to, template, adapters }: ContentCheck): string {
  if (template) return '';
  return adapters
    .channels()
    .filter((channel) => to[channel] !== undefined)
    .map((channel) => `; ${channel} needs ${adapters.adapter(channel)?.needs}`)
    .join('');
}

/** With no channel named, at least one that can be reached must have content. */
function checkAutomatic(check: ContentCheck): void {
  const { to, template, request, adapters } = check;
  const usable = adapters.channels().filter((channel) => {
    const adapter = adapters.adapter(channel) as AdapterDefinition;
    if (to[channel] === undefined && to['userId'] === undefined) return false;
    if (template) return template.content[channel] !== undefined;
    return (
      request.content !== undefined && channelContentOf(request.content, adapter) !== undefined
    );
  });
  if (usable.length === 0) {
    throw invalid('invalid_content', [
      {
        path: template ? 'body.template' : 'body.content',
        message: `has nothing for any channel on which this recipient can be reached${needsOf(check)}`,
      },
    ]);
  }
  if (!request.content) return;
  const explicit = Object.keys(request.content.channels ?? {});
  const inline =
    to['userId'] === undefined
      ? usable
      : usable.filter((channel) => to[channel] !== undefined || explicit.includes(channel));
  checkMarkup(check, request.content, inline, usable);
  for (const channel of inline)
    checkInline(
      check,
      request.content,
      adapters.adapter(channel) as AdapterDefinition,
      'body.content',
    );
}
