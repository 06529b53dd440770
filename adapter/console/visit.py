"""One request of a person who is signed in: who that is, what the service's API answers to them, and the page."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import orjson
from aiohttp import ClientConnectionError, ClientPayloadError, ClientResponse, ClientSession, ClientTimeout, hdrs, web
from multidict import MultiDict, MultiDictProxy
from yarl import URL

from adapter.api.headers import CURSOR
from adapter.breaking_off import break_off
from adapter.browser import Site, form_token
from adapter.callers import FORWARDED_FOR
from adapter.console.rendering import render
from adapter.console.zones import zone_of
from adapter.errors import RequestError
from adapter.principal import Principal
from adapter.problem import SECURITY_HEADERS
from adapter.settings import Permission

if TYPE_CHECKING:
    from adapter.console.frame import Section

#: Bytes of an answer that a page is made of.
ANSWER = 64 * 1024 * 1024

#: What a page may do: be seen, run and style itself with files of ours, and ask us.
HEADERS = {
    **SECURITY_HEADERS,
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex, nofollow",
    "Vary": "HX-Request, Cookie",
}

#: What a page asks with: values are texts, numbers or lists of texts; ``None`` is left out.
Params = Mapping[str, str | int | Sequence[str] | None]


class Refused(RequestError):
    """The API did not do what a page asked for, in its own words."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question that a page was made of."""

    path: str
    params: Sequence[tuple[str, str]]
    #: Address of the service.
    base: str

    @property
    def url(self) -> str:
        """The whole address."""
        return str(URL(self.base + self.path, encoded=True).extend_query(self.params))

    @property
    def curl(self) -> str:
        """As a command of a shell in which TOKEN holds a token."""
        return f'curl -H "Authorization: Bearer $TOKEN" {shlex.quote(self.url)}'


