// Takes the visitors of an application over to the new sign-in, with the session of
// SuperTokens that their browser has, on the first page that they open. It needs nothing
// else. See docs/handover.md.
//
//   import { handover } from './handover.js';
//   const state = await handover({ signedIn, signIn, error });
//
// The state is what the application has to do:
//
//   signed-in  go on: there is a session of the new system
//   leaving    show nothing: the browser is on its way
//   none       sign in as usual: this browser has no session of SuperTokens
//   refused    sign in as usual: the session is over, or cannot be taken over
//   later      say "please try again in a moment", and offer to sign in: the session is still good

const MARK = 'stetl-handover'; // what the tabs of this browser tell each other
const TAB = 'stetl-handover-tab'; // the name of this one
const LOCK = 'stetl-handover';
const MINUTE = 60_000;

// What SuperTokens' libraries leave where scripts can see it, in all of their versions.
const NAMES = [
  'sFrontToken', 'sIRTFrontend', 'sAntiCsrf', 'st-access-token', 'st-refresh-token', 'st-last-access-token-update',
  'sAccessToken', 'sRefreshToken', 'sIdRefreshToken',
];
const PREFIXES = ['supertokens-', 'st-storage-item-'];

// Errors of a redirect after which only a login form helps.
const FINAL = ['login_required', 'interaction_required', 'account_selection_required', 'consent_required', 'access_denied'];

/**
 * Call it on each page that needs somebody to be signed in, before it shows anything.
 *
 * signedIn     says whether there is a session of the new system; may be a promise
 * signIn       begins a sign-in of the application with these parameters of the authorization request
 * error        with which the last sign-in came back, if it did
 * parameters   that lead through the bridge; the default is Keycloak's
 * clear        address of the application that ends cookies which scripts cannot see; asked with POST
 * tries        redirects for one session before it is given up for ten minutes
 * patience     milliseconds to wait for another tab that is on its way
 */
export async function handover({
  signedIn, signIn, error = '', parameters = { kc_idp_hint: 'supertokens', prompt: 'none' }, clear = '', tries = 3, patience = 30_000,
}) {
  if (error) return came(error);
  if (await signedIn()) return arrived(clear);
  const session = likely();
  if (!session) return 'none';
  if (!remembers()) return 'later'; // without a memory it could go round for ever
  const before = marked(session);
  if (before.state === 'leaving' && before.tab === tab()) keep({ ...before, state: 'back' }); // nobody need wait for it
  return alone(async () => {
    let mark = marked(session);
    for (; mark.state === 'leaving' && mark.tab !== tab() && Date.now() - mark.at < patience; mark = marked(session)) await change(500);
    if (await signedIn()) return arrived(clear);
    if (mark.state === 'refused') return 'refused';
    const count = Date.now() - (mark.at || 0) > 10 * MINUTE ? 0 : mark.count || 0;
    if (count >= tries) return 'later';
    // Once a tab has signed in, the new system knows this browser, and the bridge has nothing more to give.
    const done = mark.state === 'done';
    keep({ session, state: done ? 'done' : 'leaving', tab: tab(), at: Date.now(), count: count + 1 });
    await signIn(done ? { prompt: 'none' } : parameters);
    return 'leaving';
  });
}

/**
 * The page that ticket_page of the bridge names, of an application in header mode: it gets a
 * ticket for the session in its storage, and goes back to the bridge. It returns only where
 * it has nothing to do.
 */
export async function ticket({ issuer, tries = 3 }) {
  const asked = new URLSearchParams(location.hash.slice(1));
  const authorize = asked.get('authorize') || '';
  if (!authorize.startsWith(issuer + '/authorize?')) return; // somebody else's idea
  const back = (value) => {
    location.replace(authorize + '&ticket=' + encodeURIComponent(value));
    return new Promise(() => {}); // the browser leaves this page
  };
  const body = JSON.stringify({ client_id: asked.get('client_id'), code_challenge: asked.get('code_challenge') });
  let temporary = false;
  for (const name of ['st-access-token', 'st-refresh-token']) {
    const token = stored(name);
    if (!token) continue;
    for (let n = 0; n < tries; n++) {
      let answer;
      try {
        answer = await fetch(issuer + '/handover/ticket', {
          method: 'POST', headers: { authorization: 'Bearer ' + token, 'content-type': 'application/json' }, body, signal: AbortSignal.timeout(10_000),
        });
        if (answer.ok) return back((await answer.json()).ticket);
      } catch {} // no answer, or half of one: a ticket that is lost costs nothing
      temporary = !answer || answer.status === 429 || answer.status >= 500;
      if (!temporary) break;
      if (n + 1 < tries) await pause(Math.min(5, Number(answer?.headers.get('retry-after')) || 1) * 1000);
    }
    if (temporary) break;
  }
  if (temporary) keep({ ...marked(likely()), temporary: true });
  return back('');
}

