"""What strace saw, as calls with their beginning and end."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

#: A call's first line: process, name, descriptor with its file (``-y``), and the rest.
_CALL = re.compile(r"^(\d+) +(\w+)\((?:\d+<((?:[^>\\]|\\.)*)>)?(.*)$")
_RESUMED = re.compile(r"^(\d+) +<\.\.\. (\w+) resumed>(.*)$")
_HEX = re.compile(r"\\x([0-9a-f]{2})")


class Call(NamedTuple):
    """One system call on a file; a place is a line number of the trace, so a smaller one was earlier."""

    name: str
    #: Path, or ``socket:…``.
    file: str
    #: Every byte that it wrote.
    data: bytes
    began: int
    ended: int


def read_trace(file: Path) -> list[Call]:
    """The finished calls of a trace made with ``-f -y -xx``, in the order of their beginnings."""
    calls: list[Call] = []
    open_calls: dict[str, tuple[str, str, str, int]] = {}
    with file.open(encoding="ascii") as lines:
        for place, line in enumerate(lines):
            if resumed := _RESUMED.match(line):
                process, name, rest = resumed.groups()
                if process in open_calls and open_calls[process][0] == name:
                    _, path, begun, began = open_calls.pop(process)
                    calls.append(Call(name, path, _bytes(begun + rest), began, place))
            elif call := _CALL.match(line):
                process, name, path, rest = call.groups()
                path = _bytes(path or "").decode()
                if rest.endswith("<unfinished ...>"):
                    open_calls[process] = (name, path, rest, place)
                else:
                    calls.append(Call(name, path, _bytes(rest), place, place))
    return sorted(calls, key=lambda call: call.began)


def _bytes(text: str) -> bytes:
    """The bytes that stand in a text as ``\\x…``; if there are none, the text itself."""
    found = _HEX.findall(text)
    return bytes.fromhex("".join(found)) if found else text.encode()
