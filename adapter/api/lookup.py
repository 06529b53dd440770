"""One entry of the log, by what its caller knows it by."""

from __future__ import annotations

import uuid
from collections.abc import Callable

from adapter.errors import RequestError
from adapter.filter import LENGTH_LIMIT, Filter, Term, bound_to
from adapter.log.protocol import Log
from adapter.mapping.catalogue import Catalogue
from adapter.model import Entry, uid_text
from adapter.normalize import further_name
from adapter.search.search import Search
from adapter.search_fields import search_fields

#: Events of one id that are told.
_TOLD = 20


class Lookup:
    """Finds what stands for an event, or for something quarantined, now."""

    def __init__(self, log: Log, search: Search, catalogue: Callable[[], Catalogue]) -> None:
        self._log = log
        self._search = search
        self._catalogue = catalogue

    async def find(self, name: str, caller: str = "", realms: tuple[str, ...] | None = None) -> Entry | None:
        """The entry with this uid, or else the event whose provider gave it this id: of several events of one record
        the first one. ``caller``: whose turn it is in
        the search; ``realms``: to which he is bound, so that he finds nothing else.

        Raises:
            RequestError: 409, several events have this id; says which. 503, the search cannot tell now.
            StoreUnavailable: log or search cannot be read now.
        """
        try:
            position = await self._log.latest(uuid.UUID(name).bytes)
        except ValueError:
            position = None
        if position:
            [found, *_] = [*await self._log.fetch([position]), None]
            if realms is None or found is None:
                return found
            bound = bound_to(Filter(self._catalogue()), realms)
            # A question about some realm: neither what is quarantined nor what the service tells is of one.
            return found if found.event is not None and bound.matches(search_fields(found.event)) else None
        if len(name) > LENGTH_LIMIT:
            return None
        by_id = bound_to(Filter(self._catalogue(), (Term("id", False, (name,)),)), realms)
        page = await self._search.find(by_id, limit=_TOLD, caller=caller)
        # One by one: each may be as large as a read may be.
        entries = [entry for position in page.positions for entry in await self._log.fetch([position])]
        if len(entries) > 1:
            entries = [one for one in entries if one.event is None or further_name(one.event) is None] or entries
        if len(entries) > 1:
            told = ", ".join(f"{uid_text(entry.uid)} ({entry.source})" for entry in entries)
            detail = f"Several events have this id; ask for one of them by its uid: {told}."
            raise RequestError(409, "Several events", detail, allowed=[uid_text(entry.uid) for entry in entries])
        return entries[0] if entries else None
