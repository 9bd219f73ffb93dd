// A target plugin of stetl in Node: process, handshake, order of calls, cancelling. A plugin
// is an object as index.d.ts has it; serve(target) is the whole of its main. The contract is
// docs/wire-contract.md of stetl.
"use strict";
const crypto = require("node:crypto");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");
const { certificate } = require("./certificate.js");

const COOKIE = "3f0c9a1e5b7d42688f64d1c7b02e95aa";
const PROTOCOL = 1;
const MINOR = 3;
const MAX_MESSAGE = 16 << 20;

const proto = grpc.loadPackageDefinition(loader.loadSync("stetl/plugin/v1/target.proto", {
  includeDirs: [path.join(__dirname, "proto")], keepCase: true, longs: String, enums: String, defaults: true, oneofs: true,
})).stetl.plugin.v1;

// Reject is thrown by load, plan or undo for a user that the target cannot take, and by
// login when the target cannot be asked.
class Reject extends Error {
  constructor(code, detail, hint = "") {
    super(detail);
    Object.assign(this, { code, detail, hint });
  }
}

const LEVELS = ["debug", "info", "warn", "error"];

// log writes one JSON line to stderr, where stetl reads it. User data is never in it; ids are.
const log = Object.fromEntries(LEVELS.map((level) => [level, (msg, fields = {}) => {
  const lowest = LEVELS.indexOf((process.env.STETL_PLUGIN_LOG || "INFO").toLowerCase());
  if (LEVELS.indexOf(level) >= lowest) {
    fs.writeSync(2, JSON.stringify({ ...fields, time: new Date().toISOString(), level, msg }) + "\n");
  }
}]));

// Fingerprints under the key of the host, of which nobody can guess the account.
class Fingerprints {
  constructor(key) {
    this.key = key && key.length ? key : crypto.randomBytes(32);
  }

  // of is a few letters that stand for a secret in a plan.
  of(value) {
    return crypto.createHmac("sha256", this.key).update(value).digest("hex").slice(0, 8);
  }

  // state is what would be compared next time.
  state(record) {
    const sorted = Object.keys(record).sort().map((name) => [name, record[name]]);
    return crypto.createHmac("sha256", this.key).update(JSON.stringify(sorted)).digest();
  }
}

const outcome = (user, action, fields = {}) => ({ source_id: user.source_id, action, ...fields });

// misfits compares the fields of config with those of the schema; stetl does it in full before.
function misfits(config, schema) {
  const found = [];
  const wrong = (code, name, what) => found.push({ severity: "SEVERITY_ERROR", code, path: "/" + name, summary: `${name} ${what}` });
  for (const name of schema.required || []) if (!(name in config)) wrong("config.missing_field", name, "is missing");
  for (const name of Object.keys(config)) {
    if (!(name in schema.properties) && schema.additionalProperties === false) wrong("config.unknown_field", name, "is not a field here");
  }
  return found;
}

