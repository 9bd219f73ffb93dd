// Runs a script of docs/bridge.md as Auth0 would: an Action with its api object, or a
// function of a custom database with the request module. Input comes as JSON on
// standard input; the calls that the script made go to standard output.
'use strict';
const fs = require('fs'), vm = require('vm');
const [kind, file] = process.argv.slice(2);
const input = JSON.parse(fs.readFileSync(0, 'utf8'));
const calls = [];
const record = (name) => (...args) => { calls.push([name, ...args]); };

// strict fails for members that Auth0 has not got.
const strict = (what, members) => new Proxy(members, {
  get(target, key) {
    if (typeof key === 'string' && !(key in target)) throw new Error(`Auth0 has no ${what}.${key}`);
    return target[key];
  },
});

async function action() {
  const api = strict('api', {
    access: strict('api.access', { deny: record('deny'), rejectInvalidSubjectToken: record('reject') }),
    authentication: strict('api.authentication', { setUserById: record('setUserById') }),
  });
  const event = strict('event', {
    transaction: strict('event.transaction', { subject_token: input.token, subject_token_type: input.type }),
    secrets: input.secrets,
  });
  await require(file).onExecuteCustomTokenExchange(event, api);
}

function database() {
  const request = {
    post(options, done) {
      fetch(options.url, {
        method: 'POST', body: JSON.stringify(options.json),
        headers: { 'content-type': 'application/json', authorization: 'Bearer ' + options.auth.bearer },
      }).then(async (res) => {
        let body = await res.text();
        try { body = JSON.parse(body); } catch { /* as the module does: text stays text */ }
        done(null, { statusCode: res.status, headers: Object.fromEntries(res.headers) }, body);
      }, done);
    },
  };
  class WrongUsernameOrPasswordError extends Error {}
  return new Promise((resolve) => {
    const callback = (err, user) => {
      calls.push([err ? (err instanceof WrongUsernameOrPasswordError ? 'wrong' : 'error') : 'user', err ? err.message : user === undefined ? null : user]);
      resolve();
    };
    const sandbox = { request, configuration: input.configuration, WrongUsernameOrPasswordError, args: [...input.args, callback] };
    vm.runInNewContext(fs.readFileSync(file, 'utf8') + `\n;${input.call}(...args);`, sandbox);
  });
}

(kind === 'action' ? action() : database()).then(() => process.stdout.write(JSON.stringify(calls)));
