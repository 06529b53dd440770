"""How much of a receiver's answer is read: a bounded number of raw bytes and lines, whatever they say.

They are counted below the HTTP parser, between transport and protocol, since what the parser makes nothing of (interim
answers, chunk extensions, trailers) costs memory and time, too.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, cast

import aiohttp

from adapter.outgoing.timing import timing_of_request

#: Raw bytes that are read of one answer: its head, interim answers before it, and its body.
ANSWER_SIZE = 65536
#: Lines that are read of one answer. An interim answer takes two of them, as does a chunk of a body, and each is an
#: object to the parser.
ANSWER_LINES = 200


class AnswerTooLong(aiohttp.ClientConnectionError):
    """The receiver sent more than is read of one answer, and no status in it."""

    def __init__(self, size: int = ANSWER_SIZE, lines: int = ANSWER_LINES) -> None:
        super().__init__(f"no answer within {size // 1024} KiB and {lines} lines")


class AnswerConnector(aiohttp.TCPConnector):
    """A pool of connections on which each answer is bounded; one that is longer loses its connection."""

    def __init__(self, *, answer_size: int = ANSWER_SIZE, answer_lines: int = ANSWER_LINES, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._answer_size = answer_size
        self._answer_lines = answer_lines

    async def connect(self, *args: Any, **kwargs: Any) -> aiohttp.connector.Connection:
        timing, began = timing_of_request.get(), time.perf_counter()
        try:
            connection = await super().connect(*args, **kwargs)
        except BaseException:
            if timing is not None:
                timing.note_connected(began)
            raise
        if (transport := connection.transport) is not None:
            protocol = transport.get_protocol()
            if isinstance(protocol, _Bounded):
                protocol.begin()
            else:
                if timing is not None:
                    timing.note_connected(began)
                inner = cast(asyncio.Protocol, protocol)
                transport.set_protocol(_Bounded(transport, inner, self._answer_size, self._answer_lines))
        return connection


class _Bounded(asyncio.Protocol):
    """Stands between a transport and the protocol of the HTTP client, and counts what arrives for it."""

    def __init__(self, transport: asyncio.Transport, protocol: asyncio.Protocol, size: int, lines: int) -> None:
        self._transport = transport
        self._protocol = protocol
        self._most_bytes = size
        self._most_lines = lines
        self._refused: AnswerTooLong | None = None
        self.begin()

    def begin(self) -> None:
        """Another request begins."""
        self._bytes = self._most_bytes
        self._lines = self._most_lines

    def data_received(self, data: bytes) -> None:
        if self._refused is not None:
            return
        lines = data.count(b"\n")
        if len(data) <= self._bytes and lines <= self._lines:
            self._bytes -= len(data)
            self._lines -= lines
            self._pass_on(data)
            return
        # A status that stands within the bounds is the answer, whatever follows it.
        self._refused = AnswerTooLong(self._most_bytes, self._most_lines)
        within = b"\n".join(data[: self._bytes].split(b"\n", self._lines + 1)[: self._lines + 1])
        self._pass_on(within)
        self._transport.abort()

    def _pass_on(self, data: bytes) -> None:
        """Each head by itself: where the parser fails at what follows in the same piece, it forgets the status, too."""
        begin = 0
        while (end := data.find(b"\r\n\r\n", begin) + 4) >= 4 and end < len(data):
            self._protocol.data_received(data[begin:end])
            begin = end
        self._protocol.data_received(data[begin:])

    def eof_received(self) -> bool | None:
        return self._protocol.eof_received()

    def connection_lost(self, error: Exception | None) -> None:
        self._protocol.connection_lost(self._refused or error)

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()
