"""Connections are lost, servers end, and others are in the way: what was answered is there, once, and it goes on."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
from yarl import URL

from adapter.errors import StoreError, StoreUnavailable
from adapter.log.postgresql.log import PostgresqlLog, open_postgresql_log
from adapter.log.protocol import Claim, Receipt, Settlement
from tests.log.conformance import claimed, read_all
from tests.log.entries import new_entry
from tests.postgresql import Server, open_server

pytestmark = pytest.mark.crash


@pytest.fixture
def own_server(postgresql: Server) -> Iterator[Server]:
    """One that may be killed."""
    with open_server() as own:
        yield own


@asynccontextmanager
async def asking(url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        connection.terminate()


async def append(log: PostgresqlLog, name: str) -> Receipt:
    """Append an event until it is answered, as a sender does."""
    async with asyncio.timeout(60):
        while True:
            try:
                (receipt,) = await log.append([new_entry(name)])
            except StoreUnavailable:
                await asyncio.sleep(0.05)
            else:
                return receipt


async def check(log: PostgresqlLog, receipts: list[Receipt]) -> None:
    """Each event is there once, and positions are dense."""
    entries = await read_all(log)
    assert [entry.position for entry in entries] == list(range(1, len(entries) + 1))
    uids = [entry.uid for entry in entries]
    assert len(set(uids)) == len(uids)
    assert {receipt.uid for receipt in receipts} == set(uids)
    for receipt in receipts:
        assert receipt.position is None or uids[receipt.position - 1] == receipt.uid


async def test_what_was_answered_outlives_a_server_that_is_killed(own_server: Server) -> None:
    async with open_postgresql_log(own_server.url("postgres")) as log:
        receipts: list[Receipt] = []
        answered = {60: asyncio.Event(), 200: asyncio.Event()}

        async def send(sender: int) -> None:
            for number in range(30):
                receipts.append(await append(log, f"{sender} {number}"))
                if len(receipts) in answered:
                    answered[len(receipts)].set()

        sending = asyncio.gather(*(send(sender) for sender in range(16)))
        for threshold in answered:
            await answered[threshold].wait()
            await asyncio.to_thread(own_server.kill)
            assert not sending.done()
            await asyncio.to_thread(own_server.start)
        await sending
        await check(log, receipts)
        assert log.head == len(receipts) == 480


async def test_a_store_that_is_gone_refuses_and_comes_back(own_server: Server) -> None:
    async with open_postgresql_log(own_server.url("postgres"), commit_timeout=2) as log:
        await log.append([new_entry("a")])
        await asyncio.to_thread(own_server.kill)
        with pytest.raises(StoreUnavailable):
            await log.append([new_entry("b")])
        async with asyncio.timeout(20):
            assert "cannot be reached" in str(await log.writable())
        with pytest.raises(StoreUnavailable):
            await log.read(0)
        await asyncio.to_thread(own_server.start)
        await append(log, "c")
        assert await log.writable() is None
        assert {entry.uid for entry in await log.read(0)} >= {new_entry("a").uid, new_entry("c").uid}


async def test_a_server_that_stands_still_is_given_up_on_in_time(own_server: Server) -> None:
    url = own_server.url("postgres")
    async with open_postgresql_log(url, commit_timeout=1) as log, asking(url) as other:
        await log.append([new_entry("a")])
        await other.execute("BEGIN; UPDATE idp_adapter.counter SET head = head")
        late = asyncio.create_task(log.append([new_entry("b")]))
        async with asyncio.timeout(20):
            assert await log.writable() is not None
        with pytest.raises(StoreUnavailable):
            await late
        await other.execute("ROLLBACK")
        assert (await append(log, "c")).uid == new_entry("c").uid
        await check(log, [Receipt(entry.uid, entry.position) for entry in await read_all(log)])


async def test_connections_that_are_ended_are_made_anew_and_nobody_notices(database_url: str) -> None:
    async with open_postgresql_log(database_url) as log, asking(database_url) as other:
        ends = (
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )
        receipts: list[Receipt] = []
        ended = 0
        for number in range(20):
            sent = [asyncio.create_task(append(log, f"{number} {part}")) for part in range(8)]
            await asyncio.sleep(0.002 * number)
            ended += await other.fetchval(ends)
            receipts += await asyncio.gather(*sent)
        await check(log, receipts)
        assert log.head == 160
        assert ended > 1


async def test_an_answer_that_is_lost_with_the_connection_is_found(database_url: str) -> None:
    async with open_postgresql_log(database_url) as log, asking(database_url) as other:
        await log.append([new_entry("a")])
        # The commit waits for the counter, and its connection ends once that is free.
        await other.execute("BEGIN; UPDATE idp_adapter.counter SET head = head")
        sent = asyncio.create_task(log.append([new_entry("b")]))
        connection = log._committing._lanes[0].appending._connection
        assert connection is not None
        waits = "SELECT wait_event_type FROM pg_stat_activity WHERE pid = $1"
        while await other.fetchval(waits, connection.get_server_pid()) != "Lock":
            pass
        connection.terminate()
        await other.execute("ROLLBACK")
        assert await sent == [Receipt(new_entry("b").uid, 2)]
        assert log.head == 2


async def test_what_is_small_does_not_wait_for_what_is_large(database_url: str) -> None:
    async with open_postgresql_log(database_url) as log, asking(database_url) as other:
        await log.append([new_entry("a")])
        # The large one waits for a key that somebody else may store.
        await other.execute("SET search_path = idp_adapter; BEGIN")
        await other.execute("INSERT INTO identity VALUES ($1, 1, 0, 0, 0)", uuid.UUID(bytes=new_entry("0").uid))
        large = asyncio.create_task(log.append([new_entry(f"{number}") for number in range(1000)]))
        await asyncio.wait([large], timeout=0.3)
        assert (await log.append([new_entry("b")]))[0].position == 2
        assert not large.done()
        await other.execute("ROLLBACK")
        assert [receipt.position for receipt in await large] == list(range(3, 1003))


async def test_one_connection_that_appends_is_enough(database_url: str) -> None:
    """Where the server has no room for a second one."""
    async with open_postgresql_log(database_url):
        pass  # makes the tables
    async with asking(database_url) as other:
        # One that is no superuser, for whom there is no limit.
        await other.execute(
            "CREATE ROLE narrow LOGIN PASSWORD 'narrow';"
            "GRANT ALL ON SCHEMA idp_adapter TO narrow;"
            "GRANT ALL ON ALL TABLES IN SCHEMA idp_adapter TO narrow;"
            "GRANT ALL ON ALL SEQUENCES IN SCHEMA idp_adapter TO narrow"
        )
        tables = "SELECT format('ALTER TABLE idp_adapter.%I OWNER TO narrow', tablename) FROM pg_tables"
        for (statement,) in await other.fetch(f"{tables} WHERE schemaname = 'idp_adapter'"):
            await other.execute(statement)
        narrow = str(URL(database_url).with_user("narrow").with_password("narrow"))
        try:
            async with open_postgresql_log(narrow) as log:
                await log.append([new_entry("a")])
                # One that appends and one that is told of commits.
                await other.execute("ALTER ROLE narrow CONNECTION LIMIT 2")
                bodies = [[new_entry(f"{body} {number}") for number in range(200)] for body in range(8)]
                receipts = await asyncio.gather(*(log.append(body) for body in bodies))
                assert sorted(one.position or 0 for some in receipts for one in some) == list(range(2, 1602))
                assert [lane.appending.is_connected for lane in log._committing._lanes].count(True) == 1
        finally:
            await other.execute("DROP OWNED BY narrow; DROP ROLE narrow")


async def test_orders_that_cross_are_tried_again(database_url: str) -> None:
    """Groups of equal weak keys change rows that are there, in whatever order the requests come."""
    async with open_postgresql_log(database_url) as one, open_postgresql_log(database_url) as other:
        names = [str(number) for number in range(20)]
        await one.append([new_entry(weak=name) for name in names])
        answers = await asyncio.gather(
            *(
                log.append([new_entry(f"{way} {name}", name) for name in names[::way]])
                for way in (1, -1)
                for log in (one, other)
                for _ in range(5)
            )
        )
        # For each name one takes the first event, the other one is new.
        assert sum(receipt.position is not None for receipts in answers for receipt in receipts) == 20
        await one.wait(39, 20)
        assert [entry.position for entry in await read_all(one)] == list(range(1, 41))


_HOLDER = """
import asyncio, sys
from adapter.log.postgresql.log import open_postgresql_log

