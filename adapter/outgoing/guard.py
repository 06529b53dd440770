"""Where the service may send to: no receiver's name or address leads it into a network of its own.

The address is judged when a connection is made, after every lookup and however it was spelled. The tables are ours
because `ipaddress.is_global` differs between versions of Python and lets several of these through.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from contextvars import ContextVar
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from adapter.errors import BLOCKED
from adapter.outgoing.answer import ANSWER_LINES, ANSWER_SIZE, AnswerConnector
from adapter.outgoing.own import OwnAddresses
from adapter.outgoing.resolver import Resolver
from adapter.outgoing.settings import OutgoingSettings, plain_host, port_range

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


#: Of the refused ones, those where a host may lie that is allowed by its name. Whoever runs its DNS can change where it
#: leads, so it never leads to what is no receiver: link-local addresses, multicast, clouds' metadata services.
_BY_NAME = tuple(
    ip_network(network)
    for network in ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1", "fc00::/7")
)
_NEVER_BY_NAME = tuple(ip_network(network) for network in ("100.100.100.200/32", "fd00:ec2::/32", "fd20:ce::254/128"))

#: Ports of other protocols than HTTP: what is sent there is read as their commands. They are those that browsers refuse
#: (fetch.spec.whatwg.org, "bad port"), and those of databases and caches.
OTHER_PROTOCOLS = frozenset(
    (
        0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109,
        110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 445, 465, 512, 513, 514, 515, 526,
        530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1433, 1521, 1719, 1720, 1723, 2049,
        3306, 3389, 3659, 4045, 4190, 5060, 5061, 5432, 6000, 6379, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697,
        10080, 11211, 27017,
    )
)  # fmt: skip

#: The host that is being connected to. A socket is made for an address alone, and a name may be allowed where its
#: address is not.
_host: ContextVar[str] = ContextVar("_host", default="")


class AddressRefused(OSError):
    """The service may not send there. Says, for administrators, which setting would allow it.

    An ``OSError`` because the HTTP client passes those on as the cause of a failed connection.
    """

    def __init__(self, why: str) -> None:
        super().__init__(BLOCKED + why)


class Guard:
    """Judges where requests may go. Refused are all addresses that are not in the public internet, unless ``allow`` has
    a network that holds them, or the name of the host; ports of other protocols, or, where ``ports`` says from which to
    which are meant, all others; and ``own``, where the service listens itself. ``https_only`` refuses plain HTTP.

    Hosts are names or addresses as URLs have them, in any case.
    """

    def __init__(
        self,
        allow: Sequence[IPv4Network | IPv6Network | str] = (),
        *,
        ports: Sequence[tuple[int, int]] = (),
        https_only: bool = False,
        own: OwnAddresses | None = None,
    ) -> None:
        self._networks = tuple(one for one in allow if not isinstance(one, str))
        self._hosts = frozenset(plain_host(one) for one in allow if isinstance(one, str))
        self._ports = tuple(ports)
        self._https_only = https_only
        self._own = own

    def allows(self, address: str, host: str = "") -> bool:
        """Whether a connection to this address (a literal, maybe with a zone) may be made, for this host."""
        judged = _judged(address)
        if judged is None:
            return False
        if any(judged in network for network in self._networks) or _is_public(judged):
            return True
        return plain_host(host) in self._hosts and _may_be_named(judged)

    def check(self, address: str, port: int, host: str = "") -> None:
        """
        Raises:
            AddressRefused: no connection to this address and port may be made, for this host.
        """
        if not self.allows(address, host):
            raise AddressRefused(self._why_not(address, host))
        self._check_port(port)
        if self._own is not None and (judged := _judged(address)) is not None and self._own.holds(judged, port):
            raise AddressRefused(
                f"{address}, port {port}, is where this service itself listens; if that is meant, set "
                "allow_self = true in [outgoing]"
            )

    def check_url(self, url: URL) -> None:
        """Judge what a URL says by itself, before its host is looked up.

        Raises:
            AddressRefused: nothing may be sent there, wherever it leads.
        """
        if self._https_only and url.scheme != "https":
            raise AddressRefused(f"{url.scheme}:// is refused by https_only in [outgoing]; https:// is right")
        self._check_port(url.port or 0)

    def _check_port(self, port: int) -> None:
        if self._ports:
            if not any(first <= port <= last for first, last in self._ports):
                raise AddressRefused(f"port {port} is not among the ports in [outgoing]; if it is meant, add it there")
        elif port in OTHER_PROTOCOLS:
            raise AddressRefused(
                f"port {port} is for another protocol than HTTP; if it is meant, list all ports that are, in ports of "
                "[outgoing]"
            )

    def _why_not(self, address: str, host: str) -> str:
        name = plain_host(host)
        if not name or _judged(name) is not None:
            return f"{address} is not in the public internet; if it is meant, list its network in [outgoing] allow"
        what = f"{name} leads to {address}, which is not in the public internet; if it is meant, list "
        judged = _judged(address)
        if judged is None or not _may_be_named(judged):
            return f"{what}its network in [outgoing] allow; the name of the host does not allow such an address"
        return f"{what}the host or its network in [outgoing] allow"


def make_guard(settings: OutgoingSettings) -> Guard:
    """The guard that the settings ask for."""
    return Guard(
        settings.allow,
        ports=[port_range(one) for one in settings.ports],
        https_only=settings.https_only,
        own=None if settings.allow_self else settings.own,
    )


def _judged(address: str) -> IPv4Address | IPv6Address | None:
    """The address that is judged for one that is written so; ``None``: it is none."""
    try:
        judged = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    mapped = judged.ipv4_mapped if isinstance(judged, IPv6Address) else None
    return mapped or judged


def _may_be_named(address: IPv4Address | IPv6Address) -> bool:
    return any(address in network for network in _BY_NAME) and not any(address in network for network in _NEVER_BY_NAME)


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
            self._guard.check(result["host"], port, host)
        return results

    async def close(self) -> None:
        await self._resolver.close()


class _GuardedConnector(AnswerConnector):
    """Knows for which host it makes a socket."""

    async def connect(self, req: aiohttp.ClientRequest, *args: Any, **kwargs: Any) -> aiohttp.connector.Connection:
        token = _host.set(req.url.raw_host or "")
        try:
            return await super().connect(req, *args, **kwargs)
        finally:
            _host.reset(token)


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
            guard.check(address[0], address[1], _host.get())
        return socket.socket(family, kind, protocol)

    resolver = resolver or Resolver()
    return _GuardedConnector(
        limit=limit,
        resolver=resolver if guard is None else _GuardedResolver(guard, resolver),
        socket_factory=make_socket,
        ssl=True if tls is None else tls,
        answer_size=answer_size,
        answer_lines=answer_lines,
    )
