"""Stored raw events read again by a fixed table: what becomes of each, and the job that goes through the log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import orjson
import pytest

from adapter.counts import IngestCounts
from adapter.errors import RequestError, StoreUnanswered, StoreUnavailable
from adapter.log.memory import open_memory_log
from adapter.log.protocol import Note, Removal, RetainingStore, Revision
from adapter.mapping.catalogue import Catalogue, load_catalogue
from adapter.mapping.table import Table, load_table
from adapter.model import Entry
from adapter.renormalization.job import NOTE, Job, Question, State
from adapter.renormalization.renormalizing import Renormalization, open_renormalization
from adapter.sources.intake import Intake, Source
from adapter.workbench.compare import Verdict
from tests.mapping.acme import TYPES, write_table

TABLE = """
provider: acme
title: Acme
type: kind
identity: {strong: id}
fields: {id: id, time: {path: at, as: milliseconds}, authDetails.userId: user}
types:
  in: {type: LOGIN}
"""
FIXED = TABLE + "  out: {type: LOGOUT}\n"
BOTH = FIXED.replace("{type: LOGIN}", "{type: LOGIN, reason: locked, when: {user: evil}}")

NOW = 1_800_000_000.0
#: When the first event happened.
AT = 1_700_000_000_000


class Bench:
    """A log, a source, and a table that can be fixed."""

    def __init__(self, folder: Path, log: RetainingStore) -> None:
        self.log = log
        self.folder = folder
        self.tables: dict[str, Table] = {}
        self.fix(TABLE)
        self.source = Source("prod", "acme", "prod", self.tables)
        self._intake = Intake(log, IngestCounts())

    @property
    def catalogue(self) -> Catalogue:
        return load_catalogue([self.folder])

    def fix(self, text: str) -> None:
        self.tables["acme"] = load_table(write_table(self.folder, text), self.catalogue)

    async def take(self, *events: Any, received_at: int = 1000, media: str = "application/json") -> list[str]:
        body = events[0] if isinstance(events[0], bytes) else orjson.dumps(events)
        receipts = await self._intake.take(self.source, body, media, received_at)
        return [uid for uid in receipts.uids if uid is not None]

    def open(
        self,
        *,
        go_on: bool = True,
        sources: Mapping[str, Source] | None = None,
        log: RetainingStore | None = None,
        owner: str = "service",
    ) -> AbstractAsyncContextManager[Renormalization]:
        sources = {"prod": self.source} if sources is None else sources
        return open_renormalization(
            log or self.log,
            sources,
            self.tables,
            lambda: self.catalogue,
            owner=owner,
            go_on=go_on,
            clock=lambda: NOW,
            store_wait=0.01,
        )

    async def run(self, *, sources: Mapping[str, Source] | None = None, **question: Any) -> Job:
        async with self.open(sources=sources) as whole:
            await whole.start(Question(**{"rate": 0, **question}))
            return await ended(whole)

    async def keep(self, text: str) -> None:
        """Keep a job as somebody else would."""
        kept = await self.log.noted(NOTE)
        await self.log.keep(Note(NOTE, text, 1 if kept is None else kept.version + 1))

    async def entries(self) -> list[Entry]:
        return await self.log.read(0, limit=100_000)

    async def last_event(self) -> dict[str, Any]:
        event: dict[str, Any] = orjson.loads((await self.entries())[-1].event or b"null")
        return event


async def ended(whole: Renormalization) -> Job:
    async with asyncio.timeout(20):
        while True:
            job = whole.job
            assert job is not None
            if job.state is not State.RUNNING:
                return job
            await asyncio.sleep(0.001)


def counts(job: Job) -> dict[str, int]:
    """Those that are not 0."""
    return {name: count for name, count in job.counts.model_dump().items() if count}


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    (tmp_path / "types.yaml").write_text(TYPES)
    async with open_memory_log() as log:
        yield Bench(tmp_path, log)


def event(kind: str, number: int = 1, **changes: Any) -> dict[str, Any]:
    return {"id": str(number), "kind": kind, "at": AT + number, "user": "anna", **changes}


async def test_a_quarantined_entry_becomes_an_event_at_its_own_time_and_is_marked(bench: Bench) -> None:
    [uid, _] = await bench.take(event("out", 1), event("in", 2), received_at=1000)
    bench.fix(FIXED)
    job = await bench.run()
    assert (job.state, job.position, counts(job)) == (
        State.DONE,
        2,
        {"looked_at": 2, "recovered": 1, "unchanged": 1},
    )
    last = (await bench.entries())[-1]
    assert (last.position, last.revision, last.type, last.received_at) == (3, 0, "access.LOGOUT", 1000)
    assert await bench.last_event() == {
        "uid": uid,
        "id": "1",
        "time": AT + 1,
        "type": "access.LOGOUT",
        "authDetails": {"userId": "anna"},
        "details": {},
        "outcome": "success",
        "source": {
            "name": "prod",
            "provider": "acme",
            "nativeType": "out",
            "receivedAt": 1000,
            "mapping": bench.tables["acme"].name,
            "normalizedAt": int(NOW * 1000),
        },
    }


async def test_to_run_twice_changes_nothing(bench: Bench) -> None:
    await bench.take(*(event("out" if n % 3 else "in", n) for n in range(1200)))
    bench.fix(FIXED)
    assert counts(await bench.run()) == {"looked_at": 1200, "recovered": 800, "unchanged": 400}
    head = bench.log.head
    assert counts(await bench.run()) == {"looked_at": 1200, "unchanged": 1200}
    assert bench.log.head == head == 2000


async def test_an_event_that_reads_differently_gets_a_revision_and_each_further_mend_another(bench: Bench) -> None:
    [uid] = await bench.take(event("in"))
    bench.fix(TABLE.replace("LOGIN", "LOGOUT"))
    assert counts(await bench.run()) == {"looked_at": 1, "corrected": 1}
    bench.fix(TABLE)
    assert counts(await bench.run()) == {"looked_at": 1, "corrected": 1}
    entries = await bench.entries()
    assert [(entry.revision, entry.type) for entry in entries] == [
        (0, "access.LOGIN"),
        (1, "access.LOGOUT"),
        (2, "access.LOGIN"),
    ]
    events = [orjson.loads(entry.event or b"") for entry in entries]
    assert {one["uid"] for one in events} == {uid}
    # A reader without message ids tells them apart as well.
    assert [one["source"].get("revision") for one in events] == [None, 1, 2]


async def test_a_correction_of_what_was_quarantined_first_is_its_first(bench: Bench) -> None:
    await bench.take(event("out"))
    bench.fix(FIXED)
    await bench.run()
    bench.fix(FIXED.replace("LOGOUT", "LOGIN"))
    assert counts(await bench.run()) == {"looked_at": 1, "corrected": 1}
    assert counts(await bench.run()) == {"looked_at": 1, "unchanged": 1}
    events = [orjson.loads(entry.event) for entry in await bench.entries() if entry.event is not None]
    assert [one["source"].get("revision") for one in events] == [None, 1]


async def test_what_was_removed_is_passed_over_also_at_the_end(bench: Bench) -> None:
    await bench.take(*(event("out", number) for number in range(1, 9)))
    for after, until in ((0, 2), (5, 8)):
        await bench.log.remove(Removal(after, until, (), until, bench.log.head))
    bench.fix(FIXED)
    async with bench.open() as whole:
        await whole.start(Question())
        job = await ended(whole)
    assert (job.state, job.position, job.counts.recovered) == (State.DONE, 8, 3)


async def test_another_version_of_the_table_alone_is_no_difference(bench: Bench) -> None:
    two = TABLE.replace("authDetails.userId: user}", "details.by: user, details.on: kind}")
    bench.fix(two)
    await bench.take(event("in"), event("in", 2, user=None))
    bench.fix(two + "# a remark\n")
    assert counts(await bench.run()) == {"looked_at": 2, "unchanged": 2}
    # The same facts in another order are the same event.
    bench.fix(two.replace("details.by: user, details.on: kind", "details.on: kind, details.by: user"))
    assert counts(await bench.run()) == {"looked_at": 2, "unchanged": 2}
    # And other facts of the same length are not.
    bench.fix(two.replace("details.by: user, details.on: kind", "details.no: kind, details.by: user"))
    assert counts(await bench.run()) == {"looked_at": 2, "corrected": 2}


async def test_what_would_not_be_read_now_stays_as_it_is_and_is_counted(bench: Bench) -> None:
    await bench.take(event("in"), event("out", 2))
    bench.fix(TABLE.replace("in: {type: LOGIN}", "in: {ignore: true}\n  out: {ignore: true}"))
    assert counts(await bench.run()) == {"looked_at": 2, "kept": 1, "quarantined": 1}
    bench.fix(TABLE.replace("in: {type: LOGIN}", "on: {type: LOGIN}"))
    assert counts(await bench.run()) == {"looked_at": 2, "kept": 1, "quarantined": 1}
    assert bench.log.head == 2


def with_lines(text: str, lines: str) -> str:
    return text.replace("type: kind", f"body: [{{media: text/plain, lines: {lines}}}]\ntype: kind")


LINES = b"id=7, kind=in\nid=8, kind=out\n"


async def test_lines_of_text_are_read_again_by_their_media_type(bench: Bench) -> None:
    bench.fix(with_lines(TABLE, "keyvalue"))
    await bench.take(LINES, media="text/plain")
    bench.fix(with_lines(FIXED, "keyvalue"))
    assert counts(await bench.run()) == {"looked_at": 2, "unchanged": 1, "recovered": 1}
    assert (await bench.last_event())["id"] == "8"


async def test_what_could_not_be_read_at_all_is_taken_apart_by_a_table_that_knows_its_shape_now(bench: Bench) -> None:
    bench.fix(with_lines(TABLE, "json"))
    await bench.take(LINES, media="text/plain")
    assert [entry.problem is None for entry in await bench.entries()] == [False, False]
    bench.fix(with_lines(FIXED, "keyvalue"))
    assert counts(await bench.run()) == {"looked_at": 2, "recovered": 2}
    bench.fix(FIXED)
    assert counts(await bench.run()) == {"looked_at": 2, "kept": 2}


async def test_of_several_events_in_one_raw_event_each_finds_its_own(bench: Bench) -> None:
    each = TABLE.replace("type: kind", "each: results\ntype: results.kind").replace("strong: id", "strong: results.id")
    each = each.replace("{id: id,", "{id: results.id,")
    bench.fix(each)
    results = [{"id": "a", "kind": "in"}, {"id": "b", "kind": "out"}, {"id": "c", "kind": "out"}]
    uids = await bench.take({"results": results})
    assert len(set(uids)) == 3
    bench.fix(each + "  out: {type: LOGOUT}\n")
    assert counts(await bench.run()) == {"looked_at": 3, "unchanged": 1, "recovered": 2}
    events = [orjson.loads(entry.event) for entry in (await bench.entries())[3:] if entry.event is not None]
    assert [(one["uid"], one["id"]) for one in events] == [(uids[1], "b"), (uids[2], "c")]


async def test_what_became_several_events_stays_quarantined(bench: Bench) -> None:
    await bench.take({"results": [event("in", 1), event("in", 2)]})
    bench.fix(TABLE.replace("type: kind", "body: [{when: {has: [results]}, events: results}]\ntype: kind"))
    async with bench.open() as whole:
        await whole.start(Question(rate=0))
        job = await ended(whole)
        assert counts(job) == {"looked_at": 1, "quarantined": 1}
        assert job.problems == {
            "it reads as 2 events now, and none of them is this one; posted again, they are new events": 1
        }
    assert bench.log.head == 1
    await bench.take({"results": [event("in", 1), event("in", 2)]})
    assert [one.type for one in await bench.entries()] == [None, "access.LOGIN", "access.LOGIN"]


async def test_provider_type_native_type_and_arrival_choose_what_is_read(bench: Bench) -> None:
    for number, kind in enumerate(["in", "out", "up", "in"]):
        await bench.take(event(kind, number), received_at=1000 * number)
    bench.fix(TABLE.replace("LOGIN", "LOGOUT"))
    questions: list[tuple[dict[str, Any], int]] = [
        ({}, 4),
        ({"provider": "acme"}, 4),
        ({"provider": "keycloak"}, 0),
        ({"type": ["quarantined"]}, 2),
        ({"type": ["access.LOG*"]}, 2),
        ({"type": ["access.LOGOUT"]}, 0),
        ({"type": ["access.LOGIN", "quarantined"]}, 4),
        ({"native_type": ["out", "in"]}, 3),
        ({"native_type": ["out", "in"], "type": ["quarantined"]}, 1),
        ({"received_from": 1000}, 3),
        ({"received_to": 1000}, 1),
        ({"received_from": 1000, "received_to": 3000}, 2),
        ({"received_from": 9000}, 0),
    ]
    for question, looked_at in questions:
        job = await bench.run(dry_run=True, **question)
        assert (job.state, job.counts.looked_at) == (State.DONE, looked_at), question


async def test_a_dry_run_appends_nothing_and_shows_what_would_differ(bench: Bench) -> None:
    [corrected, recovered, _] = await bench.take(event("in"), event("out", 2), event("up", 3))
    bench.fix(FIXED.replace("{type: LOGIN}", "{type: LOGIN, details: {by: admin}}"))
    job = await bench.run(dry_run=True)
    assert counts(job) == {"looked_at": 3, "corrected": 1, "recovered": 1, "quarantined": 1}
    assert bench.log.head == 3
    assert [(one.uid, one.verdict, one.native_type, one.type) for one in job.samples] == [
        (corrected, "corrected", "in", "access.LOGIN"),
        (recovered, "recovered", "out", "access.LOGOUT"),
    ]
    assert job.samples[0].lines == ["details.by: absent becomes 'admin'"]
    assert job.samples[1].lines == ["type: quarantined (no row for 'out': add one to the table) becomes access.LOGOUT"]
    assert job.fields == {"details.by": 1, "type": 1}


async def test_a_dry_run_does_not_count_as_reading_again(bench: Bench) -> None:
    await bench.take(event("in"), event("up", 2))
    async with bench.open() as whole:
        for dry_run, read in ((True, 0), (False, 2)):
            await whole.start(Question(rate=0, dry_run=dry_run))
            assert (await ended(whole)).counts.looked_at == 2
            assert whole.counts.total() == read


async def test_why_entries_would_not_become_events_is_counted_by_problem(bench: Bench) -> None:
    await bench.take(event("in"), event("up", 2), event("up", 3), event("down", 4))
    bench.fix(TABLE.replace("in: {", "on: {"))
    job = await bench.run()
    assert counts(job) == {"looked_at": 4, "quarantined": 3, "kept": 1}
    assert job.problems == {
        "no row for 'in': add one to the table": 1,
        "no row for 'up': add one to the table": 2,
        "no row for 'down': add one to the table": 1,
    }


async def test_problems_that_are_many_are_counted_together(bench: Bench) -> None:
    await bench.take(*(event(f"up {n}", n) for n in range(30)), event("up 0", 31))
    problems = (await bench.run(rate=1000, dry_run=True)).problems
    assert len(problems) == 21
    assert (problems["no row for 'up 0': add one to the table"], problems["(others)"]) == (2, 10)


async def test_samples_are_few_of_each_kind(bench: Bench) -> None:
    await bench.take(*(event("out" if n % 2 else "in", n) for n in range(100)))
    bench.fix(FIXED.replace("LOGIN", "LOGOUT"))
    job = await bench.run(dry_run=True)
    assert [one.verdict for one in job.samples].count(Verdict.RECOVERED) == 10
    assert len(job.samples) == 20


async def test_a_source_that_is_gone_is_read_by_what_its_events_say(bench: Bench) -> None:
    await bench.take(event("in"), event("out", 2))
    bench.fix(FIXED.replace("LOGIN", "LOGOUT"))
    job = await bench.run(sources={}, provider="acme")
    # What was quarantined does not say whose it was.
    assert counts(job) == {"looked_at": 1, "corrected": 1}
    assert counts(await bench.run(sources={})) == {"looked_at": 2, "unchanged": 1, "quarantined": 1}


async def test_a_source_that_changed_its_provider_has_its_events_read_by_their_own(
    bench: Bench, tmp_path: Path
) -> None:
    await bench.take(event("in"))
    other = TABLE.replace("provider: acme", "provider: other").replace("LOGIN", "LOGOUT")
    bench.tables["other"] = load_table(write_table(tmp_path, other, "other"), bench.catalogue)
    job = await bench.run(sources={"prod": Source("prod", "other", "prod", bench.tables)})
    assert counts(job) == {"looked_at": 1, "unchanged": 1}
    other = other.replace("in: {", "none: {")
    bench.tables["other"] = load_table(write_table(tmp_path, other, "other"), bench.catalogue)
    job = await bench.run(sources={"prod": Source("prod", "other", "prod", bench.tables)})
    assert counts(job) == {"looked_at": 1, "unchanged": 1}
    del bench.tables["acme"]
    job = await bench.run(sources={"prod": Source("prod", "other", "prod", bench.tables)})
    assert counts(job) == {"looked_at": 1, "kept": 1}


class Failing(Table):
    """A table with a fault."""

    def read(self, value: dict[str, Any], received_at: int) -> tuple[Any, ...]:
        if value["id"] == "3":
            raise RuntimeError("a fault")
        return super().read(value, received_at)


async def test_a_table_that_fails_on_one_event_ends_nothing(bench: Bench) -> None:
    await bench.take(*(event("out", n) for n in range(6)))
    bench.fix(FIXED)
    bench.tables["acme"] = Failing(bench.tables["acme"].document, bench.catalogue)
    assert counts(await bench.run()) == {"looked_at": 6, "recovered": 5, "quarantined": 1}


async def test_one_job_at_a_time(bench: Bench) -> None:
    await bench.take(*(event("out", n) for n in range(50)))
    async with bench.open() as whole:
        await whole.start(Question(rate=1))
        with pytest.raises(RequestError, match="at position") as refused:
            await whole.start(Question())
        assert refused.value.status == 409
        job = await whole.cancel()
        assert job is not None
        assert job.state is State.CANCELLED
        await whole.start(Question(rate=0))
        assert (await ended(whole)).state is State.DONE


async def test_a_job_that_is_broken_off_goes_on_where_it_was(bench: Bench) -> None:
    await bench.take(*(event("out", n) for n in range(2000)))
    bench.fix(FIXED)
    async with bench.open() as whole:
        await whole.start(Question(rate=5000))
        async with asyncio.timeout(20):
            while whole.job is not None and not 0 < whole.job.position < 2000:  # noqa: ASYNC110
                await asyncio.sleep(0)
    async with bench.open(go_on=False) as whole:
        assert whole.job is not None
        assert whole.job.state is State.WAITING
        assert 0 < whole.job.position < 2000
        assert whole.job.counts.looked_at == whole.job.position
        with pytest.raises(RequestError, match="is waiting"):
            await whole.start(Question(dry_run=True))
    async with bench.open() as whole:
        assert counts(await ended(whole)) == {"looked_at": 2000, "recovered": 2000}
    assert bench.log.head == 4000
    async with bench.open() as whole:
        assert whole.job is not None
        assert whole.job.state is State.DONE


async def test_whoever_asks_alike_goes_on_with_what_waits_and_another_may_cancel_it(bench: Bench) -> None:
    await bench.take(event("out"))
    bench.fix(FIXED)
    waiting = Job(
        state=State.RUNNING, question=Question(rate=0), begin=0, end=1, position=0, started_at=7
    )  # fmt: skip
    await bench.keep(waiting.model_dump_json())
    async with bench.open(go_on=False) as whole:
        assert (await whole.start(Question(rate=0))).started_at == 7
        assert counts(await ended(whole)) == {"looked_at": 1, "recovered": 1}
    await bench.keep(waiting.model_dump_json())
    async with bench.open(go_on=False) as whole:
        job = await whole.cancel()
        assert job is not None
        assert job.state is State.CANCELLED
    async with bench.open() as whole:
        assert (await whole.start(Question())).state is State.RUNNING


class Overtaking:
    """A log in which somebody else is faster once, and whose disk is full once."""

    def __init__(self, log: RetainingStore) -> None:
        self._log = log
        self.todo: list[str] = ["full", "overtake"]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    async def revise(self, revisions: list[Revision], note: Note | None = None) -> list[int | None] | None:
        if revisions and self.todo:
            match self.todo.pop():
                case "overtake":
                    await self._log.revise([revisions[0]._replace(event=revisions[0].event.replace(b"anna", b"bob"))])
                case "full":
                    raise StoreUnavailable("the disk is full")
        return await self._log.revise(revisions, note)


async def test_somebody_who_was_faster_is_noticed_and_a_full_disk_waited_out(bench: Bench) -> None:
    await bench.take(event("out", 1), event("out", 2))
    bench.fix(FIXED)
    log: Any = Overtaking(bench.log)
    async with bench.open(log=log) as whole:
        await whole.start(Question(rate=0))
        assert counts(await ended(whole)) == {"looked_at": 2, "recovered": 1, "corrected": 1}
    assert log.todo == []
    assert [entry.revision for entry in await bench.entries()] == [0, 0, 0, 1, 0]


class Full(Overtaking):
    """A log whose disk is full."""

    async def revise(self, revisions: list[Revision], note: Note | None = None) -> list[int | None] | None:
        if revisions:
            await asyncio.sleep(0.01)
            raise StoreUnavailable("the disk is full")
        return await self._log.revise(revisions, note)


class Unanswered(Overtaking):
    """A log that stores the first revisions, and whose answer is lost."""

    async def revise(self, revisions: list[Revision], note: Note | None = None) -> list[int | None] | None:
        positions = await self._log.revise(revisions, note)
        if revisions and self.todo:
            self.todo.clear()
            raise StoreUnanswered("no answer")
        return positions


async def test_a_job_that_waits_for_the_store_can_be_cancelled(bench: Bench) -> None:
    await bench.take(*(event("out", n) for n in range(10)))
    bench.fix(FIXED)
    log: Any = Full(bench.log)
    async with bench.open(log=log) as whole:
        for pause in (0.0, 0.005, 0.012, 0.02):
            await whole.start(Question(rate=0))
            await asyncio.sleep(pause)
            async with asyncio.timeout(60):
                job = await whole.cancel()
            assert job is not None
            assert (job.state, counts(job)) == (State.CANCELLED, {})
        await whole.start(Question(rate=0))
        async with asyncio.timeout(60):
            while whole.job is not None and whole.job.problem is None:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        assert whole.job is not None
        assert whole.job.problem == "the disk is full"


class Lingering(Overtaking):
    """A log that has kept how a job ended, and has not said so yet."""

    def __init__(self, log: RetainingStore) -> None:
        super().__init__(log)
        self.kept, self.answers = asyncio.Event(), asyncio.Event()

    async def keep(self, note: Note) -> None:
        await self._log.keep(note)
        if '"done"' in note.text:
            self.kept.set()
            await self.answers.wait()


async def test_a_job_that_is_cancelled_while_its_end_is_kept_is_done(bench: Bench) -> None:
    log: Any = Lingering(bench.log)
    async with bench.open(log=log) as whole:
        await whole.start(Question())
        await log.kept.wait()
        cancelling = asyncio.create_task(whole.cancel())
        await asyncio.sleep(0)
        log.answers.set()
        job = await cancelling
        assert job is not None
        assert job.state is State.DONE
        await whole.start(Question())
        assert (await ended(whole)).state is State.DONE


async def test_a_job_that_somebody_else_has_ended_appends_nothing_more(bench: Bench) -> None:
    await bench.take(*(event("out", n) for n in range(300)))
    bench.fix(FIXED)
    async with bench.open() as whole, bench.open(owner="other") as other:
        await whole.start(Question(rate=100))
        while whole.job is None or whole.job.counts.looked_at < 10:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        cancelled = await other.cancel()
        assert cancelled is not None
        assert cancelled.state is State.CANCELLED
        job = await ended(whole)
        assert job == cancelled
        assert bench.log.head < 600


async def test_a_job_is_done_by_the_owner_wherever_it_is_started(bench: Bench) -> None:
    await bench.take(*(event("out", n) for n in range(5)))
    bench.fix(FIXED)
    async with bench.open(owner="a") as one, bench.open(owner="b") as other:
        started = await other.start(Question(rate=0))
        async with asyncio.timeout(20):
            while (job := await other.look()) is None or job.state is State.RUNNING:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        assert (job.started_at, counts(job)) == (started.started_at, {"looked_at": 5, "recovered": 5})
        assert one.counts.total() == 5
        assert other.counts.total() == 0


async def test_the_next_owner_goes_on_with_a_job(bench: Bench) -> None:
    await bench.take(*(event("out", n) for n in range(2000)))
    bench.fix(FIXED)
    async with bench.open(owner="b") as other, bench.open(owner="a") as one:
        await one.start(Question(rate=500))
        async with asyncio.timeout(20):
            while other.job is None or other.job.position == 0:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        with pytest.raises(RequestError, match="is running"):
            await one.start(Question(rate=0))
    assert bench.log.head < 4000
    async with bench.open(owner="a") as one:
        assert counts(await ended(one)) == {"looked_at": 2000, "recovered": 2000}
    assert bench.log.head == 4000


async def test_a_step_whose_answer_is_lost_is_not_taken_twice(bench: Bench) -> None:
    await bench.take(*(event("out", n) for n in range(20)))
    bench.fix(FIXED)
    log: Any = Unanswered(bench.log)
    async with bench.open(log=log) as whole:
        await whole.start(Question(rate=0))
        assert counts(await ended(whole)) == {"looked_at": 20, "recovered": 20}
    assert log.todo == []
    assert bench.log.head == 40


async def test_a_note_that_nobody_can_read_keeps_nothing_from_starting(bench: Bench) -> None:
    await bench.keep('{"state": "resting"}')
    async with bench.open() as whole:
        assert whole.job is None


async def test_receiving_goes_on_during_a_job(bench: Bench) -> None:
    await bench.take(*(event("out", n) for n in range(3000)))
    bench.fix(FIXED)
    async with bench.open() as whole:
        await whole.start(Question(rate=0))
        number = 10_000
        while whole.job is not None and whole.job.state is State.RUNNING:
            await bench.take(event("in", number := number + 1))
        assert counts(await ended(whole)) == {"looked_at": 3000, "recovered": 3000}
    assert number > 10_003
    entries = await bench.entries()
    assert [entry.position for entry in entries] == list(range(1, bench.log.head + 1))
    assert bench.log.head == 6000 + number - 10_000
