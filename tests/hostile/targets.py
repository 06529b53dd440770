"""What is fuzzed: each target takes any bytes, does with them what the product does with a stranger's, and raises
`AssertionError` where something does not hold. Who makes the bytes (hypothesis, a fuzzer, a file) is not its matter.

What must hold: nothing but the declared exceptions escapes, what is redacted is not stored, a record's bytes are those
of the body, and the time is bounded.
"""

from __future__ import annotations

import base64
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import orjson

from adapter.errors import ConfigError, MappingError, RequestError
from adapter.filter import Filter
from adapter.log.sqlite.messages import Append, BrokenLine, Committed, Packer, Unpacker, Work
from adapter.mapping.body import NotReadable, Record, UnknownMedia
from adapter.mapping.document import Document
from adapter.mapping.paths import Key, parse_path
from adapter.mapping.table import Table, load_tables, read_table
from adapter.resources import mappings_path
from adapter.search.cursor import read_log_cursor, read_time_cursor, write_cursor
from adapter.search_fields import search_fields
from adapter.settings import load_settings
from tests.hostile.shapes import FORM, JSON, NDJSON, TEXT
from tests.log.entries import new_entry
from tests.opened import login

NOW = 1_767_225_600_000
MEDIA = (JSON, NDJSON, TEXT, FORM)

#: CPU seconds that any input may take, and that each of its bytes may take besides.
LONGEST = 1.0
LONGEST_BYTE = 50e-6

SECRET = "s3cret-1f6b9a07"


@cache
def tables() -> Mapping[str, Table]:
    """The built-in tables."""
    return load_tables([mappings_path()])


class Choices:
    """Decisions out of bytes; when they are used up, always the first one."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def number(self, below: int) -> int:
        """A number from 0."""
        size = 1 if below <= 256 else 2
        chosen = int.from_bytes(self._data[self._at : self._at + size], "big")
        self._at += size
        return chosen % below

    def one(self, among: Sequence[Any]) -> Any:
        """One of several."""
        return among[self.number(len(among))]

    def text(self) -> str:
        """A short text, whatever it is."""
        size = self.number(12)
        taken = self._data[self._at : self._at + size]
        self._at += size
        return taken.decode("utf-8", "surrogateescape").encode("utf-8", "replace").decode()

    def rest(self) -> bytes:
        """All bytes that are left."""
        return self._data[self._at :]


# Bodies


def split(data: bytes) -> None:
    """A body, taken apart by a table and read."""
    choices = Choices(data)
    table: Table = choices.one([tables()[name] for name in sorted(tables())])
    media: str = choices.one(MEDIA)
    body = choices.rest()
    records = _records(table, body, media)
    for record in records:
        _read(table, record)
    if media in (JSON, NDJSON) and table.mapping.redact == [] and not table.mapping.base64:
        _stand_in_the_body([record.raw for record in records], body, media)


def _records(table: Table, body: bytes, media: str) -> list[Record]:
    try:
        return list(table.split(body, media))
    except (NotReadable, UnknownMedia):
        return []


def _read(table: Table, record: Record) -> bytes | None:
    """The event of a record as it would be stored; ``None``: there is none."""
    event, native, strong, weak, seconds, problem = table.read_record(record, NOW)
    assert 0 <= seconds < 1 << 32
    assert problem is None or isinstance(problem, str)
    assert problem is None or not problem.startswith("the table failed"), problem
    for values in (strong, weak):
        orjson.dumps(values)
    if event is None:
        return None
    assert isinstance(native, str)
    written = orjson.dumps({"uid": "u", "source": {"name": "s", "provider": "p", "nativeType": native, "receivedAt": 0,
                                                   "mapping": "m"}, **event})  # fmt: skip
    search_fields(written).words  # noqa: B018  # it is what the search takes of it
    return written


def _stand_in_the_body(raws: Sequence[bytes], body: bytes, media: str) -> None:
    """Each record's bytes are a piece of the body, in order, so long as the body is JSON."""
    try:
        for part in [body] if media == JSON else body.split(b"\n"):
            if part.strip():
                orjson.loads(part)
    except orjson.JSONDecodeError:
        return
    if b'\\"' in body:  # an envelope may hold its events in a text
        return
    at = 0
    last = b""
    for raw in raws:
        if raw == last and body.find(raw, at) < 0:
            continue  # one record that holds several events
        found = body.find(raw, at)
        assert found >= 0, f"{raw[:100]!r} is not in the body from {at} on"
        at, last = found + len(raw), raw


