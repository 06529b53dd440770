"""One connection that appends: it does some works in one transaction, and again if it has to.

When the connection is lost, what was not committed is done again over a new one, within its time. If it is unknown
whether a transaction was committed, the new connection finds out: the old one held a lock for as long as it lived, and
left the row of its batch or not.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections import deque
from collections.abc import Sequence

from adapter.errors import AdapterError, StoreUnanswered, StoreUnavailable
from adapter.log.compression import Compression
from adapter.log.postgresql.address import Address
from adapter.log.postgresql.connecting import CONNECT_TIMEOUT, Connection, connect
from adapter.log.postgresql.failures import FAILURES, is_clash, is_lost, store_error
from adapter.log.postgresql.schema import check_schema, check_server, make_month, month_of, next_month, next_numbers
from adapter.log.postgresql.transaction import Clash, Transaction
from adapter.log.postgresql.works import Work

#: A transaction whose service stopped, or was cut off, holds up others for no longer than this, seconds.
IDLE = 3
#: Longest wait before works are tried again that another transaction was in the way of, seconds.
CLASH_WAIT = 0.01
#: A number for a batch is used for so long after it was made, seconds: it says on which day the batch was.
NUMBER_AGE = 3600.0


class Appending:
    """A connection that appends; one transaction at a time."""

    def __init__(self, address: Address, dictionary: bytes, timeout: float, watched: set[str]) -> None:
        """``timeout``: seconds within which the server has to answer a statement; ``watched``: sources of which
        something is quarantined, which gets more of them."""
        self._watched = watched
        self._address = address
        self._compression = Compression(dictionary)
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._connection: Connection | None = None
        #: Held by the connection for as long as it lives.
        self._lock = secrets.randbits(63)
        #: Numbers for the next batches, and when they were made, seconds of the loop's clock.
        self._numbers: deque[int] = deque()
        self._numbered_at = 0.0
        #: Months that have their parts.
        self._months: set[object] = set()

    @property
    def is_connected(self) -> bool:
        """Whether its connection stands, as far as is known here."""
        return self._connection is not None and not self._connection.is_closed()

    async def do(self, works: Sequence[Work[object]], until: float) -> Transaction:
        """Do some works in one transaction, until it is committed or the loop's clock says ``until``.

        Raises:
            StoreError: why it is not done; `StoreUnanswered`: it may be.
        """
        while True:
            connection = self._connection
            if connection is None or connection.is_closed():
                connection = await self._reconnect(until)
            # What has no answer in time is ended, and not cancelled: the server goes on with a commit.
            ending = self._loop.call_at(until, connection.terminate)
            transaction: Transaction | None = None
            try:
                number = await self._next_number(connection)
                transaction = Transaction(self._compression, self._address, number, works, self._watched)
                await transaction.ask(connection)
                await transaction.write(connection)
            except (Clash, *FAILURES) as error:
                is_over = ending.when() <= self._loop.time()
                if not isinstance(error, Clash) and is_lost(error):
                    connection.terminate()
                    if transaction is not None and transaction.is_committing:
                        if await self._is_committed(transaction, until):
                            return transaction
                    elif is_over:
                        raise self._late() from None
                    continue  # over a new connection
                await self._roll_back(connection)
                if not isinstance(error, Clash) and not is_clash(error):
                    raise store_error(self._address.name, error) from None
                if is_over:
                    raise self._late() from None
                await asyncio.sleep(random.random() * CLASH_WAIT)
            except BaseException:
                connection.terminate()
                raise
            else:
                return transaction
            finally:
                ending.cancel()

    async def _is_committed(self, transaction: Transaction, until: float) -> bool:
        """Whether a transaction was committed whose connection was lost meanwhile.

        Raises:
            StoreUnanswered: that cannot be found out in time.
        """
        unknown = StoreUnanswered(
            f"PostgreSQL at {self._address.name} has not answered: what was handed over is stored, or not"
        )
        if not transaction.entries:
            raise unknown
        try:
            connection = await self._reconnect(until + 1.0)
            async with asyncio.timeout_at(until + 1.0):
                return await transaction.find(connection)
        except (*FAILURES, AdapterError):
            raise unknown from None

    def _late(self) -> StoreUnavailable:
        return StoreUnavailable(f"PostgreSQL at {self._address.name} has not answered in time; nothing was stored")

    async def _roll_back(self, connection: Connection) -> None:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await connection.execute("ROLLBACK")
        except FAILURES:
            connection.terminate()

    async def _reconnect(self, until: float) -> Connection:
        """A new connection in the place of a lost one.

        Raises:
            StoreUnavailable: there is none in time, or the database refuses one.
        """
        try:
            async with asyncio.timeout_at(max(until, self._loop.time() + 0.1)):
                return await self.connect()
        except (*FAILURES, AdapterError) as error:
            raise store_error(self._address.name, error) from None

    async def connect(self) -> Connection:
        """Make a connection; returns when the one before has ended.

        Raises:
            FAILURES: there is none.
            AdapterError: the database is not as it has to be.
        """
        limit = str(int(self._timeout * 1000))
        connection = await connect(
            self._address,
            {
                "synchronous_commit": "on",
                "statement_timeout": limit,
                "idle_in_transaction_session_timeout": str(IDLE * 1000),
            },
        )
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await check_server(connection, self._address)
                await check_schema(connection, self._address)
                await connection.execute(f"SELECT pg_advisory_lock({self._lock})")
            self._numbers.clear()
        except BaseException:
            connection.terminate()
            raise
        self._connection = connection
        return connection

    async def _next_number(self, connection: Connection) -> int:
        """The number of the next batch, for which the tables have their parts."""
        if not self._numbers or self._loop.time() - self._numbered_at > NUMBER_AGE:
            self._numbers = deque(await next_numbers(connection))
            self._numbered_at = self._loop.time()
            month = month_of(self._numbers[0])
            for one in (month, next_month(month)):
                if one not in self._months:
                    await make_month(connection, one)
                    self._months.add(one)
        return self._numbers.popleft()

    def terminate(self) -> None:
        """End the connection at once."""
        if self._connection is not None:
            self._connection.terminate()