function service(target) {
  let state = "fresh";
  const capabilities = () => ({
    ...target.capabilities,
    abilities: ["check", "plan", "undo", "login"].filter((ability) => typeof target[ability] === "function"),
  });
  const misuse = () => Object.assign(new Error(`not in the state ${state}`), { code: grpc.status.FAILED_PRECONDITION });

  // unary answers a call in one of these states.
  const unary = (states, work) => async (call, done) => {
    if (!states.includes(state)) return done(misuse());
    try {
      done(null, await work(call.request));
    } catch (e) {
      log.error("a call failed", { error: e.name });
      done(Object.assign(new Error(e.name), { code: e.code === grpc.status.UNIMPLEMENTED ? e.code : grpc.status.INTERNAL }));
    }
  };

  // each runs work for one user; every way it can end is an outcome.
  const each = async (user, work) => {
    try {
      return await work.call(target, user);
    } catch (e) {
      if (e instanceof Reject) return outcome(user, "ACTION_REJECTED", { code: e.code, detail: e.detail, hint: e.hint });
      log.error("a user is undecided", { source_id: user.source_id, error: e.name }); // what it says may hold anything
      return outcome(user, "ACTION_IN_DOUBT", { code: "load.undecided", detail: e.name });
    }
  };

  // stream answers batch after batch, and hears meanwhile what is taken back.
  const stream = (states, answer) => (call) => {
    if (!states.includes(state)) return call.emit("error", misuse());
    const takenBack = new Set();
    let work = Promise.resolve();
    call.on("error", () => {});
    call.on("data", (request) => {
      if (request.cancel) takenBack.add(request.cancel.batch_id);
      if (!request.batch) return;
      const { id, users } = request.batch;
      work = work.then(async () => {
        for (const user of users) {
          if (takenBack.has(id) || call.cancelled) break; // who has no outcome was not begun with
          call.write({ batch_id: id, ...(await answer(user)) });
          await new Promise(setImmediate); // so that a cancel is heard
        }
        takenBack.delete(id);
        call.write({ batch_id: id, done: true });
      });
    });
    call.on("end", () => work.then(() => call.end()));
  };

  return {
    Describe: (call, done) => done(null, {
      name: target.name, version: target.version, capabilities: capabilities(),
      config_schema_json: Buffer.from(JSON.stringify(target.schema)), codes: target.codes || [], minor: MINOR,
    }),
    Configure: unary(["fresh"], async (request) => {
      const config = JSON.parse(request.config_json);
      let diagnostics = misfits(config, target.schema);
      if (diagnostics.length === 0) {
        const context = { fingerprints: new Fingerprints(request.fingerprint_key), userAgent: request.user_agent, saved: request.saved };
        diagnostics = (await target.configure(config, context)) || [];
      }
      if (!diagnostics.some((d) => d.severity === "SEVERITY_ERROR")) state = "ready";
      return { diagnostics, capabilities: capabilities() };
    }),
    DefineRoles: unary(["ready"], async (request) => {
      if (!target.defineRoles) throw Object.assign(new Error("it does not keep what roles allow"), { code: grpc.status.UNIMPLEMENTED });
      try {
        await target.defineRoles(request.roles);
      } catch (e) {
        log.error("define roles", { error: e.name });
        return { diagnostics: [{ severity: "SEVERITY_ERROR", code: "plugin.call_failed", summary: e.name }] };
      }
      return {};
    }),
    Check: unary(["ready", "finished"], async (request) => ({ diagnostics: (await target.check(request.needs)) || [] })),
    Load: stream(["ready"], async (user) => ({ outcomes: [await each(user, target.load)] })),
    Plan: stream(["ready", "finished"], async (user) => {
      const change = await each(user, target.plan);
      return { changes: [change.outcome ? change : { outcome: change }] };
    }),
    Undo: unary(["ready", "finished"], async (request) => {
      const outcomes = [];
      for (const account of request.accounts) outcomes.push(await each(account, target.undo));
      return { outcomes };
    }),
    UndoStream: (call) => {
      if (!["ready", "finished"].includes(state)) return call.emit("error", misuse());
      let stop = false;
      call.on("error", () => {});
      call.on("data", async (request) => {
        if (request.cancel) stop = true;
        if (!request.undo) return;
        for (const account of request.undo.accounts) {
          if (stop || call.cancelled) break;
          call.write({ outcomes: [await each(account, target.undo)] });
          await new Promise(setImmediate);
        }
        call.end();
      });
    },
    Login: unary(["ready", "finished"], async (request) => {
      try {
        return { accepted: await target.login(request.target_id, request.username, request.password) };
      } catch (e) {
        if (e instanceof Reject) return { failure: { code: e.code, detail: e.detail, hint: e.hint } };
        return { failure: { code: "plugin.call_failed", detail: e.name } };
      }
    }),
    Finish: unary(["ready"], async () => {
      state = "finished";
      try {
        if (target.finish) await target.finish();
      } catch (e) {
        log.error("finish", { error: e.name });
        return { diagnostics: [{ severity: "SEVERITY_ERROR", code: "plugin.finish_failed", summary: e.name }] };
      }
      return {};
    }),
    Close: unary(["fresh", "ready", "finished"], async () => {
      state = "closed";
      if (target.close) await target.close();
      return {};
    }),
  };
}

// raw is a call whose messages are bytes.
const raw = (at) => ({
  path: at, requestStream: false, responseStream: false,
  requestSerialize: (b) => b, requestDeserialize: (b) => b, responseSerialize: (b) => b, responseDeserialize: (b) => b,
});

// serve serves target until the host is done with it.
function serve(target) {
  if (process.env.STETL_PLUGIN !== COOKIE) {
    process.stderr.write(`${target.name} is a target plugin of stetl, not a command of its own; stetl starts it when it lies beside stetl as stetl-plugin-${target.name}\n`);
    process.exit(1);
  }
  process.stdout.write = process.stderr.write.bind(process.stderr); // whatever prints must not end up in the handshake
  for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => {});
  const parent = process.ppid;
  setInterval(() => process.ppid === parent || process.exit(1), 1000);

  const server = new grpc.Server({ "grpc.max_receive_message_length": MAX_MESSAGE, "grpc.max_send_message_length": MAX_MESSAGE });
  server.addService(proto.TargetService.service, service(target));
  server.addService({ Check: raw("/grpc.health.v1.Health/Check") }, {
    Check: (call, done) => done(null, Buffer.from([0x08, 0x01])), // SERVING
  });
  server.addService({ Shutdown: raw("/plugin.GRPCController/Shutdown") }, {
    Shutdown: (call, done) => {
      done(null, Buffer.alloc(0));
      server.tryShutdown(() => process.exit(0));
      setTimeout(() => process.exit(0), 1000);
    },
  });

  const own = certificate();
  const credentials = grpc.ServerCredentials.createSsl(
    Buffer.from(process.env.PLUGIN_CLIENT_CERT), [{ private_key: Buffer.from(own.key), cert_chain: Buffer.from(own.pem) }], true);
  const folder = process.env.PLUGIN_UNIX_SOCKET_DIR || fs.mkdtempSync(path.join(os.tmpdir(), "stetl"));
  const socket = path.join(folder, `plugin${process.pid}`);
  server.bindAsync(`unix:${socket}`, credentials, (err) => {
    if (err) {
      log.error("listen", { error: err.message });
      process.exit(1);
    }
    fs.writeSync(1, `1|${PROTOCOL}|unix|${socket}|grpc|${own.der.toString("base64").replace(/=+$/, "")}\n`);
  });
}

module.exports = { serve, Reject, Fingerprints, outcome, log };
