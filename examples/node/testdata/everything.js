// A target with all that the package knows of: it plans, changes, undoes and signs in. One
// file for each account; accounts keep their hashes where they can be read.
"use strict";
const crypto = require("node:crypto");
const fs = require("node:fs");
const path = require("node:path");
const bcrypt = require("bcryptjs");
const stetl = require("stetl-plugin");

/** @type {import("stetl-plugin").Target} */
const target = {
  name: "everything-js",
  version: "1.0.0",
  schema: { type: "object", properties: { dir: { type: "string" } }, required: ["dir"], additionalProperties: false },
  capabilities: {
    hashes: [{ scheme: "bcrypt", max_cost: 4 }], // cheap to make
    carries: ["id", "names", "roles", "role_permissions"], batch: { users: 100, in_flight: 1 }, max_id_length: 255, unique_email: true,
  },

  configure(config, context) {
    this.dir = config.dir;
    this.fingerprints = context.fingerprints;
    this.accounts = new Map();
    this.allows = new Map();
    this.held = new Set();
    for (const name of fs.readdirSync(this.dir).filter((n) => n.endsWith(".json"))) {
      const record = JSON.parse(fs.readFileSync(path.join(this.dir, name), "utf8"));
      this.accounts.set(record.id, record);
    }
    return [];
  },

  check() {
    return fs.existsSync(this.dir) ? [] : [{ severity: "SEVERITY_ERROR", code: "target.unreachable", summary: "the folder has gone" }];
  },

  file(id) {
    return path.join(this.dir, crypto.createHash("sha256").update(id).digest("hex") + ".json");
  },

  write(record) {
    fs.writeFileSync(this.file(record.id) + ".new", JSON.stringify(record));
    fs.renameSync(this.file(record.id) + ".new", this.file(record.id)); // whoever is killed leaves no half of a file
    this.accounts.set(record.id, record);
  },

  compare(user) {
    if (!user.id || user.id.length > 255) throw new stetl.Reject("load.id_invalid", "there is no id, or it is too long");
    const want = {
      id: user.id, username: user.username, email: user.email, given_name: user.given_name, family_name: user.family_name,
      enabled: user.enabled, hash: user.password ? user.password.encoded : "",
      roles: Object.values(user.roles || {}).flatMap((r) => r.names).sort().join(" "),
    };
    const have = this.accounts.get(user.prior ? user.prior.target_id : "") || this.accounts.get(user.id);
    for (const other of this.accounts.values()) {
      if (other === have) continue;
      for (const [field, code] of [["email", "load.email_conflict"], ["username", "load.username_conflict"]]) {
        if (want[field] && other[field].toLowerCase() === want[field].toLowerCase()) throw new stetl.Reject(code, "somebody else has it");
      }
    }
    if (!have) return { change: { outcome: stetl.outcome(user, "ACTION_CREATED"), fields: [] }, have, want };
    const outcome = stetl.outcome(user, "ACTION_UNCHANGED", { target_id: have.id, state: this.fingerprints.state(have) });
    const shown = (field, value) => (field === "hash" ? this.fingerprints.of(value) : String(value));
    const fields = Object.keys(want).filter((field) => want[field] !== have[field])
      .map((field) => ({ field, old: shown(field, have[field]), new: shown(field, want[field]) }));
    if (fields.length > 0 && user.existing !== "EXISTING_UPDATE") {
      Object.assign(outcome, { action: "ACTION_SKIPPED", code: "load.exists_differs" });
    } else if (fields.length > 0 && user._expect_state && !outcome.state.equals(user.expect_state)) {
      Object.assign(outcome, { action: "ACTION_REJECTED", code: "load.moved" });
    } else if (fields.length > 0) {
      outcome.action = "ACTION_UPDATED";
    }
    return { change: { outcome, fields }, have, want };
  },

  plan(user) {
    return this.compare(user).change;
  },

  load(user) {
    const { change, have, want } = this.compare(user);
    const { outcome, fields } = change;
    for (const role of want.roles.split(" ").filter(Boolean)) this.held.add(role);
    if (outcome.action === "ACTION_UPDATED") {
      Object.assign(outcome, { before: Buffer.from(JSON.stringify(have)), changed: fields.map((f) => f.field) });
    }
    if (outcome.action === "ACTION_CREATED" || outcome.action === "ACTION_UPDATED") {
      this.write(want);
      Object.assign(outcome, { target_id: want.id, state: this.fingerprints.state(want) });
    }
    return outcome;
  },

  defineRoles(roles) {
    for (const role of roles) this.allows.set(role.name, role.permissions);
  },

  finish() {
    for (const role of this.held) {
      const at = path.join(this.dir, "role-" + Buffer.from(role).toString("hex"));
      const allows = this.allows.get(role) || [];
      if (allows.length > 0 && !fs.existsSync(at)) fs.writeFileSync(at, JSON.stringify(allows));
    }
  },

  undo(account) {
    const have = this.accounts.get(account.target_id);
    const outcome = stetl.outcome(account, "ACTION_UNCHANGED", { target_id: account.target_id });
    if (!have) return outcome;
    if (account.state.length > 0 && !this.fingerprints.state(have).equals(account.state)) {
      Object.assign(outcome, { action: "ACTION_SKIPPED", code: "load.moved" });
    } else if (account._before) {
      outcome.action = "ACTION_UPDATED";
      this.write(JSON.parse(account.before));
    } else {
      outcome.action = "ACTION_DELETED";
      fs.unlinkSync(this.file(have.id));
      this.accounts.delete(have.id);
    }
    return outcome;
  },

  login(targetId, username, password) {
    const have = this.accounts.get(targetId);
    if (!have || !have.hash) throw new stetl.Reject("load.target_refused", "there is no such account with a password");
    return bcrypt.compare(password, have.hash);
  },
};

module.exports = target;
