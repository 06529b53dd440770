"""Asks the search in PostgreSQL, and has it filled while no other service does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import structlog

from adapter.filter import Filter
from adapter.log.postgresql.connecting import Connection, Sessions
from adapter.log.postgresql.watching import Watching
from adapter.ownership import Ownership
from adapter.search.filling import Filling
from adapter.search.index import Behind, ByPrefix, ByValue, Completed, Found, Question, Tally, Uncounted
from adapter.search.linking import Asked, KnownName
from adapter.search.people import Accounts, Active, ActiveIn, ByAccount
from adapter.search.postgresql.counting import complete, count
from adapter.search.postgresql.query import Memory, active, answer, known_names, names, people

_log = structlog.get_logger(__name__)
Result = TypeVar("Result")

_SIZE = """
SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class
WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'
AND (relname = 'search' OR relname LIKE 'search\\_%')
"""


class PostgresqlIndex:
    """`adapter.search.index.Index` of a database."""

    def __init__(
        self,
        sessions: Sessions,
        watching: Watching,
        owned: Ownership[Filling] | None,
        drop: Callable[[], Awaitable[None]],
    ) -> None:
        """``drop`` leaves nothing of the search."""
        self._sessions = sessions
        self._watching = watching
        self._owned = owned
        self._memory = Memory()
        self._drop = drop

    @property
    def _filling(self) -> Filling | None:
        """What fills it, while that is done here."""
        return None if self._owned is None else self._owned.present

    @property
    def position(self) -> int:
        return self._watching.head

    @property
    def rebuilt(self) -> str | None:
        return None if self._filling is None else self._filling.rebuilt

    @property
    def filler(self) -> int | None:
        return None if self._filling is None else self._filling.process_id

    async def wait(self, position: int) -> None:
        await self._watching.wait(position - 1)

    async def ask(self, question: Question, head: int, *, timeout: float, seconds: float) -> Found:
        return await self._ask(
            lambda connection: answer(connection, self._memory, question, head, seconds=seconds), timeout
        )

    async def count(self, question: ByValue, head: int, *, timeout: float) -> Tally | Uncounted:
        return await self._ask(lambda connection: count(connection, self._memory, question, head), timeout)

    async def _ask(self, question: Callable[[Connection], Awaitable[Result]], timeout: float) -> Result:
        try:
            async with asyncio.timeout(timeout):
                return await self._sessions.ask(question, timeout=timeout)
        except Behind:
            # What it had not told the disk is lost when the server ends, or it was thrown away.
            self._watching.forget()
            raise

    async def complete(self, question: ByPrefix, *, timeout: float) -> Completed:
        return await self._ask(lambda connection: complete(connection, self._memory, question), timeout)

    async def names(self, wanted: Sequence[Asked], filter: Filter, *, timeout: float) -> list[str | None]:
        async with asyncio.timeout(timeout):
            return await self._sessions.ask(
                lambda connection: names(connection, self._memory, wanted, filter), timeout=timeout
            )

    async def known_names(
        self, ids: Sequence[str], names: Sequence[str], filter: Filter, *, timeout: float
    ) -> list[KnownName]:
        return await self._ask(lambda connection: known_names(connection, self._memory, ids, names, filter), timeout)

    async def people(self, question: ByAccount, head: int, *, timeout: float) -> Accounts:
        return await self._ask(lambda connection: people(connection, self._memory, question, head), timeout)

    async def active(self, question: ActiveIn, head: int, *, timeout: float) -> list[Active | None]:
        return await self._ask(lambda connection: active(connection, self._memory, question, head), timeout)

    async def prune(self) -> bool:
        # Whoever fills it prunes it.
        return True if self._filling is None else await self._filling.prune()

    async def rebuild(self, reason: str) -> None:
        _log.warning("search_rebuild", reason=reason)
        await self._drop()
        self._watching.forget()
        # Of another service it ends by itself, as its tables are gone.
        if self._filling is not None:
            self._filling.begin_again()

    async def size(self) -> int:
        size: int = await self._sessions.ask(lambda connection: connection.fetchval(_SIZE))
        return size
