"""What the log has under the keys of newcomers, and what the events hold that share them; asked before a transaction.

What was asked can have changed when the transaction comes. So it stores new keys and changed ones only if they are
still as they were (`store_keys`), and else begins anew: of two services that get copies of one event at the same time,
one finds the key of the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import asyncpg

from adapter.log.compression import Compression
from adapter.log.identity import GROUPS, Identities, Keys, Known, group_key
from adapter.log.postgresql.connecting import Connection
from adapter.log.postgresql.works import Append
from adapter.log.protocol import NewEntry, Receipt, receipt
from adapter.log.runs import split
from adapter.model import renamed, uid_text

#: Contents of stored events that are asked for at once, and kept: entries, and bytes.
_ASKED, _KEPT = 128, 8 * 1024 * 1024

# Arrays travel as text: asyncpg takes 2 µs for each element of one, and the server reads it in a tenth of that.
_FIND = "SELECT key, batch, place, uid, taken, equal FROM identity WHERE key = ANY($1::text::uuid[])"
_COLUMNS = ("key", "batch", "place", "taken", "equal", "uid")
_UPDATE = """
UPDATE identity SET taken = new.taken, equal = new.equal
FROM unnest($1::uuid[], $2::integer[], $3::integer[], $4::integer[], $5::integer[])
  AS new (key, taken, equal, was_taken, was_equal)
WHERE identity.key = new.key AND identity.taken = new.was_taken AND identity.equal = new.was_equal
"""
# Of the first entries of events: where their latest ones stand, and of both where their contents lie.
_OUTLINE = """
SELECT asked.batch, asked.place, latest.batch AS event_batch, latest.run AS event_run,
  latest.place - latest.run AS event_number, latest.size, first.run AS raw_run, first.place - first.run AS raw_number
FROM unnest($1::bigint[], $2::integer[]) AS asked (batch, place)
JOIN batch ON batch.number = asked.batch
JOIN entry AS first ON first.batch = asked.batch AND first.place = asked.place
LEFT JOIN LATERAL (
  SELECT batch, place FROM revision WHERE first = batch.first + asked.place ORDER BY revision.number DESC LIMIT 1
) AS later ON true
JOIN entry AS latest
  ON latest.batch = coalesce(later.batch, asked.batch) AND latest.place = coalesce(later.place, asked.place)
"""
_RUNS = """
SELECT run.batch, run.place, run.sizes, run.content FROM unnest($1::bigint[], $2::integer[]) AS asked (batch, place)
JOIN {table} AS run ON run.batch = asked.batch AND run.place = asked.place
"""


def reference(batch: int, place: int) -> int:
    """What stands for an entry's position until that is known."""
    return batch << 32 | place


def batch_and_place(reference: int) -> tuple[int, int]:
    """What it stands for."""
    return reference >> 32, reference & 0xFFFFFFFF


class Resolved(NamedTuple):
    """What became of some requests, if their transaction commits."""

    #: Those that are new, in order; each one's place is its number.
    new: list[NewEntry]
    #: Of each entry of each request: its uid, and its place if it is new.
    receipts: list[list[Receipt]]
    #: Keys to store, and what was under them before, if anything.
    changed: dict[bytes, Known]
    before: dict[bytes, Known]
    #: Keys that nothing was under.
    absent: set[bytes]


#: Where a piece of content lies: batch, place of its run, number in it.
_Place = tuple[int, int, int]


class _Missing(Exception):
    """Something has to be asked for before a newcomer can be resolved."""


class _MissingKey(_Missing):
    def __init__(self, key: bytes) -> None:
        self.key = key


class _MissingEvent(_Missing):
    def __init__(self, reference: int) -> None:
        self.reference = reference


class _MissingRaw(_Missing):
    def __init__(self, reference: int) -> None:
        self.reference = reference


