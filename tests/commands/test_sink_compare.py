"""``idp-adapter sinks compare`` against a real service: what the receivers really got is what it says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.commands.remote import Machine, Said
from tests.e2e.process import DEADLINE, until
from tests.opened import Opened, login, opened


class Keeping:
    """A receiver that keeps the bodies that it takes, and what it refuses by path."""

    def __init__(self) -> None:
        self.bodies: dict[str, list[dict[str, Any]]] = {}
        self.statuses: dict[str, int] = {}
        self.port = 0

    async def take(self, request: web.Request) -> web.Response:
        path = request.path.strip("/")
        status = self.statuses.get(path, 204)
        if status < 300:
            self.bodies.setdefault(path, []).append(await request.json())
        return web.Response(status=status)

    def ids(self, path: str) -> list[str]:
        return [body["id"] for body in self.bodies.get(path, [])]

    async def has(self, path: str, count: int) -> None:
        await until(lambda: len(set(self.ids(path))) >= count)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}/{path}"


@pytest.fixture
async def hook() -> AsyncIterator[Keeping]:
    keeping = Keeping()
    app = web.Application()
    app.router.add_post("/{path}", keeping.take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    keeping.port = runner.addresses[0][1]
    yield keeping
    await runner.cleanup()


@pytest.fixture
async def service(tmp_path: Path, hook: Keeping) -> AsyncIterator[Opened]:
    def sink(name: str, **settings: Any) -> dict[str, Any]:
        return {"name": name, "kind": "webhook", "url": hook.url(name), "format": "phasetwo", **settings}

    sinks = [
        sink("all"),
        sink("twin"),
        sink("logins", filter={"type": ["access.LOGIN"]}),
        sink("refusing", on_4xx="dead"),
        sink("stuck"),
    ]
    hook.statuses = {"refusing": 422, "stuck": 503}
    sources = [{"name": "keycloak", "provider": "keycloak"}]
    async with opened(tmp_path / "data", outgoing={"allow": ["127.0.0.0/8"]}, sinks=sinks, sources=sources) as one:
        yield one


class Shell:
    def __init__(self, machine: Machine, service: Opened) -> None:
        self._machine = machine
        self._service = service

    async def __call__(self, *words: str | Path, status: int | None = 0, input: str | None = None) -> Said:
        environment = {"URL": self._service.service.url, "TOKEN": self._service.service.admin_token}
        said = await self._machine.run("sinks", "compare", *words, input=input, **environment)
        assert status in (None, said.status), said
        return said

    async def json(
        self, *words: str | Path, status: int = 0, input: str | None = None, waits: bool = True
    ) -> dict[str, Any]:
        """``waits``: until nothing is pending, since what a receiver has got is stored a moment later."""
        async with asyncio.timeout(DEADLINE):
            while True:
                said = await self(*words, "--json", status=None, input=input)
                line = next(line for line in said.output.splitlines() if line.startswith('{"sink"'))
                found: dict[str, Any] = json.loads(line)
                if not waits or found["result"] != "pending":
                    assert said.status == status, said
                    return found


@pytest.fixture
def compare(tmp_path: Path, service: Opened, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(tmp_path)
    return Shell(Machine(tmp_path / "config"), service)


def events(numbers: Sequence[int]) -> list[dict[str, Any]]:
    """Logins, every third of which failed."""
    return [
        login(one, **({"type": "LOGIN_ERROR", "error": "user_not_found"} if one % 3 == 0 else {})) for one in numbers
    ]


def ids(group: dict[str, Any]) -> list[str]:
    return [one["id"] for one in group["first"]]


def lines(bodies: Sequence[Any]) -> str:
    return "".join(json.dumps(body) + "\n" for body in bodies)


async def test_two_sinks_of_one_filter_got_the_same(service: Opened, hook: Keeping, compare: Shell) -> None:
    await service.post(events(range(30)))
    await hook.has("all", 30)
    await hook.has("twin", 30)
    found = await compare.json("all", "twin")
    assert (found["result"], found["same"]) == ("same", 30)
    assert "all and twin: the same" in (await compare("all", "twin")).output


async def test_what_another_filter_refused_is_named_with_the_condition(
    service: Opened, hook: Keeping, compare: Shell
) -> None:
    await service.post(events(range(30)))
    await hook.has("all", 30)
    await hook.has("logins", 20)
    found = await compare.json("logins", "all", "--limit", "3", status=1)
    assert (found["result"], found["same"]) == ("different", len(set(hook.ids("logins"))))
    lacking = [one for one in hook.ids("all") if one not in hook.ids("logins")]
    assert (found["missing"]["count"], found["missing"]["stages"]) == (10, {"filtered": 10})
    assert set(ids(found["missing"])) <= set(lacking)
    assert found["missing"]["first"][0]["reason"] == "type: access.LOGIN_ERROR is not access.LOGIN"
    turned = await compare.json("all", "logins", status=1)
    assert (turned["extra"]["count"], turned["extra"]["first"][0]["of"]) == (10, "other")
    said = (await compare("logins", "all", "--limit", "1", status=1)).output
    assert "10  missing: all has, and logins has not" in said
    assert "logins: type: access.LOGIN_ERROR is not access.LOGIN" in said
    assert "and 9 more" in said


async def test_dead_events_are_missing_and_those_of_a_receiver_that_is_down_still_come(
    service: Opened, hook: Keeping, compare: Shell
) -> None:
    await service.post(events(range(6)))
    await hook.has("all", 6)

    async def dead() -> int:
        found: int = (await service.get("/sinks/refusing/dead"))[1]["count"]
        return found

    while await dead() < 6:
        pass
    found = await compare.json("refusing", "all", status=1)
    assert found["missing"]["stages"] == {"dead": 6}
    assert found["missing"]["first"][0]["fault"] == "receiver"
    found = await compare.json("stuck", "all", status=1, waits=False)
    assert (found["result"], found["missing"]["count"], found["pending"]["count"]) == ("pending", 0, 6)
    assert "the same so far, and some are still to come" in (await compare("stuck", "all", status=1)).output


async def test_the_old_senders_recording_is_held_against_what_a_sink_got(
    service: Opened, hook: Keeping, compare: Shell, tmp_path: Path
) -> None:
    await service.post(events(range(30)))
    await hook.has("logins", 20)
    await hook.has("all", 30)
    theirs = [{**body, "uid": f"theirs-{number}"} for number, body in enumerate(hook.bodies["all"])]
    theirs.sort(key=lambda body: body["time"])
    (tmp_path / "old.ndjson").write_text(lines(theirs))
    found = await compare.json("all", "old.ndjson")
    assert (found["result"], found["same"], found["recorded"]["bodies"]) == ("same", 30, 30)
    # The old sender tried one twice, lost two, and had one that the adapter never saw.
    gone = theirs.pop(11)["id"], theirs.pop(10)["id"]
    strange = {**theirs[5], "id": "never-here", "uid": "x"}
    (tmp_path / "old.json").write_text(json.dumps([*theirs, theirs[3], strange]))
    found = await compare.json("all", "old.json", status=1)
    assert (found["same"], found["recorded"]["repeated"]) == (28, 1)
    assert set(ids(found["extra"])) == set(gone)
    assert [(one["id"], one["line"], one["stage"]) for one in found["missing"]["first"]] == [("never-here", 30, None)]
    assert found["missing"]["stages"] == {"not_in_log": 1}
    assert "2 of the extra ones happened in the last 15 minutes of the recording" in found["notes"][0]
    # What a filter keeps back is in the log, and so the condition is told.
    found = await compare.json("logins", "-", status=1, input=lines(theirs))
    assert found["missing"]["stages"] == {"filtered": sum(body["type"] == "access.LOGIN_ERROR" for body in theirs)}
    said = (await compare("logins", "-", status=1, input=lines(theirs))).output
    assert "logins: type: access.LOGIN_ERROR is not access.LOGIN" in said


async def test_bodies_without_an_id_are_known_by_what_they_say(service: Opened, hook: Keeping, compare: Shell) -> None:
    await service.post(events(range(10)))
    await hook.has("all", 10)
    theirs = [{**body, "id": None, "uid": f"theirs-{number}"} for number, body in enumerate(hook.bodies["all"])]
    captured = [{"received": 1, "headers": {"X": "y"}, "body": json.dumps(body)} for body in theirs]
    found = await compare.json("all", "-", input=lines(captured))
    assert (found["result"], found["same"], found["recorded"]["without_id"]) == ("same", 10, 10)


async def test_the_time_is_that_of_the_events(service: Opened, hook: Keeping, compare: Shell) -> None:
    await service.post(events(range(30)))
    await hook.has("all", 30)
    bodies = sorted(hook.bodies["all"], key=lambda body: body["time"])
    since, until_ = bodies[10]["time"], bodies[20]["time"]
    words = ("--since", str(since), "--until", str(until_))
    found = await compare.json("all", "-", *words, input=lines(bodies))
    assert (found["same"], found["recorded"]["outside"]) == (10, 20)
    found = await compare.json("all", "-", *words, status=1, input=lines(bodies[11:]))
    assert ids(found["extra"]) == [bodies[10]["id"]]
    # Without a time it is that of the recording, so that what it does not cover is nobody's fault.
    assert (await compare.json("all", "-", input=lines(bodies[5:15])))["same"] == 10
    assert (await compare.json("all", "twin", "--since", "1h", status=1))["result"] == "nothing"


async def test_slips_are_told(service: Opened, compare: Shell, tmp_path: Path) -> None:
    known = "There is no sink 'sco'; there are: all, logins, refusing, stuck, twin."
    assert known in (await compare("sco", "all", status=1)).error
    assert known in (await compare("all", "sco", status=1)).error
    (tmp_path / "old.log").write_text("nothing\n\nat all\n")
    assert known in (await compare("sco", "old.log", status=1)).error
    assert "none of its 2 lines is one" in (await compare("all", "old.log", status=1)).error
    assert "none.json: cannot be read: No such file" in (await compare("all", "none.json", status=1)).error
    assert "compared with another one" in (await compare("all", "all", status=1)).error
    assert "from must be before to" in (await compare("all", "twin", "--since", "1h", "--until", "2h", status=1)).error
    assert "not a timestamp" in (await compare("all", "twin", "--since", "soon", status=1)).error
