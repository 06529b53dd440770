"""What is told of people: timelines, and the index."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio
import yaml

from adapter.resources import mappings_path
from tests.opened import Opened, login, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEYS = [
    {"name": "reader", "token": "reader-token", "permissions": ["read"]},
    {"name": "hr", "token": "hr-token", "permissions": ["people"]},
    {"name": "elsewhere", "token": "elsewhere-token", "permissions": ["people"], "realms": ["realm-2"]},
]
PROVIDERS = ["keycloak", "okta", "zitadel", "audit-service", "duo"]
ALICE, BOB = "11111111-0000-4000-8000-000000000001", "11111111-0000-4000-8000-000000000002"
MINUTE = 60


def at(second: int, type: str = "LOGIN", user: str | None = ALICE, **changes: Any) -> dict[str, Any]:
    """An event of Alice's, who has an e-mail address as user name, so many seconds after the beginning."""
    name = {ALICE: "alice@acme.example", BOB: "bob"}.get(user or "", "alice@acme.example")
    return login(second, type=type, userId=user, details={"username": name}, **changes)


async def story(name: str) -> list[Any]:
    """What a provider sends in its story."""
    with (mappings_path() / name / "examples" / "01-story.yaml").open() as file:
        examples = yaml.safe_load(file)
    raw = [one["raw"] for one in examples]
    return [event for one in raw for event in (one if isinstance(one, list) else [one])]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Opened]:
    sources = [{"name": name, "provider": name} for name in PROVIDERS]
    sources.append({"name": "mail", "provider": "magic-link"})
    events = [
        at(1, "LOGIN_ERROR", error="invalid_user_credentials", sessionId=None, ipAddress="198.51.100.66"),
        at(2, "LOGIN_ERROR", error="invalid_user_credentials", sessionId=None),
        at(3, "LOGIN", sessionId="s1"),
        login(4, type="CODE_TO_TOKEN", userId=ALICE, sessionId="s1", details={"grant_type": "authorization_code"}),
        # Somebody tries her name; nobody has that one.
        at(5, "LOGIN_ERROR", None, error="invalid_user_credentials", sessionId=None),
        at(6, "LOGIN_ERROR", "nobody", error="user_not_found", sessionId=None),
        at(7, "LOGIN", BOB, sessionId="s2", realmId="realm-2"),
        # Hours later, in the same session.
        at(20_000, "LOGIN", sessionId="s1", clientId="wiki"),
        at(20_001, "LOGOUT", sessionId="s1"),
        at(90_000, "LOGIN_ERROR", BOB, error="invalid_user_credentials", sessionId=None, realmId="realm-2"),
    ]
    mail = {
        "frontegg_id": "1b4e28ba-2fa1-4d2e-883f-000000000999", "eventType": "login.completed", "status": "success",
        "createdAt": "2023-11-15T09:30:41.530Z", "userId": "m-1", "email": "Alice@acme.example", "ip": "203.0.113.80",
    }  # fmt: skip
    async with opened(tmp_path_factory.mktemp("people") / "data", sources=sources, keys=KEYS) as one:
        await one.post(events)
        await one.post([mail], "mail")
        for name in PROVIDERS[1:]:
            await one.post(await story(name), name)
        yield one


async def timeline(service: Opened, **query: Any) -> dict[str, Any]:
    status, found = await service.get("/timeline", **query)
    assert status == 200, found
    return dict(found)


def sentences(found: dict[str, Any]) -> list[str]:
    return [one["sentence"] for one in reversed(found["items"])]


async def test_a_person_is_told_in_stories_of_all_sources(service: Opened) -> None:
    found = await timeline(service, user="alice@acme.example")
    assert sentences(found) == [
        "alice@acme.example logged in to account from 203.0.113.7: new session, "
        "after 2 failed tries within 2 s from 198.51.100.66",
        "alice@acme.example logged in to wiki from 203.0.113.7: single sign-on",
        "alice@acme.example logged out of account",
        "Alice@acme.example logged in from 203.0.113.80",
    ]
    assert [len(one["uids"]) for one in found["items"]] == [1, 1, 1, 4]
    assert {(one["source"], one["userId"]) for one in found["accounts"]} == {("keycloak", ALICE), ("mail", "m-1")}
    assert found["next"] is None


