"""The process that writes the log: ``python -m adapter.log.sqlite.writer``, its standard input a socket.

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
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from adapter.errors import StoreDamaged, StoreError, StoreUnavailable
from adapter.log.sqlite.commit import Committer
from adapter.log.sqlite.files import Files, dictionary_path
from adapter.log.sqlite.large import LargeRequest
from adapter.log.sqlite.messages import (
    AppendParts,
    Committed,
    DropParts,
    Options,
    Packer,
    Part,
    Refused,
    Told,
    Unpacker,
    Work,
    receive_options,
    weigh,
)
from adapter.log.sqlite.schema import connect_writing
from adapter.memory import return_free_pages
from adapter.subprocesses import begin, tell_failure

#: A transaction takes works until they weigh so much, bytes.
COMMIT_WEIGHT = 8 * 1024 * 1024
#: How long a transaction waits for another process that locked the log, seconds. A work waits at most for the
#: transaction before its own and for that one: together well below the time for a commit.
LOCK_TIMEOUT = 2.0
#: Page cache, KiB.
CACHE = 8192
#: Bytes that are taken from the socket at a time.
_RECEIVE = 1024 * 1024


class Inbox:
    """Works as they arrive."""

    def __init__(self, connection: socket.socket, committer: Committer | None = None) -> None:
        """``committer``: makes requests ready that come in parts."""
        self._connection = connection
        self._committer = committer
        self._unpacker: Unpacker[Told] = Unpacker(Told)  # type: ignore[arg-type]
        self._waiting: deque[tuple[Work | LargeRequest, int]] = deque()
        #: Of all that wait.
        self._weight = 0
        #: The request whose parts arrive.
        self._arriving: LargeRequest | None = None
        self._ended = False

    def take(self) -> list[Work | LargeRequest]:
        """The works of the next transaction: all that are there, up to what one takes, or one request that came in
        parts; none at the end.

        Raises:
            BrokenLine: what came is no message.
        """
        made_ready = False
        # That takes its time: who waits already does not wait for more of it.
        while not self._ended and (not self._waiting or (self._more() and not made_ready)):
            data = self._connection.recv(_RECEIVE)
            self._ended = not data
            for told in self._unpacker.take(data):
                match told:
                    case Part(entries):
                        self._begun().add(entries)
                        made_ready = True
                    case DropParts():
                        if self._committer is not None and self._arriving is not None:
                            self._committer.drop_large(self._arriving)
                        self._arriving = None
                    case AppendParts(note):
                        request, self._arriving = self._begun(), None
                        request.note = note
                        self._add(request, COMMIT_WEIGHT)
                    case _:
                        self._add(told, weigh(told))
        if self._ended:
            return []  # nobody hears the answers any more
        taken: list[Work | LargeRequest] = []
        room = COMMIT_WEIGHT
        while self._waiting and room > 0:
            if taken and type(self._waiting[0][0]) is LargeRequest:
                break
            work, weight = self._waiting.popleft()
            taken.append(work)
            room -= weight
        self._weight -= COMMIT_WEIGHT - room
        return taken

    def _begun(self) -> LargeRequest:
        """The request whose parts arrive."""
        if self._arriving is None:
            assert self._committer is not None
            self._arriving = self._committer.begin_large()
        return self._arriving

    def _add(self, work: Work | LargeRequest, weight: int) -> None:
        self._waiting.append((work, weight))
        self._weight += weight

    def _more(self) -> bool:
        """Whether the next transaction would take more, and more is there."""
        return self._weight < COMMIT_WEIGHT and bool(select.select([self._connection], [], [], 0)[0])


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
    """
    Raises:
        StoreDamaged: the log was open before, and its files are not the ones that it had.
        StoreError: it cannot be opened.
    """
    path = Path(options.path)
    with only_writer(path, options.busy_timeout):
        if options.identity is not None and (problem := Files(path, options.identity).problem()) is not None:
            raise StoreDamaged(problem)
        connection = connect_writing(path, dictionary=options.dictionary, busy_timeout=options.busy_timeout)
        try:
            connection.execute(f"PRAGMA busy_timeout = {int(min(options.busy_timeout, LOCK_TIMEOUT) * 1000)}")
            connection.execute(f"PRAGMA cache_size = -{CACHE}")
            connection.execute(f"PRAGMA wal_autocheckpoint = {options.checkpoint_pages}")
            committer = Committer(path, connection, Files(path, options.identity))
            _copy_dictionary(path, committer.dictionary)
            yield committer
        finally:
            connection.close()


def _copy_dictionary(path: Path, dictionary: bytes) -> None:
    """Keep a copy of the dictionary beside the log, for its recovery. Where that fails, the log goes on without."""
    copy = dictionary_path(path)
    new = copy.with_name(f"{copy.name}.new")
    with suppress(OSError):
        if not dictionary or (copy.exists() and copy.read_bytes() == dictionary):
            return
        new.write_bytes(dictionary)
        new.replace(copy)


def main() -> None:
    """Commit what is asked for until the socket ends. What goes wrong is told in one line, and ends the process; the
    service starts it again."""
    begin()
    with socket.socket(fileno=0) as connection:
        try:
            serve(connection)
        except ConnectionError:
            sys.exit(1)
        except Exception as error:
            # The line is closed before anything else needs memory.
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            tell_failure("adapter.log.sqlite.writer", error)
            sys.exit(1)


def serve(connection: socket.socket) -> None:
    """
    Raises:
        BrokenLine: what came is no message.
        ConnectionError: the service is gone.
        MemoryError: there is not enough for what came.
    """
    packer = Packer()

    def answer(message: Committed) -> None:
        frame = bytearray()
        packer.add(message, frame)
        connection.sendall(frame)

    options = receive_options(connection)
    if options is None:
        return
    with ExitStack() as stack:
        try:
            committer = stack.enter_context(_open(options))
        except StoreError as error:
            answer(Committed(0, 0, 0, [Refused.of(error)]))
            return
        gc.set_threshold(100_000)  # a transaction is many objects and no cycles
        gc.freeze()
        answer(Committed(committer.head, 0, 0, []))
        inbox = Inbox(connection, committer)
        while works := inbox.take():
            answer(committer.commit(works))
            is_large = type(works[0]) is LargeRequest
            del works  # not held while the next are waited for
            if is_large:
                return_free_pages()


if __name__ == "__main__":
    main()
