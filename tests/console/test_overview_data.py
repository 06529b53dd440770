"""What the page Overview makes of a range and of the API's answers."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

from adapter.console.overview import LAW, RANGES, Span, providers, read_span, sink_rows

NOW = 1_700_000_000_000
UTC = ZoneInfo("UTC")


def test_a_range_is_cut_into_as_many_bars_as_can_be_seen() -> None:
    hour, day = 3_600_000, 86_400_000
    assert read_span({}, UTC, NOW).name == "24h"
    assert read_span({"range": "nonsense"}, UTC, NOW).name == "24h"
    for name in RANGES:
        span = read_span({"range": name}, UTC, NOW)
        assert span.begin <= NOW < span.end
    assert read_span({"from": "2h", "to": "1h"}, UTC, NOW) == Span(None, NOW - 2 * hour, NOW - hour, "minute")
    assert read_span({"from": "60d"}, UTC, NOW).bucket == "day"
    assert read_span({"from": "2023-11-01T00:00", "to": "2023-11-02T00:00"}, ZoneInfo("Europe/Berlin"), NOW) == Span(
        None, 1_698_793_200_000, 1_698_793_200_000 + day, "hour"
    )


def test_providers_are_in_the_order_in_which_they_were_heard_last() -> None:
    sources: list[dict[str, Any]] = [
        {"name": "a", "provider": "okta", "lastAt": 1},
        {"name": "b", "provider": "keycloak", "lastAt": 5},
        {"name": "c", "provider": "okta", "lastAt": 9},
        {"name": "d", "provider": "auth0", "lastAt": None},
    ]
    heard, never = providers(sources)
    assert [(row.name, row.last_at, [one["name"] for one in row.sources]) for row in heard] == [
        ("okta", 9, ["a", "c"]),
        ("keycloak", 5, ["b"]),
    ]
    assert never == ["d"]


def test_sinks_that_need_somebody_come_first_and_one_whose_counts_do_not_add_up_says_so() -> None:
    def told(name: str, state: str) -> dict[str, Any]:
        return {"name": name, "kind": "webhook", "state": state, "lag": 0, "behind": 0.0, "dead": 0}

    def counts(name: str, *values: int | None) -> dict[str, Any]:
        return {"name": name, "counts": dict(zip(LAW, values, strict=True))}

    rows = sink_rows(
        [told("good", "running"), told("down", "down"), told("there", "elsewhere"), told("new", "running")],
        [counts("good", 10, 5, 2, 1, 1, 1), counts("down", 10, 5, 2, 1, 1, 0), counts("there", 10, 5, None, 1, 1, 1)],
    )
    assert [(row.name, row.adds_up) for row in rows] == [
        ("down", False),
        ("there", None),
        ("good", True),
        ("new", None),
    ]
