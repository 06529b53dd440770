"""Events as Parquet: one row each, written by row groups, so that a file of any size takes the same memory.

Columns are plain ones, called by the path of their field with an underscore for the dot (``authDetails_userId``): no
tool has to unpack a structure or quote a name. ``details``, whose names are open, are a map of text to text. Times are
timestamps of milliseconds in UTC. `SCHEMA_VERSION` stands in the file; within one version columns only come, at the
end.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from adapter.documents.process import Output

SCHEMA_VERSION = 1
#: Rows, and bytes as they lie in memory, of a row group at most, the rows of one stretch aside.
ROWS, SIZE = 131_072, 64 * 1024 * 1024

_TIME = pa.timestamp("ms", tz="UTC")
_MAP = pa.map_(pa.string(), pa.string())

#: Each column: where its value is in the event, its type, and whether every row has one.
COLUMNS: tuple[tuple[tuple[str, ...], Any, bool], ...] = (
    (("uid",), pa.string(), True),
    (("time",), _TIME, True),
    (("type",), pa.string(), True),
    (("outcome",), pa.string(), True),
    (("reason",), pa.string(), False),
    (("error",), pa.string(), False),
    (("realmId",), pa.string(), False),
    (("realmName",), pa.string(), False),
    (("authDetails", "userId"), pa.string(), False),
    (("authDetails", "username"), pa.string(), False),
    (("authDetails", "clientId"), pa.string(), False),
    (("authDetails", "ipAddress"), pa.string(), False),
    (("authDetails", "sessionId"), pa.string(), False),
    (("authDetails", "realmId"), pa.string(), False),
    (("resourceType",), pa.string(), False),
    (("operationType",), pa.string(), False),
    (("resourcePath",), pa.string(), False),
    (("representation",), pa.string(), False),
    (("details",), _MAP, True),
    (("source", "name"), pa.string(), True),
    (("source", "provider"), pa.string(), True),
    (("source", "nativeType"), pa.string(), True),
    (("source", "also"), pa.string(), False),
    (("source", "receivedAt"), _TIME, True),
    (("source", "mapping"), pa.string(), True),
    (("source", "normalizedAt"), _TIME, False),
    (("source", "revision"), pa.int64(), False),
    (("id",), pa.string(), False),
    (("lookedUp",), _MAP, False),
)


def schema(head: dict[str, str]) -> Any:
    """The schema of a file; ``head``: what stands in its metadata, besides."""
    metadata = {"idp-adapter.schema": str(SCHEMA_VERSION), **head}
    fields = [pa.field("_".join(path), type, nullable=not always) for path, type, always in COLUMNS]
    return pa.schema(fields, metadata=metadata)


def write(output: Output, head: dict[str, str], stretches: Iterator[bytes]) -> None:
    """Write events, which come as JSON lines."""
    pa.set_cpu_count(1)
    of_file = schema(head)
    file = pq.ParquetWriter(pa.PythonFile(output, mode="w"), of_file, compression="zstd", write_statistics=True)
    held: list[Any] = []
    rows = size = 0

    def write_group() -> None:
        nonlocal rows, size
        if held:
            file.write_table(pa.Table.from_batches(held, of_file), row_group_size=rows)
        held.clear()
        rows = size = 0

    try:
        for stretch in stretches:
            batch = _batch(stretch, of_file)
            held.append(batch)
            rows, size = rows + batch.num_rows, size + batch.nbytes
            if rows >= ROWS or size >= SIZE:
                write_group()
        write_group()
    except BaseException:
        # Closed, the writer ends the file as a whole one, also where it is let go of.
        output.break_off()
        raise
    file.close()


def _batch(lines: bytes, of_file: Any) -> Any:
    events = [orjson.loads(line) for line in lines.splitlines()]
    return pa.record_batch([_column(events, path, type) for path, type, _ in COLUMNS], schema=of_file)


def _column(events: list[dict[str, Any]], path: tuple[str, ...], type: Any) -> Any:
    if len(path) == 1:
        values = [event.get(path[0]) for event in events]
    else:
        values = [event.get(path[0], {}).get(path[1]) for event in events]
    if type is _MAP:
        missing: list[Any] | None = [] if path == ("details",) else None
        values = [missing if value is None else list(value.items()) for value in values]
    return pa.array(values, type)
