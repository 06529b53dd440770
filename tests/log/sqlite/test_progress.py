"""What a settlement writes into the embedded log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from sqlite3 import Connection

import pytest

from adapter.errors import StoreError
from adapter.log.protocol import Attempt, Settlement
from adapter.log.sqlite.progress import begin, read_progress, settle
from adapter.log.sqlite.schema import connect_writing

PROBE = Attempt(1000, 1, 1, 1, 0, "down", 503, None, None, None, 5, "", "the receiver answered 503")


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Connection]:
    with closing(connect_writing(tmp_path / "log.sqlite", dictionary=b"", busy_timeout=5)) as connection:
        begin(connection, "sink:soc", 0, "", 0)
        yield connection


def written_by(log: Connection, settlement: Settlement) -> int:
    """How many rows it writes."""
    before = log.total_changes
    settle(log, settlement)
    return log.total_changes - before


def test_a_probe_of_a_receiver_that_is_down_is_one_row(log: Connection) -> None:
    assert written_by(log, Settlement("sink:soc", 1, 0, attempts=[PROBE])) == 1


def test_whatever_moves_is_stored_with_the_sinks_own_row(log: Connection) -> None:
    for number, settlement in enumerate(
        [
            Settlement("sink:soc", 1, 5),
            Settlement("sink:soc", 1, 5, matched=2),
            Settlement("sink:soc", 1, 5, matched=2, delivered=1),
            Settlement("sink:soc", 1, 5, matched=2, delivered=1, skipped=1),
            Settlement("sink:soc", 1, 5, matched=2, delivered=1, skipped=1, behind=3),
            Settlement("sink:soc", 1, 5, matched=2, delivered=1, skipped=1, carried=4),
        ]
    ):
        assert written_by(log, settlement) == 1, number
        assert written_by(log, settlement) == 0, number
    progress = read_progress(log, "sink:soc")
    assert progress is not None
    assert (progress.cursor, progress.matched, progress.delivered, progress.skipped) == (5, 2, 1, 1)
    assert (progress.behind, progress.carried) == (0, 4)


def test_of_an_earlier_epoch_only_the_cursor_counts(log: Connection) -> None:
    begin(log, "sink:soc", 0, "type=x", 0)
    assert written_by(log, Settlement("sink:soc", 1, 0, matched=9, behind=9)) == 0
    assert written_by(log, Settlement("sink:soc", 1, 7, matched=9, behind=9)) == 1
    progress = read_progress(log, "sink:soc")
    assert progress is not None
    assert (progress.epoch, progress.cursor, progress.matched, progress.behind) == (2, 7, 0, 0)


def test_a_sink_that_is_not_known_is_told(log: Connection) -> None:
    with pytest.raises(StoreError, match="begin it first"):
        settle(log, Settlement("sink:other", 1, 0, attempts=[PROBE]))
