"""How commands reach a service: one that is named by its address, or the one that runs on the data folder, or else one
opened for them in this process; so that there is one way to do each thing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from ssl import SSLContext
from typing import Any, NoReturn, TypeVar

import orjson
import typer
from aiohttp import ClientError, ClientPayloadError, ClientResponse, ClientSession, ClientTimeout, TCPConnector
from rich.console import Console

from adapter.commands.options import At
from adapter.commands.output import shown
from adapter.commands.reaching import Remote, find_remote, told
from adapter.errors import AdapterError, ConfigError
from adapter.folder import in_use, read_tokens, service_url
from adapter.formats.text import harmless
from adapter.log.opening import file_of
from adapter.logs import configure_logs
from adapter.neighbours import read_announcements
from adapter.settings import Settings, load_settings
from adapter.tokens import read_shared_tokens

#: Seconds that a service which is just starting gets to say where it listens.
START_TIMEOUT = 5.0
#: Seconds within which one of several services has to answer.
ANSWERS = 2.0
#: Seconds until a connection is there, and for which an answer may be silent.
CONNECTED, SILENT = 20.0, 300.0
#: Bytes of an answer, or of one line of an answer that is read line by line. Exports have no bound.
ANSWER_SIZE = 64 * 1024 * 1024

T = TypeVar("T")

_errors = Console(stderr=True, highlight=False)


class Refused(AdapterError):
    """The service refused; says why."""


class NotRunning(AdapterError):
    """There is no service to ask, at this moment."""


class Unavailable(Refused):
    """The service cannot answer now, or is asked too much (429, 502, 503, 504); it may later."""


@dataclass(frozen=True, slots=True)
class Client:
    """An HTTP session with a token. Redirects are never followed: the token is for that address alone."""

    session: ClientSession
    #: Whether the service was opened for this command, and ends with it.
    own: bool

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Any = None,
        body: Any = None,
        data: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout: ClientTimeout | None = None,
    ) -> AbstractAsyncContextManager[ClientResponse]:
        """An answer, whatever it is; ``body`` is sent as JSON, ``data`` as it is."""
        # Below the service's address, which may have a path.
        return self.session.request(
            method,
            path.removeprefix("/"),
            params=query,
            json=body,
            data=data,
            headers=headers,
            allow_redirects=False,
            timeout=timeout or self.session.timeout,
        )

    @asynccontextmanager
    async def get(self, path: str, query: list[tuple[str, str]]) -> AsyncIterator[ClientResponse]:
        """A successful answer.

        Raises:
            Refused: with the service's reason.
        """
        async with self.request("GET", path, query=query) as response:
            if response.status != 200:
                raise await _refused(response)
            yield response

    async def ask(self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None) -> Any:
        """The JSON of a successful answer; ``body`` is sent as JSON.

        Raises:
            Refused: with the service's reason.
        """
        async with self.request(method, path, body=body, headers=headers) as response:
            if response.status >= 300:
                raise await _refused(response)
            return orjson.loads(await read_answer(response))

    async def lines(
        self,
        path: str,
        query: list[tuple[str, str]],
        body: Any = None,
        *,
        data: AsyncIterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Any]:
        """The lines of a successful answer to a POST, as JSON, however long it takes; ``body`` is sent as JSON,
        ``data`` as it comes.

        Raises:
            AdapterError: the service refused, or broke off.
        """
        patient = ClientTimeout(total=None)
        asked = self.request("POST", path, query=query, body=body, data=data, headers=headers, timeout=patient)
        async with asked as response:
            if response.status >= 300:
                raise await _refused(response)
            rest = b""
            try:
                async for chunk in response.content.iter_any():
                    *lines, rest = (rest + chunk).split(b"\n")
                    if len(rest) > ANSWER_SIZE:
                        raise _too_large()
                    for line in lines:
                        yield orjson.loads(line)
            except ClientPayloadError:
                raise AdapterError("the service broke off; its log says why") from None


@asynccontextmanager
async def open_client(at: At, *, running: bool = False) -> AsyncIterator[Client]:
    """A client of the service that is meant; with ``running``, none is opened in this process.

    Raises:
        ConfigError: no token for it is known, or the folder cannot be used.
        NotRunning: there is none.
    """
    remote = find_remote(at)
    if remote is None:
        settings = load_settings(at.config, {"data": {"folder": at.data}} if at.data else {})
        async with _open_local(settings, running=running) as client:
            yield client
        return
    async with open_remote(remote) as client:
        yield client


@asynccontextmanager
async def open_remote(remote: Remote) -> AsyncIterator[Client]:
    """A client of a service that is named by its address.

    Raises:
        ConfigError: the file of authorities cannot be read.
    """
    if remote.is_plain:
        tell([f"{remote.url}: plain http: the token and the events can be read on the way; use https"])
    async with _session(remote.url, remote.token, remote.tls()) as session:
        yield Client(session, own=False)


def _session(url: str, token: str, tls: SSLContext | bool = True) -> ClientSession:
    headers = {"Authorization": f"Bearer {token}"}
    # An answer may be long, but not silent for long.
    timeout = ClientTimeout(total=None, sock_connect=CONNECTED, sock_read=SILENT)
    return ClientSession(url, headers=headers, connector=TCPConnector(ssl=tls), timeout=timeout)


@asynccontextmanager
async def _open_local(settings: Settings, *, running: bool) -> AsyncIterator[Client]:
    """A client of the service of these settings' data folder. Raises: as `open_client`."""
    folder = settings.data.folder.absolute()
    async with AsyncExitStack() as stack:
        own = False
        stored_at = settings.store.url
        shared = None if stored_at is None or file_of(stored_at.get_secret_value()) else stored_at.get_secret_value()
        if shared is not None and (found := await _any_over(shared, settings)) is not None:
            url, token = found
        elif in_use(folder):
            url = await _running(folder)
            configured = settings.auth.admin_token
            token = configured.get_secret_value() if configured else read_tokens(folder).admin
        elif running and (shared is not None or _has_log(settings)):
            raise NotRunning("no service runs on this machine with these settings; start with idp-adapter serve")
        elif shared is not None or _has_log(settings):
            from adapter.commands.local import open_local_service

            configure_logs("warning", "console")
            service = await stack.enter_async_context(open_local_service(settings))
            url, token, own = service.url, service.admin_token, True
        else:
            what = "there is no log in it" if folder.is_dir() else "there is no such data folder"
            raise ConfigError(
                f"{folder}: {what}; start with idp-adapter serve, or name it: --data. A service "
                "elsewhere: idp-adapter login --url URL"
            )
        if token is None:
            raise ConfigError(
                "the administrator's token is not known here; name the settings of the service: --config FILE, or set "
                "IDP_ADAPTER_AUTH__ADMIN_TOKEN as for the service"
            )
        yield Client(await stack.enter_async_context(_session(f"{url}/", token)), own)


