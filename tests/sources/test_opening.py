"""Sources of every kind go through one seam: one to which events are posted, and one that fetches them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

import adapter.sources
from adapter.counts import IngestCounts
from adapter.errors import NoteChanged, StoreUnavailable
from adapter.log.memory import Memory, open_memory_log
from adapter.log.protocol import Note, Store
from adapter.log.sqlite.log import open_sqlite_log
from adapter.outgoing.settings import OutgoingSettings
from adapter.sources.authenticated import AuthenticatedSources
from adapter.sources.intake import Intake, Source
from adapter.sources.opening import OpenSource, open_sources
from adapter.sources.protocol import Inlet
from adapter.sources.pulling import pulling
from adapter.sources.settings import KINDS, SourceSettings, read_source_settings
from tests.mapping.built_in import table
from tests.opened import login, opened

KEYCLOAK = {"keycloak": table("keycloak")}


@pytest.fixture(autouse=True)
def _kind_of_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of sources has one file more."""
    monkeypatch.setattr(adapter.sources, "__path__", [*adapter.sources.__path__, str(Path(__file__).parent / "kinds")])


def lines(path: Path, **more: Any) -> SourceSettings:
    return read_source_settings({"name": "kc", "provider": "keycloak", "kind": "lines", "path": path, **more})


def write(path: Path, *numbers: int) -> None:
    with path.open("a") as file:
        file.writelines(json.dumps(login(number)) + "\n" for number in numbers)


async def generated(key: str) -> str:
    return f"generated-for-{key}"


@asynccontextmanager
async def running(
    log: Store, *configured: SourceSettings, owner: str = "one", receiving: AuthenticatedSources | None = None
) -> AsyncIterator[list[OpenSource]]:
    sources = {one.name: Source(one.name, one.provider, one.key, KEYCLOAK) for one in configured}
    receiving = receiving or AuthenticatedSources(lambda _token, _source: False)
    intake = Intake(log, IngestCounts())
    async with open_sources(
        configured, sources, receiving, intake, log, OutgoingSettings(),
        owner=owner, make_token=generated, now=lambda: 1_700_000_000_000,
    ) as found:  # fmt: skip
        yield found


async def until_head(log: Store, head: int) -> None:
    async with asyncio.timeout(20):
        while log.head < head:
            await log.wait(log.head)


async def stored_ids(log: Store) -> list[str]:
    return [json.loads(entry.event or b"{}")["id"] for entry in await log.read(0)]


def ids(first: int, last: int) -> list[str]:
    return [login(number)["id"] for number in range(first, last + 1)]


# Kinds


def test_a_kind_is_found_by_its_name(tmp_path: Path) -> None:
    assert KINDS.names() == ["lines", "push"]
    assert read_source_settings({"name": "kc", "provider": "keycloak"}).kind == "push"
    assert lines(tmp_path).kind == "lines"


@pytest.mark.parametrize("kind", ["carrier-pigeon", "intake", "../os", "", None, 7])
def test_an_unknown_kind_is_refused_and_the_known_ones_named(kind: Any) -> None:
    with pytest.raises(ValueError, match="lines, push"):
        read_source_settings({"name": "kc", "provider": "keycloak", "kind": kind})


def test_a_kind_has_settings_of_its_own() -> None:
    with pytest.raises(ValidationError, match="there are name, kind, provider, key, unwrap, silence, path, size"):
        read_source_settings({"name": "kc", "provider": "keycloak", "kind": "lines", "path": "x", "token": "secret"})


# Push


async def test_a_source_is_posted_to_while_it_is_open() -> None:
    receiving = AuthenticatedSources(lambda _token, _source: False)
    configured = read_source_settings({"name": "kc", "provider": "keycloak", "token": ["one", "two"]})
    async with open_memory_log(Memory()) as log:
        async with running(log, configured, receiving=receiving) as [source]:
            assert (source.tokens, source.generated) == (("one", "two"), False)
            assert receiving["kc"].source is not None
        assert receiving["kc"].source is None


async def test_a_token_is_generated_for_the_key_of_a_source_without_one() -> None:
    configured = read_source_settings({"name": "new", "key": "first", "provider": "keycloak"})
    async with open_memory_log(Memory()) as log, running(log, configured) as [source]:
        assert (source.tokens, source.generated) == (("generated-for-first",), True)


# A kind that fetches


async def test_events_and_the_place_behind_them_are_stored_together(tmp_path: Path) -> None:
    file = tmp_path / "events"
    write(file, *range(1, 41))
    async with open_sqlite_log(tmp_path / "log.sqlite") as log, running(log, lines(file)) as [source]:
        assert source.tokens == ()
        await until_head(log, 40)
        write(file, *range(41, 51))
        await until_head(log, 50)
        assert await stored_ids(log) == ids(1, 50)
        note = await log.noted("source:kc")
        assert note is not None
        assert note.text == str(file.stat().st_size)


