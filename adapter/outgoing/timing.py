"""How long the parts of a request take: looking up the name, connecting, waiting for the answer.

A request tells its `Timing` to those below it by a context variable, since the HTTP client calls them: the resolver,
and the pool of connections. The client's own tracing would cost a sixth of a request, on open connections, too.
"""

from __future__ import annotations

import socket
import time
from contextvars import ContextVar

from aiohttp.abc import AbstractResolver, ResolveResult


class Timing:
    """The parts of one request, in seconds; ``None`` of what it did not come to. Begun when it is made."""

    __slots__ = ("began", "connect", "first_byte", "resolve")

    def __init__(self) -> None:
        self.began = time.perf_counter()
        #: Looking up the name.
        self.resolve: float | None = None
        #: Connecting, TLS and a proxy's part included, looking up aside.
        self.connect: float | None = None
        #: From the beginning to the head of the answer.
        self.first_byte: float | None = None

    @property
    def total(self) -> float:
        """Since the beginning."""
        return time.perf_counter() - self.began

    def note_answer(self) -> None:
        """The head of the answer is there."""
        self.first_byte = self.total

    def note_connected(self, began: float) -> None:
        """A connection was made, or failed to be, since then."""
        self.connect = max(0.0, time.perf_counter() - began - (self.resolve or 0.0))


#: Of the request that is made in this task.
timing_of_request: ContextVar[Timing | None] = ContextVar("timing_of_request", default=None)


class TimedResolver(AbstractResolver):
    """Tells the request's `Timing` how long a lookup takes."""

    def __init__(self, resolver: AbstractResolver) -> None:
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """As that of the resolver below."""
        timing, began = timing_of_request.get(), time.perf_counter()
        try:
            return await self._resolver.resolve(host, port, family)
        finally:
            if timing is not None:
                timing.resolve = time.perf_counter() - began

    async def close(self) -> None:
        await self._resolver.close()