async def main():
    async with open_postgresql_log(sys.argv[1], claim_seconds=1) as log:
        claim = await log.claim("sink", "stopped")
        print(claim.token, flush=True)
        while True:
            await asyncio.sleep(0.2)
            await log.claim("sink", "stopped")

asyncio.run(main())
"""


async def test_the_claim_of_a_process_that_stands_still_is_taken_over(database_url: str) -> None:
    async with open_postgresql_log(database_url, claim_seconds=1) as log:
        holder = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _HOLDER, database_url, stdout=subprocess.PIPE
        )
        try:
            assert holder.stdout is not None
            first = Claim("sink", int(await holder.stdout.readline()), 1)
            assert await log.claim("sink", "here") is None
            holder.send_signal(signal.SIGSTOP)
            second = await claimed(log, "sink", "here")
            holder.send_signal(signal.SIGCONT)
            assert second.token > first.token
            await log.begin("sink", 0, "f", second.token)
            with pytest.raises(StoreError, match="claimed"):
                await log.settle(Settlement("sink", 1, 1, token=first.token))
        finally:
            holder.kill()
            await holder.wait()


async def test_a_transaction_whose_service_stands_still_holds_nobody_up_for_long(database_url: str) -> None:
    async with open_postgresql_log(database_url) as log, asking(database_url) as other:
        await log.append([new_entry("a")])
        limit = await log._committing._lanes[0].appending._connection.fetchval(  # type: ignore[union-attr]
            "SHOW idle_in_transaction_session_timeout"
        )
        assert limit == "3s"
        # As one that stopped between two statements.
        await other.execute("SET idle_in_transaction_session_timeout = '500ms'; SET search_path = idp_adapter")
        await other.execute("BEGIN")
        key = uuid.UUID(bytes=new_entry("b").uid)
        await other.execute("INSERT INTO identity VALUES ($1, 1, 0, 0, 0)", key)
        assert (await log.append([new_entry("b")]))[0].position == 2
