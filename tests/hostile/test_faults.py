"""Faults: processes that are killed, stopped, out of memory or descriptors, disks that are full or gone, files that are
damaged, clocks that are set. What was acknowledged is kept, nothing is acknowledged that is not, and readiness is true.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
import pytest_asyncio

from tests.e2e.process import until
from tests.e2e.receiver import receiver
from tests.hostile.client import Answer, Connection, NoAnswer
from tests.hostile.probe import cpu
from tests.hostile.stand import Stand, post
from tests.hostile.table import Row
from tests.hostile.watches import HEALTH, Limits, Watch
from tests.opened import login

pytestmark = [pytest.mark.hostile, pytest.mark.asyncio(loop_scope="module")]

#: Seconds until a process that ended works again, until a fault is noticed, and until damage is found by itself.
BACK = 5.0
NOTICED = 12.0
FOUND = 30.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stand(
    tmp_path_factory: pytest.TempPathFactory, limits: Limits, report: Callable[[Row], None]
) -> AsyncIterator[Stand]:
    """A service for the faults of its processes, which does not wait long for its writer."""
    settings = {"DATA__COMMIT_TIMEOUT": "2"}
    one = Stand(tmp_path_factory.mktemp("faults") / "data", limits, report, settings=settings)
    await one.start()
    yield one
    await one.settle()


def child(one: Stand, module: str) -> int:
    """A process of the service's, by its module."""
    pid = one.process.pid
    for found in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with suppress(OSError):
            if module.encode() in Path(f"/proc/{found}/cmdline").read_bytes():
                return int(found)
    raise LookupError(f"there is no {module}")


WRITER = "adapter.log.sqlite.writer"
FILLER = "adapter.search.filler"


class Numbers:
    """Events that never came before."""

    def __init__(self) -> None:
        self._next = 40_000_000

    def body(self, count: int = 1, size: int = 10) -> bytes:
        """A body of so many events, each with a note of so many bytes."""
        self._next += count
        details = {"username": "anna", "note": "x" * size}
        return json.dumps([login(self._next + number, details=details) for number in range(count)]).encode()


NUMBERS = Numbers()


async def status(one: Stand, path: str, patience: float = 30.0) -> int:
    """The status of an answer; 0 if there is none."""
    try:
        return (await one.ask("GET", path, patience=patience)).status
    except NoAnswer:
        return 0


async def posted(watch: Watch, count: int = 1, size: int = 10, patience: float = 60.0) -> Answer:
    """Post new events."""
    return await watch.send(post("keycloak", NUMBERS.body(count, size)), patience)


async def within(one: Stand, seconds: float, holds: Callable[[], object]) -> bool:
    """Whether an awaitable condition holds within so many seconds (with the margin)."""
    end = time.monotonic() + seconds * one.limits.margin
    while time.monotonic() < end:
        found = holds()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return True
        await asyncio.sleep(0.1)
    return False


async def is_good(one: Stand, watch: Watch) -> bool:
    """Whether it is ready and takes events."""
    return await status(one, "/readyz") == 200 and (await posted(watch)).status == 202


async def works_again(one: Stand, watch: Watch, seconds: float = BACK) -> None:
    """It is ready and takes events within so many seconds, by itself."""
    watch.expect(await within(one, seconds, lambda: is_good(one, watch)), f"it does not work again within {seconds} s")


# Killed


async def test_the_writer_is_killed(stand: Stand, full: bool) -> None:
    kills = 10 if full else 3
    async with stand.attacked(
        "faults", f"writer killed {kills} times", "503 until it is back", neighbour={202, 503}, responsive=[HEALTH]
    ) as watch:
        for _ in range(kills):
            os.kill(child(stand, WRITER), signal.SIGKILL)
            for _ in range(5):
                answer = await posted(watch, 50)
                watch.expect(answer.status in (202, 503), f"{answer.status}")
            await works_again(stand, watch)


