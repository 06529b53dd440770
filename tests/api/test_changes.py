"""What an event changed, asked of a service that has the events before it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.commands.remote import Machine
from tests.opened import Opened, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEYS = [
    {"name": "acme", "token": "acme-token", "realms": ["acme"]},
    {"name": "globex", "token": "globex-token", "realms": ["globex"]},
    {"name": "scraper", "token": "scraper-token", "permissions": ["metrics"]},
]


def administration(number: int, operation: str, representation: Any, **changes: Any) -> dict[str, Any]:
    """What an administrator did to a user, as Keycloak's HTTP sender posts it."""
    raw = {
        "id": f"0f7b1a52-0002-4e0a-9a57-{number:012x}",
        "time": 1_700_000_000_000 + number * 1000,
        "realmId": "acme",
        "authDetails": {"realmId": "acme", "clientId": "admin-cli", "userId": "boss", "ipAddress": "203.0.113.9"},
        "operationType": operation,
        "resourceType": "USER",
        "resourcePath": "users/zoe",
        "representation": representation if isinstance(representation, str) else json.dumps(representation),
        **changes,
    }
    return {name: value for name, value in raw.items() if value is not None}


HIDDEN = {"username": "zoe", "credentials": [{"type": "password", "value": "hunter2"}]}
EVENTS = [
    administration(1, "UPDATE", {"email": "early@x"}),
    administration(2, "DELETE", None),
    administration(3, "CREATE", {"username": "zoe", "email": "a@x", "enabled": True}),
    administration(4, "UPDATE", {"enabled": False}),
    administration(5, "UPDATE", {"email": "failed@x"}, error="no"),
    administration(6, "UPDATE", {"email": "b@x", "enabled": False, "firstName": "Zoe"}),
    administration(7, "UPDATE", HIDDEN),
    administration(8, "DELETE", None),
    # Elsewhere there is one of this name, too.
    administration(9, "UPDATE", {"email": "elsewhere@x"}, realmId="globex"),
    administration(10, "UPDATE", {"email": "other@x"}, resourcePath="users/zoe/consents"),
    administration(11, "UPDATE", {"x": 1}, resourcePath="users/*"),
    administration(12, "UPDATE", {"displayName": "A"}, resourceType="REALM", resourcePath=None),
    administration(13, "UPDATE", {"displayName": "B"}, resourceType="REALM", resourcePath=None),
    administration(14, "UPDATE", "cut off {", resourcePath="users/odd"),
    administration(15, "UPDATE", {"a": 1}, resourcePath="users/odd"),
    administration(16, "UPDATE", {"a": "x" * 10_000}, resourcePath="users/" + "o" * 600),
    administration(17, "UPDATE", {"a": "y"}, resourcePath="users/" + "o" * 600),
    administration(18, "UPDATE", {"a": "z"}, resourcePath="users/" + "o" * 601),
    administration(19, "UPDATE", None, resourcePath="users/silent"),
    administration(20, "UPDATE", {"a": 1}, resourcePath="users/silent"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Opened]:
    folder: Path = tmp_path_factory.mktemp("data")
    sources = [{"name": "keycloak", "provider": "keycloak"}, {"name": "spare", "provider": "keycloak"}]
    async with opened(folder, keys=KEYS, sources=sources) as service:
        await service.post(EVENTS)
        # The same thing of another source is another one.
        await service.post([administration(21, "UPDATE", {"email": "spare@x"})], "spare")
        await service.post([administration(22, "UPDATE", {"email": "last@x"}, resourcePath="users/max")])
        yield service


async def changes(service: Opened, number: int, *, token: str | None = None) -> dict[str, Any]:
    status, found = await service.get(f"/events/0f7b1a52-0002-4e0a-9a57-{number:012x}/changes", token=token)
    assert status == 200, found
    assert isinstance(found, dict)
    return found


def rows(found: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [
        (one["path"], one["change"], *(one[name] for name in ("old", "new") if name in one)) for one in found["changes"]
    ]


async def test_an_update_is_held_against_what_was_said_since_the_thing_was_made(service: Opened) -> None:
    found = await changes(service, 6)
    assert rows(found) == [
        ("email", "changed", "a@x", "b@x"),
        ("firstName", "stated", "Zoe"),
        ("username", "not_stated", "zoe"),
    ]
    assert (found["operation"], found["resource"], found["unchanged"]) == ("UPDATE", "users/zoe", 1)
    assert [one["time"] - 1_700_000_000_000 for one in found["before"]] == [4000, 3000]
    assert found["changes"][0]["oldFrom"] == found["before"][1]["uid"]
    assert (found["nothingBefore"], found["partial"], found["problem"]) == (None, False, None)
    assert found["counts"] == {"changed": 1, "stated": 1, "not_stated": 1}


async def test_a_redacted_value_is_hidden(service: Opened) -> None:
    found = await changes(service, 7)
    assert ("credentials", "hidden") in rows(found)
    assert "hunter2" not in json.dumps(found)


async def test_a_deleted_thing_is_told_as_it_was(service: Opened) -> None:
    found = await changes(service, 8)
    assert ("email", "removed", "b@x") in rows(found)
    assert ("enabled", "removed", False) in rows(found)


@pytest.mark.parametrize(
    ("number", "why"),
    [(1, "none_seen"), (9, "none_seen"), (10, "none_seen"), (11, "none_seen"), (18, "none_seen"), (21, "none_seen"),
     (3, None), (20, "without_representation")],
)  # fmt: skip
async def test_where_nothing_was_before_it_says_why(service: Opened, number: int, why: str | None) -> None:
    found = await changes(service, number)
    assert (found["before"], found["nothingBefore"]) == ([], why)
    assert {one["change"] for one in found["changes"]} == {"added" if number == 3 else "stated"}


async def test_what_was_asked_for_and_failed_is_told_as_such(service: Opened) -> None:
    found = await changes(service, 5)
    assert found["outcome"] == "failure"
    assert ("email", "changed", "a@x", "failed@x") in rows(found)


async def test_after_a_deletion_nothing_was_before(service: Opened) -> None:
    await service.post([administration(30, "UPDATE", {"email": "c@x"})])
    found = await changes(service, 30)
    assert (rows(found), found["nothingBefore"]) == ([("email", "stated", "c@x")], "deleted")


async def test_a_realm_has_no_path_and_is_compared_all_the_same(service: Opened) -> None:
    assert rows(await changes(service, 13)) == [("displayName", "changed", "A", "B")]


async def test_what_is_no_json_is_compared_as_one_text(service: Opened) -> None:
    found = await changes(service, 14)
    assert (rows(found), found["problem"]) == (
        [("", "stated", "cut off {")],
        "the representation is no JSON: it is compared as one text",
    )
    assert rows(await changes(service, 15)) == [("", "changed", "cut off {", {"a": 1})]


async def test_a_path_of_any_length_is_told_from_others_and_a_long_value_is_cut(service: Opened) -> None:
    [one] = (await changes(service, 17))["changes"]
    assert (one["change"], len(one["old"]), one["new"], one["cut"]) == ("changed", 4_000, "y", True)


async def test_an_event_without_a_representation_says_so(service: Opened) -> None:
    found = await changes(service, 19)
    assert (found["changes"], found["problem"]) == ([], "the event says no representation")


async def test_who_is_limited_sees_nothing_of_others(service: Opened) -> None:
    assert rows(await changes(service, 6, token="acme-token")) == rows(await changes(service, 6))
    status, found = await service.get("/events/0f7b1a52-0002-4e0a-9a57-000000000006/changes", token="globex-token")
    assert (status, found["title"]) == (404, "Not found")
    assert rows(await changes(service, 9, token="globex-token")) == [("email", "stated", "elsewhere@x")]
    assert (await service.get("/events/x/changes", token="scraper-token"))[0] == 403


async def test_what_details_say_of_before_is_told(service: Opened) -> None:
    details = {"previous_email": "old@x", "updated_email": "new@x"}
    raw = {"id": "email-1", "time": 1_700_000_100_000, "type": "UPDATE_EMAIL", "realmId": "acme", "details": details}
    await service.post([raw])
    _, found = await service.get("/events/email-1/changes")
    assert rows(found) == [("details.email", "changed", "old@x", "new@x")]
    assert (found["operation"], found["nothingBefore"], found["problem"]) == (None, None, None)


async def test_what_is_no_event_has_no_changes(service: Opened) -> None:
    assert (await service.get("/events/nothing/changes"))[0] == 404


async def test_the_command_shows_it(service: Opened, tmp_path: Path) -> None:
    machine = Machine(tmp_path, {})
    uid = "0f7b1a52-0002-4e0a-9a57-000000000006"
    asked = {"URL": service.service.url, "TOKEN": service.service.admin_token}
    said = await machine.run("events", "changes", uid, **asked)
    assert [line.split() for line in said.output.splitlines()] == [
        ["admin.USER-UPDATE", "of", "users/zoe"],
        ["change", "field", "before", "after"],
        ["changed", "email", "a@x", "b@x"],
        ["stated", "firstName", "Zoe"],
        ["1", "fields", "are", "as", "they", "were;", "1", "are", "not", "stated,", "--all", "shows", "them"],
    ]
    said = await machine.run("events", "changes", uid, "--all", **asked)
    assert "not_stated  username" in said.output
    said = await machine.run("events", "changes", "0f7b1a52-0002-4e0a-9a57-000000000001", **asked)
    assert "What was before is not known: no earlier event about it is in the log." in said.output
