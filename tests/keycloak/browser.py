"""What a person does in a browser with Keycloak's pages: follow links, fill in forms, keep cookies."""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html.parser import HTMLParser
from typing import Any

from aiohttp import ClientSession, ClientTimeout, CookieJar
from yarl import URL

from tests.keycloak.server import Keycloak

#: Where the realm's clients have people sent back to; nobody listens there.
BACK = "http://127.0.0.1/app"


class Browser:
    """One person's browser. Keycloak's links are followed on the test's server, whatever host they name."""

    def __init__(self, keycloak: Keycloak, session: ClientSession, back: str) -> None:
        self._keycloak = keycloak
        self._session = session
        self._back = back
        self._page = _Forms("")

    async def begin(self, client: str = "app", *, page: str = "auth", **query: str) -> str | None:
        """Ask for a login, or for ``registrations``: the code that the client gets at once, if it does."""
        return await self._go(
            "GET",
            URL(f"/realms/{self._keycloak.realm}/protocol/openid-connect/{page}").with_query(
                client_id=client, redirect_uri=BACK, response_type="code", scope="openid", **query
            ),
        )

    async def open(self, link: str) -> str | None:
        """Follow a link that came by mail."""
        return await self._go("GET", URL(link))

    async def follow(self, part: str) -> str | None:
        """Follow the page's link that has this in its address."""
        (link,) = {one for one in self._page.links if part in one}
        return await self._go("GET", URL(link))

    async def fill_in(self, **fields: str) -> str | None:
        """Send the page's form with these fields: the code that the client gets, ``None`` as long as there are more
        pages, or an error."""
        action, hidden = self._page.form
        return await self._go("POST", URL(action), data=hidden | fields)

    def hidden(self, name: str) -> str:
        """A value that the page's form carries along."""
        return self._page.form[1][name]

    async def _go(self, method: str, url: URL, **more: Any) -> str | None:
        while True:
            address = URL(self._keycloak.url).join(url.relative() if url.absolute else url)
            async with self._session.request(method, address, allow_redirects=False, **more) as response:
                if response.status not in (302, 303):
                    self._page = _Forms(await response.text())
                    return None
                url = URL(response.headers["Location"])
            if str(url).startswith(self._back):
                return url.query.get("code")
            method, more = "GET", {}


@asynccontextmanager
async def browser(keycloak: Keycloak, back: str = BACK) -> AsyncIterator[Browser]:
    """A browser without any cookie; ``back``: where the client has people sent back to."""
    # Keycloak marks its cookies as secure on loopback.
    jar = CookieJar(unsafe=True, treat_as_secure_origin=URL(keycloak.url))
    async with ClientSession(cookie_jar=jar, timeout=ClientTimeout(60)) as session:
        yield Browser(keycloak, session, back)


def one_time_code(secret: str, now: float) -> str:
    """What an authenticator app shows (RFC 6238: SHA-1, six digits, 30 s). ``now``: epoch seconds."""
    digest = hmac.digest(secret.encode(), struct.pack(">Q", int(now) // 30), hashlib.sha1)
    at = digest[-1] & 15
    return f"{(struct.unpack('>I', digest[at : at + 4])[0] & 0x7FFFFFFF) % 1_000_000:06}"


class _Forms(HTMLParser):
    """The links of a page, and its first form that is posted: where to, with the values that it carries along."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self._forms: list[tuple[str, dict[str, str]]] = []
        self.text = text
        self.feed(text)

    @property
    def form(self) -> tuple[str, dict[str, str]]:
        assert self._forms, self.text
        return self._forms[0]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        has = {name: value or "" for name, value in attrs}
        if tag == "a" and "href" in has:
            self.links.append(has["href"])
        elif tag == "form" and has.get("method", "").lower() == "post":
            self._forms.append((has["action"], {}))
        elif tag == "input" and has.get("type") == "hidden" and "name" in has and self._forms:
            self._forms[-1][1][has["name"]] = has.get("value", "")
