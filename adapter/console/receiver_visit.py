"""Who asks by a receiver's link, and in what form he is answered: a script with the link's token, or a browser with a
cookie in its place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from aiohttp import hdrs, web

from adapter.access import bearer_token
from adapter.api.bodies import read_object
from adapter.api.operation import request_body
from adapter.browser import CSRF_FIELD, is_own, is_same, is_secure, refuse_foreign
from adapter.errors import RequestError
from adapter.sink_management.links import Link, SinkLinks, form_token, session_of

#: The cookie's name, and how long a browser keeps it, seconds; the link is opened again then.
COOKIE, SESSION = "sink-link", 12 * 3600
#: Bytes of a form, and of a JSON object.
SIZE = 16_384


@dataclass(frozen=True, slots=True)
class LinkVisit:
    """Who asks, by which link, and in what form he is answered."""

    link: Link
    #: His browser's session; ``None``: he has the token itself.
    session: str | None
    wants_page: bool

    @property
    def csrf(self) -> str:
        """What the forms of his pages carry."""
        return "" if self.session is None else form_token(self.session)

    async def given(self, request: web.Request) -> dict[str, Any]:
        """The members of a form, or of a JSON object.

        Raises:
            RequestError: 403, it is not from one of our pages.
        """
        body = await request_body(request, SIZE)
        if request.content_type == "application/x-www-form-urlencoded":
            try:
                found = parse_qs(body.decode("utf-8"), strict_parsing=bool(body), max_num_fields=20)
            except ValueError:
                raise RequestError(400, "Bad request", "the form cannot be read") from None
            given: dict[str, Any] = {name: values[-1] for name, values in found.items()}
        else:
            given = read_object(body)
        token = given.pop(CSRF_FIELD, "")
        if self.session is not None and not is_same(token, self.csrf):
            raise RequestError(403, "Forbidden", "The form is not of this session; open the link again.")
        return given


async def visit_of(request: web.Request, links: SinkLinks) -> LinkVisit:
    """Who asks.

    Raises:
        RequestError: 401, without a link that is valid; 403, a form of another site.
    """
    name, in_html = request.match_info["name"], wants_page(request)
    given = request.headers.getall(hdrs.AUTHORIZATION, [])
    if given:
        token = bearer_token(given[0]) if len(given) == 1 else None
        link = None if token is None else await links.by_token(name, token)
        if link is None:
            raise unknown_link()
        return LinkVisit(link, None, in_html)
    cookie = request.cookies.get(COOKIE, "")
    link = await links.by_session(name, cookie)
    if link is None:
        raise unknown_link()
    if request.method not in ("GET", "HEAD"):
        refuse_foreign(is_own(request), "open the link again")
    return LinkVisit(link, cookie.partition(".")[2], in_html)


def set_cookie(response: web.Response, request: web.Request, link: Link, token: str, *, now: int) -> None:
    """Have the browser keep what takes the token's place. ``now``: epoch milliseconds."""
    # Without a path it is for this sink's pages alone, whatever a proxy puts before their address.
    response.set_cookie(
        COOKIE,
        f"{link.id}.{session_of(token.partition('.')[2])}",
        max_age=max(0, min(SESSION, (link.until - now) // 1000)),
        path="",
        httponly=True,
        # Not strict: whoever opens a link out of a mail comes from another site.
        samesite="Lax",
        secure=is_secure(request),
    )


def wants_page(request: web.Request) -> bool:
    """Whether who asks is answered with a page."""
    accepted = request.headers.get(hdrs.ACCEPT, "")
    return hdrs.AUTHORIZATION not in request.headers and ("text/html" in accepted or "json" not in accepted)


def unknown_link() -> RequestError:
    """What to raise for a link that is not valid."""
    detail = "This link is not valid, or not any more: it ended, was revoked, or its session is over. Open the link "
    detail += "again; if that does not help, ask who gave it to you for another one."
    return RequestError(401, "No valid link", detail, headers={"WWW-Authenticate": 'Bearer realm="idp-adapter link"'})
