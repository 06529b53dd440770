"""A request body becomes records: one for each event in it, each with its own slice of the bytes."""

from __future__ import annotations

import ast
import base64
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import orjson

from adapter.mapping.elements import Elements, TooMany
from adapter.mapping.exact import NotJson, fraction, parse_json, whole, write_json
from adapter.mapping.expressions import compile_condition
from adapter.mapping.keyvalue import parse_keyvalue, write_keyvalue
from adapter.mapping.language import Framing
from adapter.mapping.language import Mapping as MappingFile
from adapter.mapping.paths import Key, Step, follow, parse_path, plain_keys
from adapter.mapping.pattern import compile_pattern
from adapter.mapping.redact import Redactor

JSON = "application/json"
NDJSON = ("application/x-ndjson", "application/ndjson", "application/jsonl")


#: Objects that may stand one after another in a body; more than any request may bring, and soon told.
OBJECTS_LIMIT = 100_000

#: Envelopes that are opened one inside another.
ENVELOPES_DEPTH = 4


class NotReadable(ValueError):
    """The body as a whole is not what its media type says; the message says where and what."""


class UnknownMedia(ValueError):
    """Neither JSON nor a media type that the table declares; the message lists those that are."""


@dataclass(slots=True)
class Record:
    """One event as it stands in a body."""

    #: Its bytes, exactly; redacted, its JSON without what the table names.
    raw: bytes
    #: The parsed event, if ``problem`` is ``None`` and it is not ignored.
    value: dict[str, Any] | None
    #: Why it cannot be read.
    problem: str | None = None
    media: str = JSON
    #: A line that the table passes over.
    ignored: bool = False
    #: Where in ``raw`` the event stands, if that may hold several: ``results[0]``.
    place: str | None = None


