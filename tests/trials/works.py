"""Works that go wrong, each in its own way."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import re2

from adapter.errors import RequestError


def echo(said: str) -> bytes:
    return said.encode()


def whoami() -> bytes:
    return str(os.getpid()).encode()


def spin() -> bytes:
    while True:
        pass


def match_for_minutes() -> bytes:
    """Within a library, where no signal handler of Python would run."""
    return str(re2.search("(.*){999}x", "x" * 1_000_000)).encode()


_kept: list[bytes] = []


def take(size: int) -> bytes:
    return bytes(len(b"x" * size) // size)


def keep(size: int) -> bytes:
    _kept.append(b"x" * size)
    return b"kept"


def answer(size: int) -> bytes:
    return bytes(size)


def die() -> bytes:
    os.abort()


def refuse() -> bytes:
    raise RequestError(409, "Name is taken", "choose another")


def fail() -> bytes:
    raise KeyError("ours")


def fail_at_length(size: int) -> bytes:
    raise KeyError("x" * size)


def lie(size: int) -> bytes:
    """Answers in the place of its process, and announces so many bytes."""
    for file in range(3, 64):
        with suppress(OSError):
            if (Path("/proc/self/fd") / str(file)).readlink().name.startswith("pipe:"):
                os.write(file, bytes([0]) + size.to_bytes(8))
    return b"lied"


def chatter() -> bytes:
    print("a library says something")
    os.write(1, b"and another one writes it")
    return b"answer"
