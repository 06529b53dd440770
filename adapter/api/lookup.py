"""One entry of the log, by what its caller knows it by."""

from __future__ import annotations

import uuid
from collections.abc import Mapping

from adapter.errors import RequestError
from adapter.log.protocol import Log
from adapter.model import Entry, id_key, uid_text
from adapter.sources.intake import Source


class Lookup:
    """Finds what stands for an event, or for something quarantined, now."""

    def __init__(self, log: Log, sources: Mapping[str, Source]) -> None:
        """``sources``: those that are configured, by name."""
        self._log = log
        self._sources = sources

    async def find(self, name: str) -> Entry | None:
        """The entry with this uid, or else the one whose provider gave it this id.

        The log's identities know an id if the table has it for its strong key, and if it came with the event's first
        copy; so it costs nothing to be found by.

        Raises:
            RequestError: 409, several sources have an event of this id; says which.
        """
        try:
            position = await self._log.latest(uuid.UUID(name).bytes)
        except ValueError:
            position = None
        if position:
            found = await self._log.fetch([position])
            return found[0] if found else None
        keys = {id_key(source.key, name) for source in self._sources.values()}
        positions = [position for key in keys if (position := await self._log.latest(key))]
        # One by one: each may be as large as a read may be.
        entries = [entry for position in sorted(positions) for entry in await self._log.fetch([position])]
        if len(entries) > 1:
            told = ", ".join(f"{uid_text(entry.uid)} ({entry.source})" for entry in entries)
            detail = f"Several sources have an event of this id; ask for one of them by its uid: {told}."
            raise RequestError(409, "Several events", detail, allowed=[uid_text(entry.uid) for entry in entries])
        return entries[0] if entries else None
