"""Tables over HTTP: seen, tried, taken up; and what a running service makes of a changed one."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from tests.api.author import post
from tests.mapping.acme import MAPPING, RAW, write_example, write_table
from tests.opened import Opened, opened

NEW_TYPE = "types:\n  PEEK: {group: login, kind: read, meaning: A look, sentence: A look}\naliases: {GLANCE: PEEK}\n"
LOGOUT = MAPPING.replace("LOGIN", "LOGOUT")
pytestmark = pytest.mark.asyncio(loop_scope="module")


async def metrics(service: Opened) -> str:
    async with service.session.get("/metrics") as response:
        return await response.text()


async def test_tables_are_listed_with_version_and_state(service: Opened) -> None:
    status, found = await service.get("/mappings", token="reader-token")
    assert status == 200
    assert [one["provider"] for one in found["mappings"]] == sorted(service.service.tables)
    assert found["mappings"][0] == {
        "provider": "acme",
        "title": "Acme",
        "origin": "folder",
        "hides": [],
        "version": service.service.tables["acme"].version,
        "state": "in_use",
        "problem": None,
        "since": None,
    }


async def test_a_table_is_shown_with_its_file_as_it_is_now(service: Opened, folder: Path) -> None:
    text = MAPPING + "  out: {type: LOGOUTT}\n"
    file = write_table(folder, text)
    _, page = await service.get("/mappings/acme")
    assert (page["text"], page["file"]) == (text, str(file))
    [wrong, without] = page["findings"]
    assert wrong["error"]
    assert "'LOGOUTT' is no type of the catalogue (did you mean LOGOUT?)" in wrong["text"]
    assert wrong["line"] == text.splitlines().index("  out: {type: LOGOUTT}") + 1
    assert (without["error"], "no example reaches this row" in without["text"]) == (False, True)
    assert page["coverage"]["covered"] == []


async def test_coverage_holds_the_vendors_list_against_the_rows(service: Opened) -> None:
    status, found = await service.get("/mappings/onewelcome/coverage")
    assert status == 200
    assert "101" in found["covered"]


@pytest.mark.parametrize("path", ["/mappings/nobody", "/mappings/nobody/coverage", "/mappings/..%2F..%2Facme"])
async def test_a_provider_without_a_table_is_not_found(service: Opened, path: str) -> None:
    status, found = await service.get(path)
    assert status == 404
    assert status == (await post(service, "/mappings/nobody/reload"))[0]
    assert "acme" in found["detail"]


async def test_readers_see_tables_and_only_authors_try_them(service: Opened) -> None:
    assert (await service.get("/mappings", token="author-token"))[0] == 403
    for verb in ("check", "apply", "explain", "reload"):
        assert (await post(service, f"/mappings/acme/{verb}", token="reader-token"))[0] == 403
    assert (await post(service, "/mappings/acme/check", token="author-token"))[0] == 200
    assert (await post(service, "/mappings/acme/apply", RAW, token="author-token"))[0] == 200


async def test_a_text_is_checked_with_the_providers_examples_before_it_is_put_in_place(
    service: Opened, folder: Path
) -> None:
    assert (await post(service, "/mappings/acme/check"))[1] == {"ok": True, "findings": []}
    status, found = await post(service, "/mappings/acme/check", {"mapping": LOGOUT})
    assert (status, found["ok"]) == (200, False)
    assert any("expected 'access.LOGIN', is 'access.LOGOUT'" in one["text"] for one in found["findings"])
    _, found = await post(service, "/mappings/acme/check", {"mapping": "provider: ["})
    assert [one["error"] for one in found["findings"]] == [True]
    assert "not valid YAML" in found["findings"][0]["text"]
    assert [(one["line"], one["column"], one["code"]) for one in found["findings"]] == [(2, 1, "yaml")]
    status, refused = await post(service, "/mappings/acme/apply", {"mapping": "provider: [", "raw": RAW})
    assert (status, refused["findings"]) == (422, found["findings"])
    assert (folder / "acme" / "mapping.yaml").read_text() == MAPPING


async def test_examples_and_types_are_checked_before_they_are_put_in_place(service: Opened, folder: Path) -> None:
    first = (folder / "acme" / "examples" / "first.yaml").read_text()
    # The table as it is, with an example that says otherwise.
    wrong = {"examples/first.yaml": first.replace("access.LOGIN", "access.LOGOUT")}
    _, found = await post(service, "/mappings/acme/check", {"files": wrong})
    assert "expected 'access.LOGOUT', is 'access.LOGIN'" in str(found["findings"])
    files = {"examples/first.yaml": first.replace("access.LOGIN", "access.PEEK"), "types.yaml": NEW_TYPE}
    text = MAPPING.replace("LOGIN", "PEEK")
    assert (await post(service, "/mappings/acme/check", {"mapping": text, "files": files}))[1]["ok"]
    del files["types.yaml"]
    _, found = await post(service, "/mappings/acme/check", {"mapping": text, "files": files})
    assert "'PEEK' is no type of the catalogue" in found["findings"][0]["text"]
    # One that is not to be there any more is not read.
    _, found = await post(service, "/mappings/acme/check", {"mapping": LOGOUT, "files": {"examples/first.yaml": None}})
    assert found["ok"]
    given = {"mapping": text, "files": {"types.yaml": NEW_TYPE}, "raw": RAW}
    assert (await post(service, "/mappings/acme/apply", given))[1]["events"][0]["type"] == "access.PEEK"
    assert not (folder / "types.yaml").exists()


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"examples/../mapping.yaml": ""}, "is no file of a table"),
        ({"../types.yaml": ""}, "is no file of a table"),
        ({"examples/a/b.yaml": ""}, "is no file of a table"),
        ({"mapping.yaml": ""}, "is no file of a table"),
        ({"types.yaml": 7}, "files.types.yaml"),
        ({"types.yaml": "#" * 1_000_001}, "more than 1000000 characters"),
        ({f"examples/{number}.yaml": "" for number in range(201)}, "at most 200"),
    ],
)
async def test_files_that_a_table_has_not_are_refused(service: Opened, files: dict[str, Any], words: str) -> None:
    status, problem = await post(service, "/mappings/acme/check", {"mapping": MAPPING, "files": files})
    assert (status, words in problem["detail"]) == (400, True), problem


async def test_files_are_checked_the_moment_they_are_there(service: Opened, folder: Path) -> None:
    assert (await post(service, "/mappings/fresh/check"))[0] == 404
    write_table(folder, MAPPING.replace("provider: acme", "provider: fresh").replace("LOGIN", "LOGN"), "fresh")
    try:
        status, checked = await post(service, "/mappings/fresh/check")
    finally:
        (folder / "fresh" / "mapping.yaml").unlink()
    assert (status, checked["ok"]) == (200, False)
    assert "did you mean LOGIN?" in checked["findings"][0]["text"]


async def test_a_check_of_something_else_is_refused(service: Opened) -> None:
    status, found = await post(service, "/mappings/acme/check", {"maping": LOGOUT})
    assert (status, 'send {"mapping": TEXT}' in found["detail"]) == (400, True)


async def test_a_table_for_a_new_provider_is_tried_before_there_is_one(service: Opened) -> None:
    text = MAPPING.replace("acme", "fresh")
    status, found = await post(service, "/mappings/fresh/apply", {"mapping": text, "raw": RAW})
    assert status == 200
    assert found["events"][0]["source"]["provider"] == "fresh"
    assert (await post(service, "/mappings/fresh/check", {"mapping": text}))[1]["ok"]
    assert (await post(service, "/mappings/..%2Ffresh/check", {"mapping": text}))[0] == 404


async def test_raw_events_are_applied_and_explained(service: Opened) -> None:
    _, found = await post(service, "/mappings/acme/apply", [RAW, {"id": "2", "kind": "odd"}])
    assert found["events"][0]["type"] == "access.LOGIN"
    assert found["events"][1]["quarantined"]["nativeType"] == "odd"
    lines = b'{"id": "1", "kind": "in"}\n{"id": "2", "kind": "in"}\n'
    _, found = await post(service, "/mappings/acme/apply", data=lines, media="application/x-ndjson")
    assert [one["id"] for one in found["events"]] == ["1", "2"]
    _, found = await post(service, "/mappings/acme/explain", RAW)
    [told] = found["explanations"]
    assert told["fields"]["authDetails.userId"] == {"value": "anna", "by": "user"}
    assert told["rows"][0]["name"] == "types.in"


async def test_a_text_is_tried_on_raw_events_while_the_old_table_goes_on(service: Opened) -> None:
    _, found = await post(service, "/mappings/acme/apply", {"mapping": LOGOUT, "raw": [RAW]})
    assert [one["type"] for one in found["events"]] == ["access.LOGOUT"]
    _, found = await post(service, "/mappings/acme/explain", {"mapping": LOGOUT, "raw": RAW})
    assert found["explanations"][0]["event"]["type"] == "access.LOGOUT"
    _, found = await post(service, "/mappings/acme/apply", RAW)
    assert [one["type"] for one in found["events"]] == ["access.LOGIN"]
    lines = '{"id": "1", "kind": "in"}\n{"id": "2", "kind": "in"}'
    given = {"mapping": LOGOUT, "raw": lines, "media": "application/x-ndjson"}
    assert len((await post(service, "/mappings/acme/apply", given))[1]["events"]) == 2
    _, found = await post(service, "/mappings/acme/apply", [{**RAW, "mapping": "of its own"}])
    assert [one["type"] for one in found["events"]] == ["access.LOGIN"]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"mapping": "provider: acme", "raw": {}}, 422, "mapping.yaml"),
        ({"mapping": MAPPING}, 400, "raw is missing"),
        ({"mapping": MAPPING, "raws": [RAW]}, 400, "there may be files, raw and media, and no 'raws'"),
        ({"mapping": MAPPING, "raw": "{", "media": "application/json"}, 400, "JSON"),
        ({"mapping": MAPPING, "raw": "x", "media": "image/png"}, 415, "image/png"),
        ({"mapping": "[" * 200_000, "raw": {}}, 422, "nested more than"),
        ({"mapping": "#" * 1_000_001, "raw": {}}, 413, "at most"),
        ([RAW] * 1001, 413, "at most 1000"),
    ],
)
async def test_what_cannot_be_tried_is_told(service: Opened, body: Any, status: int, words: str) -> None:
    found = await post(service, "/mappings/acme/apply", body)
    assert found[0] == status, found
    assert words in found[1]["detail"]


async def test_a_body_that_is_larger_than_what_may_be_tried_is_refused_whether_its_length_is_said_or_not(
    service: Opened,
) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(65):
            yield b" " * 65536

    for path in ("apply", "check", "new", "diff"):
        sent = io.BytesIO(b" " * (4 * 1024 * 1024 + 1))
        async with service.session.post(f"/mappings/acme/{path}", data=sent) as response:
            assert (response.status, "at most 4194304 bytes" in await response.text()) == (413, True)
    headers = {"Content-Type": "application/json"}
    async with service.session.post("/mappings/acme/apply", data=pieces(), headers=headers) as response:
        assert response.status == 413


async def test_a_trial_that_takes_too_long_is_broken_off(tmp_path: Path) -> None:
    # No process starts so fast.
    async with opened(tmp_path, mappings={"trial_timeout": 0.001}) as service:
        for path in ("apply", "explain", "check", "new", "diff"):
            status, problem = await post(service, f"/mappings/fresh/{path}", {"mapping": MAPPING, "raw": RAW})
            assert (status, problem["title"]) == (422, "Trial took too long")
        assert (await service.get("/healthz"))[0] == 200


def trials_under_way() -> set[str]:
    """The processes of trials that are this process's children."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            if parent == str(os.getpid()) and b"adapter.trials.process" in (folder / "cmdline").read_bytes():
                found.add(folder.name)
    return found


