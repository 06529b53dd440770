"""How a receiver is, as far as its answers tell: up, down, or gone for good; and whether anything may be sent to it by
what people decided. No task and no timer.

A flight that fails as if the receiver were down is a suspect at first. If one that was sent after that failure comes
through, the suspect failed for its own sake, and spends a try. If too many fail in a row, or nothing is left in flight
that could come through, or the receiver names a wait, then it is down: suspects go again without a try being spent, and
only a probe goes out now and then, until one of them is answered by a receiver that is up. So it is where a receiver
asks for time with what it refuses for its own sake.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import NamedTuple

import structlog

from adapter.delivery.backoff import Breaker
from adapter.delivery.ledger import Flight
from adapter.delivery.standing import Decided
from adapter.sinks.protocol import Later

#: The receiver is down after so many failures in a row.
FAILURES = 5
#: A message upon which the receiver was found down so often, while others passed in between, spends its tries from then
#: on.
DOWNS = 2

_log = structlog.get_logger(__name__)


class State(StrEnum):
    """What a sink is doing."""

    #: Sends what comes, or has nothing to send.
    RUNNING = "running"
    #: The receiver is down: only a probe goes out now and then, and the cursor stands.
    DOWN = "down"
    #: Somebody paused it: nothing is sent until somebody resumes it.
    PAUSED = "paused"
    #: The receiver said that it is gone for good, or was down for too long: nothing is sent until somebody resumes it.
    STOPPED = "stopped"


class Suspect(NamedTuple):
    """A flight that failed as if the receiver were down."""

    flight: Flight
    answer: Later
    #: The number of the last send when it failed: those with larger ones tell whether the receiver was down.
    sends: int


class Ruling(NamedTuple):
    """What is to be done about flights, after what the receiver said."""

    #: Failed for their own sake: each of their entries spends a try.
    charge: Sequence[Suspect] = ()
    #: To be sent again without a try being spent.
    again: Sequence[Flight] = ()
    #: Seconds after which a probe may go, unless one is planned for later than that.
    probe_in: float | None = None
    #: The receiver is up again: everything may go.
    resume: bool = False


class ReceiverHealth:
    """How one sink's receiver is. Its methods give ``None`` where nothing is to be done.

    ``probe`` is the first wait before a probe, seconds; ``now`` gives epoch milliseconds, ``random_source`` a number
    from 0 to 1.
    """

    def __init__(
        self, name: str, *, window: int, probe: float, now: Callable[[], int], random_source: Callable[[], float]
    ) -> None:
        self.state = State.RUNNING
        #: Since when, epoch milliseconds.
        self.since = now()
        #: The last answer, for people.
        self.answer = "nothing sent yet"
        #: While the receiver is down: a probe may go. Set by who waited for as long as a ruling said.
        self.probe_due = False
        self._name = name
        self._decided = Decided.RUNNING
        #: With one send at a time nothing is sent after a failure that could tell more about it.
        self._in_order = window == 1
        self._now = now
        self._random_source = random_source
        self._breaker = Breaker(probe)
        self._probe: Flight | None = None
        self._suspects: list[Suspect] = []
        #: How often the receiver was found down upon flights that are sent again.
        self._downs: dict[Flight, int] = {}

    def begin_probe(self, flight: Flight) -> None:
        """The probe that was due is this flight."""
        self._probe = flight
        self.probe_due = False

    def note_up(self, flight: Flight) -> Ruling | None:
        """The receiver answered this flight for itself: what failed before it was sent, failed for its own sake."""
        self._downs.pop(flight, None)
        if flight is self._probe:
            self._probe = None
            self._breaker.close()
            self._show()
            return Ruling(resume=True)
        if not self._suspects:
            return None
        charge = [suspect for suspect in self._suspects if suspect.sends < flight.number]
        self._suspects = [suspect for suspect in self._suspects if suspect.sends >= flight.number]
        return Ruling(charge)

    def note_down(self, flight: Flight, answer: Later, sends: int) -> Ruling | None:
        """The receiver is down, or seems so to this flight; ``sends`` is the number of the last one that was sent."""
        if self._breaker.is_open:
            if flight is self._probe:
                self._probe = None
                return Ruling(again=[flight], probe_in=self._breaker.fail(answer.after, self._random_source()))
            # Its wish lengthens the wait for the next probe, if there is one to wait for.
            waiting = not self.probe_due and self._probe is None
            return Ruling(again=[flight], probe_in=answer.after if waiting else None)
        self._suspects.append(Suspect(flight, answer, sends))
        if answer.after is not None or len(self._suspects) >= FAILURES or self._in_order:
            return self._note_all_down(answer.after)
        return None

    def note_idle(self) -> Ruling | None:
        """Nothing is in flight that could clear the receiver, and nothing may go."""
        return self._note_all_down(None) if self._suspects else None

    def note_wish(self, flight: Flight, after: float) -> Ruling:
        """The receiver answered this flight for itself, and asked for nothing more for so many seconds."""
        if self._breaker.is_open and flight is not self._probe:
            waiting = not self.probe_due and self._probe is None
            return Ruling(probe_in=after if waiting else None)
        ruling = self.note_up(flight)
        wait = self._breaker.fail(after, self._random_source())
        self._show()
        return Ruling(charge=() if ruling is None else ruling.charge, probe_in=wait)

    def note_gone(self, flight: Flight) -> Ruling:
        """The receiver said to this flight that it wants nothing more."""
        if flight is self._probe:
            self._probe = None
            self.probe_due = True
        self._decided = Decided.STOPPED
        self._show()
        return Ruling(again=[flight] if flight.entries else ())

    def decide(self, decided: Decided, since: int | None = None) -> Ruling | None:
        """Somebody decided what the sink is to do, at that time (epoch milliseconds; ``None``: now)."""
        is_resumed = decided is Decided.RUNNING and self._decided is not Decided.RUNNING
        self._decided = decided
        self._show(since)
        if not is_resumed:
            return None
        if self._breaker.is_open and self._probe is None:
            self.probe_due = True  # who resumes it, waits to see
        return Ruling(resume=True)

    def _note_all_down(self, after: float | None) -> Ruling:
        """What failed, failed because the receiver is down, except for what was there too often when it was."""
        charge: list[Suspect] = []
        again: list[Flight] = []
        for suspect in self._suspects:
            self.answer = suspect.answer.reason
            downs = self._downs.pop(suspect.flight, 0) + 1
            if downs > DOWNS:
                charge.append(suspect)
            else:
                self._downs[suspect.flight] = downs
                again.append(suspect.flight)
        self._suspects = []
        wait = self._breaker.fail(after, self._random_source())
        self._show()
        return Ruling(charge, again, wait)

    def _show(self, since: int | None = None) -> None:
        """Let the state be what was decided, or else how the receiver is."""
        state = State.DOWN if self._breaker.is_open else State.RUNNING
        if self._decided is not Decided.RUNNING:
            state = State(self._decided)
        if state is self.state:
            return
        self.state = state
        self.since = self._now() if since is None else since
        tell = _log.info if state is State.RUNNING else _log.warning
        tell("sink_state", sink=self._name, state=str(state), answer=self.answer)
