"""The job that takes a secret out: what it does when the store fails, or the service is killed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import orjson
import pytest

from adapter.errors import StoreUnanswered, StoreUnavailable
from adapter.known_secrets import KnownSecrets
from adapter.log.memory import Memory, MemoryLog, open_memory_log
from adapter.log.opening import open_store
from adapter.log.protocol import Note, Replacement, Settlement, Store
from adapter.scrub import scrubbing as scrubbing_module
from adapter.scrub.cleaning import Cleaner
from adapter.scrub.job import NOTE, Job, Question, State, joined, said
from adapter.scrub.scrubbing import Scrubbing, open_scrubbing
from tests.log.entries import new_entry

SECRET = "s3cret-of-somebody"
CLEANER = Cleaner([KnownSecrets([SECRET])], {}, {}, redact=False)


def entry(text: str = "", **changes: object) -> object:
    event = {"uid": "1", "type": "access.LOGIN", "details": {"note": text}, "source": {"provider": "acme"}}
    return new_entry(event=orjson.dumps(event), raw=orjson.dumps({"note": text}), **changes)  # type: ignore[arg-type]


class Rebuilds(list[str]):
    async def __call__(self, reason: str) -> None:
        self.append(reason)


@asynccontextmanager
async def scrubs(log: Store, rebuilds: Rebuilds, *sinks: str) -> AsyncIterator[Scrubbing]:
    async with open_scrubbing(log, sinks, rebuilds, ["samples"], clock=lambda: 1_800_000_000.0, store_wait=0.01) as one:
        yield one


async def ended(scrubbing: Scrubbing) -> Job:
    async with asyncio.timeout(20):
        while (job := await scrubbing.look()) is None or job.state is State.RUNNING:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    return job


async def run(log: Store, rebuilds: Rebuilds, *sinks: str, dry_run: bool = False, after: int = 0) -> Job:
    async with scrubs(log, rebuilds, *sinks) as scrubbing:
        question = Question(dry_run=dry_run, after=after, rate=0)
        await scrubbing.start(question, CLEANER, texts=1, by="admin")
        return await ended(scrubbing)


async def told(log: Store) -> list[dict[str, str]]:
    """Details of the events that say what was changed."""
    events = [orjson.loads(one.event or b"{}") for one in await log.read(0, limit=100_000)]
    return [one["details"] for one in events if one["type"] == "system.EVENTS-SCRUBBED"]


async def read_all(log: Store) -> bytes:
    stored = await log.read_stored(0, limit=100_000)
    return b"".join((one.entry.event or b"") + (one.raw or b"") for one in stored)


async def test_sinks_had_what_lies_before_their_cursor() -> None:
    async with open_memory_log() as log:
        await log.append([entry(SECRET) for _ in range(5)])  # type: ignore[misc]
        for name, cursor in (("siem", 3), ("file", 0)):
            await log.begin(f"sink:{name}", 0, "")
            await log.settle(Settlement(f"sink:{name}", 1, cursor))
        assert (await run(log, Rebuilds(), "siem", "file", "new", dry_run=True)).sinks == {"siem": 3}
        job = await run(log, Rebuilds(), "siem", "file", "new")
        assert (job.entries, job.sinks) == (5, {"siem": 3})
        assert await told(log) == [{"entries": "5", "positions": "1-5", "sinks": "siem 3"}]


async def test_the_search_is_built_again_where_an_event_changed_and_only_there() -> None:
    async with open_memory_log() as log:
        rebuilds = Rebuilds()
        await log.append([entry("a"), new_entry(raw=SECRET.encode(), event=b'{"type":"t","source":{}}')])  # type: ignore[list-item]
        assert (await run(log, rebuilds)).entries == 1
        assert rebuilds == []
        await log.append([entry(SECRET)])  # type: ignore[list-item]
        await run(log, rebuilds, dry_run=True)
        assert rebuilds == []
        await run(log, rebuilds)
        assert len(rebuilds) == 1
        await run(log, rebuilds)
        assert len(rebuilds) == 1


class Unreadable(KnownSecrets):
    """Fails on what nobody thought of."""

    def may_be_in(self, raw: bytes) -> bool:
        if b"unthought-of" in raw:
            raise RuntimeError
        return super().may_be_in(raw)


@pytest.mark.parametrize("dry_run", [True, False])
async def test_what_could_not_be_looked_into_is_told_at_the_end(dry_run: bool) -> None:
    async with open_memory_log() as log, scrubs(log, Rebuilds()) as scrubbing:
        await log.append([entry(SECRET), *(entry("unthought-of") for _ in range(3))])  # type: ignore[list-item]
        cleaner = Cleaner([Unreadable([SECRET])], {}, {}, redact=False)
        for count in (1, 0) if not dry_run else (1, 1):
            await scrubbing.start(Question(dry_run=dry_run, rate=0), cleaner, texts=1, by="admin")
            job = await ended(scrubbing)
            assert (job.state, job.entries, job.problems.total()) == (State.DONE, count, 3)


async def test_samples_in_notes_go_too() -> None:
    async with open_memory_log() as log:
        await log.keep(Note("samples", orjson.dumps({"lines": [f"was {SECRET}"]}).decode(), 1))
        await run(log, Rebuilds())
        assert await log.noted("samples") == Note("samples", '{"lines":["was [redacted]"]}', 2)


async def test_what_a_killed_service_changed_is_told_by_the_next_one() -> None:
    """As it was killed between a change and its event: the note is all there is."""
    async with open_memory_log() as log:
        await log.append([entry(), entry()])  # type: ignore[list-item]
        job = Job(
            state=State.RUNNING, question=Question(dry_run=False), texts=1, by="zoe", begin=0, end=9, position=2,
            started_at=1, entries=2, untold=[(1, 2)], rebuild=True,
        )  # fmt: skip
        await log.keep(Note(NOTE, job.model_dump_json(), 1))
        rebuilds = Rebuilds()
        async with scrubs(log, rebuilds) as scrubbing:
            left = await ended(scrubbing)
            assert (left.state, left.position, left.untold, left.rebuild) == (State.BROKEN_OFF, 2, [], False)
        assert await told(log) == [{"entries": "2", "positions": "1-2", "sinks": "none"}]
        assert len(rebuilds) == 1
        async with scrubs(log, rebuilds):
            pass
        assert len(await told(log)) == len(rebuilds) == 1


async def test_what_another_service_leaves_is_told_by_one_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two services over one log one is killed, and never started again."""
    monkeypatch.setattr(scrubbing_module, "LEFT_WAIT", 0.01)
    async with open_memory_log() as log:
        await log.append([entry(), entry()])  # type: ignore[list-item]
        rebuilds = Rebuilds()
        async with scrubs(log, rebuilds) as scrubbing:
            await asyncio.sleep(0.05)
            job = Job(
                state=State.RUNNING, question=Question(dry_run=False), texts=1, by="zoe", begin=0, end=9, position=2,
                started_at=1, entries=2, untold=[(1, 2)], rebuild=True,
            )  # fmt: skip
            await log.keep(Note(NOTE, job.model_dump_json(), 1))
            left = await ended(scrubbing)
            assert (left.state, left.untold, left.rebuild) == (State.BROKEN_OFF, [], False)
        assert await told(log) == [{"entries": "2", "positions": "1-2", "sinks": "none"}]
        assert len(rebuilds) == 1


