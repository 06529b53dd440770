"""Opens the log in PostgreSQL by its address."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from adapter.errors import AdapterError
from adapter.log.opening import refuse_older
from adapter.log.postgresql.address import read_address
from adapter.log.postgresql.connecting import Connection, connect
from adapter.log.postgresql.failures import FAILURES, opening_error
from adapter.log.postgresql.log import open_postgresql_log
from adapter.log.postgresql.schema import VERSION, check_server, read_version
from adapter.log.protocol import Store


@asynccontextmanager
async def open_store(url: str, *, dictionary: Callable[[], bytes], commit_timeout: float) -> AsyncIterator[Store]:
    """As `adapter.log.opening.open_store`."""
    async with open_postgresql_log(url, dictionary=dictionary, commit_timeout=commit_timeout) as log:
        yield log


async def check_store(url: str) -> None:
    """As `adapter.log.opening.check_store`."""
    address = read_address(url)
    connection: Connection | None = None
    try:
        connection = await connect(address)
        await check_server(connection, address)
        version = await read_version(connection, address)
        if version is not None:
            refuse_older(f"PostgreSQL at {address.name}: schema {address.schema!r}", version, VERSION)
    except FAILURES as error:
        reason: AdapterError = opening_error(address.name, error)
        raise reason from None
    finally:
        if connection is not None:
            connection.terminate()
