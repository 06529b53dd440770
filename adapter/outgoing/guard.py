"""Where the service may send to: no receiver's name or address leads it into a network of its own.

The address is judged when a connection is made, after every lookup and however it was spelled. The tables are ours
because `ipaddress.is_global` differs between versions of Python and lets several of these through.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from adapter.outgoing.answer import ANSWER_LINES, ANSWER_SIZE, AnswerConnector
from adapter.outgoing.resolver import Resolver

_REFUSED_IPV4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT; a cloud's metadata service
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # a cloud's host, formally global
        "169.254.0.0/16",  # link-local; clouds' metadata services
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relay
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarking
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
_GLOBAL_IPV6 = IPv6Network("2000::/3")
#: Within 2000::/3; everything outside of it is refused as a whole.
_REFUSED_IPV6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments, Teredo and ORCHID among them
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, which can embed any IPv4 address
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")


class AddressRefused(OSError):
    """The receiver's address is not one that the service may send to. Says how to allow it.

    An ``OSError`` because the HTTP client passes those on as the cause of a failed connection.
    """

    def __init__(self, address: str) -> None:
        super().__init__(f"address not allowed: {address}; if it is meant, list its network in [outgoing] allow")


class Guard:
    """Judges addresses: refused are all that are not in the public internet, unless a network in ``allow`` holds
    them."""

    def __init__(self, allow: Sequence[IPv4Network | IPv6Network] = ()) -> None:
        self._allow = tuple(allow)

    def allows(self, address: str) -> bool:
        """Whether a connection to this address (a literal, maybe with a zone) may be made."""
        try:
            judged = ip_address(address.partition("%")[0])
        except ValueError:
            return False
        if isinstance(judged, IPv6Address) and judged.ipv4_mapped is not None:
            judged = judged.ipv4_mapped
        return any(judged in network for network in self._allow) or _is_public(judged)

    def check(self, address: str) -> None:
        """Raises:
        AddressRefused: no connection to this address may be made.
        """
        if not self.allows(address):
            raise AddressRefused(address)


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv6Address) and address in _NAT64:
        address = IPv4Address(int(address) & 0xFFFFFFFF)
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _REFUSED_IPV4)
    return address in _GLOBAL_IPV6 and not any(address in network for network in _REFUSED_IPV6)


class _GuardedResolver(AbstractResolver):
    """Refuses a whole name if one of its addresses is refused: the client would go on to the next one."""

    def __init__(self, guard: Guard, resolver: AbstractResolver) -> None:
        self._guard = guard
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        results = await self._resolver.resolve(host, port, family)
        for result in results:
            self._guard.check(result["host"])
        return results

    async def close(self) -> None:
        await self._resolver.close()


def open_connector(
    guard: Guard | None,
    limit: int,
    resolver: AbstractResolver | None = None,
    *,
    tls: ssl.SSLContext | None = None,
    answer_size: int = ANSWER_SIZE,
    answer_lines: int = ANSWER_LINES,
) -> aiohttp.TCPConnector:
    """A pool of at most ``limit`` connections that goes only where the guard allows, with bounded answers. ``None`` in
    the place of a guard: all of them go to one proxy, whose address is allowed because it was named.

    The resolver sees no address that is written as a literal, so the last word is at the making of each socket.
    Must be called in a running event loop; whoever gets it closes it.
    """

    def make_socket(target: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, address = target
        if guard is not None:
            guard.check(address[0])
        return socket.socket(family, kind, protocol)

    resolver = resolver or Resolver()
    return AnswerConnector(
        limit=limit,
        resolver=resolver if guard is None else _GuardedResolver(guard, resolver),
        socket_factory=make_socket,
        ssl=True if tls is None else tls,
        answer_size=answer_size,
        answer_lines=answer_lines,
    )
