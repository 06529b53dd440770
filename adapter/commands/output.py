"""What commands write. Into a pipe or a file data go as they are; on a terminal everything in them that would move the
cursor or turn the direction of writing is escaped, in JSON so that it stays the same value."""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

import typer
from rich.console import Console

from adapter.formats.text import harmless


def say(line: str, *, err: bool = False) -> None:
    """A line for people, on standard output or standard error, wherever it goes."""
    typer.echo(harmless(line), err=err)


def shown(text: str) -> str:
    """A text of several lines, each of them harmless."""
    return "\n".join(map(harmless, text.split("\n")))


def write_json(values: Iterable[bytes]) -> None:
    """JSON values on standard output, one a line."""
    output = Output(sys.stdout.buffer)
    for value in values:
        output.write(value + b"\n")
    output.flush()


def console_of_output() -> Console:
    """Where tables are printed. In a pipe nothing is cut: what reads it does not care how wide a terminal would be."""
    return Console(highlight=False, width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 1000)


@contextmanager
def until_nobody_reads() -> Iterator[None]:
    """Ends quietly when whoever reads the output has seen enough, and leaves."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # What is still to be written at the end of the process goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Output:
    """A file that data are written to, a piece at a time: UTF-8 where it is a terminal."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._decoder = io.IncrementalNewlineDecoder(decoder, translate=True) if file.isatty() else None

    def write(self, data: bytes) -> None:
        """Write a piece, which need not end with a whole character."""
        self._write(data, final=False)

    def flush(self) -> None:
        """Nothing more comes."""
        self._write(b"", final=True)
        self._file.flush()

    def _write(self, data: bytes, *, final: bool) -> None:
        if self._decoder is not None:
            data = shown(self._decoder.decode(data, final)).encode()
        self._file.write(data)
