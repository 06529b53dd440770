"""The end of the log, read once for all sinks of a service that keep up.

They share one position. What is new is read by one task, and given to those alone that get something of it
(`adapter.delivery.index`); the others are not touched, and where they are is where all are. On disk their cursors are
moved on together, seldom. A sink that cannot take more leaves, reads by itself (`adapter.delivery.fetching`) once it
can, and comes back when it has read as far as the others.

Sinks that begin somewhat behind, as all do after a kill, are brought up together, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Protocol

import structlog

from adapter.delivery.index import Index
from adapter.delivery.reads import GATHER, Reads, gather
from adapter.delivery.select import Selection
from adapter.delivery.settling import STORE_WAIT
from adapter.errors import StoreError
from adapter.log.protocol import Store
from adapter.model import Entry
from adapter.tasks import is_ending

#: Entries that are read at a time.
STRETCH = 1_000
#: Entries that are handed out at once, and how often an entry may be handed out meanwhile: then others get their turn.
PART, MOST = 250, 2_000
#: Cursors of sinks that get nothing are stored after this time, seconds, or after this many entries.
KEEP, KEEP_STRETCH = 10.0, 20_000
#: Sinks that begin no further behind than this are brought up together: where a kill leaves them.
NEAR = 2 * KEEP_STRETCH
#: For each entry that they are behind they wait for others, as long as reading it takes; seconds, and at most so many.
EACH_BEHIND, OTHERS = 25e-6, 0.5
#: How often is looked whether something was removed from the log, seconds.
LOOK = 30.0

_log = structlog.get_logger(__name__)


class Follower(Protocol):
    """A sink, as far as the tail knows it."""

    @property
    def reader(self) -> str:
        """Under which name the log keeps its progress."""

    @property
    def token(self) -> int:
        """Of the claim under which it settles."""

    @property
    def selection(self) -> Selection:
        """What it gets."""

    @property
    def read_to(self) -> int:
        """Up to which position it has what it gets."""

    @property
    def cursor(self) -> int:
        """The position that is on disk, or on its way there."""

    def follow(self, group: Group | None) -> None:
        """From now on it has what it gets up to the group's position, too; ``None``: it stays where it is."""

    def take(self, entries: Sequence[Entry], read_to: int) -> bool:
        """The log was read up to there, and it gets these of the entries since; those that it has already are among
        them if it was ahead. Whether it takes more."""

    def has_all_settled(self) -> bool:
        """Whether nothing of what it got is left to be settled, or sent."""

    def passed(self, cursor: int) -> None:
        """Its cursor is on disk there."""

    def settle(self) -> None:
        """It is to settle by itself what is left."""

    def note_removed(self) -> None:
        """Something was removed from the log."""

    def note_left(self) -> None:
        """It follows nobody any more, and has to read by itself."""


class Group:
    """Sinks that have what they get up to one position."""

    def __init__(self, position: int) -> None:
        self.position = position
        self.followers: Index[Follower] = Index()


