"""Who sends: workers that take flights from the queue, and see to it that the answers have their consequences."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

import structlog

from adapter.delivery.answers import AnswerPolicy, checked
from adapter.delivery.attempts import AttemptBook
from adapter.delivery.health import ReceiverHealth, Ruling, State
from adapter.delivery.ledger import Flight, Ledger
from adapter.delivery.queue import SendQueue
from adapter.delivery.rate import Pace
from adapter.delivery.reporting import Reporter
from adapter.delivery.settling import Settler
from adapter.delivery.standing import Standing
from adapter.log.protocol import Held
from adapter.sinks.protocol import DELIVERED, Answer, Later, Sink
from adapter.tasks import is_ending

_log = structlog.get_logger(__name__)


class Sender:
    """The workers of one sink: at most as many tasks as its window is wide run `work`, begun when there is something
    for them. So a thousand sinks that have nothing to send cost no task for it."""

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
        reporter: Reporter,
        pace: Pace | None,
        *,
        window: int,
        begin_worker: Callable[[], None],
    ) -> None:
        """``pace``: how fast it may send; ``None``: as fast as it can. ``begin_worker`` begins another task that runs
        `work`; at most ``window`` of them are asked for."""
        self._name = name
        self._sink = sink
        self._queue = queue
        self._health = health
        self._ledger = ledger
        self._policy = policy
        self._settler = settler
        self._attempts = attempts
        self._reporter = reporter
        self._pace = pace
        self._begin_worker = begin_worker
        #: Workers that may still be begun.
        self._spare = window
        #: Workers that found nothing to send.
        self._sleepers: list[asyncio.Future[None]] = []
        self._landed = asyncio.Event()
        self._probe_timer: asyncio.TimerHandle | None = None
        #: Set while the pace lets nothing go.
        self._pace_timer: asyncio.TimerHandle | None = None
        self._closing = False

    def wake(self) -> None:
        """Wake as many workers as there may be work for."""
        wanted = self._queue.flights if self._health.state is State.RUNNING else 1
        while wanted > 0 and self._sleepers:
            sleeper = self._sleepers.pop()
            if not sleeper.done():
                sleeper.set_result(None)
                wanted -= 1
        while wanted > 0 and self._spare and not self._closing:
            self._spare -= 1
            wanted -= 1
            self._begin_worker()

    async def work(self) -> None:
        """Send, one flight after the other, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            flight = self._take()
            if flight is None:
                if not self._ledger.flying and not self._closing and self._pace_timer is None:
                    self._follow(self._health.note_idle())
                sleeper = loop.create_future()
                self._sleepers.append(sleeper)
                await sleeper
                continue
            self._ledger.send(flight)
            answers: Sequence[Answer]
            try:
                answers = checked(await self._sink.send(flight.entries), len(flight.entries))
            except (Exception, asyncio.CancelledError) as error:
                if isinstance(error, asyncio.CancelledError) and is_ending():
                    raise
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
        for timer in (self._probe_timer, self._pace_timer):
            if timer is not None:
                timer.cancel()

    def decide(self, standing: Standing) -> None:
        """This was decided about the sink. What is in flight lands; nothing more goes until it is resumed."""
        ruling = self._health.decide(standing.state, standing.since or None)
        if ruling is not None:
            self._reporter.note_resumed()
            self._follow(ruling)

    def _take(self) -> Flight | None:
        """The next flight, if there is one and it may go now."""
        if self._closing:
            return None
        health = self._health
        if health.state is not State.RUNNING and (health.state is not State.DOWN or not health.probe_due):
            return None
        if self._pace is not None and not self._may_go(self._pace):
            return None
        if health.state is State.RUNNING:
            flight = self._queue.take()
        else:
            flight = self._queue.take_probe()
            if flight is not None:
                health.begin_probe(flight)
        if flight is not None and self._pace is not None:
            self._pace.spend(len(flight.entries))
        return flight

    def _may_go(self, pace: Pace) -> bool:
        """Whether the pace lets something go; if not, a worker is woken up once it does."""
        if self._pace_timer is not None or not self._queue.flights:
            return False
        wait = pace.wait()
        if wait > 0:
            self._pace_timer = asyncio.get_running_loop().call_later(wait, self._go_on)
        return wait <= 0

    def _go_on(self) -> None:
        self._pace_timer = None
        self.wake()

    def _take_answers(self, flight: Flight, answers: Sequence[Answer]) -> None:
        entries = flight.entries
        health, reporter = self._health, self._reporter
        if answers.count(DELIVERED) == len(entries):
            self._ledger.answer(flight, entries, (), ())
            self._settler.note_answered(len(entries))
            if self._attempts.keeps_all:
                self._attempts.answered(flight, entries, answers, ())
            health.answer = "delivered"
            reporter.note_passed()
            self._follow(health.note_up(flight))
            return
        judged = self._policy.judge(flight, answers)
        self._attempts.answered(flight, entries, answers, judged.hold)
        self._ledger.answer(flight, judged.delivered, judged.hold, judged.left, judged.skipped)
        self._settler.note_answered(len(judged.delivered) + len(judged.hold) + len(judged.skipped))
        health.answer = judged.said
        self._note_dead(judged.hold)
        if judged.delivered or judged.skipped:
            reporter.note_passed()
        else:
            reporter.note_failed()
        if judged.gone is not None:
            reporter.note_stop(judged.gone, "receiver")
            self._follow(health.note_gone(flight))
        elif judged.down is not None:
            self._follow(health.note_down(flight, judged.down, self._ledger.sends))
        elif judged.wish is not None:
            self._follow(health.note_wish(flight, judged.wish))
        else:
            self._follow(health.note_up(flight))

    def _follow(self, ruling: Ruling | None) -> None:
        if ruling is None:
            return
        for suspect in ruling.charge:
            rows = self._policy.charge(suspect.flight, suspect.answer)
            self._attempts.charged(suspect.flight, suspect.answer, rows)
            self._ledger.answer(suspect.flight, (), rows, ())
            self._settler.note_answered(len(rows))
            self._note_dead(rows)
        for flight in ruling.again:
            self._queue.put_back(flight)
        if ruling.probe_in is not None:
            self._attempts.found_down()
            self._plan_probe(ruling.probe_in)
        if ruling.resume:
            self._reporter.tell_backlog()
            self.wake()

    def _note_dead(self, rows: Sequence[Held]) -> None:
        dead = [row for row in rows if row.due_at is None]
        if dead:
            self._reporter.note_dead(len(dead), dead[-1].answer)

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
