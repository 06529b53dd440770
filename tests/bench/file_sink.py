"""The file sink catching up on a million entries.

Floor: reading the same rows from the same database and writing the bytes, one sync at the end.
"""

from __future__ import annotations

import os
from pathlib import Path

import orjson

from adapter.log.sqlite.log import open_reader
from tests.bench.delivering import deliver, fill
from tests.bench.processes import Run, Stopwatch, run_apart
from tests.bench.result import CannotMeasure, Result, Target

ENTRIES = 1_000_000
PAIRS = 3
#: Runs of events that the floor takes at a time.
_RUNS = 100


def measure(folder: Path) -> list[Result]:
    """The row ``file``."""
    log = folder / "log.sqlite"
    run_apart(fill, log, ENTRIES)
    floors, products = [], []
    for pair in range(PAIRS):
        floor, product = folder / f"floor-{pair}.ndjson", folder / f"product-{pair}.ndjson"
        floors.append(run_apart(copy, log, floor))
        settings = {"name": f"file-{pair}", "kind": "file", "path": str(product), "from": "beginning"}
        products.append(run_apart(deliver, log, settings, []))
        if floor.stat().st_size != product.stat().st_size:
            raise CannotMeasure(f"{product} should be as large as {floor}, but is not: the sink left something out")
        floor.unlink()
        product.unlink()
    return [
        Result(
            f"file sink catching up on {ENTRIES:,} entries",
            "events/s",
            [run.rate for run in products],
            [run.rate for run in floors],
            Target(0.5, at_least=True),
            [run.cpu_per_100_000 for run in products],
        )
    ]


def copy(log: Path, file: Path) -> Run:
    """The floor: the log's rows, read in two plain statements, and their events to a file, one a line."""
    with open_reader(log) as reader, file.open("wb") as out:
        watch = Stopwatch()
        entries = reader.execute(
            "SELECT position, uid, revision, source, received_at, type, problem, native_type FROM entry"
            " ORDER BY position"
        )
        runs = reader.execute("SELECT lengths, content FROM event ORDER BY position")
        count = 0
        while stretch := runs.fetchmany(_RUNS):
            contents = reader.compression.decompress(
                b"".join([content for _, content in stretch]), [len(content) for _, content in stretch]
            )
            lines = []
            for (lengths, _), content in zip(stretch, contents, strict=True):
                start = 0
                for length in orjson.loads(lengths):
                    lines.append(content[start : start + length])
                    start += length
            count += len(entries.fetchmany(len(lines)))
            out.write(b"\n".join([*lines, b""]))
        out.flush()
        os.fsync(out.fileno())
        return watch.stop(count)
