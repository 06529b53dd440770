"""Documents of a real service: whole or broken off, and never in the way of others."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import pytest_asyncio
from pypdf import PdfReader

import adapter.api.report
from adapter.documents.kinds import KINDS, Kind
from adapter.documents.making import DocumentFailed, make_document
from tests.opened import Opened, login, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

COUNT = 2_300


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Opened]:
    keys = [{"name": "limited", "token": "limited-token", "permissions": ["export"], "realms": ["hostile"]}]
    async with opened(tmp_path_factory.mktemp("data"), keys=keys) as service:
        await service.post([login(1, realmId="hostile", details={"username": "=1+1\u202e山田"})])
        for start in range(10_000, 10_000 + COUNT, 460):
            await service.post([login(number) for number in range(start, start + 460)])
        yield service


async def exported(service: Opened, token: str | None = None, **query: str) -> tuple[str, bytes]:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with service.session.get("/events/export", params=query, headers=headers) as response:
        assert response.status == 200, await response.text()
        assert response.headers["Content-Disposition"] == f'attachment; filename="events.{query["format"]}"'
        return response.headers["X-Cursor"], await response.read()


async def test_parquet_has_every_event_once_in_their_order(service: Opened) -> None:
    _, data = await exported(service, format="parquet")
    table = pq.read_table(io.BytesIO(data))
    assert table.num_rows == COUNT + 1
    times = table["time"].to_pylist()
    assert times == sorted(times, reverse=True)
    assert len(set(table["uid"].to_pylist())) == COUNT + 1


async def test_a_report_counts_all_and_lists_the_first(service: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter.api.report, "LISTED", 150)
    _, data = await exported(service, format="pdf")
    text = "\n".join(page.extract_text() for page in PdfReader(io.BytesIO(data)).pages)
    for told in ("2,301", "2,151 are not listed here", "all events but the service's own", "admin", "By provider"):
        assert told in text
    assert text.count("access.LOGIN · keycloak") == 150


async def test_a_report_counts_no_more_than_it_says(service: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter.api.report, "COUNTED", 1_500)
    monkeypatch.setattr(adapter.api.report, "LISTED", 1)
    _, data = await exported(service, format="pdf")
    text = PdfReader(io.BytesIO(data)).pages[0].extract_text()
    assert "at least 1,500" in text
    assert "the first 1,500 events alone" in text


async def test_a_report_of_a_limited_key_has_what_is_within_and_says_so(service: Opened) -> None:
    _, data = await exported(service, "limited-token", format="pdf")
    text = "\n".join(page.extract_text() for page in PdfReader(io.BytesIO(data)).pages)
    assert "realms hostile" in text
    assert "山田" in text
    assert "All events are listed: 1." in text
    assert "\u202e" not in text


async def test_a_report_of_nothing_is_one(service: Opened) -> None:
    _, data = await exported(service, format="pdf", realm="nowhere")
    assert len(PdfReader(io.BytesIO(data)).pages) == 2


@pytest.mark.parametrize("form", KINDS)
async def test_a_manifest_says_what_the_document_is(service: Opened, form: str) -> None:
    cursor, data = await exported(service, format=form)
    await service.post(login(hash(form) % 10**9 + 10**6, realmId="later"))
    status, said = await service.get("/events/export", format=form, cursor=cursor, manifest="1")
    assert status == 200
    assert (said["sha256"], said["bytes"]) == (hashlib.sha256(data).hexdigest(), len(data))
    assert said["count"] == (1_000 if form == "pdf" else pq.read_table(io.BytesIO(data)).num_rows)


@pytest.mark.parametrize("form", KINDS)
async def test_there_is_no_going_on_behind_an_event_of_a_document(service: Opened, form: str) -> None:
    cursor, _ = await exported(service, format=form, realm="hostile")
    status, problem = await service.get("/events/export", format=form, cursor=cursor, after="x")
    assert (status, problem["parameter"]) == (400, "after")


async def test_the_media_type_that_is_accepted_chooses_a_document(service: Opened) -> None:
    headers = {"Accept": "application/pdf"}
    async with service.session.get("/events/export", params={"realm": "hostile"}, headers=headers) as response:
        assert (response.status, (await response.read())[:5]) == (200, b"%PDF-")


async def test_what_is_not_installed_is_said(service: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = Kind("parquet", "application/vnd.apache.parquet", "parquet", ("nobody_has_this",), "parquet")
    monkeypatch.setitem(KINDS, "parquet", nothing)
    status, problem = await service.get("/events/export", format="parquet")
    assert (status, "idp-event-adapter[parquet]" in problem["detail"]) == (501, True)


async def events(*lines: bytes) -> AsyncIterator[bytes]:
    for line in lines:
        yield line


async def test_what_is_no_event_makes_no_whole_document() -> None:
    pieces = []
    with pytest.raises(DocumentFailed):
        async for piece in make_document(KINDS["parquet"], {}, events(b'{"uid": 5}')):
            pieces.append(piece)
    # What a file begins with, and no end.
    assert b"".join(pieces) in (b"", b"PAR1")


async def test_an_error_of_the_events_is_told_and_ends_the_process() -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield b""
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        async for _ in make_document(KINDS["parquet"], {}, failing()):
            pass
    assert writers() == []


async def test_a_process_that_is_killed_breaks_the_export_off(service: Opened) -> None:
    async def endless() -> AsyncIterator[bytes]:
        line = await exported_line(service)
        while True:
            yield line.encode()
            for process in writers():
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)

    with pytest.raises(DocumentFailed):
        async for _ in make_document(KINDS["parquet"], {}, endless()):
            pass


async def exported_line(service: Opened) -> str:
    async with service.session.get("/events/export", params={"realm": "hostile"}) as response:
        return (await response.text()).strip()


async def test_who_leaves_ends_the_process(service: Opened) -> None:
    pieces = make_document(KINDS["pdf"], {"wrong": 1}, events())
    with pytest.raises(DocumentFailed):
        await anext(pieces)
    left = make_document(KINDS["parquet"], {}, events())
    assert await anext(left)
    await left.aclose()
    assert writers() == []


async def one_writer() -> int:
    """The first process that writes a document, when there is one."""
    for _ in range(1_000_000):
        if found := writers():
            return found[0]
        await asyncio.sleep(0)
    raise AssertionError("no process was started")


def writers() -> list[int]:
    """Process ids of the processes that write documents, of this one's children."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    found = []
    for child in children:
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            if b"adapter.documents.process" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(int(child))
    return found


async def test_documents_of_one_key_are_made_one_at_a_time(service: Opened) -> None:
    first = asyncio.create_task(exported(service, format="parquet"))
    writer = await one_writer()
    os.kill(writer, signal.SIGSTOP)
    try:
        status, problem = await service.get("/events/export", format="pdf")
        assert (status, "documents of this key" in problem["detail"]) == (429, True)
        # What needs no process is not held up.
        assert (await exported(service, format="csv", realm="hostile"))[1]
    finally:
        os.kill(writer, signal.SIGCONT)
    assert (await first)[1][-4:] == b"PAR1"
