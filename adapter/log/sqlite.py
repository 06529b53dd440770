"""The embedded log: one SQLite file in WAL mode, every commit synced.

Two threads serve the event loop. One commits: all appends and settlements that are made at the same time share a
transaction, and a request that the database refuses is tried again alone, so that it undoes only itself. The other
reads, in short transactions, so that the WAL can be checkpointed. Tables: `adapter.log.schema`. Another process reads
through `open_reader`.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import aiosqlite

from adapter.counts import Commits
from adapter.errors import StoreError, StoreUnavailable
from adapter.log.append import Appender
from adapter.log.compression import Compression
from adapter.log.group import Group
from adapter.log.progress import ask_held, ask_next_due, ask_progress, begin, settle
from adapter.log.protocol import Held, NewEntry, Progress, Receipt, Settlement
from adapter.log.reading import (
    Reader,
    fetch_entries,
    find_position,
    find_position_at,
    open_reader,
    read_entries,
    read_raw,
)
from adapter.log.schema import VERSION, connect_writing, reading_uri, store_error
from adapter.model import Entry

__all__ = ["Reader", "SqliteLog", "find_position", "open_reader", "open_sqlite_log", "read_entries"]

#: A transaction takes requests until it has so many entries, or bytes.
COMMIT_ROWS = 4000
COMMIT_SIZE = 8 * 1024 * 1024
#: Pages of the WAL after which it is copied into the file. More pages are written once instead of several times, and
#: the copying takes longer.
CHECKPOINT_PAGES = 2000
#: Page caches, KiB: of the connection that writes, and of the one that reads.
WRITE_CACHE = 8192
READ_CACHE = 2048
#: How long to wait for another process that writes, seconds.
BUSY_TIMEOUT = 5.0

#: A part of a transaction: the entries of one request, or anything else that is to be done.
Work = Sequence[NewEntry] | Callable[[sqlite3.Connection], object]

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class SqliteLog:
    """`adapter.log.protocol.Log` on SQLite; made by `open_sqlite_log`."""

    def __init__(
        self,
        path: Path,
        connection: sqlite3.Connection,
        compression: Compression,
        reader: Reader,
        progress: aiosqlite.Connection,
    ) -> None:
        #: How the commits went, for metrics.
        self.commits = Commits()
        self._path = path
        self._connection = connection
        self._appender = Appender(connection, compression)
        self._reader = reader
        #: Answers how far readers are.
        self._progress = progress
        self._reading = ThreadPoolExecutor(max_workers=1, thread_name_prefix="log-reading")
        #: As shown to readers, a moment after it was committed.
        self._head = self._appender.head
        #: Set, and replaced, when the head moves; ``None`` while nobody waits.
        self._moved: asyncio.Event | None = None
        self._group: Group[Work, Any] = Group(self._commit, self._show, rows=COMMIT_ROWS, size=COMMIT_SIZE)

    @property
    def head(self) -> int:
        return self._head

    async def append(self, entries: Sequence[NewEntry]) -> list[Receipt]:
        if not entries:
            return []
        size = sum([len(entry.raw) + len(entry.event or b"") for entry in entries])
        return cast(list[Receipt], await self._group.call(entries, rows=len(entries), size=size))

    async def read(self, after: int, *, until: int | None = None, limit: int = 1000) -> list[Entry]:
        last = self._head if until is None else min(until, self._head)
        if after >= last or limit < 1:
            return []
        return await self._read(read_entries, after, until=last, limit=limit)

    async def fetch(self, positions: Sequence[int]) -> list[Entry]:
        return await self._read(fetch_entries, positions)

    async def raw(self, position: int) -> tuple[bytes, str] | None:
        return await self._read(read_raw, position)

    async def find(self, uid: bytes) -> int | None:
        return await self._read(find_position, uid)

    async def position_at(self, received_at: int) -> int:
        return await self._read(find_position_at, received_at)

    async def wait(self, after: int, timeout: float | None = None) -> int:
        try:
            async with asyncio.timeout(timeout):
                while self._head <= after:
                    if self._moved is None:
                        self._moved = asyncio.Event()
                    await self._moved.wait()
        except TimeoutError:
            pass
        return self._head

    async def writable(self) -> str | None:
        try:
            # Rewrites the first page with what it has: as durable as any other write, and needs no table.
            await self._do(lambda connection: connection.execute(f"PRAGMA user_version = {VERSION}"))
        except StoreError as error:
            return str(error)
        return None

    async def progress(self, reader: str) -> Progress | None:
        return await self._ask(ask_progress(self._progress, reader))

    async def begin(self, reader: str, cursor: int, filter: str) -> Progress:
        return await self._do(lambda connection: begin(connection, reader, cursor, filter))

    async def settle(self, settlement: Settlement) -> None:
        await self._do(lambda connection: settle(connection, settlement), len(settlement.hold))

    async def held(self, reader: str, *, due_at: int | None = None, limit: int = 1000) -> list[Held]:
        return await self._ask(ask_held(self._progress, reader, due_at=due_at, limit=limit))

    async def next_due(self, reader: str) -> int | None:
        return await self._ask(ask_next_due(self._progress, reader))

    async def close(self) -> None:
        """Answer what was asked, and end both threads."""
        await self._group.close()
        await asyncio.to_thread(self._reading.shutdown)

    async def _do(self, work: Callable[[sqlite3.Connection], Result], rows: int = 1) -> Result:
        return cast(Result, await self._group.call(work, rows=rows, size=0))

    async def _read(
        self,
        function: Callable[Concatenate[Reader, Arguments], Result],
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Result:
        call = partial(function, self._reader, *args, **kwargs)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._reading, call)
        except sqlite3.Error as error:
            raise store_error(self._path, error) from error

    async def _ask(self, answer: Awaitable[Result]) -> Result:
        try:
            return await answer
        except sqlite3.Error as error:
            raise store_error(self._path, error) from error

    def _show(self) -> None:
        """Let readers see what was committed."""
        if self._appender.head != self._head:
            self._head = self._appender.head
            if self._moved is not None:
                self._moved.set()
                self._moved = None

    def _commit(self, works: Sequence[Work]) -> Sequence[object]:
        """One transaction for all works; or, if one of them is refused, one for each."""
        try:
            return self._transact(works)
        except Exception as error:
            reason = self._roll_back(error)
        if len(works) == 1 or isinstance(reason, StoreUnavailable):
            # An error for each: an exception that is raised twice gathers the tracebacks of both.
            return [type(reason)(str(reason)) for _ in works]
        return [answer for work in works for answer in self._commit([work])]

    def _transact(self, works: Sequence[Work]) -> Sequence[object]:
        began, before = time.perf_counter(), self._appender.head
        self._connection.execute("BEGIN IMMEDIATE")
        requests = [work for work in works if not callable(work)]
        receipts = iter(self._appender.append(requests) if requests else [])
        answers = [work(self._connection) if callable(work) else next(receipts) for work in works]
        self._connection.execute("COMMIT")
        self._appender.commit()
        self.commits.add(self._appender.head - before, time.perf_counter() - began)
        return answers

    def _roll_back(self, error: Exception) -> StoreError:
        """Undo the transaction; what is told to its callers."""
        self._appender.roll_back()
        reason = error if isinstance(error, StoreError) else store_error(self._path, error)
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error as second:
            return store_error(self._path, second)
        return reason


@asynccontextmanager
async def open_sqlite_log(
    path: Path,
    *,
    dictionary: bytes = b"",
    busy_timeout: float = BUSY_TIMEOUT,
    checkpoint_pages: int = CHECKPOINT_PAGES,
) -> AsyncIterator[SqliteLog]:
    """Open the log in this file; make it if there is none. Nobody else may append to it meanwhile.

    ``dictionary`` is text like that of the events to come (bytes of their JSON), by which they are compressed better;
    a log keeps the one it was made with. ``busy_timeout``: seconds to wait for another process that writes.

    Raises:
        StoreMismatch: the file is not a log, or of a newer version.
        StoreUnavailable: it cannot be opened now.
        StoreError: it is damaged.
    """
    connection = connect_writing(path, dictionary=dictionary, busy_timeout=busy_timeout)
    try:
        connection.execute(f"PRAGMA cache_size = -{WRITE_CACHE}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {checkpoint_pages}")
        asking = aiosqlite.connect(reading_uri(path), uri=True, isolation_level=None)
        with open_reader(path, cache=READ_CACHE) as reader:
            async with asking as progress:
                try:
                    (kept,) = connection.execute("SELECT content FROM dictionary").fetchone()
                    log = SqliteLog(path, connection, Compression(kept), reader, progress)
                except sqlite3.Error as error:
                    raise store_error(path, error) from error
                try:
                    yield log
                finally:
                    await log.close()
    finally:
        connection.close()
