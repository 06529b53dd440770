"""Time that passes only when nothing is left to do, and then at once: days of a delivery are a moment of a test."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
Result = TypeVar("Result")


class _Selector(selectors.DefaultSelector):
    """Waits for nothing: the time that it was to wait has passed when it returns."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        found = super().select(0)
        if found or timeout == 0:
            return found
        if timeout is None:
            raise RuntimeError("nothing will ever happen any more")
        # The clock goes on by no less than it can show, or it would never reach a time that is a breath away.
        self.now = max(self.now + timeout, self.now + 1e-9)
        return found


class VirtualTime(asyncio.SelectorEventLoop):
    """A loop with such a time, which begins at 0."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now


def in_virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run a test of coroutines on such a loop. It uses no threads, and no connections."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        run_virtual(test(*args, **kwargs))

    return run


def run_virtual(work: Coroutine[Any, Any, Result]) -> Result:
    """Run something to its end in such a time."""
    with asyncio.Runner(loop_factory=VirtualTime) as runner:
        return runner.run(work)


def now() -> float:
    """Seconds of the running loop."""
    return asyncio.get_running_loop().time()


async def passes(condition: Callable[[], bool | Awaitable[bool]], within: float = 60.0, step: float = 0.5) -> None:
    """Wait until something is so, which is looked at every ``step`` seconds.

    Raises:
        TimeoutError: it was not so within so many seconds.
    """
    async with asyncio.timeout(within):
        while True:
            found = condition()
            if isinstance(found, Awaitable):
                found = await found
            if found:
                return
            await asyncio.sleep(step)
