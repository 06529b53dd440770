"""Listeners whose filters name people, clients or realms: of these the search knows ids and names that events do not
carry, so it says which events they get. The tail tells when to ask.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from adapter.api.live_tail import SIZE, STEP, Listener, Taken
from adapter.delivery.select import Selection
from adapter.filter import Filter
from adapter.log.protocol import Log
from adapter.model import Entry
from adapter.search.cursor import LogCursor, read_log_cursor, write_cursor
from adapter.search.linking import is_linked
from adapter.search.search import Search

#: A listener asks no sooner again, seconds.
EVERY = 0.25


def is_searched(filter: Filter) -> bool:
    """Whether what is known of ids and names counts for a filter, which events themselves do not say."""
    return len(_plain(filter).terms) < len(filter.terms)


def waking(filter: Filter, *, revisions: bool) -> Selection:
    """What events may be among those of a filter."""
    return Selection(_plain(filter), revisions=revisions)


class SearchListener:
    """A listener that asks the search for what the tail's one (of `waking`) has seen pass."""

    def __init__(
        self, listener: Listener, log: Log, search: Search, filter: Filter, *, revisions: bool, caller: str
    ) -> None:
        self._listener = listener
        self._log = log
        self._search = search
        self._filter = filter
        self._revisions = revisions
        self._caller = caller
        #: Up to where it has what it gets; and up to where there may be more.
        self._position = self._seen = listener.position
        self._not_before = 0.0

    async def take(self, timeout: float) -> Taken | None:
        """As `Listener.take`.

        Raises:
            StoreError: the log or the search cannot be read now.
            RequestError: 503, the search does not answer in time.
        """
        if self._listener.is_ending:
            return None
        if self._seen <= self._position:
            taken = await self._listener.take(timeout)
            if taken is None:
                return None
            # The search may be ahead of the tail.
            before, self._seen = self._position, max(self._position, taken.position)
            if taken.passed_over is not None:
                self._position = self._seen
                return Taken((), self._position, max(before, taken.passed_over))
            if not taken.entries or self._seen == before:
                self._position = self._seen
                return Taken((), self._position)
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._not_before - loop.time()))
        self._not_before = loop.time() + EVERY
        cursor = write_cursor(LogCursor(self._position))
        page = await self._search.find(
            self._filter, order="log", limit=STEP, cursor=cursor, revisions=self._revisions, caller=self._caller
        )
        entries: Sequence[Entry] = await self._log.fetch(page.positions, size=SIZE) if page.positions else ()
        done = page.positions.index(entries[-1].position) + 1 if entries else len(page.positions)
        if page.at_end and done == len(page.positions):
            self._position = max([self._seen, *page.positions])
        else:
            following = page.after(done)
            assert following is not None
            self._position = read_log_cursor(following).position
        return Taken(entries, self._position)


def _plain(filter: Filter) -> Filter:
    """The filter without terms that mean more than events say themselves."""
    terms = (term for term in filter.terms if not (is_linked(term) or (term.name == "realm" and not term.exact)))
    return replace(filter, terms=tuple(terms))
