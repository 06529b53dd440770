"""What has arrived, counted by source and native type: a pass over all entries, since no index has their types."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from adapter.log.arrivals import TYPE_LENGTH, ArrivalCounts
from adapter.log.protocol import Arrivals
from adapter.log.sqlite.reading import open_reader
from adapter.log.sqlite.schema import store_error

#: Entries that one statement looks at: for long ones the WAL could not be copied back meanwhile.
STRETCH = 50_000

# Each event once, as what it is now: not its corrections, and not what was quarantined before it could be read.
# Parameters: after, until.
_COUNTS = f"""
SELECT source.name, told, entries, quarantined, last_at FROM (
  SELECT source AS id, substr(native_type, 1, {TYPE_LENGTH}) AS told, count(*) AS entries,
    sum(size IS NULL) AS quarantined, max(received_at) AS last_at
  FROM entry WHERE position > ?1 AND position <= ?2 AND revision = 0
    AND NOT (size IS NULL AND EXISTS (SELECT 1 FROM revision WHERE first = entry.position))
  GROUP BY source, told
) JOIN source USING (id)
"""


def count_arrivals(path: Path, head: int, *, after: int = 0) -> list[Arrivals]:
    """The counts as `adapter.log.protocol.Log.arrivals`, through a connection of its own, in short transactions."""
    counts = ArrivalCounts()
    with open_reader(path) as reader:
        while after < head:
            until = min(after + STRETCH, head)
            try:
                rows = reader.execute(_COUNTS, (after, until)).fetchall()
            except sqlite3.Error as error:
                raise store_error(path, error) from error
            counts.add(rows)
            after = until
    return counts.sorted()
