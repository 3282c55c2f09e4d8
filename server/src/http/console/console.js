/**
 * The console behind the admin link: what was accepted, what became of it, keys, a first message.
 * It is a client of the API like any other. Everything shown is set as text, never as HTML.
 */
import { language, switchLanguage, text } from '/console/text.js';

const KEY = 'tidings-session';
const main = document.querySelector('#main');
const notice = document.querySelector('#notice');
const STATUSES = [
  'scheduled',
  'accepted',
  'sending',
  'sent',
  'delivered',
  'failed',
  'expired',
  'suppressed',
  'cancelled',
];
const TONES = {
  delivered: ['good', '✓'],
  sent: ['good', '✓'],
  failed: ['bad', '✕'],
  expired: ['bad', '⌛'],
  suppressed: ['wait', '∅'],
  cancelled: ['wait', '−'],
};
const OPEN = ['scheduled', 'accepted', 'sending', 'sent'];
/** Stands in the filter for all of OPEN, as the ledger counts them. */
const PENDING = 'pending';
const ENDED = ['delivered', 'failed', 'expired', 'suppressed', 'cancelled'];
const REFRESH_MS = 3000;
let refresh;

/** An element with attributes and children; texts become text nodes. */
function el(name, attributes = {}, ...children) {
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

async function api(path, { method = 'GET', body } = {}) {
  const answer = await fetch(path, {
    method,
    headers: {
      authorization: `Bearer ${sessionStorage.getItem(KEY) ?? ''}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (answer.status === 204) return undefined;
  const value = await answer.json();
  if (answer.ok) return value;
  if (answer.status === 401) leave();
  throw new Error(
    [
      value.title,
      ...(value.errors ?? []).map((error) => `${error.path}: ${error.message}`),
      value.hint,
    ]
      .filter(Boolean)
      .join(' · '),
  );
}

function say(message) {
  notice.textContent = message;
  setTimeout(() => {
    if (notice.textContent === message) notice.textContent = '';
  }, 8000);
}

function leave() {
  sessionStorage.removeItem(KEY);
  ledgerKnown = undefined;
  void render();
}

function show(...children) {
  main.replaceChildren(...children);
}

function statusMark(status) {
  const [tone, icon] = TONES[status] ?? ['wait', '…'];
  return el('span', { class: `status ${tone}` }, `${icon} ${status}`);
}

function time(value) {
  return el('time', { datetime: value, title: value }, new Date(value).toLocaleString(language));
}

function table(caption, heads, rows) {
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

function query() {
  return new URLSearchParams(location.hash.split('?')[1] ?? '');
}

/** A page of messages; what is pending is the newest of each open status, since a list has one. */
async function messages(asked) {
  // A page that took its time is empty and says where to go on: a few of them are gone through here.
  const list = async (wanted) => {
    let page = await api(`/v1/notifications?limit=50&${new URLSearchParams(wanted)}`);
    for (let more = 0; page.items.length === 0 && page.next !== null && more < 20; more++) {
      const from = new URLSearchParams({ ...wanted, cursor: page.next });
      page = await api(`/v1/notifications?limit=50&${from}`);
    }
    return page;
  };
  const older = (wanted, { next }) =>
    next === null ? [] : [`#/activity?${new URLSearchParams({ ...wanted, cursor: next })}`];
  const filter = Object.fromEntries(asked);
  const filters =
    filter.status === PENDING ? OPEN.map((status) => ({ ...filter, status })) : [filter];
  const pages = await Promise.all(filters.map(list));
  return {
    items: pages.flatMap(({ items }) => items).sort((a, b) => (a.id < b.id ? 1 : -1)),
    older: filters.flatMap((wanted, i) =>
      older(wanted, pages[i]).map((href) => ({ href, status: wanted.status })),
    ),
  };
}

let ledgerKnown;
let ledgerAsked;

/** The newest ledger there is: to count millions takes seconds, which no list should wait for. */
async function ledgerSoon() {
  ledgerAsked ??= api('/v1/ledger')
    .then((ledger) => {
      ledgerKnown = ledger;
    })
    .finally(() => {
      ledgerAsked = undefined;
    });
  // Whoever no longer waits need not hear of its failure.
  ledgerAsked.catch(() => {});
  const patience = new Promise((resolve) => setTimeout(resolve, 500));
  await Promise.race([ledgerAsked, patience]);
  return ledgerKnown;
}

/** The ledger, each count with the list of what it counts. Everything was accepted: the whole list. */
function counts(ledger, asked) {
  return ['accepted', PENDING, ...ENDED].map((name) => {
    const wanted = name === 'accepted' ? '' : `status=${name}`;
    return el(
      'a',
      {
        href: wanted === '' ? '#/activity' : `#/activity?${wanted}`,
        'aria-current': asked.toString() === wanted && 'true',
      },
      el('b', {}, ledger[name].toLocaleString(language)),
      el('span', {}, text(name)),
    );
  });
}

async function activity() {
  const asked = query();
  const [ledger, page] = await Promise.all([ledgerSoon(), messages(asked)]);
  const filters = el(
    'form',
    {
      onsubmit: (event) => {
        event.preventDefault();
        const wanted = new URLSearchParams(
          [...new FormData(event.target)].filter(([, value]) => value !== ''),
        );
        location.hash = `#/activity?${wanted}`;
      },
    },
    field(
      'status',
      el(
        'select',
        { name: 'status' },
        el('option', { value: '' }, text('all')),
        [PENDING, ...STATUSES].map((status) =>
          el('option', { value: status, selected: asked.get('status') === status }, status),
        ),
      ),
    ),
    ...['channel', 'user', 'template', 'category'].map((name) =>
      field(name, el('input', { name, value: asked.get(name) ?? '', size: '12' })),
    ),
    el('button', { type: 'submit' }, text('filter')),
  );
  const rows = page.items.map((item) =>
    el(
      'tr',
      {},
      el('td', {}, time(item.createdAt)),
      el('td', {}, statusMark(item.status)),
      el('td', {}, item.channel ?? '–'),
      el('td', {}, item.user ?? item.recipient ?? '–'),
      el('td', {}, item.reason ?? ''),
      el('td', {}, el('a', { href: `#/notification/${item.notificationId}` }, item.id)),
    ),
  );
  const more = page.older.map(({ href, status }) =>
    el('p', {}, el('a', { href }, [text('older'), status].filter(Boolean).join(': '))),
  );
  const list =
    rows.length > 0
      ? table(
          text('activity'),
          [
            text('time'),
            text('status'),
            text('channel'),
            text('recipient'),
            text('reason'),
            text('message'),
          ],
          rows,
        )
      : empty();
  if (document.activeElement?.closest('form') && main.contains(document.activeElement)) return;
  show(
    el('h1', {}, text('activity')),
    ...(ledger ? [el('div', { class: 'counts' }, counts(ledger, asked))] : []),
    filters,
    list,
    ...more,
  );
}

function empty() {
  const line = `curl -sS '${location.origin}/v1/notifications' -H "Authorization: Bearer $TIDINGS_API_KEY" -H 'Content-Type: application/json' -d '{"to":{"email":"ada@example.com"},"content":{"title":"Hello","text":"It works."}}'`;
  return el(
    'div',
    { class: 'empty' },
    el('p', {}, text('nothing')),
    el('p', {}, el('a', { href: '#/send' }, text('sendFirst'))),
    el('pre', {}, line),
  );
}

function field(name, input) {
  return el('label', {}, text(name), input);
}

async function notification(id) {
  const [found, events] = await Promise.all([
    api(`/v1/notifications/${id}`),
    api(`/v1/notifications/${id}/timeline`),
  ]);
  const act = (label, path, method = 'POST') =>
    el(
      'button',
      {
        type: 'button',
        onclick: async () => {
          try {
            const result = await api(path, { method });
            say(text('done'));
            if (path.endsWith('resend')) location.hash = `#/notification/${result.id}`;
            else if (method === 'DELETE') location.hash = '#/activity';
            else await render();
          } catch (error) {
            say(error.message);
          }
        },
      },
      label,
    );
  const rows = events.items.map((event) =>
    el(
      'tr',
      {},
      el('td', {}, time(event.at)),
      el('td', {}, event.type),
      el('td', {}, event.status ? statusMark(event.status) : ''),
      el(
        'td',
        {},
        [
          event.channel,
          event.provider,
          event.attempt && `#${event.attempt}`,
          event.durationMs !== undefined && `${event.durationMs} ms`,
        ]
          .filter(Boolean)
          .join(' · '),
      ),
      el(
        'td',
        {},
        el('div', {}, [event.reason, event.response].filter(Boolean).join(': ')),
        event.detail ? el('pre', {}, JSON.stringify(event.detail, null, 2)) : '',
      ),
    ),
  );
  show(
    el('p', {}, el('a', { href: '#/activity' }, `← ${text('activity')}`)),
    el('h1', {}, id, found.test ? el('span', { class: 'faint' }, ` · ${text('test')}`) : ''),
    el(
      'form',
      {},
      // Only what can be done: an ended message is not cancelled, a waiting one neither resent nor removed.
      found.messages.every(({ status }) => status !== 'scheduled') &&
        act(text('resend'), `/v1/notifications/${id}/resend`),
      found.messages.some(({ status }) => ['scheduled', 'accepted'].includes(status)) &&
        act(text('cancel'), `/v1/notifications/${id}/cancel`),
      found.messages.every(({ status }) => ENDED.includes(status)) &&
        act(text('remove'), `/v1/notifications/${id}`, 'DELETE'),
    ),
    table(
      text('messages'),
      [
        text('message'),
        text('status'),
        text('route'),
        text('provider'),
        text('attempts'),
        text('reason'),
      ],
      found.messages.map((message) =>
        el(
          'tr',
          {},
          el('td', {}, message.id),
          el('td', {}, statusMark(message.status)),
          el('td', {}, message.route.join(' → ')),
          el('td', {}, message.provider ?? '–'),
          el('td', {}, String(message.attempts)),
          el('td', {}, message.reason ?? ''),
        ),
      ),
    ),
    el('h2', {}, text('timeline')),
    table(
      text('timeline'),
      [text('time'), text('event'), text('status'), text('attempt'), text('detail')],
      rows,
    ),
    el('h2', {}, text('request')),
    el('pre', {}, JSON.stringify(found, null, 2)),
  );
}

function send() {
  const asked = query();
  show(
    el('h1', {}, text('send')),
    el(
      'form',
      {
        class: 'tall',
        onsubmit: async (event) => {
          event.preventDefault();
          const values = Object.fromEntries(new FormData(event.target));
          try {
            const result = await api('/v1/notifications?wait=5s', {
              method: 'POST',
              body: {
                to: { [values.kind]: values.address },
                content: { title: values.title, text: values.text },
                ...(values.kind === 'userId' ? { channels: ['in_app'] } : {}),
              },
            });
            location.hash = `#/notification/${result.id}`;
          } catch (error) {
            say(error.message);
          }
        },
      },
      field(
        'to',
        el(
          'select',
          { name: 'kind' },
          ['email', 'userId', 'webhook'].map((kind) =>
            el('option', { value: kind, selected: asked.get('kind') === kind }, kind),
          ),
        ),
      ),
      field(
        'address',
        el('input', { name: 'address', required: true, placeholder: 'ada@example.com' }),
      ),
      field('title', el('input', { name: 'title', required: true, placeholder: 'Hello' })),
      field('text', el('textarea', { name: 'text', required: true, placeholder: 'It works.' })),
      el('button', { class: 'first', type: 'submit' }, text('send')),
    ),
  );
}

async function deadLetters() {
  const page = await api('/v1/dead-letters?limit=100');
  const redrive = (selection) => async () => {
    if (selection.all && !confirm(text('redriveAllSure'))) return;
    try {
      const { taken } = await api('/v1/dead-letters/redrive', {
        method: 'POST',
        body: { ...selection, ratePerSecond: 50 },
      });
      say(`${text('taken')}: ${taken}`);
      await render();
    } catch (error) {
      say(error.message);
    }
  };
  const rows = page.items.map((item) =>
    el(
      'tr',
      {},
      el('td', {}, time(item.updatedAt)),
      el('td', {}, item.channel ?? '–'),
      el('td', {}, item.user ?? item.recipient ?? '–'),
      el('td', {}, item.reason ?? ''),
      el('td', {}, String(item.attempts)),
      el('td', {}, el('a', { href: `#/notification/${item.notificationId}` }, item.id)),
      el(
        'td',
        {},
        el(
          'button',
          { type: 'button', onclick: redrive({ messages: [item.id] }) },
          text('redrive'),
        ),
      ),
    ),
  );
  show(
    el('h1', {}, text('deadLetters')),
    rows.length === 0
      ? el('div', { class: 'empty' }, text('noDeadLetters'))
      : el(
          'form',
          {},
          el('button', { type: 'button', onclick: redrive({ all: true }) }, text('redriveAll')),
        ),
    rows.length === 0
      ? ''
      : table(
          text('deadLetters'),
          [
            text('time'),
            text('channel'),
            text('recipient'),
            text('reason'),
            text('attempts'),
            text('message'),
            '',
          ],
          rows,
        ),
  );
}

async function keys() {
  const page = await api('/v1/api-keys?limit=100');
  const made = el('div', {});
  const create = el(
    'form',
    {
      onsubmit: async (event) => {
        event.preventDefault();
        const { name, kind } = Object.fromEntries(new FormData(event.target));
        try {
          const key = await api('/v1/api-keys', { method: 'POST', body: { name, kind } });
          await keys();
          main
            .querySelector('#made')
            .replaceChildren(el('p', {}, text('shownOnce')), el('pre', {}, key.secret));
        } catch (error) {
          say(error.message);
        }
      },
    },
    field('name', el('input', { name: 'name', required: true })),
    field(
      'kind',
      el(
        'select',
        { name: 'kind' },
        ['live', 'test'].map((kind) => el('option', {}, kind)),
      ),
    ),
    el('button', { class: 'first', type: 'submit' }, text('create')),
  );
  made.id = 'made';
  show(
    el('h1', {}, text('keys')),
    create,
    made,
    table(
      text('keys'),
      [text('name'), text('kind'), text('scopes'), text('prefix'), text('created'), ''],
      page.items.map((key) =>
        el(
          'tr',
          {},
          el('td', {}, key.name),
          el('td', {}, key.kind),
          el('td', {}, key.scopes.join(', ')),
          el('td', {}, el('code', {}, `${key.prefix}…`)),
          el('td', {}, time(key.createdAt)),
          el(
            'td',
            {},
            key.revokedAt
              ? text('revoked')
              : el(
                  'button',
                  {
                    type: 'button',
                    'aria-label': `${text('revoke')} ${key.name}`,
                    onclick: async () => {
                      if (!confirm(`${text('revoke')} ${key.name}?`)) return;
                      await api(`/v1/api-keys/${key.id}`, { method: 'DELETE' });
                      await keys();
                    },
                  },
                  text('revoke'),
                ),
          ),
        ),
      ),
    ),
  );
}

async function channels() {
  const { items } = await api('/v1/channels');
  show(
    el('h1', {}, text('channels')),
    table(
      text('channels'),
      [text('channel'), text('provider'), text('simulated')],
      items.map((item) =>
        el(
          'tr',
          {},
          el('td', {}, item.title),
          el(
            'td',
            {},
            item.accounts.map((account) => el('div', {}, `${account.id} (${account.title})`)),
          ),
          el(
            'td',
            {},
            Object.values(item.simulated).map((address) => el('div', {}, el('code', {}, address))),
          ),
        ),
      ),
    ),
  );
}

function signIn() {
  show(
    el('h1', {}, 'Tidings'),
    el('p', {}, text('signInHow')),
    el(
      'form',
      {
        class: 'tall',
        onsubmit: (event) => {
          event.preventDefault();
          sessionStorage.setItem(KEY, new FormData(event.target).get('key').trim());
          location.hash = '#/activity';
          void render();
        },
      },
      field(
        'apiKey',
        el('input', { name: 'key', type: 'password', required: true, autocomplete: 'off' }),
      ),
      el('button', { class: 'first', type: 'submit' }, text('signIn')),
    ),
  );
}

async function useAdminLink(token) {
  history.replaceState(null, '', '/console#/activity');
  const answer = await fetch('/v1/sessions', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ token }),
  });
  if (answer.ok) sessionStorage.setItem(KEY, (await answer.json()).key);
  else say(text('linkUsed'));
}

const PAGES = { activity, send, 'dead-letters': deadLetters, keys, channels };

async function render() {
  clearInterval(refresh);
  for (const element of document.querySelectorAll('[data-text]'))
    element.textContent = text(element.dataset.text);
  document.documentElement.lang = language;
  const token = /^#token=(.+)$/.exec(location.hash)?.[1];
  if (token) await useAdminLink(token);
  const signedIn = sessionStorage.getItem(KEY) !== null;
  document.querySelector('#leave').hidden = !signedIn;
  document.querySelector('nav').hidden = !signedIn;
  if (!signedIn) return signIn();
  const [name = 'activity', id] = location.hash.replace(/^#\/?/, '').split('?')[0].split('/');
  for (const link of document.querySelectorAll('nav a')) {
    if (link.hash === `#/${name}`) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  try {
    if (name === 'notification' && id) await notification(id);
    else await (PAGES[name] ?? activity)();
    if (name === 'activity' || name === '')
      refresh = setInterval(() => document.hidden || activity().catch(() => {}), REFRESH_MS);
  } catch (error) {
    show(
      el('h1', {}, text('problem')),
      el('p', {}, error.message),
      el('p', {}, el('a', { href: '#/activity' }, text('activity'))),
    );
  }
}

document.querySelector('#language').addEventListener('click', () => {
  switchLanguage();
  document.querySelector('#language').textContent = text('otherLanguage');
  void render();
});
document.querySelector('#language').textContent = text('otherLanguage');
document.querySelector('#leave').addEventListener('click', leave);
addEventListener('hashchange', () => {
  void render();
  main.focus();
});
void render();
