"""Tables on terminals of any width: what one looks for stays, whatever stands beside it."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from adapter.commands.events import _groups, _table

PROBLEM = "no shape of the table fits; there are " + ", ".join(f"shape_{number}" for number in range(40))
UID = "283a3e90-f10f-5c62-8b73-9294818d784f"


def printed(table: Table, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(table)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert all(len(line) <= width for line in lines)
    return [line.rstrip() for line in lines]


def group(native: str | None, problem: str = PROBLEM) -> dict[str, Any]:
    return {
        "count": 1234567,
        "source": "keycloak",
        "nativeType": native,
        "problem": problem,
        "firstAt": 0,
        "lastAt": 1000,
        "samples": [{"uid": UID, "raw": "x" * 300}],
    }


def event(**more: Any) -> dict[str, Any]:
    return {
        "time": 1_777_881_820_000,
        "type": "access.LOGIN_ERROR",
        "outcome": "failure",
        "reason": "bad_credentials",
        "authDetails": {"username": "anna.longname@example.org", "clientId": "web-shop", "ipAddress": "198.51.100.23"},
        "source": {"name": "keycloak"},
        **more,
    }  # fmt: skip


@pytest.mark.parametrize("width", [80, 100, 119, 120, 200, 1000])
@pytest.mark.parametrize("raw", [False, True])
def test_a_quarantined_group_shows_its_count_problem_and_uid_however_long_its_type(width: int, raw: bool) -> None:
    lines = printed(_groups([group("Z" * 100_000), group(None, "no row for 'x'")], raw, width), width)
    assert "1234567" in lines[1]
    assert "no" in lines[1]
    assert UID in lines[1]
    assert not [line for line in lines if "Z" * 65 in line]
    # Two groups, each of them a few lines at most.
    assert len(lines) <= 1 + 2 * 5


def test_moments_make_room_for_what_a_group_is_about() -> None:
    lines = printed(
        _groups([group("passkey_added", "no row for 'passkey_added': add one to the table")], False, 120), 120
    )
    assert "keycloak  passkey_added  no row for 'passkey_added'" in lines[1]


def test_where_there_is_room_a_problem_is_told_up_to_300_characters() -> None:
    [_, line] = printed(_groups([group("x")], False, 1000), 1000)
    assert PROBLEM[:299] in line
    assert "1970-01-01 00:00:01" in line


def test_a_narrow_list_shows_address_and_reason_whole() -> None:
    for width in (80, 90, 100, 120):
        lines = printed(_table([event(), event(reason=None, outcome="success")], width), width)
        assert "bad_credentials" in lines[1]
        assert "198.51.100.23" in lines[1]
        assert "access.LOGIN_ERROR" in lines[1]
        assert "success" in lines[2]


@pytest.fixture
def in_amsterdam(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "Europe/Amsterdam")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_who_did_it_is_shown_in_any_zone_on_any_terminal(width: int, in_amsterdam: None) -> None:
    changed = event(type="admin.USER-CREATE", reason=None, outcome="success", details={"username": "zoe"})
    for events in ([event()], [event(), changed]):
        heading, *lines = printed(_table(events, width, None), width)
        assert "user" in heading.split()
        assert all("2026-05-04 10:03:40+02:00" in line and "anna" in line for line in lines)
    if width >= 100:
        assert {"target", "address"} <= set(heading.split())
        assert "zoe" in lines[1]


def test_a_wide_list_cuts_nothing() -> None:
    address = "2001:db8:1234:5678:9abc:def0:1234:5678"
    [_, line] = printed(_table([event(authDetails={"username": "a" * 60, "ipAddress": address})], 200), 200)
    assert "a" * 60 in line
    assert address in line
    assert "failure: bad_credentials" in line
    assert line.endswith("keycloak")
