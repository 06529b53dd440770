"""What the database has to offer, and whose tables they are."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from adapter.errors import ConfigError, StoreMismatch
from adapter.log.opening import check_store
from adapter.log.postgresql.address import read_address
from adapter.log.postgresql.connecting import connect
from adapter.log.postgresql.log import open_postgresql_log
from adapter.log.postgresql.schema import VERSION
from tests.log.entries import new_entry
from tests.postgresql import open_server


@pytest.mark.crash
async def test_a_server_that_does_not_sync_is_refused(postgresql: object) -> None:
    with open_server() as other:
        other.stop()
        other.start(fsync="off")
        with pytest.raises(ConfigError, match="fsync = off"):
            async with open_postgresql_log(other.url("postgres")):
                pass


async def test_tables_of_a_newer_program_are_refused(database_url: str) -> None:
    async with open_postgresql_log(database_url):
        pass
    connection = await asyncpg.connect(database_url)
    await connection.execute("UPDATE idp_adapter.about SET version = version + 1")
    await connection.close()
    with pytest.raises(StoreMismatch, match=f"version {VERSION + 1}"):
        async with open_postgresql_log(database_url):
            pass


async def test_tables_are_taken_over_as_they_are_or_not_at_all(database_url: str) -> None:
    await check_store(database_url)  # those that are not there can be made
    async with open_postgresql_log(database_url):
        await check_store(database_url)
    connection = await asyncpg.connect(database_url)
    for other, problem in ((VERSION - 1, "stop it, then start this one"), (VERSION + 1, "run the newer program")):
        await connection.execute(f"UPDATE idp_adapter.about SET version = {other}")
        with pytest.raises(StoreMismatch, match=problem):
            await check_store(database_url)
    await connection.close()


async def test_tables_of_another_program_are_left_alone(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute("CREATE SCHEMA idp_adapter; CREATE TABLE idp_adapter.theirs (id int)")
    await connection.close()
    with pytest.raises(StoreMismatch, match="another program"):
        async with open_postgresql_log(database_url):
            pass
    async with open_postgresql_log(database_url + "?schema=ours") as log:
        assert log.head == 0


async def test_two_logs_lie_in_one_database(database_url: str) -> None:
    async with open_postgresql_log(database_url) as one, open_postgresql_log(database_url + "?schema=other") as other:
        await one.append([new_entry("a")])
        assert await other.wait(0, 0.1) == 0
        assert [receipt.position for receipt in await other.append([new_entry("a")])] == [1]


async def test_of_several_that_open_a_new_log_one_makes_it(database_url: str) -> None:
    async def append(name: str) -> None:
        async with open_postgresql_log(database_url) as log:
            await log.append([new_entry(name)])

    await asyncio.gather(*(append(str(number)) for number in range(5)))
    async with open_postgresql_log(database_url) as log:
        assert log.head == 5


async def test_a_log_keeps_the_dictionary_it_was_made_with(database_url: str) -> None:
    event = b'{"a": "text that is in the dictionary, so that it takes little room"}'
    async with open_postgresql_log(database_url, dictionary=lambda: event) as log:
        await log.append([new_entry(event=event)])
    async with open_postgresql_log(database_url, dictionary=lambda: b"another") as log:
        assert [entry.event for entry in await log.read(0)] == [event]


async def test_a_commit_waits_for_the_disk_whatever_the_database_is_set_to(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute("ALTER ROLE CURRENT_USER SET synchronous_commit = off")
    try:
        theirs = await connect(read_address(database_url), {"synchronous_commit": "on"})
        assert await theirs.fetchval("SHOW synchronous_commit") == "on"
        theirs.terminate()
    finally:
        await connection.execute("ALTER ROLE CURRENT_USER RESET synchronous_commit")
        await connection.close()
