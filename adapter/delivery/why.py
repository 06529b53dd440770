"""What became of one event at one sink, and why, for people. Pure: all that is known is given.

What is known is the log's: the entry, how far the sink is, what is held for it, and which tries are remembered. Of an
event behind the sink's place without a row of its own nothing else is kept: it was taken by the filter, and is neither
held nor dead; so it was delivered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from adapter.delivery.attempts import Outcome
from adapter.delivery.fault import Fault, fault_of
from adapter.delivery.ledger import AGAIN, UNANSWERED
from adapter.delivery.select import Selection
from adapter.formats.text import counted
from adapter.log.protocol import Attempt, Held, ReaderState
from adapter.model import Entry


class Stage(StrEnum):
    """Where an event is, seen from a sink."""

    #: The receiver has it.
    DELIVERED = "delivered"
    #: Sent, and no answer yet.
    IN_FLIGHT = "in_flight"
    #: Refused, and waiting for its next try.
    HELD = "held"
    #: Waits for an earlier event of its key.
    BLOCKED = "blocked"
    #: Given up on.
    DEAD = "dead"
    #: The sink has not come to it.
    WAITING = "waiting"
    #: The receiver asked not to get it, or somebody skipped it.
    SKIPPED = "skipped"
    #: Its filter does not take it.
    FILTERED = "filtered"
    #: A later reading of an event, and the sink wants none.
    REVISION = "revision"
    #: It has no event.
    QUARANTINED = "quarantined"
    #: It arrived before the place at which the sink began.
    BEFORE_START = "before_start"
    #: The sink passed it with another filter, of which nothing is known any more.
    EARLIER_FILTER = "earlier_filter"
    #: Retention removed it from the log.
    REMOVED = "removed"


@dataclass(slots=True, frozen=True)
class Present:
    """What a sink is doing."""

    #: ``running``, ``down``, ``paused``, ``stopped``; ``elsewhere``: another service delivers; ``off``: nobody does.
    state: str
    #: Since when, epoch milliseconds.
    since: int | None = None
    #: Why, for people: of one that is down the last answer.
    reason: str = ""
    #: Sent and not answered yet, the event in question among it.
    is_flying: bool = False


@dataclass(slots=True, frozen=True)
class Verdict:
    """What became of an event at a sink."""

    stage: Stage
    #: Why, for people.
    reason: str
    #: Whose fault it is that it is not delivered; ``None``: nobody's, or it is not known.
    fault: Fault | None = None
    #: Failed tries of it.
    tries: int = 0
    #: Of a held one, when its next try is due, epoch milliseconds.
    due_at: int | None = None
    #: Of one that the sink has not come to: entries before it.
    lag: int | None = None


def explain(
    position: int,
    entry: Entry | None,
    selection: Selection,
    reader: ReaderState | None,
    held: Held | None,
    attempts: Sequence[Attempt],
    present: Present,
    behind: int | None = None,
) -> Verdict:
    """What became of the entry at a position; ``None``: it was removed. ``held`` is its row, and ``attempts`` those
    that had it in them, the latest first; ``behind``: position of an earlier event that has to go first."""
    if held is not None:
        return _of_row(held, present)
    last = next((one for one in attempts if one.has(position)), None)
    if last is not None and last.outcome == Outcome.DELIVERED:
        return Verdict(Stage.DELIVERED, "the receiver took it", tries=last.tries - 1)
    if last is not None and last.outcome == Outcome.SKIPPED:
        return Verdict(Stage.SKIPPED, last.reason, tries=last.tries)
    if entry is None:
        return Verdict(Stage.REMOVED, "it was removed from the log")
    if entry.event is None:
        return Verdict(Stage.QUARANTINED, f"it could not be made an event: {entry.problem}")
    passed = reader is not None and position <= reader.cursor
    if reader is not None and passed and reader.since is not None and position <= reader.since:
        if reader.epoch == 1:
            return Verdict(Stage.BEFORE_START, f"the sink began behind it, at position {reader.since}")
        reason = f"the sink passed it with another filter; the present one counts from position {reader.since} on"
        return Verdict(Stage.EARLIER_FILTER, reason)
    refusal = selection.refusal(entry)
    if refusal is not None:
        stage = Stage.REVISION if entry.revision and not selection.takes_revisions else Stage.FILTERED
        return Verdict(stage, refusal)
    if behind is not None:
        reason = f"waits for an earlier event of the same key, at position {behind}"
        return Verdict(Stage.BLOCKED, reason)
    if not passed:
        return _not_reached(position, reader, last, present)
    assert reader is not None
    if reader.since is None:
        reason = "the sink is past it; an older version did not note where it began, so it may also have begun later"
        return Verdict(Stage.EARLIER_FILTER, reason)
    reason = "the sink is past it, and it is neither held nor dead"
    if reader.skipped:
        reason += f"; {counted(reader.skipped, 'event')} of the sink were skipped, which leaves no trace of its own"
    return Verdict(Stage.DELIVERED, reason)


def _of_row(held: Held, present: Present) -> Verdict:
    if held.answer == UNANSWERED or (present.is_flying and present.state not in _STANDING):
        said = f"; the last answer was: {held.answer}" if held.tries else ""
        return Verdict(Stage.IN_FLIGHT, f"sent, and not answered yet{said}", tries=held.tries)
    fault = fault_of(held.answer)
    if held.due_at is None:
        reason = f"given up on after {_tries(held.tries)}: {held.answer}"
        return Verdict(Stage.DEAD, reason, fault, held.tries)
    if held.answer == AGAIN:
        return Verdict(Stage.HELD, AGAIN, None, held.tries, held.due_at)
    reason = f"waits for its next try after {_tries(held.tries)}: {held.answer}"
    if present.state in _STANDING:
        reason += f"; {_STANDING[present.state]}: {present.reason}"
    return Verdict(Stage.HELD, reason, fault, held.tries, held.due_at)


def _not_reached(position: int, reader: ReaderState | None, last: Attempt | None, present: Present) -> Verdict:
    if present.is_flying and present.state not in _STANDING:
        return Verdict(Stage.IN_FLIGHT, "sent, and not answered yet")
    lag = None if reader is None else position - reader.cursor - 1
    if present.state in _STANDING:
        said = f": {present.reason}" if present.reason else ""
        return Verdict(Stage.WAITING, _STANDING[present.state] + said, fault_of(present.reason), lag=lag)
    if last is not None and last.outcome != Outcome.DELIVERED:
        reason = f"sent, and to be sent again: {last.reason}"
        return Verdict(Stage.WAITING, reason, fault_of(last.reason), lag=lag)
    if present.state == "off":
        return Verdict(Stage.WAITING, "nobody delivers to the sink", Fault.OURS, lag=lag)
    if reader is None:
        return Verdict(Stage.WAITING, "the sink has not begun")
    return Verdict(Stage.WAITING, "the sink has not come to it", lag=lag)


#: Of a state in which nothing is sent: how it is told.
_STANDING = {
    "down": "the receiver is down",
    "paused": "the sink is paused",
    "stopped": "the sink is stopped",
}


def _tries(tries: int) -> str:
    return f"{tries} tries" if tries != 1 else "1 try"
