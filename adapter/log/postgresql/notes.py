"""Notes: texts with a version, each of which takes the place of the one before it."""

from __future__ import annotations

from collections.abc import Iterable

from adapter.errors import NoteChanged
from adapter.log.postgresql.connecting import Connection
from adapter.log.postgresql.works import text
from adapter.log.protocol import Note

_REPLACE = "UPDATE note SET text = $2, version = $3 WHERE name = $1 AND version = $3 - 1"
_INSERT = "INSERT INTO note (name, text, version) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING"


async def read_note(connection: Connection, name: str) -> Note | None:
    """The note that is kept under a name."""
    row = await connection.fetchrow("SELECT name, text, version FROM note WHERE name = $1", text(name))
    return None if row is None else Note(*row)


async def read_notes(connection: Connection, prefix: str) -> list[Note]:
    """The notes whose names begin with a text, by their names."""
    statement = 'SELECT name, text, version FROM note WHERE starts_with(name, $1) ORDER BY name COLLATE "C"'
    return [Note(*row) for row in await connection.fetch(statement, text(prefix))]


async def drop_note(connection: Connection, name: str, version: int) -> None:
    """Keep a note no more, in the transaction that runs.

    Raises:
        NoteChanged: there is none of this name and version; nothing was written.
    """
    dropped = await connection.execute("DELETE FROM note WHERE name = $1 AND version = $2", name, version)
    if not dropped.endswith(" 1"):
        raise NoteChanged(f"note {name!r} is not of version {version} now")


class Versions:
    """The versions of notes as a transaction will find them, and as it will leave them."""

    def __init__(self, versions: dict[str, int]) -> None:
        self._versions = versions
        #: What is to be kept, the last one of each name.
        self.kept: dict[str, Note] = {}
        self._first: dict[str, int] = {}

    def check(self, note: Note | None) -> None:
        """
        Raises:
            NoteChanged: it does not follow the one that is kept.
        """
        if note is not None and self._versions.get(text(note.name), 0) + 1 != note.version:
            raise NoteChanged(f"note {note.name!r} is not of version {note.version - 1} now")

    def keep(self, note: Note | None) -> None:
        """Keep a note that was checked."""
        if note is not None:
            name = text(note.name)
            self._first.setdefault(name, note.version)
            self._versions[name] = note.version
            self.kept[name] = Note(name, text(note.text), note.version)

    async def store(self, connection: Connection) -> bool:
        """Write them in the transaction that runs; whether all were as they had been found. In their order, so that of
        two who keep the same ones, one waits for the other."""
        for name in sorted(self.kept):
            note, first = self.kept[name], self._first[name]
            for version in range(first, note.version + 1):
                statement = _INSERT if version == 1 else _REPLACE
                said = await connection.execute(statement, name, note.text, version)
                if not said.endswith(" 1"):
                    return False
        return True


async def find_versions(connection: Connection, notes: Iterable[Note]) -> Versions:
    """The versions that these notes are to follow."""
    names = sorted({text(note.name) for note in notes})
    if not names:
        return Versions({})
    rows = await connection.fetch("SELECT name, version FROM note WHERE name = ANY($1)", names)
    return Versions(dict(map(tuple, rows)))
