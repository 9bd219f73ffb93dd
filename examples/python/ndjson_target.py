"""A complete target in Python: appends users to a file, one JSON object a line.

It never writes a user twice: what is in the file is found again by its id.
"""

from __future__ import annotations

import json
import os
from typing import Any, Callable, Iterator, Mapping

import stetl_plugin as stetl

Record = dict[str, Any]


class NDJSON:
    name, version = "ndjson-py", "1.0.0"
    path: str
    known: dict[str, Record]
    state: Callable[[Record], bytes]
    schema = {
        "type": "object",
        "properties": {"path": {"type": "string", "minLength": 1, "description": "the file to append to"}},
        "required": ["path"],
        "additionalProperties": False,
    }
    capabilities = stetl.Capabilities(
        hashes=[stetl.HashSupport(scheme="bcrypt"), stetl.HashSupport(scheme="argon2id")],
        carries=["id", "email_verified", "names"],
        batch=stetl.BatchLimits(users=200, in_flight=1),
        max_id_length=255,
    )

    codes = [stetl.CodeInfo(
        code="ndjson-py.unreadable", meaning="the file cannot be read, or holds something else",
        remedy="name another file, or set its permissions")]

    def configure(self, config: Mapping[str, Any], context: stetl.Context) -> Iterator[stetl.Diagnostic]:
        """Yields diagnostics; reads what earlier runs have written."""
        self.path, self.known, self.state = config["path"], {}, context.fingerprints.state
        try:
            with open(self.path, encoding="utf-8") as f:
                for line in f:
                    record = json.loads(line)
                    self.known[record["id"]] = record
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError) as e:
            yield stetl.Diagnostic(
                severity=stetl.SEVERITY_ERROR, code="ndjson-py.unreadable", path="/path",
                summary=f"{self.path} cannot be read: {e}", hint="name another file")

    def record(self, user: stetl.User) -> Record:
        record: Record = {
            "id": user.id, "username": user.username, "email": user.email, "email_verified": user.email_verified,
            "given_name": user.given_name, "family_name": user.family_name, "enabled": user.enabled,
        }
        if user.HasField("password"):
            record["hash"] = user.password.encoded
        return record

    def compare(self, user: stetl.User) -> tuple[stetl.Change, Record]:
        """Says what load would do, and with which record."""
        if not user.id:
            raise stetl.Reject("load.id_invalid", "the user has no id", "let the mapping give it one")
        want, now = self.record(user), self.known.get(user.id)
        if now is None:
            return stetl.Change(outcome=stetl.outcome(user, stetl.ACTION_CREATED)), want
        result = stetl.Change(outcome=stetl.outcome(
            user, stetl.ACTION_UNCHANGED, target_id=user.id, state=self.state(now)))
        differs = [k for k in sorted(set(want) | set(now)) if want.get(k) != now.get(k)]
        if differs:
            # A file that is appended to cannot change a line, so there is no update.
            result.outcome.action, result.outcome.code = stetl.ACTION_SKIPPED, "load.exists_differs"
            result.outcome.detail = "differs in: " + ", ".join(differs)
        return result, want

    def plan(self, user: stetl.User) -> stetl.Change:
        return self.compare(user)[0]

    def load(self, user: stetl.User) -> stetl.Outcome:
        change, record = self.compare(user)
        if change.outcome.action == stetl.ACTION_CREATED:
            with open(os.open(self.path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600), "a", encoding="utf-8") as f:
                f.write(json.dumps(record) + "\n")
            self.known[user.id] = record
            change.outcome.target_id, change.outcome.state = user.id, self.state(record)
        return change.outcome


if __name__ == "__main__":
    stetl.serve(NDJSON())
