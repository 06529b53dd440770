"""The files of a log on the disk, compared with those that are open.

SQLite goes on writing into a file that was removed or replaced, and nothing fails until the next start; so whoever
answers for what was stored looks whether the files are still there. That costs a few microseconds.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adapter.log.sqlite.schema import APPLICATION

#: Device and inode of the database, its WAL and its index of the WAL, in this order; ``None`` where there is none.
Identity = list[tuple[int, int] | None]

_ENDS = ("", "-wal", "-shm")

# The header of an SQLite database: https://www.sqlite.org/fileformat.html
_MAGIC = b"SQLite format 3\0"
_APPLICATION_AT, _HEAD = 68, 72
#: Its last bit tells the order of bytes in checksums.
_WAL_MAGIC = bytes.fromhex("377f0682")


class Files:
    """The files of a log that is open, as long as it is."""

    def __init__(self, path: Path, identity: Identity | None = None) -> None:
        """``identity``: what they were before; otherwise they are taken as they are now."""
        self._names = [f"{path}{end}" for end in _ENDS]
        #: None of them becomes smaller while it is open, but for the last, which has no size of its own, and for the
        #: WAL while it is cut off on purpose.
        self._sizes = [0, 0]
        self._is_cut = False
        self.identity = identity if identity is not None else [_identity(name) for name in self._names]

    @contextmanager
    def cutting_wal(self) -> Iterator[None]:
        """The WAL is cut off meanwhile. If that ends with an error, nobody knows when it will be: then it may become
        smaller at any time from then on."""
        self._is_cut = True
        yield
        self._sizes[1], self._is_cut = 0, False

    def problem(self) -> str | None:
        """What is wrong with one of the files, with its name; ``None`` if they are those that were opened."""
        sizes = self._sizes
        for number, name in enumerate(self._names):
            known = self.identity[number]
            if known is None:
                continue
            try:
                found = os.stat(name)  # noqa: PTH116 - a Path costs several times as much
            except OSError as error:
                return f"{name}: removed while it was open ({error.strerror})"
            if (found.st_dev, found.st_ino) != known:
                return f"{name}: another file stands in the place of the one that is open"
            if number < 2:
                if found.st_size < sizes[number] and not (number == 1 and self._is_cut):
                    return f"{name}: truncated from {sizes[number]} to {found.st_size} bytes while it was open"
                sizes[number] = found.st_size
        return None


class Beginnings:
    """The beginnings of the database and its WAL on the disk, of a log that is open. SQLite does not look at them while
    it has both open: a newer first page stands in the WAL, and where its frames are, in the index."""

    def __init__(self, path: Path) -> None:
        """
        Raises:
            OSError: there is no such file.
        """
        self._path = str(path)
        self._wal = f"{path}-wal"
        # Open as long as the log is: whoever closes a file takes all locks of its process off it, those of SQLite too;
        # and the writer, when it ends, would believe that nobody else has the log open, and remove the WAL.
        # https://www.sqlite.org/howtocorrupt.html
        self._database = path.open("rb", buffering=0)
        #: Whether the database was seen to begin as a log does: a checkpoint has written its first page.
        self._is_marked = self._application() == APPLICATION

    def problem(self) -> str | None:
        """What is wrong with them; ``None`` if they are a log's.

        Raises:
            OSError: they cannot be read.
        """
        application = self._application()
        if application == APPLICATION:
            self._is_marked = True
        elif self._is_marked or application != 0:
            return f"{self._path}: its beginning was overwritten by something that is no log"
        with open(self._wal, "rb") as file:  # noqa: PTH123 - the name is a text
            head = file.read(len(_WAL_MAGIC))
        if head and head[:-1] != _WAL_MAGIC[:-1]:
            return f"{self._wal}: its beginning was overwritten by something that is no WAL"
        return None

    def close(self) -> None:
        """Close what is held open; not while anybody of this process reads or writes the log."""
        self._database.close()

    def _application(self) -> int | None:
        """Which program the database says that it is of; 0: it says nothing yet, or is empty; ``None``: it is no
        database.

        Raises:
            OSError: it cannot be read.
        """
        head = os.pread(self._database.fileno(), _HEAD, 0)
        if not head:
            return 0
        return int.from_bytes(head[_APPLICATION_AT:_HEAD]) if head.startswith(_MAGIC) else None


def _identity(name: str) -> tuple[int, int] | None:
    try:
        found = os.stat(name)  # noqa: PTH116 - a Path costs several times as much
    except OSError:
        return None
    return found.st_dev, found.st_ino


def dictionary_path(log: Path) -> Path:
    """Where a copy of the log's dictionary lies: without it nothing in the log is readable, so it is there twice."""
    return Path(f"{log}-dictionary")
