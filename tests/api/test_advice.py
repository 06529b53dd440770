from __future__ import annotations

from typing import Any

import pytest

from adapter.api.advice import sink_advice
from adapter.api.status_answer import SinkStatus

NOW = 1_700_000_000_000


def advice(**more: Any) -> list[tuple[str, str]]:
    given: dict[str, Any] = {
        "name": "soc", "kind": "webhook", "state": "running", "since": NOW - 7_200_000, "lag": 5, "behind": 3.2,
        "held": 0, "dead": 0, "nextTry": None, "answer": "delivered", **more,
    }  # fmt: skip
    return list(sink_advice(SinkStatus(**given), NOW))


def test_of_a_sink_that_sends_nothing_is_to_be_done() -> None:
    assert advice() == []


def test_of_one_that_does_not_it_is_said_since_when_why_and_how_it_goes_on() -> None:
    ((problem, what),) = advice(state="stopped", reason="the receiver answered 410", by="receiver")
    assert problem == "stopped for 2 h: the receiver answered 410"
    assert "resume" in what
    ((problem, what),) = advice(state="paused", reason="maintenance", by="zoe")
    assert problem == "paused for 2 h by zoe: maintenance"
    assert "resume" in what
    ((problem, _),) = advice(state="down", answer="cannot connect: refused")
    assert problem == "the receiver takes nothing for 2 h: cannot connect: refused"


@pytest.mark.parametrize("answer", ["the receiver answered 401", "the receiver answered 403: no"])
def test_of_one_whose_receiver_does_not_know_us_it_is_said_what_to_look_at(answer: str) -> None:
    ((problem, what),) = advice(state="down", answer=answer)
    assert problem == f"the receiver does not know us for 2 h: {answer}"
    assert "secret and `auth`" in what
    assert "idp-adapter sinks test soc" in what
    assert "secret" not in advice(state="down", answer="the receiver answered 500")[0][1]
