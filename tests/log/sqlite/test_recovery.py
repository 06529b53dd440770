"""What can be read of a damaged log is in the new one, at its place, and the report says what is not."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
import pytest_asyncio

from adapter.errors import StoreError
from adapter.log.protocol import BlockedKey, Held, NewEntry, Note, Receipt, Removal, Revision, Settlement, Stored
from adapter.log.sqlite.log import SqliteLog, open_sqlite_log
from adapter.log.sqlite.recovery import EVENT_LOST, LOST, Report, recover
from adapter.model import uid_text
from tests.log.entries import new_entry, quarantined_entry
from tests.log.sqlite.damaging import overwrite, overwrite_some, pages_of

DICTIONARY = b'{"uid": "source": {"name": "prod", "receivedAt": }, "type": "access.LOGIN"}' * 100


def entry(number: int) -> NewEntry:
    """An entry whose event says what the product's events say."""
    one = new_entry(f"s{number}", f"w{number}", source="prod" if number % 3 else "test")
    origin = {"name": one.source, "receivedAt": one.received_at, "nativeType": "LOGIN"}
    filling = random.Random(number).randbytes(100).hex()
    event = {"uid": uid_text(one.uid), "type": "access.LOGIN", "source": origin, "filling": filling}
    raw = b'{"id": %d, "filling": "%s"}' % (number, filling.encode())
    envelope = b'[{"time":%d}]' % number if number % 100 < 20 else b""
    return one._replace(event=orjson.dumps(event), raw=raw, envelope=envelope)


def all_entries() -> list[NewEntry]:
    large = [entry(20_000 + number) for number in range(3)]
    large = [one._replace(raw=b'{"large": "%s"}' % random.Random(1).randbytes(30_000).hex().encode()) for one in large]
    quarantined = [quarantined_entry(raw=b"line %d" % number) for number in range(300)]
    return [*(entry(number) for number in range(6000)), *large, *quarantined]


async def fill(path: Path, entries: list[NewEntry]) -> None:
    async with open_sqlite_log(path, dictionary=DICTIONARY) as log:
        for start in range(0, len(entries), 400):
            await log.append(entries[start : start + 400])
        for life in range(8):
            await log.append([new_entry(f"{life}-{number}", f"{life}-{number}") for number in range(2500)])
        corrected = orjson.dumps({"uid": uid_text(entries[9].uid), "corrected": 1})
        await log.revise([Revision(10, 10, "LOGIN", "access.LOGOUT", corrected)], Note("job", "a note", 1))
        await log.begin("sink:soc", 0, "f")
        rows = [Held(5, 1, None, "gone"), Held(7, 2, 9, "503")]
        blocked = [BlockedKey("user:a", 7, is_held=True)]
        settled = Settlement("sink:soc", 1, 4000, matched=4000, delivered=3990, hold=rows, behind=8, block=blocked)
        await log.settle(settled)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[NewEntry], list[Stored]]:
    """A log, what was appended to it, and what is read from it."""
    path = tmp_path_factory.mktemp("whole") / "log.sqlite"
    entries = all_entries()
    await fill(path, entries)
    async with open_sqlite_log(path) as log:
        stored = await all_stored(log)
    return path, entries, stored


@pytest.fixture
def damaged(tmp_path: Path, made: tuple[Path, list[NewEntry], list[Stored]]) -> Path:
    """A copy of it, to be damaged."""
    folder = tmp_path / "damaged"
    shutil.copytree(made[0].parent, folder)
    return folder / "log.sqlite"


async def all_stored(log: SqliteLog) -> list[Stored]:
    stored: list[Stored] = []
    while some := await log.read_stored(len(stored), limit=1000):
        stored += some
    return stored


