"""What the log takes: of its disk, and by source and type."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from adapter.log.arrivals import OTHERS, TYPES_LIMIT
from adapter.log.protocol import Share, Usage
from adapter.log.sqlite.reading import Reader, open_reader
from adapter.log.sqlite.removing import count_removed
from adapter.log.sqlite.schema import store_error

#: Entries that one statement looks at: for long ones the WAL could not be copied back meanwhile.
STRETCH = 50_000

_SHARES = """
SELECT source.name, type, entries, size FROM (
  SELECT source AS id, type, count(*) AS entries, coalesce(sum(size), 0) AS size FROM entry
  WHERE position > ? AND position <= ? GROUP BY source, type
) JOIN source USING (id)
"""


def read_usage(reader: Reader, head: int) -> Usage:
    """What the log takes now."""
    (first,) = reader.execute("SELECT min(position) FROM entry").fetchone()
    left = head - count_removed(reader, 0, head)
    pages, free, size = (
        int(reader.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("page_count", "freelist_count", "page_size")
    )
    return Usage(head + 1 if first is None else first, left, (pages - free) * size, free * size)


def count_shares(path: Path, after: int, until: int) -> list[Share]:
    """The entries of a stretch by source and type, through a connection of its own, in short transactions."""
    found: dict[tuple[str, str | None], tuple[int, int]] = {}
    with open_reader(path) as reader:
        while after < until:
            end = min(after + STRETCH, until)
            try:
                rows = reader.execute(_SHARES, (after, end)).fetchall()
            except sqlite3.Error as error:
                raise store_error(path, error) from error
            for source, type, entries, size in rows:
                if len(found) >= TYPES_LIMIT and (source, type) not in found:
                    type = OTHERS
                before = found.get((source, type), (0, 0))
                found[source, type] = (before[0] + entries, before[1] + size)
            after = end
    return [Share(source, type, *counts) for (source, type), counts in found.items()]
