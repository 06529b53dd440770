"""Several services over one PostgreSQL: what only one may do is done by one, and goes on when that is gone."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.process import Process, command, serving, until
from tests.e2e.receiver import Receiver, receiver
from tests.opened import login
from tests.postgresql import find_programs, open_server

pytestmark = pytest.mark.crash


async def start(stack: AsyncExitStack, folder: Path, url: str, hook: Receiver | None = None, **more: Any) -> Process:
    settings = {"STORE__URL": url, **(hook.settings if hook is not None else {}), **more.pop("settings", {})}
    return await stack.enter_async_context(serving(folder, settings=settings, **more))


async def is_owner(process: Process) -> bool:
    return await process.metric("sink_owned", sink="hook") == 1


async def by_ownership(processes: list[Process]) -> tuple[Process, list[Process]]:
    """Who delivers, and the others."""
    owners = [one for one in processes if await is_owner(one)]
    (owner,) = owners
    return owner, [one for one in processes if one is not owner]


def told_token(process: Process) -> str:
    """The token that it tells people for the source keycloak."""
    (line,) = [one for one in process.output.splitlines() if "/ingest/keycloak " in one and "token " in one]
    return line.split("token ")[1]


async def test_each_takes_the_same_tokens_and_shows_the_same_events(database_url: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        settings = {"AUTH__ADMIN_TOKEN": None}
        one = await start(stack, tmp_path / "one", database_url, settings=settings)
        other = await start(stack, tmp_path / "other", database_url, settings=settings)
        await until(lambda: "Ctrl-C ends it" in one.output and "Ctrl-C ends it" in other.output)
        assert "keeps its log in PostgreSQL, its search in" in one.output
        token = told_token(one)
        assert token == told_token(other)
        answers = []
        for process in (one, other):
            headers = {"Authorization": f"Bearer {token}"}
            async with process.session.post("/ingest/keycloak", json=login(1), headers=headers) as response:
                assert response.status == 202
                answers.append(await response.json())
        assert [answer["accepted"] for answer in answers] == [1, 0]
        assert answers[0]["uids"] == answers[1]["uids"]


async def test_the_command_line_asks_whichever_answers(database_url: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        one = await start(stack, tmp_path / "one", database_url, settings={"STORE__FULL_DISK": "100%"})
        other = await start(stack, tmp_path / "other", database_url)
        # Events are taken whatever room there is on a disk that has the search alone.
        assert (await one.post([login(number) for number in range(3)]))["accepted"] == 3
        config = tmp_path / "adapter.toml"
        config.write_text(f'[store]\nurl = "{database_url}"\n[auth]\nadmin_token = "administrators-token"\n')
        words = ("events", "list", "--json", "--config", str(config), "--data", str(tmp_path / "nowhere"))
        assert len((await command(*words)).splitlines()) == 3
        one.kill()
        assert len((await command(*words)).splitlines()) == 3
        assert await other.stop() == 0


def kill(owner: Process) -> None:
    owner.kill()


def stop_still(owner: Process) -> None:
    owner.popen.send_signal(signal.SIGSTOP)


@pytest.mark.parametrize("strike", [kill, stop_still])
async def test_another_one_delivers_when_the_owner_is_gone(
    database_url: str, tmp_path: Path, strike: Callable[[Process], None]
) -> None:
    async with AsyncExitStack() as stack, receiver() as hook:
        processes = [await start(stack, tmp_path / str(number), database_url, hook) for number in range(3)]
        owner, others = await by_ownership(processes)
        hook.delay = 0.02
        uids: set[str] = set()

        async def post(process: Process, first: int) -> None:
            for number in range(first, first + 30):
                answer = await process.post([login(number * 10 + part) for part in range(10)])
                uids.update(answer["uids"])

        posting = asyncio.gather(*(post(one, 1000 * place) for place, one in enumerate(others)))
        await until(lambda: len(hook.taken) > 50)
        strike(owner)
        await posting
        assert len(uids) == 600
        await until(lambda: hook.uids >= uids)
        await until(lambda: settled(others, 600))
        new_owner, _ = await by_ownership(others)
        taken_before = sum(hook.taken.values())
        if owner.popen.poll() is None:
            # It wakes up, and what it still does is refused: nothing of it counts, and it sends nothing new.
            owner.popen.send_signal(signal.SIGCONT)
            await until(lambda: lost(owner))
        # A receiver gets no more than what was in flight and not settled twice: two windows of 64, for each takeover.
        assert sum(hook.taken.values()) - 600 <= 2 * 2 * 64
        assert sum(hook.taken.values()) - taken_before <= 64
        assert await new_owner.metric("sink_delivered_total", sink="hook") == 600
        assert await new_owner.metric("sink_matched_total", sink="hook") == 600


async def settled(processes: list[Process], events: int) -> bool:
    """Whether one of them has all of the events delivered and none in flight."""
    for one in processes:
        if await is_owner(one):
            return (
                await one.metric("sink_delivered_total", sink="hook") == events
                and await one.metric("sink_in_flight", sink="hook") == 0
                and await one.metric("sink_lag", sink="hook") == 0
            )
    return False


async def lost(process: Process) -> bool:
    return not await is_owner(process)


async def test_the_next_one_delivers_at_once_when_the_owner_stops_in_order(database_url: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack, receiver() as hook:
        processes = [await start(stack, tmp_path / str(number), database_url, hook) for number in range(2)]
        owner, (other,) = await by_ownership(processes)
        uids = set((await other.post([login(number) for number in range(100)]))["uids"])
        assert await owner.stop() == 0
        await until(lambda: hook.uids == uids)
        await until(lambda: settled([other], 100))
        assert max(hook.taken.values()) <= 2


def fills(process: Process) -> bool:
    """Whether it fills the search."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return any(b"adapter.search.filler" in Path(f"/proc/{one}/cmdline").read_bytes() for one in children)


