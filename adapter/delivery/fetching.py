"""Where entries to be sent come from: the log, read past the cursor; held rows that are due; and, where order is kept
within keys, the log read again for keys that were blocked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

import structlog

from adapter.delivery.backoff import longest_wait
from adapter.delivery.keys import KeyOf
from adapter.delivery.lanes import Lanes
from adapter.delivery.ledger import Ledger
from adapter.delivery.ordered_ledger import OrderedLedger
from adapter.delivery.ordered_queue import OrderedQueue
from adapter.delivery.queue import HasPosition, SendQueue
from adapter.delivery.reads import GATHER, Reads, gather
from adapter.delivery.select import Selection
from adapter.delivery.sending import Sender
from adapter.delivery.settling import Settler
from adapter.delivery.tail import LOOK, Tail
from adapter.log.protocol import Store
from adapter.model import Entry

#: The longest a due row is left alone because the clock was set back, seconds.
LONGEST_WAIT = 60.0

_log = structlog.get_logger(__name__)


class Fetcher:
    """Brings one sink's queue what it can send. Its methods run as tasks, for ever."""

    def __init__(
        self,
        reader: str,
        log: Store,
        selection: Selection,
        ledger: Ledger,
        queue: SendQueue,
        settler: Settler,
        sender: Sender,
        *,
        schedule: Sequence[float],
        now: Callable[[], int],
        token: int = 0,
        wait: float = 0.0,
        tail: Tail | None,
    ) -> None:
        """``schedule``: waits after failed tries, ``wait``: for less than a full batch, seconds; ``token``: of the
        claim under which is settled; ``tail``: with whom it reads as long as it keeps up, ``None``: alone."""
        self.reader = reader
        self.token = token
        self._log = log
        self.selection = selection
        self._ledger = ledger
        self._queue = queue
        self._settler = settler
        self._sender = sender
        self._schedule = schedule
        self._now = now
        self._wait = wait
        self._tail = tail
        self._reads = Reads() if tail is None else tail.reads
        #: Set when it has to read by itself.
        self._left = asyncio.Event()
        #: Set when something was read that the sink gets.
        self._brought = asyncio.Event()
        #: Set when entries are missing in what was read.
        self._gap = asyncio.Event()

    async def read_on(self) -> None:
        """Keep a stretch of entries ready to be sent."""
        loop = asyncio.get_running_loop()
        queue, tail, last_at, brought = self._queue, self._tail, 0.0, 0
        begins, has_left = True, False
        while True:
            await queue.wait_until_short()
            # Who has left reads by itself first: it may have failed with what comes now.
            if tail is not None and not (has_left and self._log.head > queue.read_to):
                self._left.clear()
                if tail.join(self, begins=begins):
                    try:
                        await self._left.wait()
                    finally:
                        tail.leave(self)
                    begins, has_left = False, True
                    continue
            begins = has_left = False
            if self._log.head <= queue.read_to:
                await self._log.wait(queue.read_to)
                if loop.time() - last_at < 2 * GATHER:
                    await asyncio.sleep(gather(brought))
            last_at = loop.time()
            brought = await self._read()
            self._settler.note_read()

    async def _read(self) -> int:
        """Read a stretch; how many entries there were."""
        queue, selection = self._queue, self.selection
        after, until = queue.read_to, self._log.head
        async with self._reads:
            entries = await self._log.read(after, until=until, limit=queue.stretch)
        reached = entries[-1].position if entries else until
        if reached - after != len(entries):
            self._gap.set()
        if not entries:
            queue.add_fresh([], until)
        step = min(selection.stretch, queue.part)
        for begin in range(0, len(entries), step):
            part = entries[begin : begin + step]
            self._add(selection.select(part), part[-1].position)
            if len(part) < len(entries):
                await asyncio.sleep(0)
        return len(entries)

    def _add(self, chosen: Sequence[Entry], read_to: int) -> None:
        """The log was read up to there, and the sink gets these entries."""
        self._queue.add_fresh(chosen, read_to, waits_until=asyncio.get_running_loop().time() + self._wait)
        if chosen:
            self._brought.set()
            self._sender.wake()

    # As `adapter.delivery.tail.Follower`

    @property
    def read_to(self) -> int:
        return self._queue.read_to

    @property
    def cursor(self) -> int:
        return self._ledger.cursor

    def follow(self, group: HasPosition | None) -> None:
        self._queue.follow(group)

    def take(self, entries: Sequence[Entry], read_to: int) -> bool:
        had = self._queue.had
        if entries[0].position <= had:
            entries = [entry for entry in entries if entry.position > had]
        self._add(entries, max(had, read_to))
        return self._queue.is_short()

    def has_all_settled(self) -> bool:
        return self._ledger.is_settled and self._queue.is_empty

    def passed(self, cursor: int) -> None:
        self._ledger.pass_to(cursor)

    def settle(self) -> None:
        self._settler.note_more()

    def note_removed(self) -> None:
        self._gap.set()

    def note_left(self) -> None:
        self._left.set()

    async def ripen(self) -> None:
        """Let less than a full batch go when it has waited for more long enough."""
        loop = asyncio.get_running_loop()
        while True:
            self._brought.clear()
            due = self._queue.ripe_at()
            if due is None:
                await self._brought.wait()
                continue
            await asyncio.sleep(due - loop.time())
            self._queue.ripen(due)
            self._sender.wake()

    async def take_up(self) -> None:
        """Make flights of held rows when they are due; they never take more than half of the room."""
        room = max(1, self._queue.room // 2)
        ledger = self._ledger
        moved = self._settler.rows_moved
        while True:
            moved.clear()
            free = room - len(ledger.busy)
            if ledger.held <= 0 or free <= 0:
                await moved.wait()
                continue
            # A row that is told may have ended since: what was busy from the question on is left alone.
            ledger.moved = set(ledger.busy)
            rows = await self._log.held(self.reader, limit=len(ledger.moved) + free)
            busy = ledger.moved | ledger.busy
            waiting = [(row, row.due_at) for row in rows if row.due_at is not None and row.position not in busy]
            now = self._now()
            due = {row.position: row.tries for row, due_at in waiting if self._is_due(row.tries, due_at - now)}
            if due:
                entries = await self._log.fetch(list(due))
                if entries:  # what is behind the last one that fitted comes the next time
                    asked = list(due)
                    due = {position: due[position] for position in asked[: asked.index(entries[-1].position) + 1]}
                busy = ledger.moved | ledger.busy
                due = {position: tries for position, tries in due.items() if position not in busy}
                entries = [entry for entry in entries if entry.position in due]
                ledger.reserve(due)
                if missing := due.keys() - {entry.position for entry in entries}:
                    ledger.skip(list(missing))
                    self._settler.note_skipped()
                self._queue.add_due(entries, due)
                self._sender.wake()
                continue
            wait = (waiting[0][1] - now) / 1000 if waiting else None
            with suppress(TimeoutError):
                async with asyncio.timeout(None if wait is None else min(wait, LONGEST_WAIT)):
                    await moved.wait()

    async def watch_removed(self) -> None:
        """Count what is removed from the log before the sink has it."""
        ledger = self._ledger
        while True:
            self._gap.clear()
            state = await self._log.progress(self.reader)
            if state is not None and state.removed != ledger.removed:
                _log.warning("sink_events_removed", sink=self.reader, entries=state.removed - ledger.removed)
                ledger.removed = state.removed
            if dead := await self._log.dead_removed(self.reader):
                ledger.bury(dead)
                self._settler.note_skipped()
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK if self._tail is None else None):
                    await self._gap.wait()

    def _is_due(self, tries: int, wait: int) -> bool:
        """Whether a held row that is due in ``wait`` milliseconds may go. One that is to wait longer than any may is
        due: the clock was set back since."""
        return wait <= 0 or wait > longest_wait(tries, self._schedule) * 1000


