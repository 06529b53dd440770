"""What fuzzing begins with: for each target bytes that get far into the program."""

from __future__ import annotations

import json
from collections.abc import Iterator

import yaml

from adapter.resources import mappings_path
from adapter.search.cursor import LogCursor, TimeCursor, write_cursor
from tests.hostile.shapes import SHAPES
from tests.hostile.targets import MEDIA, tables

#: Bytes of a shape.
SIZE = 600

_QUESTIONS = (
    b"type=access.LOGIN*&not_user=anna&ip=203.0.113.0/24&q=anna+b*&from=2026-05-01T08:30:00Z",
    b"outcome=failure&reason=locked&reason_class=credential&received_to=1767225600000",
    b"ip=::ffff:1.2.3.4&ip=2001:db8::/32&not_ip=::1%25eth0&session=%00&client=%F0%9F%98%80",
)
_SETTINGS = (
    b'[server]\nport = 1\n[[sources]]\nname = "a"\nprovider = "keycloak"\ntoken = ["12345678"]\n',
    b'[[sinks]]\nname = "a"\nkind = "webhook"\nurl = "https://a"\nretry = [1.5]\nfilter = {type = "LOGIN"}\n',
    b'[outgoing]\nallow = ["10.0.0.0/8"]\n[[keys]]\nname = "k"\ntoken = "12345678"\npermissions = ["read"]\n',
)
_TABLE = """provider: acme
title: Acme
auth:
  - bearer
  - hmac: {header: X-S, digest: [sha256], signs: "{timestamp}.{body}", timestamp: {header: X-T, tolerance: 5}}
body:
  - {when: {has: [events]}, events: events}
  - {media: text/plain, lines: keyvalue, find: "type="}
  - {media: text/x-logfmt, lines: logfmt}
  - {media: text/x-log, lines: [{pattern: "^(?P<kind>a+) (?P<id>.*)$"}]}
redact: [{in: a, keys: [b]}]
base64: [data]
type: [kind, {path: type, table: {a: b}}]
identity: {strong: id, weak: ["@native", when]}
fields:
  id: id
  time: {path: when, as: epoch}
  details.found: {template: "{id}/{kind}"}
types:
  a:
    - {when: {text: {matches: "a+b?"}}, type: LOGIN}
    - {type: LOGOUT, details: {x: y}}
  ~^a+(b|c): {type: LOGIN}
  "*": quarantine
"""


def seeds(target: str) -> Iterator[bytes]:
    """Inputs of a target."""
    match target:
        case "split":
            for number, _ in enumerate(sorted(tables())):
                for shape in SHAPES:
                    if not shape.packed:
                        media = MEDIA.index(shape.media)
                        yield bytes([number, media]) + shape.make(SIZE)
                for raw in _examples(sorted(tables())[number]):
                    yield bytes([number, 0]) + raw
        case "redact":
            for number in range(64):
                yield bytes((number * step + 3 * number) % 256 for step in range(1, 40))
        case "question":
            yield from _QUESTIONS
        case "cursor":
            yield write_cursor(TimeCursor(1, 2, 3)).encode()
            yield write_cursor(LogCursor(1 << 40)).encode()
        case "settings":
            yield from _SETTINGS
        case "table":
            yield _TABLE.encode()
            yield b"provider: acme\ntitle: A\nextends: onewelcome\ntypes:\n  1: {type: LOGIN}\n"
            yield b"a: &a [*a]\n"
        case "frames":
            yield b"\1\1\3abcsome bytes"
            yield b"\0\1\0\0\0\2\x92\x90"


def _examples(provider: str) -> Iterator[bytes]:
    """Raw events of a provider's examples."""
    for file in sorted((mappings_path() / provider / "examples").glob("*.yaml")):
        for document in yaml.safe_load_all(file.read_text("utf-8")):
            for one in document if isinstance(document, list) else [document]:
                if isinstance(one, dict) and isinstance(one.get("raw"), dict | list):
                    yield json.dumps(one["raw"], default=str).encode()
