"""How entries of the log get into the search in PostgreSQL."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from io import BytesIO
from typing import Any, NamedTuple, TypeVar

import asyncpg

from adapter.errors import StoreError, StoreMismatch
from adapter.log.postgresql.address import Address, read_address
from adapter.log.postgresql.connecting import Connection, connect
from adapter.log.postgresql.failures import FAILURES, store_error
from adapter.log.protocol import EventRow, Events
from adapter.search import accounts as of_accounts
from adapter.search.keys import HOUR, EventKeys, Symbol, Symbols, general_kind, general_origin
from adapter.search.learning import Learning
from adapter.search.postgresql.accounts import add as add_accounts
from adapter.search.postgresql.accounts import count_again, put, saying
from adapter.search.postgresql.schema import (
    COLUMNS,
    PART_SIZE,
    VERSION,
    channel_of,
    drop_tables,
    events_of,
    make_part,
    open_tables,
)
from adapter.search.store import Overtaken
from adapter.search.values import Values
from adapter.search_fields import search_fields

#: What a session of the filler sets. A search that is lost is filled again: its commits need not wait for the disk. An
#: open transaction whose filler stands still is ended.
_SETTINGS = {
    "synchronous_commit": "off",
    "idle_in_transaction_session_timeout": "10000",
    "statement_timeout": "120000",
    "lock_timeout": "10000",
    "enable_seqscan": "on",
    "enable_hashjoin": "on",
}
#: How long a part that is dropped waits for those who read it; others wait behind it. Milliseconds.
_DROP_TIMEOUT = 1_000
#: Entries whose names are learned again in one transaction.
_LEARNED = 10_000
#: PostgreSQL takes no longer lists of words, bytes; about half of it, since it counts more than the words.
_WORDS_SIZE = 500_000

Result = TypeVar("Result")

#: Position, uid and arrival of an entry.
_Place = tuple[int, bytes | None, int | None]


#: Part, field, value, origin, events.
_Said = tuple[int, int, str, int, int]
#: By hour, origin and kind, a number of events.
_Hours = Counter[tuple[int, int, int]]


class _Part(NamedTuple):
    """What a batch brings into a part."""

    rows: list[str]
    times: list[int]
    kinds: set[int]
    origins: set[int]


class _Batch(NamedTuple):
    last: EventRow
    parts: dict[int, _Part]
    #: Positions of revisions, with that of the entry before; by the part of the latter.
    superseded: dict[int, list[tuple[int, int]]]
    later: dict[int, list[int]]
    hours: _Hours
    #: What they say of accounts; and of revisions the part and position of the entry before, and their own.
    accounts: list[of_accounts.Row]
    revised: list[tuple[tuple[int, int] | None, tuple[int, int]]]


class PostgresqlStore:
    """`adapter.search.store.Store` of a database; its loop runs while it is asked."""

    def __init__(self, address: Address, *, part_size: int = PART_SIZE, with_people: bool = True) -> None:
        """Open what is there, or make a new one; also where that keeps accounts and is to keep none, or the other way
        round.

        Raises:
            StoreMismatch: a newer program fills it.
            StoreError: it cannot be opened now.
        """
        self._address = address
        self._with_people = with_people
        self._runner = asyncio.Runner()
        self._connection: Connection
        try:
            self._run(self._open(part_size))
        except BaseException:
            self._runner.close()
            raise

    def _run(self, step: Coroutine[Any, Any, Result]) -> Result:
        try:
            return self._runner.run(step)
        except FAILURES as error:
            raise store_error(self._address.name, error) from None

    async def _open(self, part_size: int) -> None:
        self._connection = run = await connect(self._address, _SETTINGS)
        version = await open_tables(run, part_size=part_size)
        if version > VERSION:
            raise StoreMismatch(
                f"PostgreSQL at {self._address.name}: the search in schema {self._address.schema!r} is of version "
                f"{version}, but this program knows versions up to {VERSION}; run the newer program"
            )
        if await run.fetchval("SELECT people FROM search") is not self._with_people:
            # One that was just made says nothing of it yet.
            if await run.fetchval("SELECT people IS NOT NULL FROM search"):
                await drop_tables(run)
                await open_tables(run, part_size=part_size)
            await run.execute("UPDATE search SET people = $1", self._with_people)
        self._waiting = await run.fetchval("SELECT count(*) FROM search_account_new") or 0
        row = await run.fetchrow("SELECT position, uid, received_at, secret, part_size FROM search")
        assert row is not None
        self.position, self.uid, self.received_at, self._secret, self._part_size = row
        self._kinds = Symbols(map(_symbol, await run.fetch("SELECT * FROM search_kind")), general_kind)
        self._origins = Symbols(map(_symbol, await run.fetch("SELECT * FROM search_origin")), general_origin)
        self._keys = EventKeys(self._secret)
        self._learning = Learning()
        self._values = Values(self._said_in)

    def close(self) -> None:
        """As `adapter.search.store.Store.close`."""
        with suppress(StoreError):
            self._run(self._connection.close(timeout=1))
        self._runner.close()

    def throw_away(self) -> None:
        """As `adapter.search.store.Store.throw_away`."""
        self._run(drop_tables(self._connection))
        self.close()

    def add(self, entries: Iterable[EventRow], find_before: Callable[[bytes, int], int | None]) -> None:
        """As `adapter.search.store.Store.add`.

        Raises:
            Overtaken: somebody else fills it too.
            StoreError: it cannot be written now.
        """
        batch = self._read(entries, find_before)
        self._run(self._add(batch, self._values.new()))

    def skip(self, position: int, uid: bytes | None) -> None:
        """As `adapter.search.store.Store.skip`. Raises: as `add`."""

        async def go_on() -> None:
            async with self._transaction((position, uid, None)):
                pass

        self._run(go_on())

    def _read(self, entries: Iterable[EventRow], find_before: Callable[[bytes, int], int | None]) -> _Batch:
        """What is found by what, as it is copied into the tables."""
        size, kinds, origins, keys_of = self._part_size, self._kinds, self._origins, self._keys.of
        learn, say = self._learning.take, self._values.take
        users, clients, ids = self._keys.users, self._keys.clients, self._keys.actors
        with_people, deeds = self._with_people, of_accounts.Deeds()
        revised: list[tuple[tuple[int, int] | None, tuple[int, int]]] = []
        hours: _Hours = Counter()
        parts: dict[int, _Part] = {}
        superseded: dict[int, list[tuple[int, int]]] = {}
        later: dict[int, list[int]] = {}
        last: EventRow | None = None
        for last in entries:
            position, uid, revision, received_at, event = last
            if event is None:
                continue
            found = search_fields(event)
            kind = kinds[found.type, found.outcome, found.reason]
            origin = origins[found.source, found.provider, found.realm_id, found.realm_name]
            keys = keys_of(found, general_kind=kind < 0, general_origin=origin < 0)
            number = position // size
            learn(found, origin, number)
            if (part := parts.get(number)) is None:
                part = parts[number] = _Part([], [], set(), set())
            before = find_before(uid, position) if revision else None
            if revision:
                revised.append((None if before is None else (before // size, before), (number, position)))
            if before is not None:
                superseded.setdefault(before // size, []).append((position, before))
                later.setdefault(number, []).append(position)
            ip = found.ip
            user, client = found.user, found.client
            say(found, user, origin, number, has_address=ip is not None)
            hours[found.time // HOUR, origin, kind] += 1
            actor = _NULL if user is None else users[user]
            of_client = _NULL if client is None else clients[client]
            address, type = _NULL if ip is None else ip.hex(), _NULL if kind > 0 else _copied(found.type)
            account, deed = _NULL, _NULL
            if with_people and (id := of_accounts.account_of(found)) is not None:
                said_of, done = ids[id], of_accounts.deed_of(found)
                deeds.take(said_of, done, origin, found.time, position, is_new=not revision)
                account, deed = str(said_of), _NULL if done is None else str(done)
            resource = _NULL if (path := found.resource) is None else _copied(path)
            part.rows.append(
                f"{position}\t{found.time}\t{received_at}\t{kind}\t{origin}\tf\t{actor}\t{of_client}\t{address}\t{type}\t"
                f"{resource}\t{account}\t{deed}\t"
                f"{{{','.join(map(str, keys))}}}\t{_words(found.text)}\n"
            )
            part.times.append(found.time)
            part.kinds.add(kind)
            part.origins.add(origin)
        assert last is not None
        return _Batch(last, parts, superseded, later, hours, deeds.rows(), revised)

    @asynccontextmanager
    async def _transaction(self, place: _Place | None = None) -> AsyncIterator[Connection]:
        """One transaction; ``place``: up to where the search is filled with it, if it goes on.

        Raises:
            Overtaken: somebody else fills it too.
        """
        run = self._connection
        position, uid, received_at = place or (self.position, self.uid, self.received_at)
        async with run.transaction():
            # Locks the row: of two fillers one goes on, and the other one finds it farther than it knows.
            moved = await run.fetchval(_MOVE, position, uid, received_at, self.position, self._secret)
            if moved is None:
                raise Overtaken
            yield run
            if position != self.position:
                await run.execute("SELECT pg_notify($1, $2)", channel_of(self._address), str(position))
        self.position, self.uid, self.received_at = position, uid, received_at

    async def _add(self, batch: _Batch, said: Sequence[_Said]) -> None:
        last = batch.last
        async with self._transaction((last.position, last.uid, last.received_at)) as run:
            for table, symbols in (("search_kind", self._kinds), ("search_origin", self._origins)):
                if symbols.new:
                    rows = [(id, *(text and text.replace("\0", "\ufffd") for text in one)) for id, one in symbols.new]
                    await run.copy_records_to_table(table, records=rows)
            for number, part in batch.parts.items():
                await make_part(run, number)
                await run.copy_to_table(
                    events_of(number), source=_bytes("".join(part.rows)), columns=COLUMNS, format="text"
                )
                await run.execute(
                    _KNOW, number, min(part.times), max(part.times), sorted(part.kinds), sorted(part.origins)
                )
            changed = await self._count_changed(run, batch.revised)
            for number, pairs in batch.superseded.items():
                if await run.fetchval("SELECT to_regclass($1)", events_of(number)) is not None:
                    positions, befores = zip(*pairs, strict=True)
                    counted = await run.fetch(_COUNTED.format(events_of(number)), befores)
                    batch.hours.subtract(tuple(row) for row in counted)
                    await run.execute(_SUPERSEDE.format(events_of(number)), positions, befores)
            for number, later in batch.later.items():
                await run.execute(_LATER.format(events_of(number)), later)
            # Then only: accounts that are counted again here are counted from events of which each stands once.
            self._waiting = await add_accounts(run, batch.accounts, self._waiting)
            if changed:
                await self._put(run)
                await count_again(run, changed)
            await _count(run, batch.hours)
            await self._write_names(run)
            await _say(run, said)
        self._kinds.new.clear()
        self._origins.new.clear()
        self._learning.new.clear()

    async def _count_changed(
        self, run: Connection, revised: Sequence[tuple[tuple[int, int] | None, tuple[int, int]]]
    ) -> set[int]:
        """The accounts that are to be counted again since events are read anew."""
        wanted: dict[int, list[int]] = {}
        for pair in revised:
            for one in pair:
                if one is not None:
                    wanted.setdefault(one[0], []).append(one[1])
        found: dict[int, tuple[int | None, ...]] = {}
        for number, positions in wanted.items():
            if await run.fetchval("SELECT to_regclass($1)", events_of(number)) is not None:
                for position, *row in await run.fetch(_READ_ANEW.format(events_of(number)), positions):
                    found[position] = tuple(row)
        changed: set[int] = set()
        for before, after in revised:
            changed |= of_accounts.changed_by(None if before is None else found.get(before[1]), found.get(after[1]))
        return changed

    async def _put(self, run: Connection) -> None:
        await put(run)
        self._waiting = 0

    async def _write_names(self, run: Connection) -> None:
        if self._learning.new:
            rows = [(*named, *seen) for named, seen in self._learning.new.items()]
            await run.execute(_NAMES, *map(list, zip(*rows, strict=True)))

    def prune(self, log: Events) -> Iterator[None]:
        """As `adapter.search.store.Store.prune`. Raises: as `add`."""
        parts = self._run(self._connection.fetch("SELECT id, removed, stale FROM search_part ORDER BY id"))
        for number, known, stale in parts:
            first, end = max(number * self._part_size, 1), (number + 1) * self._part_size - 1
            last = min(end, self.position)
            removed = log.removed(first - 1, last)
            if removed == known and not stale:
                continue
            if removed == end - first + 1:
                self._run(self._drop(number))
            elif removed == known:
                yield from self._learn_again(number, log, first, last)
            else:
                left = log.left(first - 1, last)
                self._run(self._delete(number, left, last, removed))
            yield

    async def _drop(self, number: int) -> None:
        with suppress(asyncpg.LockNotAvailableError):  # another time
            async with self._transaction() as run:
                await run.execute(f"SET LOCAL lock_timeout = {_DROP_TIMEOUT}")
                accounts: list[int] = []
                if await run.fetchval("SELECT to_regclass($1)", events_of(number)) is not None:
                    await _count_less(run, await run.fetch(_COUNTED_IN.format(events_of(number))))
                    await self._put(run)
                    accounts = await saying(run, number, None, 0)
                await run.execute(f"DROP TABLE IF EXISTS {events_of(number)}")
                await run.execute("DELETE FROM search_part WHERE id = $1", number)
                await count_again(run, accounts)
                await self._forget_names(run, number)

    def _said_in(self, part: int) -> Iterable[tuple[int, str, int]]:
        sql = "SELECT field, value, origin FROM search_said WHERE part = $1"
        return map(tuple, self._run(self._connection.fetch(sql, part)))

    async def _forget_names(self, run: Connection, number: int) -> None:
        """Delete the names that were said last in a part, and its values."""
        await run.execute("DELETE FROM search_name WHERE part = $1", number)
        self._learning.forget()
        await run.execute("DELETE FROM search_said WHERE part = $1", number)
        self._values.forget()

    def _learn_again(self, number: int, log: Events, first: int, last: int) -> Iterator[None]:
        """Names that what is left of a part says, in the place of those that it said. The last step ends it: one
        that is broken off is begun anew."""

        async def forget() -> None:
            async with self._transaction() as run:
                await self._forget_names(run, number)

        async def learn(said: Sequence[_Said], *, done: bool) -> None:
            async with self._transaction() as run:
                await self._write_names(run)
                await _say(run, said)
                if done:
                    await run.execute("UPDATE search_part SET stale = false WHERE id = $1", number)
            self._learning.new.clear()

        self._run(forget())
        after = first - 1
        while after < last:
            until = min(last, after + _LEARNED)
            for entry in log.each(after, until):
                if entry.event is not None:
                    found = search_fields(entry.event)
                    origin = self._origins[found.source, found.provider, found.realm_id, found.realm_name]
                    self._learning.take(found, origin, number)
                    self._values.take(found, found.user, origin, number, has_address=found.ip is not None)
            after = until
            self._run(learn(self._values.new(), done=after == last))
            yield

    async def _delete(self, number: int, left: list[int], last: int, removed: int) -> None:
        async with self._transaction() as run:
            await self._put(run)
            accounts = await saying(run, number, left, last)
            await _count_less(run, await run.fetch(_DELETE.format(events_of(number)), left, last))
            await count_again(run, accounts)
            await run.execute("UPDATE search_part SET removed = $1, stale = true WHERE id = $2", removed, number)


def open_store(url: str, with_people: bool) -> PostgresqlStore:
    """As `adapter.search.store.open_store`."""
    return PostgresqlStore(read_address(url), with_people=with_people)


_MOVE = """
UPDATE search SET position = $1, uid = $2, received_at = $3 WHERE position = $4 AND secret = $5 RETURNING position
"""
_KNOW = """
INSERT INTO search_part AS part (id, earliest, latest, kinds, origins) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (id) DO UPDATE SET
  earliest = least(part.earliest, excluded.earliest), latest = greatest(part.latest, excluded.latest),
  kinds = ARRAY(SELECT unnest(part.kinds) UNION SELECT unnest(excluded.kinds)),
  origins = ARRAY(SELECT unnest(part.origins) UNION SELECT unnest(excluded.origins))
