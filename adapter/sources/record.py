"""What a table makes of one record, whoever asks: receiving, or a later reading of what is stored."""

from __future__ import annotations

from typing import Any

import structlog

from adapter.mapping.body import Record
from adapter.mapping.table import Table

_log = structlog.get_logger("adapter.record")


def read_record(table: Table, record: Record, received_at: int) -> tuple[Any, ...]:
    """What a record means, as the members of `adapter.mapping.compile.Result`; neither event nor problem: the table
    passes over it. ``received_at``: arrival, epoch milliseconds. Never raises, whatever a table does."""
    if record.ignored:
        return _PASSED_OVER
    if record.value is None:
        return (None, None, None, None, record.problem)
    try:
        return table.read(record.value, received_at)
    except Exception as error:
        _log.exception("table failed", provider=table.provider, mapping=table.name)
        problem = f"the table failed on it ({type(error).__name__}); this is a fault of the adapter"
        return (None, None, None, None, problem)


_PASSED_OVER = (None, None, None, None, None)
