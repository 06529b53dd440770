"""What goes wrong between Keycloak and the adapter, one at a time: push and pull together have each event once."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
from aiohttp import ClientSession, web

from tests.e2e.process import Process, command, serving, until
from tests.keycloak.server import Keycloak

pytestmark = pytest.mark.asyncio(loop_scope="module")

REALM = "faults"
TOKEN = "QkstEpSEJCN9XGl-cnyBoVo7TTiiO6cC"
#: Gives a process another clock. Its command would start one more process.
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
POLLER = {"client_id": "poller", "client_secret": "poller-secret"}


class Stand(NamedTuple):
    """A realm whose events are pushed to a port, whoever listens there, and pulled by who knows its poller."""

    keycloak: Keycloak
    folder: Path
    port: int

    def adapter(
        self, name: str, *, port: int | None = None, around: Sequence[str] = (), begin: str = "beginning", **pull: Any
    ) -> AbstractAsyncContextManager[Process]:
        """An adapter where the realm pushes to, or on another port. ``begin``: from when on it pulls; ``pull``: further
        settings of that."""
        settings = {
            "url": self.keycloak.url, "realms": [REALM], **POLLER, "interval": "0.5s", "from": begin, **pull
        }  # fmt: skip
        source = {"name": "kc", "provider": "keycloak", "token": TOKEN, "pull": settings}
        return serving(
            self.folder / name,
            settings={"SOURCES": [source], "OUTGOING": {"allow": ["127.0.0.0/8"]}},
            port=self.port if port is None else port,
            around=around,
        )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stand(keycloak: Keycloak, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    realm = await keycloak.new_realm(REALM)
    await realm.keep_events()
    await change_client(realm, "poller", attributes={"access.token.lifespan": "2"})
    await realm.send_events(f"http://127.0.0.1:{port}/ingest/kc", TOKEN)
    yield Stand(realm, tmp_path_factory.mktemp("faults"), port)
    await realm.admin("DELETE", "")


async def change_client(keycloak: Keycloak, name: str, **changed: Any) -> None:
    (client,) = await keycloak.admin("GET", f"/clients?clientId={name}")
    await keycloak.admin("PUT", f"/clients/{client['id']}", {**client, **changed})


class Logins:
    """Somebody who logs in again and again."""

    def __init__(self) -> None:
        self.count = 0

    async def more(self, number: int) -> None:
        """Wait until there were so many more."""
        wanted = self.count + number
        await until(lambda: self.count >= wanted)


@asynccontextmanager
async def logging_in(keycloak: Keycloak) -> AsyncIterator[Logins]:
    logins = Logins()
    over = asyncio.Event()

    async def log_in() -> None:
        while not over.is_set():
            status, answer = await keycloak.login("alice", "alice-pw")
            # One may be refused for reasons of its own; what counts is what it said yes to.
            assert status in (200, 400, 401), answer
            logins.count += status == 200
            # Faster than people, and slow enough that others of the machine get on.
            await asyncio.sleep(0.05)

    async with asyncio.TaskGroup() as group:
        group.create_task(log_in())
        yield logins
        over.set()


async def polled(adapter: Process) -> None:
    """Wait until a poll is over that began after now, of each kind of events."""
    for kind in ("events", "admin-events"):

        async def last(kind: str = kind) -> float:
            return await adapter.metric("pull_last_timestamp_seconds", kind=kind, realm=REALM, source="kc")

        # The one that is over next may have begun before.
        for _ in range(2):
            before = await last()
            await until(lambda last=last, before=before: _later(last(), before))  # type: ignore[misc]


async def _later(number: Any, before: float) -> bool:
    return bool(await number > before)


async def expect_complete(stand: Stand, adapter: Process, logins: int | None = None) -> None:
    """Each event that the server stored is in the log, once. ``logins``: how many there are of alice's in it."""
    stored = {one["id"] for one in await stand.keycloak.stored()}
    await polled(adapter)
    events = await adapter.events()
    ids = [one["id"] for one in events]
    assert len(ids) == len(set(ids))
    assert stored <= set(ids)
    if logins is not None:
        assert sum(one["type"] == "access.LOGIN" for one in events) == logins


async def warnings(adapter: Process) -> str:
    async with adapter.session.get("/readyz") as response:
        return await response.text()


async def gaps(adapter: Process, kind: str = "events") -> float:
    return await adapter.metric("pull_gaps_total", kind=kind, realm=REALM, source="kc")


async def logins_before(stand: Stand) -> int:
    return sum(one.get("type") == "LOGIN" for one in await stand.keycloak.stored())


