"""Exports: all events that a filter matches, as a file of any size, and the manifest of such a file.

An export shows the log as it was when it was asked for, up to its last entry of that moment: its snapshot. The header
``X-Cursor`` says it, and whoever gives it as ``cursor`` gets the same bytes again, or those behind an event that he has
already (``after``), or their manifest. So nothing of an export is kept here, and any service over the log can go on
with it.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web
from pydantic import BaseModel, Field

from adapter import __version__
from adapter.api.auditing import record
from adapter.api.feed import (
    LIMIT,
    NAMES_WANTED,
    ORDER,
    REVISIONS,
    TURN,
    filter_parameters,
    hint_headers,
    make_formats,
    media_types,
    read_format,
    read_question,
    read_switch,
    refused,
    stretches,
)
from adapter.api.headers import CURSOR, HINTS
from adapter.api.lookup import Lookup, first_entry
from adapter.api.operation import Answer, Limited, Operation, Parameter, caller, scope_of_caller
from adapter.api.report import Summary, report_head, report_rows
from adapter.api.slots import Slots
from adapter.api.snapshots import Snapshot, Snapshots
from adapter.api.stream import streamed
from adapter.documents.kinds import KINDS, Kind
from adapter.documents.making import make_document
from adapter.errors import RequestError
from adapter.filter import PARAMETERS, Filter
from adapter.formats.protocol import Format
from adapter.formats.settings import DEFAULT, make_format, read_format_settings
from adapter.hints import Hints
from adapter.log.protocol import Store
from adapter.mapping.catalogue import Catalogue
from adapter.model import Entry, uid_text
from adapter.scope import Scope
from adapter.search.cursor import LogCursor, Order, TimeCursor, newest, read_log_cursor, write_cursor
from adapter.search.looked_up import with_names
from adapter.search.search import Search
from adapter.settings import Feed as FeedSettings
from adapter.settings import Look, Permission
from adapter.timestamps import write_timestamp

#: Documents that are made at the same time: each has a process with memory of its own.
DOCUMENTS = 2
_HEADERS = {
    CURSOR: "By which the same bytes are given again, or the rest of them",
    HINTS: "What in the filter looks like a slip, as JSON; only if anything does",
    "Content-Disposition": "A name for the file",
}
_DELIMITERS = ["comma", "semicolon", "tab"]
#: A uid as Phase Two's form has it of a correction: `adapter.model.message_id`.
_CORRECTION = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})-[0-9]{1,9}")
#: So many bytes of an export are hashed between two signs of life to whoever waits for its manifest.
_SIGN_OF_LIFE = 4 * 1024 * 1024


class Place(BaseModel):
    """An event in an export."""

    time: int = Field(description="Its time, epoch milliseconds")
    uid: str
    position: int = Field(description="Of its entry in the log")


class Manifest(BaseModel):
    """What an export holds, for those who check it later."""

    filter: dict[str, list[str]] = Field(description="Parameters of the filter; times are fixed ones")
    limits: dict[str, list[str]] = Field(description="Limits of the key that asked: the export has nothing beyond")
    order: str
    revisions: bool
    names: bool
    format: str
    delimiter: str | None = Field(description="Of a table as CSV")
    count: int = Field(description="Events in it; of a report those that it lists")
    bytes: int
    sha256: str = Field(description="Of all its bytes, in hexadecimal")
    first: Place | None = Field(description="Its first event, in the order of the file; null: it has none")
    last: Place | None
    snapshot: int = Field(description="The log's last entry at that time: what came later is not in it")
    cursor: str = Field(description="With it the same question gives the same bytes")
    generatedAt: str = Field(description="When it was asked for, RFC 3339")
    generatedBy: str = Field(description="Name of the key, or of the person, that asked")
    service: str = Field(description="Name and version of the program")


@dataclass(frozen=True, slots=True)
class Question:
    """What an export is to hold, and from where on."""

    #: As it was asked for, and with what the caller's limits add.
    asked: Filter
    filter: Filter
    scope: Scope
    order: Order
    revisions: bool
    names: bool
    form: Format | Kind
    format_name: str
    delimiter: str | None
    snapshot: Snapshot
    #: The snapshot, as callers carry it.
    cursor: str
    #: A cursor of the search; ``None``: from the beginning on.
    place: str | None
    #: Whether what stands before it was written already.
    goes_on: bool
    caller: str


@dataclass(slots=True)
class Written:
    """What was written of an export."""

    count: int = 0
    size: int = 0
    digest: Any = field(default_factory=hashlib.sha256)
    first: Place | None = None
    last: Entry | None = None

    def take(self, entries: Sequence[Entry]) -> None:
        """Note events that are written."""
        events = [entry for entry in entries if entry.event is not None]
        if events:
            self.count += len(events)
            self.first = self.first or _place(events[0])
            self.last = events[-1]

    def add(self, data: bytes) -> None:
        """Note bytes that are written."""
        self.size += len(data)
        self.digest.update(data)


class ExportPages:
    """Answers with exports, and with their manifests."""

    def __init__(
        self,
        log: Store,
        search: Search,
        catalogue: Callable[[], Catalogue],
        hints: Hints,
        lookup: Lookup,
        settings: FeedSettings,
        *,
        now: Callable[[], int],
    ) -> None:
        """``catalogue`` gives the present one, ``now`` epoch milliseconds."""
        self._log = log
        self._snapshots = Snapshots(log)
        self._search = search
        self._catalogue = catalogue
        self._hints = hints
        self._lookup = lookup
        self._now = now
        self._slots = Slots("exports", each=settings.key_exports_limit, together=settings.exports_limit)
        self._documents = Slots("documents", each=1, together=DOCUMENTS)
        self._reading_timeout = settings.reading_timeout
        self._formats = make_formats()

    def operations(self) -> list[Operation]:
        names = [*self._formats, *KINDS]
        media = sorted({*media_types(self._formats), *(kind.media_type for kind in KINDS.values())})
        switch = {"type": "string", "enum": ["0", "1"]}
        parameters = [
            *filter_parameters(self._catalogue()),
            ORDER,
            REVISIONS,
            NAMES_WANTED,
            Parameter(
                "format", f"What it is written as; default: what Accept names, or {DEFAULT}",
                {"type": "string", "enum": names},
            ),
            Parameter(
                "delimiter", "With format=csv, what stands between cells; default: comma",
                {"type": "string", "enum": _DELIMITERS},
            ),
            Parameter("cursor", f"What the header {CURSOR} of an export said: the same bytes again"),
            Parameter(
                "after",
                "With cursor: the uid of the last whole event of an export that broke off; what follows is the rest of "
                "it. Not for parquet and pdf, nor with revisions",
            ),
            Parameter("manifest", "1: not the file but its manifest, as JSON", switch),
        ]  # fmt: skip
        described = (
            f"The file; cut off in the middle of a chunk if it fails on the way. The header {CURSOR} says by which "
            "cursor it is gone on with. With manifest=1 its manifest."
        )
        return [
            Operation(
                "GET", "/events/export", self.export, "All events that a filter matches, as a file",
                {200: Answer(described, model=Manifest, others=media, headers=_HEADERS)},
                Permission.EXPORT, parameters, limited=Limited.BY_EVENT, errors=(409, 501),
            )
        ]  # fmt: skip

    async def export(self, request: web.Request) -> web.StreamResponse:
        who = caller(request)
        with self._slots.taken(who):
            question = await self._question(request)
            if not isinstance(question.form, Kind):
                return await self._answer(request, question)
            with self._documents.taken(who):
                return await self._answer(request, question)

    async def _answer(self, request: web.Request, question: Question) -> web.StreamResponse:
        written = Written()
        async with aclosing(self._read(question)) as pages:
            # The first page is asked for before the answer begins, so that what is wrong can still be said.
            first = await anext(pages, None)
            async with aclosing(self._bytes(question, _joined(first, pages), written)) as pieces:
                if read_switch(request, "manifest"):
                    return await self._manifest(request, question, pieces, written)
                headers = {
                    "Content-Disposition": f'attachment; filename="events.{question.form.ending}"',
                    CURSOR: question.cursor,
                    **hint_headers(self._hints.of(question.filter.terms)),
                }
                media = question.form.media_type
                writing = streamed(request, media, headers, reading_timeout=self._reading_timeout)
                is_whole = False
                async with writing as stream:
                    if request.method == "HEAD":
                        return stream.response
                    try:
                        async for piece in pieces:
                            await stream.write(piece)
                        is_whole = True
                    finally:
                        record(request, Look.EXPORT, events=written.count, whole=is_whole)
                return stream.response

    async def _manifest(
        self, request: web.Request, question: Question, pieces: AsyncIterator[bytes], written: Written
    ) -> web.StreamResponse:
        headers = {CURSOR: question.cursor}
        writing = streamed(request, "application/json", headers, reading_timeout=self._reading_timeout)
        async with writing as stream:
            if request.method == "HEAD":
                return stream.response
            since, is_whole = 0, False
            try:
                async for piece in pieces:
                    written.add(piece)
                    if written.size - since >= _SIGN_OF_LIFE:
                        since = written.size
                        # Blanks before JSON mean nothing, and no proxy takes the silence for an end.
                        await stream.write(b" ")
                await stream.write(_manifest_of(question, written).model_dump_json().encode())
                is_whole = True
            finally:
                record(request, Look.EXPORT, events=written.count, whole=is_whole)
        return stream.response

    async def _question(self, request: web.Request) -> Question:
        """
        Raises:
            RequestError: 400, a parameter is wrong; 501, what makes such a document is not installed.
        """
        given = request.query.get("cursor")
        if given is None:
            snapshot = Snapshot(self._search.head, self._now())
            cursor = await self._snapshots.write(snapshot)
        else:
            try:
                snapshot, cursor = await self._snapshots.read(given), given
            except ValueError:
                right = f"what the header {CURSOR} of an export of this log said, or left out"
                raise refused("cursor", given[:100], right) from None
        catalogue = self._catalogue()
        filter, order, revisions = read_question(request, catalogue, now=snapshot.asked_at)
        asked = {name: request.query.getall(name) for name in request.query if name in PARAMETERS}
        form, name, delimiter = self._form(request)
        who, scope = caller(request), scope_of_caller(request)
        place = None if order == "log" else write_cursor(newest(snapshot.position))
        after = request.query.get("after")
        if after is not None:
            if given is None:
                raise refused("after", after[:100], f"given with cursor, from the header {CURSOR}")
            if revisions or isinstance(form, Kind):
                what = "with revisions" if revisions else f"with format={name}"
                raise refused("after", after[:100], f"left out {what}: begin anew with the cursor alone")
            place = await self._place_after(after, order, snapshot, who, scope)
        return Question(
            Filter.parse(asked, catalogue, now=snapshot.asked_at), filter, scope, order, revisions,
            read_switch(request, "names"), form, name, delimiter, snapshot, cursor, place, after is not None, who,
        )  # fmt: skip

    def _form(self, request: web.Request) -> tuple[Format | Kind, str, str | None]:
        """What it is written as, its name, and the delimiter of a table."""
        name, delimiter = request.query.get("format"), request.query.get("delimiter")
        kind = KINDS.get(name or "")
        if name is None:
            accepted = {one.partition(";")[0].strip().lower() for one in request.headers.get("Accept", "").split(",")}
            kind = next((one for one in KINDS.values() if one.media_type in accepted), None)
        if delimiter is not None and delimiter not in _DELIMITERS:
            raise refused("delimiter", delimiter, "one of " + ", ".join(_DELIMITERS))
        if kind is None and name is not None and name not in self._formats:
            raise refused("format", name, "one of " + ", ".join([*self._formats, *KINDS]))
        form = kind or read_format(request, self._formats) or self._formats[DEFAULT]
        name = kind.name if kind else next(name for name, one in self._formats.items() if one is form)
        if kind is not None and (missing := kind.missing) is not None:
            raise RequestError(501, "Not installed", f"format={name} is not installed with this service: {missing}")
        if delimiter is not None and name != "csv":
            raise refused("delimiter", delimiter, "given with format=csv only")
        if name == "csv":
            delimiter = delimiter or _DELIMITERS[0]
            form = make_format(read_format_settings({"name": name, "delimiter": delimiter}))
        return form, name, delimiter

    async def _place_after(self, after: str, order: Order, snapshot: Snapshot, who: str, scope: Scope) -> str:
        """Where the search goes on behind an event.

        Raises:
            RequestError: 400, there is no such event in this snapshot.
        """
        correction = _CORRECTION.fullmatch(after)
        entry = await self._lookup.find(correction[1] if correction else after, who, scope)
        if entry is not None and order == "log":
            entry = await first_entry(self._log, entry)
        while entry is not None and entry.position > snapshot.position:
            position = await self._log.before(entry.uid, entry.position)
            [entry, *_] = [*([] if position is None else await self._log.fetch([position])), None]
        if entry is None or entry.event is None:
            raise refused("after", after[:100], "the uid of an event of this export")
        if order == "log":
            return write_cursor(LogCursor(entry.position))
        return write_cursor(TimeCursor(_place(entry).time, entry.position, snapshot.position))

    async def _read(self, question: Question) -> AsyncGenerator[list[Entry], None]:
        """All events that match, a stretch in memory at a time."""
        last, cursor = question.snapshot.position, question.place
        while True:
            page = await self._search.find(
                question.filter, order=question.order, limit=LIMIT, cursor=cursor, revisions=question.revisions,
                caller=question.caller, patient=True,
            )  # fmt: skip
            positions = [position for position in page.positions if position <= last]
            if positions:
                async with aclosing(stretches(self._log, positions)) as read:
                    async for entries, _ in read:
                        if question.names:
                            entries = await with_names(
                                self._search, entries, question.filter, caller=question.caller, patient=True
                            )
                        yield entries
            if page.next is None or page.at_end or len(positions) < len(page.positions):
                return
            if question.order == "log" and read_log_cursor(page.next).position >= last:
                return
            cursor = page.next

    async def _bytes(
        self, question: Question, pages: AsyncIterator[list[Entry]], written: Written
    ) -> AsyncGenerator[bytes, None]:
        """The bytes of an export, piece by piece; others have their turns meanwhile."""
        form = question.form
        if isinstance(form, Kind):
            async with aclosing(self._document(question, form, pages, written)) as pieces:
                async for piece in pieces:
                    yield piece
            return
        if form.header and not question.goes_on:
            yield form.header
        end = form.record_end
        async for entries in pages:
            written.take(entries)
            for start in range(0, len(entries), TURN):
                yield b"".join([part for record in form.write(entries[start : start + TURN]) for part in (record, end)])
                await asyncio.sleep(0)
        if form.footer:
            yield form.footer

    async def _document(
        self, question: Question, kind: Kind, pages: AsyncIterator[list[Entry]], written: Written
    ) -> AsyncGenerator[bytes, None]:
        """A document that a process makes."""
        if kind.name == "pdf":
            summary = Summary(self._catalogue())
            async for entries in pages:
                wanted = len(summary.rows)
                is_enough = not summary.take(entries)
                written.take([one for one in entries if one.event is not None][: len(summary.rows) - wanted])
                if is_enough:
                    break
                await asyncio.sleep(0)
            head: Mapping[str, Any] = report_head(
                summary, question.asked, question.scope, order=question.order, by=question.caller,
                made_at=question.snapshot.asked_at, snapshot=question.snapshot.position,
            )  # fmt: skip
            stretches = report_rows(summary)
        else:
            head = {
                "idp-adapter.version": __version__,
                "idp-adapter.cursor": question.cursor,
                "idp-adapter.filter": orjson.dumps(_parameters(question.asked)).decode(),
            }
            stretches = _lines(pages, written)
        async with aclosing(make_document(kind, head, stretches)) as pieces:
            async for piece in pieces:
                yield piece


async def _joined(first: list[Entry] | None, rest: AsyncIterator[list[Entry]]) -> AsyncIterator[list[Entry]]:
    if first is not None:
        yield first
        async for entries in rest:
            yield entries


async def _lines(pages: AsyncIterator[list[Entry]], written: Written) -> AsyncIterator[bytes]:
    async for entries in pages:
        written.take(entries)
        yield b"\n".join([entry.event for entry in entries if entry.event is not None])


def _place(entry: Entry) -> Place:
    assert entry.event is not None
    return Place(time=orjson.loads(entry.event)["time"], uid=uid_text(entry.uid), position=entry.position)


def _parameters(filter: Filter) -> dict[str, list[str]]:
    """A filter as the parameters that stand for it whenever they are read."""
    told = {term.parameter: list(term.values) for term in filter.terms}
    bounds = {
        "from": filter.time_from,
        "to": filter.time_to,
        "received_from": filter.received_from,
        "received_to": filter.received_to,
    }
    return {**told, **{name: [str(value)] for name, value in bounds.items() if value is not None}}


def _manifest_of(question: Question, written: Written) -> Manifest:
    snapshot = question.snapshot
    return Manifest(
        filter=_parameters(question.asked),
        limits=question.scope.told(),
        order=question.order,
        revisions=question.revisions,
        names=question.names,
        format=question.format_name,
        delimiter=question.delimiter,
        count=written.count,
        bytes=written.size,
        sha256=written.digest.hexdigest(),
        first=written.first,
        last=None if written.last is None else _place(written.last),
        snapshot=snapshot.position,
        cursor=question.cursor,
        generatedAt=write_timestamp(snapshot.asked_at) or str(snapshot.asked_at),
        generatedBy=question.caller,
        service=f"IdP Event Adapter {__version__}",
    )
