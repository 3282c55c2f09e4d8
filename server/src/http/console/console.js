/**
 * The console behind the admin link: its pages besides the activity, and which of them is shown.
 * It is a client of the API like any other.
 */
import { activity } from '/console/activity.js';
import { api, isSignedIn, signInWith, signOut } from '/console/client.js';
import { el, field, labelled, statusMark, table, testTag, time } from '/console/element.js';
import { language, switchLanguage, text } from '/console/text.js';

const main = document.querySelector('#main');
const notice = document.querySelector('#notice');
const ENDED = ['delivered', 'failed', 'expired', 'suppressed', 'cancelled'];
const REFRESH_MS = 3000;
let refresh;

function say(message) {
  notice.textContent = message;
  setTimeout(() => {
    if (notice.textContent === message) notice.textContent = '';
  }, 8000);
}

function query() {
  return new URLSearchParams(location.hash.split('?')[1] ?? '');
}

function show(...children) {
  main.replaceChildren(...children);
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
        [event.reason, event.response].filter(Boolean).join(': ') || undefined,
        event.detail && el('pre', {}, JSON.stringify(event.detail, null, 2)),
      ),
    ),
  );
  show(
    el('p', {}, el('a', { href: '#/activity' }, `← ${text('activity')}`)),
    el('h1', {}, id, ' ', found.test && el('span', { class: 'tag' }, text('test'))),
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
          labelled('attempts', String(message.attempts)),
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
      el('td', {}, item.reason ?? '', ' ', testTag(item)),
      labelled('attempts', String(item.attempts)),
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
          signInWith(new FormData(event.target).get('key').trim());
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
  if (answer.ok) signInWith((await answer.json()).key);
  else say(text('linkUsed'));
}

const PAGES = { send, 'dead-letters': deadLetters, keys, channels };

async function render() {
  clearInterval(refresh);
  for (const element of document.querySelectorAll('[data-text]'))
    element.textContent = text(element.dataset.text);
  document.documentElement.lang = language;
  const token = /^#token=(.+)$/.exec(location.hash)?.[1];
  if (token) await useAdminLink(token);
  const signedIn = isSignedIn();
  document.querySelector('#leave').hidden = !signedIn;
  document.querySelector('nav').hidden = !signedIn;
  if (!signedIn) return signIn();
  const [page, id] = location.hash.replace(/^#\/?/, '').split('?')[0].split('/');
  const name = page || 'activity';
  for (const link of document.querySelectorAll('nav a')) {
    if (link.hash === `#/${name}`) {
      link.setAttribute('aria-current', 'page');
      // On a narrow screen the links are one row that scrolls.
      link.scrollIntoView({ block: 'nearest', inline: 'nearest' });
    } else link.removeAttribute('aria-current');
  }
  try {
    if (name === 'notification' && id) await notification(id);
    else if (PAGES[name]) await PAGES[name]();
    else keepFresh(await activity(show));
  } catch (error) {
    // Asked to sign in meanwhile, nobody needs to hear why.
    if (!isSignedIn()) return;
    show(
      el('h1', {}, text('problem')),
      el('p', {}, error.message),
      el('p', {}, el('a', { href: '#/activity' }, text('activity'))),
    );
  }
}

function keepFresh(update) {
  clearInterval(refresh);
  if (update === undefined) return;
  refresh = setInterval(() => document.hidden || update().catch(() => {}), REFRESH_MS);
}

document.querySelector('#language').addEventListener('click', () => {
  switchLanguage();
  document.querySelector('#language').textContent = text('otherLanguage');
  void render();
});
document.querySelector('#language').textContent = text('otherLanguage');
document.querySelector('#leave').addEventListener('click', signOut);
document.addEventListener('signed-out', () => void render());
addEventListener('hashchange', () => {
  void render();
  main.focus();
});
void render();
