"""Asks the search database: on threads, each with a connection of its own."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from adapter.errors import StoreUnavailable
from adapter.filter import Filter
from adapter.search.filling import Filling
from adapter.search.index import Behind, ByPrefix, ByValue, Completed, Found, Question, Tally, Uncounted
from adapter.search.linking import Asked, KnownName
from adapter.search.people import Accounts, Active, ActiveIn, ByAccount
from adapter.search.sqlite.counting import complete, count
from adapter.search.sqlite.query import Asker
from adapter.search.sqlite.store import is_damage, used_bytes

#: Steps of SQLite's machine between two looks at the clock.
_STEPS = 20_000

Result = TypeVar("Result")


class SqliteIndex:
    """`adapter.search.index.Index` of a file. Each question runs in one hop on a thread, in one short read transaction;
    one that takes too long is broken off."""

    def __init__(self, path: Path, filling: Filling, readers: int) -> None:
        self._path = path
        self._filling = filling
        self._threads = ThreadPoolExecutor(readers, thread_name_prefix="search")
        self._own = threading.local()
        self._connections: list[sqlite3.Connection] = []

    @property
    def position(self) -> int:
        return self._filling.position

    @property
    def rebuilt(self) -> str | None:
        return self._filling.rebuilt

    @property
    def filler(self) -> int | None:
        return self._filling.process_id

    async def wait(self, position: int) -> None:
        await self._filling.wait(position)

    async def prune(self) -> bool:
        return await self._filling.prune()

    async def rebuild(self, reason: str) -> None:
        self._filling.throw_away(self._filling.generation, reason)

    async def size(self) -> int:
        return await asyncio.to_thread(used_bytes, self._path)

    async def ask(self, question: Question, head: int, *, timeout: float, seconds: float) -> Found:
        if self._filling.position < head:
            raise Behind
        return await self._run(lambda asker: asker.answer(question, seconds=seconds), timeout)

    async def count(self, question: ByValue, head: int, *, timeout: float) -> Tally | Uncounted:
        if self._filling.position < head:
            raise Behind
        return await self._run(lambda asker: count(asker, question), timeout)

    async def complete(self, question: ByPrefix, *, timeout: float) -> Completed:
        if not self._filling.position:
            raise Behind
        return await self._run(lambda asker: complete(asker, question), timeout)

    async def names(self, wanted: Sequence[Asked], filter: Filter, *, timeout: float) -> list[str | None]:
        if not self._filling.position:
            raise Behind
        return await self._run(lambda asker: asker.names(wanted, filter), timeout)

    async def known_names(
        self, ids: Sequence[str], names: Sequence[str], filter: Filter, *, timeout: float
    ) -> list[KnownName]:
        if not self._filling.position:
            raise Behind
        return await self._run(lambda asker: asker.known_names(ids, names, filter), timeout)

    async def people(self, question: ByAccount, head: int, *, timeout: float) -> Accounts:
        if self._filling.position < head:
            raise Behind
        return await self._run(lambda asker: asker.people(question), timeout)

    async def active(self, question: ActiveIn, head: int, *, timeout: float) -> list[Active | None]:
        if self._filling.position < head:
            raise Behind
        return await self._run(lambda asker: asker.active(question), timeout)

    async def _run(self, ask: Callable[[Asker], Result], timeout: float) -> Result:
        generation = self._filling.generation
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._threads, lambda: self._answer(generation, ask, timeout)
            )
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT:
                raise TimeoutError from None
            if is_damage(error):
                self._filling.throw_away(generation, str(error))
                raise Behind from error
            raise StoreUnavailable(f"{self._path}: {error}") from error

    def _answer(self, generation: int, ask: Callable[[Asker], Result], timeout: float) -> Result:
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
            self._own.reader = Asker(connection)
            self._own.generation = generation
        deadline = time.monotonic() + timeout
        self._own.connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
        asker: Asker = self._own.reader
        return ask(asker)

    def close(self) -> None:
        """Close what asks. Nobody waits for an answer any more."""
        for connection in list(self._connections):
            connection.interrupt()
        self._threads.shutdown(wait=True, cancel_futures=True)
        for connection in self._connections:
            connection.close()
