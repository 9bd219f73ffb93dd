// A complete target in Node: appends users to a file, one JSON object a line. It never
// writes a user twice: what is in the file is found again by its id.
"use strict";
const fs = require("node:fs");
const stetl = require("stetl-plugin");

const recordOf = (user) => ({
  id: user.id, username: user.username, email: user.email, email_verified: user.email_verified === true,
  given_name: user.given_name, family_name: user.family_name, enabled: user.enabled, hash: user.password ? user.password.encoded : "",
});

/** @type {import("stetl-plugin").Target} */
const target = {
  name: "ndjson-js",
  version: "1.0.0",
  schema: {
    type: "object",
    properties: { path: { type: "string", minLength: 1, description: "the file to append to" } },
    required: ["path"],
    additionalProperties: false,
  },
  capabilities: {
    hashes: [{ scheme: "bcrypt" }, { scheme: "argon2id" }],
    carries: ["id", "email_verified", "names"],
    batch: { users: 200, in_flight: 1 },
    max_id_length: 255,
  },
  codes: [{ code: "ndjson-js.unreadable", meaning: "the file cannot be read, or holds something else", remedy: "name another file, or set its permissions" }],

  // configure reads what earlier runs have written.
  configure(config, context) {
    this.path = config.path;
    this.known = new Map();
    this.state = (record) => context.fingerprints.state(record);
    try {
      for (const line of fs.readFileSync(this.path, "utf8").split("\n")) {
        if (line) this.known.set(JSON.parse(line).id, JSON.parse(line));
      }
    } catch (e) {
      if (e.code === "ENOENT") return [];
      return [{ severity: "SEVERITY_ERROR", code: "ndjson-js.unreadable", path: "/path", summary: `${this.path} cannot be read: ${e.message}`, hint: "name another file" }];
    }
    return [];
  },

  // plan says what load would do.
  plan(user) {
    if (!user.id) throw new stetl.Reject("load.id_invalid", "the user has no id", "let the mapping give it one");
    const want = recordOf(user);
    const now = this.known.get(user.id);
    if (!now) return { outcome: stetl.outcome(user, "ACTION_CREATED") };
    const outcome = stetl.outcome(user, "ACTION_UNCHANGED", { target_id: user.id, state: this.state(now) });
    const differs = Object.keys(want).filter((name) => want[name] !== now[name]);
    if (differs.length > 0) {
      // A file that is appended to cannot change a line, so there is no update.
      Object.assign(outcome, { action: "ACTION_SKIPPED", code: "load.exists_differs", detail: "differs in: " + differs.join(", ") });
    }
    return { outcome };
  },

  load(user) {
    const { outcome } = this.plan(user);
    if (outcome.action === "ACTION_CREATED") {
      const record = recordOf(user);
      fs.appendFileSync(this.path, JSON.stringify(record) + "\n", { mode: 0o600 });
      this.known.set(user.id, record);
      Object.assign(outcome, { target_id: user.id, state: this.state(record) });
    }
    return outcome;
  },
};

module.exports = target;