@pytest.mark.parametrize("strike", [kill, stop_still])
async def test_questions_are_answered_when_the_one_that_fills_the_search_is_gone(
    database_url: str, tmp_path: Path, strike: Callable[[Process], None]
) -> None:
    async with AsyncExitStack() as stack:
        processes = [await start(stack, tmp_path / str(number), database_url) for number in range(2)]
        (filling,), (other,) = ([one for one in processes if fills(one) is does] for does in (True, False))
        await other.post([login(number) for number in range(100)])
        assert len(await other.events()) == 100
        strike(filling)
        await other.post([login(number) for number in range(100, 200)])

        async def answers() -> bool:
            async with other.session.get("/events", params={"limit": "1"}) as response:
                return response.status == 200

        await until(answers)
        assert fills(other)
        assert len(await other.events()) == 200
        if filling.popen.poll() is None:
            # It wakes up, and leaves the search to the other one.
            filling.popen.send_signal(signal.SIGCONT)
            await filling.post([login(number) for number in range(200, 300)])
            assert len(await filling.events()) == len(await other.events()) == 300
            await until(lambda: not fills(filling))
            assert fills(other)


async def test_a_neighbour_that_reads_other_tables_is_a_warning(database_url: str, tmp_path: Path) -> None:
    own = tmp_path / "mappings"
    shutil.copytree(Path("mappings/keycloak"), own / "keycloak")
    table = own / "keycloak" / "mapping.yaml"
    table.write_text(f"# of our own\n{table.read_text()}")
    async with AsyncExitStack() as stack:
        one = await start(stack, tmp_path / "one", database_url)
        other = await start(stack, tmp_path / "other", database_url, settings={"MAPPINGS__PATH": [str(own)]})

        async def warned(process: Process) -> bool:
            async with process.session.get("/readyz") as response:
                assert response.status == 200
                warnings = (await response.json()).get("warnings", [])
            return any(one.startswith("mappings: keycloak: version") for one in warnings)

        await until(lambda: warned(one))
        await until(lambda: warned(other))


