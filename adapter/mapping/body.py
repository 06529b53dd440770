"""A request body becomes records: one for each event in it, each with its own slice of the bytes.

Bodies are taken apart lazily and in time linear in their bytes, and nothing larger than one event is ever parsed, so
that neither the number of events in a body nor their form costs more than the bytes themselves. Whatever one record
holds, it costs its neighbours nothing: what cannot be read becomes a record with a problem.
"""

from __future__ import annotations

import ast
import base64
import hashlib
import json
import re
from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from decimal import Decimal
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import orjson
from msgspec.structs import replace

from adapter.mapping.elements import Elements, TooMany
from adapter.mapping.envelopes import DEPTH, Envelopes
from adapter.mapping.exact import NotJson, fraction, parse_json, whole, write_json
from adapter.mapping.forwarders import Unwrapping, Wrap, load_forwarders
from adapter.mapping.language import Framing
from adapter.mapping.language import Mapping as MappingFile
from adapter.mapping.lines import Lines
from adapter.mapping.paths import Key, Step, follow, parse_path
from adapter.mapping.recognition import OTHER_CASE, Recognition, Spelling
from adapter.mapping.redact import Redactor
from adapter.mapping.slices import Mark, Pause, Unbalanced, is_balanced, lines, list_elements, next_visible, objects
from adapter.mapping.wrapping import Level, Surroundings

JSON = "application/json"
TEXT = "text/plain"
NDJSON = ("application/x-ndjson", "application/ndjson", "application/jsonl")
FORM = "application/x-www-form-urlencoded"
#: What is kept of an event that is too large: an object with its size, bytes; the SHA-256 of it, hex; and its head.
OVERSIZE = "application/vnd.idp-adapter.oversize+json"

#: The largest event that is read, bytes, unless the caller says otherwise.
EVENT_LIMIT = 1024 * 1024
#: `Pause.LONG` comes before what has more bytes: an event of the largest size may take a second.
LONG = 64 * 1024
#: As much of a larger one is kept, bytes.
HEAD = 64 * 1024
#: A form's text that is no JSON is read as Python's only up to this length: that takes 500 times its size in memory.
PYTHON_LIMIT = 32 * 1024
TOO_LARGE = "larger than one event may be (event_limit): its head, its size and its SHA-256 are kept"
NOT_FOUND = "no event is found in this line (`find`), and it is none that may be passed over (`ignore`)"
#: Records that are looked at to see whether what is inside an object is something that the table reads.
LOOKED_AT = 1000
#: Lines of text for a table that says nothing of them: what forwarders make of JSON.
_ANY_LINES = Lines([Framing(media=TEXT, lines="json", find=r'\{\s*"')])
#: Bytes that are hashed at a time.
_HASHED = 256 * 1024


class NotReadable(ValueError):
    """The body as a whole is not what its media type says; the message says where and what."""


class UnknownMedia(ValueError):
    """Neither JSON nor a media type that the table declares; the message lists those that are."""


class Record(msgspec.Struct):
    """One event as it stands in a body."""

    #: Its bytes, exactly; redacted, its JSON without what the table names.
    raw: bytes
    #: The parsed event, if ``problem`` is ``None`` and it is not ignored.
    value: dict[str, Any] | None
    #: Why it cannot be read.
    problem: str | None = None
    media: str = JSON
    #: What the table calls a line that it passes over.
    ignored: str | None = None
    #: Where in ``raw`` the event stands, if that may hold several: ``results[0]``.
    place: str | None = None
    #: When it was forwarded, epoch milliseconds, if whoever did said so.
    forwarded_at: int | None = None
    #: What is kept of all that it was wrapped in (`adapter.mapping.wrapping`); empty: nothing, or ``raw`` has it.
    envelope: bytes = b""


#: Records of a body as they are found, and pauses.
Records = Iterable[Record | Pause]


