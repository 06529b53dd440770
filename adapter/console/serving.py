"""The console under ``/ui/``: who may see which page, and what becomes of what goes wrong in one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from urllib.parse import parse_qsl

import structlog
from aiohttp import ClientSession, hdrs, web
from multidict import MultiDict, MultiDictProxy

from adapter.access import Access
from adapter.api.operation import BODY_READING, any_text, expect_later
from adapter.browser import CSRF_FIELD, CSRF_HEADER, Site, is_same, refuse_foreign, wants_page
from adapter.callers import address_of
from adapter.console import static_files
from adapter.console.frame import Handler, Route, Section
from adapter.console.inside import Connect, open_inside
from adapter.console.preferences import ROUTES as PREFERENCES
from adapter.console.problems import told_of
from adapter.console.sections import SECTIONS
from adapter.console.sign_in import SignIn
from adapter.console.visit import HEADERS, Refused, Visit
from adapter.errors import AdapterError, RequestError
from adapter.problem import nothing_here
from adapter.settings import Permission
from adapter.sources.request_body import read_body

#: Where the console begins.
HOME = "/ui/"
#: Bytes and fields of a form of no section.
_FORM, _FIELDS = 16_384, 2_000

_log = structlog.get_logger("adapter.console")


class Console:
    """Answers browsers."""

    def __init__(
        self,
        access: Access,
        site: Site,
        sign_in: SignIn,
        sections: Sequence[Section] = SECTIONS,
        *,
        is_behind_proxy: bool,
    ) -> None:
        """``is_behind_proxy``: like that of `address_of`."""
        self._access = access
        self._is_behind_proxy = is_behind_proxy
        self._site = site
        self._sign_in = sign_in
        self._sections = sections
        self._api: ClientSession | None = None

    @asynccontextmanager
    async def opened(self, connect: Connect) -> AsyncIterator[None]:
        """Pages can ask the API as long as the context lasts; ``connect`` makes connections to it."""
        async with open_inside(connect) as self._api:
            yield

    def routes(self) -> list[web.RouteDef]:
        """All routes, for the application's router."""
        found = [
            web.get("/", self._home),
            web.get("/ui", self._home),
            web.get(static_files.PATH + "/{digest}/{name}", static_files.serve),
            *self._sign_in.routes(),
        ]
        own = [*PREFERENCES, Route("POST", "/ui/sign-out", self._sign_out)]
        if not any(route.path == HOME for section in self._sections for route in section.routes):
            own.append(Route("GET", HOME, self._first))
        found += [self._route(route, None) for route in own]
        found += [self._route(route, section) for section in self._sections for route in section.routes]
        return [*found, web.get("/ui/{path:(?s:.*)}", self._handler(_nothing, None))]

    def _route(self, route: Route, section: Section | None) -> web.RouteDef:
        handler = self._handler(route.handler, section)
        return web.RouteDef(route.method, any_text(route.path), handler, {"expect_handler": expect_later})

    def _handler(
        self, handler: Handler, section: Section | None
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """The handler of a page, behind all that is asked of a visitor."""

        async def handling(request: web.Request) -> web.StreamResponse:
            try:
                visit = await self._visit(request, section)
            except AdapterError as error:
                return self._sign_in.problem(request, error)
            if visit is None:
                return self._to_sign_in(request)
            try:
                if section is not None and not visit.may(section.permission):
                    if request.method in ("GET", "HEAD") and request.path == HOME and visit.sections:
                        # Who may not see the overview begins with the first page that is open.
                        return await self._first(visit)
                    assert section.permission is not None
                    raise RequestError(403, "Forbidden", _lacking(visit, section.permission))
                if request.method in ("GET", "HEAD"):
                    return await handler(visit)
                return await self._with_form(visit, handler, _FORM if section is None else section.form_limit)
            except asyncio.CancelledError:
                raise
            except Exception as error:
                if isinstance(error, Refused) and error.status == 401:
                    return self._to_sign_in(request)
                return _problem(visit, error)

        return handling

    async def _visit(self, request: web.Request, section: Section | None) -> Visit | None:
        token = self._site.session(request)
        if token is None:
            return None
        await self._access.learn(token)
        principal = self._access.principal(token)
        if principal is None or principal.session_id is None:
            return None
        assert self._api is not None
        open_to = [one for one in self._sections if one.is_open_to(principal)]
        address = address_of(request, is_behind_proxy=self._is_behind_proxy)
        return Visit(request, principal, self._site, section, open_to, token, self._api, address)

    async def _with_form(self, visit: Visit, handler: Handler, limit: int) -> web.StreamResponse:
        """The handler's answer to what is no GET: it comes from one of our pages, and of this session.

        Raises:
            RequestError: it does not.
        """
        request = visit.request
        refuse_foreign(self._site.is_own(request), "load the page again")
        reading = request.app[BODY_READING]
        with reading.budget.share(f"console {visit.name}") as share:
            body = await read_body(request, share, limit=min(limit, reading.limit), timeout=reading.timeout)
            # `Request.text`, `json` and `post` go by it.
            request._read_bytes = body
            if request.content_type == "application/x-www-form-urlencoded":
                visit.form = _form(body)
            presented = request.headers.get(CSRF_HEADER) or visit.form.get(CSRF_FIELD, "")
            if not is_same(presented, visit.csrf):
                raise RequestError(403, "Forbidden", "The form is not of this session; load the page again.")
            return await handler(visit)

    def _to_sign_in(self, request: web.Request) -> web.Response:
        # It comes back to where it is now.
        address = self._sign_in.address(self._site.page(request) or HOME)
        if "HX-Request" in request.headers:
            return web.Response(status=204, headers={**HEADERS, "HX-Redirect": address})
        return web.Response(status=303, headers={**HEADERS, hdrs.LOCATION: address})

    async def _home(self, request: web.Request) -> web.Response:
        if request.path == "/" and not wants_page(request):
            return nothing_here()
        return web.Response(status=303, headers={**HEADERS, hdrs.LOCATION: self._site.prefix + HOME})

    async def _first(self, visit: Visit) -> web.Response:
        return visit.redirect(visit.sections[0].path)

    async def _sign_out(self, visit: Visit) -> web.Response:
        await self._sign_in.sign_out(visit)
        response = visit.redirect("/ui/sign-in")
        self._site.set_cookie(response, visit.request, "", seconds=0)
        return response


async def _nothing(visit: Visit) -> web.Response:
    raise RequestError(404, "Not found", "There is no such page.")


def _form(body: bytes) -> MultiDictProxy[str]:
    """
    Raises:
        RequestError: 400, it cannot be read.
    """
    try:
        fields = parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=_FIELDS)
    except ValueError:
        raise RequestError(400, "Bad request", "the form cannot be read") from None
    return MultiDictProxy(MultiDict(fields))


def _lacking(visit: Visit, permission: Permission) -> str:
    return f"{visit.name} lacks the permission {permission.value!r}, which this page needs."


def _problem(visit: Visit, error: Exception) -> web.Response:
    """What is wrong, as a page; for a script of the page as a part of it that takes the place of nothing else."""
    if isinstance(error, web.HTTPException) and error.status < 400:
        raise error
    told = told_of(error)
    shown = visit.fragment if visit.is_partial else visit.page
    template = "problem_part.html" if visit.is_partial else "problem.html"
    response = shown(template, http_status=told.status, title=told.title, detail=told.detail, hints=told.hints)
    response.headers.update(told.headers)
    if visit.is_partial:
        response.headers["HX-Retarget"], response.headers["HX-Reswap"] = "#problem", "innerHTML"
    return response