async def test_links_say_why(service: Opened) -> None:
    found = await timeline(service, user=ALICE)
    told = {one["source"]: one["linkedBy"] for one in found["items"]}
    assert told["keycloak"] == [f"userId {ALICE} in source keycloak"]
    (why,) = told["mail"]
    assert why.lower() == "e-mail alice@acme.example of accounts in keycloak and mail"


async def test_an_id_that_two_sources_have_is_told_of_either(tmp_path: Path) -> None:
    sources = [{"name": name, "provider": "keycloak"} for name in ("one", "two")]
    async with opened(tmp_path / "data", sources=sources) as service:
        await service.post([login(1, userId="17", details={"username": "zoe"})], "one")
        await service.post([login(2, userId="17", details={"username": "max"})], "two")
        # Somebody calls himself like an account.
        await service.post([login(3, userId="18", details={"username": "one:17"})], "two")
        await service.post([login(4, userId="19", details={"username": "zoe"})], "two")
        # Of one nobody says a name, and another one is called like it.
        await service.post([login(5, userId="20", details={}, sessionId="s-20")], "one")
        await service.post([login(n, userId="21", details={"username": "20"}) for n in range(6, 40)], "one")

        async def names(**query: Any) -> list[str]:
            return sorted(f"{one['source']}:{one['userId']}" for one in (await timeline(service, **query))["items"])

        assert await names(user="17") == ["one:17", "two:17"]
        assert await names(user="one:17") == ["one:17"]
        assert await names(user="two:17") == ["two:17"]
        assert await names(user="one:20") == ["one:20"]
        assert await names(user="17", source="two") == ["two:17"]
        assert await names(user="zoe", source="two") == ["two:19"]
        assert [one["source"] for one in (await timeline(service, user="zoe", source="two"))["accounts"]] == ["two"]
        assert set(await names(session="session-1", source="two")) == {"two:17", "two:18", "two:19"}
        # No source is called so: it is an id like any other.
        assert await names(user="three:17") == []
        _, known = await service.get("/people/one:17")
        assert [one["id"] for one in known["accounts"]] == ["one:17"]


async def test_who_only_tried_a_name_is_on_nobodys_timeline(service: Opened) -> None:
    found = await timeline(service, user="alice@acme.example")
    uids = {uid for one in found["items"] for uid in one["uids"]}
    _, tried = await service.get("/events", user="alice@acme.example", source="keycloak", limit=100)
    rest = [one for one in tried["events"] if one["uid"] not in uids]
    assert [(one["authDetails"].get("userId"), one["reason"]) for one in rest] == [
        ("nobody", "unknown_user"),
        (None, "bad_credentials"),
    ]
    assert (await timeline(service, user="nobody"))["items"] == []


async def test_steps_that_name_only_a_session_are_part_of_its_login(service: Opened) -> None:
    found = await timeline(service, user="336494809936035843")
    login = next(one for one in found["items"] if one["kind"] == "login")
    assert len(login["uids"]) == 8
    assert (login["method"], login["factor"], login["session"]) == ("password", "otp", "new")


async def test_a_session_and_an_address_have_timelines(service: Opened) -> None:
    found = await timeline(service, session="s1")
    assert [one["type"] for one in found["items"]] == ["access.LOGOUT", "access.LOGIN", "access.LOGIN"]
    assert found["items"][0]["linkedBy"] == ["session s1 in source keycloak"]
    found = await timeline(service, ip="198.51.100.66", to="2024-01-01T00:00:00Z")
    assert [(one["kind"], one["outcome"]) for one in found["items"]] == [("failed_login", "failure")]


async def test_pages_join_to_the_whole_and_stories_stay_whole(service: Opened) -> None:
    whole = await timeline(service, user="alice@acme.example")
    joined: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = await timeline(service, user="alice@acme.example", limit=1, **cursor)
        joined += page["items"]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert joined == whole["items"]


async def test_whoever_is_limited_learns_of_nothing_else(service: Opened) -> None:
    found = await timeline(service, user="alice@acme.example", token="elsewhere-token")
    assert (found["items"], found["accounts"]) == ([], [])
    found = await timeline(service, user="bob", token="elsewhere-token")
    assert len(found["items"]) == 2
    _, page = await service.get("/people", token="elsewhere-token")
    assert [one["username"] for one in page["people"]] == ["bob"]
    everything = (await service.get("/people"))[1]["since"]
    assert page["since"] == page["people"][0]["firstSeen"] > everything  # not since when others' events are here
    assert (await service.get(f"/people/keycloak:{ALICE}", token="elsewhere-token"))[0] == 404
    _, active = await service.get(
        "/people/active", token="elsewhere-token", **{"from": "2023-11-14T00:00:00Z", "to": "2023-11-16T00:00:00Z"}
    )
    assert active["seen"] == [1, 1]


