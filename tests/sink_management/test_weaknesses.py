"""What whoever may make sinks cannot do with that: to other sinks, to others' events, or to the service itself."""

from __future__ import annotations

import asyncio
import itertools
import json
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.e2e.process import until
from tests.e2e.receiver import Receiver, receiver
from tests.opened import Opened, login, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

NUMBERS = itertools.count(7_000)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
KEYS = [
    {"name": "keeper", "token": "keeper-token", "permissions": ["sinks"]},
    {"name": "acme", "token": "acme-token", "permissions": ["sinks", "read"], "realms": ["realm-1"]},
]
KEEPER = {"Authorization": "Bearer keeper-token"}


@pytest_asyncio.fixture(loop_scope="module")
async def hook() -> AsyncIterator[Receiver]:
    async with receiver() as one:
        yield one


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def one_service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Opened]:
    settings: dict[str, Any] = {"outgoing": {"allow": ["127.0.0.0/8"]}, "keys": KEYS}
    async with opened(tmp_path_factory.mktemp("data"), **settings) as one:
        yield one


@pytest_asyncio.fixture(loop_scope="module")
async def service(one_service: Opened) -> AsyncIterator[Opened]:
    yield one_service
    for sink in (await one_service.get("/sinks"))[1]["sinks"]:
        await ask(one_service, "DELETE", f"/sinks/{sink['name']}?force=1")


def given(hook: Receiver, name: str = "soc", **more: Any) -> dict[str, Any]:
    return {"name": name, "kind": "webhook", "url": f"http://127.0.0.1:{hook.port}/", **more}


async def ask(
    service: Opened, method: str, path: str, body: Any = None, *, status: int = 200, headers: Any = None
) -> Any:
    data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
    async with service.session.request(method, path, data=data, headers=headers) as response:
        text = await response.text()
        assert response.status == status, text
        return json.loads(text)


async def test_put_replaces_all_but_the_secret_that_was_made(service: Opened, hook: Receiver) -> None:
    auth = {"kind": "bearer", "token": "a-token-of-theirs"}
    privacy = {"hash": ["authDetails.userId"], "key": "k" * 32}
    made = await ask(service, "PUT", "/sinks/soc", given(hook, auth=auth, privacy=privacy), status=201)
    kept = await ask(service, "PUT", "/sinks/soc", made["settings"])
    assert kept["changed"] == []
    replaced = await ask(service, "PUT", "/sinks/soc", given(hook))
    assert replaced["changed"] == ["auth", "privacy"]
    assert set(replaced["settings"]) == {"kind", "name", "url", "secret"}
    await ask(service, "PUT", "/sinks/soc", given(hook, auth={"kind": "bearer", "token": "<kept>"}), status=400)
    sha = {"kind": "phasetwo-sha256", "secret": "a secret of theirs"}
    await ask(service, "PUT", "/sinks/soc", given(hook, secret=None, signature=[sha]))
    unsigned = await ask(service, "PUT", "/sinks/soc", given(hook))
    assert unsigned["changed"] == ["signature"]


async def test_only_the_administrator_has_tokens_of_an_issuer_signed(service: Opened, hook: Receiver) -> None:
    bearer = {"kind": "phasetwo-bearer", "issuer": "https://id.example/realms/acme", "audience": "siem"}
    body = given(hook, secret=None, signature=[bearer])
    for method, path in (("POST", "/sinks"), ("PUT", "/sinks/soc"), ("POST", "/sinks/check?send=0")):
        await ask(service, method, path, body, status=403, headers=KEEPER)
    await ask(service, "PUT", "/sinks/soc", body, status=201)
    await ask(service, "PATCH", "/sinks/soc", {"window": 3}, headers=KEEPER)
    for change in ({"url": "http://127.0.0.1:7777/"}, {"signature": [{**bearer, "audience": "other"}]}):
        await ask(service, "PATCH", "/sinks/soc", change, status=403, headers=KEEPER)
    await ask(service, "PATCH", "/sinks/soc", {"signature": None}, headers=KEEPER)


