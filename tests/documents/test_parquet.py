"""Parquet, as those read it who did not write it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapter.documents import parquet
from adapter.documents.process import Output
from adapter.event import Event
from tests.formats.conformance import BARE, EVENTS, HOSTILE, make_event


def written(*stretches: list[dict[str, Any]], **head: str) -> Any:
    file = io.BytesIO()
    lines: Iterator[bytes] = (b"\n".join(map(orjson.dumps, one)) for one in stretches)
    parquet.write(Output(file), head, lines)
    file.seek(0)
    return pq.ParquetFile(file)


def test_every_field_of_an_event_is_a_column() -> None:
    """``authDetails`` and ``source`` are flattened, as the columns of CSV are."""
    fields = {name for name in Event.model_fields if name not in ("authDetails", "source")}
    schema = Event.model_json_schema()["$defs"]
    fields |= {f"authDetails_{name}" for name in schema["AuthDetails"]["properties"]}
    fields |= {f"source_{name}" for name in schema["Origin"]["properties"]}
    assert {"_".join(path) for path, _, _ in parquet.COLUMNS} == fields


def test_times_are_timestamps_in_utc_and_details_a_map() -> None:
    [row] = written([make_event()]).read().to_pylist()
    assert row["time"] == datetime(2023, 11, 14, 22, 13, 20, 123_000, UTC)
    assert row["source_receivedAt"].tzinfo is not None
    assert dict(row["details"]) == {"anna": "anna", "other": "anna"}
    assert (row["authDetails_username"], row["source_revision"]) == ("anna", 3)


def test_what_is_absent_is_null_and_details_are_empty() -> None:
    [row] = written([BARE]).read().to_pylist()
    assert (row["error"], row["authDetails_userId"], row["source_normalizedAt"], row["details"]) == (
        None,
        None,
        None,
        [],
    )


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_text_is_what_it_was(text: str) -> None:
    [row] = written([make_event(text)]).read().to_pylist()
    assert row["authDetails_username"] == (text or "x")
    assert dict(row["details"])["other"] == text


@given(st.lists(EVENTS, max_size=5))
@settings(deadline=None)
def test_any_event_is_a_row(events: list[dict[str, Any]]) -> None:
    rows = written(events).read_row_groups(range(1 if events else 0)) if events else None
    assert (0 if rows is None else rows.num_rows) == len(events)


def test_none_are_a_file_with_its_columns() -> None:
    file = written()
    assert (file.metadata.num_rows, len(file.schema_arrow.names)) == (0, len(parquet.COLUMNS))


def test_the_file_says_which_schema_it_has_and_what_it_is() -> None:
    metadata = written([BARE], **{"idp-adapter.filter": "{}"}).schema_arrow.metadata
    assert (metadata[b"idp-adapter.schema"], metadata[b"idp-adapter.filter"]) == (b"1", b"{}")


def test_it_is_written_by_groups_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "ROWS", 10)
    file = written(*([make_event(str(number)) for number in range(at, at + 5)] for at in range(0, 95, 5)))
    assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [10] * 9 + [5]
    assert [row["id"] for row in file.read(["id"]).to_pylist()] == [str(number) for number in range(95)]


def test_large_events_make_smaller_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "SIZE", 1_000_000)
    file = written(*([make_event("x" * 70_000)] for _ in range(8)))
    assert file.num_row_groups >= 4
