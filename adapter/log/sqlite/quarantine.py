"""What is quarantined, in groups that somebody can act on: found by an index of its own, whatever the log's length."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import orjson

from adapter.log.protocol import TOLD_LENGTH, Quarantine, QuarantineGroup
from adapter.log.sqlite.reading import open_reader
from adapter.log.sqlite.schema import store_error

#: Steps of SQLite's machine between two looks at the clock.
_STEPS = 20_000

# What became an event since then has a later entry. Where in a text an error was found makes no group of its own.
# Parameters: names of sources and native types (JSON; null: all), limit.
_GROUPS = f"""
SELECT source.name, substr(native_type, 1, {TOLD_LENGTH}),
  substr(problem, 1, min(instr(problem || ': line ', ': line ') - 1, {TOLD_LENGTH})) AS told, count(*),
  min(received_at), max(received_at), min(position), max(position), count(*) OVER (), sum(count(*)) OVER ()
FROM entry INDEXED BY quarantined JOIN source ON source.id = entry.source
WHERE size IS NULL AND NOT EXISTS (SELECT 1 FROM revision WHERE first = entry.position)
  AND (?1 IS NULL OR source.name IN (SELECT value FROM json_each(?1)))
  AND (?2 IS NULL OR native_type IN (SELECT value FROM json_each(?2)))
GROUP BY entry.source, native_type, told
ORDER BY count(*) DESC, max(position) DESC LIMIT ?3
"""


def read_quarantine(
    path: Path,
    *,
    sources: list[str] | None = None,
    native_types: list[str] | None = None,
    limit: int = 100,
    timeout: float | None = None,
) -> Quarantine:
    """The groups as `adapter.log.protocol.Log.quarantine`, through a connection of its own: nobody who reads entries
    waits for the count of a large quarantine.

    Raises:
        TimeoutError: it took longer than ``timeout`` seconds.
    """
    values = [None if names is None else orjson.dumps(names).decode() for names in (sources, native_types)]
    with open_reader(path) as reader:
        if timeout is not None:
            deadline = time.monotonic() + timeout
            reader.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
        try:
            rows = reader.execute(_GROUPS, (*values, limit)).fetchall()
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT:
                raise TimeoutError from None
            raise store_error(path, error) from error
    kinds, entries = rows[0][-2:] if rows else (0, 0)
    return Quarantine(entries, kinds, [QuarantineGroup(*row[:-2]) for row in rows])