async def test_what_was_pushed_to_a_killed_adapter_is_there_after_one_poll(stand: Stand) -> None:
    before = await logins_before(stand)
    async with logging_in(stand.keycloak) as logins:
        async with stand.adapter("killed") as adapter:
            await logins.more(3)
            adapter.kill()
            await logins.more(3)
        async with stand.adapter("killed") as adapter:
            await logins.more(3)
            adapter.kill()
        await logins.more(3)
    async with stand.adapter("killed") as adapter:
        await expect_complete(stand, adapter, before + logins.count)
        assert await gaps(adapter) == 0


async def test_logins_are_pushed_through_an_upgrade_and_a_reload(stand: Stand) -> None:
    """Nothing is refused meanwhile, so there is nothing that a pull would have to repair; nothing is pulled here."""
    folder = stand.folder / "upgraded"
    settings = {"SOURCES": [{"name": "kc", "provider": "keycloak", "token": TOKEN}]}
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(serving(folder, settings=settings, port=stand.port))
        async with logging_in(stand.keycloak) as logins:
            await logins.more(5)
            taking_over = serving(folder, settings=settings, port=stand.port, arguments=["--take-over"])
            adapter = await stack.enter_async_context(taking_over)
            await logins.more(5)
            await command("reload", "--data", str(folder))
            await logins.more(5)

        async def all_there() -> bool:
            return len(await adapter.events(type="access.LOGIN", user="alice")) == logins.count

        await until(all_there)


async def test_with_every_second_push_dropped_the_log_is_complete_after_one_poll(stand: Stand) -> None:
    before = await logins_before(stand)
    async with stand.adapter("dropped", port=0) as adapter, lossy(stand.port, adapter) as dropped:
        async with logging_in(stand.keycloak) as logins:
            await logins.more(20)
        await expect_complete(stand, adapter, before + logins.count)
        assert len(dropped) >= 10


@asynccontextmanager
async def lossy(port: int, adapter: Process) -> AsyncIterator[list[bytes]]:
    """Takes what is pushed to a port, passes every second one on, and gives the others back."""
    dropped: list[bytes] = []
    passed: list[bytes] = []
    async with ClientSession() as session:

        async def take(request: web.Request) -> web.Response:
            body = await request.read()
            if len(dropped) < len(passed):
                dropped.append(body)
                return web.Response(status=202)
            passed.append(body)
            headers = {name: request.headers[name] for name in ("Content-Type", "X-Keycloak-Signature")}
            url = f"http://127.0.0.1:{adapter.port}{request.path}"
            async with session.post(url, data=body, headers=headers) as response:
                return web.Response(status=response.status)

        app = web.Application()
        app.router.add_post("/{path:.*}", take)
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", port).start()
            yield dropped
        finally:
            await runner.cleanup()


async def test_a_token_that_ran_out_or_is_refused_is_renewed_unnoticed(stand: Stand) -> None:
    async with stand.adapter("token") as adapter:

        async def tokens() -> int:
            return len(await adapter.events(type="access.CLIENT_LOGIN", client="poller"))

        async def renewed(number: int) -> bool:
            return await tokens() >= number

        had = await tokens()
        await until(lambda: renewed(had + 2))
        # From now on, none is taken that was made before.
        await stand.keycloak.admin("PUT", "", {"notBefore": int(time.time())})
        had = await tokens()
        await until(lambda: renewed(had + 1))
        await stand.keycloak.login("alice", "alice-pw")
        await expect_complete(stand, adapter)
        assert "source_pull_problem" not in adapter.errors


async def test_a_secret_that_was_changed_is_told_and_pull_goes_on_once_it_is_right_again(stand: Stand) -> None:
    async with stand.adapter("secret") as adapter:
        await polled(adapter)
        await change_client(stand.keycloak, "poller", secret="another")
        await stand.keycloak.login("alice", "alice-pw")

        async def told() -> bool:
            return "or its secret, is refused" in await warnings(adapter)

        await until(told)
        await change_client(stand.keycloak, "poller", secret=POLLER["client_secret"])
        await expect_complete(stand, adapter)
        assert "sources:" not in await warnings(adapter)
        assert await gaps(adapter) == 0


async def test_events_that_expired_while_nobody_polled_are_a_gap(stand: Stand) -> None:
    keycloak = stand.keycloak
    async with stand.adapter("expired") as adapter:
        await expect_complete(stand, adapter)
    # A port without a listener; so what happens now is neither pushed nor pulled.
    await keycloak.login("zoe", "zoe-pw")
    await keycloak.admin("PUT", "", {"eventsExpiration": 1})

    async def expired() -> bool:
        return not await keycloak.admin("GET", "/events")

    await until(expired)
    await keycloak.admin("PUT", "", {"eventsExpiration": 0})
    async with stand.adapter("expired") as adapter:

        async def told() -> bool:
            return "may be missing" in await warnings(adapter)

        await until(told)
        assert await gaps(adapter) == 1
        assert await gaps(adapter, "admin-events") == 0
        assert "may be missing" in adapter.errors


