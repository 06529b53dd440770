"""What a browser sends along with a request: the cookie of a session, from where the request comes, and the token of
our forms; and under which address browsers know the service."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Collection
from dataclasses import dataclass

from aiohttp import hdrs, web
from yarl import URL

from adapter.errors import RequestError

#: In which header scripts of our pages send the token of their forms, and in which field forms do.
CSRF_HEADER, CSRF_FIELD = "X-CSRF", "csrf"
#: The cookie of a session, without what browsers hold it to.
_COOKIE = "console"


def derived(key: str, what: str) -> str:
    """What is made of a secret for one use of it, and does not lead back."""
    made = hmac.digest(key.encode("utf-8", "surrogateescape"), what.encode(), "sha256")
    return base64.urlsafe_b64encode(made).decode().rstrip("=")


def is_same(presented: object, expected: str) -> bool:
    """Whether a token is the one that is expected, in a time that tells nothing about it."""
    return isinstance(presented, str) and hmac.compare_digest(
        presented.encode("utf-8", "surrogateescape"), expected.encode()
    )


def is_secure(request: web.Request) -> bool:
    """Whether the browser asked over https, as far as whoever passes its request on says so."""
    forwarded = request.headers.get("X-Forwarded-Proto", "")
    return request.secure or forwarded.split(",")[0].strip().lower() == "https"


def is_own(request: web.Request, hosts: Collection[str] = ()) -> bool:
    """Whether a browser says that a request comes from one of our pages; ``hosts`` are further names of ours."""
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get(hdrs.ORIGIN)
    # Behind a proxy Host may be the proxy's word for us; pages of others can set neither header.
    own = {request.host, *hosts, *(one.strip() for one in request.headers.get("X-Forwarded-Host", "").split(","))}
    if site is not None and site != "same-origin":
        return False
    if origin is not None:
        return origin.partition("://")[2] in own - {""} or (site == "same-origin" and origin != "null")
    if site is not None:
        return True
    # Of a GET over plain http browsers say neither, but for localhost. No page can name another one as where it stands.
    return _authority(request.headers.get(hdrs.REFERER, "")) in own - {""}


def _authority(address: str) -> str:
    try:
        return URL(address).authority
    except ValueError:
        return ""


def wants_page(request: web.Request) -> bool:
    """Whether a browser asks for a page to show."""
    return "text/html" in request.headers.get(hdrs.ACCEPT, "")


@dataclass(frozen=True, slots=True)
class Site:
    """Where browsers find the service."""

    #: `Server.public_url`.
    public_url: str | None = None

    @property
    def prefix(self) -> str:
        """What stands before the path of each page: empty, or `/path`."""
        return "" if self.public_url is None else URL(self.public_url).path.rstrip("/")

    def is_secure(self, request: web.Request) -> bool:
        """Whether the browser asks over https."""
        return is_secure(request) if self.public_url is None else URL(self.public_url).scheme == "https"

    def address(self, request: web.Request) -> str:
        """The address of the service for whoever asks, without a slash at its end."""
        if self.public_url is not None:
            return self.public_url.rstrip("/")
        return f"{'https' if is_secure(request) else 'http'}://{request.host}"

    def page(self, request: web.Request) -> str | None:
        """Path and query of the page that the browser shows, or asks for: a script says it, and forms come from one;
        ``None``: it is no page of the console."""
        said = request.headers.get("HX-Current-URL")
        if said is None:
            said = request.path_qs if request.method in ("GET", "HEAD") else request.headers.get(hdrs.REFERER, "")
        try:
            return local_path(URL(said).raw_path_qs.removeprefix(self.prefix))
        except ValueError:
            return None

    def is_own(self, request: web.Request) -> bool:
        """Whether a browser says that a request comes from one of our pages."""
        return is_own(request, () if self.public_url is None else (URL(self.public_url).authority,))

    def cookie(self, request: web.Request, name: str = _COOKIE) -> str:
        """The full name of a cookie: other hosts of a domain can set none of these over https."""
        if not self.is_secure(request):
            return name
        return f"__Secure-{name}" if self.prefix else f"__Host-{name}"

    def session(self, request: web.Request) -> str | None:
        """The token of the browser's session; ``None``: it has none."""
        return request.cookies.get(self.cookie(request)) or None

    def session_of_script(self, request: web.Request, *, with_header: bool = True) -> str | None:
        """The token of the browser's session where one of our pages' scripts asks: nobody else's page can send the
        header, nor make a browser say that it was ours. Without ``with_header`` the latter alone is asked for."""
        token = self.session(request)
        if token is None or not self.is_own(request):
            return None
        if with_header and not is_same(request.headers.get(CSRF_HEADER), form_token(token)):
            return None
        return token

    def set_cookie(
        self, response: web.StreamResponse, request: web.Request, value: str, *, seconds: int, name: str = _COOKIE
    ) -> None:
        """Have the browser keep a cookie that no script reads."""
        response.set_cookie(
            self.cookie(request, name), value, max_age=seconds, path=f"{self.prefix}/", httponly=True,
            # Not strict: who comes by a link is signed in all the same.
            samesite="Lax", secure=self.is_secure(request),
        )  # fmt: skip


SITE = web.AppKey("site", Site)


def form_token(session: str) -> str:
    """What the forms of a session carry: who cannot read its pages does not know it."""
    return derived(session, "forms of a session")


def refuse_foreign(is_ours: bool, advice: str) -> None:
    """
    Raises:
        RequestError: 403, a browser says that the request comes from another site, or does not say from where.
    """
    if not is_ours:
        raise RequestError(403, "Forbidden", f"The request does not come from a page of ours; {advice}.")


def local_path(text: str) -> str | None:
    """The path and query of a page of the console, if a text is one and leads nowhere else."""
    # It has to fit into a cookie (`SignIn`), and, written as a value, into the address of the page to sign in.
    is_local = text.startswith("/ui/") and len(text) <= 2000 and text.isprintable() and "\\" not in text
    return text if is_local and ".." not in text.partition("?")[0].split("/") else None
