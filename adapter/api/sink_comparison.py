"""What a sink got, held against another sink or against a recording of another sender, over HTTP.

The answer is JSON, a line at a time: how far it is, and at last the result.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
from aiohttp import HttpVersion11, hdrs, web
from pydantic import BaseModel

from adapter.api.attempts import SINK, known_sink
from adapter.api.feed import read_moment, refused
from adapter.api.operation import (
    BODY_READING,
    Answer,
    Body,
    Operation,
    Parameter,
    caller,
    told_to_caller,
)
from adapter.api.slots import Slots
from adapter.api.stream import streamed
from adapter.delivery.select import Selection
from adapter.delivery.why import Present
from adapter.errors import RequestError, unknown_sink
from adapter.log.protocol import Store
from adapter.mapping.body import NDJSON
from adapter.mapping.catalogue import Catalogue
from adapter.settings import Permission
from adapter.sink_comparison.comparing import Compared, Comparing
from adapter.sink_comparison.comparison import MOST_TOLD, TOLD, CompareLine, Looked
from adapter.sink_comparison.recording import MOST, Recording, TooMany, open_recording
from adapter.sinks.settings import SinkSettings
from adapter.timestamps import SCHEMA

#: Between two lines that say how far it is, seconds.
TELLING = 0.5
#: What happened less than so long ago may be on its way still; milliseconds.
QUIET = 60_000
#: Bytes of one body of a recording, and bytes that are read before they are taken.
LINE, PIECE = 1024 * 1024, 1024 * 1024


class SinkComparisonPages:
    """Compares sinks."""

    def __init__(
        self,
        log: Store,
        sinks: Callable[[], Sequence[SinkSettings]],
        select: Callable[[SinkSettings], Selection],
        present: Callable[[str], Awaitable[Present]],
        catalogue: Callable[[], Catalogue],
        folder: Path,
        now: Callable[[], int],
    ) -> None:
        """``present`` tells what a sink is doing; ``folder``: where recordings lie while they are compared; ``now``
        gives epoch milliseconds."""
        self._log = log
        self._sinks = sinks
        self._select = select
        self._present = present
        self._catalogue = catalogue
        self._folder = folder
        self._now = now
        self._slots = Slots("comparisons", each=1, together=2)

    def operations(self) -> list[Operation]:
        told = {"type": "integer", "minimum": 0, "maximum": MOST_TOLD, "default": TOLD}
        return [
            Operation(
                "POST", "/sinks/{name}/compare", self.compare,
                "Which events a sink got that another one did not, and the other way round: another sink, or the "
                "bodies that another sender posted, one a line",
                {200: Answer("A line each time it gets on, and one with the result.", (NDJSON[0],), CompareLine)},
                Permission.SINKS,
                [
                    SINK,
                    Parameter("other", "Another sink; without one the body is the recording"),
                    Parameter("from", "Events that happened at or after this timestamp; default: from where both sinks "
                              "began, or the earliest event of the recording", SCHEMA),
                    Parameter("to", "Events that happened before this timestamp; default: a minute ago, or behind the "
                              "last event of the recording", SCHEMA),
                    Parameter("examples", "Events of each group that are told", told),
                ],
                Body((NDJSON[0], "application/json"), required=False,
                     examples={"application/json": {"id": "1", "time": 1_790_000_000_000, "type": "LOGIN"}}),
                errors=(409,),
            )
        ]  # fmt: skip

    async def compare(self, request: web.Request) -> web.StreamResponse:
        sinks = {one.name: one for one in self._sinks()}
        name = known_sink(request, list(sinks))
        other = request.query.get("other")
        if other is not None and other not in sinks:
            raise unknown_sink(other, sinks)
        if other == name:
            raise RequestError(400, "Bad parameter", "a sink is compared with another one", parameter="other")
        since, until = read_moment(request, "from", self._now()), read_moment(request, "to", self._now())
        if since is not None and until is not None and since >= until:
            raise RequestError(400, "Bad parameter", "from must be before to", parameter="from")
        told = _number(request.query.get("examples"))
        quiet = self._now() - QUIET
        with self._slots.taken(caller(request)):
            if other is not None:
                return await self._answer(
                    request, self._compared(request, sinks[name]), self._compared(request, sinks[other]), since,
                    quiet if until is None else until, told,
                )  # fmt: skip
            async with self._recorded(request) as recording:
                first, last = await asyncio.to_thread(recording.span)
                if not recording.told.bodies:
                    lines = recording.told.unreadable
                    said = f"none of its {lines} lines is one" if lines else "there is none in it"
                    detail = f"send the bodies that the other sender posted, one a line, or name another sink; {said}"
                    raise RequestError(400, "No events", detail)
                since = first if since is None else since
                if until is None:
                    until = quiet if last is None else min(quiet, last + 1)
                await asyncio.to_thread(recording.keep, since, until)
                sink = self._compared(request, sinks[name])
                return await self._answer(request, sink, recording, since, until, told)

    async def _answer(
        self,
        request: web.Request,
        sink: Compared,
        other: Compared | Recording,
        since: int | None,
        until: int,
        told: int,
    ) -> web.StreamResponse:
        canonical = self._catalogue().canonical
        comparing = Comparing(self._log, sink, other, canonical, since=since, until=until, told=told)
        clock = asyncio.get_running_loop().time
        async with streamed(request, NDJSON[0]) as stream:
            told_at = clock()

            async def tell(looked: Looked) -> None:
                nonlocal told_at
                if clock() - told_at >= TELLING:
                    told_at = clock()
                    await stream.write(_line("progress", looked))

            await stream.write(_line("result", await comparing.run(tell)))
        return stream.response

    def _compared(self, request: web.Request, settings: SinkSettings) -> Compared:
        return Compared(settings.name, self._select(settings), self._present, told_to_caller(request))

    @asynccontextmanager
    async def _recorded(self, request: web.Request) -> AsyncIterator[Recording]:
        """The recording that the request brings.

        Raises:
            RequestError: it is broken off, too slow, or too large.
        """
        with open_recording(self._folder, self._catalogue().canonical) as recording:
            rest, lines, size = b"", list[bytes](), 0
            async for piece in _pieces(request):
                *whole, rest = (rest + piece).split(b"\n")
                if len(rest) > LINE:
                    raise RequestError(413, "Body too large", f"a line has at most {LINE} bytes", limit=LINE)
                lines += whole
                size += len(piece)
                if size >= PIECE:
                    await _add(recording, lines)
                    lines, size = [], 0
            await _add(recording, [*lines, rest])
            yield recording


async def _pieces(request: web.Request) -> AsyncIterator[bytes]:
    """The body as it comes: of any length, since it is not kept in memory.

    Raises:
        RequestError: it is broken off, or nothing of it comes for too long.
    """
    if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue" and request.version >= HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer itself has not begun
    patience = request.app[BODY_READING].timeout
    try:
        while True:
            async with asyncio.timeout(patience):
                piece = await request.content.readany()
            if not piece:
                return
            yield piece
    except TimeoutError:
        detail = f"nothing of the body came for {patience:g} seconds"
        raise RequestError(408, "Body too slow", detail) from None
    except (ConnectionError, web.RequestPayloadError):
        detail = "the body ends in the middle, or its chunks are malformed"
        raise RequestError(400, "Not readable", detail) from None


async def _add(recording: Recording, lines: Sequence[bytes]) -> None:
    try:
        await asyncio.to_thread(recording.add, lines)
    except TooMany:
        detail = f"a recording has at most {MOST} lines; compare a shorter time, with the bodies of that time alone"
        raise RequestError(413, "Body too large", detail, limit=MOST) from None


def _number(text: str | None) -> int:
    if text is None:
        return TOLD
    if not (text.isascii() and text.isdecimal() and len(text) <= 4 and int(text) <= MOST_TOLD):
        raise refused("examples", text, f"a whole number from 0 to {MOST_TOLD}")
    return int(text)


def _line(name: str, told: BaseModel) -> bytes:
    return orjson.dumps({name: told.model_dump(mode="json")}) + b"\n"
