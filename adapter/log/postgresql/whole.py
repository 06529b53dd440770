"""A log in PostgreSQL as a whole: to be carried to another engine, or made of what another one holds."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from itertools import groupby

from adapter.errors import StoreMismatch, StoreUnavailable
from adapter.log.compression import Compression
from adapter.log.pieces import piece_of
from adapter.log.postgresql.address import read_address
from adapter.log.postgresql.connecting import Connection, connect
from adapter.log.postgresql.failures import FAILURES, opening_error, store_error
from adapter.log.postgresql.identities import watch
from adapter.log.postgresql.packing import ENTRY, EVENT, RAW
from adapter.log.postgresql.progress import read_progress
from adapter.log.postgresql.reading import read_stored
from adapter.log.postgresql.schema import (
    check_schema,
    check_server,
    make_month,
    month_of,
    number_at,
    open_schema,
    read_schema,
)
from adapter.log.postgresql.works import text, text_or_none
from adapter.log.protocol import BlockedKey, Held, Note
from adapter.log.removal import BLOCK
from adapter.log.runs import cut
from adapter.log.transfer import KEYS, PAGE, UNFINISHED, Carried, CarriedKey, Mark, Page, Rest

#: How long one statement may take, seconds.
_TIMEOUT = 300

_FIRSTS = """
SELECT batch.first + revision.place, revision.first
FROM batch JOIN revision ON revision.batch = batch.number
WHERE batch.first >= coalesce((SELECT first FROM batch WHERE first <= $1 + 1 ORDER BY first DESC LIMIT 1), 0)
  AND batch.first <= $2 AND batch.first + revision.place BETWEEN $1 + 1 AND $2