# Cut off from the database


def run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)


@contextmanager
def namespace(name: str, *links: tuple[str, str, str]) -> Iterator[None]:
    """A network namespace, joined to this one by links: name, address here, address there."""
    run("ip", "netns", "add", name)
    with ExitStack() as stack:
        stack.callback(run, "ip", "netns", "delete", name)
        run("ip", "-n", name, "link", "set", "lo", "up")
        for link, here, there in links:
            run("ip", "link", "add", link, "type", "veth", "peer", "name", f"{link}-in", "netns", name)
            stack.callback(subprocess.run, ("ip", "link", "delete", link), check=False, capture_output=True)
            run("ip", "addr", "add", f"{here}/30", "dev", link)
            run("ip", "link", "set", link, "up")
            run("ip", "-n", name, "addr", "add", f"{there}/30", "dev", f"{link}-in")
            run("ip", "-n", name, "link", "set", f"{link}-in", "up")
        yield


def may_make_namespaces() -> bool:
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    made = subprocess.run(("ip", "netns", "add", "idp-trial"), check=False, capture_output=True).returncode == 0
    if made:
        run("ip", "netns", "delete", "idp-trial")
    return made


async def test_another_one_delivers_when_the_owner_is_cut_off_from_the_database(tmp_path: Path) -> None:
    if find_programs() is None or not may_make_namespaces():
        pytest.skip("needs PostgreSQL's server, and network namespaces (root, Debian: apt-get install iproute2)")
    number = os.getpid() % 250
    database, hooks = f"idpdb{number}", f"idpho{number}"
    to_database = (database, f"10.77.{number}.1", f"10.77.{number}.2")
    to_hooks = (hooks, f"10.78.{number}.1", f"10.78.{number}.2")
    with namespace(f"idp{number}", to_database, to_hooks), open_server() as server:
        server.stop()
        server.allow(f"10.77.{number}.0/30")
        server.start(listen_addresses=f"127.0.0.1,10.77.{number}.1")
        async with AsyncExitStack() as stack, receiver(host=f"10.78.{number}.1") as hook:
            inside = {"SERVER__HOST": f"10.78.{number}.2", "SERVER__BEHIND_TLS": "true"}
            url = server.url("postgres")
            around = ("ip", "netns", "exec", f"idp{number}")
            url_inside = url.replace("127.0.0.1", f"10.77.{number}.1")
            settings = {**inside, "OUTGOING__ALLOW": ["127.0.0.0/8", "10.0.0.0/8"]}
            owner = await start(stack, tmp_path / "cut", url_inside, hook, around=around, settings=settings)
            assert await is_owner(owner)
            other = await start(stack, tmp_path / "other", url, hook, settings={"OUTGOING__ALLOW": ["10.0.0.0/8"]})
            uids = set((await other.post([login(number) for number in range(200)]))["uids"])
            await until(lambda: hook.uids == uids)
            hook.delay = 0.05
            uids |= set((await other.post([login(number) for number in range(200, 1000)]))["uids"])
            run("ip", "link", "set", database, "down")
            await until(lambda: is_owner(other))
            # It reaches the receiver still, but knows that its time is over.
            await until(lambda: lost(owner))
            await until(lambda: hook.uids == uids)
            await until(lambda: settled([other], 1000))
            assert sum(hook.taken.values()) - 1000 <= 2 * 64
            async with owner.session.post("/ingest/keycloak", json=login(5000)) as response:
                assert response.status == 503
            run("ip", "link", "set", database, "up")
            await until(lambda: ready(owner))
            assert (await owner.post([login(5000)]))["accepted"] == 1
            await until(lambda: len(hook.uids) == 1001)


async def ready(process: Process) -> bool:
    async with process.session.get("/readyz") as response:
        return response.status == 200