async def test_the_filler_is_killed(stand: Stand, full: bool) -> None:
    kills = 10 if full else 3
    async with stand.attacked("faults", f"search filler killed {kills} times", "receiving goes on") as watch:
        for _ in range(kills):
            os.kill(child(stand, FILLER), signal.SIGKILL)
            answer = await posted(watch, 50)
            watch.expect(answer.status == 202, f"{answer.status}")

            async def asked() -> bool:
                return await status(stand, "/events?limit=1") == 200

            watch.expect(await within(stand, BACK, asked), "questions are not answered again")


async def test_the_service_is_killed_while_bodies_are_open(stand: Stand, full: bool) -> None:
    async with stand.beside("killed", {}) as one:
        for _ in range(5 if full else 2):
            watch = Watch(one.subject)
            sending = [asyncio.create_task(posted(watch, 500)) for _ in range(20)]
            await asyncio.sleep(random.Random(1).uniform(0.05, 0.3))
            await one.kill()
            await asyncio.gather(*sending)
            await one.start()


# Stopped


async def test_the_writer_stands_still(stand: Stand) -> None:
    """A writer that does not answer: 503 in time, and said by /readyz; it goes on where it was."""
    async with stand.attacked(
        "faults", "writer stopped (SIGSTOP)", "`commit_timeout`: 503", neighbour={202, 503}, responsive=[HEALTH]
    ) as watch:
        writer = child(stand, WRITER)
        os.kill(writer, signal.SIGSTOP)
        try:
            begin = time.monotonic()
            answer = await posted(watch)
            took = time.monotonic() - begin
            watch.expect(answer.status == 503 and took < 4 * stand.limits.margin, f"{answer.status} after {took:.1f} s")
            watch.expect("retry-after" in answer.headers, "no Retry-After")
            begin = time.monotonic()
            ready = await status(stand, "/readyz")
            took = time.monotonic() - begin
            watch.expect(ready == 503 and took < 2.5 * stand.limits.margin, f"/readyz: {ready} after {took:.1f} s")
            begin = time.monotonic()
            answer = await posted(watch)
            took = time.monotonic() - begin
            watch.expect(answer.status == 503 and took < 1 * stand.limits.margin, f"{answer.status} after {took:.1f} s")
        finally:
            os.kill(writer, signal.SIGCONT)
        await works_again(stand, watch, 3.0)


async def test_the_filler_stands_still(stand: Stand) -> None:
    async with stand.attacked("faults", "search filler stopped (SIGSTOP)", "questions 503, receiving goes on") as watch:
        filler = child(stand, FILLER)
        os.kill(filler, signal.SIGSTOP)
        try:
            watch.expect((await posted(watch, 100)).status == 202, "an event was not taken")
            begin = time.monotonic()
            found = await status(stand, "/events?limit=1", 90)
            took = time.monotonic() - begin
            watch.expect(found in (200, 503) and took < 35, f"a page: {found} after {took:.1f} s")
            watch.expect(await status(stand, "/readyz") in (200, 503), "/readyz does not answer")
        finally:
            os.kill(filler, signal.SIGCONT)

        async def asked() -> bool:
            return await status(stand, "/events?limit=1") == 200

        watch.expect(await within(stand, BACK, asked), "questions are not answered again")


async def test_the_service_stands_still_for_a_while(stand: Stand) -> None:
    async with stand.attacked(
        "faults", "service stopped for 3 s (SIGSTOP)", "goes on where it was", responsive=()
    ) as watch:
        os.kill(stand.process.pid, signal.SIGSTOP)
        sending = [asyncio.create_task(posted(watch, 10)) for _ in range(20)]
        await asyncio.sleep(3)
        os.kill(stand.process.pid, signal.SIGCONT)
        answers = await asyncio.gather(*sending)
        watch.expect({answer.status for answer in answers} == {202}, f"{[answer.status for answer in answers]}")
        await works_again(stand, watch)


# Out of memory, out of descriptors


def limit_memory(pid: int, more: int) -> tuple[int, int]:
    """Let a process take only so many bytes more; the limits that it had."""
    size = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    had = resource.prlimit(pid, resource.RLIMIT_AS)
    resource.prlimit(pid, resource.RLIMIT_AS, (size + more, had[1]))
    return had


