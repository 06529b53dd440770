"""How bodies are read while others wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapter.counts import IngestCounts
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