@pytest.mark.parametrize("skew", ["+5m", "-5m"])
async def test_clocks_that_differ_by_five_minutes_lose_nothing(stand: Stand, skew: str) -> None:
    if FAKETIME is None:
        pytest.skip("faketime is not installed (Debian: apt-get install faketime)")
    around = ("env", f"LD_PRELOAD={FAKETIME}", f"FAKETIME={skew}")
    await stand.keycloak.login("alice", "alice-pw")
    for number in (1, 2):
        # Nothing is pushed there, and the first one begins now.
        async with stand.adapter(f"skew{skew}", port=0, around=around, begin="now") as adapter:
            await polled(adapter)
            await stand.keycloak.login("zoe", "zoe-pw")
            await polled(adapter)
            logins = await adapter.events(type="access.LOGIN")
            assert [one["authDetails"]["username"] for one in logins] == ["zoe"] * number
            assert await gaps(adapter) == 0
            assert await adapter.metric("pull_lag_seconds", kind="events", realm=REALM, source="kc") < 60


async def test_a_deleted_realm_is_told_and_read_again_when_it_is_there_again(stand: Stand) -> None:
    keycloak = stand.keycloak
    doomed = await keycloak.new_realm("doomed")
    await doomed.keep_events()
    await let_read(keycloak, REALM, "doomed")
    reader: dict[str, Any] = {"realms": [REALM, "doomed"], "client_id": "reader", "client_secret": "reader-secret"}

    async def log_in() -> str:
        status, _ = await doomed.login("zoe", "zoe-pw")
        assert status == 200
        return str((await doomed.admin("GET", ""))["id"])

    # Before the first whole pass: what only short passes have read since then leaves no gap to be seen.
    first = await log_in()
    async with stand.adapter("realms", port=0, **reader) as adapter:

        async def arrived(id: str) -> bool:
            return any(one["realmId"] == id for one in await adapter.events(type="access.LOGIN", user="zoe"))

        await until(lambda: arrived(first))
        await doomed.admin("DELETE", "")

        async def told() -> bool:
            return "realm doomed: the server has none of that name" in await warnings(adapter)

        await until(told)
        await keycloak.login("alice", "alice-pw")
        await expect_complete(stand, adapter)

        doomed = await keycloak.new_realm("doomed")
        await doomed.keep_events()
        await let_read(keycloak, "doomed")
        second = await log_in()
        assert second != first
        await until(lambda: arrived(second))
        assert await arrived(first)
    async with stand.adapter("realms", port=0, **reader) as adapter:

        async def is_gap() -> bool:
            # What happened in the first one since it was last read is nowhere any more.
            return "realm doomed: events: the server removed events before they were read" in await warnings(adapter)

        await until(is_gap)
    await doomed.admin("DELETE", "")


async def let_read(keycloak: Keycloak, *realms: str) -> None:
    """Let a client in ``master`` read these realms, as the page says; made if there is none."""
    master = Keycloak(keycloak.server, keycloak.session, "master")
    if not await master.admin("GET", "/clients?clientId=reader"):
        client = {"clientId": "reader", "secret": "reader-secret", "serviceAccountsEnabled": True}
        # A role that it gets is in its next token.
        await master.admin("POST", "/clients", {**client, "attributes": {"access.token.lifespan": "2"}})
    (user,) = await master.admin("GET", "/users?username=service-account-reader&exact=true")
    for realm in realms:
        (owner,) = await master.admin("GET", f"/clients?clientId={realm}-realm")
        roles = [
            await master.admin("GET", f"/clients/{owner['id']}/roles/{role}") for role in ("view-events", "view-realm")
        ]
        await master.admin("POST", f"/users/{user['id']}/role-mappings/clients/{owner['id']}", roles)


async def test_a_restart_of_keycloak_loses_nothing_that_it_stored(stand: Stand) -> None:
    server = stand.keycloak.server
    before = await logins_before(stand)
    async with stand.adapter("restart") as adapter:
        await stand.keycloak.login("alice", "alice-pw")
        await asyncio.to_thread(server.stop)

        async def told() -> bool:
            return server.url in await warnings(adapter)

        await until(told)
        await asyncio.to_thread(server.start)
        await stand.keycloak.login("alice", "alice-pw")
        await expect_complete(stand, adapter, before + 2)
        assert await gaps(adapter) == 0
        assert "sources:" not in await warnings(adapter)
