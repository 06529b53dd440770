"""``python -m tests.bench [ROW…]``: measure the rows, all of them or those named, and print the table."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.bench import (
    backfill,
    batch,
    behind,
    beside,
    counts,
    disk,
    exporting,
    file_sink,
    growth,
    handover,
    live,
    many_sinks,
    memory,
    normalize,
    payload,
    postgresql,
    questions,
    relay,
    renormalize,
    restart,
    single,
    webhook_sink,
    writes,
)
from tests.bench.processes import open_files_limit
from tests.bench.result import CannotMeasure, Result, machine, table

ROWS: Mapping[str, Callable[[Path], list[Result]]] = {
    "single": single.measure,
    "batch": batch.measure,
    "normalize": normalize.measure,
    "renormalize": renormalize.measure,
    "file": file_sink.measure,
    "webhook": webhook_sink.measure,
    "payload": payload.measure,
    "writes": writes.measure,
    "beside": beside.measure,
    "restart": restart.measure,
    "behind": behind.measure,
    "relay": relay.measure,
    "many_sinks": many_sinks.measure,
    "disk": disk.measure,
    "memory": memory.measure,
    "handover": handover.measure,
    "live": live.measure,
    "export": exporting.measure,
    "growth": growth.measure,
    "counts": counts.measure,
    "questions": questions.measure,
    "postgresql": postgresql.measure,
    "backfill": backfill.measure,
}
#: Take from a quarter of an hour to half an hour each: measured when they are named.
_LONG = ("growth", "behind", "counts", "questions", "many_sinks")


def main() -> int:
    """Measure; 1 if a row could not be measured, a missed target is no failure."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measures the speed of the service.")
    parser.add_argument(
        "rows",
        nargs="*",
        metavar="ROW",
        help=f"which rows to measure: {', '.join(ROWS)}; without, all but {', '.join(_LONG)}",
    )
    parser.add_argument("--folder", type=Path, help="where to keep the data meanwhile, on the disk to be measured")
    given = parser.parse_args()
    if unknown := [row for row in given.rows if row not in ROWS]:
        parser.error(f"there is no row {unknown[0]!r}; there are {', '.join(ROWS)}")
    # Ended from outside, it ends what it started all the same.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    logging.disable()
    open_files_limit()
    results: list[Result] = []
    problems: list[str] = []
    begin = time.monotonic()
    for row in given.rows or [name for name in ROWS if name not in _LONG]:
        _say(begin, row)
        try:
            # A folder for each row, so that no row pays for what another one left.
            with tempfile.TemporaryDirectory(prefix="bench-", dir=given.folder, ignore_cleanup_errors=True) as folder:
                found = ROWS[row](Path(folder))
            for result in found:
                _say(begin, f"  {result}")
            results += found
        except CannotMeasure as problem:
            problems.append(f"{row}: {problem}")
            _say(begin, problems[-1])
    _say(begin, "done")
    if results:
        print(table(results), f"\nMeasured on {machine()}.", sep="\n")
    for text in problems:
        print(f"\nNot measured: {text}")
    return 1 if problems else 0


def _say(begin: float, text: str) -> None:
    print(f"{time.monotonic() - begin:5.0f} s  {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
