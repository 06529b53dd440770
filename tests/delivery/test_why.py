"""What became of an event at a sink, and why: every case, as a table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from adapter.delivery.attempts import Outcome
from adapter.delivery.fault import Fault, fault_of
from adapter.delivery.select import Selection
from adapter.delivery.why import Present, Stage, Verdict, explain
from adapter.filter import Filter
from adapter.log.protocol import Attempt, Held, ReaderState
from adapter.model import Entry
from tests.delivery.parts import CATALOGUE, new_entry

RUNNING = Present("running")
#: The sink began at 10, and is at 100.
READER = ReaderState(100, 1, "f", matched=50, delivered=50, since=10)
LATER_EPOCH = replace(READER, epoch=3)


def entry(position: int, type: str | None = "access.LOGIN", *, revision: int = 0, **event: Any) -> Entry:
    new = new_entry(position, type, **event)
    return Entry(
        position=position,
        uid=new.uid,
        revision=revision,
        source=new.source,
        received_at=new.received_at,
        type=new.type,
        native_type=new.native_type,
        event=new.event,
        problem=new.problem,
    )


def selection(revisions: bool = False, **filter: Any) -> Selection:
    return Selection(Filter.from_settings(filter, CATALOGUE), revisions=revisions)


def attempt(outcome: Outcome, reason: str = "", *, tries: int = 1, status: int | None = None) -> Attempt:
    return Attempt(5, 50, 50, 1, tries, outcome, status, None, None, None, 3, "", reason)


REFUSED = "the receiver answered 400"
DEAD = Held(50, 10, None, REFUSED)
HELD = Held(50, 2, 9_000, REFUSED)

CASES: list[tuple[str, dict[str, Any], Verdict]] = [
    # Rows decide, whatever the filter is now.
    ("dead", {"held": DEAD}, Verdict(Stage.DEAD, f"given up on after 10 tries: {REFUSED}", Fault.RECEIVER, 10)),
    (
        "dead, and the filter would not take it now",
        {"held": DEAD, "selection": selection(type=["admin.*"])},
        Verdict(Stage.DEAD, f"given up on after 10 tries: {REFUSED}", Fault.RECEIVER, 10),
    ),
    (
        "held",
        {"held": HELD},
        Verdict(Stage.HELD, f"waits for its next try after 2 tries: {REFUSED}", Fault.RECEIVER, 2, 9_000),
    ),
    (
        "held once",
        {"held": replace(HELD, tries=1)},
        Verdict(Stage.HELD, f"waits for its next try after 1 try: {REFUSED}", Fault.RECEIVER, 1, 9_000),
    ),
    (
        "held while the sink is paused",
        {"held": HELD, "present": Present("paused", 1, "by anna")},
        Verdict(
            Stage.HELD,
            f"waits for its next try after 2 tries: {REFUSED}; the sink is paused: by anna",
            Fault.RECEIVER,
            2,
            9_000,
        ),
    ),
    (
        "held, and being tried",
        {"held": HELD, "present": Present("running", is_flying=True)},
        Verdict(Stage.IN_FLIGHT, f"sent, and not answered yet; the last answer was: {REFUSED}", tries=2),
    ),
    (
        "passed by the cursor without an answer",
        {"held": Held(50, 0, 9_000, "not answered yet")},
        Verdict(Stage.IN_FLIGHT, "sent, and not answered yet"),
    ),
    (
        "to be sent again, as somebody asked",
        {"held": Held(50, 0, 9_000, "to be sent again, as somebody asked")},
        Verdict(Stage.HELD, "to be sent again, as somebody asked", None, 0, 9_000),
    ),
    # Attempts that are remembered.
    (
        "delivered, and remembered",
        {"attempts": [attempt(Outcome.DELIVERED, tries=3), attempt(Outcome.HELD, REFUSED)]},
        Verdict(Stage.DELIVERED, "the receiver took it", tries=2),
    ),
    (
        "delivered by an earlier filter, and remembered",
        {"attempts": [attempt(Outcome.DELIVERED)], "selection": selection(type=["admin.*"])},
        Verdict(Stage.DELIVERED, "the receiver took it"),
    ),
    (
        "delivered, and removed since",
        {"attempts": [attempt(Outcome.DELIVERED)], "entry": None},
        Verdict(Stage.DELIVERED, "the receiver took it"),
    ),
    (
        "skipped",
        {"attempts": [attempt(Outcome.SKIPPED, "the receiver asked not to get it")]},
        Verdict(Stage.SKIPPED, "the receiver asked not to get it", tries=1),
    ),
    # The log.
    ("removed", {"entry": None}, Verdict(Stage.REMOVED, "it was removed from the log")),
    (
        "quarantined",
        {"entry": entry(50, None)},
        Verdict(Stage.QUARANTINED, "it could not be made an event: no row fits"),
    ),
    (
        "before the sink began",
        {"position": 10, "entry": entry(10)},
        Verdict(Stage.BEFORE_START, "the sink began behind it, at position 10"),
    ),
    (
        "passed with another filter",
        {"position": 10, "entry": entry(10), "reader": LATER_EPOCH},
        Verdict(
            Stage.EARLIER_FILTER,
            "the sink passed it with another filter; the present one counts from position 10 on",
        ),
    ),
    (
        "passed while an older version ran",
        {"reader": replace(READER, since=None)},
        Verdict(
            Stage.EARLIER_FILTER,
            "the sink is past it; an older version did not note where it began, so it may also have begun later",
        ),
    ),
    # The filter.
    (
        "another type",
        {"selection": selection(type=["admin.*"])},
        Verdict(Stage.FILTERED, "type: access.LOGIN is none of admin.*"),
    ),
    (
        "a type that is left out",
        {"selection": selection(not_type=["access.*"])},
        Verdict(Stage.FILTERED, "not_type: access.LOGIN is one of access.*"),
    ),
    (
        "the first condition that does not hold is named",
        {"selection": selection(type=["access.*"], client=["web"], source=["other", "third"])},
        Verdict(Stage.FILTERED, "client: the event has none; asked for is web"),
    ),
    (
        "a value of the event",
        {"selection": selection(source=["other", "third"])},
        Verdict(Stage.FILTERED, "source: kc is none of other, third"),
    ),
    (
        "filtered, and not reached either",
        {"position": 500, "entry": entry(500), "selection": selection(type=["admin.*"])},
        Verdict(Stage.FILTERED, "type: access.LOGIN is none of admin.*"),
    ),
    (
        "of the system, and not asked for",
        {"entry": entry(50, "system.SINK-STOPPED")},
        Verdict(Stage.FILTERED, "type: system.SINK-STOPPED is sent only where a filter names it"),
    ),
    (
        "happened too early",
        {"selection": Selection(Filter.from_settings({"from": 1_800_000_000_000}, CATALOGUE))},
        Verdict(Stage.FILTERED, "from: it happened before 2027-01-15T08:00:00.000Z"),
    ),
    (
        "happened too late",
        {"selection": selection(to=1_500_000_000_000)},
        Verdict(Stage.FILTERED, "to: it happened at or after 2017-07-14T02:40:00.000Z"),
    ),
    (
        "arrived too early",
        {"selection": selection(received_from=1_500_000_000_000)},
        Verdict(Stage.FILTERED, "received_from: it arrived before 2017-07-14T02:40:00.000Z"),
    ),
    (
        "a correction that is not asked for",
        {"entry": entry(50, revision=2)},
        Verdict(Stage.REVISION, 'a correction of an event; revisions = "send" would have it sent'),
    ),
    (
        "a correction that is asked for, and filtered",
        {"entry": entry(50, revision=2), "selection": selection(revisions=True, type=["admin.*"])},
        Verdict(Stage.FILTERED, "type: access.LOGIN is none of admin.*"),
    ),
    # The place of the sink.
    (
        "delivered, by the cursor",
        {},
        Verdict(Stage.DELIVERED, "the sink is past it, and it is neither held nor dead"),
    ),
    (
        "delivered or skipped",
        {"reader": replace(READER, skipped=2)},
        Verdict(
            Stage.DELIVERED,
            "the sink is past it, and it is neither held nor dead; 2 events of the sink were skipped, which leaves no "
            "trace of its own",
        ),
    ),
    (
        "not reached",
        {"position": 500, "entry": entry(500)},
        Verdict(Stage.WAITING, "the sink has not come to it", lag=399),
    ),
    (
        "the next one",
        {"position": 101, "entry": entry(101)},
        Verdict(Stage.WAITING, "the sink has not come to it", lag=0),
    ),
    (
        "on its way",
        {"position": 101, "entry": entry(101), "present": Present("running", is_flying=True)},
        Verdict(Stage.IN_FLIGHT, "sent, and not answered yet"),
    ),
    (
        "the receiver is down",
        {"position": 500, "entry": entry(500), "present": Present("down", 5, "cannot connect: refused")},
        Verdict(Stage.WAITING, "the receiver is down: cannot connect: refused", Fault.NETWORK, lag=399),
    ),
    (
        "paused",
        {"position": 500, "entry": entry(500), "present": Present("paused", 5)},
        Verdict(Stage.WAITING, "the sink is paused", lag=399),
    ),
    (
        "stopped",
        {"position": 500, "entry": entry(500), "present": Present("stopped", 5, "the receiver answered 410")},
        Verdict(Stage.WAITING, "the sink is stopped: the receiver answered 410", Fault.RECEIVER, lag=399),
    ),
    (
        "sent, and to be sent again",
        {"position": 101, "entry": entry(101), "attempts": [attempt(Outcome.DOWN, "the receiver answered 503")]},
        Verdict(Stage.WAITING, "sent, and to be sent again: the receiver answered 503", Fault.RECEIVER, lag=0),
    ),
    (
        "nobody delivers",
        {"position": 500, "entry": entry(500), "present": Present("off")},
        Verdict(Stage.WAITING, "nobody delivers to the sink", Fault.OURS, lag=399),
    ),
    (
        "another service delivers",
        {"position": 500, "entry": entry(500), "present": Present("elsewhere")},
        Verdict(Stage.WAITING, "the sink has not come to it", lag=399),
    ),
    (
        "behind an event of its key",
        {"behind": 40},
        Verdict(Stage.BLOCKED, "waits for an earlier event of the same key, at position 40"),
    ),
    ("not begun", {"reader": None}, Verdict(Stage.WAITING, "the sink has not begun")),
]


@pytest.mark.parametrize(("known", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_became_of_an_event(known: dict[str, Any], expected: Verdict) -> None:
    given: dict[str, Any] = {
        "position": 50,
        "entry": entry(50),
        "selection": selection(),
        "reader": READER,
        "held": None,
        "attempts": [],
        "present": RUNNING,
        **known,
    }
    assert explain(**given) == expected


def test_every_stage_stands_in_the_table() -> None:
    assert {expected.stage for _, _, expected in CASES} == set(Stage)


def test_a_try_of_several_tells_of_those_alone_that_were_in_it_for_sure() -> None:
    """Of a batch is kept between which places its entries lie; what the filter refused lies there, too."""
    sparse = Attempt(5, 40, 60, 3, 1, Outcome.DELIVERED, 200, None, None, None, 3, "", "")
    refused = explain(50, entry(50), selection(type=["admin.*"]), READER, None, [sparse], RUNNING)
    assert refused.stage is Stage.FILTERED
    assert [sparse.has(position) for position in (40, 41, 60)] == [True, False, True]
    assert sparse._replace(entries=21).has(50)


def test_a_sink_gets_nothing_that_speaks_of_itself() -> None:
    own = Selection(Filter.from_settings({"type": ["system.*"]}, CATALOGUE), sink="soc")
    told = entry(50, "system.SINK-PAUSED", details={"sink": "soc"})
    assert own.refusal(told) == "it speaks of this sink itself"
    assert own.refusal(entry(50, "system.SINK-PAUSED", details={"sink": "siem"})) is None


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ("the receiver answered 500", Fault.RECEIVER),
        ("the receiver answered 302, redirects are not followed; it named '/'", Fault.RECEIVER),
        ("the receiver answered 401: it refuses our credentials", Fault.OURS),
        ("the receiver answered 403: it refuses our credentials", Fault.OURS),
        ("no answer within 15 s", Fault.RECEIVER),
        ("no answer within 64 KiB and 200 lines", Fault.RECEIVER),
        ("the receiver closed the connection without an answer", Fault.RECEIVER),
        ("the answer is not valid HTTP", Fault.RECEIVER),
        ("its certificate is not accepted: expired; ca_file names the authorities that are", Fault.RECEIVER),
        ("cannot connect: Connection refused", Fault.NETWORK),
        ("cannot connect to the proxy: Connection refused", Fault.NETWORK),
        ("the connection failed: Connection reset by peer", Fault.NETWORK),
        ("the proxy answered 502", Fault.NETWORK),
        ("address not allowed: 127.0.0.1; if it is meant, list its network in [outgoing] allow", Fault.OURS),
        ("blocked: 127.0.0.1", Fault.OURS),
        ("this program failed to send it; its log says how", Fault.OURS),
        ("/var/lib/events: No space left on device", Fault.OURS),
        ("something else", None),
    ],
)
def test_whose_fault_it_was(said: str, fault: Fault | None) -> None:
    assert fault_of(said) is fault