class Splitter:
    """Takes bodies apart as one table declares it."""

    def __init__(self, mapping: MappingFile, unwrapping: Unwrapping, *, max_depth: int = 64) -> None:
        """``unwrapping``: what forwarders may have wrapped events in."""
        self._max_depth = max_depth
        self._encoded = [parse_path(path) for path in mapping.base64]
        self._aliases = [
            (key, [parse_path(path) for path in ([paths] if isinstance(paths, str) else paths)])
            for key, paths in mapping.aliases.items()
        ]
        self._redactor = Redactor(mapping.redact, mapping.base64) if mapping.redact else None
        self._surroundings = Surroundings(self._redactor)
        readings = (mapping, *mapping.shapes.values())
        self._elements = Elements(mapping) if any(one.each is not None for one in readings) else None
        self._mapping = mapping
        self._envelopes = Envelopes(mapping)
        self._unwrapping = unwrapping
        self._spelling = Spelling(mapping, self._envelopes.keys | load_forwarders().keys)
        #: Whether an object has none of the keys at which events are held, nor one in another case: as most have not.
        self._is_plain = (self._envelopes.keys | unwrapping.wraps.keys | self._spelling.keys).isdisjoint
        self._forms = {one.media: one.form for one in mapping.body if one.media is not None and one.form is not None}
        texts = dict.fromkeys(one.media for one in mapping.body if one.media is not None and one.lines is not None)
        self._texts = {media: Lines([one for one in mapping.body if one.media == media]) for media in texts}

    def records(self, body: bytes, media: str = JSON, event_limit: int = EVENT_LIMIT) -> Records:
        """The records of a body, in order, found as they are asked for; one that holds several events, once for each
        of them. An event of more than ``event_limit`` bytes is a record with a problem: of its bytes a head is kept.

        Raises (also while records are taken):
            NotReadable: it is not JSON, or not text.
            UnknownMedia: nobody declared this media type.
        """
        reading = self._records if len(body) <= LONG else self._long_records
        records = reading(body, media, event_limit)
        return records if self._elements is None else self._divided(records, self._elements)

    def split(self, body: bytes, media: str = JSON, event_limit: int = EVENT_LIMIT) -> list[Record]:
        """All records at once. Raises as `records` does."""
        return [record for record in self.records(body, media, event_limit) if isinstance(record, Record)]

    def excerpt(self, raw: bytes, size: int) -> str:
        """The beginning of what was sent, at most so many characters, without what follows the name of a secret."""
        text = raw[: 4 * size].decode("utf-8", "replace")
        return (text if self._redactor is None else self._redactor.redact_text(text))[:size]

    def answer(self, body: bytes, media: str, now: int) -> dict[str, Any] | None:
        """What the sender of a body that was split wants to be told once its events are stored; ``None`` if nobody
        declared it. ``now``: epoch milliseconds."""
        return self._envelopes.answer(body, now) if media == JSON else None

    def _long_records(self, body: bytes, media: str, limit: int) -> Records:
        yield Pause.LONG
        yield from self._records(body, media, limit)

    def _records(self, body: bytes, media: str, limit: int) -> Records:
        if media == OVERSIZE:
            return [Record(body, None, TOO_LARGE, OVERSIZE)]
        if media == JSON or media.endswith("+json"):
            return self._json(body, limit)
        if media in NDJSON:
            return self._each(lines(body), limit)
        form, forms = self._forms.get(media), self._texts.get(media)
        if form is not None:
            return self._form(body, form, limit)
        if forms is None and media == TEXT and self._unwrapping.opens:
            forms = _ANY_LINES
        if forms is None:
            known = ", ".join([JSON, NDJSON[0], *sorted({*self._forms, *self._texts})])
            raise UnknownMedia(f"{media[:100]!r} is not taken here; there are {known}")
        if self._unwrapping.opens and len(body) <= limit and body.lstrip()[:1] in (b"{", b"["):
            # Some post one object of JSON as text.
            with suppress(NotJson):
                parse_json(body)
                return self._json(body, limit)
        return self._text(body, forms, media, limit)

    def _json(self, body: bytes, limit: int) -> Records:
        if body.startswith(b"\xef\xbb\xbf"):
            body = body[3:]
        if len(body) > limit:
            return self._much_json(body, limit)
        try:
            value = parse_json(body)
        except NotJson as error:
            return self._odd_json(body, error, limit)
        if value.__class__ is dict and self._is_plain(value):
            return [self._checked(body.strip(), value)]
        if value.__class__ is list:
            return self._list(body, value, limit)
        return self._opened(body.strip(), value, limit)

    def _list(self, body: bytes, values: list[Any], limit: int) -> Records:
        """The records of a list that is parsed as a whole."""
        is_plain = self._is_plain
        parsed = iter(values)
        for raw in list_elements(body.strip()):
            if not isinstance(raw, bytes):
                yield raw
                continue
            value = next(parsed)
            if len(raw) > LONG:
                yield Pause.LONG
            if value.__class__ is dict and is_plain(value):
                yield self._checked(raw, value)
            else:
                yield from self._opened(raw, value, limit)

    def _much_json(self, body: bytes, limit: int) -> Records:
        """JSON too large to be parsed as a whole: a list, an envelope, events one after another, or too large an
        event."""
        start = yield from next_visible(body)
        try:
            match None if start is None else body[start]:
                case Mark.LIST:
                    yield from self._each(list_elements(body.strip()), limit)
                case Mark.OBJECT:
                    yield from self._each([body.strip()] if _is_one_value(body) else objects(body), limit)
                case _:
                    raise NotReadable("the body is not JSON: it begins with neither [ nor {")
        except Unbalanced as error:
            raise NotReadable(f"the body is not JSON: {error}") from None

    def _odd_json(self, body: bytes, error: NotJson, limit: int) -> Records:
        """JSON that the fast parser refuses as a whole: lone surrogates, endless numbers, deep nesting, several
        objects, a list with a broken element; or none."""
        body = body.strip()
        if body.startswith(b"["):
            yield from self._broken_list(body, error, limit)
            return
        try:
            value = _parsed_slowly(body)
        except RecursionError:
            if not is_balanced(body):
                raise NotReadable(f"the body is not JSON: {error}") from None
            yield self._unreadable(body, self._too_deep)
        except ValueError:
            found = 0
            try:
                several = []
                for raw in objects(body):
                    found += isinstance(raw, bytes)
                    if found < 2:
                        several.append(raw)
                        continue
                    yield from self._each(several, limit)
                    several.clear()
                    yield from self._each([raw], limit)
            except Unbalanced:
                found = 0
            if found < 2:
                raise NotReadable(f"the body is not JSON: {error}") from None
        else:
            yield from self._opened(body, value, limit)

    def _broken_list(self, body: bytes, error: NotJson, limit: int) -> Records:
        try:
            yield from self._each(list_elements(body), limit)
        except Unbalanced:
            raise NotReadable(f"the body is not JSON: {error}") from None

    def _each(self, slices: Iterable[bytes | Pause], limit: int, depth: int = 0) -> Iterator[Record | Pause]:
        """The records of values that are not parsed yet; ``depth``: how many envelopes they were in."""
        is_plain = self._is_plain
        for raw in slices:
            if not isinstance(raw, bytes):
                yield raw
            elif len(raw) > limit:
                yield from self._large(raw, limit, depth)
            else:
                if len(raw) > LONG:
                    yield Pause.LONG
                try:
                    value = parse_json(raw)
                except NotJson as error:
                    try:
                        value = _parsed_slowly(raw)
                    except RecursionError:
                        yield self._unreadable(raw, self._too_deep)
                        continue
                    except ValueError:
                        yield self._unreadable(raw, f"not JSON: {error}")
                        continue
                if value.__class__ is dict and is_plain(value):
                    yield self._checked(raw, value)
                else:
                    yield from self._opened(raw, value, limit, depth)

    def _parsed(self, raw: bytes, value: Any, limit: int, depth: int) -> Records:
        """The records of a value that is not larger than one event may be."""
        if value.__class__ is dict and self._is_plain(value) and len(raw) <= LONG:
            return [self._checked(raw, value)]
        return self._each([raw], limit, depth)

    def _opened(self, raw: bytes, value: Any, limit: int, depth: int = 0) -> Iterator[Record | Pause]:
        """The records of one value: the value itself, or what stands in it if it is an envelope, wherever that came;
        ``depth``: how many envelopes it was in."""
        if value.__class__ is not dict or self._is_plain(value):
            yield self._checked(raw, value)
            return
        if depth < DEPTH:
            inside = self._envelopes.opened(raw, value)
            if inside is not None:
                yield from self._inside(raw, inside, limit, depth)
                return
            if (yield from self._unwrapped(raw, value, limit, depth)):
                return
        corrected = self._spelling.corrected(value)
        if corrected is not None and self._recognition.knows(corrected[0]):
            yield self._unreadable(raw, corrected[1])
        else:
            yield self._checked(raw, value)

    def _unwrapped(
        self, raw: bytes, value: dict[str, Any], limit: int, depth: int
    ) -> Generator[Record | Pause, None, bool]:
        """The records of what a forwarder wrapped, and whether that is what the object is: none that the table reads
        itself, and with something inside that it reads."""
        told = self._unwrapping.told
        known = not told and self._recognition.knows(self._named({**value}) if self._aliases else value)
        for wrap, held in (self._unwrapping.first if known else self._unwrapping.wraps).of(value):
            if wrap.problem is not None:
                yield self._unreadable(raw, wrap.problem)
                return True
            if wrap.sure and held == []:
                return True
            at, sure = wrap.time(value), wrap.sure or len(value) == 1
            waiting: list[Record] = []
            level: Level | None = None
            for record in self._held(wrap, raw, held, limit, depth + 1):
                if not isinstance(record, Record):
                    yield record
                    continue
                if record.forwarded_at is None:
                    record.forwarded_at = at
                waiting.append(record)
                if level is None and (told or self._is_known(record, sure)):
                    level = self._surroundings.of_object(wrap.forwarder, at, value, wrap.names)
                if level is not None:
                    for one in waiting:
                        one.envelope = level.around(one.envelope)
                    yield from waiting
                    waiting.clear()
                elif len(waiting) == LOOKED_AT:
                    break
            if level is not None:
                return True
        return False

    def _held(self, wrap: Wrap, raw: bytes, held: Any, limit: int, depth: int) -> Iterator[Record | Pause]:
        """The records of what an envelope holds: objects, or the bytes of a text."""
        if not isinstance(held, bytes):
            assert wrap.held_by is not None
            yield from self._inside(raw, wrap.held_by.slices(raw, held), limit, depth - 1)
            return
        text = held.strip()
        if text[:1] in (b"{", b"["):
            try:
                value = parse_json(text)
            except NotJson:
                pass
            else:
                if value.__class__ is list:
                    yield from self._each(list_elements(text), limit, depth)
                else:
                    yield from self._parsed(text, value, limit, depth)
                return
        yield from self._text(text, self._texts.get(TEXT, _ANY_LINES), TEXT, limit, depth)

    def _is_known(self, record: Record, sure: bool) -> bool:
        """Whether what was in an envelope is something that the table reads; if the envelope is surely one, also what
        the table passes over."""
        if record.ignored is not None:
            return sure
        if record.value is None:
            return record.problem is not None and record.problem.startswith(OTHER_CASE)
        return self._recognition.knows(record.value)

    @cached_property
    def _recognition(self) -> Recognition:
        return Recognition(self._mapping)

    def _large(self, raw: bytes, limit: int, depth: int) -> Iterator[Record | Pause]:
        """The records of a value that is too large for one event: what stands in it, if it is an envelope."""
        inside = None
        if depth < DEPTH:
            inside = self._envelopes.opened_unparsed(raw) or self._unwrapping.opened_unparsed(raw)
        if inside is None:
            yield from self._oversize(raw)
        else:
            yield from self._inside(raw, inside, limit, depth)

    def _inside(self, raw: bytes, slices: Iterator[bytes | Pause], limit: int, depth: int) -> Iterator[Record | Pause]:
        try:
            yield from self._each(slices, limit, depth + 1)
        except Unbalanced as error:
            yield self._unreadable(raw[:limit], f"not JSON: {error}")

    def _oversize(self, raw: bytes) -> Iterator[Record | Pause]:
        """What is kept of an event that is too large."""
        digest = hashlib.sha256()
        with memoryview(raw) as view:
            for start in range(0, len(view), _HASHED):
                digest.update(view[start : start + _HASHED])
                yield Pause.TURN
        head = raw[:HEAD].decode("utf-8", "replace")
        if self._redactor is not None:
            head = self._redactor.redact_text(head)
        kept = write_json({"size": len(raw), "sha256": digest.hexdigest(), "head": head})
        yield Record(kept, None, TOO_LARGE, OVERSIZE)

    def _checked(self, raw: bytes, value: Any) -> Record:
        """The record of a parsed value."""
        try:
            if value.__class__ is not dict:
                return self._unreadable(raw, _not_an_object(value))
            decoded = bool(self._encoded) and _decode(value, self._encoded)
            # Every level costs at least two bytes, so most events need no look at their depth.
            brackets = raw.count(b"{") + raw.count(b"[") if len(raw) > 2 * self._max_depth else 0
            if (decoded or brackets > self._max_depth) and deeper_than(value, self._max_depth):
                return self._unreadable(raw, self._too_deep)
            if (self._redactor is not None and self._redactor.redact(value)) or decoded:
                raw = write_json(value)
            return Record(raw, self._named(value) if self._aliases else value)
        except Exception as error:  # whatever it is, it costs this record alone
            return self._unreadable(raw, f"cannot be read ({type(error).__name__})")

    def _named(self, value: dict[str, Any]) -> dict[str, Any]:
        """The same object, in which what other forms of the event call otherwise stands under the table's keys, too."""
        for key, paths in self._aliases:
            if value.get(key) is None:
                for path in paths:
                    found = follow(value, path)
                    if found is not None:
                        value[key] = found
                        break
        return value

    @property
    def _too_deep(self) -> str:
        return f"nested deeper than {self._max_depth} levels"

    def _unreadable(self, raw: bytes, problem: str, media: str = JSON) -> Record:
        """What is kept of a value that cannot be read: its bytes, without what follows the name of a secret."""
        if self._redactor is None:
            return Record(raw, None, problem, media)
        text = raw.decode("utf-8", "surrogateescape")
        cleaned = self._redactor.redact_text(text)
        return Record(raw if cleaned == text else cleaned.encode("utf-8", "surrogateescape"), None, problem, media)

    def _form(self, body: bytes, field: str, limit: int) -> Iterator[Record | Pause]:
        if len(body) > limit:
            yield from self._oversize(body)
            return
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
                value = _read_python(text)
            except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
                yield self._unreadable_form(body, text, f"form field {field!r}: not JSON: {error}")
                return
        record = self._checked(body, value)
        # Redacted, it is no longer the form that came, but the JSON that is left of it.
        record.media = FORM if record.raw is body else JSON
        yield record

    def _unreadable_form(self, body: bytes, text: str, problem: str) -> Record:
        """Of a form whose text names a secret the text is kept, as far as it names none."""
        if self._redactor is not None:
            cleaned = self._redactor.redact_text(text)
            if cleaned != text:
                return Record(cleaned.encode("utf-8", "replace"), None, problem, JSON)
        return Record(body, None, problem, FORM)

    def _text(self, body: bytes, forms: Lines, media: str, limit: int, depth: int = 0) -> Iterator[Record | Pause]:
        for raw in lines(body):
            if not isinstance(raw, bytes):
                yield raw
            elif len(raw) > limit:
                yield from self._oversize(raw)
            elif forms.has_values and raw.startswith(b"{"):
                yield from self._each([raw], limit, depth)  # a log that writes JSON has the pairs in a field of it
            else:
                yield from self._line(raw, forms, media, limit, depth)

    def _line(self, raw: bytes, forms: Lines, media: str, limit: int, depth: int) -> Iterator[Record | Pause]:
        if len(raw) > LONG:
            yield Pause.LONG
        line = raw.decode("utf-8", "replace")
        begin, at = self._unwrapping.head(line) or (0, None)
        rest = line[begin:]
        found = (None, 0, None) if begin and rest.startswith("{") else forms.find(rest)
        if found is None and begin:
            # What a forwarder is taken to have written may be the line's own.
            passed, found = forms.passed_over(rest), forms.find(line)
            begin, rest = (0, line) if found is not None else (begin, rest)
        else:
            passed = None
        if found is None:
            passed = passed or forms.passed_over(line)
            if passed is None:
                yield self._unreadable(raw, NOT_FOUND, media)
            else:
                yield Record(raw, None, media=media, ignored=passed)
            return
        form, start, values = found
        if form is None or values is None:
            start += begin
            text = line[start:].encode()
            head: Level | None = None
            for record in self._each([text], limit, depth):
                if isinstance(record, Record):
                    # A line that is JSON and nothing else is kept as that; another form may read what is none.
                    if record.envelope:
                        if start:
                            head = head or self._surroundings.of_line(line[:start], at)
                            record.envelope = head.around(record.envelope)
                    elif (start or record.value is None) and record.media == JSON:
                        told = raw if record.raw == text else line[:start].encode() + record.raw
                        record = replace(record, raw=told, media=media)
                    record.forwarded_at = at if record.forwarded_at is None else record.forwarded_at
                yield record
            return
        event: dict[str, Any] = {**values}
        if self._redactor is not None and self._redactor.redact(event):
            rest, event = form.without(rest, start, event)
            raw = (line[:begin] + rest).encode()
            again = forms.find(rest)
            if again is None or again[2] != event:
                # Without its secrets the line would be read otherwise: what was read is kept in its place.
                event["@line"] = rest
                head = self._surroundings.of_line(line[:begin], at) if begin else None
                envelope = b"" if head is None else head.around(b"")
                yield Record(write_json(event), event, forwarded_at=at, envelope=envelope)
                return
        event["@line"] = rest
        yield Record(raw, event, media=media, forwarded_at=at)

    def _divided(self, records: Records, elements: Elements) -> Iterator[Record | Pause]:
        """Each record once for every event in it."""
        for record in records:
            if not isinstance(record, Record) or record.value is None:
                yield record
                continue
            try:
                parts = elements.divide(record.value, len(record.raw))
            except TooMany as error:
                yield replace(record, value=None, problem=str(error))
                continue
            except Exception as error:
                yield replace(record, value=None, problem=f"cannot be read ({type(error).__name__})")
                continue
            yield from [replace(record, value=value, place=place) for place, value in parts] or [record]


