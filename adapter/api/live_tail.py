"""What arrives, handed to everybody who listens: the log is read once for all who keep up.

What one listener has not taken yet is bounded. One that takes it more slowly than it comes reads the log by itself, and
one that is too far behind is told so, and goes on from the end. Neither receiving nor another listener waits for it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

import structlog

from adapter.delivery.index import Index
from adapter.delivery.select import Selection
from adapter.errors import StoreError
from adapter.log.protocol import Log
from adapter.model import Entry
from adapter.tasks import in_background

#: What waits for one listener: events, and bytes of them, one event aside.
EVENTS, SIZE = 256, 128 * 1024
#: Entries that are read at a time: for all who keep up, and for one that does not.
STRETCH, STEP = 250, 100
#: Of those that do not keep up, so many read at the same moment.
READS = 2
#: For how long what comes is gathered, seconds.
GATHER = 0.02
#: Of the time of the event loop, in which events are received, too, at most this share goes into handing events out,
#: and as much again into what is done for one listener alone, whatever they ask for; looked at every so many seconds.
SHARE, TURN = 0.2, 0.005
#: What all listeners together are sent in a second, bytes.
RATE = 32 * 1024 * 1024
#: After an error of the store it is read again after so many seconds.
STORE_WAIT = 1.0

_log = structlog.get_logger("adapter.live")


class Taken(NamedTuple):
    """What a listener takes at a time."""

    entries: Sequence[Entry]
    #: Up to this position it has what it gets.
    position: int
    #: What lies behind this position and before the entries is passed over: it was too far behind.
    passed_over: int | None = None


class Listener:
    """Somebody who listens. Made by `LiveTail.listening`."""

    def __init__(self, tail: LiveTail, selection: Selection, position: int) -> None:
        self.selection = selection
        self._tail = tail
        #: Up to where it has what it gets, while it does not follow the tail.
        self._position = position
        self._follows = False
        self._queue: deque[Entry] = deque()
        self._size = 0
        self._wake = asyncio.Event()

    async def take(self, timeout: float) -> Taken | None:
        """What comes next; after ``timeout`` seconds without anything, how far it is. ``None``: the service stops.

        Raises:
            StoreError: the log cannot be read now.
        """
        if self._follows and not self._queue and not self._tail.is_ending:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self._wake.wait()
        self._wake.clear()
        if self._tail.is_ending:
            return None
        if self._queue:
            entries = list(self._queue)
            self._queue.clear()
            self._size = 0
            return Taken(entries, self.position)
        return Taken((), self.position) if self._follows else await self._read()

    @property
    def position(self) -> int:
        """Up to where it has, or is about to take, what it gets."""
        # It may have begun ahead of the tail.
        return max(self._position, self._tail.position) if self._follows else self._position

    @property
    def is_ending(self) -> bool:
        """Whether the service stops."""
        return self._tail.is_ending

    def put(self, entry: Entry) -> None:
        """It gets an entry, which has an event. If there is no room for it, it reads by itself from there on."""
        assert entry.event is not None
        if entry.position <= self._position:
            return
        if self._queue and (len(self._queue) >= EVENTS or self._size + len(entry.event) > SIZE):
            self.leave()
            return
        self._queue.append(entry)
        self._size += len(entry.event)
        self._wake.set()

    def leave(self) -> None:
        """Follow the tail no more."""
        if self._follows:
            self._position = self.position
            self._follows = False
            self._tail.leave(self)
        self._wake.set()

    async def _read(self) -> Taken:
        """A step of what lies between its place and the tail's; when it has come there, it follows."""
        tail = self._tail
        until = tail.position
        if until - self._position > tail.far:
            passed_over, self._position = self._position, until
            self._follow()
            return Taken((), until, passed_over)
        chosen: Sequence[Entry] = ()
        if self._position < until:
            places = range(self._position + 1, min(until, self._position + STEP) + 1)
            async with tail.reads:
                entries = await tail.log.fetch(places, size=SIZE)
            async with tail.turn():
                chosen = self.selection.select(entries)
            # All are gone if there is none.
            self._position = entries[-1].position if entries else places[-1]
        if self._position >= tail.position:
            self._follow()
        return Taken(chosen, self._position)

    def _follow(self) -> None:
        # Nothing moved since the tail's position was looked at: nothing is left out, or comes twice.
        self._follows = True
        self._tail.join(self)


