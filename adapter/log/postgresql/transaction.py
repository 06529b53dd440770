"""One transaction for works that came together.

What they need to know is asked before it begins, and written only if that is still so. Its last exchange takes the next
positions from the counter, writes the batch's row and commits: three statements in one message, so that the counter's
lock waits for no service, and lasts as long as the commit. So commits are ordered by their positions, and no entry is
seen before an earlier one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from adapter.errors import StoreError
from adapter.log.compression import Compression
from adapter.log.postgresql.address import Address
from adapter.log.postgresql.connecting import Connection
from adapter.log.postgresql.identities import Resolved, resolve, store_keys, watch
from adapter.log.postgresql.notes import Versions, drop_note, find_versions
from adapter.log.postgresql.packing import ENTRY, EVENT, RAW, Packed, Standing, pack_entries, pack_revisions
from adapter.log.postgresql.progress import advance, begin, forget_reader, settle
from adapter.log.postgresql.revising import choose, find_standing, store_revisions
from adapter.log.postgresql.works import (
    Advance,
    Append,
    Begin,
    Drop,
    ForgetReader,
    Keep,
    Revise,
    Settle,
    TryWrite,
    Work,
)
from adapter.log.protocol import Note, ReaderState, Receipt, Revision, receipt
from adapter.log.runs import pack_runs

#: Contents that are compressed in a thread of their own, bytes at least: less takes less than a thread does.
_THREAD = 64 * 1024
#: Rows that one COPY takes, and bytes of contents, about: each has to be answered within the time of a statement.
_COPY_ROWS, _COPY_SIZE = 10_000, 4 * 1024 * 1024

# A cancelled commit would stand here and not yet on a synchronous standby, so no time of the server ends it.
_COMMIT = "SET LOCAL statement_timeout = 0; COMMIT"
_PLACE = """
WITH counted AS (
  UPDATE counter SET head = head + {entries}, latest = greatest(latest, {latest}) RETURNING head, latest
), placed AS (
  INSERT INTO batch (number, first, entries, latest)
  SELECT {number}, head - {entries} + 1, {entries}, latest FROM counted
)
SELECT pg_notify('{channel}', head::text) FROM counted;
"""
_FIRST = "SELECT first FROM batch WHERE number = $1"

#: What a work is answered with: its result, or why it was refused.
Answer = list[Receipt] | list[int | None] | ReaderState | StoreError | None


class Clash(Exception):
    """Another transaction was in the way; the same works may succeed now."""


@dataclass(slots=True)
class _Plan:
    """What a transaction is to write."""

    #: Of each work: why it is refused, if so.
    refusals: dict[Work[object], StoreError] = field(default_factory=dict)
    appends: list[Append] = field(default_factory=list)
    resolved: Resolved = field(default_factory=lambda: Resolved([], [], {}, {}, set(), set(), set()))
    #: Works whose revisions come in time, and all of these.
    revises: list[Revise] = field(default_factory=list)
    revisions: list[Revision] = field(default_factory=list)
    standing: dict[int, Standing] = field(default_factory=dict)
    versions: Versions = field(default_factory=lambda: Versions({}))

    @property
    def entries(self) -> int:
        return len(self.resolved.new) + len(self.revisions)

    @property
    def latest(self) -> int:
        """Latest arrival of its entries, epoch milliseconds."""
        arrivals = [entry.received_at for entry in self.resolved.new]
        return max(arrivals + [self.standing[one.first].received_at for one in self.revisions], default=-1)


class Transaction:
    """One attempt to do some works."""

    def __init__(
        self,
        compression: Compression,
        address: Address,
        number: int,
        works: Sequence[Work[object]],
        watched: set[str],
    ) -> None:
        """``number``: of the batch, if there are entries; ``watched``: sources of which something is quarantined."""
        self._watched = watched
        self._compression = compression
        self._channel = address.channel
        self._number = number
        self._works = works
        self._plan = _Plan()
        #: What was answered inside the transaction.
        self._answers: dict[Work[object], Answer] = {}
        #: Whether the commit was asked for: what comes of it is unknown until there is an answer.
        self.is_committing = False
        #: Position of the first entry, once it is known.
        self.first: int | None = None

    @property
    def entries(self) -> int:
        """How many entries it stores."""
        return self._plan.entries

    async def write(self, connection: Connection) -> None:
        """Do the works, and commit; `answers` tells of each.

        Raises:
            Clash: nothing was done; the same may succeed now.
            FAILURES: nothing was done, or, if it was committing, perhaps all.
        """
        plan = self._plan
        if not self._has_to_write():
            return
        await connection.execute("BEGIN")
        packing = asyncio.ensure_future(self._pack())
        try:
            # Before the keys: in this order with every other transaction.
            await watch(connection, plan.resolved.unwatched)
            is_standing = not plan.resolved.changed or await store_keys(connection, plan.resolved)
        finally:
            packed = await packing
        if not is_standing:
            raise Clash
        await _copy(connection, "entry", ENTRY, packed.entries, [0] * len(packed.entries))
        await _copy(connection, "event", EVENT, packed.events, [len(row[-1]) for row in packed.events])
        await _copy(connection, "raw", RAW, packed.raws, [len(row[-1]) for row in packed.raws])
        if plan.revisions:
            place = len(plan.resolved.new)
            if not await store_revisions(connection, self._number, place, plan.revisions, plan.standing):
                raise Clash
        if not await plan.versions.store(connection):
            raise Clash
        for work in self._works:
            await self._do(connection, work)
        await self._commit(connection)

    def answers(self) -> list[Answer]:
        """What to answer for each work, once it is committed."""
        answers: dict[Work[object], Answer] = {**self._answers}
        plan, first = self._plan, self.first or 0
        for append, receipts in zip(plan.appends, plan.resolved.receipts, strict=True):
            answers[append] = [
                receipt((one.uid, None if one.position is None else first + one.position, _placed(one, first)))
                for one in receipts
            ]
        position = first + len(plan.resolved.new)
        for revise in plan.revises:
            answers[revise] = positions = []
            for one in revise.revisions:
                is_copy = one.first in plan.resolved.copies
                positions.append(None if is_copy else position)
                position += not is_copy
        answers.update(plan.refusals)
        return [answers.get(work) for work in self._works]

    async def find(self, connection: Connection) -> bool:
        """Whether it is committed, asked of a connection that sees what came of it."""
        self.first = await connection.fetchval(_FIRST, self._number)
        return self.first is not None

    async def ask(self, connection: Connection) -> None:
        """Ask what the works need to know, and choose what is to be written; before anything else. Another connection
        may do it, while the one that appends commits what came before."""
        self._plan = _Plan()
        plan, works = self._plan, self._works
        plan.versions = await find_versions(connection, [note for work in works if (note := _note(work))])
        firsts = [one.first for work in works if type(work) is Revise for one in work.revisions]
        plan.standing = await find_standing(connection, firsts)
        head = await connection.fetchval("SELECT head FROM counter") if len(plan.standing) < len(set(firsts)) else 0
        revised: set[int] = set()
        for work in works:
            note = _note(work)
            try:
                plan.versions.check(note)
                if type(work) is Revise:
                    if not choose(work.revisions, plan.standing, head, revised):
                        continue
                    plan.revises.append(work)
                    plan.revisions += work.revisions
                    revised.update(one.first for one in work.revisions)
                elif type(work) is Append:
                    plan.appends.append(work)
            except StoreError as refusal:
                plan.refusals[work] = refusal
                continue
            plan.versions.keep(note)
        again = [(one, plan.standing[one.first]) for one in plan.revisions]
        plan.resolved = await resolve(
            connection, self._compression, self._number, plan.appends, again, self._watched
        )  # fmt: skip
        plan.revisions = [one for one in plan.revisions if one.first not in plan.resolved.copies]

    def _has_to_write(self) -> bool:
        plan = self._plan
        return bool(
            plan.entries
            or plan.resolved.changed
            or plan.versions.kept
            or any(type(work) in (Settle, Advance, Begin, Drop, ForgetReader, TryWrite) for work in self._works)
        )

    async def _pack(self) -> Packed:
        loose = sum(
            [
                len(entry.raw) + len(entry.envelope)
                for append in self._plan.appends
                if not append.runs
                for entry in append.entries
            ]
        )
        loose += sum([len(one.event) for one in self._plan.revisions])
        return self._packed() if loose < _THREAD else await asyncio.to_thread(self._packed)

    def _packed(self) -> Packed:
        """The rows of the entries: what was compressed before if all of it is new, and the others together."""
        plan = self._plan
        packed = Packed([], [], [])
        new, place, loose = plan.resolved.new, 0, 0
        for append, receipts in zip(plan.appends, plan.resolved.receipts, strict=True):
            kept = sum([one.position is not None for one in receipts])
            end = place + kept
            uids = [entry.uid for entry in append.entries]
            if append.runs and kept == len(receipts) and [one.uid for one in receipts] == uids:
                self._pack_loose(packed, loose, place)
                pack_entries(packed, self._number, place, append.entries, append.runs)
                loose = end
            place = end
        self._pack_loose(packed, loose, place)
        if plan.revisions:
            standing = [plan.standing[one.first] for one in plan.revisions]
            pack_revisions(packed, self._compression, self._number, len(new), plan.revisions, standing)
        return packed

    def _pack_loose(self, packed: Packed, begin: int, end: int) -> None:
        if begin < end:
            some = self._plan.resolved.new[begin:end]
            pack_entries(packed, self._number, begin, some, pack_runs(self._compression, some))

    async def _do(self, connection: Connection, work: Work[object]) -> None:
        try:
            match work:
                case Settle(settlement):
                    await settle(connection, settlement)
                case Advance(cursor, tokens):
                    await advance(connection, cursor, tokens)
                case Begin(reader, cursor, filter, token):
                    self._answers[work] = await begin(connection, reader, cursor, filter, token)
                case Drop(name, version):
                    await drop_note(connection, name, version)
                case ForgetReader(reader, token):
                    await forget_reader(connection, reader, token)
                case TryWrite():
                    await connection.execute("UPDATE trial SET tried_at = clock_timestamp()")
        except StoreError as refusal:
            # It has written nothing.
            self._answers[work] = refusal

    async def _commit(self, connection: Connection) -> None:
        plan = self._plan
        place = ""
        if plan.entries:
            place = _PLACE.format(
                entries=plan.entries, latest=plan.latest, number=self._number, channel=self._channel
            )  # fmt: skip
        self.is_committing = True
        await connection.execute(place + _COMMIT)
        if plan.entries:
            await self.find(connection)
        self.is_committing = False


def _placed(one: Receipt, first: int) -> int | None:
    """Position of the quarantined entry that a duplicate has met; ``first``: of the batch, in which that may be."""
    if one.quarantined is None or one.quarantined >= 0:
        return one.quarantined
    return first - 1 - one.quarantined


def _note(work: Work[object]) -> Note | None:
    return work.note if isinstance(work, (Append, Revise, Keep)) else None


async def _copy(
    connection: Connection, table: str, columns: Sequence[str], rows: Sequence[tuple[object, ...]], sizes: Sequence[int]
) -> None:
    start, room = 0, _COPY_SIZE
    for end, size in enumerate(sizes, 1):
        room -= size
        if room <= 0 or end - start == _COPY_ROWS or end == len(rows):
            await connection.copy_records_to_table(table, records=rows[start:end], columns=columns)
            start, room = end, _COPY_SIZE
