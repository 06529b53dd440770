"""What was quarantined, and comes again once the table can read it: one event under the uid that it had."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapter.counts import IngestCounts
from adapter.log.memory import open_memory_log
from adapter.log.protocol import RetainingStore
from adapter.mapping.catalogue import load_catalogue
from adapter.mapping.table import Table, load_table
from adapter.model import uid_text
from adapter.renormalization.job import Job, Question
from adapter.renormalization.renormalizing import open_renormalization
from adapter.sources.intake import IngestSummary, Intake, Source
from tests.mapping.acme import TYPES, write_table
from tests.renormalization.test_renormalizing import counts, ended

TABLE = """
provider: acme
title: Acme
type: kind
identity: {strong: id}
fields: {id: id, time: {path: at, as: milliseconds}, authDetails.userId: user}
types:
  in: {type: LOGIN}
"""
#: It reads no keys of an event at all.
NO_KEYS = TABLE.replace("{strong: id}", "{strong: ident}").replace("id: id", "id: ident")
FIXED = TABLE + "  out: {type: LOGOUT}\n"
#: Tables that read the event, each by keys of its own.
READING = {
    "same keys": FIXED,
    "another id": FIXED.replace("{strong: id}", "{strong: number}").replace("id: id", "id: number"),
    "another time": FIXED.replace("path: at", "path: then"),
    "fields": FIXED.replace("{strong: id}", "{weak: [user, number]}"),
    "both": FIXED.replace("{strong: id}", "{strong: number, weak: [user, number]}"),
}
SENT_AT = 1_700_000_000_000


def record(number: int) -> dict[str, Any]:
    at = {"at": SENT_AT + number, "then": SENT_AT + 10_000 + number}
    return {"id": f"i{number}", "number": f"n{number}", "kind": "out", "user": "anna", "session": f"{number}", **at}


class Service:
    """A log, a source and its table."""

    def __init__(self, folder: Path, log: RetainingStore, table: str) -> None:
        (folder / "types.yaml").write_text(TYPES)
        self.log = log
        self._folder = folder
        self._tables: dict[str, Table] = {}
        self.counts = IngestCounts()
        self._source = Source("prod", "acme", "prod", self._tables)
        self._intake = Intake(log, self.counts)
        self.use(table)

    def use(self, table: str) -> None:
        self._tables["acme"] = load_table(write_table(self._folder, table), load_catalogue([self._folder]))

    async def take(self, *numbers: int) -> IngestSummary:
        body = orjson.dumps([record(number) for number in numbers])
        return await self._intake.take(self._source, body, "application/json", SENT_AT)

    async def renormalize(self) -> Job:
        catalogue = load_catalogue([self._folder])
        sources = {"prod": self._source}
        async with open_renormalization(self.log, sources, self._tables, lambda: catalogue, owner="service") as whole:
            await whole.start(Question(rate=0))
            return await ended(whole)

    async def latest(self) -> dict[str, list[str | None]]:
        """Of each native event (its number) the types of the entries that stand for what was sent of it."""
        found: dict[str, list[str | None]] = {}
        for stored in await self.log.read_stored(0, limit=10_000):
            if stored.raw is not None:
                (now,) = await self.log.fetch([stored.latest])
                found.setdefault(orjson.loads(stored.raw)["number"], []).append(now.type)
        return found


@pytest.mark.parametrize("fixed", READING.values(), ids=READING)
@pytest.mark.parametrize("before", [TABLE, NO_KEYS])
async def test_what_comes_again_and_can_be_read_is_accepted_under_the_uid_that_it_has(
    tmp_path: Path, before: str, fixed: str
) -> None:
    async with open_memory_log() as log:
        service = Service(tmp_path, log, before)
        first = await service.take(1)
        assert first.quarantined == 1
        service.use(fixed)
        again = await service.take(1)
        assert (again.accepted, again.duplicates, again.uids) == (1, 0, first.uids)
        (entry,) = await log.read(1)
        assert (entry.type, entry.revision) == ("access.LOGOUT", 0)
        assert orjson.loads(entry.event or b"")["uid"] == first.uids[0] == uid_text(entry.uid)
        assert (await service.take(1)).duplicates == 1
        assert (service.counts.accepted["prod"], service.counts.duplicates["prod"]) == (1, 1)
        assert counts(await service.renormalize()) == {"looked_at": 1, "unchanged": 1}


@pytest.mark.parametrize("fixed", READING.values(), ids=READING)
@pytest.mark.parametrize("before", [TABLE, NO_KEYS])
async def test_what_was_read_again_is_a_duplicate_when_it_comes_again(tmp_path: Path, before: str, fixed: str) -> None:
    async with open_memory_log() as log:
        service = Service(tmp_path, log, before)
        first = await service.take(1)
        service.use(fixed)
        await service.renormalize()
        again = await service.take(1)
        assert (again.duplicates, again.uids) == (1, first.uids)
        assert log.head == 2


@pytest.mark.parametrize("before", [TABLE, NO_KEYS])
async def test_what_a_row_makes_besides_is_an_event_of_its_own_when_its_record_comes_again(
    tmp_path: Path, before: str
) -> None:
    async with open_memory_log() as log:
        service = Service(tmp_path, log, before)
        first = await service.take(1)
        service.use(TABLE + "  out: {type: LOGOUT, also: [{name: too, type: LOGIN}]}\n")
        again = await service.take(1)
        assert (again.accepted, again.uids) == (1, first.uids)
        assert (await service.take(1)).duplicates == 1
        events = [orjson.loads(entry.event) for entry in await log.read(0) if entry.event is not None]
        assert sorted((one["type"], one["source"].get("also")) for one in events) == [
            ("access.LOGIN", "too"), ("access.LOGOUT", None),
        ]  # fmt: skip
        assert [one["uid"] == first.uids[0] for one in events].count(True) == 1


async def test_a_copy_of_an_event_stays_quarantined_and_the_job_says_why(tmp_path: Path) -> None:
    async with open_memory_log() as log:
        service = Service(tmp_path, log, NO_KEYS)
        first = await service.take(1)
        service.use(FIXED)
        # The same event in other bytes, which nothing ties to the entry.
        source = Source("prod", "acme", "prod", {"acme": service._tables["acme"]})
        body = orjson.dumps({**record(1), "more": "words"})
        again = await Intake(log, IngestCounts()).take(source, body, "application/json", SENT_AT)
        assert again.accepted == 1
        assert again.uids != first.uids
        job = await service.renormalize()
        assert counts(job) == {"looked_at": 2, "unchanged": 1, "quarantined": 1}
        assert list(job.problems) == ["it is a copy of an event that came again since"]


@pytest.mark.parametrize("before", [TABLE, NO_KEYS])
async def test_what_nothing_tells_apart_becomes_as_many_events_as_there_are(tmp_path: Path, before: str) -> None:
    async with open_memory_log() as log:
        service = Service(tmp_path, log, before)
        first = await service.take(1, 2, 3)
        service.use(FIXED.replace("{strong: id}", "{weak: [user]}"))
        assert counts(await service.renormalize()) == {"looked_at": 3, "recovered": 3}
        again = await service.take(1, 2, 3)
        assert (again.duplicates, again.uids) == (3, first.uids)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([TABLE, NO_KEYS]),
    st.sampled_from(sorted(READING)),
    st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=4, unique=True), max_size=4),
    st.lists(st.one_of(st.just("renormalize"), st.lists(st.integers(1, 4), min_size=1, max_size=4, unique=True))),
)
def test_in_any_mixture_of_sending_fixing_and_reading_again_each_event_is_one(
    tmp_path: Path, before: str, fixed: str, unread: list[list[int]], then: list[str | list[int]]
) -> None:
    async def run() -> None:
        async with open_memory_log() as log:
            service = Service(tmp_path, log, before)
            uids: dict[int, set[str | None]] = {}

            async def take(numbers: list[int]) -> None:
                for number, uid in zip(numbers, (await service.take(*numbers)).uids, strict=True):
                    uids.setdefault(number, set()).add(uid)

            for body in unread:
                await take(body)
            service.use(READING[fixed])
            for step in then:
                await (take(step) if isinstance(step, list) else service.renormalize())
            if "renormalize" in then or set(uids) <= {one for step in then if isinstance(step, list) for one in step}:
                assert all(types == ["access.LOGOUT"] for types in (await service.latest()).values())
            await service.renormalize()
            latest = await service.latest()
            assert latest == {f"n{number}": ["access.LOGOUT"] for number in uids}
            assert all(len(those) == 1 for those in uids.values())

    asyncio.run(run())
