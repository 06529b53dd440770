"""The filters of page Events, as its address, its form and its links say them."""

from __future__ import annotations

import shlex
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo

import pytest

from adapter.commands.filters import Filters
from adapter.console.events_query import Query, shown_time
from adapter.console.events_shown import Links

UTC, BERLIN = ZoneInfo("UTC"), ZoneInfo("Europe/Berlin")


def read(text: str, zone: ZoneInfo = UTC) -> Query:
    query, is_form = Query.read(parse_qsl(text, keep_blank_values=True), zone)
    assert not is_form
    return query


def sent(text: str, zone: ZoneInfo = UTC) -> str:
    """The address to which a form leads."""
    query, is_form = Query.read(parse_qsl(text, keep_blank_values=True), zone)
    assert is_form
    return query.text


def test_an_address_is_what_the_api_is_asked() -> None:
    query = read("type=LOGIN&type=LOGOUT&not_user=a%26b&from=7d&cursor=abc")
    assert query.params == {"type": ["LOGIN", "LOGOUT"], "not_user": ["a&b"], "from": ["7d"]}
    assert query.cursor == "abc"
    assert query.text == "type=LOGIN&type=LOGOUT&not_user=a%26b&from=7d"


@pytest.mark.parametrize(
    "form, address",
    [
        ("q=&from=&to=&field=user&op=is&value=anna", "user=anna"),
        ("type=LOGIN&q=+&field=user&op=not&value=anna", "type=LOGIN&not_user=anna"),
        ("field=user&op=is&value=", ""),
        ("field=user&op=is&value=+anna+", "user=anna"),
        ("not_user=anna&field=user&op=is&value=anna", "user=anna"),
        ("user=anna&field=user&op=is&value=anna", "user=anna"),
        ("user=anna&user=anna&user=ben", "user=anna&user=ben"),
        ("q=a+b&from=2h&to=&field=type&op=is&value=", "q=a+b&from=2h"),
    ],
)
def test_a_form_leads_to_an_address_in_the_words_of_the_api(form: str, address: str) -> None:
    assert sent(form) == address


@pytest.mark.parametrize(
    "written, zone, meant",
    [
        ("2026-05-01 08:30", BERLIN, "2026-05-01T06:30:00.000Z"),
        ("2026-05-01T08:30:15", BERLIN, "2026-05-01T06:30:15.000Z"),
        ("2026-05-01", BERLIN, "2026-04-30T22:00:00.000Z"),
        ("2026-01-01 08:30:15.250", UTC, "2026-01-01T08:30:15.250Z"),
    ],
)
def test_times_without_a_zone_are_those_of_the_reader(written: str, zone: ZoneInfo, meant: str) -> None:
    query, _ = Query.read([("from", written)], zone)
    assert query.first("from") == meant
    assert shown_time(meant, zone).startswith(written.replace("T", " "))


@pytest.mark.parametrize(
    "text", ["7d", "2026-05-01T08:30:00Z", "today", "soon", "2026-13-01 00:00", "0001-01-01", "99"]
)
def test_other_times_are_left_to_the_api(text: str) -> None:
    zone = ZoneInfo("Pacific/Auckland") if text.startswith("0001") else BERLIN
    query, _ = Query.read([("to", text)], zone)
    assert query.first("to") == text or text.startswith("0001")


def test_a_time_that_the_clock_shows_twice_keeps_its_zone() -> None:
    # On 25 October 2026 clocks in Berlin show 02:30 at 00:30 and at 01:30 UTC.
    for text in ("2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"):
        back, _ = Query.read([("from", shown_time(text, BERLIN))], BERLIN)
        assert back.first("from").replace(".000", "") == text


def test_including_takes_the_place_of_excluding() -> None:
    query = read("user=anna&not_user=ben")
    assert query.including("user", "ben").text == "user=anna&user=ben"
    assert query.including("not_user", "anna").text == "not_user=ben&not_user=anna"
    assert query.including("user", "anna").text == query.text
    assert query.without(("user", "anna")).text == "not_user=ben"


@pytest.mark.parametrize("prefix", ["", "/adapter"])
def test_links_hold_any_value(prefix: str) -> None:
    query = read("q=a%26b")
    links = Links(query, prefix)
    for value in ("<img src=x onerror=alert(1)>", "a&b=c#d", "\u202e\u0000", "ü €", "%20", "'\"", "a\nb"):
        address = urlsplit(links.including("user", value))
        assert address.path == f"{prefix}/ui/events"
        assert parse_qsl(address.query, keep_blank_values=True) == [("q", "a&b"), ("user", value)]
        shown = str(links.value("user", value))
        assert "<img" not in shown and "\u202e" not in shown and "\0" not in shown and "\n" not in shown
    assert links.value("user", "x" * 2_000).count("x") < 100  # no filter takes it


def test_pages_go_on_in_the_stretch_of_the_first_one() -> None:
    fixed = read("from=1h&received_to=now&user=anna&to=2026-05-01T00:00:00Z").fixed(1_800_000_000_000)
    assert fixed.text == "from=1799996400000&received_to=1800000000000&user=anna&to=1777593600000"


def test_the_command_line_asks_the_same() -> None:
    query = read("type=LOGIN&not_user=a+b&q=x&q=-y&ip=10.0.0.0%2F8&from=7d&realm=%24%28id%29")
    words = shlex.split(query.command("idp-adapter events list"))
    assert words[:3] == ["idp-adapter", "events", "list"]
    options = {one.partition("=")[0]: one.partition("=")[2] for one in words[3:] if one.startswith("--") and "=" in one}
    where = [words[at + 1] for at, one in enumerate(words) if one == "--where"]
    given = Filters(
        types=[options["--type"]], addresses=[options["--ip"]], since=options["--from"], words=options["--words"],
        where=where,
    ).given()  # fmt: skip
    assert {name for name, _ in given} == set(query.params)
    assert [value for name, value in given if name == "q"] == ["x", "-y"]
    assert ("realm", "$(id)") in given and ("not_user", "a b") in given


def test_each_condition_can_be_left_out() -> None:
    parts = read("user=anna&user=ben&outcome=failure&from=7d&to=1d&not_type=LOGOUT").parts()
    assert [(text, query.text) for text, query in parts] == [
        ("from 7d and to 1d", "user=anna&user=ben&outcome=failure&not_type=LOGOUT"),
        ("user is anna or ben", "outcome=failure&from=7d&to=1d&not_type=LOGOUT"),
        ("outcome is failure", "user=anna&user=ben&from=7d&to=1d&not_type=LOGOUT"),
        ("type is not LOGOUT", "user=anna&user=ben&outcome=failure&from=7d&to=1d"),
    ]
