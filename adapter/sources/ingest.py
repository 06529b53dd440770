"""``POST /ingest/{source}``: the door through which providers push."""

from __future__ import annotations

import time
import zlib
from collections.abc import Awaitable, Callable, Mapping, Sequence

import orjson
import structlog
from aiohttp import hdrs, web

from adapter.counts import NO_SOURCE, Counts
from adapter.errors import RequestError
from adapter.mapping.body import JSON, NotReadable, UnknownMedia
from adapter.mapping.table import Table
from adapter.problem import answer
from adapter.sources.authentication import Authenticator, MayIngest
from adapter.sources.intake import Intake, Source, TooManyEvents

_log = structlog.get_logger("adapter.ingest")

#: Made once: of every answer, all but the body is the same.
_ANSWERED = {hdrs.CONTENT_TYPE: JSON}

#: One answer for an unknown source and for wrong credentials, so that names cannot be tried out.
_REFUSED = RequestError(
    401,
    "Unauthorized",
    "No such source, or the request does not prove that it comes from it: present the source's token as its table says "
    "under `auth` (a bearer token, a basic password, a header, a signature, a signed token).",
    headers={"WWW-Authenticate": 'Bearer realm="idp-adapter", Basic realm="idp-adapter"'},
)


class Door:
    """One source, and how it proves itself: as its present table declares."""

    def __init__(self, source: Source, tokens: Sequence[str], may_ingest: MayIngest) -> None:
        self.source = source
        self._tokens = tokens
        self._may_ingest = may_ingest
        self._table: Table | None = None
        self._authenticator: Authenticator

    @property
    def authenticator(self) -> Authenticator:
        """The proofs of the present table."""
        table = self.source.table
        if table is not self._table:
            self._authenticator = Authenticator(table.mapping.auth, self._tokens, self._may_ingest)
            self._table = table
        return self._authenticator


def ingest_handler(
    intake: Intake,
    doors: Mapping[str, Door],
    nobody: Authenticator,
    unpacked_limit: int,
    counts: Counts,
    clock: Callable[[], float] = time.time,
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """The handler of ``POST /ingest/{source}``.

    ``nobody`` is asked where there is no such source, so that the answer takes as long. A body is at most
    ``unpacked_limit`` bytes once it is unpacked (as it is sent, the application's own limit holds). ``clock`` gives
    epoch seconds.
    """

    async def ingest(request: web.Request) -> web.StreamResponse:
        try:
            return await take(request)
        except Exception as error:
            why = str(error) if isinstance(error, RequestError | web.HTTPException) else None
            return refused(request, answer(error), why)

    def refused(request: web.Request, response: web.Response, why: str | None) -> web.Response:
        """What senders are refused, the operator wants to know: above all that a secret does not fit any more."""
        source = request.match_info["source"]
        source = source if source in doors else NO_SOURCE
        counts.refused[source, response.status] += 1
        if why is not None:
            _log.warning("request_refused", source=source, status=response.status, why=why)
        return response

    async def take(request: web.Request) -> web.StreamResponse:
        now = clock()
        headers = request.headers
        body = await request.read()
        door = doors.get(request.match_info["source"])
        unproven = (door.authenticator if door else nobody).refusal(headers, body, now)
        if door is None or unproven is not None:
            return refused(request, answer(_REFUSED), unproven or "there is no such source")
        encoding = headers.get(hdrs.CONTENT_ENCODING)
        if encoding is not None:
            body = _unpacked(body, encoding, unpacked_limit)
        media = request.content_type if hdrs.CONTENT_TYPE in headers else JSON
        try:
            receipts = await intake.take(door.source, body, media, int(now * 1000))
        except NotReadable as error:
            raise RequestError(400, "Not readable", str(error)) from None
        except TooManyEvents as error:
            raise RequestError(413, "Body too large", str(error)) from None
        except UnknownMedia as error:
            raise RequestError(415, "Media type not supported", str(error)) from None
        wanted = door.source.table.answer(body, media, int(now * 1000))
        if wanted is not None:
            return web.Response(body=orjson.dumps(wanted), headers=_ANSWERED)
        return web.Response(status=202, body=orjson.dumps(receipts.as_answer()), headers=_ANSWERED)

    return ingest


def challenge_handler(
    doors: Mapping[str, Door], nobody: Authenticator, clock: Callable[[], float] = time.time
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """The handler of ``GET /ingest/{source}``: tells a provider back what it asks when a hook is registered."""

    async def challenge(request: web.Request) -> web.StreamResponse:
        door = doors.get(request.match_info["source"])
        if not (door.authenticator if door else nobody).proves(request.headers, b"", clock()) or door is None:
            raise _REFUSED
        rule = door.source.table.mapping.challenge
        question = None if rule is None else request.headers.get(rule.header)
        if rule is None or question is None:
            asked = "this provider asks nothing by GET" if rule is None else f"the header {rule.header} is missing"
            raise RequestError(400, "No challenge", f"{asked}; events are sent by POST")
        return web.json_response({rule.answer: question})

    return challenge


def _unpacked(body: bytes, encoding: str, limit: int) -> bytes:
    """The body without its gzip packing, at most ``limit`` bytes of it."""
    if encoding.strip().lower() in ("", "identity"):
        return body
    if encoding.strip().lower() not in ("gzip", "x-gzip"):
        detail = f"Content-Encoding {encoding[:40]!r} is not taken; send gzip, or the plain body"
        raise RequestError(415, "Content encoding not supported", detail, headers={"Accept-Encoding": "gzip"})
    unpacked = bytearray()
    try:
        while body:
            # A gzip body may have several members; each ends the object that reads it.
            reader = zlib.decompressobj(zlib.MAX_WBITS | 16)
            unpacked += reader.decompress(body, limit + 1 - len(unpacked))
            if len(unpacked) > limit:
                detail = f"unpacked, the body has more than {limit} bytes; send fewer events at a time"
                raise RequestError(413, "Body too large", detail, limit=limit)
            if not reader.eof:
                raise RequestError(400, "Not readable", "the gzip body ends in the middle")
            body = reader.unused_data
    except zlib.error:
        raise RequestError(400, "Not readable", "the body is not gzip, though Content-Encoding says so") from None
    return bytes(unpacked)
