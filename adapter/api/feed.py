"""The feed: unified events by filter, and one by its uid.

Events leave as the JSON that is stored; nothing is parsed on the way.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any

import msgspec
import orjson
from aiohttp import web
from pydantic import BaseModel, Field

from adapter.api.auditing import record
from adapter.api.headers import HINTS, NEXT, REMOVED
from adapter.api.lookup import Lookup
from adapter.api.operation import TEXT, Answer, Limited, Operation, Parameter, authorize, caller, scope_of_caller
from adapter.api.slots import Slots
from adapter.api.stream import Stream, sent_json, streamed
from adapter.errors import RequestError
from adapter.event import Event
from adapter.filter import NAMES, PARAMETERS, TIMES, Filter
from adapter.formats.protocol import Format
from adapter.formats.settings import DEFAULT, format_names, make_format, read_format_settings
from adapter.hints import Hints
from adapter.log.protocol import Log
from adapter.mapping.catalogue import Catalogue
from adapter.mapping.sentence import sentence, text_of
from adapter.model import Entry, Outcome
from adapter.search.cursor import END, Order, read_log_cursor
from adapter.search.looked_up import with_names
from adapter.search.search import Page, Search
from adapter.search_fields import search_fields
from adapter.settings import Feed as FeedSettings
from adapter.settings import Look, Permission
from adapter.timestamps import FORMS, SCHEMA, read_timestamp

LIMIT = 1000
DEFAULT_LIMIT = 100
#: Bytes of events that are in memory at once for one answer, one event aside.
STRETCH = 512 * 1024
#: Events that an export writes before others get their turn.
TURN = 200

_MEANING = {
    "type": "Type, alias or glob such as access.*_ERROR (access. may be left out where the catalogue knows the rest); "
    "system.* comes only when it is named",
    "outcome": "What became of it",
    "reason": "Why it failed",
    "reason_class": "Class of the reason",
    "provider": "Kind of identity provider",
    "source": "Name of the source",
    "realm": "Realm or tenant, id or name",
    "user": "Who acted or was acted upon, id or name",
    "actor": "Who acted, id or name",
    "target": "Who was acted upon, id or name",
    "client": "Client or application",
    "ip": "Address, or network (CIDR)",
    "session": "The provider's session id",
    "id": "The provider's own id of the event",
    "resource": "Which thing an admin event is about: its resourcePath, or a glob such as users/*/reset-password",
    "method": "How the person logged in, in whatever case: password, passkey, social, federated, …",
    "factor": "The proof that it is about, in whatever case: otp, push, webauthn, sms, …",
    "idp": "The other identity provider, alias, id or name, in whatever case",
    "device": "Device, id or name, in whatever case",
    "country": "Country, as its code of two letters, or its name in English",
    "risk": "How risky the provider took it to be: low, medium, high",
    "q": "Words that all occur; a * at a word's end stands for any ending",
    "from": "Happened at or after this timestamp",
    "to": "Happened before this timestamp",
    "received_from": "Arrived at or after this timestamp",
    "received_to": "Arrived before this timestamp",
}

#: Of filters that are looked for most, a value.
_EXAMPLE = {
    "type": "access.LOGIN_ERROR",
    "outcome": "failure",
    "user": "anna",
    "ip": "203.0.113.0/24",
    "client": "account-console",
    "from": "24h",
    "country": "NL",
    "q": "reset pass*",
}

ORDER = Parameter(
    "order",
    "time: newest first by the time of the event; log: in the order of arrival, for those who poll",
    {"type": "string", "enum": ["time", "log"], "default": "time"},
)
REVISIONS = Parameter(
    "revisions", "1: with order=log, corrections of earlier events too", {"type": "string", "enum": ["0", "1"]}
)
SENTENCE = Parameter(
    "sentence",
    "1: also the sentence of the catalogue that says for people what happened; not in a format",
    {"type": "string", "enum": ["0", "1"]},
)
NAMES_WANTED = Parameter(
    "names",
    "1: also names that an event does not carry, where others of its source say whose ids these are, as lookedUp",
    {"type": "string", "enum": ["0", "1"]},
)
UID = Parameter("uid", "The event's uid, or the id that its provider gave it")


class SentencePart(BaseModel):
    """A piece of a sentence."""

    text: str
    filter: str | None = Field(None, description="The filter that finds events by it, where there is one")
    value: str | None = Field(None, description="What that filter is given")


class Sentence(BaseModel):
    """What happened, in one sentence of the catalogue."""

    text: str = Field(description="All of it; long values are cut")
    parts: list[SentencePart] = Field(description="The same in pieces")


class EventShown(Event):
    """An event, and with sentence=1 what it says for people."""

    sentence: Sentence | None = Field(None, description="Only where it was asked for. Never stored")


#: Of events that are written in a format.
PAGE_HEADERS = {
    NEXT: "With a format: the cursor of the next page; missing at the end",
    HINTS: "With a format: the hints, as JSON",
    REMOVED: "With a format and order=log: as `removed` of a page",
}


class EventPage(BaseModel):
    """A page of events."""

    events: list[EventShown]
    next: str | None = Field(
        description="The cursor of the next page; null at the end. A page may be short, or empty, before it"
    )
    removed: int = Field(
        0,
        description="With order=log and a cursor, only if there are any: entries between that cursor and the next that "
        "were removed from the log, whatever their type",
    )
    hints: list[str] = Field(
        default_factory=list,
        description="Only if there are any: types, sources and providers asked for that nobody knows",
    )


class Wrapped(BaseModel):
    """One thing that a raw event came in."""

    forwarder: str | None = Field(None, description="Name of the forwarder")
    time: int | None = Field(None, description="Its time, epoch milliseconds, if it says one")
    members: dict[str, Any] | None = Field(None, description="All that it says beside the event; secrets are hidden")
    cut: bool | None = Field(None, description="true: there was more than is kept")
    head: str | None = Field(None, description="Of a line: what stood before it")


#: Of the member `envelope`.
ENVELOPE = "With raw=1, what the event came in if a forwarder wrapped it: each thing, outermost first"


class EventWithRaw(EventShown):
    """An event, and with raw=1 what the provider sent."""

    raw: Any = Field(None, description="With raw=1, what the provider sent: JSON as JSON, all else as text")
    envelope: list[Wrapped] = Field(default_factory=list, description=ENVELOPE)


def filter_parameters(catalogue: Catalogue) -> list[Parameter]:
    """Every filter, as a parameter."""
    values: dict[str, Mapping[str, Any]] = {
        "outcome": {"type": "string", "enum": [str(one) for one in Outcome]},
        "reason": {"type": "string", "enum": sorted(catalogue.reasons)},
        "reason_class": {"type": "string", "enum": sorted(catalogue.reason_classes)},
    }
    parameters = []
    for name in PARAMETERS:
        if name in TIMES:
            parameters.append(Parameter(name, _MEANING[name], SCHEMA, example=_EXAMPLE.get(name)))
            continue
        plain = name if name in NAMES else name.removeprefix("not_")
        meaning = _MEANING[plain] if plain == name else f"None of these: {_MEANING[plain]}"
        schema, example = values.get(plain, TEXT), _EXAMPLE.get(name)
        parameters.append(Parameter(name, meaning, schema, repeatable=True, example=example))
    return parameters


class Feed:
    """Reads the log for people and pollers, through the search."""

    def __init__(
        self,
        log: Log,
        search: Search,
        catalogue: Callable[[], Catalogue],
        hints: Hints,
        lookup: Lookup,
        questions: Slots,
        settings: FeedSettings,
    ) -> None:
        """``catalogue`` gives the present one: aliases and classes of reasons are looked up in it by each question.
        ``questions`` bounds those that are under way."""
        self._questions = questions
        self._page_limit = settings.page_limit
        self._reading_timeout = settings.reading_timeout
        self._events = log
        self._search = search
        self._catalogue = catalogue
        self._hints = hints
        self._lookup = lookup
        self._formats = make_formats()

    def operations(self) -> list[Operation]:
        filters = filter_parameters(self._catalogue())
        limit = {"type": "integer", "minimum": 1, "maximum": LIMIT, "default": DEFAULT_LIMIT}
        page = [
            *filters,
            ORDER,
            Parameter("limit", "Events in a page", limit),
            Parameter(
                "cursor",
                f"The place after the page before: its next. With order=log also {END}: behind all that is there now",
            ),
            REVISIONS,
            NAMES_WANTED,
            SENTENCE,
        ]
        formats = {"type": "string", "enum": list(self._formats)}
        page_form = Parameter("format", "What the events are written as, without a page around them", formats)
        media = media_types(self._formats)
        return [
            Operation(
                "GET", "/events", self.find, "Events, by filter",
                {200: Answer(f"A page; in a format the events alone, and next in the header {NEXT}.",
                             model=EventPage, others=media, headers=PAGE_HEADERS)},
                Permission.READ, [*page, page_form], limited=Limited.BY_EVENT,
            ),
            Operation(
                "GET", "/events/{uid}", self.show, "One event, in its latest revision",
                {200: Answer("The event.", model=EventWithRaw)}, Permission.READ,
                [
                    UID, NAMES_WANTED, SENTENCE,
                    Parameter("raw", "1: also what the provider sent; needs the permission raw",
                              {"type": "string", "enum": ["0", "1"]}),
                ],
                limited=Limited.BY_EVENT, errors=(409,),
            ),
        ]  # fmt: skip

    async def find(self, request: web.Request) -> web.StreamResponse:
        filter, order, revisions = read_question(request, self._catalogue())
        limit = read_limit(request.query.get("limit"))
        names, with_sentence = read_switch(request, "names"), read_switch(request, "sentence")
        chosen = read_format(request, self._formats)
        if with_sentence and chosen is not None:
            raise refused("sentence", "1", "given without a format, which has a place of its own for each field")
        who = caller(request)
        with self._questions.taken(who):
            cursor = request.query.get("cursor")
            page = await self._search.find(
                filter, order=order, limit=limit, cursor=cursor, revisions=revisions, caller=who
            )
            hints = self._hints.of(filter.terms)
            async with aclosing(self._read(page.positions, filter, names, who, with_sentence)) as read:
                entries, done = await anext(read)
                if chosen is not None:
                    removed = await self._removed(page.after(done), cursor, order)
                    return await self._formatted(request, chosen, entries, page.after(done), hints, removed)
                events = _events(entries)
                begin, end = b'{"events":[%s' % b",".join(events), await self._end(page, done, hints, cursor, order)
                if done == len(page.positions) or len(begin) >= self._page_limit:
                    return await sent_json(request, begin + end, reading_timeout=self._reading_timeout)
                size = len(begin)
                async with self._streamed(request, "application/json") as stream:
                    await stream.write(begin)
                    while size < self._page_limit and done < len(page.positions):
                        entries, done = await anext(read)
                        events = _events(entries)
                        piece = b"".join([b",%s" % event for event in events])
                        await stream.write(piece)
                        size += len(piece)
                    await stream.write(await self._end(page, done, hints, cursor, order))
                return stream.response

    async def _formatted(
        self,
        request: web.Request,
        form: Format,
        entries: Sequence[Entry],
        after: str | None,
        hints: list[str],
        removed: int,
    ) -> web.StreamResponse:
        """A page in a format: what is in memory at once, so that the place of the next page can be said before it."""
        headers = hint_headers(hints) if after is None else {**hint_headers(hints), NEXT: after}
        if removed:
            headers[REMOVED] = str(removed)
        async with self._streamed(request, form.media_type, headers) as stream:
            await stream.write(form.header)
            await _write(stream, form, entries)
            await stream.write(form.footer)
        return stream.response

    async def _removed(self, following: str | None, cursor: str | None, order: Order) -> int:
        """How many entries between the cursor of a page and that of the following one were removed from the log."""
        if order != "log" or cursor is None or cursor == END or following is None:
            return 0
        return await self._events.removed(read_log_cursor(cursor).position, read_log_cursor(following).position)

    async def _end(self, page: Page, done: int, hints: list[str], cursor: str | None, order: Order) -> bytes:
        """The end of a page that began at a cursor, of whose positions so many are on it."""
        following = page.after(done)
        removed = await self._removed(following, cursor, order)
        told = b',"removed":%d' % removed if removed else b""
        told += b',"hints":%s' % orjson.dumps(hints) if hints else b""
        return b'],"next":%s%s}' % (orjson.dumps(following), told)

    async def show(self, request: web.Request) -> web.StreamResponse:
        with_raw = read_switch(request, "raw")
        if with_raw:
            authorize(request, Permission.RAW)
        with self._questions.taken(caller(request)):
            event = await self._event(request, with_raw)
            if with_raw:
                record(request, Look.RAW)
            return await sent_json(request, event, reading_timeout=self._reading_timeout)

    async def _event(self, request: web.Request, with_raw: bool) -> bytes:
        """One event, as JSON.

        Raises:
            RequestError: 404, there is none; 409, there are several.
        """
        scope = scope_of_caller(request)
        names, with_sentence = read_switch(request, "names"), read_switch(request, "sentence")
        entry = await self._lookup.event(request.match_info["uid"], caller(request), scope)
        if names:
            await self._search.wait(entry.position)
            known = scope.bound(Filter(self._catalogue()))
            (entry,) = await with_names(self._search, [entry], known, caller=caller(request))
        if with_sentence:
            (entry,) = self._with_sentences([entry])
        assert entry.event is not None
        if not with_raw:
            return entry.event
        told = [
            b',"%b":%b' % (name.encode(), value) for name, value in (await raw_members(self._events, entry)).items()
        ]
        return b"%b%b}" % (entry.event.rstrip()[:-1], b"".join(told))

    async def _read(
        self, positions: Sequence[int], filter: Filter, names: bool, who: str, with_sentence: bool = False
    ) -> AsyncGenerator[tuple[list[Entry], int], None]:
        """The entries at some positions by `stretches`, with names and sentences where they are wanted."""
        async with aclosing(stretches(self._events, positions)) as read:
            async for entries, done in read:
                if names:
                    entries = await with_names(self._search, entries, filter, caller=who)
                yield (self._with_sentences(entries) if with_sentence else entries), done

    def _with_sentences(self, entries: Sequence[Entry]) -> list[Entry]:
        catalogue = self._catalogue()
        return [one if one.event is None else one._replace(event=add_sentence(one.event, catalogue)) for one in entries]

    def _streamed(
        self, request: web.Request, media: str, headers: Mapping[str, str] | None = None
    ) -> AbstractAsyncContextManager[Stream]:
        return streamed(request, media, headers, reading_timeout=self._reading_timeout)


def read_question(request: web.Request, catalogue: Catalogue, *, now: int | None = None) -> tuple[Filter, Order, bool]:
    """Filter, order, and whether revisions are wanted. ``now``: as for `read_filter`.

    Raises:
        RequestError: 400, a parameter is wrong.
    """
    order = _order(request.query.get("order", "time"))
    revisions = read_switch(request, "revisions")
    if revisions and order != "log":
        raise refused("revisions", "1", "given with order=log only; by time each event is shown as it is now")
    return read_filter(request, catalogue, now=now), order, revisions


def read_filter(request: web.Request, catalogue: Catalogue, *, now: int | None = None) -> Filter:
    """The filter of a question. All that one caller may not read is to be left out here, for all that is answered.
    ``now``: epoch milliseconds, from which times ago are counted; ``None``: as it is.

    Raises:
        RequestError: 400, a parameter is wrong.
    """
    given = {name: request.query.getall(name) for name in request.query if name in PARAMETERS}
    return scope_of_caller(request).bound(Filter.parse(given, catalogue, now=now))


async def stretches(log: Log, positions: Sequence[int]) -> AsyncGenerator[tuple[list[Entry], int], None]:
    """The entries at some positions, a stretch in memory at a time and at least one, each with the number of positions
    that are done then."""
    done = 0
    while True:
        entries = await log.fetch(positions[done:], size=STRETCH) if positions else []
        done = len(positions) if not entries else positions.index(entries[-1].position, done) + 1
        yield entries, done
        if done == len(positions):
            return


def make_formats() -> dict[str, Format]:
    """Every format, with its settings as they are by default, by name."""
    return {name: make_format(read_format_settings(name)) for name in format_names()}


def media_types(formats: Mapping[str, Format]) -> list[str]:
    """The media types of documents in these formats, without their parameters."""
    return sorted({_media_type(one.media_type) for one in formats.values()})


def read_format(request: web.Request, formats: Mapping[str, Format]) -> Format | None:
    """The format that is asked for, if one is: by name, or else by the first media type in Accept that is the
    default's or one format's alone.

    Raises:
        RequestError: 400, there is no such format.
    """
    name = request.query.get("format")
    if name is not None:
        if name not in formats:
            raise refused("format", name, "one of " + ", ".join(formats))
        return formats[name]
    accepted = [_media_type(one) for one in ",".join(request.headers.getall("Accept", ())).split(",")]
    media = [_media_type(one.media_type) for one in formats.values()]
    for wanted in accepted:
        if wanted in ("*/*", "application/json"):
            return None
        if wanted == _media_type(formats[DEFAULT].media_type):
            return formats[DEFAULT]
        if media.count(wanted) == 1:
            return [*formats.values()][media.index(wanted)]
    return None


def _events(entries: Sequence[Entry]) -> list[bytes]:
    return [entry.event for entry in entries if entry.event is not None]


def add_sentence(event: bytes, catalogue: Catalogue) -> bytes:
    """An event (JSON) with the member ``sentence``, as `Sentence`, which no stored event has."""
    parts = sentence(search_fields(event), catalogue)
    told = [{name: one for name, one in part._asdict().items() if one is not None} for part in parts]
    return b'%b,"sentence":%b}' % (event.rstrip()[:-1], orjson.dumps({"text": text_of(parts), "parts": told}))


async def _write(stream: Stream, form: Format, entries: Sequence[Entry]) -> None:
    """Entries as records of a document; others have their turns meanwhile."""
    end = form.record_end
    for start in range(0, len(entries), TURN):
        records = form.write(entries[start : start + TURN])
        await stream.write(b"".join([part for record in records for part in (record, end)]))
        await asyncio.sleep(0)


def hint_headers(hints: list[str]) -> dict[str, str]:
    return {HINTS: json.dumps(hints)} if hints else {}  # in ASCII, as a header must be


def _media_type(text: str) -> str:
    """A media type without its parameters."""
    return text.partition(";")[0].strip().lower()


async def raw_members(log: Log, entry: Entry) -> dict[str, bytes]:
    """What the provider sent for an entry, as JSON: `raw`, null if it is not kept, and `envelope` if it came in one."""
    kept = await log.raw(entry.position)
    if kept is None:
        return {"raw": b"null"}
    told = {"raw": _raw_json(kept.content, kept.media)}
    return {**told, "envelope": kept.envelope} if kept.envelope else told


def _raw_json(raw: bytes, media: str) -> bytes:
    """JSON as it is, all else as a text."""
    if _media_type(media) == "application/json":
        try:
            # Looked through, and not made into objects, which would need many times its memory.
            raw.decode()
            msgspec.json.decode(raw, type=msgspec.Raw)
        except (UnicodeDecodeError, msgspec.DecodeError, RecursionError):
            pass
        else:
            return raw
    return orjson.dumps(raw.decode("utf-8", "replace"))


def _order(text: str) -> Order:
    match text:
        case "time" | "log":
            return text
        case _:
            raise refused("order", text, "time or log")


def read_limit(text: str | None, default: int = DEFAULT_LIMIT) -> int:
    """The parameter ``limit``.

    Raises:
        RequestError: 400, it is wrong.
    """
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= 6 and 1 <= int(text) <= LIMIT):
        raise refused("limit", text, f"a whole number from 1 to {LIMIT}")
    return int(text)


def read_switch(request: web.Request, name: str) -> bool:
    """A parameter that is 0 or 1.

    Raises:
        RequestError: 400, it is wrong.
    """
    value = request.query.get(name, "0")
    if value not in ("0", "1"):
        raise refused(name, value, "0 or 1")
    return value == "1"


def read_moment(request: web.Request, name: str, now: int) -> int | None:
    """The time that a parameter says, epoch milliseconds; ``None``: it is not given. ``now``: epoch milliseconds.

    Raises:
        RequestError: 400, it is none.
    """
    value = request.query.get(name)
    if value is None:
        return None
    try:
        return read_timestamp(value, now)
    except ValueError:
        raise refused(name, value, FORMS) from None


def refused(parameter: str, value: str, right: str) -> RequestError:
    """A parameter's value is not right; ``right`` says what is."""
    return RequestError(
        400, "Bad parameter", f"{parameter}={value!r} is not right; it must be {right}", parameter=parameter
    )
