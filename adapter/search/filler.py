"""The process that fills the search from the log: ``python -m adapter.search.filler``.

On standard input it gets the addresses of the search and of the log, each in a line, since they may hold a password,
and in a third one whether the search keeps accounts (``people``, or nothing); then heads of the log, one a line, and
it fills that far; or the word ``prune``, and it removes what was removed from the log. On standard output it answers
with the position it reached, first on opening and then after each commit; with ``=`` when it has pruned; or with
``!`` and the reason when it has thrown the search away; then it ends. It ends, too, when its input does: with the
service that started it.
"""

from __future__ import annotations

import gc
import os
import select
import sys
from collections.abc import Iterator
from itertools import chain
from typing import IO

from adapter.log.opening import open_events
from adapter.log.protocol import Events
from adapter.search.store import Store, Unusable, open_store
from adapter.subprocesses import begin, run

#: Most entries of one transaction: larger ones write fewer pages twice, smaller ones need less memory.
BATCH = 10_000
#: What is said to have it prune, and its answer.
PRUNE, PRUNED = b"prune\n", "="
#: What is said where accounts are to be kept.
PEOPLE = "people"
#: Added to the process's niceness when it has begun, since receiving comes first. It gets a hundredth of a processor
#: where others take all the time there is, enough for the few entries that a question waits for. (In the class of those
#: that use only what is left, it got nothing on a busy machine, and so did the questions.)
NICENESS = 19


def check_origin(store: Store, log: Events) -> None:
    """See that the search was filled from this log.

    Raises:
        Unusable: its last entry is not in the log as it was.
    """
    if store.position == 0:
        return
    last = next(log.each(store.position - 1, store.position), None)
    if last is not None and (last.uid, last.received_at) == (store.uid, store.received_at):
        return
    if last is not None or store.uid is None or log.uid(store.position) != store.uid:
        raise Unusable("filled from another log")  # or it was removed for so long that nobody can tell


def fill(store: Store, log: Events, head: int, *, batch: int = BATCH) -> bool:
    """Take in the next batch of entries up to ``head``; whether there was any.

    Raises:
        Unusable: the search is to be thrown away.
        Overtaken: somebody else fills it too.
    """
    if store.position >= head:
        return False
    until = min(head, store.position + batch)
    entries = log.each(store.position, until)
    first = next(entries, None)
    if first is not None:
        store.add(chain([first], entries), log.before)
        return True
    store.skip(until, log.uid(until))
    return True


def main() -> None:
    """Fill what is asked for until the input ends."""
    begin()
    gc.disable()  # a batch is many objects and no cycles
    # Unbuffered, so that nothing lies unseen when select is asked.
    with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as heads:
        search, url, people = (heads.readline().decode().rstrip("\n") for _ in range(3))
        if not url:
            return
        with open_events(url) as log:
            try:
                store = open_store(search, with_people=people == PEOPLE)
            except Unusable as reason:
                _answer(f"! {reason}")
            else:
                _fill_as_told(store, log, heads)


def _fill_as_told(store: Store, log: Events, heads: IO[bytes]) -> None:
    try:
        check_origin(store, log)
        os.nice(NICENESS)
        _answer(str(store.position))
        head = store.position
        pruning: Iterator[str | None] = iter(())
        while line := heads.readline():
            if line == PRUNE:
                pruning = chain(store.prune(log), [PRUNED])
            else:
                head = int(line)
            while _step(store, log, head, pruning) and not _more(heads):
                pass  # a farther head, or the end
        store.close()
    except Unusable as reason:
        store.throw_away()
        _answer(f"! {reason}")


def _step(store: Store, log: Events, head: int, pruning: Iterator[str | None]) -> bool:
    """Fill a little, or else prune a little, and answer; whether there was anything to do."""
    if fill(store, log, head):
        _answer(str(store.position))
        return True
    for answer in pruning:
        if answer is not None:
            _answer(answer)
        return True
    return False


def _more(heads: IO[bytes]) -> bool:
    """Whether something was said meanwhile."""
    return bool(select.select([heads], [], [], 0)[0])


def _answer(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    run(main, "adapter.search.filler")
