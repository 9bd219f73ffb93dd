"""A target with all that the package knows of: it plans, changes, undoes and signs in.

One file for each account; accounts keep their hashes where they can be read.
"""

import hashlib
import json
import os
import threading

import bcrypt

import stetl_plugin as stetl


class Everything:
    name, version = "everything-py", "1.0.0"
    schema = {
        "type": "object", "properties": {"dir": {"type": "string"}}, "required": ["dir"], "additionalProperties": False,
    }
    capabilities = stetl.Capabilities(
        hashes=[stetl.HashSupport(scheme="bcrypt", max_cost=4)],  # cheap to make
        carries=["id", "names", "roles", "role_permissions"], batch=stetl.BatchLimits(users=100, in_flight=1), max_id_length=255, unique_email=True,
    )

    def configure(self, config, context):
        self.dir, self.fingerprints, self.lock = config["dir"], context.fingerprints, threading.Lock()
        self.accounts, self.allows, self.held = {}, {}, set()
        for name in (n for n in os.listdir(self.dir) if n.endswith(".json")):
            with open(os.path.join(self.dir, name), encoding="utf-8") as f:
                record = json.load(f)
            self.accounts[record["id"]] = record
        return ()

    def check(self, needs):
        if not os.path.isdir(self.dir):
            yield stetl.Diagnostic(severity=stetl.SEVERITY_ERROR, code="target.unreachable", summary="the folder has gone")

    def state(self, record):
        return self.fingerprints.state(record)

    def file(self, account_id):
        return os.path.join(self.dir, hashlib.sha256(account_id.encode()).hexdigest() + ".json")

    def write(self, record):
        path = self.file(record["id"])
        with open(path + ".new", "w", encoding="utf-8") as f:
            json.dump(record, f)
        os.replace(path + ".new", path)  # whoever is killed leaves no half of a file
        self.accounts[record["id"]] = record

    def compare(self, user):
        if not user.id or len(user.id) > 255:
            raise stetl.Reject("load.id_invalid", "there is no id, or it is too long")
        want = {
            "id": user.id, "username": user.username, "email": user.email, "given_name": user.given_name,
            "family_name": user.family_name, "enabled": user.enabled, "hash": user.password.encoded,
            "roles": sorted({role for names in user.roles.values() for role in names.names}),
        }
        have = self.accounts.get(user.prior.target_id) or self.accounts.get(user.id)
        for other in self.accounts.values():
            if other is have:
                continue
            for field, code in (("email", "load.email_conflict"), ("username", "load.username_conflict")):
                if want[field] and other[field].lower() == want[field].lower():
                    raise stetl.Reject(code, "somebody else has it")
        change = stetl.Change(outcome=stetl.outcome(user, stetl.ACTION_CREATED))
        if have is None:
            return change, None, want
        result = change.outcome
        result.action, result.target_id, result.state = stetl.ACTION_UNCHANGED, have["id"], self.state(have)
        for field in sorted(want):
            if want[field] != have[field]:
                shown = self.fingerprints.of if field == "hash" else str
                change.fields.append(stetl.FieldChange(field=field, old=shown(have[field]), new=shown(want[field])))
        if change.fields and user.existing != stetl.EXISTING_UPDATE:
            result.action, result.code = stetl.ACTION_SKIPPED, "load.exists_differs"
        elif change.fields and user.HasField("expect_state") and user.expect_state != result.state:
            result.action, result.code = stetl.ACTION_REJECTED, "load.moved"
        elif change.fields:
            result.action = stetl.ACTION_UPDATED
        return change, have, want

    def plan(self, user):
        with self.lock:
            return self.compare(user)[0]

    def load(self, user):
        with self.lock:
            change, have, want = self.compare(user)
            result = change.outcome
            self.held.update(want["roles"])
            if result.action == stetl.ACTION_UPDATED:
                result.before = json.dumps(have).encode()
                result.changed.extend(f.field for f in change.fields)
            if result.action in (stetl.ACTION_CREATED, stetl.ACTION_UPDATED):
                self.write(want)
                result.target_id, result.state = want["id"], self.state(want)
            return result

    def define_roles(self, roles):
        self.allows.update((role.name, list(role.permissions)) for role in roles)

    def finish(self):
        for role in self.held:
            path = os.path.join(self.dir, "role-" + role.encode().hex())
            if self.allows.get(role) and not os.path.exists(path):
                with open(path, "w", encoding="utf-8") as f:
                    json.dump(self.allows[role], f)

    def undo(self, account):
        with self.lock:
            have = self.accounts.get(account.target_id)
            result = stetl.outcome(account, stetl.ACTION_UNCHANGED, target_id=account.target_id)
            if have is None:
                return result
            if account.state and account.state != self.state(have):
                result.action, result.code = stetl.ACTION_SKIPPED, "load.moved"
            elif account.HasField("before"):
                result.action = stetl.ACTION_UPDATED
                self.write(json.loads(account.before))
            else:
                result.action = stetl.ACTION_DELETED
                os.remove(self.file(have["id"]))
                del self.accounts[have["id"]]
            return result

    def login(self, target_id, username, password):
        have = self.accounts.get(target_id)
        if have is None or not have["hash"]:
            raise stetl.Failed("load.target_refused", "there is no such account with a password")
        return bcrypt.checkpw(password.encode(), have["hash"].encode())


if __name__ == "__main__":
    stetl.serve(Everything())
