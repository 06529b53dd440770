"""Watches the sources: what came of them, and what is told when something did not.

Each service adds what it has seen to one note in the log, and appends the events of what that means in the same
transaction. The note's version moves on with each, so of several services one tells a thing, and it is told once,
whenever any of them dies.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from math import inf
from typing import NamedTuple

import structlog

from adapter.counts import IngestCounts, RefusalCounts, Tally
from adapter.errors import NoteChanged, StoreError
from adapter.formats.text import counted, harmless
from adapter.log.protocol import NewEntry, Note, Store
from adapter.source_state.judging import Gap, Told, is_refused, judge, written
from adapter.source_state.state import NOTE, Known, News, SourceState, read_known, take_up
from adapter.system_events import system_event
from adapter.tasks import in_background

#: Seconds between two looks.
EVERY = 10.0
#: Seconds for the last look, when the service stops.
LAST = 2.0
#: Milliseconds after which the note is written although nothing came, and after which nobody has looked in between.
WRITTEN, PAUSED = 60_000, 180_000
#: Milliseconds for which a source is known that is not in the settings any more.
FORGOTTEN = 28 * 86_400_000
#: Entries that are looked through at the start for what came when nobody wrote the note any more.
LOOKED_BACK = 100_000

_log = structlog.get_logger("adapter.sources")

_LEVELS = {"SOURCE-BACK": "info"}


class WatchedSource(NamedTuple):
    """A source that is watched."""

    name: str
    provider: str
    #: Its first name, under which it is known.
    key: str
    #: Seconds after which it is silent; ``None``: by its own habits; infinite: never.
    silence: float | None


class Condition(NamedTuple):
    """How it is with a source."""

    #: Epoch milliseconds.
    heard_at: int | None
    silent: bool
    refused: bool


class Watching:
    """The sources of this service, as all services over its log know them."""

    def __init__(
        self, log: Store, counts: IngestCounts, sources: Sequence[WatchedSource], *, now: Callable[[], int]
    ) -> None:
        """``now`` gives epoch milliseconds."""
        self.sources = tuple(sources)
        #: As it was when somebody looked last, by key.
        self.states: dict[str, SourceState] = {}
        self._log = log
        self._counts = counts
        self._now = now
        #: What of the counts stands in the note.
        self._tallies: dict[str, Tally] = {}
        self._reasons: dict[str, dict[str, int]] = {}
        self._heard: dict[str, tuple[int, int]] = {}
        #: The note that was to be written when no answer came.
        self._unanswered: tuple[str, Callable[[], None]] | None = None
        #: Found in the log at the start: last arrivals, by name.
        self._found: dict[str, int] | None = None

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            try:
                await self.look()
            except StoreError as error:
                _log.warning("sources_not_watched", problem=str(error))
            await asyncio.sleep(EVERY)

    async def look(self) -> None:
        """Add what was seen to what all know, and tell what that means.

        Raises:
            StoreError: the log does not answer.
        """
        while True:
            known, version = await self._read()
            head, now = self._log.head, self._now()
            is_other = known.set_right(now)
            news, taken = await self._news(known)
            before = known.looked_at
            if now - before > PAUSED:
                known.looked_since = now
            told = self._judge(known, news, now)
            if not (told or news or is_other or now - before >= WRITTEN):
                self.states = known.sources
                return
            known.looked_at, known.position = max(now, before), head
            text = known.written()
            self._unanswered = text, taken
            try:
                await self._log.append([_event(one, now) for one in told], Note(NOTE, text, version + 1))
            except NoteChanged:
                self._unanswered = None
                continue  # by another service, or it was stored when no answer came
            self._unanswered = None
            taken()
            # What is shown is what was told.
            self.states = known.sources
            for one in told:
                _say(one)
            return

    async def present(self) -> dict[str, SourceState]:
        """How it stands now with each source that was ever watched, by key.

        Raises:
            StoreError: the log does not answer.
        """
        known, _ = await self._read()
        news, _ = await self._news(known)
        now = self._now()
        known.set_right(now)
        for key, one in news.items():
            take_up(known.sources.setdefault(key, SourceState(now)), one, now)
        return known.sources

    def conditions(self) -> dict[str, Condition]:
        """How it was with each source when somebody looked last, by name; of those that were ever heard."""
        found, now = {}, self._now()
        for one in self.sources:
            if (state := self.states.get(one.key)) is not None:
                found[one.name] = Condition(state.heard_at, state.silent_since is not None, is_refused(state, now))
        return found

    def warnings(self) -> list[str]:
        """What somebody should look at, a line each: as of the last look."""
        now, found = self._now(), []
        for one in self.sources:
            if (state := self.states.get(one.key)) is None:
                continue
            if state.silent_since is not None:
                found.append(f"sources: {one.name}: silent since {written(state.silent_since)}; GET /status says more")
            if is_refused(state, now):
                assert state.refusing is not None
                found.append(
                    f"sources: {one.name}: {counted(state.refusing.count, 'request')} refused since "
                    f"{written(state.refusing.first_at)}; GET /status says why"
                )
        return found

    async def _read(self) -> tuple[Known, int]:
        note = await self._log.noted(NOTE)
        known = read_known(None if note is None else note.text)
        if self._unanswered is not None:
            text, taken = self._unanswered
            # Unless another service has written since: then what came in these seconds counts twice.
            if note is not None and note.text == text:
                taken()
            self._unanswered = None
        return known, 0 if note is None else note.version

    async def _news(self, known: Known) -> tuple[dict[str, News], Callable[[], None]]:
        """What this service has seen and the note does not have, by key; and what to call once it has."""
        if self._found is None:
            # Of services that were killed, the log knows more than the note.
            arrivals = await self._log.arrivals(after=max(known.position, self._log.head - LOOKED_BACK))
            self._found = {}
            for arrived in arrivals:
                self._found[arrived.source] = max(arrived.last_at, self._found.get(arrived.source, 0))
        found, tallies, counts = self._found, self._counts.tallies(), self._counts
        heard = dict(counts.heard)
        reasons = {name: dict(one.reasons) for name, one in counts.refusals.items()}
        news: dict[str, News] = {}
        for source in self.sources:
            name = source.name
            tally = tallies.get(name, Tally()) - self._tallies.get(name, Tally())
            last, was = heard.get(name), self._heard.get(name)
            heard_at, seconds = last if last is not None and last != was else (None, 0)
            if heard_at is None:
                heard_at = found.get(name)
            refusals = counts.refusals.get(name, _NONE)
            one = News(
                tally, heard_at, seconds * 1000 or None,
                _grown(reasons.get(name, {}), self._reasons.get(name, {})), refusals.last_at, (*refusals.addresses,),
            )  # fmt: skip
            if any(tally) or heard_at is not None:
                news[source.key] = one

        def taken() -> None:
            self._tallies, self._heard, self._reasons, self._found = tallies, heard, reasons, {}

        return news, taken

    def _judge(self, known: Known, news: dict[str, News], now: int) -> list[Told]:
        told: list[Told] = []
        for one in self.sources:
            state, gaps = known.sources.get(one.key), self._gaps(one.name)
            if state is None:
                if one.key not in news and not gaps and one.silence in (None, inf):
                    # One that never sends has no state: by default there is a source for each provider.
                    continue
                state = known.sources[one.key] = SourceState(now)
            take_up(state, news.get(one.key, News()), now)
            told += judge(state, one.name, one.silence, gaps, now, known.looked_since)
        ours = {one.key for one in self.sources}
        for key, state in [*known.sources.items()]:
            if key not in ours and now - max(state.added_at, state.heard_at or 0) > FORGOTTEN:
                del known.sources[key]
        return told

    def _gaps(self, name: str) -> list[Gap]:
        pulls = self._counts.pulls
        return [
            Gap(realm, kind, count, *pulls.last_gaps[source, realm, kind])
            for (source, realm, kind), count in pulls.gaps.items()
            if source == name and count and (source, realm, kind) in pulls.last_gaps
        ]


_NONE = RefusalCounts()


def _grown(now: dict[str, int], before: dict[str, int]) -> dict[str, int]:
    return {name: count - before.get(name, 0) for name, count in now.items() if count > before.get(name, 0)}


def _event(told: Told, now: int) -> NewEntry:
    return system_event(told.name, now, told.details)


def _say(told: Told) -> None:
    event = told.name.lower().replace("-", "_")
    # No address stands in the service's log.
    details = {name: harmless(value) for name, value in told.details.items() if name != "addresses"}
    if told.name in _LEVELS:
        _log.info(event, **details)
    else:
        _log.warning(event, **details)


@asynccontextmanager
async def open_watching(watching: Watching) -> AsyncIterator[None]:
    """Watch while the context lasts; what was seen last is noted at the end."""
    async with in_background(watching.run(), "sources"):
        yield
    try:
        async with asyncio.timeout(LAST):
            await watching.look()
    except (StoreError, TimeoutError) as error:
        _log.warning("sources_not_watched", problem=str(error) or "no answer in time")
