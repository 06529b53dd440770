"""The proxy that requests go through, and what it may be asked for.

A proxy looks names up itself, so the guard cannot judge the address that is reached in the end. Judged is what can be:
literal addresses however they are spelled, and names that always stand for the proxy's own machine or for a cloud's
metadata service.
"""

from __future__ import annotations

import base64
import socket
from contextlib import suppress
from ipaddress import ip_address, ip_network

from yarl import URL

from adapter.outgoing.guard import AddressRefused, Guard
from adapter.outgoing.settings import HttpSettings

#: Names that stand for one address, wherever they are looked up.
_NAMES = {
    "localhost": "127.0.0.1",  # RFC 6761, with all below it
    "metadata.google.internal": "169.254.169.254",
    "instance-data.ec2.internal": "169.254.169.254",
}


class Proxy:
    """A proxy, as the settings name it."""

    def __init__(self, settings: HttpSettings, guard: Guard) -> None:
        assert settings.proxy
        self.url = URL(settings.proxy)
        password = settings.proxy_password
        #: What it wants to be told with each request.
        self.headers: dict[str, str] = {}
        if settings.proxy_user is not None and password is not None:
            user = f"{settings.proxy_user}:{password.get_secret_value()}".encode()
            self.headers["Proxy-Authorization"] = f"Basic {base64.b64encode(user).decode()}"
        self._guard = guard
        self._direct = [entry.lower().strip(".") for entry in settings.no_proxy]

    def serves(self, url: URL) -> bool:
        """Whether it is used for this URL."""
        host = (url.raw_host or "").lower().rstrip(".")
        return not any(_stands_for(entry, host) for entry in self._direct)

    def check(self, url: URL) -> None:
        """
        Raises:
            AddressRefused: it may not be asked for this URL, as far as its host tells.
        """
        host = (url.raw_host or "").lower().rstrip(".")
        address = _address(host)
        if address is not None:
            self._guard.check(address, url.port or 0, host)


def _stands_for(entry: str, host: str) -> bool:
    """Whether an entry of ``no_proxy`` means this host."""
    if host == entry or host.endswith(f".{entry}"):
        return True
    try:
        return ip_address(host) in ip_network(entry)
    except ValueError:
        return False


def _address(host: str) -> str | None:
    """The address that a host always stands for; ``None`` if only a lookup tells.

    Raises:
        AddressRefused: it looks like an address, and is none.
    """
    known = _NAMES.get("localhost" if host.endswith(".localhost") else host)
    if known is not None:
        return known
    with suppress(ValueError):
        ip_address(host.partition("%")[0])
        return host
    last = host.rpartition(".")[2]
    if not last.isdigit() and not last.startswith("0x"):
        return None
    # 127.1, 0x7f000001, 017700000001: no name ends with a number, but many programs take these for addresses.
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        raise AddressRefused(f"{host} looks like an address, and is none") from None