@pytest.mark.parametrize("stopped_after", [1, 5, 17])
async def test_one_that_is_opened_again_goes_on_at_its_place(tmp_path: Path, stopped_after: int) -> None:
    file = tmp_path / "events"
    write(file, *range(1, 41))
    async with open_sqlite_log(tmp_path / "log.sqlite") as log:
        async with running(log, lines(file, size=500)):
            await until_head(log, stopped_after)
        # What is before the place is not read again.
        note = await log.noted("source:kc")
        assert note is not None
        file.write_bytes(b"x" * int(note.text) + file.read_bytes()[int(note.text) :])
        async with running(log, lines(file, size=500)):
            await until_head(log, 40)
        assert await stored_ids(log) == ids(1, 40)


async def test_a_renamed_source_keeps_its_place(tmp_path: Path) -> None:
    file = tmp_path / "events"
    write(file, 1)
    async with open_memory_log(Memory()) as log:
        async with running(log, lines(file)):
            await until_head(log, 1)
        file.write_bytes(b"x" * file.stat().st_size)
        write(file, 2)
        async with running(log, lines(file, name="new", key="kc")):
            await until_head(log, 2)
        assert await stored_ids(log) == ids(1, 2)


async def test_a_body_without_events_stores_the_place(tmp_path: Path) -> None:
    async with open_memory_log(Memory()) as log:
        source = Source("kc", "keycloak", "kc", KEYCLOAK)
        inlet = Inlet(source, Intake(log, IngestCounts()), "source:kc", None, lambda: 0)
        await inlet.take(b"[]", "application/json", "nothing here")
        assert log.head == 0
        assert await log.noted("source:kc") == Note("source:kc", "nothing here", 1)


async def test_what_an_earlier_owner_takes_late_is_refused(tmp_path: Path) -> None:
    async with open_memory_log(Memory()) as log:
        source = Source("kc", "keycloak", "kc", KEYCLOAK)
        intake = Intake(log, IngestCounts())
        early, late = (Inlet(source, intake, "source:kc", None, lambda: 0) for _ in range(2))
        await late.take(json.dumps(login(1)).encode(), "application/json", "1")
        with pytest.raises(NoteChanged):
            await early.take(json.dumps([login(1), login(2)]).encode(), "application/json", "2")
        assert await stored_ids(log) == ids(1, 1)
        assert early.place is None


async def test_of_two_adapters_one_fetches_and_the_other_takes_over(tmp_path: Path) -> None:
    file, memory = tmp_path / "events", Memory()
    write(file, 1)
    async with open_memory_log(memory) as log, open_memory_log(memory) as other:
        async with running(other, lines(file), owner="two"):
            async with running(log, lines(file), owner="one"):
                await until_head(log, 1)
                write(file, *range(2, 9))
                await until_head(log, 8)
            write(file, 9)
            await until_head(log, 9)
        assert await stored_ids(log) == ids(1, 9)


@pytest.mark.parametrize("error", [StoreUnavailable("disk full"), OSError("gone"), ValueError("a fault of ours"), None])
async def test_one_that_fails_or_ends_is_started_again_from_its_stored_place(error: Exception | None) -> None:
    begun: list[str | None] = []
    enough = asyncio.Event()

    async def pull(inlet: Inlet) -> None:
        begun.append(inlet.place)
        if len(begun) == 4:
            enough.set()
            await asyncio.Event().wait()
        await inlet.take(json.dumps(login(len(begun))).encode(), "application/json", str(len(begun)))
        if error is not None:
            raise error

    async with open_memory_log(Memory()) as log:
        source, intake = Source("kc", "keycloak", "kc", KEYCLOAK), Intake(log, IngestCounts())
        async with pulling("source:kc", pull, source, intake, log, now=lambda: 0, first_wait=0.001):
            async with asyncio.timeout(20):
                await enough.wait()
        assert begun == [None, "1", "2", "3"]
        assert log.head == 3


async def test_a_service_fetches_and_nobody_can_post_to_such_a_source(tmp_path: Path) -> None:
    file = tmp_path / "events"
    write(file, 1, 2, 3)
    fetched = {"name": "log", "provider": "keycloak", "kind": "lines", "path": str(file)}
    pushed = {"name": "hook", "provider": "keycloak", "token": "hook-token"}
    async with opened(tmp_path / "data", sources=[fetched, pushed]) as service:

        async def found(count: int) -> list[Any]:
            """The events, when there are so many."""
            async with asyncio.timeout(60):
                while True:
                    status, page = await service.get("/events", order="log")
                    if status == 200 and len(page["events"]) >= count:
                        events: list[Any] = page["events"]
                        return events
                    await asyncio.sleep(0.01)

        assert {event["source"]["name"] for event in await found(3)} == {"log"}
        async with service.session.post("/ingest/log", json=login(4)) as response:
            assert response.status == 401
        await service.post(login(1), "hook")
        assert len(await found(4)) == 4
        assert [source.tokens for source in service.service.sources] == [(), ("hook-token",)]
