"""Polls a Keycloak: all streams of its realms, one after the other, with pauses that grow while it does not answer."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from functools import partial

import structlog

from adapter.counts import PullCounts
from adapter.errors import NoReply, Refused
from adapter.formats.text import harmless
from adapter.outgoing.settings import OutgoingSettings
from adapter.quantities import interval_of
from adapter.sources.keycloak.place import read_place
from adapter.sources.keycloak.server import Kind, LoginRefused, Server, open_server
from adapter.sources.keycloak.settings import PullSettings
from adapter.sources.keycloak.stream import Stream
from adapter.sources.protocol import Inlet, Pull, SourceContext

#: Seconds between two looks which realms there are.
LOOK_EVERY = 300.0
#: The longest pause while the server does not answer, and the longest wait for a stream that is refused, seconds.
LONGEST_PAUSE, LONGEST_WAIT = 60.0, 300.0

_log = structlog.get_logger("adapter.sources")


def make_pull(settings: PullSettings, context: SourceContext, *, clock: Callable[[], float] = time.monotonic) -> Pull:
    """What fetches the events of a server. ``clock`` gives seconds."""
    return partial(_pull, settings, context.outgoing, context.pull_counts, clock)


async def _pull(
    settings: PullSettings, outgoing: OutgoingSettings, counts: PullCounts, clock: Callable[[], float], inlet: Inlet
) -> None:
    try:
        async with open_server(settings, outgoing, now=inlet.now) as server:
            polling = Polling(settings, server, inlet, counts, clock)
            while True:
                wait = await polling.round()
                await asyncio.sleep(wait)
    finally:
        counts.forget(inlet.source.name)


class Polling:
    """A source that is fetched."""

    def __init__(
        self, settings: PullSettings, server: Server, inlet: Inlet, counts: PullCounts, clock: Callable[[], float]
    ) -> None:
        self._settings = settings
        self._server = server
        self._inlet = inlet
        self._counts = counts
        self._clock = clock
        self._interval = interval_of(settings.interval)
        self._place = read_place(inlet.place)
        if self._place.started is None:
            self._place.started = inlet.now()
        self._streams: dict[tuple[str, Kind], Stream] = {}
        self._looked_at: float | None = None
        self._failures = 0

    async def round(self) -> float:
        """Poll every stream that is due, once; the seconds until the next round.

        Raises:
            NoteChanged, StoreUnavailable: as `Inlet.take`.
        """
        problem: str | None = None
        try:
            if self._looked_at is None or self._clock() - self._looked_at >= LOOK_EVERY:
                await self._look()
            for key, stream in list(self._streams.items()):
                if self._clock() >= stream.due_at:
                    # If it is not answered, the others come first in the next round.
                    self._streams[key] = self._streams.pop(key)
                    await self._poll(stream)
            self._failures = 0
        except (NoReply, Refused) as error:
            problem = str(error)
            self._failures += 1
            self._counts.errors[self._inlet.source.name, "", ""] += 1
            for stream in self._streams.values():
                # It may come back as another version.
                stream.forget_version()
        self._say("", "", problem)
        if self._place.streams and self._place.written() != self._inlet.place:
            await self._inlet.take(b"[]", "application/json", self._place.written())
        # Not with all other pollers of this server.
        return self._wait(self._failures, LONGEST_PAUSE) * random.uniform(0.9, 1.1)

    async def _look(self) -> None:
        """Look which realms there are."""
        realms = self._settings.realms or tuple(await self._server.realms())
        if not realms:
            raise Refused("the account sees no realm: give it the role view-realm, or name the realms in `realms`")
        for realm in realms:
            for kind in Kind:
                if (realm, kind) not in self._streams:
                    stream = Stream(realm, kind, self._settings, self._server, self._inlet, self._place, self._clock)
                    self._streams[realm, kind] = stream
        for realm, kind in [one for one in self._streams if one[0] not in realms]:
            # Its place stays: it may come again.
            del self._streams[realm, kind]
            self._counts.forget(self._inlet.source.name, realm)
        self._looked_at = self._clock()

    async def _poll(self, stream: Stream) -> None:
        """
        Raises:
            NoReply: the server does not answer.
            LoginRefused: it gives no token.
        """
        source, realm, kind = self._inlet.source.name, stream.realm, stream.kind.value
        problem = None
        try:
            await stream.poll()
            problem = stream.warning or stream.recent_gap(self._inlet.now())
            stream.failures = 0
            self._counts.last[source, realm, kind] = (self._inlet.now() / 1000, stream.read_until / 1000)
        except LoginRefused:
            raise
        except Refused as error:
            problem = str(error)
            stream.failures += 1
            stream.due_at = self._clock() + self._wait(stream.failures, LONGEST_WAIT)
            self._counts.errors[source, realm, kind] += 1
        finally:
            self._counts.gaps[source, realm, kind] = stream.gaps
            if stream.last_gap is not None:
                self._counts.last_gaps[source, realm, kind] = stream.last_gap
        self._say(realm, kind, problem)

    def _wait(self, failures: int, longest: float) -> float:
        """Seconds until the next try: the interval, and twice as long for each failure."""
        return max(self._interval, min(self._interval * 2.0 ** min(failures, 16), longest))

    def _say(self, realm: str, kind: str, problem: str | None) -> None:
        """Once for each problem, however often it is met."""
        source = self._inlet.source.name
        if self._counts.say(source, realm, kind, problem):
            if problem is None:
                _log.info("source_pull_well_again", source=source, realm=harmless(realm), kind=kind)
            else:
                _log.warning("source_pull_problem", source=source, problem=problem)
