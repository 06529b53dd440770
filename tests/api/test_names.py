"""Ids and names that events said together: filters by either, and names beside ids, over HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.e2e.captures import WAYS
from tests.opened import Opened, login, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

#: Of what a real Keycloak sent: a user, and the administrator and his client, of another realm.
ZOE, ADMIN = "54d850b6-c44d-4a7c-b1d2-71bd7f5a3045", "836c4c96-e451-4775-8d3b-e6ddabd70585"
CLIENT = "bc5948c0-4011-47a0-b4f7-b62df58bddf9"


def pushed(kind: str) -> list[dict[str, Any]]:
    return [json.loads(sent.body) for sent in WAYS[kind]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Opened]:
    sources = [{"name": name, "provider": "keycloak", "token": f"{name}-token"} for name in ("plain", "other", "named")]
    async with opened(tmp_path_factory.mktemp("data"), sources=sources) as service:
        await service.post(pushed("http"), "plain")
        # What says both of the administrator comes by the webhook alone.
        await service.post(pushed("webhook"), "named")
        yield service


async def found(service: Opened, **query: str) -> list[dict[str, Any]]:
    status, page = await service.get("/events", limit="1000", **query)
    assert status == 200, page
    return list(page["events"])


async def test_a_user_is_found_by_name_and_by_id_with_events_that_carry_one_of_them(service: Opened) -> None:
    by_id = await found(service, user=ZOE, source="plain")
    by_name = await found(service, user="zoe", source="plain")
    assert by_name == by_id
    told = {event["type"] for event in by_name}
    assert {"admin.USER-ACTION", "admin.REALM_ROLE_MAPPING-CREATE", "access.IMPERSONATE"} <= told
    assert len(by_name) == 12
    assert await found(service, user="ZOE", source="plain") == by_name


async def test_what_is_not_of_a_name_is_found_without_it(service: Opened) -> None:
    everything = await found(service, source="plain")
    of_zoe = await found(service, source="plain", user="zoe")
    without = await found(service, source="plain", not_user="zoe")
    assert len(without) == len(everything) - len(of_zoe)
    assert not any(ZOE in json.dumps(event) for event in without)


async def test_an_administrator_of_another_realm_is_found_by_his_name(service: Opened) -> None:
    by_name = await found(service, source="named", realm="acme", actor="service-account-boot")
    assert {event["authDetails"]["userId"] for event in by_name if event["type"].startswith("admin.")} == {ADMIN}
    # Another source does not know of him.
    plain = await found(service, source="plain", actor="service-account-boot")
    assert {event["type"] for event in plain} == {"access.IMPERSONATE"}


async def test_names_stand_beside_events_that_carry_ids_and_are_marked(service: Opened) -> None:
    events = await found(service, source="plain", type="admin.USER-ACTION", names="1")
    assert [event["lookedUp"] for event in events] == [{"target": "zoe"}] * 3
    assert all("username" not in event["details"] for event in events)
    assert not any("lookedUp" in event for event in await found(service, source="plain", type="admin.USER-ACTION"))
    # What carries the name itself needs none.
    [deleted] = await found(service, source="plain", type="admin.USER-DELETE", names="1")
    assert (deleted["details"]["username"], "lookedUp" in deleted) == ("zoe", False)


async def test_a_client_in_a_path_has_its_name(service: Opened) -> None:
    [changed] = await found(service, source="plain", type="admin.CLIENT-ACTION", names="1")
    assert changed["resourcePath"].startswith(f"clients/{CLIENT}/")
    assert changed["lookedUp"] == {"resource": "new"}


async def test_who_impersonates_from_another_realm_is_nobody_of_this_one(service: Opened) -> None:
    namesake = {"realmId": "shop", "realmName": "shop", "userId": "0d0b7e3e-27ab-4a3c-8b7c-3a3f0a8f5b11"}
    other = {"realmId": "shop", "realmName": "shop", "type": "IMPERSONATE", "userId": "u-7"}
    await service.post([login(9_701, **namesake, details={"username": "boss"})], "other")
    for number, realm in ((9_702, "master"), (9_703, "shop")):
        by = {"username": "eve", "impersonator": "boss", "impersonator_realm": realm}
        await service.post([login(number, **other, details=by)], "other")
    assert [one["id"] for one in await found(service, source="other", user=namesake["userId"])] == [
        login(number)["id"] for number in (9_703, 9_701)
    ]
    assert len(await found(service, source="other", user="boss")) == 3


async def test_a_name_that_a_client_did_not_get_is_not_its(service: Opened) -> None:
    path = "clients/5f0d8a9e-3f1d-4a55-9a0e-0d1b4b9d1f00"
    for number, change in [
        (6_001, {"operationType": "UPDATE", "representation": '{"clientId":"shop"}'}),
        (6_002, {"operationType": "UPDATE", "representation": '{"clientId":"taken"}', "error": "conflict"}),
        (6_003, {"operationType": "ACTION"}),
    ]:
        told = login(number)
        del told["type"]
        await service.post([{**told, "resourceType": "CLIENT", "resourcePath": path, **change}], "other")
    [asked] = await found(service, source="other", type="admin.CLIENT-ACTION", names="1")
    assert asked["lookedUp"]["resource"] == "shop"


async def test_a_representation_of_any_depth_is_found_and_told_without_a_name(service: Opened) -> None:
    told = {**login(6_010, details={}), "operationType": "UPDATE", "resourceType": "CLIENT"}
    told["resourcePath"] = "clients/deep"
    del told["type"]
    told["representation"] = '{"clientId":"shop","deep":' + "[" * 20_000 + "]" * 20_000 + "}"
    await service.post([told], "other")
    [asked] = await found(service, source="other", type="admin.CLIENT-UPDATE", sentence="1", resource="clients/deep")
    assert asked["sentence"]["text"].endswith("changed a client (clients/deep)")


async def test_one_event_and_an_export_have_names_too(service: Opened) -> None:
    [event, *_] = await found(service, source="plain", type="admin.USER-ACTION")
    status, one = await service.get(f"/events/{event['uid']}", names="1", raw="1")
    assert (status, one["lookedUp"]) == (200, {"target": "zoe"})
    assert one["raw"]["operationType"] == "ACTION"
    query = {"source": "plain", "type": "admin.USER-ACTION", "names": "1"}
    async with service.session.get("/events/export", params=query) as response:
        lines = (await response.text()).splitlines()
    assert [json.loads(line)["lookedUp"] for line in lines] == [{"target": "zoe"}] * 3
    async with service.session.get("/events/export", params={**query, "format": "csv"}) as response:
        assert '{""target"":""zoe""}' in await response.text()


async def test_a_renamed_user_is_found_by_both_names_and_shown_by_that_of_the_time(service: Opened) -> None:
    person = {"realmId": "renaming", "userId": "7f901230-8016-466d-9751-d4c680dd8dc4"}
    nobody: dict[str, Any] = {"details": {}}
    # In another order than they happened.
    for number, more in [
        (5_030, {"details": {"username": "after"}}),
        (5_010, {"details": {"username": "before"}}),
        (5_020, nobody),
        (5_040, nobody),
        (5_000, nobody),
    ]:
        await service.post([login(number, **person, **more)], "other")
    every = await found(service, source="other", user="before", names="1")
    assert every == await found(service, source="other", user="After", names="1")
    names = [event.get("lookedUp", {}).get("actor") or event["authDetails"]["username"] for event in every]
    assert names == ["after", "after", "before", "before", "before"]


async def test_a_name_that_was_only_tried_is_nobodys(service: Opened) -> None:
    tried = {"type": "LOGIN_ERROR", "error": "user_not_found", "realmId": "tried", "userId": None}
    other = {"type": "LOGIN_ERROR", "error": "different_user_authenticated", "realmId": "tried", "userId": "u-2"}
    await service.post(
        [
            login(6_000, **tried, details={"username": "guess"}),
            login(6_001, **other, details={"username": "guess"}),
            login(6_002, realmId="tried", userId="u-2", details={}),
        ],
        "other",
    )
    assert len(await found(service, source="other", user="guess")) == 2
    assert len(await found(service, source="other", user="u-2", names="1")) == 2
    assert not any("lookedUp" in one for one in await found(service, source="other", realm="tried", names="1"))


async def test_a_name_without_an_id_is_found_by_the_id_that_has_it(service: Opened) -> None:
    await service.post(
        [
            login(7_000, realmId="alone", userId="u-1", details={"username": "carla"}),
            login(7_001, realmId="alone", userId="u-9", details={"username": "Carla"}),
            login(7_002, type="LOGIN_ERROR", error="user_not_found", realmId="alone", userId=None,
                  details={"username": "CARLA"}),
            login(7_003, realmId="elsewhere", userId=None, details={"username": "carla"}),
        ],
        "other",
    )  # fmt: skip
    times = [event["time"] - 1_700_000_000_000 for event in await found(service, source="other", user="u-1")]
    assert times == [7_002_000, 7_000_000]


async def test_a_realm_is_found_by_either_name_and_has_its_name_where_only_its_id_is_said(service: Opened) -> None:
    await service.post([login(8_000, realmId="r-8", realmName="eight"), login(8_001, realmId="r-8")], "other")
    by_name = await found(service, source="other", realm="eight", names="1")
    assert by_name == await found(service, source="other", realm="r-8", names="1")
    assert [event.get("lookedUp") for event in by_name] == [{"realm": "eight"}, None]


async def test_words_of_what_was_changed_are_found(service: Opened) -> None:
    [renamed] = await found(service, source="plain", q="renamed")
    assert renamed["type"] == "admin.CLIENT-UPDATE"
    types = {event["type"] for event in await found(service, source="plain", q="auditor")}
    assert types == {"admin.REALM_ROLE_MAPPING-CREATE", "admin.REALM_ROLE_MAPPING-DELETE"}
    assert await found(service, source="plain", q="neil", type="admin.USER-UPDATE")


async def test_what_an_admin_event_did_is_a_detail(service: Opened) -> None:
    done = [event["details"]["action"] for event in await found(service, source="plain", type="admin.USER-ACTION")]
    assert sorted(done) == ["execute-actions-email", "logout", "reset-password"]
    [joined] = await found(service, source="plain", type="admin.GROUP_MEMBERSHIP-CREATE")
    assert joined["details"]["group"] == "staff"
    [granted] = await found(service, source="plain", type="admin.REALM_ROLE_MAPPING-CREATE")
    assert granted["details"]["role"] == "auditor"


async def test_a_sink_that_asks_for_names_gets_those_that_its_filter_lets_it_know(tmp_path: Path) -> None:
    def sink(name: str, **more: Any) -> dict[str, Any]:
        return {"name": name, "kind": "file", "path": tmp_path / f"{name}.ndjson", **more}

    private = {"mask": ["authDetails.userId"]}
    sinks = [
        sink("plain"),
        sink("named", names=True),
        sink("apart", names=True, filter={"realm": "r-2"}),
        sink("private", names=True, privacy=private),
    ]
    anna = "7f901230-8016-466d-9751-d4c680dd8dc4"
    async with opened(tmp_path / "data", sinks=sinks) as service:
        await service.post(login(1, realmId="r-1", userId=anna, details={"username": "anna"}))
        assert await found(service, user="anna")  # the search has it
        await service.post(login(2, realmId="r-2", userId=anna, details={}))

        async def sent(name: str) -> dict[str, Any]:
            while True:
                file = tmp_path / f"{name}.ndjson"
                for event in map(json.loads, file.read_text().splitlines() if file.exists() else ()):
                    if event["realmId"] == "r-2":
                        return dict(event)
                await asyncio.sleep(0.02)

        async with asyncio.timeout(30):
            looked_up = [(await sent(name)).get("lookedUp") for name in ("plain", "named", "apart", "private")]
    assert looked_up == [None, {"actor": "anna"}, None, {"actor": "a***"}]
