"""Users' tables saved over HTTP: as they were checked, as a whole, and only over what was read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from adapter.tables import saved
from adapter.tables.saved import finish_saving
from tests.mapping.acme import MAPPING, RAW, expected, write_table
from tests.opened import Opened, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

SHOP = MAPPING.replace("acme", "shop")
LOGOUT = MAPPING.replace("LOGIN", "LOGOUT")
TYPES = "types:\n  PEEK: {group: login, kind: read, meaning: A look, sentence: A look}\n"
NEW = {"If-None-Match": "*"}


async def ask(
    service: Opened,
    method: str,
    path: str,
    body: Any = None,
    headers: dict[str, str] | None = None,
    token: str | None = None,
    **query: str,
) -> tuple[int, Any, str]:
    """Status, JSON and ETag of an answer."""
    sent = {"Authorization": f"Bearer {token or service.service.admin_token}", **(headers or {})}
    async with service.session.request(method, path, params=query, json=body, headers=sent) as response:
        return response.status, await response.json(content_type=None), response.headers.get("ETag", "")


async def tag(service: Opened, provider: str = "acme") -> dict[str, str]:
    """The precondition that the files are as they are now."""
    return {"If-Match": (await ask(service, "GET", f"/mappings/{provider}"))[2]}


def example(type: str) -> str:
    return yaml.safe_dump([{"name": "first", "raw": RAW, "expect": [expected(type)]}])


async def remove(service: Opened, provider: str) -> None:
    status, found, _ = await ask(service, "DELETE", f"/mappings/{provider}", headers={"If-Match": "*"})
    assert status == 200, found


async def test_a_changed_table_is_saved_and_in_use(service: Opened, folder: Path) -> None:
    body = {"mapping": LOGOUT, "files": {"examples/first.yaml": example("access.LOGOUT")}}
    status, found, etag = await ask(service, "PUT", "/mappings/acme", body, await tag(service), token="keeper-token")
    assert (status, found["written"], found["sources"]) == (200, True, ["acme"]), found
    assert found["examples"] == [
        {"example": "first", "lines": ["type: 'access.LOGIN' becomes 'access.LOGOUT'"], "keys": False}
    ]
    assert found["mapping"]["version"] == service.service.tables["acme"].version
    assert (folder / "acme" / "mapping.yaml").read_text() == LOGOUT
    receipts = await service.post({**RAW, "id": "after-saving"}, source="acme")
    assert (await service.get(f"/events/{receipts['uids'][0]}"))[1]["type"] == "access.LOGOUT"
    assert (await tag(service))["If-Match"] == etag
    _, page, _ = await ask(service, "GET", "/mappings/acme", files="1")
    assert (page["text"], page["files"]) == (LOGOUT, body["files"])


async def test_the_texts_of_before_and_who_saved_are_kept(service: Opened, folder: Path) -> None:
    body = {"mapping": MAPPING + "  out: {type: LOGOUT}\n"}
    assert (await ask(service, "PUT", "/mappings/acme", body, await tag(service), token="keeper-token"))[0] == 200
    kept = json.loads((service.service.folder / "saved" / "acme.json").read_text())
    file = str(folder / "acme" / "mapping.yaml")
    assert (kept["by"], kept["before"][file], kept["texts"][file]) == ("keeper", MAPPING, body["mapping"])
    _, page = await service.get("/events", type="system.MAPPING-SAVED", order="log")
    event = page["events"][-1]
    assert (event["authDetails"]["username"], event["details"]["provider"], event["details"]["files"]) == (
        "keeper", "acme", "mapping.yaml",
    )  # fmt: skip


async def test_a_new_table_with_its_examples_and_types_is_saved_at_once_and_removed(
    service: Opened, folder: Path
) -> None:
    first = example("access.PEEK").replace("acme", "shop")
    body = {
        "mapping": SHOP.replace("LOGIN", "PEEK"),
        "files": {"examples/first.yaml": first, "types.yaml": TYPES},
    }
    status, found, _ = await ask(service, "PUT", "/mappings/shop", body, NEW)
    assert (status, found["sources"], found["mapping"]["origin"]) == (201, [], "folder"), found
    assert (await ask(service, "PUT", "/mappings/shop", body, NEW))[0] == 412
    assert (folder / "types.yaml").read_text() == TYPES
    await remove(service, "shop")
    assert not [one for one in (folder / "shop").rglob("*") if one.is_file()]
    assert "shop" not in service.service.tables
    assert (await service.get("/mappings/shop"))[0] == 404


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 428),
        ({"If-Match": '"of-before"'}, 412),
        ({"If-Match": '"of-before", W/"weak"'}, 412),
        ({"If-None-Match": "*"}, 412),
        ({"If-None-Match": '"of-before"'}, 412),
    ],
)
async def test_only_what_was_read_is_replaced(
    service: Opened, folder: Path, headers: dict[str, str], status: int
) -> None:
    body = {"mapping": MAPPING + "# a remark\n"}
    assert (await ask(service, "PUT", "/mappings/acme", body, headers))[0] == status
    assert (await ask(service, "DELETE", "/mappings/acme", headers=headers))[0] == status
    assert (folder / "acme" / "mapping.yaml").read_text() == MAPPING


async def test_somebody_elses_change_is_noticed(service: Opened, folder: Path) -> None:
    before = await tag(service)
    (folder / "acme" / "examples" / "first.yaml").write_text(example("access.LOGIN") + "# by hand\n")
    status, problem, now = await ask(service, "PUT", "/mappings/acme", {"mapping": MAPPING + "# mine\n"}, before)
    assert (status, "have changed since they were read" in problem["detail"]) == (412, True)
    assert (await ask(service, "PUT", "/mappings/acme", {"mapping": MAPPING + "# mine\n"}, {"If-Match": now}))[0] == 200


async def test_a_table_with_errors_is_refused_with_what_the_check_found(service: Opened, folder: Path) -> None:
    for body, words in (
        ({"mapping": MAPPING.replace("LOGIN", "LOGN")}, "did you mean LOGIN?"),
        ({"mapping": LOGOUT}, "expected 'access.LOGIN', is 'access.LOGOUT'"),
        ({"files": {"examples/first.yaml": "- nothing"}}, "first.yaml"),
        ({"files": {"types.yaml": "type: {}"}}, "types.yaml"),
        ({"mapping": "provider: ["}, "YAML"),
        ({"mapping": SHOP}, "give both the same name"),
    ):
        status, problem, _ = await ask(service, "PUT", "/mappings/acme", body, await tag(service))
        assert (status, words in problem["detail"]) == (422, True), problem
        assert [one for one in problem["findings"] if one["error"]]
    assert (folder / "acme" / "mapping.yaml").read_text() == MAPPING
    assert not (folder / "types.yaml").exists()


async def test_expectations_are_rewritten_after_they_were_seen(service: Opened, folder: Path) -> None:
    before = await tag(service)
    status, shown, _ = await ask(service, "PUT", "/mappings/acme", {"mapping": LOGOUT}, before, dry_run="1")
    assert (status, shown["ok"], shown["written"], shown["mapping"]) == (200, False, False, None)
    assert [one["lines"] for one in shown["expectations"]] == [["type: 'access.LOGIN' becomes 'access.LOGOUT'"]]
    assert (folder / "acme" / "mapping.yaml").read_text() == MAPPING
    other = {"mapping": MAPPING.replace("LOGIN", "REGISTER")}
    assert (await ask(service, "PUT", "/mappings/acme", other, before, seen=shown["seen"]))[0] == 409
    status, found, _ = await ask(service, "PUT", "/mappings/acme", {"mapping": LOGOUT}, before, seen=shown["seen"])
    assert (status, found["ok"]) == (200, True), found
    [kept] = yaml.safe_load((folder / "acme" / "examples" / "first.yaml").read_text())
    assert kept["expect"][0]["type"] == "access.LOGOUT"


async def test_what_it_would_do_to_what_arrived_is_said(service: Opened) -> None:
    await service.post({**RAW, "id": "arrived"}, source="acme")
    body = {"mapping": LOGOUT, "files": {"examples/first.yaml": example("access.LOGOUT")}}
    query = {"dry_run": "1", "received_from": "-1h"}
    status, found, _ = await ask(service, "PUT", "/mappings/acme", body, await tag(service), **query)
    assert (status, found["stored"]["counts"]["corrected"] > 0) == (200, True), found
    before = await tag(service)
    assert (await ask(service, "PUT", "/mappings/acme", body, before, token="keeper-token", **query))[0] == 403
    del query["dry_run"]
    status, problem, _ = await ask(service, "PUT", "/mappings/acme", body, before, **query)
    assert (status, problem["parameter"]) == (400, "received_from")


async def test_other_keys_are_saved_by_force_alone(service: Opened) -> None:
    body = {"mapping": MAPPING.replace("strong: id", "strong: user")}
    status, problem, _ = await ask(service, "PUT", "/mappings/acme", body, await tag(service))
    assert (status, problem["title"], problem["identity"]) == (422, "Other keys", "'first'")
    assert (await ask(service, "PUT", "/mappings/acme", body, await tag(service), force="1"))[0] == 200


async def test_a_change_that_breaks_another_table_is_refused(service: Opened, folder: Path) -> None:
    write_table(
        folder, "extends: acme\nprovider: child\ntitle: Child\ntypes: {in: {type: LOGOUT}, out: null}\n", "child"
    )
    write_table(folder, MAPPING + "  out: {type: LOGOUT}\n")
    await service.service.tables.reload(["acme", "child"])
    status, problem, _ = await ask(service, "PUT", "/mappings/acme", {"mapping": MAPPING}, await tag(service))
    (folder / "child" / "mapping.yaml").unlink()
    service.service.tables.forget("child")
    assert (status, "child/mapping.yaml" in problem["detail"]) == (422, True), problem


async def test_a_table_that_a_source_is_read_by_stays(service: Opened, folder: Path) -> None:
    status, problem, _ = await ask(service, "DELETE", "/mappings/acme", headers=await tag(service))
    assert (status, problem["title"], problem["sources"]) == (409, "In use", ["acme"])
    assert (folder / "acme" / "mapping.yaml").exists()


async def test_a_table_that_hides_a_built_in_one_is_removed_to_have_that_again(service: Opened, folder: Path) -> None:
    built_in = service.service.tables["magic-link"].version
    body = {"mapping": "extends: magic-link\nprovider: magic-link\ntitle: Ours\n"}
    status, problem, _ = await ask(service, "DELETE", "/mappings/magic-link", headers=await tag(service, "magic-link"))
    assert (status, "comes with the adapter" in problem["detail"]) == (409, True)
    status, found, _ = await ask(service, "PUT", "/mappings/magic-link", body, await tag(service, "magic-link"))
    assert (status, found["mapping"]["title"], len(found["mapping"]["hides"])) == (200, "Ours", 1), found
    await remove(service, "magic-link")
    assert service.service.tables["magic-link"].version == built_in
    status, problem, _ = await ask(
        service, "PUT", "/mappings/magic-link", {"files": {"types.yaml": TYPES}}, await tag(service, "magic-link")
    )
    assert (status, "mapping is missing" in problem["detail"]) == (400, True)


async def test_a_new_table_takes_no_types_from_others(service: Opened, folder: Path) -> None:
    (folder / "types.yaml").write_text(TYPES)
    body = {"mapping": SHOP, "files": {"types.yaml": TYPES.replace("PEEK", "GLIMPSE")}}
    status, problem, _ = await ask(service, "PUT", "/mappings/shop", body, NEW, dry_run="1")
    assert (status, "types.yaml has types.PEEK already" in problem["detail"]) == (412, True), problem
    more = TYPES + TYPES.removeprefix("types:\n").replace("PEEK", "GLIMPSE")
    body = {"mapping": SHOP.replace("LOGIN", "GLIMPSE"), "files": {"types.yaml": more}}
    status, found, _ = await ask(service, "PUT", "/mappings/shop", body, NEW, dry_run="1")
    (folder / "types.yaml").unlink()
    assert (status, found["ok"]) == (200, True), found


async def test_only_those_who_may_save_do(service: Opened) -> None:
    for token in ("reader-token", "author-token"):
        for method in ("PUT", "DELETE"):
            status, problem, _ = await ask(service, method, "/mappings/acme", {}, token=token)
            assert (status, problem["permission"]) == (403, "write_mappings")


@pytest.mark.parametrize("path", ["/mappings/Shop!", "/mappings/..%2fshop", "/mappings/..", "/mappings/types.yaml"])
async def test_a_name_that_no_provider_can_have_is_not_found(service: Opened, path: str) -> None:
    assert (await ask(service, "PUT", path, {"mapping": SHOP}, NEW))[0] in (404, 405)


async def test_nothing_is_saved_where_it_is_not_allowed(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    write_table(folder, SHOP, "shop")
    async with opened(tmp_path / "data", mappings={"path": [folder]}) as service:
        body = {"mapping": SHOP + "# a remark\n"}
        status, problem, _ = await ask(service, "PUT", "/mappings/shop", body, {"If-Match": "*"})
        assert (status, "writable = true" in problem["detail"]) == (403, True)
        assert (await ask(service, "PUT", "/mappings/shop", body, {"If-Match": "*"}, dry_run="1"))[0] == 200
        status, shown, _ = await ask(service, "POST", "/mappings/shop/accept")
        assert (await ask(service, "POST", "/mappings/shop/accept", seen=shown["seen"]))[0] == 403
    assert (folder / "shop" / "mapping.yaml").read_text() == SHOP


class Crash(Exception):
    """The process ends here."""


@pytest.mark.parametrize("step", range(5))
async def test_after_a_crash_all_of_a_change_is_there_or_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    folder, data = tmp_path / "own", tmp_path / "data"
    data.mkdir()
    table = write_table(folder, "old table")
    first, types = folder / "acme" / "examples" / "first.yaml", folder / "types.yaml"
    files = {table: "new table", first: "new example", types: None}
    types.write_text("old types")
    synced, left = saved._sync, step

    def crash(place: Path) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Crash
        synced(place)

    monkeypatch.setattr(saved, "_sync", crash)
    try:
        saved.FolderFiles(data)._save(saved.Change("acme", "somebody", files))
    except Crash:
        has_happened = (data / "saving.json").exists() or (data / "saved" / "acme.json").exists()
    else:
        has_happened = True
    monkeypatch.undo()
    finish_saving(data)
    found = {file: file.read_text() if file.exists() else None for file in files}
    old = {table: "old table", first: None, types: "old types"}
    assert found == (files if has_happened else old)
    assert not (data / "saving.json").exists()
