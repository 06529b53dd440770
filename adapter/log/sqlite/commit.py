"""Group commit: works that came together share one transaction, and each is answered for."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from adapter.errors import StoreDamaged, StoreError, StoreUnavailable
from adapter.log.compression import Compression
from adapter.log.protocol import Receipt
from adapter.log.sqlite.append import Appender
from adapter.log.sqlite.files import Files
from adapter.log.sqlite.large import LargeRequest
from adapter.log.sqlite.messages import (
    Advance,
    Answer,
    Append,
    Appended,
    Begin,
    Begun,
    Claimed,
    Committed,
    Counted,
    Done,
    Drop,
    Forget,
    ForgetAttempts,
    ForgetReader,
    Forgotten,
    Gone,
    Keep,
    Refused,
    Remove,
    RemoveRaw,
    Replace,
    Replaced,
    Revise,
    Revised,
    Settle,
    TakeClaim,
    TryWrite,
    Wipe,
    Wiped,
    Work,
)
from adapter.log.sqlite.notes import drop_note, keep_note, take_claim
from adapter.log.sqlite.progress import advance, begin, forget_attempts, forget_reader, settle
from adapter.log.sqlite.removing import Remover
from adapter.log.sqlite.replacing import replace, wipe
from adapter.log.sqlite.schema import READ_ERRORS, VERSION, UnreadableRow, store_error


class Committer:
    """Commits through one connection; to be used by one thread at a time."""

    def __init__(self, path: Path, connection: sqlite3.Connection, files: Files) -> None:
        """``files``: those that the connection has open.

        Raises:
            StoreError: the log is damaged.
        """
        self._path = path
        self._connection = connection
        self._files = files
        try:
            row = connection.execute("SELECT content FROM dictionary").fetchone()
            if row is None:
                raise UnreadableRow("the dictionary is missing")
            #: By which contents are compressed.
            self.dictionary: bytes = row[0]
            self._compression = Compression(self.dictionary)
            self._appender = Appender(connection, self._compression)
            self._remover = Remover(connection, self._compression)
        except READ_ERRORS as error:
            raise store_error(path, error) from error

    @property
    def head(self) -> int:
        """Position of the last entry that is committed."""
        return self._appender.head

    def begin_large(self) -> LargeRequest:
        """A large request that arrives now; it is committed, or `drop_large` follows."""
        return self._appender.begin_large()

    def drop_large(self, request: LargeRequest) -> None:
        """It does not go on."""
        self._appender.drop_large(request)

    def commit(self, works: Sequence[Work | LargeRequest]) -> Committed:
        """One transaction for all works; or, if one of them is refused, one for each, so that it undoes only itself. A
        large request is the only work of its transaction.

        What the files on the disk do not hold any more is not answered for: before, since SQLite would fill a file that
        was cut off up to its former length; and after, since the answer stands for it.

        Raises:
            MemoryError: it is unknown what was stored.
        """
        began, before = time.perf_counter(), self._appender.head
        problem = self._files.problem()
        answers = self._answers(works) if problem is None else []
        for work in works:
            if type(work) is LargeRequest:
                self._appender.drop_large(work)
        problem = problem or self._files.problem()
        if problem is not None:
            refused: Answer = Refused.of(StoreDamaged(f"{problem}; docs/recover.md says how to recover it"))
            return Committed(before, 0, time.perf_counter() - began, [refused] * len(works))
        head = self._appender.head
        return Committed(head, head - before, time.perf_counter() - began, answers)

    def _answers(self, works: Sequence[Work | LargeRequest]) -> list[Answer]:
        try:
            return self._transact(works)
        except MemoryError:
            raise
        except Exception as error:
            reason = self._roll_back(error)
        if len(works) == 1 or isinstance(reason, StoreUnavailable):
            return [Refused.of(reason)] * len(works)
        return [answer for work in works for answer in self._answers([work])]

    def _transact(self, works: Sequence[Work | LargeRequest]) -> list[Answer]:
        self._connection.execute("BEGIN IMMEDIATE")
        requests = [work.entries for work in works if type(work) is Append]
        receipts = iter(self._appender.append(requests) if requests else [])
        answers = [self._answer(work, receipts) if type(work) is Append else self._do(work) for work in works]
        self._connection.execute("COMMIT")
        self._appender.commit()
        if any(type(work) is Wipe for work in works):
            # Outside of a transaction, and after all that this one wrote.
            with self._files.cutting_wal():
                is_wiped = Wiped(wipe(self._connection))
            answers = [is_wiped if type(work) is Wipe else one for work, one in zip(works, answers, strict=True)]
        return answers

    def _answer(self, request: Append, receipts: Iterator[list[Receipt]]) -> Answer:
        if request.note is not None:
            keep_note(self._connection, request.note)
        return Appended(next(receipts))

    def _do(self, work: Work | LargeRequest) -> Answer:
        match work:
            case LargeRequest():
                if work.note is not None:
                    keep_note(self._connection, work.note)
                return Appended(self._appender.append_large(work))
            case Revise(revisions, note):
                positions = self._appender.revise(revisions)
                if note is not None and positions is not None:
                    keep_note(self._connection, note)
                return Revised(positions)
            case Settle(settlement):
                settle(self._connection, settlement)
            case Advance(cursor, tokens):
                advance(self._connection, cursor, tokens)
            case Begin(reader, cursor, filter, token):
                return Begun(begin(self._connection, reader, cursor, filter, token))
            case Keep(note):
                keep_note(self._connection, note)
            case Drop(name, version):
                drop_note(self._connection, name, version)
            case ForgetReader(reader, token):
                forget_reader(self._connection, reader, token)
            case TakeClaim(name):
                return Claimed(take_claim(self._connection, name))
            case Remove(removal):
                return Gone(self._remover.remove(removal))
            case RemoveRaw(after, until):
                return Gone(self._remover.remove_raw(after, until))
            case Forget(until, seconds):
                return Forgotten(self._remover.forget(until, seconds))
            case ForgetAttempts(number, before, limit):
                return Counted(forget_attempts(self._connection, number, before, limit))
            case Replace(replacements, note):
                replaced = replace(self._connection, self._compression, replacements)
                if note is not None:
                    keep_note(self._connection, note)
                return Replaced(replaced)
            case TryWrite():
                # Rewrites the first page with what it has: as durable as any other write, and needs no table.
                self._connection.execute(f"PRAGMA user_version = {VERSION}")
        return Done()

    def _roll_back(self, error: Exception) -> StoreError:
        """Undo the transaction; what is told to its callers."""
        self._appender.roll_back()
        reason = store_error(self._path, error)
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error as second:
            return store_error(self._path, second)
        return reason