def run(work: Callable[[Client], Coroutine[Any, Any, T]], at: At) -> T:
    """Do some work with a client of the service that is meant; errors become a message and an exit code."""

    async def working() -> T:
        async with open_client(at) as client:
            return await work(client)

    return ended(working())


def ended(work: Coroutine[Any, Any, T]) -> T:
    """What some work that asks a service comes to; errors become a message and an exit code."""
    try:
        return asyncio.run(work)
    except (ClientError, TimeoutError, orjson.JSONDecodeError) as error:
        fail(told(error))
    except AdapterError as error:
        fail(str(error))


def tell(hints: Iterable[str]) -> None:
    """Say what in a question looks like a slip, beside the answer."""
    for hint in hints:
        _errors.print(harmless(hint), style="yellow", markup=False, soft_wrap=True)


def fail(message: str) -> NoReturn:
    """Say what went wrong, and end the command."""
    _errors.print(shown(message), style="red", markup=False, soft_wrap=True)
    raise typer.Exit(1)


async def _any_over(log_url: str, settings: Settings) -> tuple[str, str | None] | None:
    """Where one of the services over a shared log answers, and the administrator's token; ``None`` if none does."""
    from adapter.commands.local import open_log

    async with open_log(log_url, settings) as log:
        announced, _ = await read_announcements(log)
        configured = settings.auth.admin_token
        token = configured.get_secret_value() if configured else (await read_shared_tokens(log)).admin
    async with ClientSession(timeout=ClientTimeout(total=ANSWERS)) as session:
        for one in announced.values():
            with suppress(ClientError, TimeoutError, ValueError):
                async with session.get(f"{one.url}/healthz") as response:
                    if response.status == 200:
                        return one.url, token
    return None


def _has_log(settings: Settings) -> bool:
    """Whether a log in a file, or what is left of one, is there to be opened: a question begins none."""
    folder, stored_at = settings.data.folder, settings.store.url
    file = folder / "log.sqlite" if stored_at is None else file_of(stored_at.get_secret_value())
    try:
        return any(one is not None and one.exists() for one in (file, folder / "search.sqlite"))
    except PermissionError:
        return True  # to open it says so


async def _running(folder: Path) -> str:
    """Where the service that holds the folder listens."""
    deadline = asyncio.get_running_loop().time() + START_TIMEOUT
    while (url := service_url(folder)) is None:
        if asyncio.get_running_loop().time() > deadline:
            raise ConfigError(f"{folder}: is in use by a service that is starting or stopping; try again")
        await asyncio.sleep(0.05)
    return url


async def read_answer(response: ClientResponse) -> bytes:
    """The body of an answer.

    Raises:
        AdapterError: it is larger than any that is asked for.
    """
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > ANSWER_SIZE:
            raise _too_large()
    return bytes(body)


def _too_large() -> AdapterError:
    return AdapterError(f"the answer is larger than {ANSWER_SIZE >> 20} MiB; ask for less at a time, or export")


async def _refused(response: ClientResponse) -> Refused:
    kind = Unavailable if response.status in (429, 502, 503, 504) else Refused
    return kind(await _refusal(response))


async def _refusal(response: ClientResponse) -> str:
    where = response.url.origin()
    if response.status == 401:
        return f"{where}: this token is not known there (401); log in again, or give another one: --token-file"
    if 300 <= response.status < 400:
        return f"{where}: answers that it is elsewhere: {response.headers.get('Location')}; give that as --url"
    try:
        problem = orjson.loads(await read_answer(response))
        return f"{problem['title']}: {problem['detail']}"
    except (ValueError, KeyError, TypeError):
        return f"{where}: the service answered {response.status}"
