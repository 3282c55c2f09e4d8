/** The console's calls of the API, with the key of the session. What is done with answers is the pages' matter. */
const KEY = 'tidings-session';

export function isSignedIn() {
  return sessionStorage.getItem(KEY) !== null;
}

export function signInWith(key) {
  sessionStorage.setItem(KEY, key);
}

/** Tells the document by the event `signed-out`. */
export function signOut() {
  sessionStorage.removeItem(KEY);
  document.dispatchEvent(new Event('signed-out'));
}

/** @throws Error with all that the problem says; a key that is refused ends the session as well */
export async function api(path, { method = 'GET', body } = {}) {
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
  if (answer.status === 401) signOut();
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