class Rereader:
    """Reads the log again for keys that were blocked, all of them in one pass: what of theirs the cursor has passed."""

    def __init__(
        self,
        reader: str,
        log: Store,
        selection: Selection,
        lanes: Lanes,
        ledger: OrderedLedger,
        queue: OrderedQueue,
        settler: Settler,
        sender: Sender,
        key_of: KeyOf,
        since: int,
    ) -> None:
        """``key_of``: how keys are made as soon as none is blocked that was made otherwise; ``since``: the cursor when
        the epoch began."""
        self._reader = reader
        self._log = log
        self._selection = selection
        self._lanes = lanes
        self._ledger = ledger
        self._queue = queue
        self._settler = settler
        self._sender = sender
        self._key_of = key_of
        self._since = since

    async def read_again(self) -> None:
        """Bring what blocked keys wait for, for ever."""
        lanes = self._lanes
        while True:
            lanes.wanted.clear()
            after = lanes.wanted_from()
            if after is None:
                if not lanes.blocked:
                    await self._end_round()
                await lanes.wanted.wait()
                continue
            end = lanes.read_to
            entries = await self._log.read(after, until=end, limit=self._selection.again)
            chosen = self._selection.select(entries)
            self._queue.add_again(chosen, after, entries[-1].position if entries else end)
            if lanes.lost:
                _log.warning("sink_events_removed", sink=self._reader, entries=lanes.lost)
                self._ledger.skip_behind(lanes.lost)
                lanes.lost = 0
            self._settler.note_skipped()
            self._sender.wake()
            await asyncio.sleep(0)

    async def _end_round(self) -> None:
        """No key is blocked."""
        self._lanes.key_of = self._key_of
        # What is left was counted, and is no more in the log.
        if not self._ledger.behind:
            return
        removed = await self._log.removed(self._since, self._ledger.cursor)
        gone = 0 if self._lanes.blocked else min(self._ledger.behind, removed)
        if gone:
            _log.warning("sink_events_removed", sink=self._reader, entries=gone)
            self._ledger.skip_behind(gone)
            self._settler.note_skipped()
