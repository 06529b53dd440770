"""Finding events: the one way to the search database for everybody who asks."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from adapter.errors import RequestError, StoreUnavailable
from adapter.filter import Filter
from adapter.log.protocol import Log
from adapter.search.cursor import (
    BEGINNING,
    LogCursor,
    Order,
    TimeCursor,
    newest,
    read_log_cursor,
    read_time_cursor,
    write_cursor,
)
from adapter.search.filling import Filling
from adapter.search.query import Found, Reader
from adapter.search.store import is_damage, used_bytes
from adapter.search.turns import Turns

#: How long a question may run, seconds; and how many run at the same time, each of another caller.
TIMEOUT, READERS = 10.0, 3

#: After which share of that time a question gives back what it has found, and a cursor from which to go on.
SHARE = 0.2
#: Steps of SQLite's machine between two looks at the clock.
_STEPS = 20_000


@dataclass(frozen=True, slots=True)
class Page:
    """One page of results, as places in the log."""

    positions: Sequence[int]
    #: Cursor of the page after this one; ``None`` at the end of ``order=time``, never with ``order=log``.
    next: str | None
    #: The same of the page that begins after each of the positions.
    _cursors: Sequence[TimeCursor | LogCursor] = ()
    #: Whether there is nothing behind it now, with ``order=log``.
    at_end: bool = False

    def after(self, count: int) -> str | None:
        """Cursor of the page that begins after the first ``count`` positions, at least one."""
        return self.next if count >= len(self.positions) else write_cursor(self._cursors[count - 1])


class Search:
    """Questions about events. All methods may be called from many tasks at once.

    Each question runs in one hop on a thread of its own, in one short read transaction; a question that takes too
    long is broken off. Questions of one caller run one after the other, those of several in turn.
    """

    def __init__(self, path: Path, log: Log, filling: Filling, *, timeout: float, readers: int) -> None:
        self._path = path
        self._log = log
        self._filling = filling
        #: How long a question may run, and how long it may wait for its turn, seconds.
        self.timeout = timeout
        #: The share of it after which a question gives back what it has found.
        self.share = SHARE
        self._turns = Turns(readers)
        self._threads = ThreadPoolExecutor(readers, thread_name_prefix="search")
        self._own = threading.local()
        self._connections: list[sqlite3.Connection] = []

    @property
    def position(self) -> int:
        """Up to which entry of the log events are found without waiting."""
        return self._filling.position

    @property
    def rebuilt(self) -> str | None:
        """Why the search database was thrown away and built again since the start; ``None`` if it was not."""
        return self._filling.rebuilt

    @property
    def filler(self) -> int | None:
        """Process id of the filler, while one runs."""
        return self._filling.process_id

    async def prune(self) -> bool:
        """Have what was removed from the log removed from here, too; whether it was within some time."""
        return await self._filling.prune()

    async def size(self) -> int:
        """Bytes that the search database takes, without what is free in its file."""
        return await asyncio.to_thread(used_bytes, self._path)

    async def wait(self, position: int) -> None:
        """Return when everything up to ``position`` is found.

        Raises:
            RequestError: 503, it takes longer than a question may (the database is being built).
        """
        try:
            async with asyncio.timeout(self.timeout):
                await self._filling.wait(position)
        except TimeoutError:
            raise RequestError(
                503,
                "Search is being filled",
                f"{self._filling.position} of {self._log.head} entries can be searched; try again later",
                headers={"Retry-After": "5"},
            ) from None

    async def find(
        self,
        filter: Filter,
        *,
        order: Order = "time",
        limit: int = 100,
        cursor: str | None = None,
        revisions: bool = False,
        caller: str = "",
        patient: bool = False,
    ) -> Page:
        """One page of the events that match, complete up to the log's head at this moment. Where few match and many
        are looked at, it is shorter, or empty, and goes on behind what was looked at.

        ``order="time"``: newest first by event time, each event once in its latest revision; pages joined give each
        event once while new ones arrive. ``order="log"``: ascending by position, each event in its first entry, with
        ``revisions`` in every one. ``caller``: whose turn it waits for, however long if it is ``patient``.

        Raises:
            RequestError: 400, the cursor is bad; 503, the question took too long, or did not come to its turn, or the
                database is being built.
            StoreUnavailable: the search database cannot be read now.
        """
        head = self._log.head
        wait = None if patient else self.timeout
        seconds = self.timeout * self.share
        if order == "time":
            before = newest(head) if cursor is None else read_time_cursor(cursor)
            found = await self._ask(
                caller, wait, head, lambda reader: reader.by_time(filter, limit + 1, before, seconds=seconds)
            )
            cursors = [TimeCursor(*row, before.snapshot) for row in found[:limit]]
            end = None if found.reached is None else TimeCursor(*found.reached, before.snapshot)
            place = cursors[-1] if len(found) > limit else end
            return Page(
                [row.position for row in found[:limit]], None if place is None else write_cursor(place), cursors
            )
        after = BEGINNING if cursor is None else read_log_cursor(cursor)
        found = await self._ask(
            caller, wait, head, lambda reader: reader.by_log(filter, limit, after, head, revisions, seconds=seconds)
        )
        places = [LogCursor(row.position) for row in found]
        reached = None if found.reached is None else LogCursor(found.reached.position)
        following = write_cursor(reached or (places[-1] if places else after))
        at_end = reached is None and len(found) < limit
        return Page([row.position for row in found], following, places, at_end=at_end)

    async def pages(
        self, filter: Filter, *, order: Order = "time", limit: int = 1000, revisions: bool = False, caller: str = ""
    ) -> AsyncIterator[Sequence[int]]:
        """All that matches now, a page of positions at a time: any number in constant memory, each page in a short
        read of its own, for whose turn it waits. Raises as `find` does."""
        cursor = None
        while True:
            page = await self.find(
                filter, order=order, limit=limit, cursor=cursor, revisions=revisions, caller=caller, patient=True
            )
            if page.positions:
                yield page.positions
            if page.next is None or page.at_end:
                return
            cursor = page.next

    async def _ask(self, caller: str, wait: float | None, head: int, question: Callable[[Reader], Found]) -> Found:
        if not head:
            return Found()
        for last in (False, True):  # a damaged database is built again once
            await self.wait(head)
            generation = self._filling.generation
            try:
                async with self._turns.of(caller, timeout=wait):
                    return await asyncio.get_running_loop().run_in_executor(
                        self._threads, self._answer, generation, question
                    )
            except TimeoutError:
                raise RequestError(
                    503,
                    "Search is busy",
                    f"{self.timeout:g} s have passed while other questions, first of all of this key, were answered",
                    headers={"Retry-After": "5"},
                ) from None
            except sqlite3.Error as error:
                if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT:
                    raise RequestError(
                        503,
                        "Search took too long",
                        f"not answered within {self.timeout:g} s; narrow it, for example with from and to",
                    ) from None
                if last or not is_damage(error):
                    raise StoreUnavailable(f"{self._path}: {error}") from error
                self._filling.throw_away(generation, str(error))
        raise AssertionError

    def _answer(self, generation: int, question: Callable[[Reader], Found]) -> Found:
        """Runs on a thread of the pool, each of which keeps one connection."""
        if getattr(self._own, "generation", None) != generation:
            if (old := getattr(self._own, "connection", None)) is not None:
                old.close()
                self._connections.remove(old)
            self._own.connection = connection = sqlite3.connect(
                f"{self._path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
            )
            self._connections.append(connection)
            connection.execute("PRAGMA query_only = 1")
            connection.execute("PRAGMA cache_size = -4096")
            self._own.reader = Reader(connection)
            self._own.generation = generation
        deadline = time.monotonic() + self.timeout
        self._own.connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
        reader: Reader = self._own.reader
        return question(reader)

    def _close(self) -> None:
        self._threads.shutdown(wait=True)
        for connection in self._connections:
            connection.close()


@contextlib.asynccontextmanager
async def open_search(
    path: Path, log: Log, log_url: str, *, timeout: float = TIMEOUT, readers: int = READERS
) -> AsyncIterator[Search]:
    """Search over the log, kept in the file ``path`` and filled by a process of its own from the log at
    ``log_url``. The file may be removed at any time while this is closed; whatever is wrong with it, it is built
    again. ``timeout`` bounds each question, seconds; ``readers`` are asked at the same time, each by another caller."""
    filling = Filling(path, log, log_url)
    running = asyncio.create_task(filling.run())
    search = Search(path, log, filling, timeout=timeout, readers=readers)
    try:
        yield search
    finally:
        # Before the filler ends: whoever closes the database last puts its journal away, and readers cannot.
        search._close()
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
