"""What a sink is by somebody's decision, and not by how its receiver is this moment: running, paused, or stopped.

It is a note in the log, so it outlasts a restart and holds for every service over the log. A change is stored together
with the ``system.SINK-…`` event that tells it. A second note, one for all sinks, moves on with each change: whoever
follows a thousand sinks looks at that one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import orjson
import structlog

from adapter.errors import NoteChanged, StoreError
from adapter.formats.text import harmless
from adapter.log.protocol import Log, Note, Notes
from adapter.source_state.judging import written
from adapter.system_events import system_event
from adapter.tasks import in_background

#: The note that moves on with each change of any sink.
CHANGES = "sink-standings"
#: Seconds between two looks at it, and looks between two at the notes of all sinks: a service may have been killed
#: between the two notes.
LOOK, ALL = 1.0, 60
#: The most characters that are kept of a reason.
REASON = 500

_log = structlog.get_logger(__name__)


class Decided(StrEnum):
    """What a sink is to do."""

    RUNNING = "running"
    #: Somebody paused it: nothing is sent, and its cursor stands, until somebody resumes it.
    PAUSED = "paused"
    #: Its receiver is gone for good, or was down for too long: nothing is sent until somebody resumes it.
    STOPPED = "stopped"


@dataclass(slots=True, frozen=True)
class Standing:
    """What was decided about a sink."""

    state: Decided = Decided.RUNNING
    #: Why, for people; empty for a sink about which nothing was ever decided.
    reason: str = ""
    #: Since when, epoch milliseconds; 0 for such a sink.
    since: int = 0
    #: Who decided it: a person or a key, or ``receiver``, or the setting by which it came.
    by: str = ""
    #: Of the note; greater with each decision, 0 where there was none.
    version: int = 0


class Keeper(Log, Notes, Protocol):
    """A log with notes: every `adapter.log.protocol.Store` is one."""


#: Name of the event that tells a decision.
_EVENTS = {Decided.RUNNING: "SINK-RESUMED", Decided.PAUSED: "SINK-PAUSED", Decided.STOPPED: "SINK-STOPPED"}


def note_name(sink: str) -> str:
    """Under which name the log keeps what was decided about a sink."""
    return f"sink-standing {sink}"


async def read(notes: Notes, name: str) -> Standing:
    """What was decided about a sink; a sink about which nothing was is running.

    Raises:
        StoreError: the log does not answer.
    """
    note = await notes.noted(note_name(name))
    if note is None:
        return Standing()
    kept = orjson.loads(note.text)
    return Standing(Decided(kept["state"]), kept["reason"], kept["since"], kept["by"], note.version)


async def change(
    log: Keeper, name: str, *, state: Decided | str, reason: str, by: str, now: int, lag: int | None = None
) -> Standing:
    """Decide about a sink, and tell it as an event of the log: both, or neither. What it is already stays as it is,
    with the reason it had. ``now``: epoch milliseconds; ``lag``: entries between its place and the end of the log, if
    somebody knows.

    Raises:
        StoreUnanswered: it was stored, or not; to decide it again is right.
        StoreError: it was not stored.
    """
    decided = Decided(state)
    while True:
        present = await read(log, name)
        if present.state is decided:
            return present
        standing = Standing(decided, harmless(reason[:REASON]), now, by, present.version + 1)
        text = orjson.dumps({"state": decided, "reason": standing.reason, "since": now, "by": by}).decode()
        details = {"sink": name, "reason": standing.reason, "by": by}
        if present.state is not Decided.RUNNING:
            details |= {"before": present.state, "since": written(present.since)}
        if lag is not None:
            details["lag"] = str(lag)
        event = system_event(_EVENTS[decided], now, details)
        try:
            await log.append([event], Note(note_name(name), text, standing.version))
        except NoteChanged:
            continue
        say = _log.info if decided is Decided.RUNNING else _log.warning
        say(_EVENTS[decided].lower().replace("-", "_"), sink=name, reason=standing.reason, by=by)
        await _tell(log)
        return standing


async def _tell(notes: Notes) -> None:
    """Let those who follow sinks look again."""
    note = await notes.noted(CHANGES)
    try:
        await notes.keep(Note(CHANGES, "", 1 if note is None else note.version + 1))
    except NoteChanged:
        pass  # whoever was faster has told it: our change was stored before
    except StoreError as error:
        _log.warning("sink_change_not_told", problem=str(error))


#: Told what was decided about a sink.
Follower = Callable[[Standing], None]


class Standings:
    """The sinks of one service, each of which follows what is decided about it. Made by `open_standings`."""

    def __init__(self, log: Keeper, *, every: float = LOOK) -> None:
        """``every``: seconds between two looks at what other services have decided."""
        self._log = log
        self._every = every
        self._followers: dict[str, list[Follower]] = {}
        self._version = 0

    @contextmanager
    def following(self, name: str, follower: Follower) -> Iterator[None]:
        """Tell somebody what is decided about a sink while the context lasts; perhaps more than once."""
        followers = self._followers.setdefault(name, [])
        followers.append(follower)
        try:
            yield
        finally:
            followers.remove(follower)
            if not followers:
                self._followers.pop(name, None)

    async def change(
        self, name: str, *, state: Decided | str, reason: str, by: str, now: int, lag: int | None = None
    ) -> Standing:
        """As `adapter.delivery.standing.change`; who follows the sink here is told at once."""
        standing = await change(self._log, name, state=state, reason=reason, by=by, now=now, lag=lag)
        self.tell(name, standing)
        return standing

    def tell(self, name: str, standing: Standing) -> None:
        """This was decided about a sink: who follows it here need not wait for the next look."""
        for follower in list(self._followers.get(name, ())):
            follower(standing)

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        looks = 0
        while True:
            await asyncio.sleep(self._every)
            looks += 1
            try:
                await self.look(at_all=looks % ALL == 0)
            except StoreError as error:
                _log.warning("sinks_not_followed", problem=str(error))
            except Exception:
                _log.exception("sinks_not_followed")

    async def look(self, *, at_all: bool = False) -> None:
        """Tell what others have decided: one small question to the log where nothing was.

        Raises:
            StoreError: the log does not answer.
        """
        note = await self._log.noted(CHANGES)
        version = 0 if note is None else note.version
        if version == self._version and not at_all:
            return
        for name in list(self._followers):
            self.tell(name, await read(self._log, name))
        self._version = version


@asynccontextmanager
async def open_standings(log: Keeper, *, every: float = LOOK) -> AsyncIterator[Standings]:
    """What is decided about the sinks of one service, followed while the context lasts."""
    standings = Standings(log, every=every)
    async with in_background(standings.run(), "sink standings"):
        yield standings