@pytest.mark.parametrize("path", ["/timeline?user=x", "/people", "/people/x", "/people/active"])
async def test_people_are_told_to_those_who_may(service: Opened, path: str) -> None:
    assert (await service.get(path, token="reader-token"))[0] == 403
    assert (await service.get(path, token="hr-token"))[0] in (200, 404)


@pytest.mark.parametrize(
    "query, parameter",
    [
        ({}, "user"),
        ({"user": "a", "ip": "203.0.113.7"}, "user"),
        ({"ip": "nowhere"}, "ip"),
        ({"user": " "}, "user"),
        ({"user": "a", "limit": "501"}, "limit"),
        ({"user": "a", "cursor": "x"}, "cursor"),
        ({"user": "a", "from": "soon"}, "from"),
    ],
)
async def test_slips_in_a_timeline_are_told(service: Opened, query: dict[str, str], parameter: str) -> None:
    status, problem = await service.get("/timeline", **query)
    assert (status, problem["parameter"]) == (400, parameter)


async def test_accounts_tell_when_and_how_they_were_used_last(service: Opened) -> None:
    _, page = await service.get("/people", source="keycloak", sort="-failures")
    bob, alice = page["people"][:2]
    assert (bob["username"], bob["failures"], bob["realmId"]) == ("bob", 1, "realm-2")
    assert (alice["userId"], alice["failures"]) == (ALICE, 0)
    assert alice["login"]["client"] == "wiki"
    assert alice["lastSuccess"] == alice["login"]["time"] == 1_700_000_000_000 + 20_000_000
    assert (alice["firstSeen"], alice["lastSeen"]) == (1_700_000_001_000, 1_700_020_001_000)
    assert page["since"] <= alice["firstSeen"]