@dataclass(slots=True)
class Visit:
    """One request of a signed-in person. ``form`` holds the fields of a form that was sent."""

    request: web.Request
    principal: Principal
    site: Site
    #: The section of the page, and those that are open to the visitor, in their order.
    section: Section | None
    sections: Sequence[Section]
    _token: str = field(repr=False)
    _api: ClientSession = field(repr=False)
    #: Of the person; ``None``: it is not known.
    address: str | None = None
    form: MultiDictProxy[str] = field(default_factory=lambda: MultiDictProxy(MultiDict()))
    #: The GET questions that made the page, and the command line that asks the same.
    asked: list[Question] = field(default_factory=list)
    command_line: str | None = None

    @property
    def name(self) -> str:
        return self.principal.name

    @property
    def permissions(self) -> frozenset[Permission]:
        return self.principal.permissions

    def may(self, permission: Permission | None) -> bool:
        """Whether the visitor has a permission; ``None``: everybody has."""
        return permission is None or permission in self.principal.permissions

    def sees(self, path: str) -> bool:
        """Whether the section whose first page is there is open to the visitor. A link to one that is not would lead
        to a refusal."""
        return any(one.path == path for one in self.sections)

    @property
    def zone(self) -> ZoneInfo:
        """In which times are shown."""
        return zone_of(self.request)

    @property
    def theme(self) -> str:
        """`system`, `light` or `dark`."""
        found = self.request.cookies.get("theme", "")
        return found if found in ("light", "dark") else "system"

    @property
    def here(self) -> str:
        """Path and query of the page that is shown, or from which its form came."""
        return self.site.page(self.request) or (self.section.path if self.section is not None else "/ui/")

    @property
    def csrf(self) -> str:
        """What each form carries."""
        return form_token(self._token)

    @property
    def is_partial(self) -> bool:
        """Whether a script of the page asks for a part of it."""
        headers = self.request.headers
        return "HX-Request" in headers and not {"HX-Boosted", "HX-History-Restore-Request"} & headers.keys()

    def command(self, line: str) -> None:
        """Set the command line that asks what the page shows."""
        self.command_line = line

    # What the API answers

    async def header(self, name: str, path: str, params: Params | None = None) -> str | None:
        """A header of the answer to a GET, asked for without the rest of the answer. Raises like `get`."""
        async with self._answer("HEAD", path, params, None) as answer:
            await _check(answer)
            found: str | None = answer.headers.get(name)
            return found

    async def get(self, path: str, params: Params | None = None) -> Any:
        """The JSON of an answer.

        Raises:
            Refused: the API refuses.
        """
        return _parsed(await self._ask("GET", path, params))

    async def text(self, path: str, params: Params | None = None) -> str:
        """The text of an answer. Raises like `get`."""
        return (await self._ask("GET", path, params)).decode("utf-8", "replace")

    async def post(self, path: str, body: Any = None, params: Params | None = None, *, match: str | None = None) -> Any:
        """The JSON of what is answered to JSON; ``None`` where nothing is. Raises like `get`."""
        return _parsed(await self._ask("POST", path, params, body, match))

    async def post_lines(self, path: str, body: Any = None, params: Params | None = None) -> list[Any]:
        """The same of an answer with JSON a line, which tells how far it is meanwhile."""
        return [orjson.loads(line) for line in (await self._ask("POST", path, params, body)).splitlines()]

    async def put(self, path: str, body: Any = None, params: Params | None = None, *, match: str | None = None) -> Any:
        """Like `post`. ``match``: an ETag; only over what has it still."""
        return _parsed(await self._ask("PUT", path, params, body, match))

    async def patch(self, path: str, body: Any = None, params: Params | None = None) -> Any:
        """Like `post`."""
        return _parsed(await self._ask("PATCH", path, params, body))

    async def delete(
        self, path: str, body: Any = None, params: Params | None = None, *, match: str | None = None
    ) -> Any:
        """Like `post`."""
        return _parsed(await self._ask("DELETE", path, params, body, match))

    async def download(self, path: str, params: Params | None = None, *, name: str) -> web.StreamResponse:
        """The answer to a GET as a file that the browser saves, passed on as it comes, whatever its size. ``name``: of
        the file; plain ASCII. Raises like `get`."""
        async with self._answer("GET", path, params, None, timeout=ClientTimeout(total=None)) as answer:
            await _check(answer)
            headers = {
                **HEADERS,
                hdrs.CONTENT_TYPE: answer.headers.get(hdrs.CONTENT_TYPE, "application/octet-stream"),
                hdrs.CONTENT_DISPOSITION: f'attachment; filename="{name}"',
            }
            if CURSOR in answer.headers:
                # By which an export that breaks off is gone on with.
                headers[CURSOR] = answer.headers[CURSOR]
            response = web.StreamResponse(headers=headers)
            await response.prepare(self.request)
            try:
                async for piece in answer.content.iter_any():
                    await response.write(piece)
            except (ClientConnectionError, ClientPayloadError):
                # The API broke it off, or the browser has left.
                response.force_close()
                break_off(self.request)
                return response
            await response.write_eof()
            return response

    # What is shown

    def page(self, template: str, *, http_status: int = 200, **values: Any) -> web.Response:
        """A page in the layout; its block ``fragment`` alone where a script of the page asks for that."""
        return self._html(template, {**values, "alone": self.is_partial}, http_status)

    def fragment(self, template: str, *, http_status: int = 200, **values: Any) -> web.Response:
        """A template that is no page by itself."""
        return self._html(template, {**values, "alone": True}, http_status)

    def redirect(self, path: str) -> web.Response:
        """Go on to a page of the console, by its path as `url` takes it, with its query."""
        address = self.site.prefix + path
        if self.is_partial:
            return web.Response(status=204, headers={**HEADERS, "HX-Redirect": address})
        return web.Response(status=303, headers={**HEADERS, hdrs.LOCATION: address})

    def _html(self, template: str, values: dict[str, Any], status: int) -> web.Response:
        shown = {**values, "visit": self}
        text = render(template, shown, zone=self.zone, prefix=self.site.prefix, csrf=self.csrf)
        return web.Response(status=status, text=text, content_type="text/html", charset="utf-8", headers=HEADERS)

    async def _ask(
        self, method: str, path: str, params: Params | None, body: Any = None, match: str | None = None
    ) -> bytes:
        pairs = _pairs(params)
        if method == "GET":
            question = Question(path, pairs, self.site.address(self.request))
            if question not in self.asked:
                self.asked.append(question)
        async with self._answer(method, path, params, body, match=match) as answer:
            await _check(answer)
            return await _read(answer)

    def _answer(
        self,
        method: str,
        path: str,
        params: Params | None,
        body: Any,
        *,
        match: str | None = None,
        timeout: ClientTimeout | None = None,
    ) -> Any:
        headers: dict[str, str] = {hdrs.AUTHORIZATION: f"Bearer {self._token}"}
        if self.address is not None:
            headers[FORWARDED_FOR] = self.address
        if match is not None:
            headers[hdrs.IF_MATCH] = match
        data = None
        if body is not None:
            data, headers[hdrs.CONTENT_TYPE] = orjson.dumps(body), "application/json"
        return self._api.request(
            method,
            URL(path, encoded=True).extend_query(_pairs(params)),
            data=data,
            headers=headers,
            allow_redirects=False,
            timeout=timeout or self._api.timeout,
        )


def _pairs(params: Params | None) -> list[tuple[str, str]]:
    pairs = []
    for name, value in (params or {}).items():
        values = [value] if isinstance(value, str | int) else value or []
        pairs += [(name, str(one)) for one in values]
    return pairs


async def _check(answer: ClientResponse) -> None:
    """
    Raises:
        Refused: it is no success.
    """
    if answer.status < 300:
        return
    try:
        problem = orjson.loads(await _read(answer))
    except orjson.JSONDecodeError:
        problem = {}
    if not isinstance(problem, dict):
        problem = {}
    more = {name: value for name, value in problem.items() if name not in ("type", "title", "status", "detail")}
    more = {name: value for name, value in more.items() if isinstance(name, str) and name not in ("self", "headers")}
    title, detail = str(problem.get("title") or answer.reason), str(problem.get("detail") or "")
    kept = {str(name): answer.headers[name] for name in (hdrs.RETRY_AFTER,) if name in answer.headers}
    raise Refused(answer.status, title, detail, headers=kept, **more)


async def _read(answer: ClientResponse) -> bytes:
    """
    Raises:
        Refused: it is too long for a page.
    """
    parts, size = [], 0
    async for piece in answer.content.iter_any():
        size += len(piece)
        if size > ANSWER:
            raise Refused(502, "Too long", f"The answer has more than {ANSWER >> 20} MiB, too much for a page.")
        parts.append(piece)
    return b"".join(parts)


def _parsed(text: bytes) -> Any:
    return orjson.loads(text) if text.strip() else None
