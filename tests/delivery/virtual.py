"""An event loop whose time passes when nobody has anything else to do: hours take no time, and every run is the
same."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

_Result = TypeVar("_Result")


class VirtualLoop(asyncio.SelectorEventLoop):
    """Jumps to the next timer. It knows neither sockets nor threads: where there is no timer either, nothing would ever
    happen, which is an error."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0

    def time(self) -> float:
        return self._now

    def _run_once(self) -> None:
        if not self._ready:  # type: ignore[attr-defined]
            timers = [one.when() for one in self._scheduled if not one.cancelled()]  # type: ignore[attr-defined]
            if not timers and not self._stopping:  # type: ignore[attr-defined]
                raise RuntimeError("all wait for each other")
            self._now = max([self._now, *([min(timers)] if timers else [])])
        super()._run_once()  # type: ignore[misc]


def run_virtual(work: Coroutine[Any, Any, _Result]) -> _Result:
    """Run something to its end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)
