"""A table as people look at it, over HTTP: its native types, its words, its examples, and what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mapping.acme import RAW, expected, write_table
from tests.opened import Opened

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_native_types_come_with_what_arrived_of_them(service: Opened) -> None:
    await service.post([{**RAW, "id": "types-1"}, {"id": "types-2", "kind": "wave"}], source="acme")
    status, found = await service.get("/mappings/acme/types", token="reader-token", arrived="1")
    assert (status, found["unknown"]) == (200, "quarantine")
    types = {one["name"]: one for one in found["types"]}
    assert (types["in"]["becomes"], types["in"]["entries"] > 0) == ("success", True)
    assert (types["wave"]["becomes"], types["wave"]["quarantined"] > 0) == ("none", True)
    _, found = await service.get("/mappings/acme/types")
    assert [one["name"] for one in found["types"]] == ["in"]


async def test_native_types_are_those_of_the_table_that_was_taken_up(service: Opened, folder: Path) -> None:
    await service.get("/mappings/acme/types")
    write_table(folder, (folder / "acme" / "mapping.yaml").read_text() + "  out: {type: LOGOUT}\n")
    await service.service.tables.reload(["acme"])
    _, found = await service.get("/mappings/acme/types")
    assert [one["name"] for one in found["types"]] == ["in", "out"]


async def test_words_are_those_of_the_language_and_of_the_users_catalogue(service: Opened, folder: Path) -> None:
    text = "types:\n  PEEK: {group: login, kind: read, meaning: A look, sentence: A look}\n"
    (folder / "types.yaml").write_text(text)
    await service.service.tables.reload()
    status, found = await service.get("/mappings/acme/words", token="reader-token")
    assert (status, found["types"]["PEEK"], found["types"]["PEEK_ERROR"]) == (200, "A look", "A look: it failed")
    assert "admin.USER-DELETE" in found["types"]
    assert "bad_credentials" in found["reasons"]
    row = found["words"]["$defs"]["Row"]["properties"]
    assert "PEEK" in row["type"]["anyOf"][0]["enum"]


async def test_examples_are_shown_as_they_are(service: Opened, folder: Path) -> None:
    status, found = await service.get("/mappings/acme/examples", token="reader-token")
    assert status == 200
    [one] = found["examples"]
    assert (one["name"], one["raw"], one["expect"]) == ("first", RAW, [expected()])
    assert (one["file"], one["line"]) == ("examples/first.yaml", 1)
    (folder / "acme" / "examples" / "first.yaml").write_text("- name: [\n")
    status, found = await service.get("/mappings/acme/examples")
    assert (status, found["findings"][0]["code"]) == (422, "yaml")


async def test_a_quarantined_group_says_the_row_that_its_words_suggest(service: Opened) -> None:
    await service.post([{"id": "likely-1", "kind": "password changed"}, {"id": "likely-2", "kind": "zzz"}], "acme")
    _, found = await service.get("/quarantine", source="acme")
    likely = {one["nativeType"]: one["likely"] for one in found["groups"]}
    assert likely["password changed"] == {"type": "UPDATE_PASSWORD"}
    assert likely["zzz"] is None


async def test_lists_say_whether_tables_may_be_saved_and_pages_from_what_they_were_read(service: Opened) -> None:
    _, found = await service.get("/mappings")
    assert found["writable"] is True
    async with service.session.get("/mappings/acme") as response:
        assert (await response.json())["etag"] == response.headers["ETag"]
    assert (await service.get("/mappings/nobody/types"))[0] == 404
    assert (await service.get("/mappings/nobody/words"))[0] == 404
    assert (await service.get("/mappings/nobody/examples"))[0] == 404
