"""Events into a local file, one a line, in a format of the operator's choice."""

from __future__ import annotations

import asyncio
import fcntl
import os
import stat
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from adapter.formats.protocol import Format, is_appendable
from adapter.formats.settings import DEFAULT, AnyFormat, fitting, make_format
from adapter.model import Entry
from adapter.outgoing.settings import OutgoingSettings
from adapter.sinks.protocol import DELIVERED, Answer, Batch, Later, Promise
from adapter.sinks.settings import SinkSettings


class Settings(SinkSettings):
    """``[[sinks]]`` with ``kind = "file"``."""

    kind: Literal["file"] = "file"
    path: Path = Field(description="The file; made if it is not there, with mode 0600. May be rotated by renaming")
    format: Annotated[AnyFormat, AfterValidator(fitting(is_appendable, "is no format of one line for each event"))] = (
        Field(DEFAULT, validate_default=True, description="What events are written as")
    )


class File:
    """A file that only we append to. Opened with the first events, and again after it was renamed or failed."""

    #: Lines keep the order of the log.
    window = 1
    batch = Batch(5000, alike=True)
    promise = Promise.DURABLE

    def __init__(self, path: Path, format: Format, thread: ThreadPoolExecutor) -> None:
        self._path = path
        self._format = format
        self._thread = thread
        self._file: int | None = None

    async def send(self, entries: Sequence[Entry]) -> Sequence[Answer]:
        answer = await asyncio.get_running_loop().run_in_executor(self._thread, self._append, entries)
        return [answer] * len(entries)

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _append(self, entries: Sequence[Entry]) -> Answer:
        """Write one record for each entry. When this returns `DELIVERED`, they are on disk; else none of them is, or
        they are cut off when the file is opened next."""
        form = self._format
        records = form.write(entries)
        records.append(b"")
        try:
            if self._file is None or not _names(self._path, self._file):
                self.close()
                self._file = _open(self._path, form.header)
            _write(self._file, form.record_end.join(records), form.header)
        except OSError as error:
            self.close()
            return Later(f"{self._path}: {error.strerror or error}", receiver_down=True)
        return DELIVERED


def _names(path: Path, file: int) -> bool:
    """Whether the open file is still the one at the path."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file))
    except FileNotFoundError:
        return False


def _open(path: Path, header: bytes) -> int:
    """The file at the path, ours alone, its end after a whole line; its name is on disk too.

    Raises:
        OSError: it cannot be opened, is no regular file, does not begin with the header, or another process writes to
            it.
    """
    # Not blocking, so that a pipe without a reader is an error and no wait.
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError("is not a regular file")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OSError("another process, or another sink, writes to this file") from None
        _cut_torn_line(file)
        if os.fstat(file).st_size and os.pread(file, len(header), 0) != header:
            raise OSError("begins otherwise than files of this format; rename it, or write to another one")
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except BaseException:
        os.close(file)
        raise
    return file


def _cut_torn_line(file: int) -> None:
    """Cut off what stands after the last line feed: a crash came before the rest of it. A line that has its line
    feed is never touched."""
    size = end = os.fstat(file).st_size
    while end > 0:
        begin = max(0, end - 65536)
        feed = os.pread(file, end - begin, begin).rfind(b"\n")
        if feed >= 0:
            end = begin + feed + 1
            break
        end = begin
    if end < size:
        os.ftruncate(file, end)
        os.fsync(file)


def _write(file: int, data: bytes, header: bytes) -> None:
    """Append all of it, in an empty file behind the header, and wait for the disk; if that fails, take back what was
    written.

    Raises:
        OSError: it is not on disk.
    """
    size = os.fstat(file).st_size
    try:
        rest = memoryview(data if size else header + data)
        while rest:
            rest = rest[os.write(file, rest) :]
        os.fdatasync(file)
    except OSError:
        with suppress(OSError):
            os.ftruncate(file, size)
        raise


@asynccontextmanager
async def open_sink(settings: Settings, outgoing: OutgoingSettings, token_key: object = None) -> AsyncIterator[File]:
    """The file that the settings name. Nothing is opened yet: a file that cannot be, holds up this sink alone."""
    # A thread of its own: a disk that hangs holds up no lookup of a name.
    with ThreadPoolExecutor(1, thread_name_prefix=f"sink-{settings.name}") as thread:
        file = File(settings.path, make_format(settings.format), thread)
        try:
            yield file
        finally:
            await asyncio.get_running_loop().run_in_executor(thread, file.close)
