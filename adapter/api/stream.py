"""An answer that is written piece by piece: what becomes of it when its reader leaves, or when we fail."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import structlog
from aiohttp import web

from adapter.problem import SECURITY_HEADERS

_log = structlog.get_logger("adapter.api")


@asynccontextmanager
async def streamed(
    request: web.Request, media: str, headers: Mapping[str, str] | None = None
) -> AsyncIterator[web.StreamResponse]:
    """An answer that has begun, to be written within the context, whose end is its own. On an error the connection is
    broken off: without the last chunk the receiver sees that it does not have the whole."""
    response = web.StreamResponse(headers={**SECURITY_HEADERS, "Content-Type": media, **(headers or {})})
    await response.prepare(request)
    try:
        yield response
        await response.write_eof()
    except ConnectionError:
        _log.info("answer_left", path=request.path)
    except Exception as error:
        _log.error("answer_broken_off", path=request.path, exc_info=error)
        if request.transport is not None:
            request.transport.abort()
