"""Who else has the log open: services over one log tell each other where they listen, which tables they read, and
whether they keep accounts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress

import msgspec
import structlog

from adapter.errors import NoteChanged, StoreError
from adapter.log.protocol import Note, Notes
from adapter.tasks import in_background

#: Under which name the log keeps them.
NOTE = "services"
#: How often a service says that it is there, and after how long without a word it is gone, seconds.
SAYING, GONE = 5.0, 20.0

_log = structlog.get_logger("adapter.neighbours")


class Announcement(msgspec.Struct, frozen=True):
    """What a service says of itself."""

    url: str
    #: Versions of its tables, by provider.
    tables: dict[str, str]
    #: Grows each time it says it. Clocks of other machines are not trusted.
    count: int = 0
    #: `People.enabled`; ``None``: one of an older version does not say.
    people: bool | None = None


_Announcements = dict[str, Announcement]
_decode = msgspec.json.Decoder(_Announcements).decode


class Neighbours:
    """This service and the others over its log. Made by `open_neighbours`."""

    def __init__(
        self,
        notes: Notes,
        owner: str,
        url: str,
        tables: Callable[[], Mapping[str, str]],
        clock: Callable[[], float],
        people: bool | None = None,
    ) -> None:
        #: The others, by their owner name, as of the last word of each.
        self.others: Mapping[str, Announcement] = {}
        self._notes = notes
        self._owner = owner
        self._url = url
        self._tables = tables
        self._clock = clock
        self._people = people
        self._count = 0
        #: When the count of each was seen to grow, seconds.
        self._heard: dict[str, tuple[int, float]] = {}

    def warnings(self) -> list[str]:
        """What another service does otherwise over the same log, a line each. It does not say where that one is."""
        ours = self._tables()
        theirs = sorted({pair for other in self.others.values() for pair in other.tables.items()})
        told = [
            f"mappings: {provider}: version {ours[provider]} here, and {version} in another service over this log; "
            "give all the same files"
            for provider, version in theirs
            if ours.get(provider, version) != version
        ]
        if self._people is not None and (not self._people) in {other.people for other in self.others.values()}:
            here, there = (str(one).lower() for one in (self._people, not self._people))
            told.append(
                f"[people] enabled is {here} here, and {there} in another service over this log: the search is built "
                "again whenever another one begins to fill it; give all the same"
            )
        return told

    async def run(self) -> None:
        """Say that this service is there, and hear who else is, until cancelled."""
        while True:
            try:
                await self.say()
            except StoreError as error:
                _log.warning("neighbours_unknown", problem=str(error))
            await asyncio.sleep(SAYING)

    async def say(self, *, leaving: bool = False) -> None:
        """Say once that this service is there, or that it ends.

        Raises:
            StoreError: the log does not answer.
        """
        self._count += 1
        while True:
            known, version = await read_announcements(self._notes)
            others = {name: one for name, one in known.items() if name != self._owner and self._is_there(name, one)}
            self.others, said = others, dict(others)
            if not leaving:
                said[self._owner] = Announcement(self._url, dict(self._tables()), self._count, self._people)
            try:
                return await self._notes.keep(Note(NOTE, msgspec.json.encode(said).decode(), version + 1))
            except NoteChanged:
                continue  # by another one that said so

    def _is_there(self, name: str, one: Announcement) -> bool:
        now = self._clock()
        count, since = self._heard.get(name, (-1, now))
        if one.count != count:
            self._heard[name] = one.count, now
            return True
        return now - since < GONE


async def read_announcements(notes: Notes) -> tuple[Mapping[str, Announcement], int]:
    """What all services of a log have said last, and the version of the note that holds it.

    Raises:
        StoreError: the log does not answer.
    """
    note = await notes.noted(NOTE)
    if note is None:
        return {}, 0
    try:
        return _decode(note.text), note.version
    except msgspec.MsgspecError:
        return {}, note.version


@asynccontextmanager
async def open_neighbours(
    notes: Notes,
    owner: str,
    url: str,
    tables: Callable[[], Mapping[str, str]],
    *,
    people: bool | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncIterator[Neighbours]:
    """Tell the others over this log that a service listens at ``url`` and reads these versions of tables, while the
    context lasts. ``owner`` tells the services apart; ``people``: whether it keeps accounts; ``clock`` gives seconds.

    Raises:
        StoreError: the log does not answer.
    """
    neighbours = Neighbours(notes, owner, url, tables, clock, people)
    await neighbours.say()
    try:
        async with in_background(neighbours.run(), "neighbours"):
            yield neighbours
    finally:
        with suppress(StoreError):
            await neighbours.say(leaving=True)
