"""Lookups of receivers' names, in threads of each sink's own and with a deadline: the system's resolver can hang for a
minute, and in the event loop's shared threads it would hold up every other sink and the service's own work."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

#: Deadline of a lookup, seconds.
LOOKUP_TIMEOUT = 10.0
#: Lookups of one resolver that may run at a time, those after their deadline included.
LOOKUPS = 4

#: ``socket.getaddrinfo``, or what stands in for it.
Lookup = Callable[..., list[tuple[Any, ...]]]


class Resolver(AbstractResolver):
    """Asks the system, one daemon thread for each lookup: no end of the process waits for one that hangs.

    Names are kept by the connector for some seconds, so that a lookup is rare.
    """

    def __init__(self, *, lookup: Lookup = socket.getaddrinfo, timeout: float = LOOKUP_TIMEOUT) -> None:
        self._lookup = lookup
        self._timeout = timeout
        self._running = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a name.

        Raises:
            OSError: there is none, or the lookup took too long.
        """
        if self._running >= LOOKUPS:
            raise OSError(f"lookup of {host}: {LOOKUPS} lookups before it have no answer yet")
        loop = asyncio.get_running_loop()
        found: asyncio.Future[list[tuple[Any, ...]]] = loop.create_future()

        def end(infos: list[tuple[Any, ...]], error: Exception | None) -> None:
            self._running -= 1
            if found.done():
                return
            if error is None:
                found.set_result(infos)
            else:
                found.set_exception(error)

        def look_up() -> None:
            infos: list[tuple[Any, ...]] = []
            failed = None
            try:
                infos = self._lookup(host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
            except Exception as error:
                failed = error
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(end, infos, failed)

        threading.Thread(target=look_up, name=f"lookup of {host}", daemon=True).start()
        self._running += 1
        try:
            async with asyncio.timeout(self._timeout):
                infos = await found
        except TimeoutError:
            raise OSError(f"lookup of {host}: no answer within {self._timeout:g} s") from None
        numeric = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        return [
            ResolveResult(hostname=host, host=address[0], port=address[1], family=one, proto=protocol, flags=numeric)
            for one, _, protocol, _, address in infos
        ]

    async def close(self) -> None:
        pass
