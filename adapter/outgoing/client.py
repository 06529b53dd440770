"""The one HTTP client of the service: guarded, with a deadline, a bounded answer, and no memory of what it was told.

No redirect is followed, no cookie kept, no request repeated, and nothing is taken from the environment.
"""

from __future__ import annotations

import email.utils
import io
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC
from typing import NamedTuple

import aiohttp
from yarl import URL

from adapter import __version__
from adapter.errors import NoReply, Unreached
from adapter.outgoing.answer import ANSWER_LINES, ANSWER_SIZE, AnswerTooLong
from adapter.outgoing.guard import AddressRefused, Guard, open_connector
from adapter.outgoing.proxy import Proxy
from adapter.outgoing.settings import HttpSettings, OutgoingSettings
from adapter.outgoing.tls import make_tls

#: Bodies up to this size are sent in one piece, bytes.
PIECE = 1 << 20


class Reply(NamedTuple):
    """What came back."""

    status: int
    headers: Mapping[str, str]
    #: Nothing where it was not asked for.
    body: bytes


class Client:
    """Makes requests for one sink or source. Made by `open_client`."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        proxied: aiohttp.ClientSession | None,
        proxy: Proxy | None,
        timeout: float,
    ) -> None:
        self._session = session
        self._proxied = proxied
        self._proxy = proxy
        self._timeout = timeout

    async def request(
        self,
        method: str,
        url: URL,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        read: bool = True,
    ) -> Reply:
        """Make one request. Without ``read`` the status line is the answer, whatever becomes of the body behind it.

        Raises:
            Unreached: no connection came about; says why, for people.
            NoReply: no answer came, or not the whole; likewise.
        """
        session, proxy, proxy_headers = self._session, None, None
        if self._proxy is not None and self._proxied is not None and self._proxy.serves(url):
            try:
                self._proxy.check(url)
            except AddressRefused as refusal:
                raise Unreached(str(refusal)) from None
            session, proxy = self._proxied, self._proxy.url
            if url.scheme == "https":
                proxy_headers = self._proxy.headers  # go with the CONNECT, and no farther
            else:
                headers = {**(headers or {}), **self._proxy.headers}
        try:
            async with session.request(
                method,
                url,
                # A large body goes out piece by piece, so that others get their turn between.
                data=body if body is None or len(body) <= PIECE else io.BytesIO(body),
                headers=headers,
                allow_redirects=False,
                proxy=proxy,
                proxy_headers=proxy_headers,
            ) as response:
                if proxy is not None and response.status == 407:
                    raise NoReply(_refused_by_proxy(407))
                if read:
                    return Reply(response.status, response.headers, await response.read())
                await _drain(response)
                return Reply(response.status, response.headers, b"")
        except TimeoutError:
            reason = f"no answer within {self._timeout:g} s"
        except aiohttp.ClientConnectorCertificateError as error:
            why = getattr(error.certificate_error, "verify_message", "") or str(error.certificate_error)
            raise Unreached(f"its certificate is not accepted: {why}; ca_file names the authorities that are") from None
        except aiohttp.ClientConnectorError as error:
            raise Unreached(_cannot_connect(error)) from None
        except AnswerTooLong as error:
            reason = str(error)
        except aiohttp.ServerDisconnectedError:
            reason = "the receiver closed the connection without an answer"
        except aiohttp.ClientHttpProxyError as error:
            reason = _refused_by_proxy(error.status)
        except aiohttp.ClientResponseError:
            # The status in this error is the client library's own, not the receiver's.
            reason = "the answer is not valid HTTP"
        except (aiohttp.ClientError, OSError) as error:
            reason = f"the connection failed: {getattr(error, 'reason', None) or type(error).__name__}"
        raise NoReply(reason)


def read_retry_after(text: str | None, now: float, longest: float) -> float | None:
    """The wait in seconds that a ``Retry-After`` asks for, at most ``longest``; ``None`` if it cannot be read.

    Both forms are read: seconds, and a date. ``now`` is in epoch seconds.
    """
    if text is None:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:10]), longest)
    try:
        timestamp = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    if timestamp.tzinfo is None:
        timestamp = timestamp.replace(tzinfo=UTC)
    return min(max(timestamp.timestamp() - now, 0.0), longest)


def _cannot_connect(error: aiohttp.ClientConnectorError) -> str:
    cause = error.os_error
    if isinstance(cause, AddressRefused):
        return str(cause)
    what = "cannot connect to the proxy" if isinstance(error, aiohttp.ClientProxyConnectionError) else "cannot connect"
    return f"{what}: {cause.strerror or cause}"


def _refused_by_proxy(status: int) -> str:
    hint = "; it wants other proxy_user and proxy_password" if status == 407 else ""
    return f"the proxy answered {status}{hint}"


async def _drain(response: aiohttp.ClientResponse) -> None:
    """Read the rest of an answer, so that its connection can serve again; give it up if it breaks off.

    How much there is to read is bounded by the connector, how long by the session.
    """
    try:
        async for _ in response.content.iter_any():
            pass
    except (aiohttp.ClientError, TimeoutError, OSError):
        response.close()


@asynccontextmanager
async def open_client(
    outgoing: OutgoingSettings,
    own: HttpSettings | None = None,
    *,
    connections: int,
    timeout: float,
    headers: Mapping[str, str] | None = None,
    answer_size: int = ANSWER_SIZE,
    answer_lines: int = ANSWER_LINES,
) -> AsyncIterator[Client]:
    """A client for one sink or source, whose settings are ``own``.

    It has at most so many ``connections``; ``timeout`` is the most seconds of a request, its answer included;
    ``headers`` go with each. Of an answer no more than ``answer_size`` raw bytes and ``answer_lines`` lines are read.

    Raises:
        ConfigError: a file that the settings name cannot be used.
    """
    settings = outgoing.overridden(own)
    tls = make_tls(settings)
    guard = Guard(settings.allow)
    proxy = Proxy(settings, guard) if settings.proxy else None

    def session(guard: Guard | None) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=open_connector(guard, connections, tls=tls, answer_size=answer_size, answer_lines=answer_lines),
            timeout=aiohttp.ClientTimeout(total=timeout),
            headers={
                "User-Agent": f"idp-event-adapter/{__version__}",
                "Accept-Encoding": "identity",
                **(headers or {}),
            },
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
        )

    async with AsyncExitStack() as stack:
        direct = await stack.enter_async_context(session(guard))
        proxied = None if proxy is None else await stack.enter_async_context(session(None))
        yield Client(direct, proxied, proxy, timeout)