"""
_READ_ANEW = "SELECT position, account, origin, time, deed FROM {0} WHERE position = ANY ($1::bigint[])"
_SUPERSEDE = """
UPDATE {0} SET superseded_by = given.by FROM unnest($1::bigint[], $2::bigint[]) AS given (by, before)
WHERE position = given.before
"""
_NAMES = """
INSERT INTO search_name AS known (kind, id, name, origin, shown, first, last, part)
SELECT * FROM unnest($1::integer[], $2::text[], $3::text[], $4::integer[], $5::text[], $6::bigint[], $7::bigint[],
  $8::bigint[])
ON CONFLICT (kind, id, name, origin) DO UPDATE SET
  shown = excluded.shown, first = least(known.first, excluded.first), last = greatest(known.last, excluded.last),
  part = greatest(known.part, excluded.part)
"""
_LATER = "UPDATE {0} SET later = true WHERE position = ANY ($1::bigint[])"
#: What is deleted, as it was counted.
_DELETE = f"""
WITH gone AS (
  DELETE FROM {{0}} AS event WHERE position <= $2
  AND NOT EXISTS (SELECT FROM unnest($1::bigint[]) AS kept (position) WHERE kept.position = event.position)
  RETURNING time, origin, kind, superseded_by
)
SELECT time / {HOUR} AS hour, origin, kind, count(*) FROM gone WHERE superseded_by IS NULL GROUP BY 1, 2, 3
"""
#: How events are counted: those in their latest revision.
_COUNTED_IN = f"""
SELECT time / {HOUR} AS hour, origin, kind, count(*) FROM {{0}} WHERE superseded_by IS NULL GROUP BY 1, 2, 3
"""
_COUNTED = f"""
SELECT time / {HOUR}, origin, kind FROM {{0}} WHERE position = ANY ($1::bigint[]) AND superseded_by IS NULL
"""
_COUNT = """
INSERT INTO search_hourly AS known (hour, origin, kind, events)
SELECT * FROM unnest($1::bigint[], $2::integer[], $3::integer[], $4::bigint[])
ON CONFLICT (hour, origin, kind) DO UPDATE SET events = known.events + excluded.events
"""
_NONE_LEFT = """
DELETE FROM search_hourly AS known
USING unnest($1::bigint[], $2::integer[], $3::integer[]) AS given (hour, origin, kind)
WHERE (known.hour, known.origin, known.kind) = (given.hour, given.origin, given.kind) AND known.events <= 0
"""
_SAY = """
INSERT INTO search_said AS known (part, field, value, origin, events)
SELECT * FROM unnest($1::bigint[], $2::integer[], $3::text[], $4::integer[], $5::bigint[])
ON CONFLICT (part, field, value, origin) DO UPDATE SET events = known.events + excluded.events
"""


async def _count(run: Connection, hours: _Hours) -> None:
    """Add to the events of each hour, origin and kind."""
    rows = sorted((*hour, events) for hour, events in hours.items() if events)
    if rows:
        await run.execute(_COUNT, *map(list, zip(*rows, strict=True)))
    less = [row[:3] for row in rows if row[3] < 0]
    if less:
        await run.execute(_NONE_LEFT, *map(list, zip(*less, strict=True)))


async def _count_less(run: Connection, rows: Sequence[asyncpg.Record]) -> None:
    await _count(run, Counter({(hour, origin, kind): -events for hour, origin, kind, events in rows}))


async def _say(run: Connection, said: Sequence[_Said]) -> None:
    """Add to the values."""
    if said:
        await run.execute(_SAY, *map(list, zip(*said, strict=True)))


#: As COPY has it (PostgreSQL's documentation, COPY, "Text Format").
_NULL = "\\N"
_ESCAPED = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\0": "\ufffd"})


def _copied(text: str) -> str:
    return text.translate(_ESCAPED)


def _words(text: str) -> str:
    """A ``tsvector`` of words, none of which has a quote or a backslash in it."""
    words = set(text.split(" "))
    words.discard("")
    if len(text) > _WORDS_SIZE // 4:
        room = _WORDS_SIZE
        for word in sorted(words):
            room -= len(word.encode()) + 8
            if room < 0:
                words.discard(word)
    return "'" + "' '".join(words) + "'" if words else ""


def _bytes(text: str) -> BytesIO:
    return BytesIO(text.encode())


def _symbol(row: asyncpg.Record) -> tuple[int, Symbol]:
    number, *symbol = row
    return number, tuple(symbol)