async def held_against(new: Path, before: list[Stored], report: Report) -> list[Stored]:
    """What is in the new log: what was there before, or told by the report as lost."""
    async with open_sqlite_log(new) as log:
        stored = await all_stored(log)
        assert [one.entry.position for one in stored] == list(range(1, report.entries + 1))
        lost = events_lost = raws_lost = 0
        for was, now in zip(before, stored, strict=False):
            if now.entry.problem == LOST:
                lost += 1
            elif now.entry.problem == EVENT_LOST:
                events_lost += 1
                assert now.raw == was.raw or now.raw == b""
            else:
                source = now.entry.source if now.entry.source in report.sources_lost else was.entry.source
                assert now.entry[:7] == was.entry._replace(source=source)[:7]
                assert now.entry.problem == was.entry.problem
                assert now.latest in (was.latest, now.entry.position)
                raws_lost += now.raw != was.raw
                assert (now.raw, now.envelope) in ((was.raw, was.envelope), (b"", b""))
        assert (lost, events_lost) == (report.entries_lost, report.events_lost)
        assert raws_lost <= report.raws_lost
        assert lost == sum(last - first + 1 for first, last in report.lost) or len(report.lost) == 100
    return stored


def known(made: tuple[Path, list[NewEntry], list[Stored]], stored: list[Stored]) -> list[NewEntry]:
    """The entries that were appended, of which the new log has the row."""
    kept = {one.entry.uid for one in stored}
    return [one for one in made[1] if one.uid in kept]


async def test_of_a_log_in_order_nothing_is_lost(
    tmp_path: Path, damaged: Path, made: tuple[Path, list[NewEntry], list[Stored]]
) -> None:
    _, entries, before = made
    new = tmp_path / "new.sqlite"
    report = await asyncio.to_thread(recover, damaged, new)
    assert (report.entries, report.entries_lost, report.events_lost, report.raws_lost) == (len(before), 0, 0, 0)
    assert report.readers == ["sink:soc"]
    stored = await held_against(new, before, report)
    assert stored == before
    async with open_sqlite_log(new) as log:
        progress = await log.progress("sink:soc")
        assert progress is not None
        assert (progress.cursor, progress.matched, progress.held, progress.dead) == (4000, 4000, 1, 1)
        assert (progress.since, progress.behind, progress.carried) == (0, 8, 0)
        assert await log.held("sink:soc") == [Held(7, 2, 9, "503"), Held(5, 1, None, "gone")]
        assert await log.blocked("sink:soc") == [BlockedKey("user:a", 7, is_held=True, waits=True)]
        assert await log.noted("job") == Note("job", "a note", 1)
        assert await log.latest(entries[9].uid) == len(before)
        assert await log.position_at(before[3000].entry.received_at) == 3000
        # Known by all their keys, and the log goes on.
        assert {receipt.position for receipt in await log.append(entries[:6000:7])} == {None}
        weak = entries[11]._replace(strong=None)
        assert await log.append([weak, new_entry("new")]) == [
            Receipt(entries[11].uid, None),
            Receipt(new_entry("new").uid, len(before) + 1),
        ]


