"""Which entries of a stretch of the log a sink gets. Most are decided by their type, without opening the event."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress

import orjson

from adapter.filter import Filter
from adapter.model import Entry
from adapter.search_fields import SYSTEM, SearchFields, search_fields


class Selection:
    """What a filter takes: first entries of events, or with ``revisions`` the later ones, too; nothing quarantined, and
    nothing that the service tells of the ``sink`` itself: each failure would bring the next event to fail with."""

    def __init__(self, filter: Filter, *, revisions: bool = False, sink: str | None = None) -> None:
        #: How the filter is known, to notice when it changes, or what the catalogue makes of it.
        catalogued = filter.catalogued()
        self.text = filter.canonical() + (f" {catalogued}" if catalogued else "") + (" revisions" if revisions else "")
        #: Whether later entries are taken, too.
        self.takes_revisions = revisions
        self._last_revision = 2**62 if revisions else 0
        #: The most entries to policy at once where events are opened, so that others get their turn between.
        self.stretch = 250 if filter.needs_event else 1_000_000
        #: The most entries that are read again at once: all that are taken are opened for their keys.
        self.again = 250
        self.filter = filter
        self._sink = sink

    def select(self, entries: Sequence[Entry]) -> list[Entry]:
        """Those of the entries that the sink gets, in their order."""
        types = [entry.type for entry in entries]
        verdicts = {type: type is not None and self.filter.may_match_type(type) for type in set(types)}
        last = self._last_revision
        chosen = [
            entry
            for entry in compress(entries, map(verdicts.__getitem__, types))
            if entry.revision <= last and entry.event is not None
        ]
        if self._sink is not None and any(
            taken and type.startswith(SYSTEM) for type, taken in verdicts.items() if type
        ):
            chosen = [entry for entry in chosen if not self._speaks_of_it(entry)]
        if self.filter.needs_event:
            return [entry for entry in chosen if self._matches(entry)]
        return chosen

    def takes(self, entry: Entry, fields: SearchFields | None) -> bool:
        """Whether the sink gets one entry, as `select` says; one that has an event, and a type that its filter may
        match. ``fields``: what it can be found by; not looked at unless the filter needs the event."""
        if entry.revision > self._last_revision:
            return False
        if self._sink is not None and (entry.type or "").startswith(SYSTEM) and self._speaks_of_it(entry):
            return False
        return not self.filter.needs_event or (fields is not None and self.filter.matches(fields))

    def refusal(self, entry: Entry) -> str | None:
        """Why the sink does not get an entry with an event, for people; ``None`` if it gets it."""
        assert entry.event is not None
        if self._sink is not None and self._speaks_of_it(entry):
            return "it speaks of this sink itself"
        if entry.revision > self._last_revision:
            return 'a correction of an event; revisions = "send" would have it sent'
        return self.filter.refusal(search_fields(entry.event))

    def _matches(self, entry: Entry) -> bool:
        assert entry.event is not None
        return self.filter.matches(search_fields(entry.event))

    def _speaks_of_it(self, entry: Entry) -> bool:
        assert entry.type is not None
        assert entry.event is not None
        return entry.type.startswith(SYSTEM) and orjson.loads(entry.event)["details"].get("sink") == self._sink