@pytest.mark.parametrize("depth", [40, 900, 5000])
async def test_deep_json_is_a_bad_request(service: Opened, hook: Receiver, depth: int) -> None:
    deep = b'{"a":' * depth + b"1" + b"}" * depth
    body = b'{"kind":"webhook","url":"http://127.0.0.1:1/","filter":' + deep + b"}"
    for method, path in (("POST", "/sinks"), ("PUT", "/sinks/soc"), ("POST", "/sinks/check")):
        await ask(service, method, path, body, status=400)
    lists = b'{"kind":"webhook","headers":' + b"[" * depth + b"]" * depth + b"}"
    await ask(service, "PUT", "/sinks/soc", lists, status=400)


async def test_a_dry_run_does_not_tell_whether_a_secret_was_guessed(service: Opened, hook: Receiver) -> None:
    auth = {"kind": "basic", "user": "us", "password": "hunter2"}
    await ask(service, "PUT", "/sinks/soc", given(hook, secret=SECRET, auth=auth), status=201)
    told = []
    for password, secret in (("hunter2", SECRET), ("hunter3", "whsec_" + "A" * 32)):
        guess = given(hook, secret=secret, auth={**auth, "password": password})
        told.append((await ask(service, "PUT", "/sinks/soc?dry_run=1", guess, headers=KEEPER))["changed"])
    assert told == [["auth", "secret"]] * 2
    kept = given(hook, secret="<kept>", auth={**auth, "password": "<kept>"}, window=3)
    assert (await ask(service, "PUT", "/sinks/soc?dry_run=1", kept, headers=KEEPER))["changed"] == ["auth", "window"]
    # `sinks apply` shows the administrator what differs, and nothing where nothing does.
    same = given(hook, secret=SECRET, auth=auth)
    assert (await ask(service, "PUT", "/sinks/soc?dry_run=1", same))["changed"] == []


async def test_whoever_makes_sinks_does_not_decide_what_is_blanked_in_events(service: Opened, hook: Receiver) -> None:
    victim = "3f2b8f44-9a51-4d6b-8a3e-6d7f0c1b2a39"
    theirs = f"whsec_{'administratorsHome':A<32}"
    auth = {"kind": "bearer", "token": victim}
    made = await ask(service, "PUT", "/sinks/soc", given(hook, auth=auth), status=201, headers=KEEPER)
    await ask(service, "POST", "/sinks/soc/rotate", {"secret": theirs}, headers=KEEPER)
    # Nor by a change that the administrator makes to something else.
    await ask(service, "PATCH", "/sinks/soc", {"window": 3})
    ours = "administrators-own-token"
    await ask(service, "PUT", "/sinks/other", given(hook, "other", auth={"kind": "bearer", "token": ours}), status=201)
    details = {"a": victim, "b": theirs, "c": made["secret"], "d": ours}
    [uid] = (await service.post([login(next(NUMBERS), details=details)]))["uids"]
    found = (await service.get(f"/events/{uid}"))[1]["details"]
    assert [victim in found["a"], theirs in found["b"]] == [True, True]
    assert [found["c"], found["d"]] == ["whsec_[redacted]", "[redacted]"]


async def test_what_is_redacted_is_known_after_a_restart(tmp_path: Path, hook: Receiver) -> None:
    settings: dict[str, Any] = {"outgoing": {"allow": ["127.0.0.0/8"]}, "keys": KEYS}
    async with opened(tmp_path, **settings) as service:
        made = await ask(service, "POST", "/sinks", given(hook), status=201, headers=KEEPER)
        auth = {"kind": "bearer", "token": "a-token-of-the-keeper"}
        await ask(service, "POST", "/sinks", given(hook, "other", auth=auth), status=201, headers=KEEPER)
    async with opened(tmp_path, **settings) as service:
        details = {"a": "a-token-of-the-keeper", "c": made["secret"]}
        [uid] = (await service.post([login(7_001, details=details)]))["uids"]
        found = (await service.get(f"/events/{uid}"))[1]["details"]
        assert found == {"a": "a-token-of-the-keeper", "c": "whsec_[redacted]"}


