"""The sockets that the service listens on. They outlive it: the next service, of this process or of another one, goes
on with them. So the port is never closed, and whoever connects in between waits in the kernel's queue.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field

from adapter.errors import ConfigError
from adapter.settings import Server, is_loopback

#: Connections that may wait in the kernel until they are taken, if the system allows as many.
BACKLOG = 1024

#: The first descriptor that is passed: sd_listen_fds(3).
FIRST_PASSED = 3


@dataclass(slots=True)
class Listening:
    """Sockets that listen."""

    sockets: Sequence[socket.socket]
    #: For which host and port they were made; ``None``: whoever started the process did, and they fit all settings.
    asked: tuple[str, int] | None

    @property
    def url(self) -> str:
        """Where it is reached."""
        host, port = self.sockets[0].getsockname()[:2]
        if self.asked is not None:
            host = self.asked[0]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"

    def fits(self, server: Server) -> bool:
        """Whether these are the sockets that settings ask for."""
        if self.asked is None:
            return True
        # Of those that were asked to be any that is free, the one that it became is meant, too.
        ports = {self.asked[1], *(one.getsockname()[1] for one in self.sockets[:1])}
        return server.host == self.asked[0] and server.port in ports

    def copies(self) -> list[socket.socket]:
        """Descriptors of their own for the same sockets, for who closes them."""
        return [one.dup() for one in self.sockets]

    def close(self) -> None:
        for one in self.sockets:
            one.close()


@dataclass(slots=True)
class Ending:
    """How a service ends, once it does."""

    #: How long requests and receivers get to answer, seconds.
    patience: float
    #: Whether another service goes on where this one ends: connections without a request are kept for it.
    is_handing_over: bool = False
    #: Those connections.
    connections: list[socket.socket] = field(default_factory=list)


def listen(host: str, port: int) -> Listening:
    """Sockets that listen there: one for each address of the host.

    Raises:
        ConfigError: it cannot listen there.
    """
    sockets: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in dict.fromkeys(found):
            one = socket.socket(family, kind, protocol)
            sockets.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind(address)
            one.listen(BACKLOG)
            one.setblocking(False)
    except OSError as error:
        for one in sockets:
            one.close()
        raise ConfigError(
            f"server: cannot listen on {host}, port {port}: {error.strerror or error}; choose another --port "
            "(make run PORT=…)"
        ) from None
    return Listening(sockets, (host, port))


def passed_sockets(server: Server, *, first: int = FIRST_PASSED) -> Listening | None:
    """The sockets that whoever started this process has opened for it, as systemd does for a socket unit
    (sd_listen_fds(3)); ``None`` if there are none. What says so is taken out of the environment. ``first``: the
    descriptor with which they begin.

    Raises:
        ConfigError: what was passed is no TCP socket that listens, or other machines reach it and `Server.behind_tls`
            is not set.
    """
    given, count = os.environ.pop("LISTEN_PID", ""), os.environ.pop("LISTEN_FDS", "")
    os.environ.pop("LISTEN_FDNAMES", None)
    if given != str(os.getpid()) or not count.isdecimal() or count == "0":
        return None
    listening = Listening([_passed(number) for number in range(first, first + int(count))], None)
    try:
        for one in listening.sockets:
            _check(one, server)
    except ConfigError:
        listening.close()
        raise
    return listening


def _passed(descriptor: int) -> socket.socket:
    """
    Raises:
        ConfigError: it is no socket.
    """
    try:
        one = socket.socket(fileno=descriptor)
    except OSError as error:
        raise ConfigError(f"LISTEN_FDS: descriptor {descriptor} is no socket: {error.strerror}") from None
    one.set_inheritable(False)
    one.setblocking(False)
    return one


def _check(one: socket.socket, server: Server) -> None:
    """
    Raises:
        ConfigError: it is not to be listened on.
    """
    is_listening = one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if one.family not in (socket.AF_INET, socket.AF_INET6) or one.type != socket.SOCK_STREAM or not is_listening:
        raise ConfigError(
            f"LISTEN_FDS: descriptor {one.fileno()} is no TCP socket that listens; in the socket unit, give a port as "
            "ListenStream, and leave Accept=no"
        )
    host = one.getsockname()[0]
    if not server.behind_tls and not is_loopback(host):
        raise ConfigError(
            f"LISTEN_FDS: the socket on {host} can be reached by other machines, and tokens would travel in plain "
            "text; put TLS in front and set behind_tls = true, or listen on 127.0.0.1"
        )
