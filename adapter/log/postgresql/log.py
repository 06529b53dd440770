"""The log in PostgreSQL: `adapter.log.protocol.RetainingStore` for several services over one database.

Each service has one connection that appends (`committing.py`), one that hears of the head (`watching.py`), one for
claims, one that removes, and a few for reading. Tables: `schema.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from adapter.counts import Commits
from adapter.errors import AdapterError
from adapter.log.arrivals import ArrivalCounts
from adapter.log.compression import Compression
from adapter.log.postgresql import claims
from adapter.log.postgresql.address import Address, read_address
from adapter.log.postgresql.committing import Committing, open_committing
from adapter.log.postgresql.connecting import Connection, Sessions, connect
from adapter.log.postgresql.failures import FAILURES, opening_error
from adapter.log.postgresql.identities import find_known
from adapter.log.postgresql.notes import read_note, read_notes
from adapter.log.postgresql.progress import (
    read_attempts,
    read_blocked,
    read_dead_removed,
    read_held,
    read_held_at,
    read_next_due,
    read_progress,
    read_rows,
    remove_attempts,
)
from adapter.log.postgresql.reading import (
    fetch_entries,
    find_before,
    find_latest,
    find_position_at,
    read_entries,
    read_raw,
    read_stored,
)
from adapter.log.postgresql.removing import (
    Forgetting,
    count_removed,
    count_shares,
    read_usage,
    remove,
    remove_raw,
)
from adapter.log.postgresql.replacing import replace
from adapter.log.postgresql.schema import Opened, check_server, open_schema
from adapter.log.postgresql.summaries import count_arrivals, read_quarantine
from adapter.log.postgresql.watching import Watching, open_watching
from adapter.log.postgresql.works import (
    Advance,
    Begin,
    Drop,
    ForgetReader,
    Keep,
    Revise,
    Settle,
    TryWrite,
    prepare_append,
    text,
    text_or_none,
)
from adapter.log.protocol import (
    CLAIM_SECONDS,
    READ_SIZE,
    Arrivals,
    Attempt,
    BlockedKey,
    Claim,
    Held,
    NewEntry,
    Note,
    Quarantine,
    Raw,
    ReaderState,
    Receipt,
    Removal,
    Removed,
    Replacement,
    Revision,
    Settlement,
    Share,
    Stored,
    Usage,
)
from adapter.model import Entry

#: How long a commit may take until whoever asked for it is told that it is not done, or unknown, seconds.
COMMIT_TIMEOUT = 10.0
#: How long a read may take, seconds.
READ_TIMEOUT = 10.0
#: How long a claim waits for its answer, seconds; less than a claim lasts.
CLAIM_TIMEOUT = 3.0
#: How long a look at all that is quarantined may take, or at a stretch of what arrived, seconds.
SUMMARY_TIMEOUT = 300.0
#: How long a trial of the store waits for its answer, seconds.
TRIAL_TIMEOUT = 1.5
#: Connections that read.
READERS = 4
#: Entries of whose arrival one statement counts.
STRETCH = 50_000


class PostgresqlLog:
    """`adapter.log.protocol.RetainingStore` in PostgreSQL; made by `open_postgresql_log`."""

    #: The database looks after its own files.
    damaged: str | None = None

    def __init__(
        self,
        committing: Committing,
        watching: Watching,
        reading: Sessions,
        claiming: Sessions,
        summing: Sessions,
        removing: Sessions,
        dictionary: bytes,
        claim_seconds: float,
    ) -> None:
        self._committing = committing
        self._watching = watching
        self._reading = reading
        self._claiming = claiming
        self._summing = summing
        self._removing = removing
        self._forgetting = Forgetting()
        self._compression = Compression(dictionary)
        self._claim_seconds = claim_seconds
        #: A trial of the store that is not answered yet: no second one is made meanwhile.
        self._trial: asyncio.Task[None] | None = None

    @property
    def head(self) -> int:
        return self._watching.head

    @property
    def commits(self) -> Commits:
        return self._committing.commits

    async def append(self, entries: Sequence[NewEntry], note: Note | None = None) -> list[Receipt]:
        if not entries and note is None:
            return []
        committing = self._committing
        work = await prepare_append(self._compression, entries, _checked(note), committing.watched)
        return await committing.call(work)

    async def revise(self, revisions: Sequence[Revision], note: Note | None = None) -> list[int | None] | None:
        if not revisions and note is None:
            return []
        checked = [
            one._replace(type=text(one.type), native_type=text_or_none(one.native_type)) for one in revisions
        ]  # fmt: skip
        return await self._committing.call(Revise(checked, _checked(note)))

    async def read(self, after: int, *, until: int | None = None, limit: int = 1000) -> list[Entry]:
        last = self.head if until is None else min(until, self.head)
        if after >= last or limit < 1:
            return []
        return await self._reading.ask(
            lambda connection: read_entries(connection, self._compression, max(after, 0), until=last, limit=limit)
        )

    async def fetch(self, positions: Sequence[int], *, size: int = READ_SIZE) -> list[Entry]:
        known = [position for position in positions if 0 < position <= self.head]
        if not known:
            return []
        return await self._reading.ask(
            lambda connection: fetch_entries(connection, self._compression, known, size=size)
        )  # fmt: skip

    async def read_stored(self, after: int, *, until: int | None = None, limit: int = 1000) -> list[Stored]:
        last = self.head if until is None else min(until, self.head)
        if after >= last or limit < 1:
            return []
        return await self._reading.ask(
            lambda connection: read_stored(connection, self._compression, max(after, 0), until=last, limit=limit)
        )

    async def raw(self, position: int, *, size: int | None = None) -> Raw | None:
        if not 0 < position <= self.head:
            return None
        return await self._reading.ask(
            lambda connection: read_raw(connection, self._compression, position, size)
        )  # fmt: skip

    async def latest(self, uid: bytes) -> int | None:
        return await self._reading.ask(partial(find_latest, uid=uid))

    async def before(self, uid: bytes, position: int) -> int | None:
        return await self._reading.ask(partial(find_before, uid=uid, position=position))

    async def position_at(self, received_at: int) -> int:
        head = self.head
        found = await self._reading.ask(partial(find_position_at, received_at=received_at))
        return head if found is None else found

    async def known(self, entries: Sequence[NewEntry]) -> list[bytes | None]:
        watched = set(self._committing.watched)
        return await self._reading.ask(
            lambda connection: find_known(connection, self._compression, entries, watched)
        )  # fmt: skip

    async def removed(self, after: int, until: int) -> int:
        return await self._reading.ask(partial(count_removed, after=after, until=min(until, self.head)))

    async def remove(self, removal: Removal) -> Removed:
        return await self._removing.ask(partial(remove, compression=self._compression, removal=removal))

    async def remove_raw(self, after: int, until: int) -> Removed:
        return await self._removing.ask(partial(remove_raw, after=after, until=until))

    async def forget(self, until: int, seconds: int) -> bool:
        return await self._removing.ask(partial(self._forgetting.forget, until=until, seconds=seconds))

    async def replace(self, replacements: Sequence[Replacement], note: Note | None = None) -> list[int]:
        question = partial(
            replace, compression=self._compression, replacements=sorted(replacements), note=_checked(note)
        )  # fmt: skip
        return await self._removing.ask(question)

    async def wipe(self) -> bool:
        """The database's old rows, and its write-ahead log, are its operator's (docs/secure.md)."""
        return True

    async def shares(self, after: int, until: int) -> list[Share]:
        found: dict[tuple[str, str | None], Share] = {}
        for start in range(after, min(until, self.head), STRETCH):
            end = min(start + STRETCH, until, self.head)
            for one in await self._summing.ask(partial(count_shares, after=start, until=end)):
                known = found.get((one.source, one.type), Share(one.source, one.type, 0, 0))
                counted = Share(one.source, one.type, known.entries + one.entries, known.size + one.size)
                found[one.source, one.type] = counted
        return list(found.values())

    async def usage(self) -> Usage:
        return await self._reading.ask(partial(read_usage, head=self.head))

    async def wait(self, after: int, timeout: float | None = None) -> int:
        return await self._watching.wait(after, timeout)

    async def quarantine(
        self,
        *,
        sources: list[str] | None = None,
        native_types: list[str] | None = None,
        limit: int = 100,
        timeout: float | None = None,
    ) -> Quarantine:
        question = partial(read_quarantine, sources=sources, native_types=native_types, limit=limit)
        return await self._summing.ask(question, timeout=timeout)

    async def arrivals(self, *, after: int = 0) -> list[Arrivals]:
        counts = ArrivalCounts()
        head = self.head
        for start in range(after, head, STRETCH):
            until = min(start + STRETCH, head)
            counts.add(await self._summing.ask(partial(count_arrivals, after=start, until=until)))
        return counts.sorted()

    async def writable(self) -> str | None:
        if self._trial is None or self._trial.done():
            self._trial = asyncio.create_task(self._committing.call(TryWrite()))
            self._trial.add_done_callback(_heard)
        await asyncio.wait([self._trial], timeout=TRIAL_TIMEOUT)
        if self._trial.done():
            error = None if self._trial.cancelled() else self._trial.exception()
            return None if error is None else str(error)
        silence = self._committing.silence
        if silence < TRIAL_TIMEOUT:
            return None  # it commits what others asked for before
        return f"the database has not answered for {silence:.1f} s"

    async def progress(self, reader: str) -> ReaderState | None:
        return await self._reading.ask(partial(read_progress, reader=reader))

    async def begin(self, reader: str, cursor: int, filter: str, token: int = 0) -> ReaderState:
        return await self._committing.call(Begin(text(reader), cursor, text(filter), token))

    async def settle(self, settlement: Settlement) -> None:
        await self._committing.call(Settle(settlement))

    async def advance(self, cursor: int, tokens: Mapping[str, int]) -> None:
        await self._committing.call(Advance(cursor, {text(name): token for name, token in tokens.items()}))

    async def held(self, reader: str, *, due_at: int | None = None, limit: int = 1000) -> list[Held]:
        return await self._reading.ask(partial(read_held, reader=reader, due_at=due_at, limit=limit))

    async def held_at(self, reader: str, positions: Sequence[int]) -> list[Held]:
        return await self._reading.ask(partial(read_held_at, reader=reader, positions=positions))

    async def rows(
        self, reader: str, *, dead: bool | None = None, after: int = 0, until: int | None = None, limit: int = 1000
    ) -> list[Held]:
        question = partial(read_rows, reader=reader, dead=dead, after=after, until=until, limit=limit)
        return await self._reading.ask(question)

    async def attempts(
        self,
        reader: str,
        *,
        position: int | None = None,
        outcomes: Sequence[str] | None = None,
        statuses: Sequence[int] | None = None,
        began_from: int | None = None,
        began_to: int | None = None,
        before: tuple[int, int] | None = None,
        limit: int = 100,
    ) -> list[Attempt]:
        question = partial(
            read_attempts, reader=reader, position=position, outcomes=outcomes, statuses=statuses,
            began_from=began_from, began_to=began_to, before=before, limit=limit,
        )  # fmt: skip
        return await self._reading.ask(question)

    async def remove_attempts(self, *, before: int, most: int, limit: int = 500) -> int:
        return await self._removing.ask(partial(remove_attempts, before=before, most=most, limit=limit))

    async def dead_removed(self, reader: str, *, limit: int = 1000) -> list[int]:
        return await self._reading.ask(partial(read_dead_removed, reader=reader, limit=limit))

    async def blocked(self, reader: str) -> list[BlockedKey]:
        return await self._reading.ask(partial(read_blocked, reader=reader))

    async def next_due(self, reader: str) -> int | None:
        return await self._reading.ask(partial(read_next_due, reader=reader))

    async def forget_reader(self, reader: str, token: int = 0) -> None:
        await self._committing.call(ForgetReader(text(reader), token))

    async def noted(self, name: str) -> Note | None:
        return await self._reading.ask(partial(read_note, name=name))

    async def notes(self, prefix: str) -> list[Note]:
        return await self._reading.ask(partial(read_notes, prefix=prefix))

    async def drop(self, name: str, version: int) -> None:
        await self._committing.call(Drop(text(name), version))

    async def keep(self, note: Note) -> None:
        await self._committing.call(Keep(Note(text(note.name), text(note.text), note.version)))

    async def claim(self, name: str, owner: str) -> Claim | None:
        return await self._claiming.ask(partial(claims.take, name=name, owner=owner, seconds=self._claim_seconds))

    async def release(self, claim: Claim) -> None:
        await self._claiming.ask(partial(claims.release, claim=claim))


def _checked(note: Note | None) -> Note | None:
    return None if note is None else Note(text(note.name), text(note.text), note.version)


def _heard(trial: asyncio.Task[None]) -> None:
    if not trial.cancelled():
        trial.exception()  # told by whoever asks next


async def _open_tables(address: Address, dictionary: Callable[[], bytes]) -> Opened:
    connection: Connection | None = None
    try:
        connection = await connect(address)
        async with asyncio.timeout(SUMMARY_TIMEOUT):
            await check_server(connection, address)
            return await open_schema(connection, address, dictionary)
    finally:
        if connection is not None:
            connection.terminate()


@asynccontextmanager
async def open_postgresql_log(
    url: str,
    *,
    dictionary: Callable[[], bytes] = bytes,
    claim_seconds: float = CLAIM_SECONDS,
    commit_timeout: float = COMMIT_TIMEOUT,
) -> AsyncIterator[PostgresqlLog]:
    """Open the log in this database; make its tables if there are none. Others may have it open meanwhile.

    ``url``: as `adapter.log.postgresql.address.read_address` has it. ``dictionary`` gives text like that of the events
    to come (bytes of their JSON), by which they are compressed better; a log keeps the one it was made with. Claims
    last ``claim_seconds``; ``commit_timeout``: seconds after which a commit without an answer is given up on.

    Raises:
        ConfigError: the URL is wrong, or the database does not offer what is needed.
        StoreMismatch: the tables are of a newer version.
        StoreUnavailable: the database cannot be used now.
    """
    address = read_address(url)
    async with AsyncExitStack() as stack:
        try:
            opened = await _open_tables(address, dictionary)
            watching = await stack.enter_async_context(open_watching(address, opened.head))
            committing = await stack.enter_async_context(
                open_committing(address, opened.dictionary, commit_timeout, watching.show)
            )
        except FAILURES as error:
            reason: AdapterError = opening_error(address.name, error)
            raise reason from None
        reading = Sessions(address, READERS, READ_TIMEOUT)
        claiming = Sessions(address, 1, CLAIM_TIMEOUT)
        summing = Sessions(address, 1, SUMMARY_TIMEOUT)
        removing = Sessions(address, 1, READ_TIMEOUT)
        for sessions in (reading, claiming, summing, removing):
            stack.push_async_callback(sessions.close)
        yield PostgresqlLog(
            committing, watching, reading, claiming, summing, removing, opened.dictionary, claim_seconds
        )  # fmt: skip