async def test_the_writer_is_out_of_memory(stand: Stand, full: bool) -> None:
    """A writer that cannot take a request ends or refuses it; posts are answered again by themselves."""
    async with stand.attacked(
        "faults", "writer out of memory", "503; started again", neighbour={202, 503}, responsive=[HEALTH]
    ) as watch:
        limit_memory(child(stand, WRITER), 2_000_000)
        for _ in range(3):
            answer = await posted(watch, 1000, 10_000)
            watch.expect(answer.status in (202, 503), f"{answer.status} {answer.body[:100]!r}")
        with suppress(LookupError, ProcessLookupError):
            resource.prlimit(child(stand, WRITER), resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
        await works_again(stand, watch)
        watch.expect("Traceback" not in stand.process.errors, "a traceback on standard error")


async def test_the_service_is_out_of_memory(stand: Stand, full: bool) -> None:
    """Bodies for which there is no memory are refused, or the process ends, as libraries in C may end it, and is
    started again: nothing that was acknowledged is lost, and no half frame holds up what comes after."""
    async with stand.beside("memory", {}) as one:
        watch = Watch(one.subject)
        had = limit_memory(one.process.pid, 40_000_000)
        answers = await asyncio.gather(*(posted(watch, 1000, 10_000) for _ in range(16)))
        assert {answer.status for answer in answers} <= {0, 202, 500, 503}
        with suppress(ProcessLookupError):
            resource.prlimit(one.process.pid, resource.RLIMIT_AS, had)

        async def ended_or_good() -> bool:
            return one.process.popen.poll() is not None or await is_good(one, watch)

        # A process that ends closes its connections a moment before it has ended.
        assert await within(one, BACK, ended_or_good)
        if one.process.popen.poll() is not None:
            await one.forget()
            await one.start()
        watch = Watch(one.subject)
        await works_again(one, watch)
        assert not watch.complaints


async def test_the_service_is_out_of_descriptors(stand: Stand) -> None:
    """More connections than it may have descriptors: those that idle longest make room."""

    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (640, 640))

    async with (
        stand.beside("descriptors", {}, confined=few) as one,
        # Among hundreds at once a new connection may be the one that is closed.
        one.attacked(
            "faults",
            "out of descriptors (640)",
            "`connections_limit`: the idle longest is closed",
            neighbour={0, 202},
            responsive=[],
        ) as watch,
    ):
        idle: list[Connection] = []
        for _ in range(1500):
            with suppress(OSError):
                idle.append(await Connection.open(one.address))
        for _ in range(10):
            answer = await posted(watch)
            watch.expect(answer.status == 202, f"{answer.status}")
        begin = time.monotonic()
        spent = cpu(one.process.pid)
        await asyncio.sleep(2)
        share = (cpu(one.process.pid) - spent) / (time.monotonic() - begin)
        watch.expect(share < 0.8, f"it spins: {share:.0%} of a processor")
        for connection in idle:
            connection.reset()
        await works_again(one, watch)


