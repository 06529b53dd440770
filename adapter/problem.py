"""What a caller is told when something is wrong: problem documents (RFC 9457), for every error alike."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Mapping

import orjson
import structlog
from aiohttp import web

from adapter.errors import RequestError, StoreDamaged, StoreUnanswered, StoreUnavailable

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

MEDIA_TYPE = "application/problem+json"

#: Seconds after which a caller may try again when the store could not write.
RETRY_AFTER = "5"

_log = structlog.get_logger("adapter.http")

_TITLES = {
    400: "Bad request",
    404: "Not found",
    405: "Method not allowed",
    413: "Body too large",
    415: "Media type not supported",
}

#: On every answer: nothing of it is for a browser to guess at, keep or run, and which library of which version serves
#: is for nobody.
SECURITY_HEADERS = {
    "Server": "",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


def problem(
    status: int, title: str, detail: str, *, headers: Mapping[str, str] | None = None, **extra: object
) -> web.Response:
    """One problem document; ``extra`` holds further members, ``headers`` go with it."""
    document = {"type": "about:blank", "title": title, "status": status, "detail": detail, **extra}
    return web.Response(
        status=status,
        body=orjson.dumps(document),
        content_type=MEDIA_TYPE,
        headers={**SECURITY_HEADERS, **(headers or {})},
    )


def nothing_here() -> web.Response:
    """What is answered where there is nothing."""
    return problem(404, "Not found", "There is nothing at this path; /openapi.json lists what there is.")


def answer(error: Exception) -> web.Response:
    """The problem document for an error that a handler raised. What nobody raised on purpose is our bug: it is
    logged with its traceback and told as 500, without a word about the inside."""
    match error:
        case RequestError():
            return problem(error.status, error.title, error.detail, headers=error.headers, **error.extra)
        case StoreUnavailable():
            _log.error("store_unavailable", problem=str(error))
            return problem(
                503,
                "Store unavailable",
                "The store did not answer, and it is not known whether this request was stored; send it again: what "
                "is stored already becomes a duplicate."
                if isinstance(error, StoreUnanswered | StoreDamaged)
                else "The store cannot write now, and nothing of this request was stored; send it again later.",
                headers={"Retry-After": RETRY_AFTER},
            )
        case MemoryError():
            _log.error("out_of_memory")
            detail = "There is no memory for this request now, and nothing of it was stored; send it again later."
            return problem(503, "Out of memory", detail, headers={"Retry-After": RETRY_AFTER})
        case web.HTTPException():
            title = _TITLES.get(error.status, error.reason)
            return problem(error.status, title, error.text or title, headers=_kept(error))
        case _:
            _log.error("request_failed", exc_info=error)
            return problem(500, "Internal error", "The request failed for a reason inside the adapter; see its log.")


def guarded(handler: Handler) -> Handler:
    """The handler, with every error it raises turned into a problem document."""

    @functools.wraps(handler)
    async def guarding(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except Exception as error:
            return answer(error)

    return guarding


def _kept(error: web.HTTPException) -> dict[str, str]:
    return {name: error.headers[name] for name in ("Allow", "Location") if name in error.headers}
