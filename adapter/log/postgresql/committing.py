"""Group commit: what was handed over while a transaction ran is committed together by the next one.

Two connections append. While one of them commits, the other begins, if there is much to do; little had better wait for
more. What was handed over and is not answered is bounded in bytes and in time.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import structlog

from adapter.counts import Commits
from adapter.errors import AdapterError, StoreError, StoreUnanswered, StoreUnavailable
from adapter.log.budget import Budget
from adapter.log.postgresql.address import Address
from adapter.log.postgresql.appending import Appending
from adapter.log.postgresql.failures import FAILURES, store_error
from adapter.log.postgresql.transaction import Answer
from adapter.log.postgresql.works import Work

#: Connections that append.
CONNECTIONS = 2
#: A transaction takes works of so many bytes (some 1,000 rows), or one that is larger.
GROUP_SIZE = 1024 * 1024
#: While a transaction runs that is no larger than `GROUP_SIZE`, the next one waits until it has works of so many bytes.
BESIDE_SIZE = 256 * 1024
#: Bytes of works that are handed over and not answered: of those up to `LIGHT`, and of the others.
LIGHT = 64 * 1024
LIGHT_BUDGET, HEAVY_BUDGET = 8 * 1024 * 1024, 32 * 1024 * 1024
#: A large transaction may take a second more for so many bytes.
PACE = 2 * 1024 * 1024
#: Waits before another try to connect, seconds: the first, and the longest.
FIRST_WAIT, LONGEST_WAIT = 0.1, 5.0

Result = TypeVar("Result")

_log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class _Call:
    """A work that was handed over."""

    work: Work[object]
    answer: asyncio.Future[Any]
    #: Since when, seconds of the loop's clock.
    since: float
    weight: int
    budget: Budget
    is_answered: bool = False


@dataclass(slots=True, eq=False)
class _Lane:
    """One of the connections, and what the transaction does that runs there."""

    appending: Appending
    running: list[_Call] = field(default_factory=list)
    #: Bytes of their works.
    weight: int = 0


class Committing:
    """Works on their way into the database; made by `open_committing`."""

    def __init__(self, address: Address, dictionary: bytes, timeout: float, show: Callable[[int], None]) -> None:
        """``timeout``: seconds within which a work has to be answered; ``show`` is told the head after each commit."""
        self.commits = Commits()
        self._address = address
        self._timeout = timeout
        self._show = show
        self._loop = asyncio.get_running_loop()
        #: Sources of which something is, or was, quarantined, as far as is known here.
        self.watched: set[str] = set()
        self._lanes = [_Lane(Appending(address, dictionary, timeout, self.watched)) for _ in range(CONNECTIONS)]
        self._light, self._heavy = Budget(LIGHT_BUDGET), Budget(HEAVY_BUDGET)
        #: Those that no transaction has yet, and their bytes.
        self._calls: deque[_Call] = deque()
        self._waiting = 0
        #: Set when something was handed over, or a transaction ended.
        self._changed = asyncio.Event()
        #: Why nothing is taken now.
        self._refusal: StoreError | None = None
        self._closing = asyncio.Event()
        #: When a transaction ended last, seconds of the loop's clock.
        self._heard_at = self._loop.time()

    @property
    def silence(self) -> float:
        """For how long an answer has been missing, seconds; 0 where none is."""
        oldest = [calls[0].since for calls in (*(lane.running for lane in self._lanes), self._calls) if calls]
        return self._loop.time() - max(min(oldest), self._heard_at) if oldest else 0.0

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
        self._changed.set()
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
        async with asyncio.TaskGroup() as tasks:
            for lane in self._lanes:
                tasks.create_task(self._run(lane))

    async def _run(self, lane: _Lane) -> None:
        while await self._has_to_begin():
            if not lane.appending.is_connected and not await self._connect(lane):
                continue
            if not self._may_begin():
                continue  # another one has, meanwhile
            self._take(lane)
            try:
                await self._commit(lane.appending, lane.running)
            except Exception:
                _log.exception("store.failed")
                lane.appending.terminate()
            finally:
                # Nobody is to wait for ever for what nobody foresaw.
                for call in lane.running:
                    self._answer(call, StoreUnanswered("the log failed, or is closed"))
                lane.running = []
                self._heard_at = self._loop.time()
                self._changed.set()

    async def _has_to_begin(self) -> bool:
        """Wait until a transaction is to begin; False if none will be."""
        while not self._may_begin():
            if self._closing.is_set() and not self._calls:
                return False
            self._changed.clear()
            await self._changed.wait()
        return True

    def _may_begin(self) -> bool:
        """Whether there is something to do that is not to wait for a transaction that runs."""
        if not self._calls:
            return False
        return self._waiting >= BESIDE_SIZE or all(lane.weight > GROUP_SIZE for lane in self._lanes if lane.running)

    async def _connect(self, lane: _Lane) -> bool:
        """Connect. Whether it is done; if not, another connection stands, or nothing is left to do."""
        wait = FIRST_WAIT
        while True:
            try:
                await lane.appending.connect()
                self._refusal = None
                return True
            except (*FAILURES, AdapterError) as error:
                is_alone = not any(other.appending.is_connected for other in self._lanes)
                if is_alone:
                    self._turn_away(store_error(self._address.name, error))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait if is_alone else LONGEST_WAIT):
                    await self._closing.wait()
            if not is_alone or self._closing.is_set():
                return False
            wait = min(2 * wait, LONGEST_WAIT)

    def _turn_away(self, reason: StoreError) -> None:
        """Take nothing until there is a connection again."""
        if self._refusal is None:
            _log.warning("store.unavailable", problem=str(reason))
        self._refusal = reason
        self._answer_waiting(reason)

    def _answer_waiting(self, reason: StoreError) -> None:
        """Answer all that no transaction has yet."""
        self._waiting = 0
        while self._calls:
            self._answer(self._calls.popleft(), reason)

    def _take(self, lane: _Lane) -> None:
        """What the next transaction does."""
        calls = [self._calls.popleft()]
        room = GROUP_SIZE - calls[0].weight
        while self._calls and self._calls[0].weight <= room:
            calls.append(self._calls.popleft())
            room -= calls[-1].weight
        lane.running, lane.weight = calls, sum([call.weight for call in calls])
        self._waiting -= lane.weight

    async def _commit(self, appending: Appending, calls: Sequence[_Call]) -> None:
        """One transaction for all of them; or, if one of them is refused, one for each, so that it undoes only
        itself."""
        began = time.perf_counter()
        until = calls[0].since + self._timeout + sum([call.weight for call in calls]) / PACE
        until = max(until, self._loop.time() + 1.0)  # it may have waited for others
        try:
            transaction = await appending.do([call.work for call in calls], until)
        except StoreError as error:
            if len(calls) == 1 or isinstance(error, StoreUnavailable):
                for call in calls:
                    self._answer(call, error)
            else:
                for call in calls:
                    await self._commit(appending, [call])
            return
        if transaction.first is not None:
            self._show(transaction.first + transaction.entries - 1)
        self.commits.add(transaction.entries, time.perf_counter() - began)
        for call, answer in zip(calls, transaction.answers(), strict=True):
            self._answer(call, answer)

    def _answer(self, call: _Call, answer: Answer) -> None:
        if call.is_answered:
            return
        call.is_answered = True
        call.budget.give(call.weight)
        if call.answer.done():
            return  # its caller has gone
        if isinstance(answer, StoreError):
            call.answer.set_exception(type(answer)(*answer.args))
        else:
            call.answer.set_result(answer)

    def close(self) -> None:
        """Take nothing more; `run` ends when what was handed over is answered."""
        self._closing.set()
        self._changed.set()

    def end(self) -> None:
        """End the connections at once."""
        for lane in self._lanes:
            lane.appending.terminate()
        self._answer_waiting(StoreUnavailable("the log is closed"))


@asynccontextmanager
async def open_committing(
    address: Address, dictionary: bytes, timeout: float, show: Callable[[int], None]
) -> AsyncIterator[Committing]:
    """What appends to the log while the context lasts.

    Raises:
        FAILURES: there is no connection.
    """
    committing = Committing(address, dictionary, timeout, show)
    await committing._lanes[0].appending.connect()
    running = asyncio.create_task(committing.run())
    try:
        yield committing
    finally:
        committing.close()
        await asyncio.wait([running], timeout=timeout)
        running.cancel()
        await asyncio.wait([running])
        committing.end()
