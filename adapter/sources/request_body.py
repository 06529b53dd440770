"""The body of a request, read and unpacked: bounded in bytes and time, and taken from a budget as it grows."""

from __future__ import annotations

import asyncio
import zlib
from contextlib import suppress
from io import BytesIO

from aiohttp import HttpVersion11, hdrs, web

from adapter.errors import RequestError
from adapter.sources.budget import Share, busy

#: Bytes that are unpacked at a time: out of so many packed ones, into so many.
_PACKED = 16 * 1024
_UNPACKED = 256 * 1024

#: Bytes after which other requests get a turn.
_TURN = 1024 * 1024

#: Members of a gzip body. Each costs some microseconds, however small it is.
MEMBERS_LIMIT = 1000

#: Bytes that an open request costs beside what was sent of it.
_OPEN_REQUEST = 16 * 1024


async def read_body(request: web.Request, share: Share, *, limit: int, timeout: float) -> bytes:
    """The body as it was sent, at most ``limit`` bytes of it, complete ``timeout`` seconds from now.

    Raises:
        RequestError: 400 it is broken off or malformed, 408 it took too long, 413 it is longer, 503 the budget is
            used up.
    """
    content = request.content
    if not content.is_eof():
        return await _read_arriving(request, share, limit, timeout)
    # All of it came at once, as small ones do.
    body = content.read_nowait()
    if len(body) > limit:
        raise _too_large(limit)
    share.take(len(body))
    return body


async def _read_arriving(request: web.Request, share: Share, limit: int, timeout: float) -> bytes:
    content = request.content
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    share.take(_OPEN_REQUEST + sum(len(name) + len(value) for name, value in request.raw_headers))
    if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue" and request.version >= HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer itself has not begun
    received = BytesIO()
    gave_way = False

    def give_way() -> None:
        nonlocal gave_way
        gave_way = True
        with suppress(RuntimeError):  # it has run out at the same moment
            deadline.reschedule(asyncio.get_running_loop().time())

    try:
        async with asyncio.timeout(timeout) as deadline:
            share.arriving(give_way)
            while piece := await content.readany():
                if received.tell() + len(piece) > limit:
                    raise _too_large(limit)
                share.take(len(piece))
                received.write(piece)
        return received.getvalue()
    except TimeoutError:
        if gave_way:
            raise busy("all requests together hold as many bytes as they may") from None
        raise RequestError(408, "Body too slow", f"the body was not complete after {timeout:g} seconds") from None
    except (ConnectionError, web.RequestPayloadError) as error:
        # The stream keeps this error, which would keep all that was called here, and so itself.
        error.__traceback__ = None
        raise RequestError(400, "Not readable", "the body ends in the middle, or its chunks are malformed") from None
    finally:
        share.arrived()
        received.close()


async def unpack(body: bytes, encoding: str, share: Share, *, limit: int) -> bytes:
    """The body without the packing that ``encoding`` (a value of Content-Encoding) names, at most ``limit`` bytes of
    it. What was taken from the budget for the packed body is given back.

    Raises:
        RequestError: 400 it is not packed so, 413 it is longer or has too many members, 415 the packing is not known,
            503 the budget is used up.
    """
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return body
    if name not in ("gzip", "x-gzip"):
        detail = f"Content-Encoding {encoding[:40]!r} is not taken; send gzip, or the plain body"
        raise RequestError(415, "Content encoding not supported", detail, headers={"Accept-Encoding": "gzip"})
    unpacked = BytesIO()
    packed = memoryview(body)
    reader = None
    members, turn = 0, _TURN
    try:
        for at in range(0, len(packed), _PACKED):
            rest: bytes | memoryview = packed[at : at + _PACKED]
            while rest:
                if reader is None or reader.eof:  # the next member
                    members += 1
                    if members > MEMBERS_LIMIT:
                        raise _too_many_members()
                    reader = zlib.decompressobj(zlib.MAX_WBITS | 16)
                piece = reader.decompress(rest, _UNPACKED)
                rest = reader.unused_data if reader.eof else reader.unconsumed_tail
                share.take(len(piece))
                unpacked.write(piece)
                if unpacked.tell() > limit:
                    detail = f"unpacked, the body has more than {limit} bytes; send fewer events at a time"
                    raise RequestError(413, "Body too large", detail, limit=limit)
                if unpacked.tell() >= turn:
                    turn = unpacked.tell() + _TURN
                    await asyncio.sleep(0)
    except zlib.error:
        raise RequestError(400, "Not readable", "the body is not gzip, though Content-Encoding says so") from None
    if reader is not None and not reader.eof:
        raise RequestError(400, "Not readable", "the gzip body ends in the middle")
    share.give(len(body))
    return unpacked.getvalue()


def _too_large(limit: int) -> RequestError:
    return RequestError(413, "Body too large", f"a body has at most {limit} bytes", limit=limit)


def _too_many_members() -> RequestError:
    detail = f"the gzip body has more than {MEMBERS_LIMIT} members; pack it as one"
    return RequestError(413, "Body too large", detail, limit=MEMBERS_LIMIT)
