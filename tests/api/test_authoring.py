"""A first draft, and examples accepted, over HTTP."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from aiohttp import ClientSession

from tests.api.author import post
from tests.mapping.acme import MAPPING, write_table
from tests.opened import Opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

SAMPLES = [
    {"event": "SignIn", "when": "2026-05-01T10:00:00Z", "user": "anna", "eventId": "a"},
    {"event": "SignIn", "when": "2026-05-01T11:00:00Z", "user": "ben", "eventId": "b"},
    {"event": "SignOut", "when": "2026-05-01T12:00:00Z", "user": "anna", "eventId": "c"},
]


async def test_a_table_is_proposed_from_samples_and_nothing_is_written(service: Opened, folder: Path) -> None:
    status, proposed = await post(service, "/mappings/shop/new", SAMPLES)
    assert status == 200
    assert proposed["file"] == str(folder / "shop" / "mapping.yaml")
    assert proposed["examples_file"] == str(folder / "shop" / "examples" / "samples.yaml")
    table = yaml.safe_load(proposed["mapping"])
    assert (table["type"], table["identity"], [*table["types"]]) == (
        "event", {"strong": "eventId"}, ["SignIn", "SignOut"],
    )  # fmt: skip
    assert [one["raw"] for one in yaml.safe_load(proposed["examples"])] == SAMPLES
    assert not (folder / "shop").exists()


async def test_lines_of_samples_give_the_same_proposal_as_a_list(service: Opened) -> None:
    lines = "\n".join(json.dumps(one) for one in SAMPLES).encode()
    assert await post(service, "/mappings/shop/new", data=lines, media="application/x-ndjson") == await post(
        service, "/mappings/shop/new", SAMPLES
    )


async def test_a_proposed_table_is_refused_by_check_until_its_types_are_decided(service: Opened) -> None:
    _, proposed = await post(service, "/mappings/shop/new", SAMPLES)
    _, checked = await post(service, "/mappings/shop/check", {"mapping": proposed["mapping"]})
    assert not checked["ok"]
    assert sum("decide" in one["text"] for one in checked["findings"]) == 2
    text = proposed["mapping"].replace("DECIDE", "LOGIN", 1).replace("DECIDE", "LOGOUT", 1)
    assert (await post(service, "/mappings/shop/check", {"mapping": text}))[1]["ok"]
    _, applied = await post(service, "/mappings/shop/apply", {"mapping": text, "raw": SAMPLES})
    assert [one["type"] for one in applied["events"]] == ["access.LOGIN", "access.LOGIN", "access.LOGOUT"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "there are no samples"),
        (b"[]", "there are no samples"),
        (b'{"a": 1}\n\n{"a":', "the body:3: neither JSON as a whole nor a line of JSON"),
        (b"[1]", "the body: sample 1 is no JSON object"),
        (b'{"a": 1}\n7', "the body:2: is no JSON object"),
        (b'{"a":' * 70 + b"1" + b"}" * 70, "nested deeper than 64 levels"),
        (b'{"a": {}}', "nothing in the samples looks like a type"),
    ],
)
async def test_samples_that_cannot_be_read_are_told_with_their_place(service: Opened, body: bytes, words: str) -> None:
    status, problem = await post(service, "/mappings/shop/new", data=body)
    assert (status, words in problem["detail"]) == (400, True), problem


async def test_more_samples_than_one_request_may_hold_are_refused(service: Opened) -> None:
    status, problem = await post(service, "/mappings/shop/new", [{"event": "a"}] * 1001)
    assert (status, problem["detail"]) == (413, "the body holds 1001 samples; send at most 1000")


async def test_a_proposal_holds_no_secret_and_names_what_it_redacts(service: Opened) -> None:
    samples = [{**one, "password": "hidden"} for one in SAMPLES]
    _, proposed = await post(service, "/mappings/shop/new", samples)
    assert yaml.safe_load(proposed["mapping"])["redact"] == [{"in": "password"}]
    assert [remark for remark in proposed["remarks"] if "password" in remark]
    assert "hidden" not in json.dumps(proposed)


async def test_a_table_that_would_hide_one_of_the_adapters_own_is_not_proposed(service: Opened) -> None:
    status, problem = await post(service, "/mappings/keycloak/new", SAMPLES)
    assert (status, "extends: keycloak" in problem["detail"]) == (409, True)


@pytest.mark.parametrize("path", ["/mappings/Shop!/new", "/mappings/..%2fshop/new", "/mappings/Shop!/accept"])
async def test_a_name_that_no_provider_can_have_is_not_found(service: Opened, path: str) -> None:
    status, _ = await post(service, path, SAMPLES)
    assert status == 404


async def test_changes_are_shown_and_then_written_by_their_name(service: Opened, folder: Path) -> None:
    file = folder / "acme" / "examples" / "first.yaml"
    before = file.read_text()
    write_table(folder, MAPPING.replace("LOGIN", "LOGOUT"))
    # The changed table is refused as long as its examples say otherwise.
    assert (await post(service, "/mappings/acme/reload"))[0] == 422

    status, shown = await post(service, "/mappings/acme/accept")
    assert status == 200
    assert not shown["written"]
    assert [(one["example"], one["file"], one["lines"]) for one in shown["changes"]] == [
        ("first", str(file), ["type: 'access.LOGIN' becomes 'access.LOGOUT'"])
    ]
    assert file.read_text() == before

    status, written = await post(service, f"/mappings/acme/accept?seen={shown['seen']}")
    assert (status, written["written"], written["changes"]) == (200, True, shown["changes"])
    assert yaml.safe_load(file.read_text())[0]["expect"] == shown["changes"][0]["expect"]
    assert (await post(service, "/mappings/acme/accept"))[1]["changes"] == []
    assert (await post(service, "/mappings/acme/reload"))[0] == 200


async def test_an_expectation_may_hold_any_number(service: Opened, folder: Path) -> None:
    file = folder / "acme" / "examples" / "first.yaml"
    file.write_text(file.read_text().replace("id: '1'", "id: 123456789012345678901234567890"))
    status, shown = await post(service, "/mappings/acme/accept")
    assert (status, len(shown["changes"])) == (200, 1)
    assert (await post(service, f"/mappings/acme/accept?seen={shown['seen']}"))[1]["written"]


async def test_only_what_was_seen_is_written(service: Opened, folder: Path) -> None:
    file = folder / "acme" / "examples" / "first.yaml"
    write_table(folder, MAPPING.replace("LOGIN", "LOGOUT"))
    _, shown = await post(service, "/mappings/acme/accept")
    write_table(folder, MAPPING.replace("LOGIN", "REGISTER"))
    before = file.read_text()
    status, problem = await post(service, f"/mappings/acme/accept?seen={shown['seen']}")
    assert (status, "look again" in problem["detail"]) == (409, True)
    assert file.read_text() == before


async def test_examples_of_a_built_in_table_are_not_rewritten(service: Opened) -> None:
    status, shown = await post(service, "/mappings/onewelcome/accept")
    assert (status, shown["changes"]) == (200, [])
    status, problem = await post(service, f"/mappings/onewelcome/accept?seen={shown['seen']}")
    assert (status, "comes with the adapter" in problem["detail"]) == (409, True)


async def test_a_table_that_cannot_be_used_accepts_nothing(service: Opened, folder: Path) -> None:
    write_table(folder, MAPPING.replace("provider: acme", "provider: other"))
    status, problem = await post(service, "/mappings/acme/accept")
    assert (status, "give both the same name" in problem["detail"]) == (422, True)


async def test_what_cannot_be_written_is_told(service: Opened, folder: Path) -> None:
    write_table(folder, MAPPING.replace("LOGIN", "LOGOUT"))
    _, shown = await post(service, "/mappings/acme/accept")
    # Where the new text would be put stands a folder: as on a read-only mount, root cannot write there either.
    (folder / "acme" / "examples" / "first.yaml.new").mkdir()
    try:
        status, problem = await post(service, f"/mappings/acme/accept?seen={shown['seen']}")
    finally:
        (folder / "acme" / "examples" / "first.yaml.new").rmdir()
    assert (status, "cannot be written" in problem["detail"]) == (409, True)


async def test_what_is_accepted_is_written_for_those_who_may_save(service: Opened, folder: Path) -> None:
    write_table(folder, MAPPING.replace("LOGIN", "LOGOUT"))
    _, shown = await post(service, "/mappings/acme/accept", token="author-token")
    path = f"/mappings/acme/accept?seen={shown['seen']}"
    assert (await post(service, path, token="author-token"))[0] == 403
    assert (await post(service, path, token="keeper-token"))[1]["written"]


@pytest.mark.parametrize("path", ["/mappings/shop/new", "/mappings/acme/accept"])
async def test_only_authors_have_tables_written(service: Opened, path: str) -> None:
    assert (await post(service, path, SAMPLES, token="reader-token"))[0] == 403
    async with ClientSession() as stranger, stranger.post(f"{service.service.url}{path}", json=SAMPLES) as response:
        assert response.status == 401
