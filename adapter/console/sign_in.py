"""Signing in: by a link that the service prints, by a key, or at an issuer."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl, urlencode

import orjson
from aiohttp import hdrs, web

from adapter.access import Access
from adapter.api.operation import BODY_READING, expect_later
from adapter.browser import Site, is_same, local_path, refuse_foreign
from adapter.console.problems import told_of
from adapter.console.rendering import render
from adapter.console.tries import Tries
from adapter.console.visit import HEADERS, Visit
from adapter.console.zones import zone_of
from adapter.errors import RequestError
from adapter.formats.text import harmless
from adapter.keys.sessions import LASTS, LINK_PREFIX, SESSION_PREFIX, Sessions
from adapter.keys.stored_sessions import Session
from adapter.principal import Principal
from adapter.sign_ins import Begun, SignIns
from adapter.sources.request_body import read_body

#: Bytes of a form.
_FORM = 16_384
HOME = "/ui/"
#: Where issuers send people back to; what is remembered of them meanwhile, and for how long, seconds.
_CALLBACK = "/ui/oidc/callback"
_BEGUN, _AWAY = "sign-in", 600


class SignIn:
    """The pages of who is not signed in, and the end of a session."""

    def __init__(self, access: Access, sessions: Sessions, sign_ins: SignIns, site: Site, tries: Tries) -> None:
        self._access = access
        self._sessions = sessions
        self._sign_ins = sign_ins
        self._site = site
        self._tries = tries

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/ui/sign-in", self._guarded(self._show)),
            web.post("/ui/sign-in", self._guarded(self._by_key), expect_handler=expect_later),
            web.get("/ui/sign-in/{token}", self._guarded(self._show_link)),
            web.post("/ui/sign-in/{token}", self._guarded(self._by_link), expect_handler=expect_later),
            web.get("/ui/oidc/begin", self._guarded(self._begin)),
            web.get(_CALLBACK, self._guarded(self._by_issuer)),
        ]

    def address(self, wanted: str = HOME) -> str:
        """The address of the page to sign in, from which it goes on to a path."""
        path = local_path(wanted)
        query = "" if path is None or path == HOME else "?" + urlencode({"next": path})
        return f"{self._site.prefix}/ui/sign-in{query}"

    def problem(self, request: web.Request, error: Exception) -> web.Response:
        """A page of what is wrong, for who is not known yet."""
        told = told_of(error)
        response = self._page(request, "sign_in_problem.html", status=told.status, title=told.title, detail=told.detail)
        response.headers.update(told.headers)
        return response

    async def sign_out(self, visit: Visit) -> None:
        """End the visitor's session, here and where he signed in."""
        assert visit.principal.session_id is not None
        ended = await self._sessions.end(visit.principal.session_id, visit.name)
        token = self._site.session(visit.request)
        if ended is not None and token is not None:
            await self._sign_ins.end(ended, token)

    async def _show(self, request: web.Request) -> web.Response:
        wanted = local_path(request.query.get("next", "")) or HOME
        return self._keys_page(request, wanted, None)

    def _keys_page(self, request: web.Request, wanted: str, wrong: str | None) -> web.Response:
        choices, status = self._sign_ins.choices, 200 if wrong is None else 403
        return self._page(request, "sign_in.html", status=status, wanted=wanted, wrong=wrong, choices=choices)

    async def _by_key(self, request: web.Request) -> web.Response:
        form = await self._form(request)
        wanted, token = local_path(form.get("next", "")) or HOME, form.get("token", "").strip()
        with self._tries.one(request, guesses=True) as attempt:
            found = None
            # A session cannot be made out of another one, which would never end.
            if token and not token.startswith((SESSION_PREFIX, LINK_PREFIX)):
                await self._access.learn(token)
                found = self._access.principal(token)
            parent = None if found is None else self._access.parent(token)
            if found is None or parent is None:
                attempt.failed()
                wrong = "This is no token of a key that is known here, or its key has expired or was revoked."
                return self._keys_page(request, wanted, wrong)
        session, made = await self._sessions.open(parent, found.name, "key", address=attempt.address)
        return self._signed_in(request, session, made, wanted)

    async def _show_link(self, request: web.Request) -> web.Response:
        # Whoever looks at the link, as mail programs and chats do, does not use it up.
        with self._tries.one(request) as attempt:
            link = await self._link(request.match_info["token"])
            if link is None:
                attempt.failed()
                raise _no_link()
            who = link[1].name
        return self._page(request, "sign_in_link.html", who=who)

    async def _by_link(self, request: web.Request) -> web.Response:
        await self._form(request)
        token = request.match_info["token"]
        with self._tries.one(request) as attempt:
            found = await self._link(token)
            parent = None if found is None else self._access.parent_of(found[0], token)
            made = (
                None
                if found is None or parent is None
                else await self._sessions.use_link(found[0], parent, address=attempt.address)
            )
            if made is None:
                attempt.failed()
                raise _no_link()
        return self._signed_in(request, *made, HOME)

    async def _begin(self, request: web.Request) -> web.Response:
        """Send somebody to an issuer. What is remembered of him is in a cookie: any service over the log goes on."""
        begun = Begun.make(request.query.get("issuer", ""))
        address = self._sign_ins.address(begun, self._redirect(request))
        wanted = local_path(request.query.get("next", "")) or HOME
        kept = orjson.dumps([begun.issuer, begun.state, begun.nonce, begun.verifier, wanted])
        response = web.Response(status=303, headers={**HEADERS, hdrs.LOCATION: address})
        value = base64.urlsafe_b64encode(kept).decode()
        self._site.set_cookie(response, request, value, seconds=_AWAY, name=_BEGUN)
        return response

    async def _by_issuer(self, request: web.Request) -> web.Response:
        """Somebody comes back from an issuer."""
        query = request.query
        with self._tries.one(request) as attempt:
            try:
                kept = base64.urlsafe_b64decode(request.cookies.get(self._site.cookie(request, _BEGUN), ""))
                *parts, wanted = orjson.loads(kept)
                begun = Begun(*(str(one) for one in parts))
                is_begun = is_same(query.get("state", ""), begun.state)
            except (ValueError, TypeError):
                is_begun = False
            if not is_begun:
                attempt.failed()
                detail = "This browser has not begun to sign in, or more than 10 minutes ago; sign in again."
                raise RequestError(400, "Not signed in", detail)
            if "code" not in query:
                said = harmless((query.get("error_description") or query.get("error") or "it gave no code")[:200])
                raise RequestError(403, "Not signed in", f"{begun.issuer}: {said}")
            try:
                grant = await self._sign_ins.redeem(begun, query["code"][:4096], self._redirect(request))
            except RequestError as error:
                if error.status == 403:
                    attempt.failed()
                raise
        session, token = await self._sign_ins.open(grant, attempt.address)
        response = self._signed_in(request, session, token, local_path(str(wanted)) or HOME)
        self._site.set_cookie(response, request, "", seconds=0, name=_BEGUN)
        return response

    def _redirect(self, request: web.Request) -> str:
        return self._site.address(request) + _CALLBACK

    async def _link(self, token: str) -> tuple[Session, Principal] | None:
        """A link that was not used, and who signs in by it."""
        if not token.startswith(LINK_PREFIX):
            return None
        await self._sessions.learn(token)
        link = self._sessions.find(token)
        if link is None or not link.is_link:
            return None
        principal = self._access.of_session(link, token)
        return None if principal is None else (link, principal)

    async def _form(self, request: web.Request) -> dict[str, str]:
        """
        Raises:
            RequestError: 403, the form is another site's; 400, it cannot be read.
        """
        refuse_foreign(self._site.is_own(request), "load the page again")
        reading = request.app[BODY_READING]
        with reading.budget.share(None) as share:
            body = await read_body(request, share, limit=_FORM, timeout=reading.timeout)
        try:
            return dict(parse_qsl(body.decode("utf-8"), max_num_fields=20))
        except ValueError:
            raise RequestError(400, "Bad request", "the form cannot be read") from None

    def _signed_in(self, request: web.Request, session: Session, token: str, wanted: str) -> web.Response:
        response = web.Response(status=303, headers={**HEADERS, hdrs.LOCATION: self._site.prefix + wanted})
        self._site.set_cookie(response, request, token, seconds=LASTS)
        return response

    def _guarded(
        self, handler: Callable[[web.Request], Awaitable[web.Response]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        """The handler; what goes wrong is a page, too."""

        async def handling(request: web.Request) -> web.Response:
            try:
                return await handler(request)
            except Exception as error:
                return self.problem(request, error)

        return handling

    def _page(self, request: web.Request, template: str, *, status: int = 200, **values: Any) -> web.Response:
        shown = {**values, "alone": False, "visit": None, "theme": request.cookies.get("theme", "system")}
        text = render(template, shown, zone=zone_of(request), prefix=self._site.prefix)
        headers = {**HEADERS, "Referrer-Policy": "same-origin"}
        return web.Response(status=status, text=text, content_type="text/html", charset="utf-8", headers=headers)


def _no_link() -> RequestError:
    detail = "This link is not valid: it was used already, is older than 15 minutes, or its key is gone. Make another "
    return RequestError(404, "No valid link", f"{detail}one with `idp-adapter console link`, or sign in with a key.")