class Failing(MemoryLog):
    """A log of which some calls fail, or lose their answer."""

    def __init__(self, memory: Memory, failures: list[str]) -> None:
        super().__init__(memory, 60.0, lambda: 0.0)
        self.failures = failures

    async def replace(self, replacements: Sequence[Replacement], note: Note | None = None) -> list[int]:
        failure = self.failures.pop() if self.failures else ""
        if failure == "before":
            raise StoreUnavailable("the disk is full")
        positions = await super().replace(replacements, note)
        if failure == "after":
            raise StoreUnanswered("no answer")
        if failure == "slow":
            await asyncio.sleep(0.05)
        return positions


@pytest.mark.parametrize("failures", [["before"], ["after"], ["before", "after", "after", "before"]])
async def test_a_failure_of_the_store_is_waited_out_and_everything_told_once(failures: list[str]) -> None:
    log = Failing(Memory(), list(failures))
    await log.append([entry(SECRET if number % 3 else "") for number in range(400)])  # type: ignore[misc]
    job = await run(log, Rebuilds())
    assert (job.state, job.entries, job.problem) == (State.DONE, 266, None)
    assert SECRET.encode() not in await read_all(log)
    assert sum(int(one["entries"]) for one in await told(log)) == 266


async def test_what_was_under_way_when_the_service_ended_is_told() -> None:
    log = Failing(Memory(), ["slow"])
    await log.append([entry(SECRET) for _ in range(50)])  # type: ignore[misc]
    async with scrubs(log, Rebuilds()) as scrubbing:
        await scrubbing.start(Question(dry_run=False), CLEANER, texts=1, by="admin")
        async with asyncio.timeout(20):
            while SECRET.encode() in await read_all(log):  # noqa: ASYNC110
                await asyncio.sleep(0.001)
    kept = Job.model_validate_json((await log.noted(NOTE)).text)  # type: ignore[union-attr]
    assert (kept.state, kept.entries, kept.position) == (State.BROKEN_OFF, 50, 50)
    assert await told(log) == [{"entries": "50", "positions": "1-50", "sinks": "none"}]