async def resolve(connection: Connection, compression: Compression, batch: int, requests: Sequence[Append]) -> Resolved:
    """Which entries of these requests are new. ``batch``: number of the transaction that is to store them."""
    keys = [its for request in requests for its in request.keys]
    asked = sorted({key for strong, weak, *_ in keys for key in (strong, weak) if key is not None})
    asking = _Asking(connection, compression, batch, await _find(connection, asked), asked)
    asking.expect(keys)
    identities = Identities(dict(asking.before), asking.look_up, asking)
    receipts: list[list[Receipt]] = []
    new = asking.new
    of_entry = iter(keys)
    for request in requests:
        identities.begin_request()
        answers = []
        for entry in request.entries:
            place = len(new)
            position = reference(batch, place)
            new.append(entry)
            its_keys = next(of_entry)
            while True:
                try:
                    found = identities.resolve(entry, its_keys, position)
                    break
                except _MissingKey as missing:
                    await asking.ask_keys(missing.key, its_keys)
                except _MissingEvent as missing:
                    await asking.ask_events(missing.reference)
                except _MissingRaw as missing:
                    await asking.ask_raw(missing.reference)
            if found.position != position:
                new.pop()
                answers.append(receipt((found.uid, None)))
                continue
            if found.uid != entry.uid:
                event = None if entry.event is None else renamed(entry.event, uid_text(found.uid).encode())
                new[-1] = entry._replace(uid=found.uid, event=event)
            answers.append(receipt((found.uid, place)))
        receipts.append(answers)
    return Resolved(new, receipts, identities.changed, asking.before, asking.absent)


async def store_keys(connection: Connection, resolved: Resolved) -> bool:
    """Store the keys in the transaction that runs; whether all of them were as they had been found. In their order, so
    that of two who store the same ones, one waits for the other."""
    fresh: list[tuple[bytes, int, int, int, int, bytes | None]] = []
    changed: list[tuple[bytes, int, int, int, int]] = []
    for key in sorted(resolved.changed):
        before = resolved.before.get(key)
        position, uid, taken, equal = resolved.changed[key]
        if before is None:
            fresh.append((key, position >> 32, position & 0xFFFFFFFF, taken, equal, None if uid == key else uid))
        else:
            changed.append((key, taken, equal, before.taken, before.equal))
    if fresh:
        try:
            # Takes a fifth of the time of an INSERT that lets conflicts pass.
            await connection.copy_records_to_table("identity", records=fresh, columns=_COLUMNS)
        except asyncpg.UniqueViolationError:
            return False
    if changed:
        said = await connection.execute(_UPDATE, *map(list, zip(*changed, strict=True)))
        return said == f"UPDATE {len(changed)}"
    return True


async def _find(connection: Connection, keys: Sequence[bytes]) -> dict[bytes, Known]:
    if not keys:
        return {}
    return {
        key: Known(reference(batch, place), uid or key, taken, equal)
        for key, batch, place, uid, taken, equal in await connection.fetch(_FIND, _uuids(keys))
    }


def _uuids(keys: Sequence[bytes]) -> str:
    return f"{{{b''.join(keys).hex(',', 16)}}}"