# Redaction


def redact(data: bytes) -> None:
    """An event with a secret in a place that its table redacts, wrapped in all that may be around it."""
    choices = Choices(data)
    table: Table = choices.one([one for _, one in sorted(tables().items()) if one.mapping.redact])
    redaction: Any = choices.one(table.mapping.redact)
    steps = parse_path(redaction.in_)
    assert all(isinstance(step, Key) for step in steps)
    part: Any = SECRET
    if redaction.keys:
        part = _object_with_a_secret(choices, choices.one(redaction.keys))
        for _ in range(choices.number(4)):
            part = _wrapped(choices, part)
        if choices.number(2):
            part = _as_text(choices, part)
    elif choices.number(2):
        part = [{"a": part}]
    if [*table.mapping.base64] == [redaction.in_] and choices.number(2):
        try:
            text = part if isinstance(part, str) else json.dumps(part)
        except RecursionError:
            return
        part = base64.b64encode(text.encode("utf-8", "surrogatepass")).decode()
        if choices.number(2) == 0:
            return  # what cannot be read out of base64 is not looked into
    event = dict(_example(table))
    owner: Any = event
    for step in steps[:-1]:
        owner = owner.setdefault(step.name, {})  # type: ignore[union-attr]
        if not isinstance(owner, dict):
            return
    owner[steps[-1].name] = part  # type: ignore[union-attr]
    try:
        body = json.dumps(event, ensure_ascii=bool(choices.number(2))).encode()
    except (UnicodeEncodeError, RecursionError):
        return
    media = choices.one((JSON, NDJSON))
    if media == JSON and choices.number(2):
        body = b"[{},%s]" % body
    for record in _records(table, body, media):
        assert SECRET.encode() not in record.raw, f"stored: {record.raw[:2000]!r}"
        written = _read(table, record)
        assert written is None or SECRET.encode() not in written, f"stored: {written[:2000]!r}"


def _example(table: Table) -> dict[str, Any]:
    examples = {
        "keycloak": {
            "id": "a",
            "time": NOW,
            "operationType": "UPDATE",
            "resourceType": "USER",
            "resourcePath": "users/u-1",
            "realmId": "r",
        },
        "zitadel": {
            "aggregateID": "1",
            "aggregateType": "user",
            "instanceID": "3",
            "sequence": 4,
            "event_type": "user.human.added",
            "created_at": "2026-05-04T08:00:00Z",
        },
    }
    return examples.get(table.provider, {})


def _object_with_a_secret(choices: Choices, key: str) -> dict[str, Any]:
    owner, _, last = key.rpartition(".")
    value: Any = choices.one([SECRET, [SECRET], {"a": SECRET}, f"{choices.text()} {SECRET}"])
    name = choices.one([key, key.upper(), key])
    if owner and choices.number(2):
        return {owner: {last: value}}
    return {choices.text(): choices.text(), name: value, "z": choices.text()}


def _wrapped(choices: Choices, part: Any) -> Any:
    """The part with something around it."""
    match choices.number(7):
        case 0:
            return [choices.text(), part]
        case 1:
            return {"a": part, choices.text(): 1}
        case 2:
            return {"a": _as_text(choices, part)}
        case 3:
            return [_as_text(choices, part)]
        case 4:
            for _ in range(choices.one([10, 60, 64, 70, 250, 480, 500])):
                part = [part]
            return part
        case 5:
            return {"n": choices.one([10**400, 1e300, -0.0]), "a": part}
        case _:
            return {"a": "\ud800", "b": part} if choices.number(2) else {"\udfff": part}


