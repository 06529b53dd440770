"""The embedded log: one SQLite file in WAL mode, every commit synced.

A process of its own writes (`writer.py`): all appends and settlements that are made at the same time share a
transaction there, and a request that the database refuses is tried again alone, so that it undoes only itself. A thread
reads, in short transactions, so that the WAL can be checkpointed. Tables: `schema.py`. Another process reads through
`open_reader`.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import aiosqlite

from adapter.counts import Commits
from adapter.errors import StoreDamaged, StoreError, StoreUnavailable
from adapter.log.protocol import (
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
from adapter.log.sqlite.arrivals import count_arrivals
from adapter.log.sqlite.asking import (
    ask_attempts,
    ask_blocked,
    ask_dead_removed,
    ask_held,
    ask_held_at,
    ask_next_due,
    ask_old_attempts,
    ask_progress,
    ask_rows,
)
from adapter.log.sqlite.checking import Checking
from adapter.log.sqlite.damage import Damage
from adapter.log.sqlite.files import Files
from adapter.log.sqlite.history import find_before, find_latest, read_note, read_notes, read_stored
from adapter.log.sqlite.known import read_known
from adapter.log.sqlite.messages import (
    Advance,
    Answer,
    Append,
    Appended,
    Begin,
    Begun,
    Claimed,
    Counted,
    Drop,
    Forget,
    ForgetAttempts,
    ForgetReader,
    Forgotten,
    Gone,
    Keep,
    Options,
    Remove,
    RemoveRaw,
    Replace,
    Replaced,
    Revise,
    Revised,
    Settle,
    TakeClaim,
    TryWrite,
    Wipe,
    Wiped,
)
from adapter.log.sqlite.quarantine import read_quarantine
from adapter.log.sqlite.reading import (
    Reader,
    fetch_entries,
    find_position,
    find_position_at,
    open_reader,
    read_entries,
    read_raw,
)
from adapter.log.sqlite.removing import count_removed
from adapter.log.sqlite.schema import READ_ERRORS, reading_uri, store_error
from adapter.log.sqlite.usage import count_shares, read_usage
from adapter.log.sqlite.writing import Writing, open_writing
from adapter.model import Entry
from adapter.tasks import in_background

__all__ = ["Reader", "SqliteLog", "find_position", "open_reader", "open_sqlite_log", "read_entries"]

#: Pages of the WAL after which it is copied into the file. More pages are written once instead of several times, and
#: the copying takes longer.
CHECKPOINT_PAGES = 2000
#: Page cache of the connection that reads, KiB.
READ_CACHE = 2048
#: How long to wait for another process that writes, seconds.
BUSY_TIMEOUT = 5.0
#: How long a commit may take until whoever asked for it is told that it is unknown what became of it, seconds.
COMMIT_TIMEOUT = 10.0
#: How long a read may take, seconds; the longest that is asked for takes some 100 ms.
READ_TIMEOUT = 10.0
#: How long a trial of the store waits for its answer, seconds.
TRIAL_TIMEOUT = 1.5

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class SqliteLog:
    """`adapter.log.protocol.Store` on SQLite; made by `open_sqlite_log`."""

    def __init__(
        self,
        path: Path,
        writing: Writing,
        reader: Reader,
        progress: aiosqlite.Connection,
        damage: Damage,
        files: Files,
    ) -> None:
        """``files``: those on the disk, as the check in the background compares them."""
        self._path = path
        self._writing = writing
        self._damage = damage
        self._files = files
        #: A trial of the store that is not answered yet: no second one is made meanwhile.
        self._trial: asyncio.Future[Answer] | None = None
        self._reader = reader
        #: Answers how far readers are.
        self._progress = progress
        #: By name, with the owner.
        self._claims: dict[str, tuple[str, Claim]] = {}
        #: By what is claimed: whoever claims something else waits for no commit but its own.
        self._claiming: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._reading = ThreadPoolExecutor(max_workers=1, thread_name_prefix="log-reading")

    @property
    def head(self) -> int:
        return self._writing.head

    @property
    def commits(self) -> Commits:
        """How the commits went, for metrics."""
        return self._writing.commits

    @property
    def damaged(self) -> str | None:
        return None if self._damage.problem is None else self._told(self._damage.problem)

    @property
    def writer_id(self) -> int | None:
        """Process id of the writer, while one runs."""
        return self._writing.process_id

    async def append(self, entries: Sequence[NewEntry], note: Note | None = None) -> list[Receipt]:
        if not entries and note is None:
            return []
        answer = await self._writing.call(Append(list(entries), note))
        assert type(answer) is Appended
        return answer.receipts

    async def revise(self, revisions: Sequence[Revision], note: Note | None = None) -> list[int | None] | None:
        answer = await self._writing.call(Revise(list(revisions), note))
        assert type(answer) is Revised
        return answer.positions

    async def read(self, after: int, *, until: int | None = None, limit: int = 1000) -> list[Entry]:
        last = self.head if until is None else min(until, self.head)
        if after >= last or limit < 1:
            return []
        return await self._read(read_entries, after, until=last, limit=limit)

    async def fetch(self, positions: Sequence[int], *, size: int = READ_SIZE) -> list[Entry]:
        return await self._read(fetch_entries, positions, size=size)

    async def read_stored(self, after: int, *, until: int | None = None, limit: int = 1000) -> list[Stored]:
        last = self.head if until is None else min(until, self.head)
        if after >= last or limit < 1:
            return []
        return await self._read(read_stored, after, until=last, limit=limit)

    async def raw(self, position: int, *, size: int | None = None) -> Raw | None:
        return await self._read(read_raw, position, size=size)

    async def latest(self, uid: bytes) -> int | None:
        return await self._read(find_latest, uid)

    async def before(self, uid: bytes, position: int) -> int | None:
        return await self._read(find_before, uid, position)

    async def quarantine(
        self,
        *,
        sources: list[str] | None = None,
        native_types: list[str] | None = None,
        limit: int = 100,
        timeout: float | None = None,
    ) -> Quarantine:
        reading = asyncio.to_thread(
            read_quarantine, self._path, sources=sources, native_types=native_types, limit=limit, timeout=timeout
        )
        return await self._ask(reading)

    async def arrivals(self, *, after: int = 0) -> list[Arrivals]:
        return await self._ask(asyncio.to_thread(count_arrivals, self._path, self.head, after=after))

    async def position_at(self, received_at: int) -> int:
        return await self._read(find_position_at, received_at)

    async def known(self, entries: Sequence[NewEntry]) -> list[bytes | None]:
        return await self._read(read_known, entries)

    async def removed(self, after: int, until: int) -> int:
        return await self._read(count_removed, after, min(until, self.head))

    async def remove(self, removal: Removal) -> Removed:
        answer = await self._writing.call(Remove(removal))
        assert type(answer) is Gone
        return answer.removed

    async def remove_raw(self, after: int, until: int) -> Removed:
        answer = await self._writing.call(RemoveRaw(after, until))
        assert type(answer) is Gone
        return answer.removed

    async def forget(self, until: int, seconds: int) -> bool:
        answer = await self._writing.call(Forget(until, seconds))
        assert type(answer) is Forgotten
        return answer.more

    async def replace(self, replacements: Sequence[Replacement], note: Note | None = None) -> list[int]:
        answer = await self._writing.call(Replace(sorted(replacements), note))
        assert type(answer) is Replaced
        return answer.positions

    async def wipe(self) -> bool:
        with self._files.cutting_wal():
            answer = await self._writing.call(Wipe())
        assert type(answer) is Wiped
        return answer.done

    async def shares(self, after: int, until: int) -> list[Share]:
        return await self._ask(asyncio.to_thread(count_shares, self._path, after, min(until, self.head)))

    async def usage(self) -> Usage:
        return await self._read(read_usage, self.head)

    async def wait(self, after: int, timeout: float | None = None) -> int:
        return await self._writing.wait(after, timeout)

    async def writable(self) -> str | None:
        if self._damage.problem is not None:
            return self.damaged
        if self._trial is None or self._trial.done():
            try:
                self._trial = asyncio.ensure_future(self._writing.call(TryWrite()))
            except StoreError as refusal:
                return self._told(str(refusal))
            self._trial.add_done_callback(asyncio.Future.exception)
        await asyncio.wait([self._trial], timeout=TRIAL_TIMEOUT)
        if self._trial.done():
            error = self._trial.exception()
            return None if error is None else self._told(str(error))
        silence = self._writing.silence
        if silence < TRIAL_TIMEOUT:
            return None  # it commits what others asked for before
        return f"the disk, or the process that writes the log, has not answered for {silence:.1f} s"

    def _told(self, problem: str) -> str:
        """A problem without the folder, for those who may not know where the log lies."""
        return problem.replace(f"{self._path.parent}/", "")

    async def progress(self, reader: str) -> ReaderState | None:
        return await self._ask(ask_progress(self._progress, reader))

    async def begin(self, reader: str, cursor: int, filter: str, token: int = 0) -> ReaderState:
        answer = await self._writing.call(Begin(reader, cursor, filter, token))
        assert type(answer) is Begun
        return answer.progress

    async def settle(self, settlement: Settlement) -> None:
        await self._writing.call(Settle(settlement))

    async def advance(self, cursor: int, tokens: Mapping[str, int]) -> None:
        await self._writing.call(Advance(cursor, dict(tokens)))

    async def held(self, reader: str, *, due_at: int | None = None, limit: int = 1000) -> list[Held]:
        return await self._ask(ask_held(self._progress, reader, due_at=due_at, limit=limit))

    async def held_at(self, reader: str, positions: Sequence[int]) -> list[Held]:
        return await self._ask(ask_held_at(self._progress, reader, positions))

    async def rows(
        self, reader: str, *, dead: bool | None = None, after: int = 0, until: int | None = None, limit: int = 1000
    ) -> list[Held]:
        return await self._ask(ask_rows(self._progress, reader, dead, after, until, limit))

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
        question = ask_attempts(
            self._progress, reader, position, outcomes, statuses, began_from, began_to, before, limit
        )  # fmt: skip
        return await self._ask(question)

    async def remove_attempts(self, *, before: int, most: int, limit: int = 500) -> int:
        gone = 0
        for reader, until in await self._ask(ask_old_attempts(self._progress, before, most)):
            if gone >= limit:
                break
            answer = await self._writing.call(ForgetAttempts(reader, until, limit - gone))
            assert type(answer) is Counted
            gone += answer.rows
        return gone

    async def dead_removed(self, reader: str, *, limit: int = 1000) -> list[int]:
        return await self._ask(ask_dead_removed(self._progress, reader, limit=limit))

    async def blocked(self, reader: str) -> list[BlockedKey]:
        return await self._ask(ask_blocked(self._progress, reader))

    async def next_due(self, reader: str) -> int | None:
        return await self._ask(ask_next_due(self._progress, reader))

    async def forget_reader(self, reader: str, token: int = 0) -> None:
        await self._writing.call(ForgetReader(reader, token))

    async def noted(self, name: str) -> Note | None:
        return await self._read(read_note, name)

    async def notes(self, prefix: str) -> list[Note]:
        return await self._read(read_notes, prefix)

    async def keep(self, note: Note) -> None:
        await self._writing.call(Keep(note))

    async def drop(self, name: str, version: int) -> None:
        await self._writing.call(Drop(name, version))

    async def claim(self, name: str, owner: str) -> Claim | None:
        """As nobody else may have the log open, a claim lasts as long as this has."""
        async with self._claiming[name]:
            claimed = self._claims.get(name)
            if claimed is None:
                answer = await self._writing.call(TakeClaim(name))
                assert type(answer) is Claimed
                claimed = self._claims[name] = owner, Claim(name, answer.token, None)
        return claimed[1] if claimed[0] == owner else None

    async def release(self, claim: Claim) -> None:
        if self._claims.get(claim.name, ("", None))[1] == claim:
            del self._claims[claim.name]

    async def close(self) -> None:
        """Answer what was asked to be read, and end the thread that reads."""
        await asyncio.to_thread(self._reading.shutdown)

    async def _read(
        self,
        function: Callable[Concatenate[Reader, Arguments], Result],
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Result:
        call = partial(function, self._reader, *args, **kwargs)
        try:
            async with asyncio.timeout(READ_TIMEOUT):
                return await self._ask(asyncio.get_running_loop().run_in_executor(self._reading, call))
        except TimeoutError:
            raise StoreUnavailable(f"{self._path}: not read within {READ_TIMEOUT:g} s") from None

    async def _ask(self, answer: Awaitable[Result]) -> Result:
        try:
            return await answer
        except (*READ_ERRORS, StoreDamaged) as error:
            reason = store_error(self._path, error)
            if isinstance(reason, StoreDamaged):
                self._damage.meet(str(reason))
            raise reason from error


@asynccontextmanager
async def open_sqlite_log(
    path: Path,
    *,
    dictionary: bytes = b"",
    busy_timeout: float = BUSY_TIMEOUT,
    checkpoint_pages: int = CHECKPOINT_PAGES,
    commit_timeout: float = COMMIT_TIMEOUT,
) -> AsyncIterator[SqliteLog]:
    """Open the log in this file; make it if there is none. Nobody else may append to it meanwhile.

    ``dictionary`` is text like that of the events to come (bytes of their JSON), by which they are compressed better;
    a log keeps the one it was made with. ``busy_timeout``: seconds to wait for another process that writes;
    ``commit_timeout``: seconds after which a commit without an answer is given up on.

    Raises:
        StoreMismatch: the file is not a log, or of a newer version.
        StoreUnavailable: it cannot be opened now.
        StoreError: it is damaged.
    """
    options = Options(str(path), dictionary, busy_timeout, checkpoint_pages)
    damage = Damage()
    asking = aiosqlite.connect(reading_uri(path), uri=True, isolation_level=None)
    async with open_writing(options, damage, commit_timeout) as writing:
        with closing(Checking(path, writing, damage)) as checking, open_reader(path, cache=READ_CACHE) as reader:
            async with asking as progress:
                log = SqliteLog(path, writing, reader, progress, damage, checking.files)
                try:
                    async with in_background(checking.run(), "checking"):
                        yield log
                finally:
                    await log.close()
