"""Who sends: workers that take flights from the queue, and see to it that the answers have their consequences."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import structlog

from adapter.delivery.answers import AnswerPolicy
from adapter.delivery.attempts import AttemptBook
from adapter.delivery.health import ReceiverHealth, Ruling, State
from adapter.delivery.ledger import Flight, Ledger
from adapter.delivery.queue import SendQueue
from adapter.delivery.settling import Settler
from adapter.sinks.protocol import DELIVERED, Answer, Later, Sink

_log = structlog.get_logger(__name__)


class Sender:
    """The workers of one sink. As many tasks as its window is wide run `work`."""

    def __init__(
        self,
        name: str,
        sink: Sink,
        queue: SendQueue,
        health: ReceiverHealth,
        ledger: Ledger,
        policy: AnswerPolicy,
        settler: Settler,
        attempts: AttemptBook,
    ) -> None:
        self._name = name
        self._sink = sink
        self._queue = queue
        self._health = health
        self._ledger = ledger
        self._policy = policy
        self._settler = settler
        self._attempts = attempts
        #: Workers that found nothing to send.
        self._sleepers: list[asyncio.Future[None]] = []
        self._landed = asyncio.Event()
        self._probe_timer: asyncio.TimerHandle | None = None
        self._closing = False

    def wake(self) -> None:
        """Wake as many workers as there may be work for."""
        wanted = self._queue.flights if self._health.state is State.RUNNING else 1
        while wanted > 0 and self._sleepers:
            sleeper = self._sleepers.pop()
            if not sleeper.done():
                sleeper.set_result(None)
                wanted -= 1

    async def work(self) -> None:
        """Send, one flight after the other, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            flight = self._take()
            if flight is None:
                if not self._ledger.flying and not self._closing and (ruling := self._health.note_idle()) is not None:
                    self._follow(ruling)
                sleeper = loop.create_future()
                self._sleepers.append(sleeper)
                await sleeper
                continue
            self._ledger.send(flight)
            answers: Sequence[Answer]
            try:
                answers = await self._sink.send(flight.entries)
                if len(answers) != len(flight.entries):
                    raise ValueError(f"{len(answers)} answers for {len(flight.entries)} entries")
                if wrong := [one for one in answers if one is not DELIVERED and not isinstance(one, Answer)]:
                    raise TypeError(f"{wrong[0]!r} is no answer")
            except Exception:
                _log.exception("sink_send_failed", sink=self._name)
                answers = [Later("this program failed to send it; its log says how")] * len(flight.entries)
            finally:
                self._ledger.land(flight)
                self._landed.set()
            self._take_answers(flight, answers)

    async def close(self, patience: float) -> None:
        """Send nothing more, and wait up to ``patience`` seconds for answers."""
        self._closing = True
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while self._ledger.flying:
                    self._landed.clear()
                    await self._landed.wait()
        if self._probe_timer is not None:
            self._probe_timer.cancel()

    def _take(self) -> Flight | None:
        """The next flight, if there is one and it may go now."""
        if self._closing:
            return None
        health = self._health
        if health.state is State.RUNNING:
            return self._queue.take()
        if health.state is State.STOPPED or not health.probe_due:
            return None
        flight = self._queue.take_probe()
        if flight is not None:
            health.begin_probe(flight)
        return flight

    def _take_answers(self, flight: Flight, answers: Sequence[Answer]) -> None:
        entries = flight.entries
        health = self._health
        if answers.count(DELIVERED) == len(entries):
            self._ledger.answer(flight, entries, (), ())
            self._settler.note_answered(len(entries))
            if self._attempts.keeps_all:
                self._attempts.answered(flight, entries, answers, ())
            health.answer = "delivered"
            ruling = health.note_up(flight)
        else:
            judged = self._policy.judge(flight, answers)
            self._attempts.answered(flight, entries, answers, judged.hold)
            self._ledger.answer(flight, judged.delivered, judged.hold, judged.left)
            self._settler.note_answered(len(judged.delivered) + len(judged.hold))
            health.answer = judged.said
            if judged.gone:
                ruling = health.note_gone(flight)
            elif judged.down is not None:
                ruling = health.note_down(flight, judged.down, self._ledger.sends)
            else:
                ruling = health.note_up(flight)
        if ruling is not None:
            self._follow(ruling)

    def _follow(self, ruling: Ruling) -> None:
        for suspect in ruling.charge:
            rows = self._policy.charge(suspect.flight, suspect.answer)
            self._attempts.charged(suspect.flight, suspect.answer, rows)
            self._ledger.answer(suspect.flight, (), rows, ())
            self._settler.note_answered(len(rows))
        for flight in ruling.again:
            self._queue.put_back(flight)
        if ruling.probe_in is not None:
            self._attempts.found_down()
            self._plan_probe(ruling.probe_in)
        if ruling.resume:
            self.wake()

    def _plan_probe(self, wait: float) -> None:
        """Let a probe go after ``wait`` seconds; one that is planned for later than that stays."""
        loop = asyncio.get_running_loop()
        planned = self._probe_timer
        if planned is not None:
            if planned.when() >= loop.time() + wait:
                return
            planned.cancel()
        self._probe_timer = loop.call_later(max(0.0, wait), self._let_probe_go)

    def _let_probe_go(self) -> None:
        self._probe_timer = None
        self._health.probe_due = True
        self.wake()
