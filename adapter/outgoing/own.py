"""Where the service itself listens. What it sends there comes back as a request of its own: a loop."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address


class OwnAddresses:
    """Addresses and ports on which the service listens; none until it does."""

    def __init__(self) -> None:
        self._listening: set[tuple[IPv4Address | IPv6Address, int]] = set()

    def add(self, sockets: Iterable[socket.socket]) -> None:
        """The service listens on these."""
        for one in sockets:
            host, port = one.getsockname()[:2]
            self._listening.add((ip_address(host.partition("%")[0]), port))

    def holds(self, address: IPv4Address | IPv6Address, port: int) -> bool:
        """Whether the service answers there."""
        listening = [host for host, its_port in self._listening if its_port == port]
        if address in listening:
            return True
        # Who listens on 0.0.0.0 is reached at every address of the machine, and 0.0.0.0 leads to the machine itself.
        return bool(listening) and (
            address.is_unspecified or (any(one.is_unspecified for one in listening) and _is_local(address))
        )


def _is_local(address: IPv4Address | IPv6Address) -> bool:
    """Whether it is an address of this machine: only such a one can be bound. Nothing is sent."""
    with socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as one:
        try:
            one.bind((str(address), 0))
        except OSError:
            return False
    return True
