/** What the pages of the console are built of. Everything shown is set as text, never as HTML. */
import { language, text } from '/console/text.js';

const TONES = {
  delivered: ['good', '✓'],
  sent: ['good', '✓'],
  failed: ['bad', '✕'],
  expired: ['bad', '⌛'],
  suppressed: ['wait', '∅'],
  cancelled: ['wait', '−'],
};

/** An element with attributes and children; texts become text nodes. */
export function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith('on')) element.addEventListener(key.slice(2), value);
    else if (value !== undefined && value !== false)
      element.setAttribute(key, value === true ? '' : value);
  }
  element.append(
    ...children.flat().filter((child) => child !== undefined && child !== null && child !== false),
  );
  return element;
}

export function statusMark(status) {
  const [tone, icon] = TONES[status] ?? ['wait', '…'];
  return el('span', { class: `status ${tone}` }, `${icon} ${status}`);
}

/** What stands beside a message that was accepted by a test key. */
export function testTag({ test }) {
  return test && el('span', { class: 'tag' }, 'test');
}

export function time(value) {
  return el('time', { datetime: value, title: value }, new Date(value).toLocaleString(language));
}

export function field(name, input) {
  return el('label', {}, text(name), input);
}

/** A cell that says what it holds where the heads of its columns are not shown: on narrow screens. */
export function labelled(name, ...children) {
  return el('td', { 'data-head': `${text(name)}: ` }, ...children);
}

export function table(caption, heads, rows) {
  return el(
    'div',
    { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': caption },
    el(
      'table',
      {},
      el(
        'thead',
        {},
        el(
          'tr',
          {},
          heads.map((head) => el('th', { scope: 'col' }, head)),
        ),
      ),
      el('tbody', {}, rows),
    ),
  );
}

/** Replaces what is in a box. The focus stays where it was, if that is still there. */
export function refill(box, ...children) {
  const focused = box.contains(document.activeElement) ? document.activeElement : undefined;
  const href = focused?.getAttribute('href');
  box.replaceChildren(...children);
  if (focused === undefined) return;
  const same = href ? `a[href="${CSS.escape(href)}"]` : '.scroll';
  box.querySelector(same)?.focus({ preventScroll: true });
}
