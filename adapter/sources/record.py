"""What a table makes of one record, whoever asks: receiving, or a later reading of what is stored."""

from __future__ import annotations

import sys
from typing import Any

import structlog

from adapter.log.identity import GROUPS, group_key
from adapter.mapping.body import NotReadable, Record, UnknownMedia
from adapter.mapping.table import Table
from adapter.model import identity_digest, identity_key, is_former_key, numbered_key

#: Several events of one record are told apart by their keys; so many equal ones are tried.
_COPIES = 64

_log = structlog.get_logger("adapter.record")


def read_record(table: Table, record: Record, received_at: int) -> tuple[Any, ...]:
    """What a record means, as the members of `adapter.mapping.compile.Result`; neither event nor problem: the table
    ignores it. ``received_at``: arrival, epoch milliseconds. Never raises, whatever a table does."""
    if record.ignored:
        return _PASSED_OVER
    if record.value is None:
        return (None, None, None, None, 0, record.problem)
    try:
        return table.read(record.value, received_at)
    except Exception as error:
        return _failed(table, error)


def read_raw(table: Table, raw: bytes, media: str, received_at: int) -> list[tuple[Any, ...]]:
    """What a table makes of the bytes that are stored for one record: its readings as `read_record` gives them. Mostly
    one; never none, and never raises: the bytes were taken apart by another table, or an older version of this one."""
    try:
        records = table.split(raw, media, sys.maxsize)
    except (NotReadable, UnknownMedia) as error:
        return [(None, None, None, None, 0, str(error))]
    except Exception as error:
        return [_failed(table, error)]
    if not records:
        return [(None, None, None, None, 0, "it holds no event")]
    return [read_record(table, record, received_at) for record in records]


def is_known_by(uid: bytes, key: bytes, result: tuple[Any, ...]) -> bool:
    """Whether a reading is the one of several from a record that became the event with this uid. ``key``: the
    source's."""
    _, _, strong, weak, seconds, _ = result

    def made(values: list[str | None]) -> bytes:
        digest = identity_digest(key, values)
        return digest if is_former_key(uid) else identity_key(seconds, digest)

    if strong is not None and made(strong) == uid:
        return True
    if weak is None:
        return False
    first = made(weak)
    groups = [group_key(first, number) for number in range(GROUPS)]
    return any(numbered_key(group, number) == uid for number in range(_COPIES) for group in groups)


def _failed(table: Table, error: Exception) -> tuple[Any, ...]:
    _log.error("table_failed", provider=table.provider, mapping=table.name, exc_info=error)
    problem = f"the table failed on it ({type(error).__name__}); this is a fault of the adapter"
    return (None, None, None, None, 0, problem)


_PASSED_OVER = (None, None, None, None, 0, None)
