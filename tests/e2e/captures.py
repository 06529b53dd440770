"""What a real Keycloak sent (tests/captures/README.md), as tests feed it: one record after the other, three ways."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).parent.parent / "captures" / "keycloak-26.6.4"

#: The source that all three ways share, with the secrets that were set when they were recorded.
SOURCE = {"name": "acme", "provider": "keycloak", "token": ["s3cr3t", "A3jt6D8lz"]}

#: Events that Keycloak recorded, and how many of them its webhook sent (it was made after the first).
EVENTS = 96
BY_WEBHOOK = 95


class Sent(NamedTuple):
    """One event as it was sent one way."""

    #: Keycloak's own id of the event.
    id: str
    #: Exact text.
    body: str
    #: Headers that came with it; a REST read has none.
    headers: dict[str, str]


def _pushed(file: str) -> list[Sent]:
    posts = [json.loads(line) for line in (FOLDER / file).read_text("utf-8").splitlines()]
    kept = ("X-Keycloak-Signature", "Content-Type")
    return [
        Sent(json.loads(post["body"])["id"], post["body"], {name: post["headers"][name] for name in kept})
        for post in posts
    ]


def _read(file: str) -> list[Sent]:
    events = json.loads((FOLDER / file).read_text("utf-8"))
    return [Sent(event["id"], json.dumps(event, ensure_ascii=False), {}) for event in events]


#: Each way's records in the order in which they came.
WAYS = {
    "http": _pushed("push-http.ndjson"),
    "webhook": _pushed("push-webhook.ndjson"),
    "rest": _read("events.json") + _read("admin-events.json"),
}


def steps() -> list[dict[str, Any]]:
    """What was done while it was recorded: name, expect, begin and end (epoch ms)."""
    found: list[dict[str, Any]] = json.loads((FOLDER / "steps.json").read_text("utf-8"))
    return found


#: A name that somebody tried to log in with: markup, a line break, a right-to-left override, a formula.
HOSTILE = "<script>alert('x')</script>\r\nFAKE level=INFO \u202e=cmd|' /C calc'!A0"
HOSTILE_ID = "8292d96d-d82f-4a4b-b788-f84d8cb77653"