async def test_what_stands_in_the_journal_alone_is_recovered(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite"
    copy = tmp_path / "copy" / "log.sqlite"
    copy.parent.mkdir()
    async with open_sqlite_log(path, dictionary=DICTIONARY) as log:
        await log.append([entry(number) for number in range(100)])
        for end in ("", "-wal"):
            shutil.copy(f"{path}{end}", f"{copy}{end}")
        before = await all_stored(log)
    report = await asyncio.to_thread(recover, copy, tmp_path / "new.sqlite")
    assert report.entries_lost == 0
    assert await held_against(tmp_path / "new.sqlite", before, report) == before


TABLES = [
    *["entry", "event", "raw", "identity", "former", "dictionary", "source", "note", "reader", "held"],
    *["arrival", "revision", "quarantined", "held_due", "sqlite_schema"],
]


@pytest.mark.parametrize("table", TABLES)
async def test_damaged_pages_of_a_table_take_no_more_with_them(
    tmp_path: Path, damaged: Path, made: tuple[Path, list[NewEntry], list[Stored]], table: str
) -> None:
    chance = random.Random(table)
    pages = [1] if table == "sqlite_schema" else pages_of(damaged)[table]
    # The root, and some others.
    pages = [pages[0], *chance.sample(pages[1:], min(4, len(pages) - 1))]
    overwrite(damaged, pages, chance)
    report = await asyncio.to_thread(recover, damaged, tmp_path / "new.sqlite")
    stored = await held_against(tmp_path / "new.sqlite", made[2], report)
    lost = report.entries_lost + report.events_lost + report.raws_lost
    if table in ("event", "raw", "entry"):
        assert lost < 2500
    else:
        assert lost == 0
        assert stored == made[2] or table == "source"
    async with open_sqlite_log(tmp_path / "new.sqlite") as log:
        rows = [one for one in known(made, stored) if one.strong is not None]
        assert {receipt.position for receipt in await log.append(rows[::50])} == {None}


@pytest.mark.parametrize("seed", range(4))
async def test_pages_anywhere(
    tmp_path: Path, damaged: Path, made: tuple[Path, list[NewEntry], list[Stored]], seed: int
) -> None:
    overwrite_some(damaged, 0.05, random.Random(seed))
    report = await asyncio.to_thread(recover, damaged, tmp_path / "new.sqlite")
    await held_against(tmp_path / "new.sqlite", made[2], report)
    # What is lost is stored when it is sent again.
    async with open_sqlite_log(tmp_path / "new.sqlite") as log:
        for start in range(0, 6000, 1000):
            await log.append(made[1][start : start + 1000])
        for one in made[1][:6000:13]:
            assert await log.latest(one.uid) is not None


def header_gone(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(bytes(100))


def cut_in_the_middle(path: Path) -> None:
    os.truncate(path, path.stat().st_size * 2 // 3 + 1000)


def first_half_gone(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size // 2))


@pytest.mark.parametrize("deed", [header_gone, cut_in_the_middle, first_half_gone])
async def test_large_damage(
    tmp_path: Path, damaged: Path, made: tuple[Path, list[NewEntry], list[Stored]], deed: Callable[[Path], None]
) -> None:
    deed(damaged)
    report = await asyncio.to_thread(recover, damaged, tmp_path / "new.sqlite")
    await held_against(tmp_path / "new.sqlite", made[2], report)
    whole = report.entries - report.entries_lost - report.events_lost
    assert whole > len(made[2]) // 3
    if deed is header_gone:
        assert whole == len(made[2])


async def test_what_is_no_log_is_told(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite"
    path.write_bytes(random.Random(5).randbytes(200_000))
    with pytest.raises(StoreError, match="no entry of a log can be read"):
        recover(path, tmp_path / "new.sqlite")
    path.write_bytes(b"")
    with pytest.raises(StoreError, match="no entry of a log can be read"):
        recover(path, tmp_path / "new.sqlite")


async def test_a_log_is_not_written_over(tmp_path: Path, damaged: Path) -> None:
    (tmp_path / "new.sqlite").touch()
    with pytest.raises(StoreError, match="is there already"):
        recover(damaged, tmp_path / "new.sqlite")


async def test_what_was_removed_stays_removed_and_is_not_told_as_lost(tmp_path: Path) -> None:
    path, new = tmp_path / "log.sqlite", tmp_path / "new.sqlite"
    entries = [entry(number) for number in range(5000)]
    async with open_sqlite_log(path, dictionary=DICTIONARY) as log:
        for start in range(0, 5000, 500):
            await log.append(entries[start : start + 500])
        await log.begin("sink:soc", 0, "f")
        groups = [(["access.LOGIN"], 3000)]
        for until, some in ((3000, groups), (5000, [(["none"], 0)])):
            after = 0
            while after < until:
                after = (await log.remove(Removal(after, until, some, 0, log.head))).reached
        await log.remove_raw(0, 3500)
        before = await log.read(0)
        removed = await log.removed(0, 5000)
    report = await asyncio.to_thread(recover, path, new)
    assert (report.entries, report.entries_lost, report.events_lost, report.raws_lost) == (5000, 0, 0, 0)
    async with open_sqlite_log(new) as log:
        assert (log.head, await log.read(0), await log.removed(0, 5000)) == (5000, before, removed)
        assert await log.append([entries[0]]) == [Receipt(entries[0].uid, None)]
        progress = await log.progress("sink:soc")
        assert progress is not None
        assert progress.removed == removed