async def test_a_stop_waits_for_no_trial(tmp_path: Path) -> None:
    many = ",".join("{when: {user: {matches: '(x?){400}y'}}, type: LOGIN}" for _ in range(300))
    slow = MAPPING.replace("in: {type: LOGIN}", f"in: [{many}]")
    body = {"mapping": slow, "raw": [{**RAW, "user": "x" * 600}] * 1000}
    before = trials_under_way()
    async with ClientSession() as session:
        async with opened(tmp_path, mappings={"trial_timeout": 600}, server={"drain": 600}) as service:
            asking = Opened(service.service, session)
            url = f"{service.service.url}/mappings/acme/apply"
            trial = asyncio.create_task(post(asking, url, body))
            while not trials_under_way() - before:  # noqa: ASYNC110 - nothing else tells of another's process
                await asyncio.sleep(0.01)
        assert (await trial)[0] == 503


async def test_a_changed_table_is_taken_up_on_request(service: Opened, folder: Path) -> None:
    before = await metrics(service)
    write_table(folder, LOGOUT)
    write_example(folder, "access.LOGOUT")
    status, state = await post(service, "/mappings/acme/reload", token="author-token")
    assert (status, state["state"]) == (200, "in_use")
    receipts = await service.post({**RAW, "id": "after-change"}, source="acme")
    _, event = await service.get(f"/events/{receipts['uids'][0]}")
    assert event["type"] == "access.LOGOUT"
    assert event["source"]["mapping"] == f"acme@{state['version']}"
    line = f'idp_adapter_mapping_info{{provider="acme",version="{state["version"]}"}} 1.0'
    assert (line in before, line in await metrics(service)) == (False, True)