async def test_accounts_are_filtered_and_paged(service: Opened) -> None:
    async def names(**query: Any) -> list[str]:
        status, page = await service.get("/people", **query)
        assert status == 200, page
        return [one["username"] or one["userId"] for one in page["people"]]

    assert await names(q="ALI") == ["Alice@acme.example", "alice@acme.example"]
    assert await names(q=BOB) == ["bob"]
    assert await names(q="ali", source="mail") == ["Alice@acme.example"]
    assert await names(realm="realm-2") == ["bob"]
    assert await names(dormant_since="2023-11-15T06:00:00Z", source="keycloak") == ["alice@acme.example"]
    assert await names(failures_min=5, source="audit-service") == ["user456"]
    whole, paged, cursor = await names(sort="last", limit=200), list[str](), dict[str, str]()
    while True:
        _, page = await service.get("/people", sort="last", limit=2, **cursor)
        paged += [one["username"] or one["userId"] for one in page["people"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert (paged, len(whole) > 10) == (whole, True)
    assert (await service.get("/people", sort="-last", **cursor))[0] == 400


async def test_a_person_has_accounts_devices_and_addresses(service: Opened) -> None:
    for asked in (f"keycloak:{ALICE}", ALICE, "alice@acme.example", "mail:m-1"):
        status, found = await service.get(f"/people/{quote(asked, safe='')}")
        assert status == 200, found
        assert {one["id"] for one in found["accounts"]} == {f"keycloak:{ALICE}", "mail:m-1"}
    assert {one["name"]: one["logins"] for one in found["addresses"]} == {"203.0.113.7": 2, "203.0.113.80": 1}
    _, okta = await service.get("/people/ida@acme.example")
    assert "SAFARI on Mac OS X" in {one["name"] for one in okta["devices"]}
    assert {one["source"] for one in okta["accounts"]} == {"okta", "duo"}
    assert (await service.get("/people/nobody"))[0] == 404


async def test_active_accounts_are_counted_by_day_and_month(service: Opened) -> None:
    status, found = await service.get(
        "/people/active", source="keycloak", **{"from": "2023-11-14T00:00:00Z", "to": "2023-11-17T00:00:00Z"}
    )
    assert status == 200, found
    assert (found["seen"], found["loggedIn"], found["partial"]) == ([2, 2, 0], [2, 1, 0], False)
    _, found = await service.get(
        "/people/active",
        bucket="month",
        source="keycloak",
        **{"from": "2023-10-31T00:00:00Z", "to": "2023-12-01T00:00:00Z"},
    )
    assert (found["seen"], len(found["starts"])) == ([0, 2], 2)
    assert (await service.get("/people/active", **{"from": "1990-01-01T00:00:00Z"}))[0] == 400
    assert (await service.get("/people/active", tz="Mars/Base"))[0] == 400


async def test_they_are_known_in_postgresql_too(database_url: str, tmp_path: Path) -> None:
    async with opened(tmp_path / "data", store={"url": database_url}, keys=KEYS) as service:
        await service.post([at(1, "LOGIN_ERROR", error="invalid_user_credentials"), at(2), at(3, "LOGIN_ERROR", BOB)])
        status, page = await service.get("/people", sort="-failures")
        assert status == 200, page
        assert [(one["userId"], one["failures"]) for one in page["people"]] == [(BOB, 1), (ALICE, 0)]
        assert page["since"] == 1_700_000_001_000
        _, first = await service.get("/people", limit=1)
        _, rest = await service.get("/people", limit=1, cursor=first["next"])
        assert [one["userId"] for one in (*first["people"], *rest["people"])] == [BOB, ALICE]
        _, page = await service.get("/people", token="elsewhere-token")
        assert (page["people"], page["since"]) == ([], None)
        _, found = await service.get(f"/people/{quote(f'keycloak:{ALICE}', safe='')}")
        assert (found["lastSuccess"], found["logins"]) == (1_700_000_002_000, 1)
        for bucket in ("day", "month"):
            query = {"from": "2023-11-14T00:00:00Z", "to": "2023-11-15T00:00:00Z", "bucket": bucket}
            _, active = await service.get("/people/active", **query)
            assert (active["seen"], active["loggedIn"], active["partial"]) == ([2], [1], False)
        assert len((await timeline(service, user=f"keycloak:{ALICE}"))["items"]) == 1


async def test_all_of_it_can_be_off(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with opened(data, people={"enabled": False}) as service:
        await service.post([at(1)])
        for path in ("/timeline?user=x", "/people", "/people/x", "/people/active"):
            status, problem = await service.get(path)
            assert (status, problem["title"]) == (404, "Switched off")
    async with opened(data) as service:
        _, page = await service.get("/people")
        assert [one["userId"] for one in page["people"]] == [ALICE]


async def test_addresses_do_not_link_where_they_are_not_to(tmp_path: Path) -> None:
    sources = [{"name": name, "provider": "keycloak"} for name in ("one", "two")]
    async with opened(tmp_path / "data", people={"link_emails": False}, sources=sources) as service:
        await service.post([at(1)], "one")
        await service.post([at(2, user=BOB, id="x")], "two")
        other = login(3, userId="u3", details={"username": "alice@acme.example"})
        await service.post([other], "two")
        found = await timeline(service, user=ALICE)
        assert {one["source"] for one in found["items"]} == {"one"}
        assert (await service.get("/people/alice@acme.example"))[0] == 409


async def test_an_address_that_many_accounts_share_is_nobodys(tmp_path: Path) -> None:
    async with opened(tmp_path / "data", sources=[{"name": "keycloak", "provider": "keycloak"}]) as service:
        shared = [login(n, userId=f"u{n}", details={"username": "info@acme.example"}) for n in range(1, 8)]
        await service.post([*shared, at(20)])
        status, told = await service.get("/people/info@acme.example")
        assert (status, told["title"]) == (409, told["title"])
        assert (await service.get("/people/alice@acme.example"))[0] == 200


async def test_an_account_is_not_called_by_a_name_that_was_only_tried(tmp_path: Path) -> None:
    async with opened(tmp_path / "data", sources=[{"name": "keycloak", "provider": "keycloak"}]) as service:
        tried = login(9, type="LOGIN_ERROR", userId=ALICE, error="different_user_authenticated", sessionId=None)
        await service.post([at(1), {**tried, "details": {"username": "mallory"}}])
        _, page = await service.get("/people")
        assert [one["username"] for one in page["people"]] == ["alice@acme.example"]
        assert (await service.get("/people", q="\0"))[0] == 400
