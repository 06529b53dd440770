"""What the process does with memory that it does not need any more."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from contextlib import suppress
from typing import ParamSpec, TypeVar

#: glibc's number of the option.
_MMAP_THRESHOLD = -3

#: Bytes from which a block is the kernel's, and goes back to it as soon as it is freed.
_LARGE = 256 * 1024

_P = ParamSpec("_P")
_T = TypeVar("_T")


def return_large_blocks() -> None:
    """Give large blocks back to the system when they are freed.

    glibc raises its threshold with each large block that is freed, up to 32 MiB; from then on large blocks come from
    the heap and stay there, since a small one above them keeps it from shrinking. Does nothing with other C libraries.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _LARGE)


def return_free_pages() -> None:
    """Give the heap's free pages back to the system. Takes some milliseconds: for the end of something that needed much
    memory. Does nothing with other C libraries than glibc."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def return_small_blocks() -> None:
    """Free what only cycles hold, and give the heap's free pages back to the system. Takes some ten milliseconds: for
    the end of something that needed very many small objects."""
    gc.collect()
    return_free_pages()


def uncollected(call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Call something that makes very many objects, without collections of garbage meanwhile: each would look at all of
    them, and hold up all threads. For what takes a second at most."""
    gc.disable()
    try:
        return call(*args, **kwargs)
    finally:
        gc.enable()
