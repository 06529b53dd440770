"""Removing what is old from PostgreSQL: what is its own beside the suite of all engines."""

from __future__ import annotations

import asyncio
import datetime

import asyncpg
import pytest

from adapter.log.opening import open_events
from adapter.log.postgresql.address import read_address
from adapter.log.postgresql.connecting import connect
from adapter.log.postgresql.log import open_postgresql_log
from adapter.log.postgresql.schema import make_month
from adapter.log.protocol import Attempt, Removal, Removed, RetainingStore, Settlement
from tests.log.conformance import remove, revision
from tests.log.entries import new_entry, read_entry, unread_entry

SECONDS = 4_000_000_000


async def forget(log: RetainingStore, until: int) -> None:
    while await log.forget(until, SECONDS):
        pass


async def tables(connection: asyncpg.Connection[asyncpg.Record]) -> set[str]:
    return {
        name for (name,) in await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'idp_adapter'")
    }


async def test_reading_finds_what_is_left_behind_many_batches_that_are_gone(database_url: str) -> None:
    async with open_postgresql_log(database_url) as log:
        for number in range(300):
            await log.append([new_entry(f"{number}")])
        await log.append([new_entry(f"large-{number}") for number in range(3000)])
        await remove(log, until=3200)
        for limit in (1, 7, 1000):
            assert [one.position for one in await log.read(0, limit=limit)] == list(range(3201, 3301))[:limit]
        assert [one.entry.position for one in await log.read_stored(5, limit=1)] == [3201]
        assert (await log.usage()).first == 3201

        def events() -> tuple[list[int], int, list[int], bytes | None]:
            with open_events(database_url) as events:
                positions = [row.position for row in events.each(0, 3300)]
                return positions, events.removed(0, 3300), events.left(3000, 3300), events.uid(5)

        left = list(range(3201, 3301))
        assert await asyncio.to_thread(events) == (left, 3200, left, None)


async def test_of_what_was_removed_the_arrival_is_known_until_it_is_forgotten(database_url: str) -> None:
    async with open_postgresql_log(database_url) as log:
        for number in range(20):
            await log.append([new_entry(f"{number}-{part}", received_at=1000 * number) for part in range(10)])
        await remove(log, until=155)
        assert [await log.position_at(1000 * number) for number in (0, 1, 7, 15, 16, 99)] == [0, 10, 70, 155, 160, 200]
        await forget(log, 100)
        assert await log.position_at(12_000) == 120
        assert (await log.append([new_entry("9-0"), new_entry("12-0")]))[0].position == 201
        assert (await log.append([new_entry("12-0")]))[0].position is None


async def test_no_event_is_left_without_its_first_entry_when_it_is_read_again_meanwhile(database_url: str) -> None:
    async with open_postgresql_log(database_url) as one, open_postgresql_log(database_url) as other:
        await one.append([new_entry(f"{number}") for number in range(1500)])
        revised: list[list[int | None] | None] = []

        async def revise() -> None:
            for first in range(1, 1501, 3):
                revised.append(await other.revise([revision(first, first)]))

        await asyncio.gather(revise(), remove(one, until=1400))
        left = [entry for page in (0, 1450) for entry in await one.read(page)]
        firsts = {entry.uid for entry in left if entry.position <= 1500}
        assert {entry.uid for entry in left} == firsts
        assert [position for positions in revised for position in positions or ()] == list(range(1501, one.head + 1))
        connection = await asyncpg.connect(database_url, server_settings={"search_path": "idp_adapter"})
        lost = "SELECT count(*) FROM revision WHERE NOT EXISTS (SELECT FROM batch WHERE first <= revision.first)"
        assert await connection.fetchval(lost) == 0
        runs = "SELECT count(*) FROM event WHERE NOT EXISTS (SELECT FROM entry WHERE batch = event.batch)"
        assert await connection.fetchval(runs) == 0
        await connection.close()