async def test_a_changed_from_is_told_to_be_in_vain(service: Opened, hook: Receiver) -> None:
    made = await ask(service, "PUT", "/sinks/soc", given(hook), status=201)
    assert made["warnings"] == []
    changed = await ask(service, "PUT", "/sinks/soc", given(hook, **{"from": "beginning"}))
    [warning] = changed["warnings"]
    assert warning.startswith("from: counts when a sink is first seen")
    assert "POST /sinks/soc/replay" in warning
    same = await ask(service, "PATCH", "/sinks/soc", {"window": 3})
    assert same["warnings"] == []


async def test_counts_say_whether_they_are_of_this_moment(service: Opened, hook: Receiver) -> None:
    made = await ask(service, "PUT", "/sinks/soc", given(hook), status=201)
    assert made["counted"] == "now"


async def test_ready_names_no_sinks(tmp_path: Path, hook: Receiver) -> None:
    settings: dict[str, Any] = {"outgoing": {"allow": ["127.0.0.0/8"]}}
    async with opened(tmp_path, **settings) as service:
        await ask(service, "POST", "/sinks", given(hook, "hidden-one"), status=201)
    sink = {"name": "hidden-one", "kind": "webhook", "url": "http://127.0.0.1:1/"}
    async with opened(tmp_path, sinks=[sink], **settings) as service:
        async with service.session.get("/readyz", headers={"Authorization": ""}) as response:
            warnings = (await response.json())["warnings"]
        assert warnings == [
            "sinks: 1 sink: a sink of the log has the name of one of adapter.toml, which counts; delete or rename one"
        ]
        assert "hidden-one" in json.dumps((await service.get("/status"))[1])


async def test_a_sink_that_is_not_made_leaves_nobody_paused(service: Opened, hook: Receiver) -> None:
    await ask(service, "PUT", "/sinks/soc", given(hook), status=201)
    await ask(service, "POST", "/sinks?paused=1", given(hook), status=409)
    answers = await asyncio.gather(
        *(
            service.session.post(path, json=given(hook, "raced"))
            for path in ["/sinks", "/sinks?paused=1", "/sinks", "/sinks?paused=1"]
        )
    )
    statuses = [one.status for one in answers]
    assert sorted(statuses) == [201, 409, 409, 409]
    is_paused = statuses.index(201) % 2 == 1
    state = "paused" if is_paused else "running"

    async def holds() -> bool:
        return bool((await service.get("/sinks/raced"))[1]["state"] == state)

    await until(holds)
    assert (await service.get("/sinks/soc"))[1]["state"] == "running"


async def test_a_sink_begins_paused_also_if_who_made_it_died_before_saying_so(tmp_path: Path, hook: Receiver) -> None:
    settings: dict[str, Any] = {"outgoing": {"allow": ["127.0.0.0/8"]}}
    async with opened(tmp_path, **settings) as service:
        await ask(service, "POST", "/sinks?paused=1", given(hook, secret=None), status=201)
    # As if nothing but the sink's own note had been stored.
    with sqlite3.connect(tmp_path / "log.sqlite") as connection:
        gone = connection.execute("DELETE FROM note WHERE name = 'sink-standing soc'")
        assert gone.rowcount == 1
    connection.close()
    async with opened(tmp_path, **settings) as service:

        async def is_paused() -> bool:
            return bool((await service.get("/sinks/soc"))[1]["state"] == "paused")

        await until(is_paused)
        await service.post([login(7_002)])
        assert hook.asked == 0
        await ask(service, "POST", "/sinks/soc/resume")
        await until(lambda: hook.asked == 1)
    async with opened(tmp_path, **settings) as service:

        async def is_running() -> bool:
            return bool((await service.get("/sinks/soc"))[1]["state"] == "running")

        await until(is_running)


