"""Notes and claims, inside the transaction of whoever calls."""

from __future__ import annotations

import sqlite3

from adapter.errors import ClaimLost, NoteChanged
from adapter.log.protocol import Note

_REPLACE = "UPDATE note SET text = ?2, version = ?3 WHERE name = ?1 AND version = ?3 - 1"
_INSERT = "INSERT INTO note (name, text, version) VALUES (?, ?, ?) ON CONFLICT (name) DO NOTHING"
_CLAIM = (
    "INSERT INTO claim (name, token) VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET token = token + 1 RETURNING token"
)


def keep_note(connection: sqlite3.Connection, note: Note) -> None:
    """Keep a note in the place of the one before it.

    Raises:
        NoteChanged: it does not follow the one that is kept.
    """
    kept = connection.execute(_INSERT if note.version == 1 else _REPLACE, note)
    if kept.rowcount != 1:
        raise NoteChanged(f"note {note.name!r} is not of version {note.version - 1} now")


def drop_note(connection: sqlite3.Connection, name: str, version: int) -> None:
    """Keep a note no more.

    Raises:
        NoteChanged: there is none of this name and version.
    """
    if connection.execute("DELETE FROM note WHERE name = ? AND version = ?", (name, version)).rowcount != 1:
        raise NoteChanged(f"note {name!r} is not of version {version} now")


def take_claim(connection: sqlite3.Connection, name: str) -> int:
    """Token of one more claim of this name."""
    (token,) = connection.execute(_CLAIM, (name,)).fetchone()
    return int(token)


def check_token(connection: sqlite3.Connection, name: str, token: int) -> None:
    """
    Raises:
        ClaimLost: it is not that of the latest claim of this name.
    """
    (latest,) = connection.execute("SELECT token FROM claim WHERE name = ?", (name,)).fetchone() or (0,)
    if token != latest:
        raise ClaimLost(f"somebody else has claimed {name!r}")
