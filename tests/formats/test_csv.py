import csv
import io
from typing import Any

import pytest

from adapter.formats.settings import make_format, read_format_settings
from tests.formats.conformance import make_entry

EVENT: dict[str, Any] = {
    "uid": "0b5f3a52-2a0e-5c0a-9a57-0f0f6a1c9e11",
    "time": 1700000000123,
    "type": "access.LOGIN",
    "authDetails": {"userId": "u1", "username": "anna"},
    "details": {"auth_method": "openid-connect"},
    "outcome": "success",
    "source": {"name": "kc", "provider": "keycloak", "nativeType": "LOGIN", "receivedAt": 1, "mapping": "keycloak@1"},
}


FORMAT = make_format(read_format_settings("csv"))


def document(*events: dict[str, Any]) -> str:
    rows = FORMAT.write([make_entry(event) for event in events])
    return (FORMAT.header + b"".join(row + FORMAT.record_end for row in rows)).decode()


def table(*events: dict[str, Any]) -> list[dict[str, str]]:
    text = document(*events)
    return list(csv.DictReader(io.StringIO(text, newline="")))


def named(username: str) -> dict[str, Any]:
    return {**EVENT, "authDetails": {"username": username}}


def test_fields_are_columns_and_objects_are_flattened() -> None:
    [row] = table(EVENT)
    assert row["authDetails.username"] == "anna"
    assert row["source.nativeType"] == "LOGIN"
    assert row["details"] == '{"auth_method":"openid-connect"}'
    assert row["time"] == "1700000000123"
    assert row["timestamp"] == "2023-11-14T22:13:20.123Z"


def test_a_correction_is_told_from_the_event_that_it_corrects() -> None:
    [row] = table({**EVENT, "source": {**EVENT["source"], "normalizedAt": 5, "revision": 2}})
    assert (row["source.normalizedAt"], row["source.revision"]) == ("5", "2")


def test_what_is_absent_is_an_empty_cell() -> None:
    [row] = table(EVENT)
    assert row["error"] == ""
    assert row["authDetails.sessionId"] == ""


@pytest.mark.parametrize(
    "name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "＝1", "\u00a0=1", "=cmd|' /C calc'!A0"]
)
def test_no_cell_begins_like_a_formula(name: str) -> None:
    [row] = table(named(name))
    assert row["authDetails.username"].startswith("'")


def test_a_cell_cannot_end_its_row_or_break_out_of_its_quotes() -> None:
    name = 'a"\r\n"=1+1",b;=2'
    assert document(named(name)).count("\n") == 2
    [row] = table(named(name))
    # Nor to who takes a semicolon for the delimiter.
    assert row["authDetails.username"] == 'a"\\r\\n"=1+1",b;\'=2'


@pytest.mark.parametrize(
    ("character", "written"), [("\u202e", "\\u202e"), ("\u2066", "\\u2066"), ("\x1b", "\\u001b"), ("\x00", "\\u0000")]
)
def test_control_and_direction_characters_are_written_out(character: str, written: str) -> None:
    [row] = table(named(f"anna{character}gpj.exe"))
    assert row["authDetails.username"] == f"anna{written}gpj.exe"


def test_letters_of_every_script_stay_as_they_are() -> None:
    [row] = table(named("Åse 山田 عمر"))
    assert row["authDetails.username"] == "Åse 山田 عمر"


def test_a_time_beyond_the_calendar_is_left_out() -> None:
    [row] = table({**EVENT, "time": 10**18})
    assert (row["time"], row["timestamp"]) == (str(10**18), "")
