/**
 * Neutral content as an email. The strings may still be templates or be rendered already: both
 * orders give the same email, and neither lets a value choose the scheme of a link.
 */
import type { Action, ChannelContent, Content } from '@tidings/contracts/content';
import type { EmailContent } from './content.ts';

/**
 * The subject is `subject`, else `title`; without either there is no email. The text is `text`, else
 * `markdown` as it is written (nothing here makes HTML of it), else the title. `url` and `actions` follow the body unless
 * they are in it.
 */
export function emailFromContent(content: Content): ChannelContent | undefined {
  const subject = content.subject ?? content.title;
  if (subject === undefined) return undefined;
  const links = linksOf(content);
  const body = content.text ?? content.markdown;
  const email: EmailContent = { subject };
  if (content.html !== undefined) email.html = withHtmlLinks(content.html, links);
  if (body !== undefined) email.text = withTextLinks(body, links);
  else if (content.html === undefined) email.text = withTextLinks(content.title ?? subject, links);
  if (content.attachments !== undefined) email.attachments = content.attachments;
  return email;
}

interface Link {
  label?: string;
  url: string;
}

function linksOf(content: Content): Link[] {
  const main = content.url === undefined ? [] : [{ url: content.url }];
  const actions: Action[] = content.actions ?? [];
  return [...main, ...actions].filter((link) => !isScript(link.url));
}

/** Links that run code; in plain text they do nothing, but some readers make every text a link. */
function isScript(url: string): boolean {
  return /^\s*(?:javascript|vbscript|data):/i.test(url);
}

function withTextLinks(text: string, links: Link[]): string {
  const lines = links
    .filter(({ url }) => !text.includes(url))
    .map(({ label, url }) => (label === undefined ? url : `${label}: ${url}`));
  return [text, ...lines].join('\n\n');
}

/**
 * http(s) written out at the start, so that no rendered value decides the scheme, and nothing that
 * could end the attribute. Variables may follow: `https://shop.example/o/{{ order.id }}`.
 */
const SAFE_LINK = /^https?:\/\/(?:[^\s\p{Cc}"'<>`{}\\]|\{\{[\w\s.|:,-]*\}\})+$/iu;

function withHtmlLinks(html: string, links: Link[]): string {
  const paragraphs = links
    .filter(({ url }) => SAFE_LINK.test(url) && !html.includes(url))
    .map(
      ({ label, url }) =>
        `<p><a href="${escapeHtmlText(url)}">${escapeHtmlText(label ?? url)}</a></p>`,
    );
  if (paragraphs.length === 0) return html;
  const end = html.toLowerCase().lastIndexOf('</body');
  const at = end === -1 ? html.length : end;
  return `${html.slice(0, at)}${paragraphs.join('')}${html.slice(at)}`;
}

/** For text between tags, and for attribute values known to hold no quotes. */
export function escapeHtmlText(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