async def test_a_limited_key_learns_of_sinks_within_its_limit_alone(service: Opened, hook: Receiver) -> None:
    await ask(service, "PUT", "/sinks/ours", given(hook, "ours", filter={"realm": ["realm-1"]}), status=201)
    for name, filter in (
        ("all", {}),
        ("theirs", {"realm": ["realm-2"], "user": ["the-boss"]}),
        ("both", {"realm": ["realm-1", "realm-2"]}),
        ("others", {"not_realm": ["realm-2"]}),
    ):
        await ask(service, "PUT", f"/sinks/{name}", given(hook, name, filter=filter), status=201)
    [uid] = (await service.post([login(next(NUMBERS))]))["uids"]
    found = (await service.get(f"/events/{uid}/deliveries", token="acme-token"))[1]
    assert [one["sink"] for one in found["deliveries"]] == ["ours"]
    assert (await service.get(f"/events/{uid}/deliveries", token="acme-token", sink="theirs"))[0] == 404
    every = (await service.get(f"/events/{uid}/deliveries"))[1]["deliveries"]
    assert {one["sink"] for one in every} == {"ours", "all", "theirs", "both", "others"}


# Skipping


async def counts(service: Opened, name: str = "soc") -> dict[str, int]:
    found: dict[str, int] = (await service.get(f"/sinks/{name}"))[1]["counts"]
    return found


async def counted(service: Opened, **wanted: int) -> None:
    async def holds() -> bool:
        found = await counts(service)
        return {name: found[name] for name in wanted} == wanted

    await until(holds)


@pytest.mark.parametrize("attempts", ["failures", "none"])
async def test_a_dead_event_is_skipped_by_somebody(service: Opened, hook: Receiver, attempts: str) -> None:
    await ask(service, "POST", "/sinks", given(hook, on_4xx="dead", attempts=attempts), status=201)
    hook.status = 422
    [uid, other] = (await service.post([login(next(NUMBERS)), login(next(NUMBERS))]))["uids"]
    await counted(service, dead=2)
    told = await ask(service, "POST", "/sinks/soc/skip", {"uid": uid, "reason": "a\u202etest"}, headers=KEEPER)
    assert (told["wasDead"], told["reason"]) == (True, "the receiver answered 422")
    await counted(service, matched=2, delivered=0, inFlight=0, held=0, dead=1, skipped=1)
    [verdict] = (await service.get(f"/events/{uid}/deliveries", sink="soc"))[1]["deliveries"]
    assert (verdict["stage"], verdict["reason"]) == ("skipped", "skipped by keeper: a\\u202etest")
    await ask(service, "POST", "/sinks/soc/skip", {"uid": uid}, status=409)
    await ask(service, "POST", "/sinks/soc/skip", {"uid": "nothing"}, status=404)
    [event] = [
        one["details"]
        for one in (await service.get("/events", type="system.SINK-EVENT-SKIPPED"))[1]["events"]
        if one["details"]["uid"] == uid
    ]
    assert (event["sink"], event["by"], event["reason"]) == ("soc", "keeper", "a\\u202etest")
    await audited(service)
    assert other != uid


@pytest.mark.parametrize("is_dead", [True, False], ids=["dead", "held"])
async def test_what_waits_for_a_skipped_head_goes_on(service: Opened, hook: Receiver, is_dead: bool) -> None:
    how: dict[str, Any] = {"on_4xx": "dead"} if is_dead else {"retry": [3600]}
    await ask(service, "POST", "/sinks", given(hook, order_by="user", **how), status=201)
    hook.status = 422
    uids = (await service.post([login(next(NUMBERS)) for _ in range(3)]))["uids"]
    await counted(service, **({"dead": 1, "held": 2} if is_dead else {"held": 3}))
    hook.status = 204
    await ask(service, "POST", "/sinks/soc/skip", {"uid": uids[1]}, status=409)
    await ask(service, "POST", "/sinks/soc/skip", {"uid": uids[0]})
    await hook.has(uids[1:])
    await counted(service, matched=3, delivered=2, inFlight=0, held=0, dead=0, skipped=1)
    assert hook.uids == set(uids[1:])
    await audited(service)


async def audited(service: Opened) -> None:
    """The log, evaluated again, comes to the same counts."""
    await ask(service, "POST", "/sinks/soc/audit", {"rate": 0}, status=202)

    async def is_done() -> bool:
        return bool((await service.get("/sinks/soc/audit"))[1]["state"] == "done")

    await until(is_done)
    assert (await service.get("/sinks/soc/audit"))[1]["differences"] == []