"""
# The latest arrival of emptied batches that end in a stretch.
_EMPTIED = """
SELECT max(latest) FROM (
  (SELECT latest, first + entries - 1 AS last FROM emptied WHERE first <= $1 ORDER BY first DESC LIMIT 1)
  UNION ALL
  (SELECT latest, first + entries - 1 FROM emptied WHERE first > $1 AND first <= $2)
) AS those WHERE last > $1 AND last <= $2
"""
# The batch that a position lies in, emptied or not.
_BATCH_OF = """
CROSS JOIN LATERAL (
  (SELECT number, first FROM batch WHERE first <= {position} ORDER BY first DESC LIMIT 1)
  UNION ALL
  (SELECT number, first FROM emptied WHERE first <= {position} ORDER BY first DESC LIMIT 1)
  ORDER BY first DESC LIMIT 1
) AS its
"""
_KEYS = f"""
SELECT key, coalesce(batch.first, emptied.first) + identity.place, coalesce(uid, key), taken, equal
FROM identity LEFT JOIN batch ON batch.number = identity.batch LEFT JOIN emptied ON emptied.number = identity.batch
WHERE key > $1 ORDER BY key LIMIT {KEYS}
"""
_PUT_KEYS = f"""
INSERT INTO identity (key, batch, place, taken, equal, uid)
SELECT key, its.number, position - its.first, taken, equal, nullif(uid, key)
FROM unnest($1::text::uuid[], $2::bigint[], $3::text::uuid[], $4::integer[], $5::integer[])
  AS known (key, position, uid, taken, equal)
{_BATCH_OF.format(position="position")}
"""
# Of these first entries, how many later ones they have.
_LATER = "SELECT first, max(number) FROM revision WHERE first = ANY($1) GROUP BY first"
_COUNT = """
INSERT INTO gap (block, entries) SELECT * FROM unnest($1::bigint[], $2::integer[])
ON CONFLICT (block) DO UPDATE SET entries = gap.entries + excluded.entries
"""
_KEEP_MARK = f"""
INSERT INTO note (name, text, version) VALUES ('{UNFINISHED}', $1, 1)
ON CONFLICT (name) DO UPDATE SET text = excluded.text
"""


class PostgresqlWhole:
    """`adapter.log.transfer.NewLog`; made by `open_whole`."""

    def __init__(self, name: str, connection: Connection, dictionary: bytes) -> None:
        """``name``: of the database, for messages."""
        self._name = name
        self._connection = connection
        self._compression = Compression(dictionary)

    @property
    def dictionary(self) -> bytes:
        return self._compression.dictionary

    async def head(self) -> int:
        with self._asking():
            head: int = await self._connection.fetchval("SELECT head FROM counter")
        return head

    async def page(self, after: int, latest: int) -> Page:
        with self._asking():
            end = min(after + PAGE, await self._connection.fetchval("SELECT head FROM counter"))
            stored = await read_stored(self._connection, self._compression, after, until=end, limit=PAGE)
            until = stored[-1].entry.position if stored else end
            firsts = dict(map(tuple, await self._connection.fetch(_FIRSTS, after, until)))
            emptied = await self._connection.fetchval(_EMPTIED, after, until)
        entries = [
            Carried(one.entry, one.raw, one.media, firsts.get(one.entry.position, one.entry.position), one.envelope)
            for one in stored
        ]
        arrivals = [one.entry.received_at for one in entries]
        return Page(after, until, entries, max([latest, -1 if emptied is None else emptied, *arrivals]))

    async def keys(self, after: bytes) -> list[CarriedKey]:
        with self._asking():
            while rows := await self._connection.fetch(_KEYS, after.ljust(16, b"\0")):
                known = [CarriedKey(*row) for row in rows if row[1] is not None]
                if known:
                    return known
                after = rows[-1]["key"]
            return []

    async def rest(self) -> Rest:
        fetch = self._connection.fetch
        with self._asking():
            names = [name for (name,) in await fetch('SELECT name FROM reader ORDER BY name COLLATE "C"')]
            states = [(name, await read_progress(self._connection, name)) for name in names]
            held = await fetch(
                'SELECT reader, position, tries, due_at, answer FROM held ORDER BY reader COLLATE "C", position'
            )
            blocked = await fetch(
                'SELECT reader, key, position, is_held FROM blocked ORDER BY reader COLLATE "C", key COLLATE "C"'
            )
            notes = await fetch('SELECT name, text, version FROM note ORDER BY name COLLATE "C"')
            tokens = await fetch('SELECT name, token FROM claim ORDER BY name COLLATE "C"')
        return Rest(
            [(name, state) for name, state in states if state is not None],
            [(name, Held(*row)) for name, *row in held],
            [Note(*row) for row in notes if row["name"] != UNFINISHED],
            [(name, token) for name, token in tokens],
            [(name, BlockedKey(*row)) for name, *row in blocked],
        )

    @contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            yield
        except FAILURES as error:
            raise store_error(self._name, error) from None

    # Writing

    async def mark(self) -> Mark:
        with self._asking():
            row = await self._connection.fetchrow("SELECT head, latest FROM counter")
            key = await self._connection.fetchval("SELECT text FROM note WHERE name = $1", UNFINISHED)
        assert row is not None
        return Mark(row["head"], row["latest"], bytes.fromhex(key))

    async def put_page(self, page: Page) -> None:
        with self._asking():
            arrival = page.entries[0].entry.received_at if page.entries else page.latest
            number = number_at(arrival, await self._connection.fetchval("SELECT nextval('batch_number')"))
            await make_month(self._connection, month_of(number))
            async with self._connection.transaction():
                await self._put_page(page, number)

    async def _put_page(self, page: Page, number: int) -> None:
        run = self._connection.execute
        table = "batch" if page.entries else "emptied"
        size = page.until - page.after
        await run(
            f"INSERT INTO {table} (number, first, entries, latest) VALUES ($1, $2, $3, $4)",
            number, page.after + 1, size, page.latest,
        )  # fmt: skip
        packed = _Packing(self._compression, number, page.after + 1)
        for some in _neighbours(page.entries):
            packed.add(some)
        for name, columns, rows in (
            ("entry", ENTRY, packed.entries), ("event", EVENT, packed.events), ("raw", RAW, packed.raws)
        ):  # fmt: skip
            if rows:
                await self._connection.copy_records_to_table(name, records=rows, columns=columns)
        await self._put_later(page, number)
        await watch(self._connection, {one.entry.source for one in page.entries if one.entry.event is None})
        there = {one.entry.position for one in page.entries}
        gone = [position for position in range(page.after + 1, page.until + 1) if position not in there]
        blocks = sorted(Counter([position // BLOCK for position in gone]).items())
        if blocks:
            await run(_COUNT, *map(list, zip(*blocks, strict=True)))
        await run("UPDATE counter SET head = $1, latest = $2", page.until, page.latest)

    async def _put_later(self, page: Page, number: int) -> None:
        later = [(one.first, one.entry.position) for one in page.entries if one.first != one.entry.position]
        if not later:
            return
        numbers = Counter(dict(map(tuple, await self._connection.fetch(_LATER, [first for first, _ in later]))))
        rows = []
        for first, position in later:
            numbers[first] += 1
            rows.append((first, numbers[first], number, position - page.after - 1))
        columns = ("first", "number", "batch", "place")
        await self._connection.copy_records_to_table("revision", records=rows, columns=columns)

    async def put_keys(self, keys: Sequence[CarriedKey]) -> None:
        with self._asking():
            async with self._connection.transaction():
                await self._connection.execute(
                    _PUT_KEYS,
                    _uuids(one.key for one in keys),
                    [one.position for one in keys],
                    _uuids(one.uid for one in keys),
                    [one.taken for one in keys],
                    [one.equal for one in keys],
                )
                await self._connection.execute(_KEEP_MARK, keys[-1].key.hex())

    async def put_rest(self, rest: Rest) -> None:
        run, many = self._connection.execute, self._connection.executemany
        with self._asking():
            async with self._connection.transaction():
                await run("DELETE FROM attempt")
                await run("DELETE FROM held")
                await run("DELETE FROM blocked")
                await run("DELETE FROM reader")
                await run("DELETE FROM claim")
                await run("DELETE FROM note WHERE name <> $1", UNFINISHED)
                await many(
                    "INSERT INTO reader"
                    " (name, cursor, epoch, filter, matched, delivered, skipped, removed, since, behind, carried)"
                    " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
                    [
                        (text(name), one.cursor, one.epoch, text(one.filter), one.matched, one.delivered, one.skipped,
                         one.removed, one.since, one.behind, one.carried)
                        for name, one in rest.readers
                    ],
                )  # fmt: skip
                await many(
                    "INSERT INTO held VALUES ($1, $2, $3, $4, $5)",
                    [(text(name), one.position, one.tries, one.due_at, text(one.answer)) for name, one in rest.held],
                )
                await many(
                    "INSERT INTO blocked VALUES ($1, $2, $3, $4)",
                    [(text(name), text(one.key), one.position, one.is_held) for name, one in rest.blocked],
                )
                await many("INSERT INTO note VALUES ($1, $2, $3)", [tuple(note) for note in rest.notes])
                await many("INSERT INTO claim VALUES ($1, $2, NULL, clock_timestamp())", list(rest.tokens))

    async def finish(self) -> None:
        with self._asking():
            await self._connection.execute("DELETE FROM note WHERE name = $1", UNFINISHED)


class _Packing:
    """The rows of a batch's entries."""

    def __init__(self, compression: Compression, number: int, first: int) -> None:
        self._compression = compression
        self._number = number
        self._first = first
        self.entries: list[tuple[object, ...]] = []
        self.events: list[tuple[object, ...]] = []
        self.raws: list[tuple[object, ...]] = []

    def add(self, some: Sequence[Carried]) -> None:
        """Entries that follow each other, which all have native bytes of their own or none."""
        has_raws = some[0].raw is not None
        events = [one.entry.event or b"" for one in some]
        pieces = [piece_of(one.raw or b"", one.media, one.envelope) for one in some]
        raws, media = [piece for piece, _ in pieces], [kind for _, kind in pieces]
        sizes = [len(event) + len(raw) for event, raw in zip(events, raws, strict=True)]
        for run in cut(sizes, media):
            place = some[run.start].entry.position - self._first
            frames = self._compression.compress([b"".join(events[run]), b"".join(raws[run])])
            self.events.append((self._number, place, list(map(len, events[run])), frames[0]))
            if has_raws:
                self.raws.append((self._number, place, list(map(len, raws[run])), media[run.start], frames[1]))
            self.entries.extend(
                (
                    self._number,
                    entry.position - self._first,
                    entry.uid,
                    entry.revision,
                    text(entry.source),
                    entry.received_at,
                    text_or_none(entry.type),
                    text_or_none(entry.native_type),
                    text_or_none(entry.problem),
                    None if entry.event is None else len(entry.event),
                    place,
                )
                for entry, *_ in some[run]
            )


