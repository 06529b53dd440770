"""What the log has under the keys of newcomers, and what the events hold that share them; asked before a transaction.

What was asked can have changed when the transaction comes. So it stores new keys and changed ones only if they are
still as they were (`store_keys`), and else begins anew: of two services that get copies of one event at the same time,
one finds the key of the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import asyncpg

from adapter.log.compression import Compression
from adapter.log.identity import GROUPS, Former, Identities, Keys, Known, group_key, keys_of, keys_read
from adapter.log.pieces import opened
from adapter.log.postgresql.connecting import Connection
from adapter.log.postgresql.packing import Standing
from adapter.log.postgresql.works import Append
from adapter.log.protocol import NewEntry, Receipt, Revision, receipt
from adapter.log.runs import split
from adapter.model import renamed, uid_text

#: Contents of stored events that are asked for at once, and kept: entries, and bytes.
_ASKED, _KEPT = 128, 8 * 1024 * 1024

# Arrays travel as text: asyncpg takes 2 µs for each element of one, and the server reads it in a tenth of that.
# And the sources of which something was quarantined.
_FIND = """
SELECT key, batch, place, uid, taken, equal, NULL::bigint AS quarantined, NULL::text AS source
FROM identity WHERE key = ANY($1::text::uuid[])
UNION ALL SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, source FROM quarantine
"""
# The same where there are any: with the positions of entries that have no event.
_FIND_WATCHED = """
SELECT key, batch, place, uid, taken, equal, (
  SELECT batch.first + entry.place FROM entry JOIN batch ON batch.number = entry.batch
  WHERE entry.batch = identity.batch AND entry.place = identity.place AND entry.size IS NULL
  AND NOT EXISTS (SELECT FROM revision WHERE revision.first = batch.first + entry.place)
) AS quarantined, NULL::text AS source
FROM identity WHERE key = ANY($1::text::uuid[])
UNION ALL SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, source FROM quarantine
"""
_WATCH = "INSERT INTO quarantine SELECT unnest($1::text[]) ON CONFLICT DO NOTHING"
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
SELECT run.batch, run.place, run.sizes, run.content, {media} AS media
FROM unnest($1::bigint[], $2::integer[]) AS asked (batch, place)
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
    #: Of each entry of each request: its uid, and its place if it is new; of a duplicate of something quarantined the
    #: position of that, or, of the same transaction, its place counted down from -1.
    receipts: list[list[Receipt]]
    #: Keys to store, and what was under them before, if anything.
    changed: dict[bytes, Known]
    before: dict[bytes, Known]
    #: Keys that nothing was under.
    absent: set[bytes]
    #: Of what is read again, the first positions of those that are copies of other events.
    copies: set[int]
    #: Sources of which something is new that is quarantined, and of which that was not known before.
    unwatched: set[str]


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


async def resolve(
    connection: Connection,
    compression: Compression,
    batch: int,
    requests: Sequence[Append],
    revisions: Sequence[tuple[Revision, Standing]],
    watched: set[str],
) -> Resolved:
    """Which entries of these requests are new, and which of what is read again are copies. ``batch``: number of the
    transaction that is to store them; ``watched``: sources of which something is quarantined, as far as is known here:
    it gets those that the log knows of."""
    again = [(one, its, keys_read(one.keys)) for one, its in revisions if one.keys is not None]
    keys = [its for request in requests for its in request.keys]
    found, sources = _Found(), watched
    if keys or again:
        asked = _asked(keys, again)
        found = await _find(connection, asked, bool(watched))
        sources = found.sources
        if not sources <= watched:
            # Another service has quarantined what these events may be.
            watched |= sources
            keys = [its for request in requests for its in keys_of(request.entries, Former(0), watched)]
            asked = _asked(keys, again)
            found = await _find(connection, asked, True)
    else:
        asked = []
    asking = _Asking(connection, compression, batch, found, asked, bool(watched))
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
            known = await asking.until_known(its_keys, partial(identities.resolve, entry, its_keys, position))
            if known.position != position:
                new.pop()
                lacks_event = known.quarantined and entry.event is not None
                answers.append(receipt((known.uid, None, asking.place(known.position) if lacks_event else None)))
                continue
            if known.uid != entry.uid:
                event = None if entry.event is None else renamed(entry.event, uid_text(known.uid).encode())
                new[-1] = entry._replace(uid=known.uid, event=event)
            answers.append(receipt((known.uid, place, None)))
        receipts.append(answers)
    copies = set()
    identities.begin_request()
    for one, its, its_keys in again:
        position = reference(its.batch, its.place)
        reading = partial(identities.read_again, its.uid, its_keys, position, one.event)
        if (await asking.until_known(its_keys, reading)).position != position:
            copies.add(one.first)
    unwatched = set()
    if not watched <= sources:
        unwatched = {entry.source for entry in new if entry.event is None} - sources
    return Resolved(new, receipts, identities.changed, asking.before, asking.absent, copies, unwatched)


async def find_known(
    connection: Connection, compression: Compression, entries: Sequence[NewEntry], watched: set[str]
) -> list[bytes | None]:
    """The uids of the events that the log has of these, as `adapter.log.protocol.Log.known`. ``watched``: as for
    `resolve`."""
    request = Append(entries, None, keys_of(entries, Former(0), watched))
    # No batch has this number: nothing is stored.
    resolved = await resolve(connection, compression, -1, [request], [], watched)
    (receipts,) = resolved.receipts
    new = {one.uid for one in receipts if one.position is not None}
    return [None if one.uid in new else one.uid for one in receipts]


def _asked(keys: Iterable[Keys], again: Iterable[tuple[Revision, Standing, Keys]]) -> list[bytes]:
    """The keys to ask for, in order."""
    found = {key for its in keys for key in (its.strong, its.weak, its.content) if key is not None}
    found.update(key for *_, its in again for key in (its.strong, its.weak, its.content) if key is not None)
    return sorted(found)


async def watch(connection: Connection, sources: Iterable[str]) -> None:
    """Note in the transaction that runs that something of these sources is quarantined."""
    if names := sorted(sources):
        await connection.execute(_WATCH, names)


async def store_keys(connection: Connection, resolved: Resolved) -> bool:
    """Store the keys in the transaction that runs; whether all of them were as they had been found. In their order, so
    that of two who store the same ones, one waits for the other."""
    fresh: list[tuple[bytes, int, int, int, int, bytes | None]] = []
    changed: list[tuple[bytes, int, int, int, int]] = []
    for key in sorted(resolved.changed):
        before = resolved.before.get(key)
        position, uid, taken, equal, _ = resolved.changed[key]
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


class _Found:
    """What the log has."""

    def __init__(self) -> None:
        self.known: dict[bytes, Known] = {}
        #: Positions of those that are quarantined, by what stands for them.
        self.quarantined: dict[int, int] = {}
        #: Sources of which something was quarantined.
        self.sources: set[str] = set()


async def _find(connection: Connection, keys: Sequence[bytes], is_watched: bool) -> _Found:
    """What the log has under these keys; ``is_watched``: it may have something quarantined."""
    found = _Found()
    for key, batch, place, uid, taken, equal, quarantined, source in await connection.fetch(
        _FIND_WATCHED if is_watched else _FIND, _uuids(keys)
    ):
        if source is not None:
            found.sources.add(source)
            continue
        one = reference(batch, place)
        found.known[key] = Known(one, uid or key, taken, equal, quarantined is not None)
        if quarantined is not None:
            found.quarantined[one] = quarantined
    return found


def _uuids(keys: Sequence[bytes]) -> str:
    return f"{{{b''.join(keys).hex(',', 16)}}}"


class _Asking:
    """What is asked of the log while newcomers are resolved; the contents of those that were, too."""

    def __init__(
        self,
        connection: Connection,
        compression: Compression,
        batch: int,
        found: _Found,
        asked: Iterable[bytes],
        is_watched: bool,
    ) -> None:
        self._connection = connection
        self._compression = compression
        self._batch = batch
        #: What the log has, by key; and the keys that it does not have.
        self.before = found.known
        self.absent = set(asked) - found.known.keys()
        self._quarantined = found.quarantined
        self._is_watched = is_watched
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

    def place(self, position: int) -> int | None:
        """Where something quarantined stands: its position; of this transaction its place, counted down from -1."""
        batch, place = batch_and_place(position)
        return -1 - place if batch == self._batch else self._quarantined.get(position)

    async def until_known(self, keys: Keys, judge: Callable[[], Known]) -> Known:
        """What is judged, once all has been asked for that it takes. ``keys``: of the newcomer."""
        while True:
            try:
                return judge()
            except _MissingKey as missing:
                await self.ask_keys(missing.key, keys)
            except _MissingEvent as missing:
                await self.ask_events(missing.reference)
            except _MissingRaw as missing:
                await self.ask_raw(missing.reference)

    async def ask_keys(self, key: bytes, keys: Keys) -> None:
        """Ask for a key, and for those that the newcomer with these keys may need next."""
        likely = set() if keys.weak is None else {group_key(keys.weak, number) for number in range(GROUPS)}
        asked = sorted(({key} | likely) - self.before.keys() - self.absent)
        found = await _find(self._connection, asked, self._is_watched)
        self.before |= found.known
        self._quarantined |= found.quarantined
        self.absent |= set(asked) - found.known.keys()

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
        asking = _RUNS.format(table=table, media="run.media" if table == "raw" else "''")
        for batch, place, sizes, content, media in await self._connection.fetch(
            asking, *map(list, zip(*runs, strict=True))
        ):
            pieces = split(self._compression.decompress_one(content), sizes)
            found[batch, place] = [opened(piece, media).content for piece in pieces]
        return {one: found[batch, run][number] for one, (batch, run, number) in places.items() if (batch, run) in found}
