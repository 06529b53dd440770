"""What a source is given, and what it gives, whatever its kind.

Events either are brought to a source (push: its kind makes it known to what receives requests), or it fetches them
itself (`Opened.pull`): it polls, follows a file, or reads a queue; or both. One that fetches is run by one adapter at a
time, and keeps its place in a note that is stored in the transaction of its events: so nothing is stored twice, and
nothing is passed over, whenever an adapter dies.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from adapter.counts import PullCounts
from adapter.log.protocol import Note
from adapter.outgoing.settings import OutgoingSettings
from adapter.sources.authenticated import AuthenticatedSources
from adapter.sources.intake import IngestSummary, Intake, Source


class Inlet:
    """The way in of a source that fetches its events, while this adapter owns it."""

    def __init__(self, source: Source, intake: Intake, name: str, kept: Note | None, now: Callable[[], int]) -> None:
        """``kept`` is the note of this ``name``; ``now`` gives epoch milliseconds."""
        self.source = source
        self._intake = intake
        self._name = name
        self._version = 0 if kept is None else kept.version
        self._place = None if kept is None else kept.text
        self._now = now

    @property
    def now(self) -> Callable[[], int]:
        """Gives epoch milliseconds."""
        return self._now

    @property
    def place(self) -> str | None:
        """How far the source is, in its own words; ``None`` if nothing was ever taken."""
        return self._place

    async def take(self, body: bytes, media: str, place: str) -> IngestSummary:
        """Store the events of a body and, in the same transaction, that the source is at ``place`` now. A body without
        events stores the place. One call at a time.

        Raises:
            NoteChanged: another adapter has gone on with this source; nothing was stored.
            StoreUnanswered: all of it was stored, or nothing. Let it pass: the source is started again, from the place
                that is stored.
            NotReadable, UnknownMedia, TooManyEvents, StoreUnavailable: as `Intake.take`; nothing was stored.
        """
        note = Note(self._name, place, self._version + 1)
        receipts = await self._intake.take(self.source, body, media, self._now(), note)
        self._version, self._place = note.version, note.text
        return receipts


#: Fetches events for as long as it is not cancelled, from `Inlet.place` on. May raise anything: it is called again
#: after a while, with the place that is stored then.
Pull = Callable[[Inlet], Coroutine[Any, Any, None]]


@dataclass(slots=True, frozen=True)
class Opened:
    """An open source."""

    #: What whoever posts to it shows as a credential, if events are brought to it; and whether that was generated, and
    #: may be shown to people.
    tokens: tuple[str, ...] = ()
    generated: bool = False
    #: Fetches its events; ``None``: they are brought to it alone.
    pull: Pull | None = None


@dataclass(slots=True, frozen=True)
class SourceContext:
    """What a source may use."""

    #: Its name, and the present table of its provider.
    source: Source
    #: What receives requests, for kinds to which events are brought.
    receiving: AuthenticatedSources
    #: How requests are made, for kinds that ask others (`adapter.outgoing.client`).
    outgoing: OutgoingSettings
    #: Gives the token that is generated for this source, made when it is first asked for.
    make_token: Callable[[], Awaitable[str]]
    #: How it stands with those that fetch, for metrics and for people.
    pull_counts: PullCounts = field(default_factory=PullCounts)
