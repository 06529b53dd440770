"""The doors of the sources: each asks for the proofs of its source's present table, and there is one for all names that
are no source."""

from __future__ import annotations

from collections.abc import Sequence

from adapter.mapping.table import Table
from adapter.sources.authentication import Authenticator, Decoys, MayIngest
from adapter.sources.intake import Source


class Door:
    """What stands before a source, or before a name that is none (``source`` is ``None``)."""

    def __init__(self, doors: Doors, source: Source | None, tokens: Sequence[str]) -> None:
        self.source = source
        self._doors = doors
        self._tokens = tokens
        self._table: Table | None = None
        self._authenticator: Authenticator

    @property
    def authenticator(self) -> Authenticator:
        """The proofs of the present table."""
        if self.source is not None and self.source.table is not self._table:
            self._doors.renew()
        return self._authenticator

    def _renew(self, decoys: Decoys, may_ingest: MayIngest) -> None:
        self._table = None if self.source is None else self.source.table
        proofs = () if self._table is None else self._table.mapping.auth
        self._authenticator = Authenticator(proofs, self._tokens, may_ingest, decoys)


class Doors:
    """The doors by the names of sources."""

    def __init__(self, sources: Sequence[tuple[Source, Sequence[str]]], may_ingest: MayIngest) -> None:
        """``sources`` come with their tokens."""
        self._may_ingest = may_ingest
        self._doors = {source.name: Door(self, source, tokens) for source, tokens in sources}
        self._nobody = Door(self, None, ())
        self._most_tokens = max((len(tokens) for _, tokens in sources), default=1)
        self.renew()

    def __getitem__(self, name: str) -> Door:
        """The door of a name; every name has one."""
        return self._doors.get(name, self._nobody)

    def renew(self) -> None:
        """Take up the present tables. All doors do, since each works on the proofs of the others too."""
        sources = [door.source for door in self._doors.values() if door.source is not None]
        proofs = [proof for source in sources for proof in source.table.mapping.auth]
        decoys = Decoys(proofs, self._most_tokens)
        for door in (*self._doors.values(), self._nobody):
            door._renew(decoys, self._may_ingest)
