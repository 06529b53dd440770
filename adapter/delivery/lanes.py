"""Order within keys: which event of each key is the next one, and where the cursor may pass. No task and no
clock.

Each key of which something is under way has a lane. Its *head* is the only one of its events that is sent; those that
follow wait, in memory while they are few. What was read of the log has a *slot* until the cursor passes it. A key is
*blocked* when the cursor passes events of it that are not done: then a row says up to where they are, and the others
are *behind*: they have neither row nor slot, and are found by reading the log again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from heapq import heappop, heappush

from adapter.delivery.keys import KeyOf
from adapter.log.protocol import BlockedKey, Held
from adapter.model import Entry

#: Events of a key that wait in memory; of more of them the cursor passes.
WAITING = 100
#: Events and bytes of blocked keys that wait in memory together.
LATE, LATE_BYTES = 2_000, 8 * 1024 * 1024
#: So many keys may be blocked; then the log is not read on, and the cursor stops.
KEYS = 10_000
#: Slots at most.
SLOTS = 20_000


class Lane:
    """One key of which something is under way."""

    __slots__ = ("done", "head", "held", "is_blocked", "key", "read_to", "together", "unread", "waiting")

    def __init__(self, key: str, done: int) -> None:
        self.key = key
        #: Its events up to here are done, or have a held row.
        self.done = done
        #: Position of the event that is sent, or is the next to be sent; ``None`` while that is looked for, or has a
        #: held row and waits.
        self.head: int | None = None
        #: Positions of those that were sent together with the head, in order.
        self.together: deque[int] = deque()
        #: Position of the held row that keeps the others back.
        self.held: int | None = None
        #: Those that follow, in order.
        self.waiting: deque[Entry] = deque()
        #: Up to where its events are in memory; ``None``: all that were read are.
        self.read_to: int | None = None
        #: How many of them were read behind there; ``None``: nobody knows.
        self.unread: int | None = 0
        #: The cursor may pass its events.
        self.is_blocked = False


class Slot:
    """An entry that was read for the first time, until the cursor passes it."""

    __slots__ = ("is_lost", "lane", "outcome", "position")

    def __init__(self, position: int, lane: Lane | None) -> None:
        self.position = position
        self.lane = lane
        #: ``True``: delivered; ``False``: skipped; a row: held, or dead; ``None``: there is none yet.
        self.outcome: bool | Held | None = None
        #: It was removed from the log before it could be sent.
        self.is_lost = False

    @property
    def is_ended(self) -> bool:
        return self.outcome is not None or self.is_lost


class Lanes:
    """The lanes, the slots, and what can be sent."""

    def __init__(self, key_of: KeyOf, blocked: Sequence[BlockedKey], *, skips: bool, read_to: int) -> None:
        """``blocked``: as the log tells them; ``skips``: a dead event does not keep back those that follow it;
        ``read_to``: the cursor."""
        self.key_of = key_of
        self.skips = skips
        #: How far the log was read for the first time.
        self.read_to = read_to
        self.slots: deque[Slot] = deque()
        self.slot_at: dict[int, Slot] = {}
        #: Slots that are ended.
        self.ended = 0
        #: How many keys are blocked.
        self.blocked = 0
        #: Behind-events that reading again has shown to be removed, since the last look.
        self.lost = 0
        #: Unsent ones in memory that were read for the first time, and those that were read again; and their bytes.
        self.fresh = self.fresh_bytes = 0
        self.late = self.late_bytes = 0
        #: The rows of blocked keys on disk, and what is to become of them: position and whether the event there is
        #: held, or ``None`` for none.
        self._rows: dict[str, tuple[int, bool]] = {}
        self._moves: dict[str, tuple[int, bool] | None] = {}
        self._lanes: dict[str, Lane] = {}
        #: The lanes of heads, and of held rows that block.
        self._at: dict[int, Lane] = {}
        self._held: dict[int, Lane] = {}
        #: Heads that may be sent, and entries without a key, by position: those with a slot, and those that were
        #: behind.
        self._ready: list[tuple[int, Entry]] = []
        self._late_ready: list[tuple[int, Entry]] = []
        #: Positions of what was read again.
        self._late: set[int] = set()
        #: Lanes of which more is to be read again.
        self._wanting: dict[str, Lane] = {}
        #: Set when more may be wanted, or there is room for more.
        self.wanted = asyncio.Event()
        for one in blocked:
            lane = Lane(one.key, one.position)
            lane.is_blocked, lane.read_to, lane.unread = True, one.position, None
            self._lanes[one.key] = lane
            self._rows[one.key] = one.position, one.is_held
            self.blocked += 1
            if one.waits or (one.waits is False and not skips):
                lane.held = one.position
                self._held[one.position] = lane
            else:
                self._want(lane)

    def is_behind(self, entry: Entry) -> bool:
        """Whether an event that the cursor passed waits for an earlier one of its key."""
        key = self.key_of(_event(entry))
        lane = None if key is None else self._lanes.get(key)
        return lane is not None and lane.is_blocked and entry.position > lane.done

    # What comes in

    def add(self, entry: Entry, key: str | None) -> None:
        """An entry was read for the first time."""
        position = entry.position
        lane = None if key is None else self._lanes.get(key)
        slot = self.slot_at[position] = Slot(position, lane)
        self.slots.append(slot)
        if key is None:
            self._store(entry)
            self._push(entry)
        elif lane is None:
            slot.lane = lane = self._lanes[key] = Lane(key, position - 1)
            self._store(entry)
            self._lead(lane, entry)
        elif lane.read_to is None and len(lane.waiting) < WAITING:
            self._store(entry)
            lane.waiting.append(entry)
        else:
            if lane.read_to is None:
                lane.read_to, lane.unread = lane.waiting[-1].position, 0
                self._want(lane)
                self.block(lane)
            if lane.unread is not None:
                lane.unread += 1

    def wanted_from(self) -> int | None:
        """Behind which position the log is to be read again; ``None``: nothing is wanted, or there is no room."""
        if not self._wanting or self.late >= LATE // 2 or self.late_bytes >= LATE_BYTES:
            return None
        most = self._most_waiting() // 2
        wanting = [lane.read_to for lane in self._wanting.values() if len(lane.waiting) <= most]
        return min((read_to for read_to in wanting if read_to is not None), default=None)

    def add_again(self, entries: Iterable[Entry], after: int, reached: int) -> None:
        """A stretch of the log was read again: what the filter takes of it."""
        takers = {
            key: lane
            for key, lane in self._wanting.items()
            if lane.read_to is not None and after <= lane.read_to < max(reached, after + 1)
        }
        full = set()
        most = self._most_waiting()
        for entry, key in [(entry, self.key_of(_event(entry))) for entry in entries]:
            lane = None if key is None else takers.get(key)
            if lane is None or lane.key in full or entry.position <= (lane.read_to or 0):
                continue
            if len(lane.waiting) >= most or self.late >= LATE or self.late_bytes >= LATE_BYTES:
                full.add(lane.key)
                continue
            self._late.add(entry.position)
            self._store(entry)
            lane.waiting.append(entry)
            lane.read_to = entry.position
            if lane.unread is not None:
                lane.unread -= 1
        for key, lane in takers.items():
            if key not in full:
                lane.read_to = max(lane.read_to or 0, reached)
                if reached >= self.read_to:
                    self._complete(lane)
            if lane.unread == 0:
                lane.read_to = None
                del self._wanting[key]
            if lane.head is None and lane.held is None:
                self._advance(lane)

    def take_up(self, position: int) -> None:
        """The held row of this position is sent again."""
        lane = self._held.get(position)
        if lane is not None:
            lane.head = position
            self._at[position] = lane

    # What goes out

    def next(self, *, late: bool) -> Entry | None:
        """The first of those that may be sent: of what was read again, or for the first time."""
        heap = self._late_ready if late else self._ready
        return heap[0][1] if heap else None

    def ready(self) -> int:
        """How many may be sent at once."""
        return len(self._ready) + len(self._late_ready)

    def pop(self, *, late: bool) -> Entry:
        """Take the first of those that may be sent."""
        _, entry = heappop(self._late_ready if late else self._ready)
        self._unstore(entry)
        return entry

    def pop_next(self, position: int, *, late: bool, size: int) -> Entry | None:
        """Take what follows the event at this position in its key, to be sent with it, if that has at most ``size``
        bytes."""
        lane = self._at.get(position)
        if lane is None or not lane.waiting:
            return None
        entry = lane.waiting[0]
        if (entry.position in self.slot_at) is late or len(_event(entry)) > size:
            return None
        lane.waiting.popleft()
        self._unstore(entry)
        self._at[entry.position] = lane
        lane.together.append(entry.position)
        return entry

    # What became of it

    def lane_of(self, position: int) -> Lane | None:
        """The lane of an event that was sent."""
        return self._at.get(position)

    def keeps_back(self, outcome: bool | Held) -> bool:
        """Whether those that follow in the key wait, after this."""
        return isinstance(outcome, Held) and (outcome.due_at is not None or not self.skips)

    def end(self, position: int, outcome: bool | Held) -> bool:
        """An event is delivered (``True``), skipped (``False``), or has a row from now on. Whether it has a slot."""
        slot = self.slot_at.get(position)
        if slot is not None:
            slot.outcome = outcome
            self.ended += 1
        self._late.discard(position)
        lane = self._at.pop(position, None)
        if lane is None:
            return slot is not None
        lane.done = max(lane.done, position)
        if self.keeps_back(outcome):
            self._hold(lane, position)
        else:
            self._held.pop(position, None)
            lane.held = None
            lane.head = lane.together.popleft() if lane.together else None
            self._touch(lane)
            if lane.head is None:
                self._advance(lane)
        return slot is not None

    def return_unsent(self, position: int) -> None:
        """An event that was sent together with one that now keeps it back: it will be sent again."""
        lane = self._at.pop(position)
        self._late.discard(position)
        lane.together.remove(position)
        if lane.unread is not None:
            lane.unread += 1

    def drop(self, position: int) -> None:
        """The held row of this position ended without a send: its entry was removed, or somebody skipped it."""
        lane = self._held.pop(position, None)
        if lane is not None:
            self._at.pop(position, None)
            lane.held = lane.head = None
            self._advance(lane)

    def block(self, lane: Lane) -> None:
        """Let the cursor pass the events of a lane that are not done."""
        if not lane.is_blocked:
            lane.is_blocked = True
            self.blocked += 1
        self._touch(lane)

    def take_moves(self, cursor: int) -> tuple[list[BlockedKey], list[str]]:
        """What is to become of the rows of blocked keys with a cursor: those to write, and keys whose row ends."""
        block: list[BlockedKey] = []
        unblock: list[str] = []
        later: dict[str, tuple[int, bool] | None] = {}
        for key, move in self._moves.items():
            if move is None:
                if self._rows.pop(key, None) is not None:
                    unblock.append(key)
                continue
            if move[0] > cursor:
                later[key] = move
            row = self._row_of(key, move, cursor)
            if row is not None and row != self._rows.get(key):
                self._rows[key] = row
                block.append(BlockedKey(key, *row))
        self._moves = later
        return block, unblock

    def has_moves(self, cursor: int) -> bool:
        """Whether there is any of that."""
        return any(
            key in self._rows
            if move is None
            else (row := self._row_of(key, move, cursor)) is not None and row != self._rows.get(key)
            for key, move in self._moves.items()
        )

    def _row_of(self, key: str, move: tuple[int, bool], cursor: int) -> tuple[int, bool] | None:
        """The row of a blocked key with a cursor: never beyond it, as the log is read from there after a kill."""
        if move[0] <= cursor:
            return move
        return (cursor, False) if key in self._rows else None

    def _lead(self, lane: Lane, entry: Entry) -> None:
        lane.head = entry.position
        self._at[entry.position] = lane
        self._push(entry)

    def _push(self, entry: Entry) -> None:
        # What has a slot goes in the order of the log, whoever read it: else what is exposed could fill up with entries
        # behind one that is never sent.
        heap = self._ready if entry.position in self.slot_at else self._late_ready
        heappush(heap, (entry.position, entry))

    def _hold(self, lane: Lane, position: int) -> None:
        lane.head, lane.held = None, position
        self._held[position] = lane
        for entry in lane.waiting:
            self._unstore(entry)
            self._late.discard(entry.position)
        if lane.read_to is None:
            lane.unread = len(lane.waiting)
        elif lane.unread is not None:
            lane.unread += len(lane.waiting)
        lane.waiting.clear()
        lane.read_to = position
        self._wanting.pop(lane.key, None)
        self.block(lane)

    def _advance(self, lane: Lane) -> None:
        """The head of a lane ended: the next one, or none."""
        if lane.waiting:
            entry = lane.waiting.popleft()
            self._lead(lane, entry)
            if lane.is_blocked and lane.read_to is None and entry.position in self.slot_at:
                self._unblock(lane)  # nothing of it is behind
        elif lane.read_to is None or lane.unread == 0:
            del self._lanes[lane.key]
            self._wanting.pop(lane.key, None)
            self._unblock(lane)
            return
        if lane.read_to is not None:
            self._want(lane)

    def _want(self, lane: Lane) -> None:
        self._wanting[lane.key] = lane
        self.wanted.set()

    def _unblock(self, lane: Lane) -> None:
        if lane.is_blocked:
            lane.is_blocked = False
            self.blocked -= 1
            self._moves[lane.key] = None
            self.wanted.set()

    def _complete(self, lane: Lane) -> None:
        """All of a lane that the log has is in memory."""
        missing = lane.unread
        if missing is None or missing > 0:
            there = {entry.position for entry in lane.waiting}
            for slot in self.slots:
                is_under_way = slot.position in there or self._at.get(slot.position) is lane
                if slot.lane is lane and not slot.is_ended and not is_under_way:
                    slot.is_lost = True
                    self.ended += 1
                    missing = None if missing is None else missing - 1
            self.lost += missing or 0
        lane.unread = 0

    def _most_waiting(self) -> int:
        """How many events of each key may wait that were read again."""
        return max(WAITING, LATE // 2 // max(1, len(self._wanting)))

    def _touch(self, lane: Lane) -> None:
        if lane.is_blocked:
            self._moves[lane.key] = lane.done, lane.held is not None

    def _store(self, entry: Entry) -> None:
        size = len(_event(entry))
        if entry.position in self._late:
            self.late += 1
            self.late_bytes += size
        else:
            self.fresh += 1
            self.fresh_bytes += size

    def _unstore(self, entry: Entry) -> None:
        size = len(_event(entry))
        if entry.position in self._late:
            self.late -= 1
            self.late_bytes -= size
        else:
            self.fresh -= 1
            self.fresh_bytes -= size
        if self._wanting:
            self.wanted.set()


def _event(entry: Entry) -> bytes:
    return entry.event or b""