class LiveTail:
    """Reads what arrives, while somebody listens. Made by `open_live_tail`."""

    def __init__(self, log: Log, far: int) -> None:
        self.log = log
        self.far = far
        #: Up to where those who follow have what they get.
        self.position = log.head
        self.is_ending = False
        self._listeners: set[Listener] = set()
        self._followers: Index[Listener] = Index()
        #: What those take turns by that read by themselves.
        self.reads = asyncio.Semaphore(READS)
        self._turn = asyncio.Lock()
        self._joined = asyncio.Event()
        #: Nobody listens, and nobody reads.
        self._rests = True

    @asynccontextmanager
    async def listening(self, selection: Selection, after: int | None) -> AsyncIterator[Listener]:
        """A listener, while the context lasts: of what lies behind the position ``after``; ``None``: behind all that is
        there now."""
        if self._rests:
            self.position, self._rests = self.log.head, False
        listener = Listener(self, selection, self.log.head if after is None else after)
        self._listeners.add(listener)
        self._joined.set()
        try:
            yield listener
        finally:
            self._listeners.discard(listener)
            if listener in self._followers:
                self._followers.remove(listener)

    def join(self, listener: Listener) -> None:
        """Hand a listener what comes from now on."""
        self._followers.add(listener, listener.selection)

    def leave(self, listener: Listener) -> None:
        """Hand it nothing more."""
        self._followers.remove(listener)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """For work that is done for one listener alone: one has it at a time, and for most of the time none."""
        loop = asyncio.get_running_loop()
        async with self._turn:
            begun = loop.time()
            yield
            await asyncio.sleep(_rest(loop.time() - begun))

    def pause(self, size: int) -> float:
        """For how long a listener that was sent so many bytes is to wait before it takes more, seconds."""
        return size * len(self._listeners) / RATE

    def end(self) -> None:
        """The service stops: nobody gets anything more."""
        self.is_ending = True
        for listener in self._listeners:
            listener.leave()

    async def run(self) -> None:
        """Read on, until cancelled."""
        while True:
            try:
                await self._read_on()
            except StoreError as error:
                _log.warning("live_tail_store_failed", problem=str(error))
            except Exception:
                _log.exception("live_tail_failed")
                self._pass_over()
            await asyncio.sleep(STORE_WAIT)

    async def _read_on(self) -> None:
        while True:
            if not self._listeners:
                self._rests = True
                self._joined.clear()
                await self._joined.wait()
            await self.log.wait(self.position)
            await asyncio.sleep(GATHER)
            head = self.log.head
            if head - self.position > self.far:
                self._pass_over()
                continue
            entries = await self.log.read(self.position, until=head, limit=STRETCH)
            await self._hand_out(entries)
            if not entries:
                self.position = max(self.position, head)

    async def _hand_out(self, entries: Sequence[Entry]) -> None:
        """Give entries to those who get them."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        for entry in entries:
            for listener in self._followers.takers(entry):
                listener.put(entry)
            self.position = entry.position
            took = loop.time() - begun
            if took > TURN:
                await asyncio.sleep(_rest(took))
                begun = loop.time()

    def _pass_over(self) -> None:
        """Go on from the end; all who follow read by themselves from here on, or learn that they are too far behind."""
        for listener in list(self._followers):
            listener.leave()
        self.position = self.log.head


def _rest(took: float) -> float:
    """For how long others have the event loop after a turn of so many seconds."""
    return took * (1 / SHARE - 1)


@asynccontextmanager
async def open_live_tail(log: Log, far: int = 20_000) -> AsyncIterator[LiveTail]:
    """The tail of a log, while the context lasts. Who is further behind than ``far`` entries goes on from the end."""
    tail = LiveTail(log, far)
    async with in_background(tail.run(), "live tail"):
        yield tail
