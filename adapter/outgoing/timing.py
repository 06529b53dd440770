"""How long the parts of a request take: looking up the name, connecting, waiting for the answer."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import aiohttp


class Timing:
    """The parts of one request, in seconds; ``None`` of what it did not come to. Begun when it is made."""

    __slots__ = ("_connecting", "_resolving", "began", "connect", "first_byte", "resolve")

    def __init__(self) -> None:
        self.began = time.perf_counter()
        #: Looking up the name.
        self.resolve: float | None = None
        #: Connecting, TLS and a proxy's part included, looking up aside.
        self.connect: float | None = None
        #: From the beginning to the head of the answer.
        self.first_byte: float | None = None
        self._resolving = self._connecting = 0.0

    @property
    def total(self) -> float:
        """Since the beginning."""
        return time.perf_counter() - self.began

    def note_answer(self) -> None:
        """The head of the answer is there."""
        self.first_byte = self.total

    def note_lookup(self, *, ended: bool) -> None:
        """The name begins to be looked up, or was."""
        if ended:
            self.resolve = time.perf_counter() - self._resolving
        else:
            self._resolving = time.perf_counter()

    def note_connecting(self, *, ended: bool) -> None:
        """A connection begins to be made, or was."""
        if ended:
            self.connect = time.perf_counter() - self._connecting - (self.resolve or 0.0)
        else:
            self._connecting = time.perf_counter()


def timing_trace() -> aiohttp.TraceConfig:
    """What tells each request's `Timing`, which is its ``trace_request_ctx``, how it gets on."""
    trace = aiohttp.TraceConfig()

    async def lookup_begins(session: object, context: SimpleNamespace, _: Any) -> None:
        if (timing := context.trace_request_ctx) is not None:
            timing.note_lookup(ended=False)

    async def lookup_ends(session: object, context: SimpleNamespace, _: Any) -> None:
        if (timing := context.trace_request_ctx) is not None:
            timing.note_lookup(ended=True)

    async def connecting_begins(session: object, context: SimpleNamespace, _: Any) -> None:
        if (timing := context.trace_request_ctx) is not None:
            timing.note_connecting(ended=False)

    async def connecting_ends(session: object, context: SimpleNamespace, _: Any) -> None:
        if (timing := context.trace_request_ctx) is not None:
            timing.note_connecting(ended=True)

    trace.on_dns_resolvehost_start.append(lookup_begins)
    trace.on_dns_resolvehost_end.append(lookup_ends)
    trace.on_connection_create_start.append(connecting_begins)
    trace.on_connection_create_end.append(connecting_ends)
    return trace
