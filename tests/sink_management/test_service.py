"""Sinks that are made while the service runs, over HTTP, by a real service that delivers to a real receiver."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import structlog.testing
from aiohttp import web
from aiohttp.test_utils import TestServer
from standardwebhooks import Webhook

from adapter.sealing import FILE
from tests.e2e.process import until
from tests.e2e.receiver import Receiver, receiver
from tests.opened import Opened, login, opened

NUMBERS = itertools.count(1)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OUTGOING = {"allow": ["127.0.0.0/8"]}
KEYS = [
    {"name": "reader", "token": "reader-token", "permissions": ["read"]},
    {"name": "keeper", "token": "keeper-token", "permissions": ["sinks"]},
]


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def hook() -> AsyncIterator[Receiver]:
    async with receiver() as one:
        yield one


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def one_service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Opened]:
    async with opened(tmp_path_factory.mktemp("data"), outgoing=OUTGOING, keys=KEYS) as one:
        yield one


@pytest_asyncio.fixture(loop_scope="module")
async def service(one_service: Opened) -> AsyncIterator[Opened]:
    """A service without sinks."""
    yield one_service
    for sink in (await one_service.get("/sinks"))[1]["sinks"]:
        await ask(one_service, "DELETE", f"/sinks/{sink['name']}?force=1")


def given(hook: Receiver, name: str = "soc", **more: Any) -> dict[str, Any]:
    return {"name": name, "kind": "webhook", "url": f"http://127.0.0.1:{hook.port}/", **more}


async def ask(
    service: Opened, method: str, path: str, body: Any = None, *, status: int = 200, headers: Any = None
) -> Any:
    async with service.session.request(method, path, json=body, headers=headers) as response:
        text = await response.text()
        assert response.status == status, text
        return json.loads(text)


async def running(service: Opened, name: str) -> bool:
    return bool((await service.get(f"/sinks/{name}"))[1]["state"] == "running")


async def uids_of(service: Opened, count: int = 1) -> list[str]:
    """The uids of so many new events."""
    return list((await service.post([login(next(NUMBERS)) for _ in range(count)]))["uids"])


async def test_a_sink_that_is_made_gets_what_comes_at_once(service: Opened, hook: Receiver) -> None:
    await uids_of(service)
    made = await ask(service, "POST", "/sinks", given(hook), status=201)
    assert (made["managed"], made["version"], made["createdBy"]) == ("api", 1, "admin")
    assert made["id"].startswith("snk_")
    assert made["secret"].startswith("whsec_")
    assert made["settings"]["secret"] == ["<kept>"]
    uids = await uids_of(service, 2)
    await hook.has(uids)
    assert hook.uids == set(uids)
    found = (await service.get("/sinks/soc"))[1]
    assert "secret" not in found
    await until(lambda: delivered(service, 2))


async def delivered(service: Opened, count: int, name: str = "soc") -> bool:
    found = (await service.get(f"/sinks/{name}"))[1]
    return bool(found["counts"]["delivered"] == count and found["lag"] == 0)


async def test_a_sink_may_begin_at_the_beginning(service: Opened, hook: Receiver) -> None:
    uids = await uids_of(service, 2)
    await ask(service, "POST", "/sinks", given(hook, **{"from": "beginning"}), status=201)
    await hook.has(uids)


async def test_posts_are_signed_with_the_secret_that_was_shown_once(service: Opened) -> None:
    taken: list[tuple[Any, bytes]] = []
    async with recording(taken) as port:
        url = f"http://127.0.0.1:{port}/"
        made = await ask(service, "PUT", "/sinks/soc", {"kind": "webhook", "url": url}, status=201)
        await uids_of(service)
        await until(lambda: len(taken) == 1)
        Webhook(made["secret"]).verify(taken[0][1], dict(taken[0][0]))


def recording(taken: list[tuple[Any, bytes]], status: int = 204) -> AbstractAsyncContextManager[int]:
    """A receiver that keeps what it is sent: headers and bodies."""

    async def take(request: web.Request) -> web.Response:
        taken.append((request.headers.copy(), await request.read()))
        return web.Response(status=status, text="\x1b[2Jsaid")

    @asynccontextmanager
    async def serve() -> AsyncIterator[int]:
        app = web.Application()
        app.router.add_post("/", take)
        server = TestServer(app, host="127.0.0.1")
        await server.start_server()
        try:
            yield server.port or 0
        finally:
            await server.close()

    return serve()


async def test_a_changed_sink_goes_on_where_it_was(service: Opened, hook: Receiver) -> None:
    await ask(service, "POST", "/sinks", given(hook, secret=SECRET), status=201)
    first = await uids_of(service)
    await hook.has(first)
    async with receiver() as other:
        to = f"http://127.0.0.1:{other.port}/"
        changed = await ask(service, "PATCH", "/sinks/soc", {"url": to, "filter": {"type": "access.LOGIN"}})
        assert changed["changed"] == ["filter", "url"]
        assert changed["settings"]["secret"] == ["<kept>"]
        second = await uids_of(service)
        await other.has(second)
        assert (hook.uids, other.uids) == (set(first), set(second))
        assert all(count == 1 for count in (hook.taken + other.taken).values())


async def test_put_is_idempotent_by_name_and_keeps_the_secret_that_is_not_said(service: Opened, hook: Receiver) -> None:
    body = given(hook, window=4)
    made = await ask(service, "PUT", "/sinks/soc", body, status=201)
    again = await ask(service, "PUT", "/sinks/soc", body)
    assert (again["version"], again["changed"], again["secret"]) == (made["version"], [], None)
    same = await ask(service, "PUT", "/sinks/soc", made["settings"])
    assert same["changed"] == []
    without = await ask(service, "PUT", "/sinks/soc", {**body, "secret": None})
    assert without["changed"] == ["secret"]
    assert "secret" not in without["settings"]
    less = await ask(service, "PUT", "/sinks/soc", given(hook))
    assert less["changed"] == ["window"]


async def test_a_change_names_the_version_it_was_made_from(service: Opened, hook: Receiver) -> None:
    async with service.session.post("/sinks", json=given(hook)) as response:
        assert response.headers["Location"] == "/sinks/soc"
        first = response.headers["ETag"]
    async with service.session.patch("/sinks/soc", json={"window": 2}, headers={"If-Match": first}) as response:
        assert response.status == 200
        second = response.headers["ETag"]
    for method, body in (("PATCH", {"window": 3}), ("PUT", given(hook)), ("DELETE", None)):
        async with service.session.request(method, "/sinks/soc", json=body, headers={"If-Match": first}) as response:
            assert response.status == 412
            assert response.headers["ETag"] == second
    await ask(service, "PUT", "/sinks/soc", given(hook), status=409, headers={"If-None-Match": "*"})
    await ask(service, "PUT", "/sinks/new", given(hook, "new"), status=412, headers={"If-Match": first})
    await ask(service, "POST", "/sinks", given(hook), status=409)
    async with service.session.get("/sinks/soc") as response:
        assert response.headers["ETag"] == second


async def test_of_changes_at_the_same_time_none_is_lost(service: Opened, hook: Receiver) -> None:
    await ask(service, "POST", "/sinks", given(hook), status=201)
    changes: list[dict[str, Any]] = [
        {"window": 7},
        {"timeout": 3.5},
        {"filter": {"type": ["access.LOGIN"]}},
        {"names": True},
    ]
    await asyncio.gather(*(ask(service, "PATCH", "/sinks/soc", change) for change in changes))
    settings = (await service.get("/sinks/soc"))[1]["settings"]
    assert {key: settings[key] for change in changes for key in change} == {
        key: one for change in changes for key, one in change.items()
    }


async def test_a_paused_sink_gets_nothing_until_it_is_resumed(service: Opened, hook: Receiver) -> None:
    await ask(service, "POST", "/sinks?paused=1", given(hook), status=201)
    assert (await service.get("/sinks/soc"))[1]["state"] == "paused"
    await ask(service, "POST", "/sinks/soc/resume")
    await until(lambda: running(service, "soc"))
    first = await uids_of(service)
    await hook.has(first)
    assert (await ask(service, "POST", "/sinks/soc/pause"))["by"] == "admin"
    await asyncio.sleep(0.2)
    second = await uids_of(service)
    await asyncio.sleep(0.5)
    assert hook.uids == set(first)
    await ask(service, "POST", "/sinks/soc/resume")
    await hook.has(second)


async def test_deleting_one_with_events_that_are_not_sent_asks(service: Opened, hook: Receiver) -> None:
    await ask(service, "POST", "/sinks", given(hook), status=201)
    await until(lambda: running(service, "soc"))
    await ask(service, "POST", "/sinks/soc/pause")
    await uids_of(service, 2)
    refused = await ask(service, "DELETE", "/sinks/soc", status=409)
    assert refused["undelivered"] >= 2
    assert "force=1" in refused["detail"]
    gone = await ask(service, "DELETE", "/sinks/soc?force=1")
    assert gone["undelivered"] >= 2
    await ask(service, "GET", "/sinks/soc", status=404)
    # One that is made anew with its name begins anew, and nothing of the pause is left.
    await ask(service, "POST", "/sinks", given(hook), status=201)
    uids = await uids_of(service)
    await hook.has(uids)
    assert hook.uids == set(uids)


async def test_a_rotated_secret_signs_beside_the_old_one_until_that_ends(service: Opened) -> None:
    taken: list[tuple[Any, bytes]] = []
    async with recording(taken) as port:
        url = f"http://127.0.0.1:{port}/"
        body = {"name": "soc", "kind": "webhook", "url": url, "secret": SECRET}
        assert (await ask(service, "POST", "/sinks", body, status=201))["secret"] is None
        made = await ask(service, "POST", "/sinks/soc/rotate", {"overlap": 4})
        assert made["secret"].startswith("whsec_")
        assert len(made["retiring"]) == 1
        await uids_of(service)
        await until(lambda: len(taken) == 1)
        for secret in (SECRET, made["secret"]):
            Webhook(secret).verify(taken[0][1], dict(taken[0][0]))

        async def has_ended() -> bool:
            found = (await service.get("/sinks/soc"))[1]
            return bool(found["retiring"] == [] and found["version"] == 3 and found["state"] == "running")

        await until(has_ended)
        await uids_of(service)
        await until(lambda: len(taken) == 2)
        assert len(taken[1][0]["webhook-signature"].split()) == 1
        Webhook(made["secret"]).verify(taken[1][1], dict(taken[1][0]))


async def test_an_overlap_that_cannot_be_is_refused(service: Opened, hook: Receiver) -> None:
    await ask(
        service, "POST", "/sinks", given(hook, "p2", signature="phasetwo-sha256", secret="old-secret"), status=201
    )
    assert "takes one secret" in (await ask(service, "POST", "/sinks/p2/rotate", status=409))["detail"]
    assert (await ask(service, "POST", "/sinks/p2/rotate", {"overlap": 0, "secret": "new-secret"}))["secret"] is None
    for overlap in (-1, "soon", "100y", "10parsecs"):
        await ask(service, "POST", "/sinks/p2/rotate", {"overlap": overlap}, status=400)
    await ask(service, "POST", "/sinks", given(hook, "bare", secret=None), status=201)
    await ask(service, "POST", "/sinks/bare/rotate", status=409)


async def test_a_test_event_is_signed_answered_at_once_and_in_no_log(service: Opened) -> None:
    taken: list[tuple[Any, bytes]] = []
    async with recording(taken) as port:
        url = f"http://127.0.0.1:{port}/"
        made = await ask(service, "PUT", "/sinks/soc", {"kind": "webhook", "url": url}, status=201)
        before = (await service.get("/status"))[1]["head"]
        found = await ask(service, "POST", "/sinks/soc/test")
        assert found["outcome"] == "delivered"
        assert found["seconds"] > 0
        [(headers, body)] = taken
        Webhook(made["secret"]).verify(body, dict(headers))
        assert json.loads(body)["type"] == "system.SINK-TEST"
        assert headers["webhook-id"] == found["uid"]
        assert (await service.get("/status"))[1]["head"] == before
    found = await ask(service, "POST", "/sinks/soc/test")
    assert found["outcome"] == "later"
    assert "cannot connect" in found["answer"]


async def test_settings_are_tried_before_they_are_saved(service: Opened) -> None:
    taken: list[tuple[Any, bytes]] = []
    async with recording(taken, status=500) as port:
        body = {"kind": "webhook", "url": f"http://127.0.0.1:{port}/", "filter": {"type": "access.LOGGIN"}}
        found = await ask(service, "POST", "/sinks/check", body)
        assert "no such type" in found["warnings"][0]
        assert (found["test"]["outcome"], len(taken)) == ("later", 1)
        assert "500" in found["test"]["answer"]
        found = await ask(service, "POST", "/sinks/check?send=0", body)
        assert (found["test"], len(taken)) == (None, 1)
    assert (await service.get("/sinks"))[1]["sinks"] == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": "file", "path": "/tmp/x"}, "kind: writes on the service's own machine"),
        ({"kind": "nothing"}, "kind: there is no such; there are: webhook"),
        ({"secret_file": "/etc/passwd"}, "secret_file: secrets are not read from files .* say secret itself"),
        ({"key_password_file": "/etc/passwd"}, "key_password_file: secrets are not read from files"),
        ({"ca_file": "/etc/ssl/cert.pem"}, "ca_file: names a file of the service's machine"),
        ({"certificate_file": "x", "key_file": "y"}, "certificate_file: names a file"),
        ({"proxy": "http://10.0.0.1:3128"}, "proxy: a proxy is set in adapter.toml alone"),
        ({"url": "ftp://soc.example"}, "url: must begin with https:// or http://"),
        ({"url": "http://user:pass@soc.example"}, "url: must not hold a user or password"),
        ({"url": "http://10.0.0.1/"}, "url: blocked: 10.0.0.1 is not in the public internet"),
        ({"url": "http://[::ffff:10.0.0.1]/"}, "url: blocked: ::ffff:a00:1 is not in the public internet"),
        ({"window": 0}, "window: Input should be greater than or equal to 1"),
        ({"windw": 1}, "windw: there is no such key; there are"),
        ({"filter": {"typ": "x"}}, "typ"),
        ({"secret": "hunter2-hunter2"}, "a Standard Webhooks secret is whsec_"),
        ({"secret": "<kept>"}, "secret: <kept> stands for a secret that is stored here, and there is none"),
        ({"name": "no blanks"}, "name: begins with a letter or digit"),
        ({"name": None}, "name: begins with a letter or digit"),
        ({"format": "csv2"}, "format: no format is called 'csv2'"),
        ({"retry": [0]}, r"retry\[1\]: Input should be greater than 0"),
    ],
)
async def test_what_is_wrong_is_refused_with_its_place(
    service: Opened, hook: Receiver, change: dict[str, Any], said: str
) -> None:
    body = given(hook, **change)
    refused = await ask(service, "POST", "/sinks", body, status=400)
    assert re.search(said, refused["detail"]), refused["detail"]
    assert "hunter2" not in json.dumps(refused)
    assert (await service.get("/sinks"))[1]["sinks"] == []


async def test_an_address_is_only_blocked_to_who_may_not_know_more(service: Opened, hook: Receiver) -> None:
    headers = {"Authorization": "Bearer keeper-token"}
    refused = await ask(service, "POST", "/sinks", given(hook, url="http://10.0.0.1/"), status=400, headers=headers)
    assert refused["detail"] == "url: blocked"


async def test_a_name_that_stands_for_a_refused_address_is_told(tmp_path: Path, hook: Receiver) -> None:
    async with opened(tmp_path / "data") as service:
        made = await ask(service, "POST", "/sinks", given(hook, url="http://localhost:8999/"), status=201)
        assert "[outgoing] allow" in made["warnings"][0]


async def test_it_takes_the_permission(service: Opened, hook: Receiver) -> None:
    for method, path in (
        ("GET", "/sinks"), ("POST", "/sinks"), ("GET", "/sinks/soc"), ("PUT", "/sinks/soc"), ("PATCH", "/sinks/soc"),
        ("DELETE", "/sinks/soc"), ("POST", "/sinks/soc/pause"), ("POST", "/sinks/soc/resume"),
        ("POST", "/sinks/soc/test"), ("POST", "/sinks/soc/rotate"), ("POST", "/sinks/check"),
    ):  # fmt: skip
        await ask(service, method, path, status=403, headers={"Authorization": "Bearer reader-token"})
    headers = {"Authorization": "Bearer keeper-token"}
    made = await ask(service, "POST", "/sinks", given(hook), status=201, headers=headers)
    assert made["createdBy"] == "keeper"


async def test_every_change_is_an_event_with_who_and_what_and_no_value(service: Opened, hook: Receiver) -> None:
    await ask(service, "POST", "/sinks", given(hook, "told", secret=SECRET), status=201)
    await ask(service, "PATCH", "/sinks/told", {"window": 3, "secret": "whsec_" + "A" * 32})
    await ask(service, "PUT", "/sinks/told", given(hook, "told", window=3))
    await ask(service, "POST", "/sinks/told/rotate")
    await ask(service, "POST", "/sinks/told/pause")
    await ask(service, "POST", "/sinks/told/resume")
    await ask(service, "DELETE", "/sinks/told?force=1")
    _, found = await service.get("/events", type="system.CONFIG-SINK-*", order="log")
    events = [one for one in found["events"] if one["details"]["sink"] == "told"]
    told = [(one["type"].removeprefix("system.CONFIG-SINK-"), one["details"].get("changed")) for one in events]
    assert told == [
        ("CREATED", "kind, secret, url"), ("CHANGED", "secret, window"), ("ROTATED", "secret"), ("DELETED", None),
    ]  # fmt: skip
    assert {one["authDetails"]["username"] for one in events} == {"admin"}
    assert "whsec" not in json.dumps(found)


async def test_sinks_of_the_settings_are_shown_and_changed_there_alone(tmp_path: Path, hook: Receiver) -> None:
    taken = tmp_path / "copy"
    sinks = [{"name": "copy", "kind": "file", "path": taken, "from": "beginning"}, given(hook, "soc", secret=SECRET)]
    async with opened(tmp_path / "data", sinks=sinks, outgoing=OUTGOING) as service:
        _, found = await service.get("/sinks")
        assert [(one["name"], one["managed"], one["kind"]) for one in found["sinks"]] == [
            ("copy", "settings", "file"), ("soc", "settings", "webhook"),
        ]  # fmt: skip
        assert found["sinks"][1]["settings"]["secret"] == ["<kept>"]
        for method, path, body in (
            ("PUT", "/sinks/soc", given(hook)), ("PATCH", "/sinks/soc", {}), ("DELETE", "/sinks/soc", None),
            ("POST", "/sinks/soc/rotate", None), ("POST", "/sinks", given(hook)),
        ):  # fmt: skip
            refused = await ask(service, method, path, body, status=409)
            assert "stands in adapter.toml; change it there, and reload" in refused["detail"]
        assert (await ask(service, "POST", "/sinks/soc/test"))["outcome"] == "delivered"
        await ask(service, "POST", "/sinks/copy/test", status=409)
        await ask(service, "POST", "/sinks/soc/pause")
        uids = await uids_of(service)
        await asyncio.sleep(0.3)
        assert not hook.uids & set(uids)
        await ask(service, "POST", "/sinks/soc/resume")
        await hook.has(uids)


async def test_a_sink_of_the_settings_comes_before_one_of_the_log_of_its_name(tmp_path: Path, hook: Receiver) -> None:
    async with opened(tmp_path / "data", outgoing=OUTGOING) as service:
        await ask(service, "POST", "/sinks", given(hook), status=201)
    async with receiver() as other, opened(tmp_path / "data", outgoing=OUTGOING, sinks=[given(other)]) as service:
        _, found = await service.get("/sinks")
        assert [(one["name"], one["managed"]) for one in found["sinks"]] == [("soc", "settings")]
        assert "soc: a sink of the log has the name of one of adapter.toml, which counts" in found["warnings"][0]
        uids = await uids_of(service)
        await other.has(uids)
        assert not hook.uids


async def test_a_restart_keeps_sinks_their_places_and_secrets(tmp_path: Path) -> None:
    taken: list[tuple[Any, bytes]] = []
    async with recording(taken) as port:
        async with opened(tmp_path / "data", outgoing=OUTGOING) as service:
            body = {"kind": "webhook", "url": f"http://127.0.0.1:{port}/"}
            made = await ask(service, "PUT", "/sinks/soc", body, status=201)
            await ask(service, "PUT", "/sinks/quiet?paused=1", body, status=201)
            await until(lambda: running(service, "soc"))
            await uids_of(service)
            await until(lambda: len(taken) == 1)
        async with opened(tmp_path / "data", outgoing=OUTGOING) as service:
            await uids_of(service)
            await until(lambda: len(taken) == 2)
            for headers, posted in taken:
                Webhook(made["secret"]).verify(posted, dict(headers))
            assert (await service.get("/sinks/quiet"))[1]["state"] == "paused"
            assert (await ask(service, "PUT", "/sinks/soc", body))["changed"] == []


async def test_a_secret_is_in_no_file_no_line_and_no_answer(tmp_path: Path, hook: Receiver) -> None:
    with structlog.testing.capture_logs() as lines:
        async with opened(tmp_path / "data", outgoing=OUTGOING) as service:
            made = await ask(service, "POST", "/sinks", given(hook), status=201)
            rotated = await ask(service, "POST", "/sinks/soc/rotate")
            given_ones = given(hook, "two", secret=SECRET)
            answers = [await ask(service, "POST", "/sinks", given_ones, status=201)]
            answers += [(await service.get(path))[1] for path in ("/sinks", "/sinks/soc", "/sinks/two", "/status")]
            # Whoever sends one finds it taken out.
            await service.post(login(1, details={"note": f"a {made['secret']} b", "other": SECRET}))
            answers.append((await service.get("/events"))[1])
        async with opened(tmp_path / "data", outgoing=OUTGOING) as service:
            answers.append((await service.get("/sinks"))[1])
    secrets = [one.removeprefix("whsec_") for one in (made["secret"], rotated["secret"], SECRET)]
    written = json.dumps(answers) + repr(lines)
    assert not [one for one in secrets if one in written]
    stored = b"".join(file.read_bytes() for file in (tmp_path / "data").iterdir() if file.is_file())
    assert b"sealed secret" in stored
    assert not [one for one in secrets if one.encode() in stored]


async def test_with_another_key_the_rest_runs_and_nothing_is_overwritten(tmp_path: Path, hook: Receiver) -> None:
    folder = tmp_path / "data"
    async with opened(folder, outgoing=OUTGOING) as service:
        await ask(service, "POST", "/sinks", given(hook, "sealed"), status=201)
        await ask(service, "POST", "/sinks", given(hook, "plain", secret=None), status=201)
    key = (folder / FILE).read_bytes()
    (folder / FILE).unlink()
    with structlog.testing.capture_logs() as lines:
        async with opened(folder, outgoing=OUTGOING) as service:
            assert any(line["event"] == "secrets_not_readable" for line in lines)
            uids = await uids_of(service)
            await hook.has(uids)
            found = (await service.get("/sinks/sealed"))[1]
            assert found["state"] == "off"
            assert "sealed with a key that is not here" in found["problem"]
            assert "sealed: its secrets cannot be read" in (await service.get("/sinks"))[1]["warnings"][0]
            assert "sealed: its secrets cannot be read" in json.dumps((await service.get("/status"))[1]["todo"])
            assert "is lost" in (await ask(service, "POST", "/sinks", given(hook, "new"), status=409))["detail"]
            assert "key" in (await ask(service, "PATCH", "/sinks/sealed", {"window": 1}, status=409))["detail"]
            assert "key" in (await ask(service, "POST", "/sinks/sealed/rotate", status=409))["detail"]
            assert not (folder / FILE).exists()
    (folder / FILE).write_bytes(key)
    async with opened(folder, outgoing=OUTGOING) as service:
        await until(lambda: running(service, "sealed"))
        assert hook.taken[uids[0], uids[0]] >= 1


async def test_a_key_of_the_settings_takes_the_place_of_the_generated_one(tmp_path: Path, hook: Receiver) -> None:
    keys = [base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2)]
    folder = tmp_path / "data"
    async with opened(folder, outgoing=OUTGOING) as service:
        await ask(service, "POST", "/sinks", given(hook), status=201)
    for data in ({"secret_key": keys[0]}, {"secret_key": keys[1], "old_secret_key": keys[0]}, {"secret_key": keys[1]}):
        async with opened(folder, outgoing=OUTGOING, data={"folder": folder, **data}) as service:
            await until(partial(running, service, "soc"))
    async with opened(folder, outgoing=OUTGOING, data={"folder": folder, "secret_key": keys[0]}) as service:
        assert (await service.get("/sinks/soc"))[1]["state"] == "off"


async def test_hundreds_of_sinks_are_made_at_once_and_each_delivers(service: Opened, hook: Receiver) -> None:
    names = [f"sink-{number:03}" for number in range(200)]
    await asyncio.gather(*(ask(service, "PUT", f"/sinks/{name}", given(hook, name), status=201) for name in names))

    async def all_run() -> bool:
        return {one["state"] for one in (await service.get("/sinks"))[1]["sinks"]} == {"running"}

    await until(all_run)
    [uid] = await uids_of(service)
    await until(lambda: hook.taken[uid, uid] == 200)
    await asyncio.gather(*(ask(service, "DELETE", f"/sinks/{name}?force=1") for name in names))
    assert (await service.get("/sinks"))[1]["sinks"] == []


async def test_what_is_not_there_is_said(service: Opened) -> None:
    for method, path in (
        ("GET", "/sinks/none"), ("PATCH", "/sinks/none"), ("DELETE", "/sinks/none"), ("POST", "/sinks/none/pause"),
        ("POST", "/sinks/none/resume"), ("POST", "/sinks/none/test"), ("POST", "/sinks/none/rotate"),
    ):  # fmt: skip
        await ask(service, method, path, status=404)


async def test_stats_of_a_sink_are_those_of_its_tries(service: Opened, hook: Receiver) -> None:
    await ask(service, "POST", "/sinks", given(hook, attempts="all", on_4xx="dead"), status=201)
    await uids_of(service, 3)
    await until(lambda: delivered(service, 3))
    hook.status = 422
    await uids_of(service)
    await until(lambda: dead(service, 1))
    found = (await service.get("/sinks/soc/stats", **{"from": "1h"}))[1]
    assert (found["remembered"], found["isWhole"], found["lag"]) == ("all", True, 0)
    assert found["tries"]["outcomes"] == {"dead": 1, "delivered": 3}
    assert found["tries"]["statuses"] == {"204": 3, "422": 1}
    assert found["tries"]["total"]["count"] == 4
    assert found["tries"]["total"]["p50"] <= found["tries"]["total"]["p99"]
    assert sum(one["attempts"] for one in found["hours"]) == 4
    assert found["since"] <= found["to"]
    earlier = (await service.get("/sinks/soc/stats", **{"from": "2h", "to": "1h"}))[1]
    assert (earlier["tries"]["attempts"], earlier["since"], earlier["tries"]["total"]["p99"]) == (0, None, None)
    assert (await service.get("/sinks/soc/stats", token="reader-token"))[0] == 403
    assert (await service.get("/sinks/nobody/stats"))[0] == 404


async def dead(service: Opened, count: int, name: str = "soc") -> bool:
    found = (await service.get(f"/sinks/{name}"))[1]
    return bool(found["counts"]["dead"] == count and found["lag"] == 0)


async def test_stats_of_a_sink_say_since_when_something_waits(service: Opened, hook: Receiver) -> None:
    await ask(service, "POST", "/sinks?paused=1", given(hook, filter={"client": ["account"]}), status=201)
    await until(lambda: running_or_paused(service))
    await service.post([login(next(NUMBERS), clientId="other")])
    [uid] = await uids_of(service)
    arrived = (await service.get(f"/events/{uid}"))[1]["source"]["receivedAt"]
    found = (await service.get("/sinks/soc/stats"))[1]
    assert found["oldestWaitingAt"] == arrived
    assert found["lag"] >= 1  # it is past the first one, which it does not get


async def running_or_paused(service: Opened) -> bool:
    return bool((await service.get("/sinks/soc"))[1]["state"] == "paused")
