"""What is told of a sink, as ``system.SINK-…`` events of the log: down, up again, failing for long, stopped, and that
it gave up on events. Each once for a sink and a window, however many events it is about.

For how long a sink has failed is kept in a note beside them, so that no restart begins anew. A sink that takes what it
is sent costs nothing here: no note, no event, and no look.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from math import inf
from typing import NamedTuple

import structlog

from adapter.delivery.failing import FAILURES, TOLD, Failing, read_failing
from adapter.delivery.health import ReceiverHealth, State
from adapter.delivery.rate import FAR_BEHIND
from adapter.delivery.standing import Decided, Keeper, Standing, change
from adapter.errors import NoteChanged, StoreError, public_text
from adapter.log.protocol import Note
from adapter.source_state.judging import written
from adapter.system_events import system_event

#: Seconds between two looks while a sink fails, and between two writings of the note meanwhile.
LOOK, WRITTEN = 15.0, 300.0
#: The least seconds between two tellings that a sink is down, and that it gave up on events.
DOWNS, DEATHS = 600.0, 3600.0
#: What is given up on in this time is told together, seconds.
GATHER = 10.0
#: Wait after a failure of the store, and for the last writing when the service stops, seconds.
WAIT, LAST = 1.0, 1.0

_log = structlog.get_logger(__name__)


class Reporter:
    """Tells of one sink. Others note what happened; one task runs `run`."""

    def __init__(
        self,
        name: str,
        log: Keeper,
        health: ReceiverHealth,
        *,
        disable_after: float | None,
        lag: Callable[[], int],
        decide: Callable[[Standing], None],
        now: Callable[[], int],
        clock: Callable[[], float],
        is_replay: bool = False,
    ) -> None:
        """``is_replay``: it sends to the sink beside the sink itself, and tells nothing but that it is to be stopped.
        ``disable_after``: seconds of nothing but failures after which the sink is stopped; ``lag`` gives the entries
        between its place and the end of the log, ``now`` epoch milliseconds, ``clock`` seconds that only grow.
        ``decide`` is told that the sink was stopped."""
        self._is_replay = is_replay
        self._name = name
        self._log = log
        self._health = health
        self._disable_after = disable_after
        self._lag = lag
        self._decide = decide
        self._now = now
        self._clock = clock
        self._failing = Failing()
        #: Failures that a success ended, while that is not told or noted.
        self._ended: Failing | None = None
        #: Version of the note, and whether it holds failures; whether it is to be written anew though nothing is told.
        self._version = 0
        self._is_kept = False
        self._is_other = False
        #: Of the last failure; when the note was written; when it was last told that the sink is down.
        self._failed_at: float | None = None
        self._written_at = clock()
        self._down_told_at = -inf
        #: Why it is to be stopped, and by whom.
        self._stop: tuple[str, str] | None = None
        #: Events given up on that were not told, and the last one's reason.
        self._dead = 0
        self._death = ""
        #: When it may be told.
        self._death_due_at = -inf
        self._moved = asyncio.Event()

    @property
    def failing(self) -> Failing:
        """What the sink has had since its last success."""
        return self._failing

    async def open(self) -> None:
        """Go on from what is known of the sink.

        Raises:
            StoreError: the log does not answer.
        """
        if self._is_replay:
            return
        note = await self._log.noted(note_name(self._name))
        if note is not None:
            self._version, self._failing = note.version, read_failing(note.text)
        self._is_kept = self._failing.failures > 0
        # From here on it is watched.
        self._failed_at = self._clock() if self._is_kept else None

    def note_passed(self) -> None:
        """The sink took something."""
        failing = self._failing
        if self._is_replay or (not failing.failures and not failing.told):
            return
        self._failing, self._failed_at = Failing(), None
        if failing.told or self._is_kept:
            self._ended = failing
            self._moved.set()

    def note_failed(self) -> None:
        """The sink took nothing of what it was sent."""
        if self._is_replay:
            return
        at, failing = self._clock(), self._failing
        failing.fail(0.0 if self._failed_at is None else at - self._failed_at, self._now())
        self._failed_at = at
        if failing.failures == 1 or failing.is_over(self._disable_after):
            self._moved.set()

    def note_dead(self, entries: int, reason: str) -> None:
        """The sink gave up on so many events."""
        if self._is_replay:
            return
        if not self._dead:
            self._death_due_at = max(self._death_due_at, self._clock() + GATHER)
            self._moved.set()
        self._dead += entries
        self._death = reason

    def note_stop(self, reason: str, by: str) -> None:
        """The sink is to be stopped."""
        self._stop = reason, by
        self._moved.set()

    def note_resumed(self) -> None:
        """Somebody resumed the sink: for how long it fails, is counted from now on."""
        if self._is_replay:
            return
        self._failing, self._failed_at, self._is_other = Failing(told=self._failing.told), None, self._is_kept
        self._moved.set()

    def tell_backlog(self) -> None:
        """The sink goes on: say how much waits for it, if that is much."""
        if (lag := self._lag()) > FAR_BEHIND:
            _log.info("sink_backlog", sink=self._name, entries=lag)

    async def run(self) -> None:
        """Tell what is to be told, for ever."""
        while True:
            self._moved.clear()
            try:
                await self.report()
            except StoreError as error:
                _log.warning("sink_not_told", sink=self._name, problem=str(error))
                await asyncio.sleep(WAIT)
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(self._patience()):
                    await self._moved.wait()

    async def close(self) -> None:
        """Tell and keep what is known, if the log takes it at once."""
        with suppress(StoreError, TimeoutError):
            async with asyncio.timeout(LAST):
                if self._ended is not None or self._stop is not None:
                    await self.report()
                if self._failing.failures:
                    await self._write([], self._failing)

    async def report(self) -> None:
        """Tell what is to be told now.

        Raises:
            StoreError: the log does not answer; what was not told is told later.
        """
        if self._stop is not None:
            reason, by = self._stop
            standing = await change(
                self._log, self._name, state=Decided.STOPPED, reason=reason, by=by, now=self._now(), lag=self._lag()
            )
            self._stop = None
            self._decide(standing)
        at, ended, failing, told = self._clock(), self._ended, self._failing, list[_Told]()
        if ended is not None and ended.told:
            told.append(_Told("SINK-UP", {"since": written(ended.since), "seconds": str(int(ended.seconds))}))
        # What it is to be once it is told.
        then = replace(failing)
        if failing.failures:
            since = {"since": written(failing.since), "failures": str(failing.failures)}
            if self._is_down(at):
                told.append(_Told("SINK-DOWN", since))
                then.told = True
            if (warning := then.warning(self._disable_after)) is not None:
                details = {**since, "seconds": str(int(failing.seconds))}
                if warning.share is not None:
                    details |= {"share": f"{warning.share}%", "stoppedAfter": str(int(self._disable_after or 0))}
                told.append(_Told("SINK-WARNING", details))
        dead = self._dead if at >= self._death_due_at else 0
        if dead:
            told.append(_Told("SINK-EVENT-DEAD", {"events": str(dead), "reason": public_text(self._death)}))
        is_due = failing.failures > 0 and at - self._written_at >= WRITTEN
        if told or is_due or ended is not None or self._is_other:
            await self._write(told, then)
            failing.told, failing.warned = then.told, then.warned
            if self._ended is ended:
                self._ended = None
            if dead:
                self._dead -= dead
                self._death_due_at = at + DEATHS
            if then.told and any(one.name == "SINK-DOWN" for one in told):
                self._down_told_at = at
        if failing.is_over(self._disable_after) and self._health.state not in (State.PAUSED, State.STOPPED):
            seconds, answer = int(failing.seconds), self._health.answer
            self.note_stop(f"nothing but failures for {seconds} s, the last one: {answer}", "disable_after")

    def _is_down(self, at: float) -> bool:
        """Whether it is to be told now that the sink takes nothing."""
        failing = self._failing
        if failing.told or (self._health.state is not State.DOWN and failing.failures < FAILURES):
            return False
        return failing.seconds >= TOLD and at - self._down_told_at >= DOWNS

    def _patience(self) -> float | None:
        """Seconds until somebody has to look again though nothing moves; ``None``: never."""
        death = self._death_due_at - self._clock() if self._dead else inf
        look = LOOK if self._failing.failures and self._health.state in (State.RUNNING, State.DOWN) else inf
        first = max(0.0, min(death, look))
        return None if first == inf else first

    async def _write(self, told: Sequence[_Told], failing: Failing) -> None:
        """Store events and note: all, or nothing."""
        common = {"sink": self._name, "reason": public_text(self._health.answer), "lag": str(self._lag())}
        entries = [system_event(one.name, self._now(), {**common, **one.details}) for one in told]
        text = failing.written() if failing.failures or failing.told else "{}"
        while True:
            note = Note(note_name(self._name), text, self._version + 1)
            try:
                if entries:
                    await self._log.append(entries, note)
                else:
                    await self._log.keep(note)
                self._version = note.version
                break
            except NoteChanged:
                found = await self._log.noted(note.name)
                self._version = 0 if found is None else found.version
                if found is not None and found.text == text:
                    break  # by us, when no answer came
        self._written_at = self._clock()
        self._is_kept, self._is_other = text != "{}", False
        for one in told:
            say = _log.info if one.name == "SINK-UP" else _log.warning
            say(one.name.lower().replace("-", "_"), **{**common, **one.details})


class _Told(NamedTuple):
    """Something that becomes an event: ``system.SINK-…``."""

    name: str
    details: dict[str, str]


def note_name(sink: str) -> str:
    """Under which name the log keeps for how long a sink has failed."""
    return f"sink-failing {sink}"