/** Takes away what SuperTokens' libraries have left, as far as scripts can. */
export function forget() {
  const domains = [''];
  for (let name = location.hostname; name.includes('.'); name = name.slice(name.indexOf('.') + 1)) domains.push('; domain=' + name);
  for (const name of NAMES) {
    for (const domain of domains) document.cookie = `${name}=; path=/; max-age=0${domain}`;
  }
  for (const of of ['localStorage', 'sessionStorage']) {
    try {
      const storage = window[of];
      for (const key of Object.keys(storage)) if (NAMES.includes(key) || PREFIXES.some((p) => key.startsWith(p))) storage.removeItem(key);
    } catch {} // the browser has none to give
  }
}

/** Says what this browser has of a session of SuperTokens; '' for nothing. Nobody is asked. */
export function likely() {
  for (const name of ['sFrontToken', 'st-refresh-token', 'st-access-token', 'sIRTFrontend']) {
    const value = stored(name);
    if (value && value !== 'remove') return fingerprint(value);
  }
  return '';
}

async function arrived(clear) {
  const session = likely();
  if (!session) return 'signed-in';
  keep({ session, state: 'done', tab: tab(), at: Date.now(), count: 0 });
  if (clear) {
    try {
      await fetch(clear, { method: 'POST', credentials: 'include', signal: AbortSignal.timeout(5000) });
    } catch {} // the cookies are of no use to anybody by now
  }
  forget();
  return 'signed-in';
}

function came(error) {
  const mark = marked(likely());
  const state = FINAL.includes(error) && !mark.temporary ? 'refused' : 'later';
  if (mark.session) keep({ ...mark, state, temporary: undefined, at: Date.now(), count: mark.count || 0 });
  return state;
}

// alone has one tab at a time decide. A lock ends with its page: what goes on after that is
// in the mark.
function alone(decide) {
  return navigator.locks ? navigator.locks.request(LOCK, decide) : decide();
}

function marked(session) {
  let mark = null;
  try {
    mark = JSON.parse(localStorage.getItem(MARK));
  } catch {} // the browser has no storage to give, or somebody else has written there
  if (!mark || typeof mark !== 'object') return { session };
  if (session && mark.session !== session) return { session };
  if (mark.state === 'refused' && Date.now() - mark.at > 60 * MINUTE) return { session }; // a run may have loaded the account
  return mark;
}

function keep(mark) {
  try {
    localStorage.setItem(MARK, JSON.stringify(mark));
  } catch {} // remembers has looked
}

function remembers() {
  try {
    localStorage.setItem(MARK + '-test', '1');
    localStorage.removeItem(MARK + '-test');
    return true;
  } catch {
    return false;
  }
}

function tab() {
  try {
    if (!sessionStorage.getItem(TAB)) sessionStorage.setItem(TAB, String(Math.random()));
    return sessionStorage.getItem(TAB);
  } catch {
    return '';
  }
}

function stored(name) {
  for (const part of document.cookie.split('; ')) {
    if (part.startsWith(name + '=')) return decoded(part.slice(name.length + 1));
  }
  try {
    return localStorage.getItem(name) || localStorage.getItem('st-storage-item-' + name) || '';
  } catch {
    return '';
  }
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

// fingerprint tells sessions apart, so that the mark needs no copy of a token.
function fingerprint(text) {
  let sum = 0x811c9dc5;
  for (let n = 0; n < text.length; n++) sum = Math.imul(sum ^ text.charCodeAt(n), 0x01000193);
  return (sum >>> 0).toString(16);
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// change waits until another tab has told something, or for a while.
function change(ms) {
  return new Promise((resolve) => {
    const heard = (event) => event.key === MARK && end();
    const timer = setTimeout(end, ms);
    function end() {
      clearTimeout(timer);
      removeEventListener('storage', heard);
      resolve();
    }
    addEventListener('storage', heard);
  });
}
