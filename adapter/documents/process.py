"""The process that writes one document: ``python -m adapter.documents.process KIND``.

From standard input it reads what the document says of itself, as JSON, and then what stands in it, stretch by stretch:
each a length of 8 bytes and so many bytes; a length of 0 ends the last one. The document goes to standard output, piece
by piece. An input that ends without that end makes no whole document, and the process fails.

What stands in a document is foreign text, and the libraries that write it are large: the process has bounded memory,
and is killed when nobody reads.
"""

from __future__ import annotations

import io
import os
import resource
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any, BinaryIO

import orjson

from adapter.documents.kinds import KINDS
from adapter.subprocesses import begin, run

#: Address space of the process, bytes; libraries reserve more than they use.
MEMORY = 2 * 1024 * 1024 * 1024
#: Bytes that say how long a stretch is.
LENGTH = 8


class Output:
    """Standard output, for libraries that ask how much was written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = 0
        self.closed = False

    def break_off(self) -> None:
        """Nothing that is written from now on reaches the file."""
        self._file = io.BytesIO()

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        self._file.write(data)
        self._size += size
        return size

    def tell(self) -> int:
        return self._size

    def flush(self) -> None:
        self._file.flush()

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def close(self) -> None:
        """The file is whole only when the process ends well."""


def main() -> None:
    """Write one document.

    Raises:
        EOFError: the input broke off.
    """
    begin()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    kind = KINDS[sys.argv[1]]
    # What a library prints must not stand in the document.
    with os.fdopen(0, "rb") as given, os.fdopen(os.dup(1), "wb") as file:
        os.dup2(2, 1)
        stretches = _stretches(given)
        head = orjson.loads(next(stretches))
        import_module(f"adapter.documents.{kind.name}").write(Output(file), head, stretches)


def _stretches(given: BinaryIO) -> Iterator[bytes]:
    while True:
        length = int.from_bytes(_exactly(given, LENGTH))
        if not length:
            return
        yield _exactly(given, length)


def _exactly(given: BinaryIO, size: int) -> bytes:
    data = given.read(size)
    if len(data) < size:
        raise EOFError("the input broke off")
    return data


if __name__ == "__main__":
    run(main, "adapter.documents.process")
