"""Who read what: exports, raw events and looks at people are recorded as events of the log, ``system.AUDIT-EXPORT`` and
``system.AUDIT-READ``.

A question is recorded once, not each page or repetition of it. Nobody can fill the log by asking: of what one caller
asks beyond some questions in a stretch of time, the number is recorded. No answer waits for the log: what it does not
take now waits in memory, and what is too much for that is named in the service's own log.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import urlencode

import structlog
from aiohttp import web

from adapter.api.operation import caller, details_of_caller
from adapter.errors import StoreError
from adapter.known_secrets import KnownSecrets
from adapter.log.protocol import NewEntry
from adapter.model import Outcome
from adapter.settings import Audit, Look
from adapter.system_events import system_event

#: Questions of one caller that are recorded one by one in a stretch of time; of more, their number.
ONE_BY_ONE = 50
#: Callers that are told apart, events that wait for the log, and characters of a question.
CALLERS, WAITING, LENGTH = 10_000, 1_000, 2_000
#: Seconds between two looks at what is over, and until the log is asked again that did not take something.
_EVERY = 5.0
#: Parameters that do not make another question: which page of the answer, and how it is shown.
_NO_QUESTION = ("after", "cursor", "limit", "names")

_log = structlog.get_logger("adapter.api")


@dataclass(slots=True)
class _Stretch:
    """What one caller asks within a stretch of time."""

    #: Epoch milliseconds.
    begin: int
    who: dict[str, str]
    #: Hashes of the questions that were recorded.
    recorded: set[int] = field(default_factory=set)
    more: int = 0


class _Key(NamedTuple):
    caller: str
    look: Look


class Auditing:
    """Tells the log who read what. Not for several threads."""

    def __init__(
        self,
        append: Callable[[Sequence[NewEntry]], Awaitable[object]],
        settings: Audit,
        known_secrets: KnownSecrets,
        *,
        is_behind_proxy: bool,
        now: Callable[[], int],
    ) -> None:
        """``append``: of the log; ``is_behind_proxy``: like that of `address_of`; ``now`` gives epoch milliseconds."""
        self._append = append
        self._looks = frozenset(settings.record)
        self._width = round(settings.again_after * 1000)
        self._known_secrets = known_secrets
        self._is_behind_proxy = is_behind_proxy
        self._now = now
        #: In the order in which they began.
        self._stretches: dict[_Key, _Stretch] = {}
        self._waiting: deque[NewEntry] = deque()
        self._lost = 0
        self._is_new, self._is_over = asyncio.Event(), asyncio.Event()

    def record(
        self,
        request: web.Request,
        look: Look,
        *,
        of: str | None = None,
        events: int | None = None,
        whole: bool = True,
    ) -> None:
        """Tell that the caller of a request is answered. ``of``: what it is about, if neither its path nor its query
        says that; ``events``: how many the answer has, where these may be many; ``whole``: whether it came to its
        end."""
        if look not in self._looks:
            return
        now, key = self._now(), _Key(caller(request), look)
        who = details_of_caller(request, is_behind_proxy=self._is_behind_proxy)
        self.end_stretches(now)
        stretch = self._stretches.get(key)
        if stretch is None:
            if len(self._stretches) >= CALLERS:
                self._end(next(iter(self._stretches)), now)
            stretch = self._stretches[key] = _Stretch(now, dict(who))
        if stretch.who.get("ipAddress") != who.get("ipAddress"):
            # What is told of the stretch as a whole is of no one address.
            stretch.who.pop("ipAddress", None)
        asked = [(name, value) for name, value in request.query.items() if name not in _NO_QUESTION]
        asked += [] if of is None else [("of", of)]
        question = f"{request.path}?{urlencode(sorted(asked))}" if asked else request.path
        # An export that was broken off does not hide one that was not; nor does an address, another one.
        mark = hash((question, whole, who.get("ipAddress")))
        if mark in stretch.recorded:
            return
        if len(stretch.recorded) >= ONE_BY_ONE:
            stretch.more += 1
            return
        stretch.recorded.add(mark)
        cleaned = self._known_secrets.cleaned(question.encode("utf-8", "replace")).decode("utf-8", "replace")[:LENGTH]
        details = {"look": str(look), "question": cleaned}
        if events is not None:
            details["events"] = str(events)
        if not whole:
            details["whole"] = "false"
        self._tell(look, now, details, who)

    def end_stretches(self, now: int) -> None:
        """Tell how much more was asked in what is over. ``now``: epoch milliseconds."""
        while self._stretches:
            key, stretch = next(iter(self._stretches.items()))
            if now < stretch.begin + self._width:
                return
            self._end(key, now)

    def _end(self, key: _Key, now: int) -> None:
        stretch = self._stretches.pop(key)
        if stretch.more:
            details = {"look": str(key.look), "more": str(stretch.more), "since": str(stretch.begin)}
            self._tell(key.look, now, details, stretch.who)

    def _tell(self, look: Look, now: int, details: dict[str, str], who: dict[str, str]) -> None:
        if len(self._waiting) >= WAITING:
            self._lost += 1
            return
        name = "AUDIT-EXPORT" if look is Look.EXPORT else "AUDIT-READ"
        self._waiting.append(system_event(name, now, details, outcome=Outcome.SUCCESS, who=who))
        self._is_new.set()

    async def write(self) -> bool:
        """Have the log take what waits; whether it did."""
        while self._waiting:
            some = list(self._waiting)
            try:
                await self._append(some)
            except StoreError as error:
                _log.warning("audit_waits", waiting=len(some), why=str(error))
                return False
            for _ in some:
                self._waiting.popleft()
        if self._lost:
            _log.error("audit_lost", events=self._lost)
            self._lost = 0
        return True

    async def run(self) -> None:
        """Write what comes, until `stop`; then what is left, as far as the log takes it."""
        while not self._is_over.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(_EVERY):
                    await self._is_new.wait()
            self._is_new.clear()
            self.end_stretches(self._now())
            if not await self.write():
                with suppress(TimeoutError):
                    async with asyncio.timeout(_EVERY):
                        await self._is_over.wait()
        for key in list(self._stretches):
            self._end(key, self._now())
        if not await self.write():
            _log.error("audit_lost", events=len(self._waiting) + self._lost)

    def stop(self) -> None:
        """Have `run` come to its end."""
        self._is_over.set()
        self._is_new.set()


AUDITING = web.AppKey("auditing", Auditing)


def record(
    request: web.Request, look: Look, *, of: str | None = None, events: int | None = None, whole: bool = True
) -> None:
    """Have it recorded that the caller of a request is answered, where the settings want it: `Auditing.record`. To be
    called for each answer, also for each page of several: the same question counts once. Never waits, never fails."""
    request.app[AUDITING].record(request, look, of=of, events=events, whole=whole)


@asynccontextmanager
async def open_auditing(auditing: Auditing) -> AsyncIterator[Auditing]:
    """Write what comes while the context lasts; in the end what is left."""
    task = asyncio.create_task(auditing.run(), name="auditing")
    try:
        yield auditing
    finally:
        # Not cancelled: what the log is taking would be recorded twice.
        auditing.stop()
        await asyncio.wait([task])
        task.result()
