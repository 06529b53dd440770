"""A consistent copy of a log, while it is written to.

One read transaction sees the log as it is when the copy begins; it keeps nobody from appending. What is appended
meanwhile stands in the WAL, which grows until the copy is done.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from adapter.errors import StoreError
from adapter.log.sqlite.reading import find_head, open_reader
from adapter.log.sqlite.removing import count_removed
from adapter.log.sqlite.schema import store_error

#: Pages that are copied between two reports.
_PAGES = 4096


class Copy(NamedTuple):
    """What was copied."""

    #: Position of the last entry in it, how many entries it has, and bytes of the file.
    head: int
    entries: int
    size: int


def back_up(
    log: Path, target: Path, *, compact: bool = False, progress: Callable[[int, int], None] = lambda done, of: None
) -> Copy:
    """Copy the log into the file ``target``, which gets its name when all of it is on disk. ``compact``: without what
    is free in it, which takes several times as long. ``progress`` hears how many pages are done, and of how many.

    Raises:
        StoreError: the log cannot be read, the copy cannot be written, or there is a file of this name already.
    """
    if target.exists():
        raise StoreError(f"{target}: is there already; name a new folder")
    part = target.with_name(f"{target.name}.part")
    part.unlink(missing_ok=True)
    try:
        with open_reader(log) as reader:
            try:
                reader.execute("BEGIN")
                head = find_head(reader)
                entries = head - count_removed(reader, 0, head)
                if compact:
                    # It has a transaction of its own, which begins here.
                    reader.execute("COMMIT")
                    reader.execute("VACUUM INTO ?", (str(part),))
                    head, entries = _counted(part)
                else:
                    with closing(sqlite3.connect(part)) as copy:
                        reader.backup(copy, pages=_PAGES, progress=lambda _, left, of: progress(of - left, of))
            except sqlite3.Error as error:
                raise store_error(log, error) from error
        _sync(part)
        part.rename(target)
        _sync(target.parent)
    except OSError as error:
        raise StoreError(f"{target}: cannot be written: {error.strerror}") from None
    finally:
        for end in ("", "-wal", "-shm", "-journal"):
            Path(f"{part}{end}").unlink(missing_ok=True)
    return Copy(head, entries, target.stat().st_size)


def _counted(file: Path) -> tuple[int, int]:
    with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as copy:
        head = find_head(copy)
        return head, head - count_removed(copy, 0, head)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
