"""What a real Keycloak sent, three ways and as log lines (tests/captures/README.md), read by the built-in table."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from adapter.mapping.compile import Result
from tests.mapping.built_in import table

FOLDER = Path(__file__).parent.parent / "captures" / "keycloak-26.6.4"
WAYS = ["rest", "http", "webhook"]


def results(body: bytes, media: str = "application/json") -> list[Result]:
    keycloak = table("keycloak")
    return [keycloak.result(record, 0) for record in keycloak.split(body, media)]


def bodies(way: str) -> list[bytes]:
    if way == "rest":
        return [(FOLDER / name).read_bytes() for name in ("events.json", "admin-events.json")]
    lines = (FOLDER / f"push-{way}.ndjson").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["body"].encode() for line in lines]


@cache
def by_id(way: str) -> dict[str, Result]:
    """Keycloak's id: what came of the event."""
    read = [result for body in bodies(way) for result in results(body)]
    return {result.event["id"]: result for result in read if result.event is not None}


@cache
def lines() -> list[Result]:
    return results((FOLDER / "jboss-logging.log").read_bytes(), "text/plain")


def core(result: Result) -> dict[str, Any]:
    """What every way must tell alike."""
    event = result.event
    assert event is not None
    acted = {name: event["authDetails"].get(name) for name in ("userId", "clientId", "ipAddress")}
    return {name: event.get(name) for name in ("type", "outcome", "error", "reason", "time")} | acted


@pytest.mark.parametrize(("way", "number"), [("rest", 96), ("http", 96), ("webhook", 95)])
def test_every_event_of_a_way_is_read(way: str, number: int) -> None:
    assert len(by_id(way)) == number
    assert [result.problem for body in bodies(way) for result in results(body) if result.problem] == []


@pytest.mark.parametrize("way", ["http", "webhook"])
def test_each_way_tells_the_same_of_an_event(way: str) -> None:
    rest = by_id("rest")
    for id, result in by_id(way).items():
        assert core(result) == core(rest[id])


@pytest.mark.parametrize("way", ["http", "webhook"])
def test_each_way_knows_an_event_by_the_same_keys(way: str) -> None:
    rest = by_id("rest")
    for id, result in by_id(way).items():
        assert (result.strong, result.weak) == (rest[id].strong, rest[id].weak)


def test_the_weak_keys_tell_the_events_apart() -> None:
    weak = [tuple(result.weak or ()) for result in by_id("rest").values()]
    assert len(set(weak)) == len(weak)


def test_only_the_webhook_knows_realm_names_and_the_names_of_administrators() -> None:
    def known(way: str, field: str) -> set[str]:
        events = [result.event for result in by_id(way).values() if result.event is not None]
        return {event["authDetails"][field] for event in events if field in event["authDetails"]}

    assert {way: known(way, "realmId") for way in WAYS} == {
        "rest": set(),
        "http": set(),
        "webhook": {"acme", "master"},
    }
    assert known("webhook", "username") - known("rest", "username") == {"service-account-boot"}


def test_every_line_of_the_log_is_read() -> None:
    assert len(lines()) == 119
    assert [result for result in lines() if result.event is None] == []


def test_the_log_tells_the_same_of_the_events_of_the_realm() -> None:
    def told(result: Result) -> tuple[Any, ...]:
        event = result.event
        assert event is not None
        acted = event["authDetails"]
        return (event["type"], event.get("error"), acted.get("userId"), acted.get("clientId"), acted.get("ipAddress"))

    logged = [told(result) for result in lines()]
    for result in by_id("rest").values():
        assert told(result) in logged
        logged.remove(told(result))
    assert len(logged) == 23  # the recorder's own tokens, in the realm master


def test_a_line_is_known_again_and_no_two_are_taken_for_one() -> None:
    again = results((FOLDER / "jboss-logging.log").read_bytes(), "text/plain")
    assert [result.weak for result in again] == [result.weak for result in lines()]
    assert len({str(result.weak) for result in lines()}) == 119
