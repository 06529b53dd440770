"""Stored records read again by a table whose rows make other further events of them than before."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapter.log.memory import open_memory_log
from adapter.log.protocol import NewEntry, Stored
from adapter.mapping.table import Table, load_table
from adapter.model import uid_text
from adapter.renormalization.comparing import look_at
from adapter.renormalization.job import Question
from adapter.workbench.compare import Verdict
from tests.mapping.acme import TYPES, write_table
from tests.renormalization.test_renormalizing import NOW, TABLE, Bench, Overtaking, counts, ended, event

ONE = TABLE + "  out: {type: LOGOUT}\n"


def also(*rows: str) -> str:
    """The table whose row makes these further events, too."""
    return TABLE + f"  out: {{type: LOGOUT, also: [{', '.join(rows)}]}}\n"


AGAIN = "{name: again, type: LOGIN}"
LATER = "{name: later, type: LOGIN, when: {more: 1}}"


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    (tmp_path / "types.yaml").write_text(TYPES)
    async with open_memory_log() as log:
        yield Bench(tmp_path, log)


async def events(bench: Bench) -> list[dict[str, Any]]:
    """The events of all entries."""
    return [orjson.loads(one.event) for one in await bench.entries() if one.event is not None]


async def names(bench: Bench) -> list[tuple[str, str | None]]:
    """Of each entry with an event the id, and the name of a further event."""
    return [(one["id"], one["source"].get("also")) for one in await events(bench)]


async def test_a_new_also_makes_an_entry_of_each_stored_record(bench: Bench) -> None:
    bench.fix(ONE)
    await bench.take(event("out", 1), event("in", 2), event("out", 3, more=1), received_at=1000)
    bench.fix(also(AGAIN, LATER))
    assert counts(await bench.run()) == {"looked_at": 3, "unchanged": 3, "added": 3}
    assert (await names(bench))[3:] == [("1", "again"), ("3", "again"), ("3", "later")]
    last = (await bench.entries())[-1]
    assert (last.revision, last.received_at) == (0, 1000)
    source = (await bench.last_event())["source"]
    assert source == {
        "name": "prod", "provider": "acme", "nativeType": "out", "also": "later", "receivedAt": 1000,
        "mapping": bench.tables["acme"].name, "normalizedAt": int(NOW * 1000),
    }  # fmt: skip
    assert await bench.log.raw(6) == await bench.log.raw(3)


async def test_to_run_twice_or_to_send_again_changes_nothing(bench: Bench) -> None:
    bench.fix(ONE)
    records = [event("out", number) for number in range(1200)]
    await bench.take(*records)
    bench.fix(also(AGAIN))
    assert counts(await bench.run()) == {"looked_at": 1200, "unchanged": 1200, "added": 1200}
    assert counts(await bench.run()) == {"looked_at": 2400, "unchanged": 2400}
    await bench.take(*records)
    assert bench.log.head == 2400


async def test_what_was_stored_with_its_further_events_is_unchanged(bench: Bench) -> None:
    bench.fix(also(AGAIN))
    await bench.take(*(event("out", number) for number in range(10)))
    assert counts(await bench.run()) == {"looked_at": 20, "unchanged": 20}


async def test_a_dry_run_says_what_would_be_added_and_adds_nothing(bench: Bench) -> None:
    bench.fix(also(AGAIN))
    await bench.take(event("out", 1))
    bench.fix(ONE)
    await bench.take(event("out", 2))
    bench.fix(also(AGAIN))
    job = await bench.run(dry_run=True)
    assert counts(job) == {"looked_at": 3, "unchanged": 3, "added": 1}
    [sample] = job.samples
    assert (sample.verdict, sample.type, sample.lines) == (
        Verdict.ADDED, "access.LOGIN", ["type: nothing becomes access.LOGIN"],
    )  # fmt: skip
    assert bench.log.head == 3
    await bench.run()
    assert sample.uid == (await bench.last_event())["uid"]


async def test_a_further_event_whose_row_is_gone_or_does_not_fit_any_more_is_kept(bench: Bench) -> None:
    bench.fix(also(AGAIN))
    await bench.take(event("out", 1))
    for text in (ONE, also(LATER), also("{name: again, type: LOGIN, when: {more: 1}}")):
        bench.fix(text)
        job = await bench.run()
        assert counts(job) == {"looked_at": 2, "unchanged": 1, "kept": 1}
        assert "event of the name 'again'" in next(iter(job.problems))
    assert await names(bench) == [("1", None), ("1", "again")]


async def test_another_name_makes_another_event(bench: Bench) -> None:
    bench.fix(also(AGAIN))
    await bench.take(event("out", 1))
    bench.fix(also(AGAIN.replace("again", "renamed")))
    assert counts(await bench.run()) == {"looked_at": 2, "unchanged": 1, "kept": 1, "added": 1}
    assert await names(bench) == [("1", None), ("1", "again"), ("1", "renamed")]


async def test_a_further_event_that_reads_differently_gets_a_revision(bench: Bench) -> None:
    bench.fix(also(AGAIN))
    await bench.take(event("out", 1))
    _, again = await events(bench)
    bench.fix(also(AGAIN.replace("type: LOGIN", "type: LOGIN, details: {by: admin}")))
    assert counts(await bench.run()) == {"looked_at": 2, "unchanged": 1, "corrected": 1}
    last = await bench.last_event()
    assert (last["uid"], last["source"]["also"], last["source"]["revision"]) == (again["uid"], "again", 1)
    assert last["details"] == {"by": "admin"}
    assert counts(await bench.run()) == {"looked_at": 2, "unchanged": 2}


async def test_what_was_quarantined_becomes_all_of_its_events(bench: Bench) -> None:
    [uid] = await bench.take(event("out", 1))
    bench.fix(also(AGAIN))
    assert counts(await bench.run()) == {"looked_at": 1, "recovered": 1, "added": 1}
    assert sorted(await names(bench), key=str) == [("1", "again"), ("1", None)]
    assert [one["uid"] for one in await events(bench) if "also" not in one["source"]] == [uid]
    assert counts(await bench.run()) == {"looked_at": 2, "unchanged": 2}


WEAK = "{strong: id}", '{weak: ["@native", at]}'
NONE = "{strong: id}", "none"


@pytest.mark.parametrize(("identity", "number"), [(WEAK, 3), (NONE, 6)])
async def test_equal_records_get_as_many_further_events_as_there_are(
    bench: Bench, identity: tuple[str, str], number: int
) -> None:
    bench.fix(ONE.replace(*identity))
    for _ in range(2):
        await bench.take(*3 * [event("out")])
    bench.fix(also(AGAIN).replace(*identity))
    assert counts(await bench.run())["added"] == number
    assert Counter(await names(bench)) == {("1", None): number, ("1", "again"): number}
    assert "added" not in counts(await bench.run())


async def test_after_a_failure_between_both_steps_nothing_is_added_twice_or_counted_less(bench: Bench) -> None:
    await bench.take(event("out", 1), event("out", 2))
    bench.fix(also(AGAIN))
    log: Any = Overtaking(bench.log)
    log.todo = ["full"]
    async with bench.open(log=log) as whole:
        await whole.start(Question(rate=0))
        assert counts(await ended(whole)) == {"looked_at": 2, "recovered": 2, "added": 2}
    assert log.todo == []
    assert Counter(await names(bench)) == {(id, name): 1 for id in ("1", "2") for name in (None, "again")}


async def test_a_further_event_that_was_lost_is_made_again_as_what_it_was(bench: Bench) -> None:
    bench.fix(also(AGAIN))
    await bench.take(event("out", 1))
    _, again = await bench.log.read_stored(0)
    assert again.raw is not None
    lost = again.entry
    without = (lost.source, 1000, again.raw, again.media, lost.uid, None, None, 0, "out", None, None, "lost")
    async with open_memory_log() as other:
        hurt = Bench(bench.folder, other)
        hurt.tables.update(bench.tables)
        await other.append([NewEntry(*without)])
        assert counts(await hurt.run()) == {"looked_at": 1, "recovered": 1}
        last = await hurt.last_event()
        assert (last["uid"], last["source"]["also"]) == (uid_text(lost.uid), "again")


async def test_a_changed_table_tells_what_it_would_add_to_what_is_stored(bench: Bench, tmp_path: Path) -> None:
    def read(text: str) -> Table:
        return load_table(write_table(tmp_path / "changed", text), bench.catalogue)

    one, more = read(ONE), read(also(AGAIN, LATER))
    bench.fix(also(AGAIN))
    await bench.take(event("out", 1, more=1))
    stored: list[Stored] = await bench.log.read_stored(0)
    key = {"prod": bench.source.key}
    assert look_at(one, more, key, stored[:1]).counts == {Verdict.ADDED: 2, Verdict.UNCHANGED: 1}
    assert look_at(bench.tables["acme"], more, key, stored).counts == {Verdict.ADDED: 1, Verdict.UNCHANGED: 2}
    assert look_at(bench.tables["acme"], one, key, stored).counts == {
        Verdict.ADDED: 0, Verdict.UNCHANGED: 1, Verdict.KEPT: 1,
    }  # fmt: skip


ROWS = st.lists(st.sampled_from([AGAIN, LATER, "{name: last, type: LOGIN}"]), max_size=3, unique=True)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("fix"), ROWS),
        st.tuples(st.just("take"), st.lists(st.integers(0, 3), min_size=1, max_size=3, unique=True)),
        st.tuples(st.just("run"), st.none()),
    ),
    max_size=8,
)


@settings(max_examples=60, deadline=None)
@given(STEPS, ROWS)
def test_in_the_end_there_is_each_event_once_whatever_came_when(steps: list[Any], rows: list[str]) -> None:
    async def check(folder: Path) -> None:
        (folder / "types.yaml").write_text(TYPES)
        came: set[int] = set()
        async with open_memory_log() as log:
            bench = Bench(folder, log)
            for what, told in [*steps, ("fix", rows), ("run", None)]:
                if what == "fix":
                    bench.fix(also(*told))
                elif what == "run":
                    await bench.run()
                else:
                    came.update(told)
                    await bench.take(*(event("out", number, more=number % 2) for number in told))
            stored = Counter(
                (orjson.loads(one.event)["id"], orjson.loads(one.event)["source"].get("also"))
                for one in await bench.entries()
                if one.event is not None and one.revision == 0
            )
        wanted = {
            (str(number), name)
            for number in came
            for name in [None, *(row[7:].partition(",")[0] for row in rows)]
            if name != "later" or number % 2
        }
        assert set(stored.values()) <= {1}
        assert wanted <= stored.keys()

    with TemporaryDirectory() as folder:
        asyncio.run(check(Path(folder)))