async def test_a_reload_says_what_is_quarantined_and_could_be_read_now(service: Opened, folder: Path) -> None:
    kept = [{"id": f"{kind} {number}", "kind": kind} for kind in ("seen-later", "never-seen") for number in range(3)]
    assert (await service.post(kept, source="acme"))["quarantined"] == 6
    _, state = await post(service, "/mappings/acme/reload")
    before = state["quarantined"]
    assert (before >= 6, state["readable"]) == (True, 0)
    write_table(folder, MAPPING + "  seen-later: {type: LOGIN}\n")
    _, state = await post(service, "/mappings/acme/reload")
    assert (state["quarantined"], state["readable"]) == (before, 3)


async def test_a_bad_table_is_refused_everywhere_and_events_are_taken_as_before(service: Opened, folder: Path) -> None:
    write_table(folder, LOGOUT)
    status, refused = await post(service, "/mappings/acme/reload")
    assert status == 422
    assert "expected 'access.LOGIN', is 'access.LOGOUT'" in refused["detail"]
    status, ready = await service.get("/readyz", token="nobody")
    assert (status, ready["status"]) == (200, "ready")
    assert ready["warnings"] == ["mappings: acme: its files were refused as they are now; GET /mappings/acme says why"]
    assert 'idp_adapter_mapping_reload_failed{provider="acme"} 1.0' in await metrics(service)
    assert 'idp_adapter_mapping_reload_failed{provider="keycloak"} 0.0' in await metrics(service)
    _, page = await service.get("/mappings/acme")
    assert (page["state"], page["problem"]) == ("refused", refused["detail"])
    assert page["since"] > 1_700_000_000_000
    receipts = await service.post({**RAW, "id": "after-refusal"}, source="acme")
    assert (await service.get(f"/events/{receipts['uids'][0]}"))[1]["type"] == "access.LOGIN"

    write_table(folder)
    assert (await post(service, "/mappings/acme/reload"))[0] == 200
    assert (await service.get("/readyz"))[1] == {"status": "ready"}
    assert 'idp_adapter_mapping_reload_failed{provider="acme"} 0.0' in await metrics(service)


