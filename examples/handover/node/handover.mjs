// What a back end in Node asks the bridge. It needs nothing else. See docs/bridge.md.

/** Why there are no tokens: 'no_session', 'not_loaded' or 'later', when the session is still good. */
export class HandoverError extends Error {
  constructor(reason, message, retryAfter = 0) {
    super(message);
    Object.assign(this, { name: 'HandoverError', reason, retryAfter });
  }
}

/** The tokens of the new system for one of SuperTokens', which ends the old session. */
export const handover = (issuer, token) => ask(issuer + '/handover', token, {});

/** A ticket that stands for the session in the authorization request with this challenge, for 60 seconds. */
export const ticket = async (issuer, token, clientID, codeChallenge) =>
  (await ask(issuer + '/handover/ticket', token, { client_id: clientID, code_challenge: codeChallenge })).ticket;

async function ask(url, token, body, tries = 3) {
  if (!token) throw new HandoverError('no_session', 'there is no token');
  for (;;) {
    let answer;
    let text;
    try {
      answer = await fetch(url, {
        method: 'POST', headers: { authorization: 'Bearer ' + token, 'content-type': 'application/json' }, body: JSON.stringify(body),
        signal: AbortSignal.timeout(35_000), redirect: 'error',
      });
      text = await answer.text();
      if (answer.ok) return JSON.parse(text);
    } catch (e) { // it may have done it: asking again is for the visitor to decide
      throw new HandoverError('later', `the bridge does not answer: ${e.message}`);
    }
    if (answer.status === 401) throw new HandoverError('no_session', text);
    if (answer.status === 403) throw new HandoverError('not_loaded', text);
    const wait = Number(answer.headers.get('retry-after')) || 0;
    const busy = answer.status === 429 || answer.status === 503;
    if (!busy || --tries === 0 || wait > 5) throw new HandoverError('later', `${answer.status} ${text}`, wait);
    await new Promise((resolve) => setTimeout(resolve, wait * 1000));
  }
}

/** The token of a session in the headers of a request, '' where there is none: a bearer token before cookies. */
export function tokenOf(headers) {
  const bearer = /^bearer +(\S+)$/i.exec(headers.authorization || '');
  if (bearer) return bearer[1];
  const cookies = new Map((headers.cookie || '').split('; ').map((c) => [c.slice(0, c.indexOf('=')), c.slice(c.indexOf('=') + 1)]));
  const value = cookies.get('sAccessToken') || cookies.get('sRefreshToken') || '';
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}

/** Headers Set-Cookie that end SuperTokens' cookies. The domain is its cookieDomain, if one was set. */
export function ended({ domain = '', refreshPath = '/auth/session/refresh' } = {}) {
  const where = domain ? `; Domain=${domain}` : '';
  return ['sAccessToken', 'sRefreshToken', 'sIdRefreshToken', 'sFrontToken', 'sAntiCsrf'].map((name) =>
    `${name}=; Path=${name === 'sRefreshToken' ? refreshPath : '/'}; Max-Age=0${where}`);
}
