"""One entry of the log, by what its caller knows it by."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping

from adapter.errors import RequestError
from adapter.filter import LENGTH_LIMIT, Filter, Term
from adapter.log.protocol import Log
from adapter.mapping.catalogue import Catalogue
from adapter.model import Entry, uid_text
from adapter.normalize import further_name
from adapter.scope import Scope
from adapter.search.search import Search
from adapter.search_fields import SYSTEM, search_fields

#: Events of one id that are told.
_TOLD = 20
#: Those of the service's own events have to be named.
_ANY_TYPE = Term("type", False, ("*", f"{SYSTEM}*"))


class Lookup:
    """Finds what stands for an event, or for something quarantined, now."""

    def __init__(
        self, log: Log, search: Search, catalogue: Callable[[], Catalogue], providers: Mapping[str, str]
    ) -> None:
        """``providers``: of each configured source, by name."""
        self._providers = providers
        self._log = log
        self._search = search
        self._catalogue = catalogue

    async def find(self, name: str, caller: str, scope: Scope) -> Entry | None:
        """The entry with this uid, or else the event whose provider gave it this id: of several events of one record
        the first one. ``caller``: whose turn it is in the search; he finds nothing beyond ``scope``.

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
            if not scope.is_limited or (found is not None and self.is_within(found, scope)):
                return found
            # It may be the id of an event in scope all the same.
        if len(name) > LENGTH_LIMIT:
            return None
        by_id = scope.bound(Filter(self._catalogue(), (Term("id", False, (name,)),)))
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

    async def event(self, name: str, caller: str, scope: Scope) -> Entry:
        """The same of an event.

        Raises:
            RequestError: as `find`; 404, there is none, or what came is quarantined.
            StoreUnavailable: as `find`.
        """
        entry = await self.find(name, caller, scope)
        if entry is None:
            raise RequestError(
                404, "Not found", "There is no event with this uid, and none whose provider gave it this id."
            )
        if entry.event is None:
            raise RequestError(
                404,
                "Quarantined",
                f"What came with this uid could not be made an event: {entry.problem}",
                quarantined={"nativeType": entry.native_type, "problem": entry.problem},
            )
        return entry

    def is_within(self, entry: Entry, scope: Scope) -> bool:
        """Whether an entry is in scope: by what its event says, or by its source if it has none."""
        if entry.event is None:
            return scope.has_source(entry.source, self._providers)
        return scope.bound(Filter(self._catalogue(), (_ANY_TYPE,))).matches(search_fields(entry.event))


async def first_entry(log: Log, entry: Entry) -> Entry:
    """The entry by which an event was sent first: sinks get that one, and corrections only where they ask.

    Raises:
        StoreError: the log cannot be read.
    """
    while entry.revision:
        position = await log.before(entry.uid, entry.position)
        found = [] if position is None else await log.fetch([position])
        if not found or found[0].event is None:
            break
        [entry] = found
    return entry
