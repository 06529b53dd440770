"""What tables have no word for is noted where somebody asks for it, by path and value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from adapter.counts import OTHER, IngestCounts, Value, ValueCounts
from adapter.log.memory import open_memory_log
from adapter.mapping.catalogue import load_catalogue
from adapter.mapping.table import Table, load_table
from adapter.mapping.untranslated import Untranslated, noting
from adapter.resources import mappings_path
from adapter.sources.intake import Intake, Source
from tests.mapping.acme import write_table

TABLE = """
provider: acme
title: Acme
type: kind
identity: {strong: id}
fields:
  id: id
  error: code
  details.device: {path: device, table: {phone: mobile}, default: unknown}
  details.colour: {path: colour, table: {red: warm}}
reason:
  - {path: why, table: {wrong: bad_credentials}}
  - {path: result, as: upper, table: {DENY: policy_denied, FAILURE: unspecified}, default: unspecified}
types:
  in: {type: LOGIN}
  bad: {type: LOGIN_ERROR}
  unsaid: {type: LOGIN_ERROR, reason: unspecified}
"""


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return load_table(write_table(tmp_path, TABLE), load_catalogue([mappings_path()]))


def noted(table: Table, kind: str, **members: Any) -> dict[tuple[str, str], int]:
    values: Untranslated = {}
    with noting(values):
        assert table.read({"id": "1", "kind": kind, **members}, 0)[5] is None
    return values


@pytest.mark.parametrize(
    ("kind", "members", "expected"),
    [
        ("in", {"device": "phone"}, None),
        ("in", {}, None),
        ("in", {"device": "watch"}, ("device", "watch")),
        # Nothing was to take its place.
        ("in", {"colour": "blue"}, None),
        ("bad", {"why": "wrong"}, None),
        ("bad", {"why": "moon"}, ("why", "moon")),
        ("bad", {"why": "moon", "result": "deny"}, None),
        ("bad", {"why": "moon", "result": "failure"}, ("why", "moon")),
        ("bad", {"result": "sleepy"}, ("result", "SLEEPY")),
        ("bad", {"result": "failure"}, None),
        # The row means it.
        ("unsaid", {"why": "moon"}, None),
        ("in", {"why": "moon"}, None),
    ],
)
def test_a_value_is_noted_where_an_event_has_a_default_or_no_reason_for_it(
    table: Table, kind: str, members: dict[str, str], expected: tuple[str, str] | None
) -> None:
    assert noted(table, kind, **members) == ({} if expected is None else {expected: 1})


def test_an_error_that_means_no_reason_is_noted_where_the_table_looks_for_no_other(tmp_path: Path) -> None:
    text = TABLE[: TABLE.index("reason:")] + TABLE[TABLE.index("types:") :]
    table = load_table(write_table(tmp_path, text), load_catalogue([mappings_path()]))
    assert noted(table, "bad", code="moon_phase") == {("error", "moon_phase"): 1}
    assert noted(table, "bad", code="invalid_user_credentials") == {}
    assert noted(table, "bad") == {}


def test_reading_notes_nothing_for_others_and_is_bounded_for_who_asks(table: Table) -> None:
    assert table.read({"id": "1", "kind": "in", "device": "watch"}, 0)[0]["details"]["device"] == "unknown"
    values: Untranslated = {}
    with noting(values):
        for number in range(2_000):
            table.read({"id": "1", "kind": "in", "device": f"{number}" * 1_000}, 0)
    assert len(values) == 500
    assert max(len(value) for _, value in values) == 64


async def test_what_arrives_is_counted_by_source(table: Table) -> None:
    counts = IngestCounts()
    async with open_memory_log() as log:
        source = Source("shop", "acme", "shop", {"acme": table})
        for size in (0, 100_000):
            body = orjson.dumps([{"id": "1", "kind": "in", "device": device} for device in ("watch", "watch", "phone")])
            await Intake(log, counts).take(source, body + b" " * size, "application/json", 0)
    assert counts.untranslated.counted() == {Value("shop", "device", "watch"): 4}


def test_values_past_the_limit_are_counted_together() -> None:
    counts = ValueCounts(limit=1)
    for value in ("a", "b", "c", "a"):
        counts.add("shop", "p", value, 1)
    assert counts.counted() == {Value("shop", "p", "a"): 2, Value("shop", OTHER, OTHER): 2}
