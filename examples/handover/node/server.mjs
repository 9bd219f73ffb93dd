// An application whose visitors come over: a page, a sign-in at the new system (OpenID
// Connect with PKCE), and an API. What is about the bridge is in handover.mjs and in the page.
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { ended, handover, HandoverError, tokenOf } from './handover.mjs';

const { LISTEN, ISSUER, TARGET, CLIENT_ID } = process.env;
const base = 'http://' + LISTEN;
const files = { '/': ['index.html', 'text/html'], '/handover.js': ['handover.js', 'text/javascript'] };
const users = new Map(); // who is signed in, by the cookie of this application

const random = () => randomBytes(32).toString('base64url');
const cookie = (req, name) => (req.headers.cookie || '').split('; ').find((c) => c.startsWith(name + '='))?.slice(name.length + 1) || '';
const subject = (jwt) => JSON.parse(Buffer.from(jwt.split('.')[1], 'base64url')).sub; // it came straight from the new system

const routes = {
  'GET /me': (req, res) => {
    const user = users.get(cookie(req, 'app'));
    res.writeHead(user ? 200 : 401, { 'content-type': 'application/json' }).end(JSON.stringify({ user }));
  },
  'GET /login': (req, res, query) => {
    const state = random(), verifier = random();
    const ask = new URLSearchParams({
      client_id: CLIENT_ID, redirect_uri: base + '/callback', response_type: 'code', scope: 'openid', state,
      code_challenge: createHash('sha256').update(verifier).digest('base64url'), code_challenge_method: 'S256',
    });
    for (const name of ['kc_idp_hint', 'prompt']) if (query.has(name)) ask.set(name, query.get(name));
    res.writeHead(302, {
      location: `${TARGET}/protocol/openid-connect/auth?${ask}`, 'set-cookie': `login-${state}=${verifier}; Path=/callback; HttpOnly; SameSite=Lax; Max-Age=600`,
    }).end();
  },
  'GET /callback': async (req, res, query) => {
    const verifier = cookie(req, 'login-' + query.get('state'));
    const failed = (error) => res.writeHead(302, { location: '/?' + new URLSearchParams({ error }) }).end();
    if (query.has('error')) return failed(query.get('error'));
    if (!verifier) return failed('invalid_request');
    const answer = await fetch(`${TARGET}/protocol/openid-connect/token`, {
      method: 'POST',
      body: new URLSearchParams({ grant_type: 'authorization_code', code: query.get('code'), redirect_uri: base + '/callback', client_id: CLIENT_ID, code_verifier: verifier }),
    });
    if (!answer.ok) return failed('server_error');
    const session = random();
    users.set(session, subject((await answer.json()).access_token));
    res.writeHead(302, { location: '/', 'set-cookie': `app=${session}; Path=/; HttpOnly; SameSite=Lax` }).end();
  },
  'POST /clear': (req, res) => { res.writeHead(204, { 'set-cookie': ended() }).end(); },
  // For clients that are no browser and bring their old token along.
  'POST /switch': async (req, res) => {
    const statuses = { no_session: 401, not_loaded: 403, later: 503 };
    try {
      const tokens = await handover(ISSUER, tokenOf(req.headers));
      res.writeHead(200, { 'content-type': 'application/json', 'set-cookie': ended() }).end(JSON.stringify(tokens));
    } catch (e) {
      if (!(e instanceof HandoverError)) throw e;
      res.writeHead(statuses[e.reason], { 'content-type': 'application/json' }).end(JSON.stringify({ reason: e.reason }));
    }
  },
};

createServer(async (req, res) => {
  const url = new URL(req.url, base);
  const file = files[url.pathname], route = routes[`${req.method} ${url.pathname}`];
  try {
    if (route) await route(req, res, url.searchParams);
    else if (file) res.writeHead(200, { 'content-type': file[1] }).end(readFileSync(new URL('../browser/' + file[0], import.meta.url)));
    else res.writeHead(404).end();
  } catch (e) {
    console.error(e);
    if (!res.headersSent) res.writeHead(500).end();
  }
}).listen(LISTEN.split(':')[1], LISTEN.split(':')[0], () => console.log('listening on ' + base));