class Tail:
    """What the sinks of a service share in reading the log. Its tasks run while there is one."""

    def __init__(self, log: Store, *, near: int = NEAR) -> None:
        """``near``: how far behind sinks may begin to be brought up together, entries."""
        #: What those take turns by that read by themselves.
        self.reads = Reads()
        self._log = log
        self._near = near
        self._front = Group(log.head)
        #: All that are open, whether they follow or not.
        self._open: set[Follower] = set()
        self._group_of: dict[Follower, Group] = {}
        #: Those that wait to be brought up together.
        self._waiting: dict[Follower, None] = {}
        self._tasks: list[asyncio.Task[None]] = []
        #: Set when there is somebody in front, somebody who waits; when much was passed since cursors were stored.
        self._joined = asyncio.Event()
        self._asked = asyncio.Event()
        self._plenty = asyncio.Event()
        #: Nobody is in front, and nobody reads there.
        self._rests = True
        #: Up to where the cursors were stored.
        self._kept = log.head
        #: How many entries were removed from the log, as far as is known.
        self._removed = -1

    @asynccontextmanager
    async def shared_by(self, follower: Follower) -> AsyncIterator[None]:
        """A sink is open while the context lasts."""
        self._open.add(follower)
        if not self._tasks:
            jobs = (self._read_on, self._bring_up, self._keep_cursors, self._watch_removed)
            self._tasks = [asyncio.create_task(self._run(job), name=f"tail {job.__name__}") for job in jobs]
        try:
            yield
        finally:
            self.leave(follower)
            self._open.discard(follower)
            if not self._open:
                ending, self._tasks, self._rests = self._tasks, [], True
                for task in ending:
                    task.cancel()
                await asyncio.gather(*ending, return_exceptions=True)

    def join(self, follower: Follower, *, begins: bool) -> bool:
        """Bring a sink what it gets from now on, until it cannot take more, or leaves. ``False``: it is too far behind
        and has to read by itself. ``begins``: it has read nothing yet, and is brought up together with others."""
        front, read_to = self._front, follower.read_to
        if self._rests and not front.followers:
            # Never far behind: whoever joins later and is ahead waits for those that are in front. And never ahead of
            # the head: with several services, this one may know it a moment later than the one before it did.
            head = self._log.head
            front.position = min(read_to, head) if head - read_to <= STRETCH else head
        if read_to >= front.position:
            self._enter(follower, front)
            self._joined.set()
            return True
        if begins and front.position - read_to <= self._near:
            self._waiting[follower] = None
            self._asked.set()
            return True
        return False

    def leave(self, follower: Follower) -> None:
        """Bring a sink nothing more; nothing happens if it does not follow."""
        self._waiting.pop(follower, None)
        group = self._group_of.pop(follower, None)
        if group is not None:
            group.followers.remove(follower)
            follower.follow(None)

    def _enter(self, follower: Follower, group: Group) -> None:
        group.followers.add(follower, follower.selection)
        self._group_of[follower] = group
        follower.follow(group)

    def _drop(self, follower: Follower) -> None:
        self.leave(follower)
        follower.note_left()

    async def _run(self, job: Callable[[], Awaitable[None]]) -> None:
        """Run a task again after an error."""
        while True:
            try:
                await job()
            except StoreError as error:
                _log.warning("tail_store_failed", problem=str(error))
            except (Exception, asyncio.CancelledError) as error:
                if isinstance(error, asyncio.CancelledError) and is_ending():
                    raise
                _log.exception("tail_task_failed", task=job.__name__)
            await asyncio.sleep(STORE_WAIT)

    async def _read_on(self) -> None:
        """Bring those in front what is new."""
        loop = asyncio.get_running_loop()
        front, last_at, brought = self._front, 0.0, 0
        while True:
            if not front.followers:
                self._rests = True
                self._joined.clear()
                await self._joined.wait()
            self._rests = False
            if self._log.head <= front.position:
                await self._log.wait(front.position)
                if loop.time() - last_at < 2 * GATHER:
                    await asyncio.sleep(gather(brought))
            last_at = loop.time()
            brought = await self._read(front, self._log.head)
            if front.position - self._kept >= KEEP_STRETCH:
                self._plenty.set()

    async def _bring_up(self) -> None:
        """Bring those that wait to where those in front are, together."""
        while True:
            await self._asked.wait()
            behind = self._front.position - min((one.read_to for one in self._waiting), default=0)
            await asyncio.sleep(min(OTHERS, behind * EACH_BEHIND))
            self._asked.clear()
            waiting, self._waiting = list(self._waiting), {}
            if not waiting:
                continue
            late = Group(min(follower.read_to for follower in waiting))
            try:
                for follower in waiting:
                    self._enter(follower, late)
                while late.followers and late.position < self._front.position:
                    await self._read(late, self._front.position)
                # Nothing moves between the last look and this.
                for follower in list(late.followers):
                    self.leave(follower)
                    self._enter(follower, self._front)
                self._joined.set()
            finally:
                for follower in waiting:  # after an error they read by themselves
                    if follower in late.followers or follower not in self._group_of:
                        self._drop(follower)

    async def _read(self, group: Group, until: int) -> int:
        """Bring a group what lies behind its position, one stretch; how many entries."""
        after = group.position
        # Without taking turns: those that keep up do not wait for those that are behind.
        entries = await self._log.read(after, until=until, limit=STRETCH)
        reached = entries[-1].position if entries else until
        if reached - after != len(entries):
            for follower in group.followers:
                follower.note_removed()
        begin = 0
        while begin < len(entries):
            if begin:
                await asyncio.sleep(0)
            begin += self._hand_out(group, entries[begin : begin + PART])
        if not entries:
            group.position = until
        return len(entries)

    def _hand_out(self, group: Group, entries: Sequence[Entry]) -> int:
        """Give the first of these entries to those who get them, and move the group on behind them; how many."""
        found: dict[Follower, list[Entry]] = {}
        count = handed = 0
        for entry in entries:
            takers = self._takers(group, entry)
            for follower in takers:
                found.setdefault(follower, []).append(entry)
            count += 1
            handed += len(takers)
            if handed >= MOST:
                break
        reached = entries[count - 1].position
        for follower, part in found.items():
            if follower not in group.followers:
                continue  # it failed with one of the entries
            takes_more = False
            try:
                takes_more = follower.take(part, reached)
            except Exception:
                _log.exception("sink_task_failed", sink=follower.reader, task="take")
            if not takes_more:
                self._drop(follower)
        group.position = reached
        return count

    def _takers(self, group: Group, entry: Entry) -> list[Follower]:
        try:
            return group.followers.takers(entry)
        except Exception:
            # A bug, or an event that is none: those who cannot be asked read by themselves, and fail alone.
            _log.exception("tail_entry_failed", position=entry.position)
        takers = []
        for follower in list(group.followers):
            try:
                if follower.selection.select([entry]):
                    takers.append(follower)
            except Exception:
                self._drop(follower)
        return takers

    async def _keep_cursors(self) -> None:
        """Store where those in front are, seldom."""
        while True:
            self._plenty.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(KEEP):
                    await self._plenty.wait()
            position = self._front.position
            if position == self._kept:
                continue
            done: dict[str, Follower] = {}
            for follower in self._front.followers:
                if not follower.has_all_settled():
                    follower.settle()
                elif follower.cursor < position <= follower.read_to:
                    done[follower.reader] = follower
            if done:
                await self._log.advance(position, {reader: one.token for reader, one in done.items()})
                for follower in done.values():
                    follower.passed(position)
            self._kept = position

    async def _watch_removed(self) -> None:
        """Tell all when something was removed from the log."""
        while True:
            removed = await self._log.removed(0, self._log.head)
            if removed != self._removed:
                self._removed = removed
                for follower in self._open:
                    follower.note_removed()
            await asyncio.sleep(LOOK)
