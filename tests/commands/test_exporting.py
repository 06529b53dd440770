"""Exports on the command line: into files that are whole or not there, gone on with when the service was gone."""

from __future__ import annotations

import asyncio
import hashlib
import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from adapter.commands import exporting
from adapter.commands.exporting import _last_uid
from tests.commands.remote import Machine, Said
from tests.opened import Opened, login, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Opened]:
    async with opened(tmp_path_factory.mktemp("data")) as service:
        for start in range(0, 3000, 500):
            await service.post([login(number) for number in range(start, start + 500)])
        yield service


class Breaking:
    """Stands before a service, and breaks off its first answers to exports after so many bytes each."""

    def __init__(self, service: Opened, breaks: list[int]) -> None:
        self._service = service
        self._breaks = breaks
        self.asked: list[dict[str, str]] = []

    def passed_on(self, query: dict[str, str]) -> dict[str, str]:
        """What the service is asked with."""
        return query

    async def pass_on(self, request: web.Request) -> web.StreamResponse:
        token = {"Authorization": request.headers["Authorization"]}
        async with (
            ClientSession(self._service.service.url, headers=token) as session,
            session.get(request.path, params=self.passed_on(dict(request.query))) as answer,
        ):
            named = {name: answer.headers[name] for name in ("X-Cursor", "Content-Type") if name in answer.headers}
            response = web.StreamResponse(status=answer.status, headers=named)
            response.enable_chunked_encoding()
            await response.prepare(request)
            body = await answer.read()
            is_export = request.path == "/events/export" and "manifest" not in request.query
            if is_export:
                self.asked.append(dict(request.query))
            if is_export and self._breaks:
                await response.write(body[: self._breaks.pop(0)])
                assert request.transport is not None
                request.transport.close()
                return response
            await response.write(body)
            await response.write_eof()
            return response