class Splitter:
    """Takes bodies apart as one table declares it."""

    def __init__(self, mapping: MappingFile, *, max_depth: int = 64) -> None:
        self._max_depth = max_depth
        self._encoded = [parse_path(path) for path in mapping.base64]
        self._redactor = Redactor(mapping.redact) if mapping.redact else None
        readings = (mapping, *mapping.shapes.values())
        self._elements = Elements(mapping) if any(one.each is not None for one in readings) else None
        self._envelopes = [
            (compile_condition(mapping, one.when), plain_keys(one.events), _answer(one))
            for one in mapping.body
            if one.events is not None
        ]
        #: A value without any of these keys, as most are, is no envelope.
        self._opening = frozenset([keys[0] for _, keys, _ in self._envelopes])
        self._answers = any(one.answer for one in mapping.body)
        self._texts = {one.media: one for one in mapping.body if one.media is not None}
        self._finders = {media: compile_pattern(one.find) for media, one in self._texts.items() if one.find}

    def split(self, body: bytes, media: str = JSON) -> list[Record]:
        """The records of a body, in order; one that holds several events, once for each of them.

        Raises:
            NotReadable: it is not JSON, or not text.
            UnknownMedia: nobody declared this media type.
        """
        records = self._split(body, media)
        if self._elements is None:
            return records
        return [one for record in records for one in _divided(record, self._elements)]

    def answer(self, body: bytes, media: str, now: int) -> dict[str, Any] | None:
        """What the sender of a body that was split wants to be told once its events are stored; ``None`` if nobody
        declared it. ``now``: epoch milliseconds."""
        if not self._answers or media != JSON:
            return None
        try:
            value = parse_json(body)
        except NotJson:
            return None
        if value.__class__ is not dict:
            return None
        wanted = next((wanted for fits, _, wanted in self._envelopes if fits(value)), None)
        if not wanted:
            return None
        told = {key: now if steps == _NOW else follow(value, steps) for key, steps in wanted}
        return {key: one for key, one in told.items() if one is not None}

    def _split(self, body: bytes, media: str) -> list[Record]:
        if media == JSON or media.endswith("+json"):
            return self._json(body)
        if media in NDJSON:
            return [record for line in _lines(body) for record in self._records(line)]
        framing = self._texts.get(media)
        if framing is None:
            known = ", ".join([JSON, NDJSON[0], *sorted(self._texts)])
            raise UnknownMedia(f"{media[:100]!r} is not taken here; there are {known}")
        if framing.form is not None:
            return [self._form(body, framing.form)]
        return list(self._text(body, framing, media))

    def _json(self, body: bytes) -> list[Record]:
        try:
            value = parse_json(body)
        except NotJson as error:
            return self._odd_json(body, error)
        if value.__class__ is list:
            # The slices come from the bytes, the values from the parse that was made anyway.
            records: list[Record] = []
            for raw, one in zip(_elements(body), value, strict=True):
                if one.__class__ is dict and self._opening.isdisjoint(one):
                    records.append(self._checked(raw, one))
                else:
                    records += self._opened(raw, one)
            return records
        return self._opened(body.strip(), value)

    def _odd_json(self, body: bytes, error: NotJson) -> list[Record]:
        """JSON that the fast parser refuses: lone surrogates, endless numbers, deep nesting, a byte order mark."""
        if body.startswith(b"\xef\xbb\xbf"):
            return self._json(body[3:])
        try:
            text = body.decode()
            value = _DECODER.decode(text)
        except RecursionError:
            if not _balanced(body):
                raise NotReadable(f"the body is not JSON: {error}") from None
            return [Record(body.strip(), None, f"nested deeper than {self._max_depth} levels")]
        except ValueError:
            objects = _objects(body)
            if not objects:
                raise NotReadable(f"the body is not JSON: {error}") from None
            return [record for raw in objects for record in self._records(raw)]
        slices = _odd_elements(text) if isinstance(value, list) else [body.strip()]
        return [record for raw in slices for record in self._records(raw)]

    def _opened(self, raw: bytes, value: Any, depth: int = 0) -> list[Record]:
        """The records of one value: the value itself, or what stands in it if it is an envelope, wherever that came;
        ``depth``: how many envelopes it was in."""
        if value.__class__ is dict and depth < ENVELOPES_DEPTH and not self._opening.isdisjoint(value):
            for fits, keys, _ in self._envelopes:
                held = _held(value, keys)
                if held is not None and fits(value):
                    slices = _inside(raw, held, keys)
                    return [record for one in slices for record in self._records(one, depth + 1)]
        return [self._checked(raw, value)]

    def _records(self, raw: bytes, depth: int = 0) -> list[Record]:
        try:
            value = parse_json(raw)
        except NotJson as error:
            try:
                value = _repaired(_DECODER.decode(raw.decode()))
            except RecursionError:
                return [Record(raw, None, f"nested deeper than {self._max_depth} levels")]
            except ValueError:
                return [Record(raw, None, f"not JSON: {error}")]
        return self._opened(raw, value, depth)

    def _checked(self, raw: bytes, value: Any) -> Record:
        if value.__class__ is not dict:
            return Record(raw, None, _not_an_object(value))
        decoded = bool(self._encoded) and _decode(value, self._encoded)
        # Every level costs at least two bytes, so most events need no look at their depth.
        brackets = raw.count(b"{") + raw.count(b"[") if len(raw) > 2 * self._max_depth else 0
        if (decoded or brackets > self._max_depth) and deeper_than(value, self._max_depth):
            return Record(raw, None, f"nested deeper than {self._max_depth} levels")
        if (self._redactor is not None and self._redactor.redact(value)) or decoded:
            raw = write_json(value)
        return Record(raw, value)

    def _form(self, body: bytes, field: str) -> Record:
        media = "application/x-www-form-urlencoded"
        try:
            pairs = dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=1000))
        except ValueError as error:
            raise NotReadable(f"the body is not a form: {error}") from None
        if field not in pairs:
            raise NotReadable(f"the form has no field {field!r}; JSON comes with Content-Type: {JSON}")
        text = pairs[field]
        try:
            value = parse_json(text)
        except NotJson as error:
            try:
                # Some senders write Python-like text: single quotes, a comma before the closing brace. What such text
                # can say and JSON cannot is no event.
                value = orjson.loads(orjson.dumps(ast.literal_eval(text.strip())))
            except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
                return Record(body, None, f"form field {field!r}: not JSON: {error}", media)
        record = self._checked(body, value)
        # Redacted, it is no longer the form that came, but the JSON that is left of it.
        record.media = media if record.raw is body else JSON
        return record

    def _text(self, body: bytes, framing: Framing, media: str) -> Iterator[Record]:
        finder = self._finders.get(media)
        for raw in _lines(body):
            if framing.lines == "keyvalue" and raw.startswith(b"{"):
                yield from self._records(raw)  # a log that writes JSON has the pairs in a field of it
                continue
            line = raw.decode("utf-8", "replace")
            start = 0
            if finder is not None:
                found = finder.search(line)
                if found is None:
                    yield Record(raw, None, media=media, ignored=True)
                    continue
                start = found.start()
            if framing.lines == "json":
                for record in self._records(line[start:].encode()):
                    told = raw if record.raw == line[start:].encode() else line[:start].encode() + record.raw
                    yield Record(told, record.value, record.problem, media)
                continue
            pairs: dict[str, Any] = dict(parse_keyvalue(line[start:]))
            if self._redactor is not None and self._redactor.redact(pairs):
                line = line[:start] + write_keyvalue(pairs)
                raw = line.encode()
            pairs["@line"] = line
            yield Record(raw, pairs, media=media)


def _divided(record: Record, elements: Elements) -> list[Record]:
    if record.value is None:
        return [record]
    try:
        parts = elements.divide(record.value, len(record.raw))
    except TooMany as error:
        return [replace(record, value=None, problem=str(error))]
    return [replace(record, value=value, place=place) for place, value in parts] or [record]


def _held(value: Any, keys: tuple[str, ...]) -> Any:
    """What an envelope holds at these keys; ``None`` if it has nothing there."""
    for key in keys:
        value = value.get(key) if value.__class__ is dict else None
    return value


