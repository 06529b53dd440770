"""Connections to the database: what each of them sets, and a few of them for short questions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

import asyncpg

from adapter.errors import ConfigError
from adapter.log.postgresql.address import Address
from adapter.log.postgresql.failures import FAILURES, is_lost, store_error

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]
else:
    Connection = asyncpg.Connection

#: How long it may take to connect, seconds.
CONNECT_TIMEOUT = 5.0

#: Plans are not to depend on statistics, which are old after a fast growth: everything is found by an index, row by
#: row. Compiling the plans of such short questions would cost more than they do.
_SETTINGS = {
    "application_name": "idp-adapter",
    "jit": "off",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "timezone": "UTC",
    "default_transaction_isolation": "read committed",
    # A network that is cut is noticed by the server, too.
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
}

Result = TypeVar("Result")


async def connect(
    address: Address, settings: Mapping[str, str] | None = None, *, timeout: float = CONNECT_TIMEOUT
) -> Connection:
    """A connection to the database; ``settings`` of the server for it beside those of all.

    Raises:
        ConfigError: the URL cannot be used so.
        FAILURES: there is none now.
    """
    given = {**_SETTINGS, "search_path": f'"{address.schema}"', **(settings or {})}
    try:
        async with asyncio.timeout(timeout):
            connection: Connection = await asyncpg.connect(
                address.url, timeout=timeout, server_settings=given, max_cached_statement_lifetime=0
            )
            try:
                await connection.set_type_codec(
                    "uuid", schema="pg_catalog", encoder=bytes, decoder=bytes, format="binary"
                )
            except BaseException:
                connection.terminate()
                raise
    except (ValueError, TypeError):
        # The text of the error may repeat a part of the URL.
        raise ConfigError(f"the store's URL: PostgreSQL at {address.name} cannot be asked with these options") from None
    return connection


class Sessions:
    """A few connections for questions that change nothing when they are asked twice."""

    def __init__(self, address: Address, limit: int, timeout: float, settings: Mapping[str, str] | None = None) -> None:
        """``timeout``: how long an answer may take, seconds, the wait for a connection included; ``settings`` of the
        server for them."""
        self._address = address
        self._settings = settings or {}
        self._timeout = timeout
        self._free: list[Connection] = []
        self._room = asyncio.Semaphore(limit)
        self._asking: set[asyncio.Task[object]] = set()
        self._closed = False

    async def ask(self, question: Callable[[Connection], Awaitable[Result]], *, timeout: float | None = None) -> Result:
        """The answer to a question. A caller who is cancelled does not end it: the connection is used again.

        Raises:
            TimeoutError: the ``timeout`` that was given is over.
            StoreUnavailable: there is no connection now, or no answer in time.
            StoreError: it was refused.
        """
        task = asyncio.ensure_future(self._ask(question, timeout or self._timeout))
        self._asking.add(task)
        task.add_done_callback(self._asked)
        try:
            return await asyncio.shield(task)
        except FAILURES as error:
            if timeout is not None and isinstance(error, (TimeoutError, asyncpg.QueryCanceledError)):
                raise TimeoutError from None
            raise store_error(self._address.name, error) from None

    def _asked(self, task: asyncio.Task[object]) -> None:
        self._asking.discard(task)
        if not task.cancelled():
            task.exception()  # told to whoever asked, if anybody still waits

    async def _ask(self, question: Callable[[Connection], Awaitable[Result]], timeout: float) -> Result:
        async with asyncio.timeout(timeout), self._room:
            while True:
                is_new = not self._free
                connection = await self._connect() if is_new else self._free.pop()
                try:
                    answer = await question(connection)
                except asyncpg.PostgresError as error:
                    if not is_lost(error):
                        self._keep(connection)
                        raise
                    connection.terminate()
                    if is_new:
                        raise
                except FAILURES:
                    connection.terminate()
                    if is_new:
                        raise
                except BaseException:
                    connection.terminate()
                    raise
                else:
                    self._keep(connection)
                    return answer

    async def _connect(self) -> Connection:
        limit = str(int(self._timeout * 1000))
        return await connect(self._address, {"statement_timeout": limit, "lock_timeout": limit, **self._settings})

    def _keep(self, connection: Connection) -> None:
        if self._closed:
            connection.terminate()
        else:
            self._free.append(connection)

    async def close(self) -> None:
        """End the connections; questions that are being answered go on for as long as they may."""
        self._closed = True
        if self._asking:
            await asyncio.wait(self._asking)
        for connection in self._free:
            connection.terminate()
        self._free.clear()