def names(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


async def export(url: Any, service: Opened, home: Path, *words: str | Path) -> Said:
    return await Machine(home).run(
        "events", "export", *words, "--url", str(url), URL="", TOKEN=service.service.admin_token
    )


async def test_an_export_becomes_a_file_and_a_manifest_that_fits_it(service: Opened, tmp_path: Path) -> None:
    file = tmp_path / "all.ndjson"
    said = await export(service.service.url, service, tmp_path, "--output", file, "--manifest")
    assert said.status == 0, said.error
    assert names(tmp_path) == ["all.ndjson", "all.ndjson.manifest.json"]
    manifest = json.loads((tmp_path / "all.ndjson.manifest.json").read_text())
    assert manifest["count"] == len(file.read_bytes().splitlines()) == 3000
    assert manifest["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    verified = await Machine(tmp_path).run("events", "verify", file)
    assert (verified.status, "3000 events" in verified.output) == (0, True)
    again = await Machine(tmp_path).run(
        "events", "verify", file, "--again", "--url", service.service.url, TOKEN=service.service.admin_token
    )
    assert (again.status, "the service gives the same bytes now" in again.output) == (0, True)


async def test_a_file_that_was_changed_is_not_what_its_manifest_says(service: Opened, tmp_path: Path) -> None:
    file = tmp_path / "all.csv"
    await export(service.service.url, service, tmp_path, "--format", "csv", "--output", file, "--manifest")
    data = file.read_bytes()
    for changed in (data.replace(b"success", b"failure", 1), data[:-1], data + b"\n", b""):
        file.write_bytes(changed)
        said = await Machine(tmp_path).run("events", "verify", file)
        assert (said.status, "is not what" in said.error) == (1, True)
    file.write_bytes(data)
    (tmp_path / "all.csv.manifest.json").write_text('{"count": 1}')
    said = await Machine(tmp_path).run("events", "verify", file)
    assert (said.status, "is no manifest" in said.error) == (1, True)


@pytest.mark.parametrize("form", ["unified", "csv", "phasetwo", "cloudevents", "keycloak"])
async def test_an_export_that_breaks_off_goes_on_and_is_the_same(
    service: Opened, tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "TRIED", (0.001, 0.002))
    whole, file = tmp_path / "whole", tmp_path / "file"
    assert (await export(service.service.url, service, tmp_path, "--format", form, "--output", whole)).status == 0
    breaking = Breaking(service, [0, 10, 300_000, 0, 200_001, 150_000])
    app = web.Application()
    app.router.add_get("/{path:.*}", breaking.pass_on)
    async with TestServer(app) as server:
        said = await export(server.make_url("/"), service, tmp_path, "--format", form, "--output", file, "--manifest")
    assert said.status == 0, said.error
    assert file.read_bytes() == whole.read_bytes()
    assert len({one["cursor"] for one in breaking.asked[1:]}) == 1
    # Keycloak's own form has no uid by which it could be gone on with.
    assert any("after" in one for one in breaking.asked) == (form != "keycloak")


class Forgetting(Breaking):
    """One whose service does not know the last event any more, as if it was removed."""

    def passed_on(self, query: dict[str, str]) -> dict[str, str]:
        return {**query, "after": str(uuid.uuid4())} if "after" in query else query


async def test_an_export_whose_last_event_was_removed_begins_anew(
    service: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "TRIED", (0.001, 0.002))
    whole, file = tmp_path / "whole", tmp_path / "file"
    assert (await export(service.service.url, service, tmp_path, "--output", whole)).status == 0
    forgetting = Forgetting(service, [300_000])
    app = web.Application()
    app.router.add_get("/{path:.*}", forgetting.pass_on)
    async with TestServer(app) as server:
        said = await export(server.make_url("/"), service, tmp_path, "--output", file, "--manifest")
    assert said.status == 0, said.error
    assert file.read_bytes() == whole.read_bytes()
    assert [("cursor" in one, "after" in one) for one in forgetting.asked] == [
        (False, False), (True, True), (True, False)
    ]  # fmt: skip


async def test_what_is_given_up_is_kept_and_gone_on_with_later(
    service: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "TRIED", (0.001, 0.002))
    monkeypatch.setattr(exporting, "TRIES", 2)
    file, part = tmp_path / "file", tmp_path / "file.part"
    app = web.Application()
    app.router.add_get("/{path:.*}", Breaking(service, [400_000, *[0] * 20]).pass_on)
    async with TestServer(app) as server:
        said = await export(server.make_url("/"), service, tmp_path, "--output", file)
    assert (said.status, "--resume" in said.error, file.exists()) == (1, True, False)
    had = part.stat().st_size
    assert had > 300_000
    said = await export(service.service.url, service, tmp_path, "--output", file, "--resume")
    assert said.status == 0, said.error
    assert len(file.read_bytes().splitlines()) == 3000
    assert names(tmp_path) == ["file"]
    said = await export(service.service.url, service, tmp_path, "--output", file, "--resume")
    assert (said.status, "nothing to go on with" in said.error) == (1, True)


async def test_a_file_that_is_there_stays_until_the_new_one_is_whole(service: Opened, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("of before")
    said = await export(service.service.url, service, tmp_path, "--output", file, "--where", "outcome=maybe")
    assert (said.status, file.read_text(), names(tmp_path)) == (1, "of before", ["file"])


async def test_what_needs_a_file_says_so(service: Opened, tmp_path: Path) -> None:
    for words in (("--manifest",), ("--resume",), ("--format", "pdf")):
        said = await export(service.service.url, service, tmp_path, *words)
        assert (said.status, "needs a file: --output FILE" in said.error) == (1, True)


@pytest.mark.parametrize(
    ("form", "text", "uid", "left"),
    [
        ("unified", b'{"uid":"a"}\n{"uid":"b"}\n{"ui', "b", 24),
        ("unified", b'{"uid":"a"}\n', "a", 12),
        ("unified", b'{"uid":"a"', None, 10),
        ("unified", b"", None, 0),
        ("csv", b'"uid","time"\r\n', None, 14),
        ("csv", b'"uid","time"\r\n"a","1"\r\n"b', "a", 23),
        ("cloudevents", b'{"id":"x","data":{"uid":"a"}}\n', "a", 30),
        ("keycloak", b'{"id":"x"}\n', None, 11),
    ],
)
async def test_the_last_whole_event_of_a_file_is_found(
    tmp_path: Path, form: str, text: bytes, uid: str | None, left: int
) -> None:
    file = tmp_path / "part"
    file.write_bytes(text)
    with file.open("r+b") as stream:
        assert await asyncio.to_thread(_last_uid, stream, form) == uid
    assert file.stat().st_size == left


async def test_an_event_of_any_length_is_cut_as_a_whole(tmp_path: Path) -> None:
    file = tmp_path / "part"
    long = b'{"uid":"a","x":"%b"}\n' % (b"x" * 3_000_000)
    file.write_bytes(long + b'{"uid":"b","x":"' + b"x" * 2_000_000)
    with file.open("r+b") as stream:
        assert _last_uid(stream, "unified") == "a"
    assert file.stat().st_size == len(long)