async def test_a_source_proves_itself_as_the_present_table_says(service: Opened, folder: Path) -> None:
    async def status(**headers: str) -> int:
        async with sender.post("/ingest/acme", json=RAW, headers=headers) as response:
            return response.status

    async with ClientSession(service.service.url) as sender:
        bearer, own = {"Authorization": "Bearer acme-token"}, {"X-Acme-Key": "acme-token"}
        assert (await status(**bearer), await status(**own)) == (202, 401)
        write_table(folder, MAPPING + "auth: [{header: X-Acme-Key}]\n")
        assert (await post(service, "/mappings/acme/reload"))[0] == 200
        assert (await status(**bearer), await status(**own)) == (401, 202)


async def test_filters_know_what_the_catalogue_says_now(service: Opened, folder: Path) -> None:
    (folder / "types.yaml").write_text(NEW_TYPE)
    write_table(folder, MAPPING + "  see: {type: PEEK}\n")
    assert (await post(service, "/mappings/acme/reload"))[0] == 200
    receipts = await service.post({"id": "9", "kind": "see"}, source="acme")
    _, page = await service.get("/events", type="access.GLANCE")
    assert [event["uid"] for event in page["events"]] == receipts["uids"]


async def test_each_body_is_read_by_one_table_while_tables_change(service: Opened, folder: Path) -> None:
    async def bodies() -> None:
        for start in range(0, 8000, 400):
            await service.post(
                [{**RAW, "id": f"t{start + one}", "user": "twofold"} for one in range(400)], source="acme"
            )

    posting = asyncio.create_task(bodies())
    versions = {}
    texts = [("access.LOGOUT", LOGOUT), ("access.LOGIN", MAPPING)]
    while not posting.done():
        for type, text in texts:
            write_table(folder, text)
            write_example(folder, type)
            status, state = await post(service, "/mappings/acme/reload")
            assert status == 200
            versions[f"acme@{state['version']}"] = type
    await posting
    events: list[Any] = []
    query: dict[str, Any] = {"order": "log", "actor": "twofold", "limit": 1000}
    while len(events) < 8000:
        _, page = await service.get("/events", **query)
        assert page["events"]
        events += page["events"]
        query["cursor"] = page["next"]
    assert len(events) == 8000
    assert {event["type"] for event in events} == {"access.LOGIN", "access.LOGOUT"}
    assert all(versions[event["source"]["mapping"]] == event["type"] for event in events)
    for start in range(0, 8000, 400):
        assert len({event["source"]["mapping"] for event in events[start : start + 400]}) == 1


async def test_other_keys_are_taken_up_by_force_alone(service: Opened, folder: Path) -> None:
    write_table(folder, MAPPING.replace("strong: id", "strong: user"))
    version = service.service.tables["acme"].version
    status, problem = await post(service, "/mappings/acme/reload")
    assert (status, "events would be known by other keys" in problem["detail"]) == (422, True)
    assert 'idp_adapter_mapping_reload_failed{provider="acme"} 1.0' in await metrics(service)
    _, ready = await service.get("/readyz")
    assert len(ready["warnings"]) == 1
    assert service.service.tables["acme"].version == version
    assert (await post(service, "/mappings/acme/reload?force=perhaps"))[0] == 400
    status, state = await post(service, "/mappings/acme/reload?force=1")
    assert (status, state["state"]) == (200, "in_use")
    assert service.service.tables["acme"].version != version
    write_table(folder)
    assert (await post(service, "/mappings/acme/reload?force=1"))[0] == 200
