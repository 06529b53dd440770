"""What is asked of a running service by another process of its user: its place, or to read its settings again.

They speak over a Unix socket in the data folder (``control``, mode 0600), each message one packet of JSON; with some go
descriptors of sockets (unix(7), SCM_RIGHTS). Nothing secret goes over it. Whoever holds the folder has the socket.

To take the place of a service, its successor says ``take-over``, and gets the sockets that listen. It says ``go``; then
the service ends, and says ``yours``, with the connections that have no request. Then the successor opens the log,
begins to listen, and says ``serving``. Until then the service comes back when the line is closed; after ``go`` the
successor goes on when it is.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import structlog

from adapter.errors import AdapterError, ConfigError
from adapter.folder import in_use
from adapter.listening import Listening
from adapter.tasks import in_background

_log = structlog.get_logger("adapter.handover")

#: The socket's name in the data folder.
CONTROL = "control"
#: Raised when the messages change; a service takes no others.
PROTOCOL = 1
#: Bytes of a message, and descriptors that go with one (the kernel takes 253).
_SIZE, _DESCRIPTORS = 64 * 1024, 250
#: Callers that may wait until they are heard.
_CALLERS = 4


class Channel:
    """The line between a service and who asks."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._connection = connection
        self._loop = asyncio.get_running_loop()

    async def send(self, word: str, sockets: Sequence[socket.socket] = (), more: Mapping[str, object] = {}) -> None:
        """Say a word; ``more`` goes with it, and so do ``sockets``, which stay open here.

        Raises:
            OSError: the other side is gone.
        """
        message = json.dumps({**more, "word": word}).encode()
        while True:
            try:
                socket.send_fds(self._connection, [message], [one.fileno() for one in sockets])
            except BlockingIOError:
                await self._ready(self._loop.add_writer, self._loop.remove_writer)
            else:
                return

    async def send_all(self, word: str, sockets: Sequence[socket.socket]) -> None:
        """Say a word with any number of sockets.

        Raises:
            OSError: the other side is gone.
        """
        while len(sockets) > _DESCRIPTORS:
            await self.send("more", sockets[:_DESCRIPTORS])
            sockets = sockets[_DESCRIPTORS:]
        await self.send(word, sockets)

    async def receive(self) -> tuple[dict[str, Any], list[socket.socket]]:
        """The next message, and the sockets that came with it; no word where the other side is gone."""
        while True:
            try:
                data, descriptors, _, _ = socket.recv_fds(self._connection, _SIZE, _DESCRIPTORS)
            except BlockingIOError:
                await self._ready(self._loop.add_reader, self._loop.remove_reader)
                continue
            except OSError:
                return {"word": ""}, []
            sockets = [socket.socket(fileno=one) for one in descriptors]
            for one in sockets:
                one.set_inheritable(False)
            with suppress(ValueError, TypeError):
                return {"word": "", **json.loads(data)} if data else {"word": ""}, sockets
            return {"word": ""}, sockets

    async def receive_all(self) -> tuple[dict[str, Any], list[socket.socket]]:
        """What `send_all` says."""
        found: list[socket.socket] = []
        while True:
            message, sockets = await self.receive()
            found += sockets
            if message["word"] != "more":
                return message, found

    def close(self) -> None:
        self._connection.close()

    async def _ready(self, add: Callable[..., None], remove: Callable[[int], Any]) -> None:
        ready = asyncio.Event()
        add(self._connection.fileno(), ready.set)
        try:
            await ready.wait()
        finally:
            remove(self._connection.fileno())


# The service's side


@asynccontextmanager
async def open_control(folder: Path, answer: Callable[[Channel], Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Have each caller of the same user answered, while the context lasts. What was begun then goes on."""
    with _address(folder) as (address, path), socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        path.unlink(missing_ok=True)  # left behind by one that was killed
        os.fchmod(listening.fileno(), 0o600)
        listening.bind(address)
        listening.listen(_CALLERS)
        listening.setblocking(False)
        try:
            async with in_background(_take_callers(listening, answer), "control"):
                yield
        finally:
            path.unlink(missing_ok=True)


async def _take_callers(listening: socket.socket, answer: Callable[[Channel], Coroutine[Any, Any, None]]) -> None:
    loop = asyncio.get_running_loop()
    answering: set[asyncio.Task[None]] = set()
    while True:
        connection, _ = await loop.sock_accept(listening)
        if (user := peer(connection)) != os.geteuid():
            _log.warning("control_refused", user=user)
            connection.close()
            continue
        task = asyncio.create_task(answer(Channel(connection)))
        answering.add(task)
        task.add_done_callback(answering.discard)


def peer(connection: socket.socket) -> int:
    """The user of the other side: unix(7), SO_PEERCRED."""
    _, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(user)


# The other side


class NoService(AdapterError):
    """No service runs on the folder."""


async def call(folder: Path, word: str, **more: object) -> tuple[Channel, dict[str, Any], list[socket.socket]]:
    """Ask the service that runs on a data folder; the line to it, and its answer.

    Raises:
        NoService: none runs there.
        ConfigError: it refuses, or cannot be asked; says why.
    """
    if not in_use(folder):
        raise NoService(f"{folder}: no service runs on this data folder")
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        with _address(folder) as (address, _):
            connection.connect(address)
        if (user := peer(connection)) != os.geteuid():
            raise ConfigError(f"{folder}: its service runs as user {user}; run this as the same user")
        channel = Channel(connection)
        await channel.send(word, more={**more, "protocol": PROTOCOL})
        answer, sockets = await channel.receive()
    except OSError as error:
        connection.close()
        raise ConfigError(
            f"{folder}: its service cannot be asked ({error.strerror}): it is starting or stopping, or of a version "
            "that knows nothing of this; try again, or stop it and start this one"
        ) from None
    except BaseException:
        connection.close()
        raise
    if answer["word"] in ("", "refused"):
        channel.close()
        raise ConfigError(str(answer.get("problem") or f"{folder}: its service ended, or refuses; its log says why"))
    return channel, answer, sockets


class Predecessor:
    """A service whose place this process takes."""

    def __init__(self, channel: Channel, listening: Listening) -> None:
        self._channel = channel
        #: The sockets it listens on.
        self.listening = listening

    async def end(self) -> list[socket.socket]:
        """Have it end; the connections that it had, and that have no request. If it is killed meanwhile, there are
        none."""
        with suppress(OSError):
            await self._channel.send("go")
        _, connections = await self._channel.receive_all()
        return connections

    async def leave(self) -> None:
        """Tell it that it need not come back."""
        with suppress(OSError):
            await self._channel.send("serving")
        self._channel.close()


async def ask_for_place(folder: Path) -> Predecessor:
    """Ask the service that runs on a data folder for its place.

    Raises:
        NoService: none runs there.
        ConfigError: it refuses, or cannot be asked; says why.
    """
    channel, answer, sockets = await call(folder, "take-over", process=os.getpid())
    for one in sockets:
        one.setblocking(False)
    asked = answer["asked"]
    return Predecessor(channel, Listening(sockets, None if asked is None else (asked[0], asked[1])))


@contextmanager
def _address(folder: Path) -> Iterator[tuple[str, Path]]:
    """The socket's address, and its path. An address has 107 bytes at most, and a folder may have a longer name."""
    path = folder.absolute() / CONTROL
    if len(os.fsencode(path)) < 107:
        yield str(path), path
        return
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{CONTROL}", path
    finally:
        os.close(descriptor)