def _inside(raw: bytes, held: Any, keys: tuple[str, ...]) -> list[bytes]:
    """The slices of what stands at these keys of an envelope; ``held``: the same, parsed."""
    try:
        part = raw
        for key in keys:
            part = bytes(msgspec.json.decode(part, type=dict[str, msgspec.Raw])[key])
        if part.startswith(b'"'):  # JSON inside a text
            part = msgspec.json.decode(part, type=str).strip().encode()
    except (msgspec.DecodeError, RecursionError):
        # Only the standard library's parser takes it, so what that made of it is what there is.
        part = held.strip().encode() if held.__class__ is str else write_json(held)
    return _elements(part) if part.startswith(b"[") else [part]


def _elements(body: bytes) -> list[bytes]:
    """The slices of a JSON list."""
    try:
        return [bytes(raw) for raw in msgspec.json.decode(body, type=list[msgspec.Raw])]
    except (msgspec.DecodeError, RecursionError):
        return _odd_elements(body.decode())


def _odd_elements(text: str) -> list[bytes]:
    """The same, for a list that only the standard library's parser takes."""
    slices = []
    at = _blank(text, text.index("[") + 1)
    while text[at] != "]":
        _, end = _DECODER.raw_decode(text, at)
        slices.append(text[at:end].encode())
        at = _blank(text, end)
        if text[at] == ",":
            at = _blank(text, at + 1)
    return slices


def _objects(body: bytes) -> list[bytes]:
    """The slices of several objects one after another, with or without blanks between them; none if it is anything
    else.

    Raises:
        NotReadable: there are more than anybody may send.
    """
    slices = []
    try:
        text = body.decode()
        at = _blank(text, 0)
        while at < len(text):
            value, end = _DECODER.raw_decode(text, at)
            if not isinstance(value, dict):
                return []
            slices.append(text[at:end].encode())
            if len(slices) > OBJECTS_LIMIT:
                break
            at = _blank(text, end)
    except (ValueError, RecursionError):
        return []
    if len(slices) > OBJECTS_LIMIT:
        raise NotReadable(f"more than {OBJECTS_LIMIT} objects one after another; send fewer at a time")
    return slices


def _blank(text: str, at: int) -> int:
    """Where the blanks that begin here end."""
    return _BLANKS.match(text, at).end()  # type: ignore[union-attr]  # matches the empty text too


def _answer(framing: Framing) -> list[tuple[str, tuple[Step, ...]]]:
    return [(key, parse_path(path)) for key, path in framing.answer.items()]


def _lines(body: bytes) -> Iterator[bytes]:
    for line in body.split(b"\n"):
        stripped = line.strip()
        if stripped:
            yield stripped


def _decode(value: Any, paths: list[tuple[Step, ...]]) -> bool:
    """Replace texts of JSON in base64 by what they hold, in place; whether there was one."""
    changed = False
    for *above, last in paths:
        owner = follow(value, tuple(above))
        if owner.__class__ is not dict or not isinstance(last, Key) or owner.get(last.name).__class__ is not str:
            continue
        try:
            text = base64.b64decode(owner[last.name], validate=True)
        except ValueError:
            continue
        try:
            inner = parse_json(text)
        except NotJson:
            try:
                several = [_repaired(_DECODER.decode(one.decode())) for one in _objects(text)]
            except NotReadable:
                continue
            inner = several[0] if len(several) == 1 else several or None
        if inner.__class__ in (dict, list):
            owner[last.name] = inner
            changed = True
    return changed


def _not_an_object(value: Any) -> str:
    names = {
        list: "a list",
        str: "a text",
        bool: "true or false",
        int: "a number",
        float: "a number",
        Decimal: "a number",
    }
    return f"an event is a JSON object, this is {names.get(value.__class__, 'null')}"


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


#: Stands in an answer for its moment.
_NOW = parse_path("@now")

_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_int=whole, parse_float=fraction)
_BLANKS = re.compile(r"[ \t\n\r]*")


def _repaired(value: Any) -> Any:
    """Lone surrogates, which no UTF-8 text can hold, become U+FFFD."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_repaired(one) for one in value]
    if isinstance(value, dict):
        return {_repaired(key): _repaired(one) for key, one in value.items()}
    return value


def deeper_than(value: Any, depth: int) -> bool:
    """Whether a value of JSON holds others in more than so many levels."""
    level = [value]
    for _ in range(depth):
        level = [
            inner
            for one in level
            for inner in (one.values() if isinstance(one, dict) else one)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def _balanced(body: bytes) -> bool:
    """Whether brackets outside texts open and close in pairs: all that can be said of JSON too deep to parse."""
    open_brackets = bytearray()
    for token in re.finditer(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', body):
        byte = token.group()
        if byte in b"[{":
            open_brackets += byte
        elif byte in (b"]", b"}") and (not open_brackets or open_brackets.pop() != {b"]": 91, b"}": 123}[byte]):
            return False
    return not open_brackets
