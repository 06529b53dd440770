"""Opens a search in PostgreSQL by its address."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial

import structlog

from adapter.errors import AdapterError
from adapter.log.postgresql.address import Address, read_address
from adapter.log.postgresql.connecting import Sessions, connect
from adapter.log.postgresql.failures import FAILURES, opening_error, store_error
from adapter.log.postgresql.watching import open_watching
from adapter.log.protocol import Claim, Store
from adapter.ownership import Ownership, open_ownership
from adapter.search.filling import Filling, open_filling
from adapter.search.index import Index
from adapter.search.postgresql.index import PostgresqlIndex
from adapter.search.postgresql.schema import VERSION, channel_of, drop_tables, open_tables

#: Who fills the search has this claim.
CLAIM = "search"
#: How long entries gather before they are filled in, seconds: those who ask at other services cannot say so.
_GATHERING = 0.1
#: How long an answer may take that has no time of its own, seconds.
_TIMEOUT = 30.0
#: What sessions that ask set. Statistics are good here: a part is filled once, and looked at by the server when it has
#: grown.
_SETTINGS = {
    "enable_seqscan": "on",
    "plan_cache_mode": "force_custom_plan",
    "max_parallel_workers_per_gather": "0",
    "default_transaction_read_only": "on",
}

_log = structlog.get_logger(__name__)


@asynccontextmanager
async def open_index(
    url: str, log: Store, log_url: str, owner: str, readers: int, with_people: bool
) -> AsyncIterator[Index]:
    """As `adapter.search.opening.open_index`."""
    address = read_address(url)
    version, position = await _open_tables(address)

    def fill(claim: Claim) -> AbstractAsyncContextManager[Filling]:
        return open_filling(Filling(url, log, log_url, with_people=with_people, gathering=_GATHERING))

    async with AsyncExitStack() as stack:
        owned: Ownership[Filling] | None = None
        if version == VERSION:
            owned = await stack.enter_async_context(open_ownership(log, CLAIM, owner, fill))
        else:
            _log.warning("search_of_newer_version", version=version, knows=VERSION)
        opening = open_watching(
            address,
            position,
            channel=channel_of(address),
            question="SELECT position FROM search",
            compare=_Comparing(owned).compare,
        )
        watching = await stack.enter_async_context(opening)
        sessions = Sessions(address, readers, _TIMEOUT, _SETTINGS)
        stack.push_async_callback(sessions.close)
        yield PostgresqlIndex(sessions, watching, owned, partial(_drop, address))


class _Comparing:
    """Sees whether the search ends where its filler says. Its commits do not wait for the disk: a server that was lost
    may come back without the last ones."""

    def __init__(self, owned: Ownership[Filling] | None) -> None:
        self._owned = owned
        #: How far the filler was when the database was asked before: it has been there for sure.
        self._known = 0

    def compare(self, stored: int) -> None:
        filling = None if self._owned is None else self._owned.present
        if filling is None:
            self._known = 0
        elif stored < self._known:
            filling.begin_again()
            self._known = 0
        else:
            self._known = filling.position


async def _drop(address: Address) -> None:
    """Leave nothing of the search.

    Raises:
        StoreError: not now.
    """
    try:
        connection = await connect(address)
        try:
            await drop_tables(connection)
            await open_tables(connection)
        finally:
            connection.terminate()
    except FAILURES as error:
        raise store_error(address.name, error) from None


async def _open_tables(address: Address) -> tuple[int, int]:
    """Make the tables if there are none; their version, and how far the search is filled.

    Raises:
        AdapterError: they cannot be made, or asked.
    """
    try:
        connection = await connect(address)
        try:
            version = await open_tables(connection)
            position: int = await connection.fetchval("SELECT position FROM search")
        finally:
            connection.terminate()
    except FAILURES as error:
        reason: AdapterError = opening_error(address.name, error)
        raise reason from None
    return version, position
