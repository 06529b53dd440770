"""A process that serves: one service after the other, on the same sockets, until it stops or another process goes on.

Settings are read again by opening the next service with them. Whatever fails on the way to it, here or in the process
that takes over, the service that was there before is opened again.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import structlog

from adapter import __version__
from adapter.errors import AdapterError, ConfigError
from adapter.folder import in_use
from adapter.handover import PROTOCOL, Channel, NoService, ask_for_place, open_control
from adapter.listening import Listening, listen, passed_sockets
from adapter.log.opening import check_store
from adapter.notify import READY, STOPPING, is_supervised, notify, reloading
from adapter.prepared import Prepared, log_url, prepare
from adapter.service import Service, open_service
from adapter.settings import Server, Settings

_log = structlog.get_logger("adapter.running")

#: How long a caller may take to say what he wants, and a successor to say that it is ready to go on, seconds.
ASKING, DECIDING = 5.0, 30.0

#: Who hears what became of it: ``None``, or why it was not done.
Told = Callable[[AdapterError | None], Awaitable[None]]


async def _tell_nobody(problem: AdapterError | None) -> None:
    pass


@dataclass(slots=True)
class _Plan:
    """What a service is opened with."""

    settings: Settings
    #: ``None`` at a start.
    prepared: Prepared | None = None
    #: ``None``: it opens its own.
    listening: Listening | None = None
    #: Connections of the service before that have no request.
    connections: list[socket.socket] = field(default_factory=list)
    new_log: bool = False
    told: Told = _tell_nobody


@dataclass(frozen=True, slots=True)
class _Successor:
    """Another process goes on."""

    channel: Channel


class Running:
    """What this process serves, and what is asked of it."""

    def __init__(
        self,
        read: Callable[[], Settings],
        stop: asyncio.Event,
        opened: Callable[[Service], Awaitable[None]],
        settle: Callable[[], None],
    ) -> None:
        """``read`` reads the settings, as at the start (raises `ConfigError`). ``stop`` is set when it is to end.
        ``opened`` hears of each service; ``settle`` does what takes long, before another service is told to end."""
        self._read = read
        self._stop = stop
        self._opened = opened
        self._settle = settle
        self._service: Service | None = None
        #: What comes after this service.
        self._next: asyncio.Future[_Plan | _Successor] = asyncio.get_running_loop().create_future()
        #: What is under way already, where something is.
        self._busy: str | None = "the start"

    async def run(self, settings: Settings, *, take_over: bool = False, new_log: bool = False) -> None:
        """Serve until the end. ``take_over``: in the place of the service that runs on the data folder, if one does.

        Raises:
            AdapterError: it cannot be begun.
        """
        plan = await self._take_place(settings) if take_over else None
        if plan is None:
            plan = _Plan(settings, listening=passed_sockets(settings.server), new_log=new_log)
        before: Service | None = None
        while True:
            following: _Plan | _Successor | None = None
            try:
                async with self._serving(plan) as service:
                    await plan.told(None)
                    if before is not None and before.listening is not service.listening:
                        before.listening.close()
                    before = None
                    following = await self._following()
                    if following is not None:
                        kept = service.hand_over()
            except Exception as error:
                if following is not None:
                    # All that it held is let go of, and it would be missed for as long as nobody starts the process.
                    _log.exception("service_end_failed")
                elif before is None:
                    raise
                else:
                    if plan.listening is not None and plan.listening is not before.listening:
                        plan.listening.close()  # else callers would wait there for nobody
                    await plan.told(_told_problem("reload_failed", error))
                    plan, before = _again(before, plan.connections), None
                    continue
            if following is None:
                service.listening.close()
                return
            if isinstance(following, _Plan):
                plan, before = following, service
                plan.connections = kept
            elif await self._give(following.channel, kept):
                return
            else:
                plan = _again(service, kept)

    async def reload(self, told: Told) -> None:
        """Read settings and tables again, and go on with them. If they cannot be used, nothing changes, and it is
        ``told`` why."""
        if self._busy is not None or self._service is None:
            await told(ConfigError(f"{self._busy} is under way; try again when it is done"))
            return
        self._busy = "a reload"
        notify(reloading())
        try:
            plan = await self._plan(self._service)
        except Exception as error:
            self._busy = None
            notify(READY)
            await told(_told_problem("reload_refused", error))
            return
        plan.told = told
        self._next.set_result(plan)

    async def _plan(self, service: Service) -> _Plan:
        """
        Raises:
            AdapterError: the settings cannot be used.
        """
        settings, present = self._read(), service.prepared.settings
        if settings.data.folder.absolute() != present.data.folder.absolute():
            raise ConfigError("data.folder: is not changed by a reload; stop the service, and start it again")
        await check_store(log_url(settings))
        # Those that are refused stay as they are.
        await service.prepared.refresh(force=False)
        prepared = await asyncio.to_thread(prepare, settings, tables=service.tables)
        return _Plan(settings, prepared, _listening_for(settings.server, service.listening))

    @asynccontextmanager
    async def _serving(self, plan: _Plan) -> AsyncIterator[Service]:
        opening = open_service(
            plan.settings,
            prepared=plan.prepared,
            listening=plan.listening,
            connections=plan.connections,
            new_log=plan.new_log,
        )
        async with opening as service:
            self._service = service
            self._next = asyncio.get_running_loop().create_future()
            async with open_control(service.folder, self._answer):
                self._busy = None
                notify(READY)
                await self._opened(service)
                yield service

    async def _following(self) -> _Plan | _Successor | None:
        """Wait for what comes after this service; ``None``: the end."""
        stopping = asyncio.ensure_future(self._stop.wait())
        anything: list[asyncio.Future[Any]] = [stopping, self._next]
        try:
            await asyncio.wait(anything, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
        if self._stop.is_set():
            notify(STOPPING)
            return None
        return self._next.result()

    # What other processes ask

    async def _answer(self, channel: Channel) -> None:
        message: dict[str, Any] = {}
        with suppress(TimeoutError):
            async with asyncio.timeout(ASKING):
                message, _ = await channel.receive()
        word = message.get("word") if message.get("protocol") == PROTOCOL else None
        if word == "take-over":
            await self._answer_successor(channel, message)
        elif word == "reload" and message.get("version") == __version__:
            await self._answer_reload(channel)
        elif word == "reload":
            await _refuse(
                channel,
                f"the service is of version {__version__}, and this program of another; to put this one in its place: "
                "idp-adapter serve --take-over",
            )
        else:
            await _refuse(channel, "the service that runs does not know what this version asks; stop it first")

    async def _answer_reload(self, channel: Channel) -> None:
        began = time.monotonic()

        async def told(problem: AdapterError | None) -> None:
            if problem is not None:
                await _refuse(channel, str(problem))
                return
            assert self._service is not None
            refused = [one.problem for one in self._service.tables.refused.values()]
            with suppress(OSError):
                await channel.send("done", more={"seconds": time.monotonic() - began, "tables_refused": refused})
            channel.close()

        await self.reload(told)

    async def _answer_successor(self, channel: Channel, message: dict[str, Any]) -> None:
        if (reason := self._no_place()) is not None:
            await _refuse(channel, reason)
            return
        assert self._service is not None
        listening = self._service.listening
        self._busy = f"a take-over by process {message.get('process')}"
        answer: dict[str, Any] = {}
        with suppress(TimeoutError, OSError):
            async with asyncio.timeout(DECIDING):
                await channel.send("sockets", listening.sockets, {"asked": listening.asked})
                answer, _ = await channel.receive()
        if answer.get("word") == "go":
            self._next.set_result(_Successor(channel))
        else:
            self._busy = None
            _log.warning("take_over_broken_off", process=message.get("process"))
            channel.close()

    def _no_place(self) -> str | None:
        """Why nobody may take this one's place; ``None``: somebody may."""
        if self._busy is not None:
            return f"{self._busy} is under way; try again when it is done"
        if is_supervised():
            return (
                "the service is run by systemd, or by what else wants to be told of its state, and would be started "
                "again when it ends; restart it there (docs/operate.md, Upgrade)"
            )
        if os.getpid() == 1:
            return "the service is the first process of a container, which would end with it; replace the container"
        return None

    async def _give(self, channel: Channel, connections: list[socket.socket]) -> bool:
        """Leave the place to a successor; whether it goes on."""
        with suppress(OSError):
            await channel.send_all("yours", connections)
        receiving, stopping = asyncio.ensure_future(channel.receive()), asyncio.ensure_future(self._stop.wait())
        anything: list[asyncio.Future[Any]] = [receiving, stopping]
        await asyncio.wait(anything, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not receiving.done():
            receiving.cancel()
            return True  # whoever stops this process does not want it back
        message, _ = receiving.result()
        if message["word"] == "serving":
            _log.info("taken_over")
            return True
        channel.close()
        _log.error("take_over_failed", problem="the successor ended; this service goes on")
        return False

    # Taking another one's place

    async def _take_place(self, settings: Settings) -> _Plan | None:
        """
        Raises:
            AdapterError: the settings cannot be used, or the service that runs cannot be replaced by this one.
        """
        folder = settings.data.folder
        if not in_use(folder):
            return None
        await check_store(log_url(settings))
        prepared = prepare(settings)
        try:
            predecessor = await ask_for_place(folder)
        except NoService:
            return None
        listening = _listening_for(settings.server, predecessor.listening)
        if listening is not predecessor.listening:
            predecessor.listening.close()
        self._settle()
        _log.info("taking_over", url=listening.url)

        async def told(problem: AdapterError | None) -> None:
            await predecessor.leave()

        return _Plan(settings, prepared, listening, await predecessor.end(), told=told)


def _listening_for(server: Server, present: Listening) -> Listening:
    """The sockets that settings ask for, beside the present ones: these, if they are the ones.

    Raises:
        ConfigError: it cannot listen there.
    """
    if present.fits(server):
        return present
    try:
        return listen(server.host, server.port)
    except ConfigError:
        if present.asked is None or present.asked[1] != server.port:
            raise
        raise ConfigError(
            f"server.host: the service that runs has port {server.port} on {present.asked[0]}, so it cannot be had on "
            f"{server.host} beside it; choose another port, or stop the service, and start it again"
        ) from None


def _again(service: Service, connections: list[socket.socket]) -> _Plan:
    """A plan for what was there before."""
    return _Plan(service.prepared.settings, service.prepared, service.listening, connections)


def _told_problem(event: str, error: Exception) -> AdapterError:
    """What is told of an error that ended a reload; it stands in the log."""
    if not isinstance(error, AdapterError):
        _log.exception("reload_failed", exc_info=error)
        error = ConfigError("the reload failed inside the adapter; its log says more")
    _log.error(event, problem=str(error))
    return error


async def _refuse(channel: Channel, problem: str) -> None:
    with suppress(OSError):
        await channel.send("refused", more={"problem": problem})
    channel.close()
