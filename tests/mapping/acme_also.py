"""A table of a user's own whose row makes several events of a record, and its example, as its author would write it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.mapping.acme import write_table

ALSO = """
provider: acme
title: Acme
type: kind
identity: {strong: id, weak: ["@native", at, user]}
fields:
  id: id
  time: {path: at, as: milliseconds}
  authDetails.userId: user
  authDetails.sessionId: visit
types:
  in: {type: LOGIN}
  fraud:
    type: LOGIN_ERROR
    reason: challenge_denied
    also:
      - {name: report, type: REPORT_SUSPICIOUS_ACTIVITY, details: {context: login}}
      - {name: lock, when: {locked: true}, type: LOGOUT, fields: {details.by: admin}}
"""
#: The same before its author knew better.
SINGLE = ALSO[: ALSO.index("    also:")]

AT = 1_700_000_000_000
RAW = {"id": "1", "kind": "fraud", "at": AT, "user": "anna"}
LOCKED = {**RAW, "id": "2", "locked": True, "admin": "root"}


def event(raw: dict[str, Any], type: str, also: str | None = None, **more: Any) -> dict[str, Any]:
    """What an example of a record expects."""
    source = {"name": "acme", "provider": "acme", "nativeType": raw["kind"]}
    return {
        "id": raw["id"],
        "time": raw["at"],
        "type": f"access.{type}",
        "authDetails": {"userId": raw["user"]},
        "details": {},
        "outcome": "unknown",
        **more,
        "source": source if also is None else {**source, "also": also},
    }


def expected(raw: dict[str, Any]) -> list[dict[str, Any]]:
    """What becomes of one of the records above."""
    declined = {"outcome": "failure", "error": "rejected_by_user", "reason": "challenge_denied"}
    events = [
        event(raw, "LOGIN_ERROR", **declined),
        event(raw, "REPORT_SUSPICIOUS_ACTIVITY", "report", details={"context": "login"}),
    ]
    if "locked" in raw:
        events.append(event(raw, "LOGOUT", "lock", details={"by": "root"}, outcome="success"))
    return events


def write_also(folder: Path, text: str = ALSO, *, examples: bool = True) -> Path:
    """Put the table in place, and examples of all that it makes."""
    file = write_table(folder, text)
    if examples:
        logins = {**RAW, "kind": "in", "visit": "v"}
        login = event(logins, "LOGIN", outcome="success", authDetails={"userId": "anna", "sessionId": "v"})
        written = [
            {"name": "a login", "raw": logins, "expect": [login]},
            *({"name": f"fraud {raw['id']}", "raw": raw, "expect": expected(raw)} for raw in (RAW, LOCKED)),
        ]
        (file.parent / "examples").mkdir(exist_ok=True)
        (file.parent / "examples/all.yaml").write_text(yaml.safe_dump(written, sort_keys=False), encoding="utf-8")
    return file
