"""How far something is in the database, the log by itself: told by a notification with each commit, and asked for
beneath."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog

from adapter.errors import AdapterError
from adapter.log.postgresql.address import Address
from adapter.log.postgresql.connecting import CONNECT_TIMEOUT, Connection, connect
from adapter.log.postgresql.failures import FAILURES, store_error
from adapter.tasks import in_background

#: How often the head is asked for, whatever is told, and a lost connection made anew, seconds.
POLL = 1.0

_log = structlog.get_logger(__name__)


class Watching:
    """The head, and who waits for it; made by `open_watching`."""

    def __init__(
        self, address: Address, head: int, channel: str, question: str, compare: Callable[[int], None]
    ) -> None:
        #: Position of the last entry that is known to be committed.
        self.head = head
        self._address = address
        self._channel = channel
        self._question = question
        self._compare = compare
        #: Set, and replaced, when the head moves.
        self._moved = asyncio.Event()

    def show(self, head: int) -> None:
        """The log ends here, or later."""
        if head > self.head:
            self.head = head
            self._moved.set()
            self._moved = asyncio.Event()

    def forget(self) -> None:
        """It ends earlier than was known; the database is asked where."""
        self.head = 0

    async def wait(self, after: int, timeout: float | None = None) -> int:
        """Return the head once it is greater than ``after``, or as it is when ``timeout`` seconds have passed."""
        try:
            async with asyncio.timeout(timeout):
                while self.head <= after:
                    await self._moved.wait()
        except TimeoutError:
            pass
        return self.head

    async def run(self) -> None:
        """Follow the database's head until cancelled."""
        while True:
            try:
                connection = await connect(self._address, {"statement_timeout": str(int(CONNECT_TIMEOUT * 1000))})
                try:
                    await self._follow(connection)
                finally:
                    connection.terminate()
            except (*FAILURES, AdapterError) as error:
                _log.info("store.head_unknown", problem=str(store_error(self._address.name, error)))
            await asyncio.sleep(POLL)

    async def _follow(self, connection: Connection) -> None:
        ended = asyncio.Event()
        connection.add_termination_listener(lambda _: ended.set())
        await connection.add_listener(self._channel, self._told)
        while True:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                head = await connection.fetchval(self._question)
            self.show(head or 0)
            self._compare(head or 0)
            try:
                async with asyncio.timeout(POLL):
                    await ended.wait()
                return
            except TimeoutError:
                pass

    def _told(self, connection: object, process: int, channel: str, payload: object) -> None:
        if isinstance(payload, str) and payload.isdecimal():
            self.show(int(payload))


@asynccontextmanager
async def open_watching(
    address: Address,
    head: int,
    *,
    channel: str | None = None,
    question: str = "SELECT head FROM counter",
    compare: Callable[[int], None] = lambda head: None,
) -> AsyncIterator[Watching]:
    """The head of the log while the context lasts, or what a ``question`` gives and is told on a ``channel``; ``head``:
    as it was found before. ``compare`` gets each answer to the question."""
    watching = Watching(address, head, channel or address.channel, question, compare)
    async with in_background(watching.run(), "watching"):
        yield watching