def _is_one_value(body: bytes) -> bool:
    """Whether it is one value of JSON that the native parser takes; no object is made of it."""
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except (ValueError, RecursionError):
        return False
    return True


def _parsed_slowly(raw: bytes) -> Any:
    """The value of JSON that the fast parser does not take.

    Raises:
        ValueError: it is not JSON.
        RecursionError: it is nested too deeply.
    """
    return _repaired(_DECODER.decode(raw.decode()))


def _read_python(text: str) -> Any:
    """Some senders write Python-like text: single quotes, a comma before the closing brace. What such text can say and
    JSON cannot is no event.

    Raises:
        ValueError, TypeError, SyntaxError, RecursionError, MemoryError: it is no such text.
    """
    if len(text) > PYTHON_LIMIT:
        raise ValueError("too long")
    return orjson.loads(orjson.dumps(ast.literal_eval(text.strip())))


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
                several = [_parsed_slowly(one) for one in objects(text) if isinstance(one, bytes)]
            except ValueError:
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


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_int=whole, parse_float=fraction)


#: Half of a surrogate pair: the parser joins whole ones.
_LONE = re.compile("[\ud800-\udfff]")


def _repaired(value: Any) -> Any:
    """Lone surrogates, which no UTF-8 text can hold, become U+FFFD."""
    if isinstance(value, str):
        return value if value.isascii() or not _LONE.search(value) else _LONE.sub("\N{REPLACEMENT CHARACTER}", value)
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
