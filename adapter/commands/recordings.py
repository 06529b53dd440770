"""What another sender posted, as somebody recorded it: a file of bodies, one a line or in a JSON list, alone or in what
a receiver wraps around them."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

import orjson

from adapter.errors import ConfigError

#: Bytes of one line, or of one value of a list, and bytes that are read at a time.
VALUE, PIECE = 16 * 1024 * 1024, 256 * 1024
#: How deep in what is wrapped around a body it is looked for.
_DEEP = 6

#: What is compared of a body; nothing else of it leaves this machine.
_COMPARED = (
    "id", "uid", "time", "type", "realmId", "operationType", "resourceType", "resourcePath", "clientId", "userId",
    "ipAddress",
)  # fmt: skip
_WHO = ("clientId", "userId", "ipAddress")
#: Members of which an event has one at least, beside its type and time, and what is wrapped around it has none.
_OF_EVENTS = {"realmId", "authDetails", "uid", "details"}


def is_recording(text: str) -> bool:
    """Whether an argument names a file rather than a sink: the names of sinks have neither dot nor slash."""
    return text == "-" or "." in text or "/" in text


def read_recording(name: str) -> Iterator[bytes]:
    """What is compared of each body of a file (``-``: standard input; ``.gz``: packed), as a line of JSON each; ``{}``
    for a line in which there is no event.

    Raises:
        ConfigError: it cannot be read; says where.
    """
    try:
        with _opened(name) as file:
            for number, value in _values(name, file):
                found = False
                for event in _events(value, _DEEP):
                    with suppress(orjson.JSONEncodeError):  # a number, or half a character, that no other JSON takes
                        line = orjson.dumps({**_compared(event), "line": number})
                        found = True
                        yield line + b"\n"
                if not found:
                    yield b"{}\n"
    except (OSError, EOFError) as error:
        raise ConfigError(f"{name}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


@contextmanager
def _opened(name: str) -> Iterator[BinaryIO]:
    if name == "-":
        yield sys.stdin.buffer
        return
    with Path(name).open("rb") as file:
        yield cast(BinaryIO, gzip.GzipFile(fileobj=file)) if name.endswith(".gz") else file


def _values(name: str, file: BinaryIO) -> Iterator[tuple[int, Any]]:
    """The values of a file, each with the number of its line, or of its place in a list; ``None`` where a line is
    none."""
    first = b""
    while not first.strip() and (first := file.readline(VALUE)):
        pass
    if first.lstrip()[:1] == b"[" or (first.lstrip()[:1] == b"{" and _read(first) is None):
        # A list, or values that take several lines.
        yield from _one_after_another(name, first, file)
        return
    for number, line in enumerate(_lines(first, file), 1):
        if len(line) >= VALUE:
            raise ConfigError(f"{name}: line {number} has more than {VALUE >> 20} MiB")
        if line.strip():
            yield number, _read(line)


def _lines(first: bytes, file: BinaryIO) -> Iterator[bytes]:
    line = first
    while line:
        yield line
        line = file.readline(VALUE)


def _one_after_another(name: str, first: bytes, file: BinaryIO) -> Iterator[tuple[int, Any]]:
    """JSON values with anything between them that may stand between them; those of lists one by one."""
    decoder, rest, number = json.JSONDecoder(), bytearray(first), 0
    is_end = False
    text = ""
    while True:
        place = 0
        while True:
            while place < len(text) and text[place] in " \t\r\n[],":
                place += 1
            if place == len(text):
                break
            try:
                value, place = decoder.raw_decode(text, place)
            except (json.JSONDecodeError, RecursionError):
                break
            number += 1
            yield number, value
        text = text[place:]
        if is_end and not rest:
            break
        if len(text) > VALUE:
            raise ConfigError(f"{name}: value {number + 1} is no JSON, or has more than {VALUE >> 20} MiB")
        # Twice as much as what is not whole yet, so that a long value is not begun again and again.
        while not is_end and len(rest) < max(PIECE, len(text)):
            piece = file.read(PIECE)
            is_end = not piece
            rest += piece
        cut = len(rest) if is_end else _whole(rest)
        try:
            text += rest[:cut].decode()
        except UnicodeDecodeError:
            raise ConfigError(f"{name}: is no UTF-8 behind value {number}") from None
        del rest[:cut]
    if text.strip(" \t\r\n[],"):
        raise ConfigError(f"{name}: value {number + 1} is no JSON")


def _whole(data: bytearray) -> int:
    """Up to where bytes are whole characters."""
    cut = len(data)
    while cut and data[cut - 1] & 0xC0 == 0x80:
        cut -= 1
    return cut - 1 if cut and data[cut - 1] & 0x80 else cut


def _read(line: bytes) -> Any:
    """A line of JSON, or of JSON behind something else, as logs have it."""
    for text in (line, line[line.find(b"{") : line.rfind(b"}") + 1]):
        with suppress(orjson.JSONDecodeError):
            return orjson.loads(text)
    return None


def _events(value: Any, deep: int) -> Iterator[dict[str, Any]]:
    """The events in a value, wherever in it they are."""
    match value:
        case str() if value.lstrip()[:1] in ("{", "[") and deep:
            with suppress(orjson.JSONDecodeError):
                yield from _events(orjson.loads(value), deep - 1)
        case list() if deep:
            for one in value:
                yield from _events(one, deep - 1)
        case dict() if _is_event(value):
            yield value
        case dict() if deep:
            for one in value.values():
                yield from _events(one, deep - 1)


def _is_event(value: dict[str, Any]) -> bool:
    is_typed = isinstance(value.get("type"), str) or isinstance(value.get("operationType"), str)
    return is_typed and isinstance(value.get("time"), int) and not _OF_EVENTS.isdisjoint(value)


def _compared(event: dict[str, Any]) -> dict[str, Any]:
    who = event.get("authDetails")
    found = {name: event[name] for name in _COMPARED if event.get(name) is not None}
    if isinstance(who, dict):
        found["authDetails"] = {name: who[name] for name in _WHO if who.get(name) is not None}
    return found
