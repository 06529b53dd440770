"""An answer that is written piece by piece: what becomes of it when its reader leaves or does not read, or when we
fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import structlog
from aiohttp import web

from adapter.api.operation import is_revoked, json_answer
from adapter.breaking_off import break_off
from adapter.errors import RequestError
from adapter.problem import SECURITY_HEADERS

#: Seconds after which a reader that takes nothing more of an answer is cut off.
READING_TIMEOUT = 60.0
#: Bytes that are handed to a connection at once; so many again lie in its buffer at most.
PIECE = 64 * 1024

_log = structlog.get_logger("adapter.api")


class Stream:
    """An answer that has begun."""

    def __init__(
        self, request: web.Request, response: web.StreamResponse, reading_timeout: float, *, empty: bool
    ) -> None:
        self.response = response
        self._request = request
        self._reading_timeout = reading_timeout
        #: Whether only its head is asked for.
        self._empty = empty

    async def write(self, data: bytes) -> None:
        """Write more, as fast as it is read.

        Raises:
            TimeoutError: nothing of it was read for a long time.
            ConnectionError: the reader has left.
            RequestError: 401, his key was revoked, or expired, meanwhile.
        """
        if self._empty:
            return
        pieces = memoryview(data)
        for start in range(0, len(data), PIECE):
            if is_revoked(self._request):
                raise RequestError(401, "Unauthorized", "the key was revoked, or expired, while its answer was written")
            async with asyncio.timeout(self._reading_timeout):
                await self.response.write(pieces[start : start + PIECE])


@asynccontextmanager
async def streamed(
    request: web.Request,
    media: str,
    headers: Mapping[str, str] | None = None,
    *,
    length: int | None = None,
    reading_timeout: float = READING_TIMEOUT,
) -> AsyncIterator[Stream]:
    """An answer that has begun, to be written within the context, whose end is its own. On an error the connection is
    broken off: without the last chunk, or so many bytes (``length``), the receiver sees that it does not have the
    whole. A reader that takes nothing for ``reading_timeout`` seconds is cut off."""
    response = web.StreamResponse(headers={**SECURITY_HEADERS, "Content-Type": media, **(headers or {})})
    response.content_length = length
    await response.prepare(request)
    try:
        yield Stream(request, response, reading_timeout, empty=request.method == "HEAD")
        async with asyncio.timeout(reading_timeout):
            await response.write_eof()
    except ConnectionError:
        _log.info("answer_left", path=request.path)
    except TimeoutError:
        _log.warning("answer_not_read", path=request.path, seconds=reading_timeout)
        break_off(request)
    except RequestError as error:
        _log.warning("answer_broken_off", path=request.path, why=str(error))
        break_off(request)
    except Exception as error:
        _log.error("answer_broken_off", path=request.path, exc_info=error)
        break_off(request)


async def sent_json(
    request: web.Request, body: bytes, *, reading_timeout: float = READING_TIMEOUT
) -> web.StreamResponse:
    """An answer of JSON that is text already; a long one is written as fast as it is read, before this returns."""
    if len(body) <= PIECE:
        return json_answer(body)
    sending = streamed(request, "application/json", length=len(body), reading_timeout=reading_timeout)
    async with sending as stream:
        await stream.write(body)
    return stream.response
