"""Examples made of what has arrived, and saved with the row that reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.api.author import post
from tests.api.test_saving import ask, tag
from tests.mapping.acme import MAPPING
from tests.opened import Opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJlLW9mLXRoaXMtdG9rZW4"


async def arrived(service: Opened, event: Any) -> str:
    uids = (await service.post(event, source="acme"))["uids"]
    return str(uids[0])


async def test_what_is_quarantined_becomes_an_example_and_then_an_event(service: Opened, folder: Path) -> None:
    uid = await arrived(service, {"id": "q1", "kind": "peek", "user": "0010"})
    status, made = await post(service, "/mappings/acme/examples", {"uid": uid})
    assert status == 200, made
    [example] = yaml.safe_load(made["text"])
    assert (example["raw"], example["expect"]) == ({"id": "q1", "kind": "peek", "user": "0010"}, [])
    assert (made["file"], made["hidden"], example["name"]) == ("examples/arrived.yaml", [], f"peek {uid[-12:]}")
    assert not (folder / "acme" / "examples" / "arrived.yaml").exists()

    body = {"mapping": MAPPING + "  peek: {type: LOGOUT}\n", "files": {made["file"]: made["text"]}}
    before = await tag(service)
    _, shown, _ = await ask(service, "PUT", "/mappings/acme", body, before, dry_run="1")
    assert [one["expect"][0]["type"] for one in shown["expectations"]] == ["access.LOGOUT"]
    status, found, _ = await ask(service, "PUT", "/mappings/acme", body, before, seen=shown["seen"])
    assert (status, found["mapping"]["readable"] > 0) == (200, True), found
    [kept] = yaml.safe_load((folder / "acme" / "examples" / "arrived.yaml").read_text())
    assert kept["expect"][0]["type"] == "access.LOGOUT"
    (folder / "acme" / "examples" / "arrived.yaml").unlink()


async def test_an_example_is_added_behind_those_that_a_file_has(service: Opened, folder: Path) -> None:
    uid = await arrived(service, {"id": "q2", "kind": "in"})
    _, made = await post(service, "/mappings/acme/examples", {"uid": uid, "file": "examples/first.yaml", "name": "two"})
    assert [one["name"] for one in yaml.safe_load(made["text"])] == ["first", "two"]
    (folder / "acme" / "examples" / "first.yaml").write_text("[]\n")
    status, problem = await post(service, "/mappings/acme/examples", {"uid": uid, "file": "examples/first.yaml"})
    assert (status, "name another file" in problem["detail"]) == (409, True)


async def test_secrets_are_hidden_and_told(service: Opened) -> None:
    event = {"id": "q3", "kind": "odd", "header": f"Bearer {TOKEN}", "apiToken": "a9X2kLm4Qz81PwRt77Ab"}
    uid = await arrived(service, event)
    _, made = await post(service, "/mappings/acme/examples", {"uid": uid})
    assert TOKEN not in made["text"]
    assert event["apiToken"] not in made["text"]
    assert len(made["hidden"]) == 2


async def test_what_is_no_object_is_an_example_too(service: Opened) -> None:
    uid = await arrived(service, [7])
    _, made = await post(service, "/mappings/acme/examples", {"uid": uid})
    assert made["example"]["raw"] == 7


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({}, 400, "uid"),
        ({"uid": "nothing"}, 404, "nothing with this uid"),
        ({"uid": "UID", "file": "types.yaml"}, 400, "examples/NAME.yaml"),
        ({"uid": "UID", "file": "../x.yaml"}, 400, "no file of a table"),
        ([], 400, ""),
    ],
)
async def test_what_cannot_be_made_is_told(service: Opened, body: Any, status: int, words: str) -> None:
    uid = await arrived(service, {"id": "q4", "kind": "in"})
    if isinstance(body, dict) and body.get("uid") == "UID":
        body = {**body, "uid": uid}
    found = await post(service, "/mappings/acme/examples", body)
    assert (found[0], words in found[1]["detail"]) == (status, True), found


async def test_what_the_provider_sent_is_shown_to_those_who_may_see_it(service: Opened) -> None:
    uid = await arrived(service, {"id": "q5", "kind": "in"})
    status, problem = await post(service, "/mappings/acme/examples", {"uid": uid}, token="author-token")
    assert (status, problem["permission"]) == (403, "raw")
    status, problem = await post(service, "/mappings/onewelcome/examples", {"uid": uid})
    assert (status, "a source of 'acme'" in problem["detail"]) == (409, True)
