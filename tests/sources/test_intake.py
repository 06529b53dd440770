"""How bodies are read while others wait."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest

from adapter.counts import IngestCounts
from adapter.known_secrets import KnownSecrets
from adapter.log.memory import open_memory_log
from adapter.mapping.body import LONG
from adapter.mapping.catalogue import load_catalogue
from adapter.mapping.table import load_table
from adapter.sources.intake import IngestSummary, Intake, Source
from tests.mapping.acme import write_table

TABLE = """
provider: acme
title: Acme
type: kind
identity: {strong: id}
fields: {id: id, time: {path: at, as: milliseconds}}
redact: [{in: token}]
types:
  in: {type: LOGIN}
"""


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(
        "prod", "acme", "prod", {"acme": load_table(write_table(tmp_path, TABLE), load_catalogue([tmp_path]))}
    )


@pytest.fixture
async def intake(tmp_path: Path) -> AsyncIterator[Intake]:
    async with open_memory_log() as log:
        yield Intake(log, IngestCounts())


def event(id: str) -> bytes:
    return b'{"kind":"in","id":"%b","at":1700000000000}' % id.encode()


async def test_a_short_body_does_not_wait_for_a_long_event(intake: Intake, source: Source) -> None:
    order: list[str] = []

    async def take(name: str, body: bytes) -> IngestSummary:
        receipts = await intake.take(source, body, "application/json", 1_700_000_000_000)
        order.append(name)
        return receipts

    # What is neither JSON nor short is searched for names of secrets.
    long = b"[{" + b'"token"' * 140_000 + b"}]"
    receipts = await asyncio.gather(take("long", long), take("short", event("a")))
    assert order == ["short", "long"]
    assert [one.quarantined for one in receipts] == [1, 0]


async def test_long_events_stand_in_their_order_among_short_ones(intake: Intake, source: Source) -> None:
    long = event("b")[:-1] + b',"text":"%b"}' % (b"x" * LONG)
    body = b"[%b,%b,%b]" % (event("a"), long, event("c"))
    first = await intake.take(source, body, "application/json", 1_700_000_000_000)
    assert first.accepted == 3
    uids = [
        (await intake.take(source, one, "application/json", 1_700_000_000_000)).uids[0]
        for one in (event("a"), long, event("c"))
    ]
    assert uids == first.uids


SECRET = "Qks-EpSEJ/N9XGl+cnyB=Vo7"


@pytest.mark.parametrize(
    "body",
    [
        event("a")[:-1] + b',"note":%b}' % orjson.dumps(SECRET),
        event("a")[:-1] + b',"note":%b}' % orjson.dumps(orjson.dumps({"x": orjson.dumps(SECRET).decode()}).decode()),
        event("a")[:-1] + b',"%b":1}' % SECRET.encode(),
        b'{"kind":"unknown","x":"%b"}' % SECRET.encode(),
        b'{"kind":"%b"}' % SECRET.encode(),
        b'{"kind":"in","x":"\\ud800%b"}' % SECRET.encode(),
        b'[{"kind":"in","x":"%b"}]' % base64.b64encode(f"user:{SECRET}".encode()),
        b'[{"kind":"in","token":"x"},"%b"]' % SECRET.encode(),
    ],
    ids=["text", "JSON in JSON", "key", "quarantined", "native type", "surrogate", "base64", "no object"],
)
async def test_a_secret_of_the_service_is_not_stored(source: Source, body: bytes) -> None:
    secrets = KnownSecrets(["other-secret-of-the-service", SECRET])
    async with open_memory_log() as log:
        await Intake(log, IngestCounts(), secrets=secrets).take(source, body, "application/json", 1_700_000_000_000)
        entries = list(await log.read(0))
        assert entries
        for entry in entries:
            raw = await log.raw(entry.position)
            assert raw is not None
            stored = repr((entry, raw))
            assert not secrets.may_be_in(stored.encode())
        assert "[redacted]" in repr([await log.raw(entry.position) for entry in entries])


async def test_nor_is_one_that_a_forwarder_put_beside_the_event(source: Source) -> None:
    body = orjson.dumps({"log": event("a").decode(), "stream": f"<{SECRET}>", "time": "2026-01-14T09:04:57Z"})
    async with open_memory_log() as log:
        intake = Intake(log, IngestCounts(), secrets=KnownSecrets([SECRET]))
        assert (await intake.take(source, body, "application/json", 1_700_000_000_000)).accepted == 1
        raw = await log.raw(1)
    assert raw is not None
    assert b"<[redacted]>" in raw.envelope
    assert raw.content == event("a")


async def test_a_copy_with_a_secret_in_it_is_a_duplicate(source: Source) -> None:
    body = event("a")[:-1] + b',"note":"%b"}' % SECRET.encode()
    async with open_memory_log() as log:
        intake = Intake(log, IngestCounts(), secrets=KnownSecrets([SECRET]))
        first, second = [await intake.take(source, body, "application/json", 1_700_000_000_000) for _ in range(2)]
    assert (first.accepted, second.duplicates, first.uids) == (1, 1, second.uids)