async def test_a_removal_waits_for_a_reading_again_that_has_begun(database_url: str) -> None:
    """And then the event goes with its later entry."""
    async with open_postgresql_log(database_url) as log:
        await log.append([new_entry("a"), new_entry("b")])
        theirs = await connect(read_address(database_url))
        await theirs.execute("BEGIN")
        await theirs.execute("SELECT FROM entry WHERE place = 0 FOR KEY SHARE")
        await theirs.execute("INSERT INTO batch SELECT number + 1, 3, 1, latest FROM batch")
        await theirs.execute(
            "INSERT INTO entry SELECT batch + 1, received_at, uid, 0, 1, size, 0, source FROM entry WHERE place = 0"
        )
        await theirs.execute("INSERT INTO event SELECT batch + 1, 0, sizes[1:1], content FROM event")
        await theirs.execute("INSERT INTO revision SELECT 1, 1, number, 0 FROM batch WHERE first = 3")
        await theirs.execute("UPDATE counter SET head = 3")
        removing = asyncio.create_task(log.remove(Removal(0, 2, (), 2, had=3)))
        await asyncio.wait([removing], timeout=0.3)
        assert not removing.done()
        await theirs.execute("COMMIT")
        assert await removing == Removed(2, 3)
        assert await theirs.fetchval("SELECT count(*) FROM entry") == 0
        await theirs.close()


async def test_months_of_which_nothing_is_left_are_dropped_when_they_are_over(database_url: str) -> None:
    async with open_postgresql_log(database_url) as log:
        await log.append([new_entry("a")])
        connection = await connect(read_address(database_url))
        before = await tables(connection)
        for month in (datetime.date(2001, 2, 1), datetime.date(2001, 3, 1)):
            await make_month(connection, month)
        day = (datetime.date(2001, 3, 9) - datetime.date(1970, 1, 1)).days << 40
        await connection.execute(
            "INSERT INTO entry SELECT $1, received_at, uid, place, revision, size, run, source FROM entry", day
        )
        await forget(log, 1)
        kept = {f"{name}_2001_03" for name in ("entry", "event", "raw")}
        assert await tables(connection) == before | kept
        await connection.execute("DELETE FROM entry WHERE batch = $1", day)
        await forget(log, 1)
        assert await tables(connection) == before
        assert [one.position for one in await log.read(0)] == [1]
        await connection.close()


async def test_a_month_that_somebody_reads_is_dropped_another_time(database_url: str) -> None:
    async with open_postgresql_log(database_url) as log:
        connection, theirs = [await connect(read_address(database_url)) for _ in range(2)]
        await make_month(connection, datetime.date(2001, 2, 1))
        await theirs.execute("BEGIN")
        await theirs.execute("SELECT FROM entry")
        await forget(log, 1)
        assert "entry_2001_02" in await tables(connection)
        await theirs.execute("COMMIT")
        await forget(log, 1)
        assert "entry_2001_02" not in await tables(connection)
        for one in (connection, theirs):
            await one.close()


async def test_tables_of_the_first_version_are_taken_to_the_present_one(database_url: str) -> None:
    async with open_postgresql_log(database_url) as log:
        await log.append([new_entry("a"), new_entry("b"), unread_entry(b"{")])
        await log.begin("sink", 1, "f")
    connection = await asyncpg.connect(database_url, server_settings={"search_path": "idp_adapter"})
    await connection.execute(
        "DROP TABLE emptied, gap, quarantine, attempt, blocked; DROP INDEX revision_place;"
        " ALTER TABLE reader DROP COLUMN removed, DROP COLUMN since, DROP COLUMN behind, DROP COLUMN carried;"
        " UPDATE about SET version = 1"
    )
    await connection.close()
    async with open_postgresql_log(database_url) as log:
        await remove(log, until=2)
        assert (await log.removed(0, 2), log.head) == (2, 3)
        assert (await log.append([read_entry(b"{", "c")]))[0].quarantined == 3
        state = await log.progress("sink")
        assert state is not None
        assert (state.cursor, state.removed, state.since) == (1, 1, None)
        tried = Attempt(5, 3, 3, 1, 1, "held", 503, None, None, 2, 2, "", "no")
        await log.settle(Settlement("sink", 1, 3, attempts=[tried]))
        assert await log.attempts("sink") == [tried]


@pytest.mark.parametrize("times", [1, 2])
async def test_what_two_remove_at_once_is_counted_once(database_url: str, times: int) -> None:
    async with open_postgresql_log(database_url) as one, open_postgresql_log(database_url) as other:
        for number in range(40):
            await one.append([new_entry(f"{number}-{part}") for part in range(50)])
        await one.begin("sink", 100, "f")
        await asyncio.gather(*(remove(log, until=1500) for log in (one, other)[:times]))
        assert await one.removed(0, 2000) == 1500
        assert [entry.position for entry in await one.read(0)] == list(range(1501, 2001))
        state = await one.progress("sink")
        assert state is not None
        assert state.removed == 1400
