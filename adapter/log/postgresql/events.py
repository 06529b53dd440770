"""The events of a log in PostgreSQL, for a process that reads them alone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from adapter.log.compression import Compression
from adapter.log.postgresql.address import Address, read_address
from adapter.log.postgresql.connecting import Connection, Sessions, connect
from adapter.log.postgresql.failures import FAILURES, opening_error
from adapter.log.postgresql.reading import find_before, read_entries
from adapter.log.postgresql.removing import count_removed, find_left
from adapter.log.postgresql.schema import Opened, check_schema, read_schema
from adapter.log.protocol import READ_SIZE, EventRow, Events
from adapter.model import Entry

#: Entries that a process without an event loop has in memory at a time, and bytes of their events, about.
_PAGE, _PAGE_SIZE = 500, 1024 * 1024
#: How long an answer may take, seconds.
_TIMEOUT = 10.0


class _Events:
    """`adapter.log.protocol.Events` of a database; its loop runs while it is asked."""

    def __init__(self, runner: asyncio.Runner, sessions: Sessions, dictionary: bytes) -> None:
        self._runner = runner
        self._sessions = sessions
        self._compression = Compression(dictionary)

    def each(self, after: int, until: int) -> Iterator[EventRow]:
        room = READ_SIZE
        while after < until and room > 0:
            page = self._runner.run(self._page(after, until))
            for entry in page:
                yield EventRow(entry.position, entry.uid, entry.revision, entry.received_at, entry.event)
                room -= len(entry.event or b"")
                if room <= 0:
                    return
            after = page[-1].position if page else until

    async def _page(self, after: int, until: int) -> list[Entry]:
        return await self._sessions.ask(
            lambda connection: read_entries(
                connection, self._compression, after, until=until, limit=_PAGE, size=_PAGE_SIZE
            )
        )

    def before(self, uid: bytes, position: int) -> int | None:
        return self._runner.run(self._sessions.ask(partial(find_before, uid=uid, position=position)))

    def removed(self, after: int, until: int) -> int:
        return self._runner.run(self._sessions.ask(partial(count_removed, after=after, until=until)))

    def left(self, after: int, until: int) -> list[int]:
        return self._runner.run(self._sessions.ask(partial(find_left, after=after, until=until)))

    def uid(self, position: int) -> bytes | None:
        page = self._runner.run(self._page(position - 1, position))
        return page[0].uid if page else None


@contextmanager
def open_events(url: str) -> Iterator[Events]:
    """As `adapter.log.opening.open_events`."""
    address = read_address(url)
    with asyncio.Runner() as runner:
        try:
            opened = runner.run(_read_tables(address))
        except FAILURES as error:
            raise opening_error(address.name, error) from None
        sessions = Sessions(address, 1, _TIMEOUT)
        try:
            yield _Events(runner, sessions, opened.dictionary)
        finally:
            runner.run(sessions.close())


async def _read_tables(address: Address) -> Opened:
    connection: Connection | None = None
    try:
        connection = await connect(address)
        await check_schema(connection, address)
        return await read_schema(connection)
    finally:
        if connection is not None:
            connection.terminate()
