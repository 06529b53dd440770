"""The process that writes the log: ``python -m adapter.log.writer``, its standard input a socket.

It reads works from the socket, commits all that are there together, and answers. While one transaction runs, the works
of the next gather; nothing waits longer than that. It ends when the socket does, with the service that started it.

A process of its own, since a thread would share the interpreter with the event loop: each would wait for the other.
"""

from __future__ import annotations

import fcntl
import gc
import os
import select
import socket
import sqlite3
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from adapter.child import begin
from adapter.errors import StoreError, StoreUnavailable
from adapter.log.commit import Committer
from adapter.log.messages import (
    Append,
    Committed,
    Options,
    Packer,
    Refused,
    Revise,
    Settle,
    Unpacker,
    Work,
    receive_options,
)
from adapter.log.schema import connect_writing

#: A transaction takes works until they weigh so much, bytes; each row weighs at least as much as 4,000 of it may.
COMMIT_WEIGHT = 8 * 1024 * 1024
ROW_WEIGHT = COMMIT_WEIGHT // 4000
#: Page cache, KiB.
CACHE = 8192
#: Bytes that are taken from the socket at a time.
_RECEIVE = 1024 * 1024


class Inbox:
    """Works as they arrive."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._unpacker: Unpacker[Work] = Unpacker(Work)  # type: ignore[arg-type]
        self._waiting: deque[tuple[Work, int]] = deque()
        #: Of all that wait.
        self._weight = 0
        self._ended = False

    def take(self) -> list[Work]:
        """The works of the next transaction: all that are there, up to what one takes; none at the end."""
        while not self._ended and (not self._waiting or self._more()):
            data = self._connection.recv(_RECEIVE)
            self._ended = not data
            for work in self._unpacker.take(data):
                weight = weigh(work)
                self._waiting.append((work, weight))
                self._weight += weight
        if self._ended:
            return []  # nobody hears the answers any more
        taken: list[Work] = []
        room = COMMIT_WEIGHT
        while self._waiting and room > 0:
            work, weight = self._waiting.popleft()
            taken.append(work)
            room -= weight
        self._weight -= COMMIT_WEIGHT - room
        return taken

    def _more(self) -> bool:
        """Whether the next transaction would take more, and more is there."""
        return self._weight < COMMIT_WEIGHT and bool(select.select([self._connection], [], [], 0)[0])


def weigh(work: Work) -> int:
    """How much of a transaction a work takes."""
    match work:
        case Append(entries):
            size = sum([len(entry.raw) + len(entry.event or b"") for entry in entries])
            return max(size, ROW_WEIGHT * len(entries))
        case Revise(revisions):
            return max(sum([len(one.event) for one in revisions]), ROW_WEIGHT * len(revisions))
        case Settle(settlement):
            return ROW_WEIGHT * len(settlement.hold)
    return 0


@contextmanager
def only_writer(path: Path, patience: float) -> Iterator[None]:
    """Hold the log for this writer alone: that of a service that was killed ends only after its transaction.

    Raises:
        StoreUnavailable: another one holds it for longer than ``patience`` seconds.
    """
    try:
        lock = os.open(f"{path}-lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreUnavailable(f"{path}: cannot be written or read now: {error.strerror}") from None
    try:
        until = time.monotonic() + patience
        while not _locked(lock):
            if time.monotonic() > until:
                raise StoreUnavailable(f"{path}: another process writes this log; stop it first")
            time.sleep(0.01)
        yield
    finally:
        os.close(lock)


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _open(options: Options) -> Iterator[Committer]:
    path = Path(options.path)
    with only_writer(path, options.busy_timeout):
        connection = connect_writing(path, dictionary=options.dictionary, busy_timeout=options.busy_timeout)
        try:
            connection.execute(f"PRAGMA cache_size = -{CACHE}")
            connection.execute(f"PRAGMA wal_autocheckpoint = {options.checkpoint_pages}")
            yield Committer(path, connection)
        finally:
            connection.close()


def main() -> None:
    """Commit what is asked for until the socket ends."""
    begin()
    packer = Packer()

    with socket.socket(fileno=0) as connection:

        def answer(message: Committed) -> None:
            frame = bytearray()
            packer.add(message, frame)
            connection.sendall(frame)

        options = receive_options(connection)
        if options is None:
            return
        try:
            with ExitStack() as stack:
                try:
                    committer = stack.enter_context(_open(options))
                except StoreError as error:
                    answer(Committed(0, 0, 0, [Refused.of(error)]))
                    return
                gc.set_threshold(100_000)  # a transaction is many objects and no cycles
                gc.freeze()
                answer(Committed(committer.head, 0, 0, []))
                inbox = Inbox(connection)
                while works := inbox.take():
                    answer(committer.commit(works))
        except (ConnectionError, sqlite3.Error):
            sys.exit(1)


if __name__ == "__main__":
    main()
