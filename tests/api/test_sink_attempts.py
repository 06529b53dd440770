"""What became of events at sinks, over HTTP and on the command line: why, attempts, dead letters, and sending again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from typer.testing import CliRunner

from adapter.commands.sinks import app
from tests.api.issuer import AUDIENCE, Realm, realms
from tests.opened import Opened, login, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEYS = [
    {"name": "reader", "token": "reader-token", "permissions": ["read"]},
    {"name": "operator", "token": "operator-token", "permissions": ["sinks"]},
]


class Receiver:
    """Refuses what comes from some clients."""

    def __init__(self) -> None:
        self.refused = {"refused"}
        self.taken: list[str] = []
        self.port = 0

    async def listen(self) -> web.AppRunner:
        app = web.Application()
        app.router.add_post("/", self._take)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.port = runner.addresses[0][1]
        return runner

    async def _take(self, request: web.Request) -> web.Response:
        event = await request.json()
        if event["authDetails"]["clientId"] in self.refused:
            return web.json_response({"error": "no such client\u202e"}, status=422)
        self.taken.append(event["uid"])
        return web.Response(status=204)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def acme() -> AsyncIterator[Realm]:
    async with realms("acme") as [realm]:
        yield realm


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    runner = await receiver.listen()
    yield receiver
    await runner.cleanup()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(receiver: Receiver, acme: Realm, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Opened]:
    hook = {"kind": "webhook", "url": f"http://127.0.0.1:{receiver.port}/", "from": "beginning", "retry": [0.01]}
    issuer = {"issuer": acme.issuer, "audience": AUDIENCE, "roles": {"view-events": ["read", "sinks"]}}
    async with opened(
        tmp_path_factory.mktemp("data"),
        sinks=[
            {"name": "hook", **hook, "attempts": "all"},
            {"name": "admins", **hook, "filter": {"type": ["admin.*"]}},
        ],
        keys=KEYS,
        oidc=[issuer],
        outgoing={"allow": ["127.0.0.0/8"]},
    ) as service:
        await service.post(
            [
                login(1, clientId="web", realmName="acme"),
                login(2, clientId="refused", realmName="acme"),
                login(3, clientId="refused", realmName="globex"),
            ]
        )
        await until_dead(service, 2)
        yield service


async def until_dead(service: Opened, count: int) -> Any:
    async with asyncio.timeout(20):
        while True:
            _, found = await service.get("/sinks/hook/dead")
            if found["count"] == count:
                return found
            await asyncio.sleep(0.02)


async def uid_of(service: Opened, number: int) -> str:
    _, event = await service.get(f"/events/{login(number)['id']}")
    return str(event["uid"])


async def why(service: Opened, number: int, **query: Any) -> dict[str, Any]:
    status, found = await service.get(f"/events/{await uid_of(service, number)}/deliveries", **query)
    assert status == 200, found
    return {one["sink"]: one for one in found["deliveries"]}


async def test_every_sink_says_what_became_of_an_event(service: Opened) -> None:
    found = await why(service, 1)
    assert found["hook"]["stage"] == "delivered"
    assert found["hook"]["attempts"][0]["status"] == 204
    assert found["hook"]["attempts"][0]["durations"]["total"] is not None
    assert (found["admins"]["stage"], found["admins"]["reason"]) == (
        "filtered",
        "type: access.LOGIN is none of admin.*",
    )
    assert list(await why(service, 1, sink="admins")) == ["admins"]


async def test_a_dead_event_says_after_which_tries_and_whose_fault_it_was(service: Opened) -> None:
    one = (await why(service, 2))["hook"]
    assert (one["stage"], one["fault"], one["tries"]) == ("dead", "receiver", 2)
    assert one["reason"] == "given up on after 2 tries: the receiver answered 422"
    assert [(tried["outcome"], tried["number"], tried["excerpt"]) for tried in one["attempts"]] == [
        ("dead", 2, '{"error": "no such client\\u202e"}'),
        ("held", 1, '{"error": "no such client\\u202e"}'),
    ]


async def test_attempts_are_found_by_what_they_came_to_and_by_pages(service: Opened) -> None:
    _, page = await service.get("/sinks/hook/attempts", outcome="dead")
    assert [one["status"] for one in page["attempts"]] == [422, 422]
    assert {one["uid"] for one in page["attempts"]} == {await uid_of(service, 2), await uid_of(service, 3)}
    _, page = await service.get("/sinks/hook/attempts", uid=await uid_of(service, 1))
    assert [one["outcome"] for one in page["attempts"]] == ["delivered"]
    seen, cursor = [], dict[str, str]()
    while True:
        _, page = await service.get("/sinks/hook/attempts", limit="2", **cursor)
        seen += [(one["at"], one["position"]) for one in page["attempts"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert len(seen) == 5
    assert seen == sorted(seen, reverse=True)
    assert (await service.get("/sinks/hook/attempts", outcome="lost"))[0] == 400
    assert (await service.get("/sinks/nobody/attempts"))[0] == 404


async def test_what_is_dead_is_listed_with_reason_time_and_tries(service: Opened) -> None:
    found = await until_dead(service, 2)
    assert [one["tries"] for one in found["dead"]] == [2, 2]
    assert {one["reason"] for one in found["dead"]} == {"the receiver answered 422"}
    assert all(one["gaveUpAt"] is not None for one in found["dead"])
    _, page = await service.get("/sinks/hook/dead", limit="1")
    assert page["dead"] == found["dead"][:1]
    _, rest = await service.get("/sinks/hook/dead", limit="1", cursor=page["next"])
    assert (rest["dead"], rest["next"]) == (found["dead"][1:], None)


async def test_who_may_not_see_sinks_sees_none_of_it(service: Opened) -> None:
    uid = await uid_of(service, 1)
    paths = ["/sinks/hook/attempts", "/sinks/hook/dead", f"/events/{uid}/deliveries"]
    assert [(await service.get(path, token="reader-token"))[0] for path in paths] == [403, 403, 403]
    assert [(await service.get(path, token="operator-token"))[0] for path in paths] == [200, 200, 200]


async def test_who_is_bound_to_a_realm_sees_what_became_of_its_own_events_alone(service: Opened, acme: Realm) -> None:
    token = acme.token("view-events")
    own, other = await uid_of(service, 2), await uid_of(service, 3)
    assert (await service.get(f"/events/{own}/deliveries", token=token))[0] == 200
    assert (await service.get(f"/events/{other}/deliveries", token=token))[0] == 404
    assert (await service.get("/sinks/hook/attempts", token=token))[0] == 403
    assert (await service.get("/sinks/hook/dead", token=token))[0] == 403


async def test_one_event_is_sent_again_at_once_and_a_dead_one_takes_its_turn(
    service: Opened, receiver: Receiver
) -> None:
    delivered, dead = await uid_of(service, 1), await uid_of(service, 2)
    async with service.session.post("/sinks/hook/resend", json={"uid": delivered}) as response:
        told = await response.json()
    assert (response.status, told["queued"], told["outcome"], told["status"]) == (200, False, "delivered", 204)
    assert receiver.taken.count(delivered) == 2
    async with service.session.post("/sinks/hook/resend", json={"uid": dead}) as response:
        told = await response.json()
    assert (response.status, told["queued"], told["outcome"]) == (200, True, None)
    async with asyncio.timeout(20):  # refused as before
        while True:
            _, page = await service.get("/sinks/hook/attempts", uid=dead, outcome="dead")
            if len(page["attempts"]) == 2:
                break
            await asyncio.sleep(0.02)
    await until_dead(service, 2)
    async with service.session.post("/sinks/hook/resend", json={"uid": "nothing"}) as response:
        assert response.status == 404


async def test_a_replay_of_what_is_dead_delivers_it(service: Opened, receiver: Receiver) -> None:
    await until_dead(service, 2)
    receiver.refused.clear()
    status, _ = await service.get("/sinks/admins/replay")
    assert status == 404
    async with service.session.post("/sinks/hook/replay", json={"dry_run": True}) as response:
        assert response.status == 202
    assert (await ended(service))["counts"]["matched"] == 2
    assert len((await until_dead(service, 2))["dead"]) == 2
    async with service.session.post("/sinks/hook/replay") as response:
        assert response.status == 202
    job = await ended(service)
    assert (job["state"], job["counts"]["renewed"], job["by"]) == ("done", 2, "admin")
    await until_dead(service, 0)
    async with service.session.post("/sinks/hook/replay", json={"status": ["delivered"], "rate": 0}) as response:
        number = (await response.json())["id"]
    assert (await ended(service))["counts"]["delivered"] >= 1
    _, page = await service.get("/sinks/hook/attempts", replay=number)
    assert {one["outcome"] for one in page["attempts"]} == {"delivered"}
    for number in (2, 3):
        async with asyncio.timeout(20):
            while True:
                one = (await why(service, number))["hook"]
                if one["stage"] == "delivered":
                    break
                assert one["stage"] in ("in_flight", "held")
                await asyncio.sleep(0.02)
        assert one["attempts"][0]["status"] == 204


async def test_a_replay_is_refused_with_what_would_be_right(service: Opened) -> None:
    for body, problem in (
        ({"filter": {"nothing": "x"}}, "nothing is not known"),
        ({"status": ["lost"]}, "status.0"),
        ({"filter": {"received_from": "soon"}}, "filter.received_from is not"),
    ):
        async with service.session.post("/sinks/hook/replay", json=body) as response:
            assert response.status == 400
            assert problem in json.dumps(await response.json())


async def ended(service: Opened) -> Any:
    async with asyncio.timeout(20):
        while True:
            _, job = await service.get("/sinks/hook/replay")
            if job["state"] != "running":
                return job
            await asyncio.sleep(0.02)


# On the command line, after all that is above: nothing is dead any more


async def run(service: Opened, *words: str) -> tuple[int, str]:
    """Exit code and output of a command."""
    at = ["--url", str(service.service.url), "--token", service.service.admin_token]
    result = await asyncio.to_thread(CliRunner().invoke, app, [*words, *at])
    return result.exit_code, result.output


async def test_the_commands_tell_the_same(service: Opened, receiver: Receiver) -> None:
    receiver.refused.add("later")
    await service.post([login(9, clientId="later", realmName="acme")])
    await until_dead(service, 1)
    uid = await uid_of(service, 9)
    code, output = await run(service, "why", uid)
    assert code == 1
    assert "hook: dead: given up on after 2 tries: the receiver answered 422" in output
    assert "fault: the receiver's" in output
    assert "admins: filtered: type: access.LOGIN is none of admin.*" in output
    assert '{"error": "no such client' in output
    assert "\u202e" not in output
    code, output = await run(service, "why", uid, "admins", "--json")
    assert (code, json.loads(output)["stage"]) == (0, "filtered")
    code, output = await run(service, "attempts", "hook", "--outcome", "dead", "--uid", uid)
    assert code == 0
    assert "422" in output
    assert uid in output
    code, output = await run(service, "dead", "hook")
    assert uid in output
    assert "the receiver answered 422" in output
    code, output = await run(service, "replay", "hook", "--dry-run", "--type", "access.*")
    assert code == 0
    assert "dry run done: 1 event would be sent again" in output
    receiver.refused.clear()
    code, output = await run(service, "replay", "hook", "--where", "client=later", "--since", "1h")
    assert code == 0
    assert "1  renewed" in output
    await until_dead(service, 0)
    async with asyncio.timeout(20):
        while True:
            if (await why(service, 9))["hook"]["stage"] == "delivered":
                break
            await asyncio.sleep(0.02)
    code, output = await run(service, "resend", "hook", uid)
    assert code == 0
    assert "delivered: the receiver took it" in output
    code, output = await run(service, "dead", "hook")
    assert "nothing is dead" in output
    code, output = await run(service, "dead", "nobody")
    assert code == 1
    assert "There is no sink 'nobody'; there are: admins, hook." in output
