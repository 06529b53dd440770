"""Finding events: the one way to the search for everybody who asks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from adapter.errors import RequestError, StoreUnavailable
from adapter.filter import Filter
from adapter.log.protocol import Log, Store
from adapter.search.cursor import (
    BEGINNING,
    END,
    LogCursor,
    Order,
    TimeCursor,
    newest,
    oldest,
    read_log_cursor,
    read_time_cursor,
    write_cursor,
)
from adapter.search.index import (
    Behind,
    ByLog,
    ByPrefix,
    ByTime,
    ByValue,
    Completed,
    Found,
    Index,
    Question,
    Tally,
    Uncounted,
)
from adapter.search.linking import Asked, KnownName
from adapter.search.opening import open_index, search_url
from adapter.search.people import Accounts, Active, ActiveIn, ByAccount
from adapter.search.turns import Turns

Result = TypeVar("Result")

#: How long a question may run, seconds; and how many run at the same time, each of another caller.
TIMEOUT, READERS = 10.0, 3

#: How often a question is asked of a search that is thrown away and built again meanwhile.
_TRIES = 3
#: After which share of that time a question gives back what it has found, and a cursor from which to go on.
SHARE = 0.2


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

    A question that takes too long is broken off. Questions of one caller run one after the other, those of several in
    turn.
    """

    def __init__(self, index: Index, log: Log, *, timeout: float, readers: int) -> None:
        self._index = index
        self._log = log
        #: How long a question may run, and how long it may wait for its turn, seconds.
        self.timeout = timeout
        #: The share of it after which a question gives back what it has found.
        self.share = SHARE
        self._turns = Turns(readers)

    @property
    def position(self) -> int:
        """Up to which entry of the log events are found without waiting."""
        return self._index.position

    @property
    def head(self) -> int:
        """The log's head."""
        return self._log.head

    @property
    def rebuilt(self) -> str | None:
        """Why the search was thrown away and built again since the start; ``None`` if it was not."""
        return self._index.rebuilt

    @property
    def filler(self) -> int | None:
        """Process id of the filler, while one runs here."""
        return self._index.filler

    async def prune(self) -> bool:
        """Have what was removed from the log removed from here, too; whether it was within some time."""
        return await self._index.prune()

    async def rebuild(self, reason: str) -> None:
        """Throw the search away, and have it built again.

        Raises:
            StoreUnavailable: not now.
        """
        await self._index.rebuild(reason)

    async def size(self) -> int:
        """Bytes that the search takes on the disk, without what is free in its files."""
        return await self._index.size()

    async def wait(self, position: int) -> None:
        """Return when everything up to ``position`` is found.

        Raises:
            RequestError: 503, it takes longer than a question may (the database is being built).
        """
        try:
            async with asyncio.timeout(self.timeout):
                await self._index.wait(position)
        except TimeoutError:
            raise RequestError(
                503,
                "Search is being filled",
                f"{self._index.position} of {self._log.head} entries can be searched; try again later",
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
        ascending: bool = False,
    ) -> Page:
        """One page of the events that match, complete up to the log's head at this moment. Where few match and many
        are looked at, it is shorter, or empty, and goes on behind what was looked at.

        ``order="time"``: newest first by event time, or ``ascending``, each event once in its latest revision; pages
        joined give each event once while new ones arrive. ``order="log"``: ascending by position, each event in its
        first entry, with ``revisions`` in every one; from the cursor `END`, what comes later. ``caller``: whose turn it
        waits for, however long if it is ``patient``.

        Raises:
            RequestError: 400, the cursor is bad; 503, the question took too long, or did not come to its turn, or the
                database is being built.
            StoreUnavailable: the search database cannot be read now.
        """
        head = self._log.head
        wait = None if patient else self.timeout
        if order == "time":
            first = oldest(head) if ascending else newest(head)
            after = first if cursor is None else read_time_cursor(cursor)
            found = await self._ask(caller, wait, head, ByTime(filter, limit + 1, after, ascending))
            cursors = [TimeCursor(*row, after.snapshot) for row in found[:limit]]
            end = None if found.reached is None else TimeCursor(*found.reached, after.snapshot)
            last = cursors[-1] if len(found) > limit else end
            following = None if last is None else write_cursor(last)
            return Page([row.position for row in found[:limit]], following, cursors)
        place = BEGINNING if cursor is None else LogCursor(head) if cursor == END else read_log_cursor(cursor)
        found = await self._ask(caller, wait, head, ByLog(filter, limit, place, head, revisions))
        places = [LogCursor(row.position) for row in found]
        reached = None if found.reached is None else LogCursor(found.reached.position)
        next = write_cursor(reached or (places[-1] if places else place))
        at_end = reached is None and len(found) < limit
        return Page([row.position for row in found], next, places, at_end=at_end)

    async def names(
        self,
        wanted: Sequence[Asked],
        filter: Filter,
        *,
        caller: str = "",
        timeout: float | None = None,
        patient: bool = False,
    ) -> list[str | None]:
        """The name that each id had at its time, so far as it is known by now and the filter's exact terms allow its
        reader to know. Does not wait until the search is filled. ``timeout``: seconds; ``None``: as long as a question
        may take. The wait for the caller's turn counts, but where he is ``patient``.

        Raises:
            RequestError: 503, it takes longer.
            StoreUnavailable: the search cannot be read now.
        """
        timeout = self.timeout if timeout is None else timeout
        try:
            async with asyncio.timeout(None if patient else timeout), self._turns.of(caller):
                return await self._index.names(wanted, filter, timeout=timeout)
        except Behind:
            return [None] * len(wanted)
        except TimeoutError:
            raise RequestError(
                503,
                "Search is busy",
                f"names were not looked up within {timeout:g} s; ask without names, or again later",
                headers={"Retry-After": "5"},
            ) from None

    async def known_names(
        self, ids: Sequence[str], names: Sequence[str], filter: Filter, *, caller: str = ""
    ) -> list[KnownName]:
        """What is known of some ids of users, and of some names (`adapter.search_fields.folded`), as far as the
        filter's exact terms allow its reader to know. Does not wait until the search is filled.

        Raises:
            RequestError: 503, it takes longer than a question may.
            StoreUnavailable: the search cannot be read now.
        """
        try:
            async with asyncio.timeout(self.timeout), self._turns.of(caller):
                return await self._index.known_names(ids, names, filter, timeout=self.timeout)
        except Behind:
            return []
        except TimeoutError:
            raise RequestError(
                503,
                "Search is busy",
                f"names were not looked up within {self.timeout:g} s; ask again later",
                headers={"Retry-After": "5"},
            ) from None

    async def people(self, question: ByAccount, *, caller: str = "") -> Accounts:
        """Accounts in order, of all up to the log's head at this moment.

        Raises:
            RequestError: 503, it took longer than a question may, or did not come to its turn, or the database is being
                built.
            StoreUnavailable: the search database cannot be read now.
        """
        if not (head := self._log.head):
            return Accounts((), None)
        return await self._people(caller, head, lambda: self._index.people(question, head, timeout=self.timeout))

    async def active(self, question: ActiveIn, *, caller: str = "") -> list[Active | None]:
        """How many accounts were active in each stretch of time; ``None``: there was no time for it. Raises: as
        `people`."""
        if not (head := self._log.head):
            return [Active(0, 0)] * len(question.stretches)
        return await self._people(caller, head, lambda: self._index.active(question, head, timeout=self.timeout))

    async def _people(self, caller: str, head: int, work: Callable[[], Awaitable[Result]]) -> Result:
        try:
            return await self._in_turn(caller, self.timeout, head, work)
        except TimeoutError:
            raise RequestError(
                503,
                "Search took too long",
                f"not answered within {self.timeout:g} s; narrow it, for example with source",
            ) from None

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

    async def tally(self, question: ByValue, *, caller: str = "", timeout: float) -> Tally | Uncounted:
        """How many events there are of each value, complete up to the question's snapshot.

        Raises:
            TimeoutError: it took longer than ``timeout`` seconds, its turn aside.
            RequestError: 503, it did not come to its turn, or the database is being built.
            StoreUnavailable: the search database cannot be read now.
        """
        head = question.snapshot
        if not head:
            return Tally((), None, None)
        return await self._in_turn(
            caller, self.timeout, head, lambda: self._index.count(question, head, timeout=timeout)
        )

    async def complete(self, question: ByPrefix, *, caller: str = "") -> Completed:
        """The values of a field that begin so, of what is filled now: it waits for nothing but its turn.

        Raises:
            RequestError: 503, it took longer than a question may.
            StoreUnavailable: the search cannot be read now.
        """
        if not self._log.head:
            return Completed({}, True)
        try:
            async with asyncio.timeout(self.timeout), self._turns.of(caller):
                return await self._index.complete(question, timeout=self.timeout)
        except Behind:
            return Completed({}, False)
        except TimeoutError:
            raise RequestError(
                503,
                "Search is busy",
                f"values were not looked up within {self.timeout:g} s; ask again later",
                headers={"Retry-After": "5"},
            ) from None

    async def _ask(self, caller: str, wait: float | None, head: int, question: Question) -> Found:
        if not head:
            return Found()
        return await self._in_turn(caller, wait, head, lambda: self._answer(question, head))

    async def _in_turn(
        self, caller: str, wait: float | None, head: int, work: Callable[[], Awaitable[Result]]
    ) -> Result:
        """Ask when it is the caller's turn, which comes within so many seconds; again, if the search is built anew."""
        for _ in range(_TRIES):
            await self.wait(head)
            async with AsyncExitStack() as stack:
                try:
                    await stack.enter_async_context(self._turns.of(caller, timeout=wait))
                except TimeoutError:
                    raise RequestError(
                        503,
                        "Search is busy",
                        f"{self.timeout:g} s have passed while other questions, first of all of this key, were "
                        "answered",
                        headers={"Retry-After": "5"},
                    ) from None
                with suppress(Behind):  # it is filled again
                    return await work()
        raise StoreUnavailable("the search is thrown away again and again; its log says why")

    async def _answer(self, question: Question, head: int) -> Found:
        try:
            return await self._index.ask(question, head, timeout=self.timeout, seconds=self.timeout * self.share)
        except TimeoutError:
            raise RequestError(
                503,
                "Search took too long",
                f"not answered within {self.timeout:g} s; narrow it, for example with from and to",
            ) from None


@contextlib.asynccontextmanager
async def open_search(
    file: Path,
    log: Store,
    log_url: str,
    owner: str,
    *,
    timeout: float = TIMEOUT,
    readers: int = READERS,
    with_people: bool = True,
) -> AsyncIterator[Search]:
    """Search over the log at ``log_url``: in ``file``, if that is a file, or else where the log lies. ``owner`` tells
    the services apart. ``timeout`` bounds each question, seconds; ``readers`` are asked at the same time, each by
    another caller; ``with_people``: whether it keeps accounts.

    Raises:
        AdapterError: it cannot be opened.
    """
    async with open_index(search_url(log_url, file), log, log_url, owner, readers, with_people) as index:
        yield Search(index, log, timeout=timeout, readers=readers)
