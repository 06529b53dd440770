"""A name server for a few names, one of which leads elsewhere each time: DNS over UDP (RFC 1035), A records alone."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from typing import cast

#: The names end so.
ZONE = "receivers.test"

_A, _ANY = 1, 255
_NO_SUCH_NAME, _NOT_IMPLEMENTED = 3, 4


class NameServer(asyncio.DatagramProtocol):
    """Asks ``look_up`` for the addresses of each name, in lower case; ``None``: there is no such name."""

    def __init__(self, look_up: Callable[[str], list[str] | None]) -> None:
        self._look_up = look_up
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        answer = self.answer(data)
        if answer is not None and self._transport is not None:
            self._transport.sendto(answer, address)

    def answer(self, query: bytes) -> bytes | None:
        """The answer to a query; ``None`` to what is none."""
        try:
            number, flags, questions, *_ = struct.unpack_from("!6H", query)
            name, end = _name(query, 12)
            kind, _ = struct.unpack_from("!2H", query, end)
        except (struct.error, IndexError, UnicodeDecodeError):
            return None
        if flags & 0x8000 or questions != 1:
            return None
        asked = query[12 : end + 4]
        if flags & 0x7800:
            return struct.pack("!6H", number, 0x8400 | _NOT_IMPLEMENTED, 1, 0, 0, 0) + asked
        # Of every question about a name that is known, only that for A has an answer; only that one counts as a lookup.
        addresses = self._look_up(name) if kind in (_A, _ANY) else [] if name.endswith(ZONE) else None
        if addresses is None:
            return struct.pack("!6H", number, 0x8400 | _NO_SUCH_NAME, 1, 0, 0, 0) + asked
        records = b"".join(
            struct.pack("!3HIH", 0xC00C, _A, 1, 0, 4) + bytes(map(int, address.split("."))) for address in addresses
        )
        return struct.pack("!6H", number, 0x8400 | (flags & 0x0100), 1, len(addresses), 0, 0) + asked + records


def _name(message: bytes, at: int) -> tuple[str, int]:
    """A name that is written out, and where it ends."""
    labels = []
    while length := message[at]:
        if length > 63:
            raise IndexError("a pointer, which no question needs")
        labels.append(message[at + 1 : at + 1 + length].decode("ascii"))
        at += 1 + length
    return ".".join(labels).lower(), at + 1