# Disks


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 24 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("a small disk cannot be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def fill(place: Path) -> Path:
    """Take all the room that is left."""
    file = place / "filler"
    with suppress(OSError), file.open("wb", buffering=0) as out:
        for size in (1 << 20, 1 << 12, 1):
            with suppress(OSError):
                while True:
                    out.write(b"\0" * size)
    return file


async def test_the_disk_is_full(disk: Path, limits: Limits, stand: Stand) -> None:
    one = Stand(disk / "data", limits, stand.report)
    await one.start()
    async with one.attacked("faults", "disk full", "503 until there is room", neighbour={202, 503}) as watch:
        filler = fill(disk)
        seen = [(await posted(watch, 20)).status for _ in range(100)]
        watch.expect(set(seen) <= {202, 503} and 503 in seen, f"{set(seen)}")
        watch.expect(await within(one, NOTICED, lambda: is_not_ready(one)), "/readyz does not say it")
        filler.unlink()
        await works_again(one, watch)
    await one.settle()


async def test_the_disk_is_read_only(disk: Path, limits: Limits, stand: Stand) -> None:
    """Files that are open stay writable under a remount, so the limit on the size of files stands for it."""
    one = Stand(disk / "data", limits, stand.report)
    await one.start()
    async with one.attacked("faults", "disk takes nothing (EFBIG)", "503", neighbour={202, 503}) as watch:
        writer = child(one, WRITER)
        had = resource.prlimit(writer, resource.RLIMIT_FSIZE)
        resource.prlimit(writer, resource.RLIMIT_FSIZE, (4096, had[1]))
        seen = [(await posted(watch, 20)).status for _ in range(20)]
        watch.expect(set(seen) <= {202, 503} and 503 in seen, f"{set(seen)}")
        watch.expect(await within(one, NOTICED, lambda: is_not_ready(one)), "/readyz does not say it")
        resource.prlimit(child(one, WRITER), resource.RLIMIT_FSIZE, had)
        await works_again(one, watch, 15.0)
    await one.settle()


async def is_not_ready(one: Stand) -> bool:
    """Whether it says that it is not ready."""
    return await status(one, "/readyz") == 503


# Damage while it runs


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stored(stand: Stand, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder of a service that was stopped, with something in every table; to be copied."""
    folder = tmp_path_factory.mktemp("stored") / "data"
    async with receiver() as there:
        there.status = 503
        one = Stand(folder, stand.limits, stand.report, settings=there.settings)
        await one.start()
        try:
            watch = Watch(one.subject)
            for _ in range(3):
                assert (await posted(watch, 3000)).status == 202
            odd = json.dumps([{"event_type_id": f"z{number}"} for number in range(500)]).encode()
            assert (await watch.send(post("onewelcome", odd))).status == 202
            await one.ask("GET", "/events?limit=1")
            await until(lambda: there.asked > 0)
            assert await one.end() == 0
        except BaseException:
            await one.forget()
            raise
    return folder


def _delete(folder: Path) -> None:
    (folder / "log.sqlite").unlink()


def _delete_all(folder: Path) -> None:
    for file in folder.glob("log.sqlite*"):
        file.unlink()


def _replace(folder: Path) -> None:
    """Another, empty file in its place."""
    _delete_all(folder)
    with closing(sqlite3.connect(folder / "log.sqlite")) as other:
        other.execute("CREATE TABLE a (b)")


def _move_folder(folder: Path) -> None:
    folder.rename(folder.with_name(f"{folder.name}-moved"))


def _truncate(folder: Path) -> None:
    file = folder / "log.sqlite"
    os.truncate(file, file.stat().st_size // 2)


def _empty(folder: Path) -> None:
    os.truncate(folder / "log.sqlite", 0)


def _overwrite(folder: Path) -> None:
    file = folder / "log.sqlite"
    size = file.stat().st_size
    with file.open("r+b") as out:
        out.write(random.Random(1).randbytes(size))


def _overwrite_wal(folder: Path) -> None:
    file = folder / "log.sqlite-wal"
    with file.open("r+b") as out:
        out.write(b"\0" * file.stat().st_size)


#: What is done to the log of a service that runs; whether from then on nothing may be acknowledged at all.
WHILE_RUNNING: dict[str, tuple[Callable[[Path], None], bool]] = {
    "log deleted": (_delete, True),
    "log deleted with its WAL": (_delete_all, True),
    "log replaced": (_replace, True),
    "data folder moved away": (_move_folder, True),
    "log truncated to half": (_truncate, True),
    "log truncated to nothing": (_empty, True),
    "log overwritten": (_overwrite, False),
    "WAL overwritten": (_overwrite_wal, False),
}


async def test_a_log_that_is_damaged_while_it_runs(stand: Stand, stored: Path, tmp_path: Path, full: bool) -> None:
    """It is soon not ready, and says which file; where the file is gone, nothing is acknowledged any more."""
    wrong = []
    for number, (fault, (damage, at_once)) in enumerate(WHILE_RUNNING.items()):
        if not full and number % 2:
            continue
        folder = tmp_path / f"data-{number}"
        shutil.copytree(stored, folder)
        one = Stand(folder, stand.limits, stand.report)
        await one.start(warm=False)
        try:
            assert (await posted(Watch(one.subject), 100)).status == 202
            # The neighbour's posts go on.
            await until(lambda folder=folder: (folder / "log.sqlite-wal").stat().st_size > 0)  # type: ignore[misc]
            damage(folder)
            if at_once:
                found = {(await posted(Watch(one.subject), 1)).status for _ in range(20)}
                if 202 in found:
                    wrong.append(f"{fault}: acknowledged afterwards")

            async def noticed(one: Stand = one) -> bool:
                # What reads and what writes is part of noticing.
                await one.ask("GET", "/events?limit=1000&order=log")
                await posted(Watch(one.subject), 100)
                return await names_the_log(one)

            if not await within(one, FOUND, noticed):
                wrong.append(f"{fault}: /readyz does not say so, or not with the file's name")
            elif (after := (await posted(Watch(one.subject))).status) != 503:
                wrong.append(f"{fault}: a post is answered {after}")
            if await status(one, "/healthz") != 200:
                wrong.append(f"{fault}: it does not live any more")
        finally:
            await one.kill()
    assert not wrong, "\n".join(wrong)


async def names_the_log(one: Stand) -> bool:
    """Whether it says that it is not ready, and that this is the log's file."""
    ready = await one.ask("GET", "/readyz")
    return ready.status == 503 and b"log.sqlite" in ready.body


# Damage at the start


def log_tables(file: Path) -> dict[str, list[int]]:
    """The pages of each table and index of a database, by its name; the first page of the file is left out."""
    with closing(sqlite3.connect(file)) as database:
        pages: dict[str, list[int]] = {}
        for name, page in database.execute("SELECT name, pageno FROM dbstat WHERE pageno > 1"):
            pages.setdefault(name, []).append(page)
        return pages


def overwrite_pages(file: Path, pages: list[int], chance: random.Random) -> None:
    """Noise in some pages of a database."""
    with file.open("r+b") as out:
        for page in pages:
            out.seek((page - 1) * 4096)
            out.write(chance.randbytes(4096))


TABLES = (
    "entry", "event", "raw", "identity", "former", "source", "dictionary", "arrival", "reader", "held", "quarantined",
    "revision", "note",
)  # fmt: skip


async def test_a_log_damaged_in_any_table(stand: Stand, stored: Path, tmp_path: Path, full: bool) -> None:
    """It does not start, or is soon not ready; either names the file."""
    tables = log_tables(stored / "log.sqlite")
    wrong = []
    for name in TABLES if full else TABLES[:4]:
        pages = tables.get(name)
        if not pages:
            continue
        folder = tmp_path / f"data-{name}"
        shutil.copytree(stored, folder)
        overwrite_pages(folder / "log.sqlite", pages[-max(1, len(pages) // 3) :], random.Random(2))
        one = Stand(folder, stand.limits, stand.report)
        try:
            await one.start(warm=False)
        except AssertionError as refusal:
            await one.forget()
            if "log.sqlite" not in str(refusal):
                wrong.append(f"{name}: refused without naming the file: {refusal}")
            continue
        try:
            if not await within(one, FOUND, lambda one=one: names_the_log(one)):  # type: ignore[misc]
                wrong.append(f"{name}: it is ready all the same")
            elif (found := (await posted(Watch(one.subject))).status) != 503:
                wrong.append(f"{name}: a post is answered {found}")
        finally:
            await one.kill()
    assert not wrong, "\n".join(wrong)


async def test_a_search_damaged_in_any_table(stand: Stand, stored: Path, tmp_path: Path, full: bool) -> None:
    """Receiving goes on, and after a start at the latest every event can be found again."""
    tables = log_tables(stored / "search.sqlite")
    names = sorted(tables) if full else sorted(tables, key=lambda name: -len(tables[name]))[:3]
    wrong = []
    for name in names:
        folder = tmp_path / f"data-{name}"
        shutil.copytree(stored, folder)
        pages = tables[name]
        overwrite_pages(folder / "search.sqlite", pages[-max(1, len(pages) // 3) :], random.Random(3))
        one = Stand(folder, stand.limits, stand.report)
        await one.start(warm=False)
        try:
            if (found := (await posted(Watch(one.subject))).status) != 202:
                wrong.append(f"{name}: a post is answered {found}")

            async def all_found(one: Stand = one) -> bool:
                answer = await one.ask("GET", "/events?limit=1000&q=anna&user=user-1")
                return answer.status == 200 and len(json.loads(answer.body)["events"]) == 1000

            if not await within(one, FOUND, all_found):
                wrong.append(f"{name}: not everything can be found again")
        finally:
            await one.kill()
    assert not wrong, "\n".join(wrong)


async def test_a_log_that_is_gone_is_not_begun_anew_without_a_word(stand: Stand, stored: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    shutil.copytree(stored, folder)
    _delete_all(folder)
    one = Stand(folder, stand.limits, stand.report)
    with pytest.raises(AssertionError, match="--new-log"):
        await one.start(warm=False)
    await one.forget()
    await one.start(warm=False, arguments=("--new-log",))
    try:
        assert (await posted(Watch(one.subject))).status == 202
    finally:
        await one.kill()


@pytest.mark.parametrize("damage", [_truncate, _empty, _overwrite])
async def test_a_log_that_is_no_log_is_refused_at_the_start(
    stand: Stand, stored: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    """Or it is soon not ready, where only what lies deep in it is gone."""
    folder = tmp_path / "data"
    shutil.copytree(stored, folder)
    damage(folder)
    one = Stand(folder, stand.limits, stand.report)
    try:
        await one.start(warm=False)
    except AssertionError as refusal:
        await one.forget()
        assert "log.sqlite" in str(refusal)
        return
    try:
        assert damage is _truncate

        assert await within(one, FOUND, lambda: names_the_log(one))
    finally:
        await one.kill()


# Clocks

#: Read by Python when a process begins: the clock goes wrong by as many seconds as a file says.
_CLOCK = """import time
def wrong(right, unit):
    def now():
        with open({file!r}) as file:
            return right() + unit(file.read() or 0)
    return now
time.time = wrong(time.time, float)
time.time_ns = wrong(time.time_ns, lambda text: int(text) * 10**9)
"""


@pytest.mark.parametrize("days", [-1, 1])
async def test_the_clock_is_set(stand: Stand, tmp_path: Path, days: int) -> None:
    """What is held for a receiver that was away comes as soon as it would have without the step."""
    clock = tmp_path / "clock"
    clock.write_text("0")
    (tmp_path / "sitecustomize.py").write_text(_CLOCK.format(file=str(clock)))
    around = ("env", f"PYTHONPATH={tmp_path}")
    async with receiver() as there:
        sink = {**there.settings["SINKS"][0], "retry": [4.0] * 1000}
        settings = {**there.settings, "SINKS": [sink]}
        async with (
            stand.beside(f"clock{days}", settings, around=around) as one,
            one.attacked("faults", f"clock set by {days:+} day", "due at once, if beyond the longest wait") as watch,
        ):
            # It refuses some messages, and takes others: so it is up, and those are held for their next try.
            there.status = 422
            asked = there.asked
            answer = await posted(watch, 3)
            watch.expect(answer.status == 202, f"{answer.status}")
            wanted = set(json.loads(answer.body)["uids"])
            await until(lambda: there.asked >= asked + 3)
            there.status = 204
            clock.write_text(str(days * 86400))
            came = await within(one, 15, lambda: wanted <= there.uids)
            watch.expect(came, f"{len(wanted - there.uids)} held messages did not come")
            await works_again(one, watch)
