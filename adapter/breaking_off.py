"""Breaking off an answer whose rest does not come."""

from __future__ import annotations

import socket
import struct

from aiohttp import HttpVersion11, web


def break_off(request: web.BaseRequest) -> None:
    """Close the connection of a request in the middle of its answer, so that nobody takes the part for the whole."""
    reset_at_end(request)
    if request.transport is not None:
        request.transport.abort()


def reset_at_end(request: web.BaseRequest) -> None:
    """Have the end of a connection say that its answer is not complete. Over HTTP/1.0, which proxies speak, an answer
    without a length ends where its connection does, unless that is reset; later versions say where an answer ends."""
    found = request.get_extra_info("socket")
    if request.version < HttpVersion11 and found is not None and found.family != socket.AF_UNIX:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
