"""Pages of any bytes are read without an error, and nothing is taken for a row that is none."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapter.log.sqlite.log import open_sqlite_log
from adapter.log.sqlite.pages import Pages
from tests.log.entries import new_entry, quarantined_entry


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A log of some pages."""
    path = tmp_path_factory.mktemp("log") / "log.sqlite"

    async def fill() -> None:
        async with open_sqlite_log(path, dictionary=bytes(5000)) as log:
            await log.append([new_entry(f"{number}", f"{number}") for number in range(200)])
            await log.append([quarantined_entry(raw=bytes(9000))])
            await log.begin("sink", 0, "f")

    asyncio.run(fill())
    return path.read_bytes()


def rows_of(path: Path, content: bytes) -> Counter[str]:
    """How many rows of each table are found."""
    path.write_bytes(content)
    pages = Pages(path)
    try:
        return Counter(table for table, number, _ in pages.tables() for _ in pages.rows(number, table))
    finally:
        pages.close()


def test_every_row_of_a_whole_log_is_found(content: bytes, tmp_path: Path) -> None:
    found = rows_of(tmp_path / "log.sqlite", content)
    tables = {"entry": 201, "event": 8, "raw": 8, "identity": 401}
    assert found == {**tables, "dictionary": 1, "source": 1, "reader": 1, "extent": 1}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_changed_bytes_take_rows_away_and_add_none(content: bytes, tmp_path: Path, data: st.DataObject) -> None:
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(1, 30))):
        place = data.draw(st.integers(0, len(changed) - 1))
        some = data.draw(st.binary(min_size=1, max_size=200))
        changed[place : place + len(some)] = some
    changed = changed[: data.draw(st.integers(0, len(changed)))] if data.draw(st.booleans()) else changed
    found = rows_of(tmp_path / "log.sqlite", bytes(changed))
    assert found["entry"] <= 201
    assert found.total() <= 640
