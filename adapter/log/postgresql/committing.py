"""Group commit: one connection that appends, and commits together what was handed over while the transaction before was
running.

What was handed over and is not answered is bounded in bytes and in time. When the connection is lost, what was not
committed is done again over a new one, within its time; and if it is unknown whether a transaction was committed, the
new connection finds out: the old one held a lock for as long as it lived, and left the row of its batch or not.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import structlog

from adapter.counts import Commits
from adapter.errors import AdapterError, StoreError, StoreUnanswered, StoreUnavailable
from adapter.log.budget import Budget
from adapter.log.compression import Compression
from adapter.log.postgresql.address import Address
from adapter.log.postgresql.connecting import CONNECT_TIMEOUT, Connection, connect
from adapter.log.postgresql.failures import FAILURES, is_clash, is_lost, store_error
from adapter.log.postgresql.schema import check_schema, check_server, make_month, month_of, next_month, next_numbers
from adapter.log.postgresql.transaction import Answer, Clash, Transaction
from adapter.log.postgresql.works import Work

#: A transaction takes works of so many bytes (some 1,000 rows), or one that is larger: while it runs, those of the next
#: one are prepared.
GROUP_SIZE = 2 * 1024 * 1024
#: What the next transaction needs to know is asked ahead for works of so many bytes at least, within so many seconds.
AHEAD_SIZE, AHEAD_TIMEOUT = 256 * 1024, 1.0
#: Bytes of works that are handed over and not answered: of those up to `LIGHT`, and of the others.
LIGHT = 64 * 1024
LIGHT_BUDGET, HEAVY_BUDGET = 8 * 1024 * 1024, 32 * 1024 * 1024
#: A large transaction may take a second more for so many bytes.
PACE = 2 * 1024 * 1024
#: A transaction whose service stopped, or was cut off, holds up others for no longer than this, seconds.
IDLE = 3
#: Waits before another try to connect, seconds: the first, and the longest.
FIRST_WAIT, LONGEST_WAIT = 0.1, 5.0
#: Longest wait before works are tried again that another transaction was in the way of, seconds.
CLASH_WAIT = 0.01
#: A number for a batch is used for so long after it was made, seconds: it says on which day the batch was.
NUMBER_AGE = 3600.0

Result = TypeVar("Result")

_log = structlog.get_logger(__name__)


@dataclass(slots=True, frozen=True, eq=False)
class _Call:
    """A work that was handed over."""

    work: Work[object]
    answer: asyncio.Future[Any]
    #: Since when, seconds of the loop's clock.
    since: float
    weight: int
    budget: Budget


class Committing:
    """Works on their way into the database; made by `open_committing`."""

    def __init__(self, address: Address, dictionary: bytes, timeout: float, show: Callable[[int], None]) -> None:
        """``timeout``: seconds within which a work has to be answered; ``show`` is told the head after each commit."""
        self.commits = Commits()
        self._address = address
        self._compression = Compression(dictionary)
        self._timeout = timeout
        self._show = show
        self._loop = asyncio.get_running_loop()
        self._light, self._heavy = Budget(LIGHT_BUDGET), Budget(HEAVY_BUDGET)
        self._calls: deque[_Call] = deque()
        #: Those that the transaction has that runs.
        self._running: list[_Call] = []
        self._handed = asyncio.Event()
        #: Those of the next transaction, and that one if what it needs is asked already.
        self._ahead: tuple[list[_Call], Transaction | None] | None = None
        #: Bytes of works that no transaction has yet.
        self._waiting = 0
        #: Transactions that were committed since the next one began to ask.
        self._written: list[Transaction] = []
        #: Why nothing is taken now.
        self._refusal: StoreError | None = None
        self._closing = asyncio.Event()
        #: When a transaction ended last, seconds of the loop's clock.
        self._heard_at = self._loop.time()
        self._connection: Connection | None = None
        #: Another one, that asks ahead.
        self._asking: Connection | None = None
        #: Held by the connection that appends, for as long as it lives.
        self._lock = secrets.randbits(63)
        #: Numbers for the next batches, and when they were made, seconds of the loop's clock.
        self._numbers: deque[int] = deque()
        self._numbered_at = 0.0
        #: Months that have their parts.
        self._months: set[object] = set()

    @property
    def silence(self) -> float:
        """For how long an answer has been missing, seconds; 0 where none is."""
        oldest = self._running[0] if self._running else self._calls[0] if self._calls else None
        return 0.0 if oldest is None else self._loop.time() - max(oldest.since, self._heard_at)

    async def call(self, work: Work[Result]) -> Result:
        """Hand a work over, and wait for the end of its transaction. To cancel it takes nothing back that was handed
        over.

        Raises:
            StoreUnanswered: no answer came within the time for a commit, and it is unknown what was stored.
            StoreUnavailable: it was not stored: the database cannot be used now, or too much waits for it.
            StoreError: it was refused.
        """
        self._refuse()
        weight = work.weight
        budget = self._light if weight <= LIGHT else self._heavy
        if not budget.take(weight):
            try:
                async with asyncio.timeout(self._timeout):
                    await budget.wait(weight)
            except TimeoutError:
                raise StoreUnavailable("too much waits for the database") from None
            try:
                self._refuse()
            except BaseException:
                budget.give(weight)
                raise
        call = _Call(work, self._loop.create_future(), self._loop.time(), weight, budget)
        self._calls.append(call)
        self._waiting += weight
        self._handed.set()
        return cast(Result, await call.answer)

    def _refuse(self) -> None:
        """
        Raises:
            StoreError: nothing is taken now.
        """
        if self._closing.is_set():
            raise StoreUnavailable("the log is closed")
        if self._refusal is not None:
            # A new one: an error that is raised several times gathers what raised it.
            raise type(self._refusal)(*self._refusal.args)

    async def run(self) -> None:
        """Commit what is handed over, until `close`."""
        wait = FIRST_WAIT
        while self._calls or self._ahead or not self._closing.is_set():
            if self._connection is None or self._connection.is_closed():
                try:
                    await self._connect()
                except (*FAILURES, AdapterError) as error:
                    self._turn_away(store_error(self._address.name, error))
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(wait):
                            await self._closing.wait()
                    wait = min(2 * wait, LONGEST_WAIT)
                    continue
            self._refusal, wait = None, FIRST_WAIT
            if not self._calls and self._ahead is None:
                self._handed.clear()
                if not self._closing.is_set():
                    await self._handed.wait()
                continue
            self._running, asked = self._ahead or (self._take(), None)
            self._ahead = None
            if asked is not None and any(asked.meets(one) for one in self._written):
                asked = None
            self._written.clear()
            try:
                committing = asyncio.create_task(self._commit(self._running, asked))
                await self._look_ahead(committing)
                await committing
            except Exception as error:
                # Nobody is to wait for ever for what nobody foresaw.
                _log.exception("store.failed")
                if self._connection is not None:
                    self._connection.terminate()
                for call in self._running:
                    self._answer(call, StoreUnanswered(f"the log failed: {error!r}"))
            finally:
                self._running = []
                self._heard_at = self._loop.time()

    def _turn_away(self, reason: StoreError) -> None:
        """Take nothing until there is a connection again."""
        if self._refusal is None:
            _log.warning("store.unavailable", problem=str(reason))
        self._refusal = reason
        for call in self._unanswered():
            self._answer(call, reason)

    def _unanswered(self) -> list[_Call]:
        """All that was handed over; none of it is done any more."""
        ahead = self._ahead[0] if self._ahead else []
        calls = [*self._running, *ahead, *self._calls]
        self._ahead, self._waiting = None, 0
        self._running = []
        self._calls.clear()
        return calls

    def _take(self) -> list[_Call]:
        """What the next transaction does."""
        calls = [self._calls.popleft()]
        room = GROUP_SIZE - calls[0].weight
        while self._calls and self._calls[0].weight <= room:
            calls.append(self._calls.popleft())
            room -= calls[-1].weight
        self._waiting -= sum([call.weight for call in calls])
        return calls

    async def _look_ahead(self, committing: asyncio.Task[None]) -> None:
        """While a transaction is committed, ask what the next one needs to know, if there is much to do: little had
        better wait for more."""
        while not committing.done():
            if self._waiting >= AHEAD_SIZE and self._numbers:
                calls = self._take()
                self._ahead = calls, None
                works = [call.work for call in calls]
                transaction = Transaction(self._compression, self._address, self._numbers.popleft(), works)
                try:
                    async with asyncio.timeout(AHEAD_TIMEOUT):
                        if self._asking is None or self._asking.is_closed():
                            self._asking = await connect(self._address)
                        await transaction.ask(self._asking)
                    self._ahead = calls, transaction
                except (*FAILURES, AdapterError):
                    # It is asked again in its turn, which tells what is wrong.
                    if self._asking is not None:
                        self._asking.terminate()
                return
            self._handed.clear()
            handed = asyncio.ensure_future(self._handed.wait())
            await asyncio.wait([handed, committing], return_when=asyncio.FIRST_COMPLETED)
            handed.cancel()

    async def _commit(self, calls: Sequence[_Call], asked: Transaction | None = None) -> None:
        """One transaction for all of them; or, if one of them is refused, one for each, so that it undoes only
        itself."""
        try:
            answers = await self._try(calls, asked)
        except StoreError as error:
            if len(calls) == 1 or isinstance(error, StoreUnavailable):
                for call in calls:
                    self._answer(call, error)
            else:
                for call in calls:
                    await self._commit([call])
            return
        for call, answer in zip(calls, answers, strict=True):
            self._answer(call, answer)

    async def _try(self, calls: Sequence[_Call], asked: Transaction | None) -> list[Answer]:
        """Commit until it is done, or its time is over.

        Raises:
            StoreError: why it is not done.
        """
        until = calls[0].since + self._timeout + sum([call.weight for call in calls]) / PACE
        until = max(until, self._loop.time() + 1.0)  # it may have waited for others
        while True:
            began = time.perf_counter()
            connection = self._connection
            if connection is None or connection.is_closed():
                connection = await self._reconnect(until)
            # What has no answer in time is ended, and not cancelled: the server goes on with a commit.
            ending = self._loop.call_at(until, connection.terminate)
            transaction, asked = asked, None
            try:
                if transaction is None:
                    number = await self._next_number(connection)
                    works = [call.work for call in calls]
                    transaction = Transaction(self._compression, self._address, number, works)
                    await transaction.ask(connection)
                await transaction.write(connection)
            except (Clash, *FAILURES) as error:
                is_over = ending.when() <= self._loop.time()
                if not isinstance(error, Clash) and is_lost(error):
                    connection.terminate()
                    if transaction is not None and transaction.is_committing:
                        if await self._is_committed(transaction, until):
                            return self._committed(transaction, began)
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
                return self._committed(transaction, began)
            finally:
                ending.cancel()

    def _committed(self, transaction: Transaction, began: float) -> list[Answer]:
        if transaction.first is not None:
            self._show(transaction.first + transaction.entries - 1)
        self._written.append(transaction)
        self.commits.add(transaction.entries, time.perf_counter() - began)
        return transaction.answers()

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

    def _answer(self, call: _Call, answer: Answer) -> None:
        call.budget.give(call.weight)
        if call.answer.done():
            return  # its caller has gone
        if isinstance(answer, StoreError):
            call.answer.set_exception(type(answer)(*answer.args))
        else:
            call.answer.set_result(answer)

    # The connection, and numbers of batches

    async def _reconnect(self, until: float) -> Connection:
        """A new connection in the place of a lost one.

        Raises:
            StoreUnavailable: there is none in time, or the database refuses one.
        """
        try:
            async with asyncio.timeout_at(max(until, self._loop.time() + 0.1)):
                return await self._connect()
        except (*FAILURES, AdapterError) as error:
            raise store_error(self._address.name, error) from None

    async def _connect(self) -> Connection:
        """The connection that appends. It returns when the one before has ended."""
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

    def close(self) -> None:
        """Take nothing more; `run` ends when what was handed over is answered."""
        self._closing.set()
        self._handed.set()

    def end(self) -> None:
        """End the connection at once."""
        for connection in (self._connection, self._asking):
            if connection is not None:
                connection.terminate()
        for call in self._unanswered():
            self._answer(call, StoreUnanswered("the log is closed"))


@asynccontextmanager
async def open_committing(
    address: Address, dictionary: bytes, timeout: float, show: Callable[[int], None]
) -> AsyncIterator[Committing]:
    """What appends to the log while the context lasts.

    Raises:
        FAILURES: there is no connection.
    """
    committing = Committing(address, dictionary, timeout, show)
    await committing._connect()
    running = asyncio.create_task(committing.run())
    try:
        yield committing
    finally:
        committing.close()
        await asyncio.wait([running], timeout=timeout)
        running.cancel()
        await asyncio.wait([running])
        committing.end()
