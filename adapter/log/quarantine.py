"""What is quarantined, in groups that somebody can act on: found by an index of its own, whatever the log's length."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import orjson

from adapter.log.protocol import Quarantine, QuarantineGroup
from adapter.log.reading import open_reader
from adapter.log.schema import store_error

# What became an event since then has a later entry. Where in a text an error was found makes no group of its own.
# Parameters: names of sources and native types (JSON; null: all), limit.
_GROUPS = """
SELECT source.name, native_type, substr(problem, 1, instr(problem || ': line ', ': line ') - 1) AS told, count(*),
  min(received_at), max(received_at), min(position), max(position), count(*) OVER (), sum(count(*)) OVER ()
FROM entry INDEXED BY quarantined JOIN source ON source.id = entry.source
WHERE size IS NULL AND NOT EXISTS (SELECT 1 FROM revision WHERE first = entry.position)
  AND (?1 IS NULL OR source.name IN (SELECT value FROM json_each(?1)))
  AND (?2 IS NULL OR native_type IN (SELECT value FROM json_each(?2)))
GROUP BY entry.source, native_type, told
ORDER BY count(*) DESC, max(position) DESC LIMIT ?3
"""


def read_quarantine(
    path: Path, *, sources: list[str] | None = None, native_types: list[str] | None = None, limit: int = 100
) -> Quarantine:
    """The groups as `adapter.log.protocol.Log.quarantine`, through a connection of its own: nobody who reads entries
    waits for the count of a large quarantine."""
    values = [None if names is None else orjson.dumps(names).decode() for names in (sources, native_types)]
    with open_reader(path) as reader:
        try:
            rows = reader.execute(_GROUPS, (*values, limit)).fetchall()
        except sqlite3.Error as error:
            raise store_error(path, error) from error
    kinds, entries = rows[0][-2:] if rows else (0, 0)
    return Quarantine(entries, kinds, [QuarantineGroup(*row[:-2]) for row in rows])