def _as_text(choices: Choices, part: Any) -> str:
    """The part as JSON in a text, maybe not to be read any more."""
    try:
        text = part if isinstance(part, str) else json.dumps(part, indent=choices.one([None, 1]))
    except RecursionError:
        return "{}"
    match choices.number(8):
        case 0:
            return text + str(choices.one(["", ",", "}", "x", "\0", "]"]))
        case 1:
            return text[: text.rindex(SECRET) + len(SECRET)] if SECRET in text else text
        case 2:
            return text[: text.rindex(SECRET) + len(SECRET) + 1] if SECRET in text else text
        case 3:
            return text.replace("{", '{"q":\\ud800,', 1)
        case 4:
            return text.replace("{", '{"n":NaN,', 1)
        case 5:
            return str(choices.one([" ", "\n\t", "\xa0"])) + text
        case _:
            return text


# Questions


@cache
def _some_facets() -> list[Any]:
    event = login(1)
    table = tables()["keycloak"]
    written = [_read(table, record) for record in _records(table, orjson.dumps([event, {**event, "type": "X"}]), JSON)]
    return [search_fields(one) for one in written if one is not None]


def question(data: bytes) -> None:
    """A query string, read as a filter."""
    try:
        parameters = parse_qs(data.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=1000)
    except ValueError:
        return
    catalogue = tables()["keycloak"].catalogue
    try:
        filter = Filter.parse(parameters, catalogue)
    except RequestError as error:
        assert error.status == 400
        return
    filter.canonical()
    for one in _some_facets():
        assert filter.matches(one) in (True, False)


def cursor(data: bytes) -> None:
    """A text, read as a cursor; what is one is written again as one that means the same."""
    text = data.decode("utf-8", "replace")
    for read in (read_time_cursor, read_log_cursor):
        try:
            found = read(text)
        except RequestError as error:
            assert error.status == 400
            continue
        assert read(write_cursor(found)) == found


# What operators write


def settings(data: bytes) -> None:
    """A text, read as ``adapter.toml``."""
    with tempfile.NamedTemporaryFile(suffix=".toml") as file:
        file.write(data)
        file.flush()
        try:
            load_settings(Path(file.name))
        except ConfigError as error:
            assert str(error)


def table(data: bytes) -> None:
    """A text, read as a provider's table, and used if it is one."""
    text = data.decode("utf-8", "replace")
    catalogue = tables()["keycloak"].catalogue
    try:
        made = read_table(Document(Path("mappings/acme/mapping.yaml"), text), catalogue, [mappings_path()])
    except MappingError as error:
        assert str(error)
        return
    for body in (b'{"id":"1","kind":"a","type":"LOGIN","text":"aaaa"}', b'[{"a":{"b":[1,null]}}]'):
        for record in _records(made, body, JSON):
            _read(made, record)


# The writer's frames


def frames(data: bytes) -> None:
    """Bytes that the writer, or the service, receives: whole messages come out as they went in, whatever the pieces
    they came in; what is none is told."""
    choices = Choices(data)
    if choices.number(2):
        _whole_frames(choices)
        return
    unpacker: Unpacker[Any] = Unpacker(Work if choices.number(2) else Committed)  # type: ignore[arg-type]
    rest = choices.rest()
    try:
        for start in range(0, len(rest), 7):
            unpacker.take(rest[start : start + 7])
    except BrokenLine:
        pass


def _whole_frames(choices: Choices) -> None:
    works = [Append([new_entry(choices.text() or "a", raw=choices.rest())]) for _ in range(1 + choices.number(3))]
    packed = bytearray()
    packer = Packer()
    for work in works:
        packer.add(work, packed)
    unpacker: Unpacker[Any] = Unpacker(Work)  # type: ignore[arg-type]
    size = 1 + choices.number(200)
    taken = [one for at in range(0, len(packed), size) for one in unpacker.take(bytes(packed[at : at + size]))]
    assert taken == works


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    "split": split,
    "redact": redact,
    "question": question,
    "cursor": cursor,
    "settings": settings,
    "table": table,
    "frames": frames,
}


def run(target: str, data: bytes) -> None:
    """Give a target some bytes.

    Raises:
        AssertionError: something does not hold, the time among them.
    """
    tables()  # read once, and not in the time of an input
    begin = time.thread_time()
    TARGETS[target](data)
    took = time.thread_time() - begin
    allowed = LONGEST + LONGEST_BYTE * len(data)
    assert took < allowed, f"{len(data)} bytes took {took:.2f} s of CPU, allowed {allowed:.2f}"
