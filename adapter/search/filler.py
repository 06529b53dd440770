"""The process that fills the search database from the log: ``python -m adapter.search.filler SEARCH LOG``.

It reads heads of the log from standard input, one a line, and fills that far. On standard output it answers with the
position it reached, first on opening and then after each commit, or with ``!`` and the reason when the search
database is to be thrown away; then it ends. It ends, too, when its input does: with the service that started it.
"""

from __future__ import annotations

import gc
import os
import select
import sys
from pathlib import Path

from adapter.log.sqlite.history import find_before
from adapter.log.sqlite.reading import Reader, each_event, open_reader
from adapter.search.store import Store, Unusable
from adapter.subprocesses import begin, run

#: Most entries of one transaction: larger ones write fewer pages twice, smaller ones need less memory.
BATCH = 10_000
#: Added to the process's niceness where the system knows no class below all others.
NICENESS = 15


def check_origin(store: Store, log: Reader) -> None:
    """See that the search database was filled from this log.

    Raises:
        Unusable: its last entry is not in the log as it was.
    """
    if store.position == 0:
        return
    last = next(each_event(log, store.position - 1, store.position), None)
    if last is None or (last.uid, last.received_at) != (store.uid, store.received_at):
        raise Unusable("filled from another log")


def fill(store: Store, log: Reader, head: int, *, batch: int = BATCH) -> bool:
    """Take in the next batch of entries up to ``head``; whether there was any.

    Raises:
        Unusable: the search database is to be thrown away.
        Overtaken: somebody else fills it too.
        sqlite3.OperationalError: the disk did not take it; it may later.
    """
    if store.position >= head:
        return False
    entries = each_event(log, store.position, min(head, store.position + batch))
    store.add(entries, lambda uid, position: find_before(log, uid, position))
    return True


def _step_back() -> None:
    """Receiving comes first: take what nobody else uses."""
    if hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    else:
        os.nice(NICENESS)


def main() -> None:
    """Fill what is asked for until the input ends."""
    begin()
    _step_back()
    gc.disable()  # a batch is many objects and no cycles
    search, log_path = (Path(argument) for argument in sys.argv[1:])
    # Unbuffered, so that nothing lies unseen when select is asked.
    with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as heads, open_reader(log_path, cache=256) as log:
        try:
            store = Store(search)
            check_origin(store, log)
            _answer(str(store.position))
            while line := heads.readline():
                head = int(line)
                while fill(store, log, head):
                    _answer(str(store.position))
                    if select.select([heads], [], [], 0)[0]:
                        break  # a farther head, or the end
            store.close()
        except Unusable as reason:
            _answer(f"! {reason}")


def _answer(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    run(main, "adapter.search.filler")