def _neighbours(entries: Sequence[Carried]) -> Iterator[list[Carried]]:
    """Entries without a hole between them, which all have native bytes of their own or none."""
    for _, some in groupby(enumerate(entries), lambda one: (one[1].entry.position - one[0], one[1].raw is None)):
        yield [one for _, one in some]


def _uuids(keys: Iterable[bytes]) -> str:
    return f"{{{b''.join(keys).hex(',', 16)}}}"


@asynccontextmanager
async def open_whole(url: str, dictionary: bytes | None) -> AsyncIterator[PostgresqlWhole]:
    """As `adapter.log.opening.open_whole`, or with a dictionary as `open_new_log`."""
    address = read_address(url)
    connection: Connection | None = None
    try:
        try:
            connection = await connect(address, {"statement_timeout": str(_TIMEOUT * 1000)})
            async with asyncio.timeout(_TIMEOUT):
                await check_server(connection, address)
                if dictionary is None:
                    if await connection.fetchval("SELECT to_regclass($1)", f'"{address.schema}".about') is None:
                        raise StoreUnavailable(f"PostgreSQL at {address.name}: no log in schema {address.schema!r}")
                    await check_schema(connection, address)
                    opened = await read_schema(connection)
                else:
                    given = dictionary
                    opened = await open_schema(connection, address, lambda: given)
                    await _begin(connection, address.name)
        except FAILURES as error:
            raise opening_error(address.name, error) from None
        yield PostgresqlWhole(address.name, connection, opened.dictionary)
    finally:
        if connection is not None:
            connection.terminate()


async def _begin(connection: Connection, name: str) -> None:
    """
    Raises:
        StoreMismatch: there is another log already.
    """
    async with connection.transaction():
        if await connection.fetchval("SELECT count(*) FROM note WHERE name = $1", UNFINISHED):
            return
        used = "SELECT (SELECT head FROM counter) + (SELECT count(*) FROM reader) + (SELECT count(*) FROM note)"
        if await connection.fetchval(used):
            raise StoreMismatch(
                f"PostgreSQL at {name}: there is a log already; name another schema in the URL (?schema=NAME)"
            )
        await connection.execute(_KEEP_MARK, "")
