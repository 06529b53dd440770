"""The live tail: events as they come, as server-sent events (the WHATWG's HTML standard, "Server-sent events")."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlencode

import orjson
from aiohttp import web

from adapter.api.feed import SENTENCE, add_sentence, filter_parameters, read_filter, read_switch
from adapter.api.headers import HINTS
from adapter.api.live_search import SearchListener, is_searched, waking
from adapter.api.live_tail import Listener, LiveTail
from adapter.api.operation import (
    Answer,
    Limited,
    Operation,
    Parameter,
    authorize,
    learn_caller,
    principal_of_caller,
)
from adapter.api.slots import Slots
from adapter.api.stream import streamed
from adapter.delivery.select import Selection
from adapter.errors import RequestError, StoreUnavailable
from adapter.filter import Filter
from adapter.hints import Hints
from adapter.mapping.catalogue import Catalogue
from adapter.model import Entry
from adapter.search.cursor import END, LogCursor, read_log_cursor, write_cursor
from adapter.search.looked_up import PATIENCE, with_names
from adapter.search.search import Search
from adapter.settings import Feed as FeedSettings
from adapter.settings import Permission

#: How often it is looked at whether somebody still may listen, seconds.
LOOK = 1.0
#: After how long a listener is to come again, milliseconds.
RETRY = 2000
#: In which a listener that connects again says the last `id` that it got.
LAST_ID = "Last-Event-ID"

_MEDIA = "text/event-stream"
_HEADERS = {
    # nginx would gather the events, and others compress them.
    "X-Accel-Buffering": "no",
    "Cache-Control": "no-store, no-transform",
}


class LivePages:
    """Shows events as they come."""

    def __init__(
        self,
        tail: LiveTail,
        search: Search,
        catalogue: Callable[[], Catalogue],
        hints: Hints,
        settings: FeedSettings,
    ) -> None:
        """``catalogue`` gives the present one."""
        self._tail = tail
        self._search = search
        self._catalogue = catalogue
        self._hints = hints
        self._slots = Slots("live tails", each=settings.key_live_limit, together=settings.live_limit)
        self._reading_timeout = settings.reading_timeout
        self._heartbeat = settings.live_heartbeat
        self._look = min(LOOK, self._heartbeat)

    def operations(self) -> list[Operation]:
        switch = {"type": "string", "enum": ["0", "1"]}
        said = (
            "Server-sent events: of each event its JSON as `data` and its cursor as `id`; comments meanwhile. Where "
            "the reader was too far behind, `event: behind` with the place behind which events are missing, as `data`: "
            '`{"cursor": …, "path": "/events?order=log&cursor=…"}`; what comes after it is the newest.'
        )
        return [
            Operation(
                "GET", "/events/live", self.follow, "Events as they come, by filter",
                {200: Answer(said, [_MEDIA])}, Permission.READ,
                [
                    *filter_parameters(self._catalogue()),
                    Parameter("cursor", f"Where to begin: a cursor of order=log; default: {END}, behind all there is"),
                    Parameter(LAST_ID, "The last id that came: where to go on; goes before cursor", place="header"),
                    Parameter("revisions", "1: corrections of earlier events, too", switch),
                    Parameter("names", "1: also names that an event does not carry, as in GET /events", switch),
                    SENTENCE,
                ],
                limited=Limited.BY_EVENT, event_source=True,
            )
        ]  # fmt: skip

    async def follow(self, request: web.Request) -> web.StreamResponse:
        filter = read_filter(request, self._catalogue())
        revisions, names, sentence = (read_switch(request, name) for name in ("revisions", "names", "sentence"))
        cursor = request.headers.get(LAST_ID) or request.query.get("cursor", END)
        after = None if cursor == END else read_log_cursor(cursor).position
        principal = principal_of_caller(request)
        hints = self._hints.of(filter.terms)
        headers = {**_HEADERS, HINTS: json.dumps(hints)} if hints else _HEADERS
        clock = asyncio.get_running_loop().time
        with self._slots.taken(principal.name):
            async with (
                streamed(request, _MEDIA, headers, reading_timeout=self._reading_timeout) as stream,
                self._listening(filter, after, revisions, principal.name) as listener,
            ):
                # What comes first says where it begins: who loses the connection before any event goes on from there.
                heard, begin = None, b"retry: %d\n" % RETRY
                while request.method != "HEAD" and (taken := await listener.take(self._look)) is not None:
                    if request.transport is None:
                        break  # the reader has left
                    if await _caller_now(request) != principal:
                        break  # who may see something else now begins anew
                    parts = [begin] if begin else []
                    entries = await self._told(taken.entries, filter, principal.name, names=names, sentence=sentence)
                    if taken.passed_over is not None:
                        parts.append(_behind(request, taken.passed_over))
                    parts += _messages(entries)
                    if heard is None or clock() - heard >= self._heartbeat or taken.passed_over is not None:
                        # Without data it is no event, and still the place to go on from.
                        parts.append(b":\nid: %b\n\n" % _cursor(taken.position))
                    if parts:
                        heard, begin, piece = clock(), b"", b"".join(parts)
                        await stream.write(piece)
                        await asyncio.sleep(self._tail.pause(len(piece)))
                if self._tail.is_ending:
                    await stream.write(b"retry: %d\n: the service stops; it may be back at once\n\n" % RETRY)
            return stream.response

    @asynccontextmanager
    async def _listening(
        self, filter: Filter, after: int | None, revisions: bool, who: str
    ) -> AsyncIterator[Listener | SearchListener]:
        """A listener of what a filter matches, as `GET /events` would find it."""
        searched = is_searched(filter)
        selection = waking(filter, revisions=revisions) if searched else Selection(filter, revisions=revisions)
        async with self._tail.listening(selection, after) as listener:
            if searched:
                search, log = self._search, self._tail.log
                yield SearchListener(listener, log, search, filter, revisions=revisions, caller=who)
            else:
                yield listener

    async def _told(
        self, entries: Sequence[Entry], filter: Filter, who: str, *, names: bool, sentence: bool
    ) -> Sequence[Entry]:
        """The entries with what a reader wants to be told beside them; without names that cannot be looked up now."""
        if names and entries:
            with suppress(RequestError, StoreUnavailable):
                entries = await with_names(self._search, entries, filter, caller=who, timeout=PATIENCE)
        if not sentence or not entries:
            return entries
        catalogue = self._catalogue()
        async with self._tail.turn():
            return [one._replace(event=add_sentence(one.event, catalogue)) for one in entries if one.event is not None]


def _messages(entries: Sequence[Entry]) -> list[bytes]:
    """Each event as a message. Stored events have no line breaks; they are JSON, written by orjson."""
    return [
        b"id: %b\ndata: %b\n\n" % (_cursor(entry.position), entry.event) for entry in entries if entry.event is not None
    ]


def _behind(request: web.Request, after: int) -> bytes:
    cursor = write_cursor(LogCursor(after))
    rest = [(name, value) for name, value in request.query.items() if name != "cursor"]
    path = f"/events?{urlencode([('order', 'log'), ('cursor', cursor), *rest])}"
    return b"event: behind\ndata: %b\n\n" % orjson.dumps({"cursor": cursor, "path": path})


def _cursor(position: int) -> bytes:
    return write_cursor(LogCursor(position)).encode()


async def _caller_now(request: web.Request) -> object:
    """Who calls, as it is by now: keys are revoked and tokens run out.

    Raises:
        RequestError: 401, nobody may read with this token any more; 403, not any more with its permissions.
    """
    await learn_caller(request)
    return authorize(request, Permission.READ)