async def test_many_scattered_entries_are_told_in_several_events() -> None:
    async with open_memory_log() as log:
        await log.append([entry(SECRET if number % 2 else "") for number in range(3_000)])  # type: ignore[misc]
        job = await run(log, Rebuilds())
        assert (job.entries, len(job.positions)) == (1_500, 200)
        parts = await told(log)
        assert len(parts) == 3
        assert sum(int(one["entries"]) for one in parts) == 1_500


async def test_the_same_in_postgresql(database_url: str) -> None:
    async with open_store(database_url, dictionary=bytes, commit_timeout=30.0) as log:
        await log.append([entry(SECRET if number % 3 else "") for number in range(500)])  # type: ignore[misc]
        job = await run(log, Rebuilds())
        assert (job.state, job.entries) == (State.DONE, 333)
        assert SECRET.encode() not in await read_all(log)
        assert [one["entries"] for one in await told(log)] == ["333"]


def test_positions_are_said_as_stretches() -> None:
    stretches = joined(joined([], [1, 2, 3, 7]), [8, 10])
    assert stretches == [(1, 3), (7, 8), (10, 10)]
    assert said(stretches) == "1-3, 7-8, 10"


@pytest.mark.parametrize(
    "text",
    ["uid-uid-uid-uid-uid-uid-uid-uid-uid!", "access.LOGIN", "receivedAt", "ipAddress"],
)
async def test_a_text_that_stands_in_every_event_leaves_events_what_they_are(text: str) -> None:
    cleaner = Cleaner([KnownSecrets([text], shortest=8)], {}, {}, redact=False)
    event = {
        "uid": "uid-uid-uid-uid-uid-uid-uid-uid-uid!", "time": 1, "type": "access.LOGIN",
        "authDetails": {"ipAddress": "203.0.113.7"}, "details": {}, "outcome": "success",
        "source": {"name": "receivedAt", "provider": "acme", "nativeType": "LOGIN", "receivedAt": 1, "mapping": "m"},
    }  # fmt: skip
    async with open_memory_log() as log:
        await log.append([new_entry(event=orjson.dumps(event), raw=b"{}", type="access.LOGIN")])
        for one in cleaner.clean(await log.read_stored(0), Counter()):
            after = orjson.loads(one.event or b"{}")
            assert {**after, "type": event["type"]} == event
            assert after["type"] == one.type
