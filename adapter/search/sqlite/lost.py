"""Whether a log was lost: the search database beside it remembers how far it was."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from adapter.errors import ConfigError
from adapter.log.sqlite.schema import reading_uri


def refuse_lost_log(log: Path, search: Path) -> None:
    """See that a log which is to be opened is not missing or empty beside a search database that was filled from one,
    or beside its own journal. To begin a new one would answer all who send again as if nothing had happened.

    Raises:
        ConfigError: it is; says what to do.
    """
    wal = Path(f"{log}-wal")
    is_made = log.exists() and log.stat().st_size > 0
    if is_made and _number(log, "SELECT max(position) FROM entry") != 0:
        return
    # All of its entries may have been removed.
    if is_made and _number(log, "SELECT max(last) FROM extent"):
        return
    reached = _number(search, "SELECT position FROM state") if search.exists() else 0
    if reached:
        what = f"{search.name} beside it was filled up to entry {reached}"
    elif not is_made and wal.exists() and wal.stat().st_size > 0:
        what = f"{wal.name} beside it holds entries"
    else:
        return
    raise ConfigError(
        f"{log}: is {'empty' if is_made else 'missing'}, but {what}; put a backup of the log in its place "
        "(docs/recover.md), or begin a new one on purpose: idp-adapter serve --new-log"
    )


def _number(database: Path, question: str) -> int | None:
    """The number that a database answers with, 0 for none; ``None`` if it cannot be read: who opens it will say why."""
    try:
        with closing(sqlite3.connect(reading_uri(database), uri=True)) as connection:
            (found,) = connection.execute(question).fetchone() or (0,)
    except sqlite3.Error:
        return None
    return int(found or 0)