class _Asking:
    """What is asked of the log while newcomers are resolved; the contents of those that were, too."""

    def __init__(
        self,
        connection: Connection,
        compression: Compression,
        batch: int,
        found: dict[bytes, Known],
        asked: Iterable[bytes],
    ) -> None:
        self._connection = connection
        self._compression = compression
        self._batch = batch
        #: What the log has, by key; and the keys that it does not have.
        self.before = found
        self.absent = set(asked) - found.keys()
        self.new: list[NewEntry] = []
        #: Of stored events, by what stands for their positions: events as they are read now, native bytes.
        self._events: dict[int, bytes | None] = {}
        self._raws: dict[int, bytes | None] = {}
        self._size = 0
        #: Those whose contents will be asked for, in order.
        self._expected: list[int] = []

    def expect(self, keys: Iterable[Keys]) -> None:
        """The newcomers have these keys."""
        for strong, weak, *_ in keys:
            if weak is not None and weak in self.before and (strong is None or strong not in self.before):
                self._expected.append(self.before[weak].position)

    def look_up(self, key: bytes) -> Known | None:
        """What the log has under one key more."""
        if key in self.before:
            return self.before[key]
        if key in self.absent:
            return None
        raise _MissingKey(key)

    def event(self, position: int) -> bytes | None:
        """As `adapter.log.identity.Contents`."""
        batch, place = batch_and_place(position)
        if batch == self._batch:
            return self.new[place].event
        if position not in self._events:
            raise _MissingEvent(position)
        return self._events[position]

    def raw(self, position: int) -> bytes | None:
        """As `adapter.log.identity.Contents`."""
        batch, place = batch_and_place(position)
        if batch == self._batch:
            return self.new[place].raw
        if position not in self._raws:
            raise _MissingRaw(position)
        return self._raws[position]

    async def ask_keys(self, key: bytes, keys: Keys) -> None:
        """Ask for a key, and for those that the newcomer with these keys may need next."""
        likely = set() if keys.weak is None else {group_key(keys.weak, number) for number in range(GROUPS)}
        asked = sorted(({key} | likely) - self.before.keys() - self.absent)
        found = await _find(self._connection, asked)
        self.before |= found
        self.absent |= set(asked) - found.keys()

    async def ask_events(self, position: int) -> None:
        """Ask for an event, and for those that will be needed next; of what is quarantined, for the native bytes."""
        asked = [position]
        if position in self._expected:
            start = self._expected.index(position)
            asked = list(dict.fromkeys(self._expected[start : start + _ASKED]))
            del self._expected[: start + _ASKED]
        events: dict[int, _Place] = {}
        raws: dict[int, _Place] = {}
        room = _KEPT
        for row in await self._outline(asked):
            one = reference(row["batch"], row["place"])
            room -= row["size"] or 0
            if room < 0 and one != position:
                continue
            if row["size"] is None:
                raws[one] = row["batch"], row["raw_run"], row["raw_number"]
            else:
                events[one] = row["event_batch"], row["event_run"], row["event_number"]
        self._make_room()
        self._keep(self._events, dict.fromkeys([position, *raws]))
        self._keep(self._events, await self._pieces("event", events))
        self._keep(self._raws, await self._pieces("raw", raws))

    async def ask_raw(self, position: int) -> None:
        """Ask for the native bytes of an event."""
        places = {
            reference(row["batch"], row["place"]): (row["batch"], row["raw_run"], row["raw_number"])
            for row in await self._outline([position])
        }
        self._make_room()
        self._keep(self._raws, {position: None})
        self._keep(self._raws, await self._pieces("raw", places))

    async def _outline(self, references: Sequence[int]) -> Sequence[asyncpg.Record]:
        return await self._connection.fetch(
            _OUTLINE, *map(list, zip(*map(batch_and_place, references), strict=True))
        )  # fmt: skip

    def _make_room(self) -> None:
        """What a newcomer has looked at is remembered by `Identities`, and not asked for again."""
        if self._size > _KEPT:
            self._events.clear()
            self._raws.clear()
            self._size = 0

    def _keep(self, where: dict[int, bytes | None], pieces: Mapping[int, bytes | None]) -> None:
        where.update(pieces)
        self._size += sum([len(piece) for piece in pieces.values() if piece is not None])

    async def _pieces(self, table: str, places: dict[int, _Place]) -> dict[int, bytes]:
        runs = list({place[:2] for place in places.values()})
        if not runs:
            return {}
        found = {}
        for batch, place, sizes, content in await self._connection.fetch(
            _RUNS.format(table=table), *map(list, zip(*runs, strict=True))
        ):
            found[batch, place] = split(self._compression.decompress_one(content), sizes)
        return {one: found[batch, run][number] for one, (batch, run, number) in places.items() if (batch, run) in found}
